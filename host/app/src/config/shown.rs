//! What is in force, and where it came from: `lapwing config`.
//!
//! Every field of the file's schema is told, with its default where nothing sets it; what a flag or a variable may set
//! is told as it was decided.

use super::{Config, Environment, Faults, FileConfig, HumanDuration, file};
use crate::{
    cli::Shared,
    fields::{named, properties, resolve},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What hides a secret.
const MASK: &str = "***";

/// One setting.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Setting {
    /// Its place in the file.
    pub(crate) field: String,
    /// Its value; secrets are masked.
    pub(crate) value: Value,
    /// `--flag`, a variable, the file's name, or `default`.
    pub(crate) from: String,
}

/// Every setting in force, in the order of the reference.
pub(crate) fn all(config: &Config, shared: &Shared, environment: &Environment) -> Vec<Setting> {
    let schema = schemars::schema_for!(FileConfig).to_value();
    let raw = config
        .file
        .as_ref()
        .and_then(|path| file::parse(path).ok())
        .unwrap_or_default();
    let mut shown = Shown {
        schema: &schema,
        file: config
            .file
            .as_ref()
            .map_or_else(String::new, |path| path.display().to_string()),
        settings: Vec::new(),
    };
    let raw = Value::Object(raw);
    for (section, table) in properties(&schema) {
        let inner = resolve(&schema, table);
        match section.as_str() {
            "monitors" => {
                let names = config.monitors.iter().map(|of| json!(of.monitor.name)).collect();
                shown.add("monitors", Value::Array(names), raw.get("monitors").is_some());
            }
            "queues" => shown.queues(config, environment, raw.get("queues")),
            "secrets" => {
                for name in raw
                    .get("secrets")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flat_map(Map::keys)
                {
                    shown.add(&format!("secrets.{name}"), json!(MASK), true);
                }
            }
            _ => shown.table(section, inner, raw.get(section)),
        }
    }
    for (field, value, from) in decided(config, shared, environment, &raw) {
        if let Some(setting) = shown.settings.iter_mut().find(|setting| setting.field == field) {
            setting.value = value;
            if let Some(from) = from {
                from.clone_into(&mut setting.from);
            }
        }
    }
    shown.settings
}

/// What flags and variables may set: the value in force, and the flag or variable if it is one's.
fn decided<'a>(
    config: &Config,
    shared: &Shared,
    environment: &Environment,
    file: &Value,
) -> Vec<(&'a str, Value, Option<&'a str>)> {
    let flag = |given: bool, name| given.then_some(name);
    let set = |name| environment.is_set(name).then_some(name);
    let masked = |secret: bool| if secret { json!(MASK) } else { Value::Null };
    let level = config.log.level.as_str().to_ascii_lowercase();
    let format = file.pointer("/log/format").is_none();
    let concurrency = environment.concurrency(&mut Faults::default()).is_some();
    let mut decided = vec![
        (
            "worker.concurrency",
            json!(config.concurrency),
            concurrency.then_some("QUEUE_CONCURRENCY"),
        ),
        (
            "admin.listen",
            json!(config.listen),
            flag(shared.listen.is_some(), "--listen").or(set("LAPWING_ADMIN_LISTEN")),
        ),
        (
            "admin.token",
            masked(config.token.is_some()),
            set("LAPWING_ADMIN_TOKEN"),
        ),
        (
            "admin.upload_token",
            masked(config.upload_token.is_some()),
            set("LAPWING_ADMIN_UPLOAD_TOKEN"),
        ),
        (
            "plugins.dir",
            json!(config.plugins),
            flag(shared.plugins.is_some(), "--plugins").or(set("LAPWING_PLUGINS")),
        ),
        (
            "log.level",
            json!(level),
            flag(shared.log_level.is_some(), "--log-level").or(set("LOG_LEVEL")),
        ),
        (
            "log.format",
            json!(config.log.format),
            set("MODE").or(set("ENVIRONMENT")).filter(|_| format),
        ),
    ];
    let told = environment.redis(&mut Faults::default());
    let host = told.host.is_some().then_some("REDIS_HOST");
    let url = told.url.as_ref().map(|(name, _)| *name).or(host);
    decided.push(("redis.url", json!(config.redis.shown), url));
    let variables = [
        ("redis.username", told.username.map(Value::from), "REDIS_USERNAME"),
        (
            "redis.password",
            told.password.map(|_| json!(MASK)),
            "REDIS_PASSWORD",
        ),
        ("redis.db", told.db.map(Value::from), "REDIS_DB"),
        ("redis.tls.enabled", told.ssl.map(Value::from), "REDIS_SSL"),
        (
            "redis.max_connections",
            told.connections.map(Value::from),
            "REDIS_MAX_CONNECTIONS",
        ),
        (
            "redis.connect_timeout",
            told.connect_timeout.map(|span| json!(HumanDuration(span))),
            "REDIS_CONNECTION_TIMEOUT",
        ),
    ];
    let given = |(field, value, name): (_, Option<Value>, _)| Some((field, value?, Some(name)));
    decided.extend(variables.into_iter().filter_map(given));
    decided
}

struct Shown<'a> {
    schema: &'a Value,
    file: String,
    settings: Vec<Setting>,
}

impl Shown<'_> {
    fn add(&mut self, field: &str, value: Value, of_file: bool) {
        let from = if of_file {
            self.file.clone()
        } else {
            "default".to_owned()
        };
        let pointer = format!("/{}", field.replace('.', "/"));
        let masked = file::SENSITIVE.contains(&&*pointer) && !value.is_null();
        self.settings.push(Setting {
            field: field.to_owned(),
            value: if masked { json!(MASK) } else { value },
            from,
        });
    }

    /// The fields of a table and of the tables within it.
    fn table(&mut self, path: &str, table: &Value, raw: Option<&Value>) {
        for (name, property) in properties(table) {
            let (field, inner) = (format!("{path}.{name}"), resolve(self.schema, property));
            let set = raw.and_then(|raw| raw.get(name));
            if inner.get("properties").is_some() {
                self.table(&field, inner, set);
            } else if let Some(entry) = named(self.schema, inner) {
                for (key, raw) in set.and_then(Value::as_object).into_iter().flatten() {
                    self.given(&format!("{field}.{key}"), entry, raw);
                }
            } else {
                let default = property.get("default").cloned().unwrap_or_default();
                self.add(&field, set.cloned().unwrap_or(default), set.is_some());
            }
        }
    }

    /// What the file says under a name of the user's.
    fn given(&mut self, path: &str, table: &Value, raw: &Value) {
        for (name, value) in raw.as_object().into_iter().flatten() {
            match table.pointer(&format!("/properties/{name}")) {
                Some(inner) if value.is_object() => {
                    self.given(&format!("{path}.{name}"), resolve(self.schema, inner), value);
                }
                _ => self.add(&format!("{path}.{name}"), value.clone(), true),
            }
        }
    }

    /// Every queue with every setting, as decided.
    fn queues(&mut self, config: &Config, environment: &Environment, raw: Option<&Value>) {
        for (index, queue) in config.queues.iter().enumerate() {
            let entry = raw.and_then(|raw| raw.get(index));
            let Ok(Value::Object(fields)) = serde_json::to_value(queue) else {
                continue;
            };
            for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
                let field = format!("queues[{index}].{name}");
                let set = entry.is_some_and(|entry| entry.get(&name).is_some());
                self.add(&field, value, set);
                let faults = &mut Faults::default();
                let (variable, counts) = match name.as_str() {
                    "keep_result" => (
                        "WORKER_KEEP_RESULT_SECONDS",
                        environment.keep_result(faults).is_some(),
                    ),
                    "max_tries" => ("WORKER_MAX_TRIES", environment.max_tries(faults).is_some()),
                    "max_jobs" => ("QUEUE_CONCURRENCY", environment.concurrency(faults).is_some()),
                    _ => continue,
                };
                if let Some(setting) = self.settings.last_mut()
                    && !set
                    && counts
                {
                    variable.clone_into(&mut setting.from);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_tells_its_value_and_where_it_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lapwing.toml");
        let text = "[worker]\ngrace = '3s'\n[admin]\ntoken = 'hush'\n[redis]\nurl = 'redis://u:hush@h:1/2'\npassword = 'hush'\n\
                    [[queues]]\ndialect = 'arq'\nmax_tries = 2\n[secrets.s]\nvalue = 'hush'\n\
                    [plugins.grants.p]\nhosts = ['h']\n";
        std::fs::write(&path, text).unwrap();
        let shared = Shared {
            config: Some(path.clone()),
            log_level: Some("debug".to_owned()),
            ..Shared::default()
        };
        let variables = [
            ("QUEUE_CONCURRENCY", "7"),
            ("WORKER_MAX_TRIES", "9"),
            ("MODE", "prod"),
            ("REDIS_SSL", "false"),
        ];
        let environment: Environment = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let config = Config::load(&shared, &environment).unwrap();
        let settings = all(&config, &shared, &environment);
        let told = |field: &str| {
            let setting = settings.iter().find(|setting| setting.field == field);
            let setting = setting.unwrap_or_else(|| panic!("no {field} in {settings:#?}"));
            (setting.value.clone(), setting.from.clone())
        };
        let file = path.display().to_string();
        let from = |value: Value, from: &str| (value, from.to_owned());
        assert_eq!(told("worker.grace"), from(json!("3s"), &file));
        assert_eq!(told("worker.liveness"), from(json!("15s"), "default"));
        assert_eq!(told("worker.concurrency"), from(json!(7), "QUEUE_CONCURRENCY"));
        assert_eq!(told("admin.token"), from(json!("***"), &file));
        assert_eq!(told("redis.url"), from(json!("h:1/2"), &file));
        assert_eq!(told("redis.password"), from(json!("***"), &file));
        assert_eq!(told("redis.tls.enabled"), from(json!(false), "REDIS_SSL"));
        assert_eq!(told("log.level"), from(json!("debug"), "--log-level"));
        assert_eq!(told("log.format"), from(json!("json"), "MODE"));
        assert_eq!(told("queues[0].max_tries"), from(json!(2), &file));
        assert_eq!(told("queues[0].max_jobs"), from(json!(7), "QUEUE_CONCURRENCY"));
        assert_eq!(told("queues[0].keep_result"), from(json!("1h"), "default"));
        assert_eq!(told("secrets.s"), from(json!("***"), &file));
        assert_eq!(told("plugins.grants.p.hosts"), from(json!(["h"]), &file));
        assert!(!serde_json::to_string(&settings).unwrap().contains("hush"));
    }
}
