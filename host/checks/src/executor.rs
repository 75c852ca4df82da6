//! What runs a kind, native or plugin, behind one face.

mod bounds;

use crate::{
    Check, Findings,
    check::{CheckError, ProbeContext},
    schema::{self, Fault, Schema, sentence},
    text,
};
use bounds::Bounds;
use lapwing_model::{Observation, gojson};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use serde_path_to_error::Path;
use std::{pin::Pin, sync::OnceLock};
use tokio::time::Instant;

/// Longest message of a result, in bytes: a peer's text may have mebibytes.
const MOST_MESSAGE: usize = 2048;

/// A boxed, sendable future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs one kind of check.
pub trait Executor: Send + Sync + 'static {
    /// What it is, for the catalogue.
    fn info(&self) -> &KindInfo;

    /// What the kind itself finds wrong with `config` (JSON text) beyond its schema, without touching the target; fields
    /// start with `root`. `Err`: it does not fit the schema, or the kind could not say. Asked where somebody sets up or
    /// tries out a monitor, not in its runs. Ends by `deadline`; cancel safe.
    fn review<'a>(
        &'a self,
        _config: &'a str,
        _root: &'a str,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Fault>, CheckError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Runs `config` (JSON text) once. `Err` means "could not try". Ends by `cx.deadline`; cancel safe.
    fn execute<'a>(
        &'a self,
        config: &'a str,
        cx: &'a ProbeContext,
    ) -> BoxFuture<'a, Result<Observation, CheckError>>;
}

/// One entry of the catalogue of kinds.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct KindInfo {
    /// The name a monitor uses.
    pub kind: String,
    /// Other names for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// One line for people.
    pub summary: String,
    /// Who provides it.
    #[serde(flatten)]
    pub origin: Origin,
    /// JSON Schema 2020-12 of the monitor's `config`.
    pub schema: Value,
    /// A configuration that fits the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
    /// JSON pointers into `config` that hold secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
}

/// Who provides a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "origin", rename_all = "lowercase")]
pub enum Origin {
    /// This binary.
    Native,
    /// A WebAssembly component.
    Plugin {
        /// Its name, as it describes itself.
        plugin: String,
        /// Its version, as it describes itself.
        version: String,
        /// SHA-256 of the file, in hex.
        digest: String,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Native => f.write_str("native"),
            Self::Plugin { plugin, version, .. } => write!(f, "plugin {plugin} {version}"),
        }
    }
}

/// The one adapter from a native [`Check`] to an [`Executor`].
pub(crate) struct Native<C> {
    check: C,
    info: KindInfo,
    fields: Vec<String>,
    bounds: Bounds,
    /// Compiled when the first unfit configuration is to be explained.
    schema: OnceLock<Option<Schema>>,
}

impl<C: Check> Native<C> {
    pub(crate) fn new(check: C) -> Self {
        let schema = schemars::schema_for!(C::Config).to_value();
        let properties = schema.get("properties").and_then(Value::as_object);
        Self {
            check,
            schema: OnceLock::new(),
            bounds: Bounds::of(&schema),
            fields: properties
                .map(|map| map.keys().cloned().collect())
                .unwrap_or_default(),
            info: KindInfo {
                kind: C::KIND.to_owned(),
                aliases: C::ALIASES.iter().map(|&alias| alias.to_owned()).collect(),
                summary: C::SUMMARY.to_owned(),
                origin: Origin::Native,
                schema,
                example: serde_json::from_str(C::EXAMPLE).ok(),
                sensitive: C::SENSITIVE.iter().map(|&pointer| pointer.to_owned()).collect(),
            },
        }
    }

    /// The configuration of a run: what the schema bounds lies within.
    fn config(&self, text: &str) -> Result<C::Config, CheckError> {
        let object = self.given(text)?;
        let bounded = self.bounds.admit(&object);
        let config = self.parsed(object, text)?;
        if bounded {
            return Ok(config);
        }
        Err(unparsed(&sentence(&self.all_faults(text))))
    }

    /// The object that `text` is.
    fn given(&self, text: &str) -> Result<Map<String, Value>, CheckError> {
        if C::TAKES_ANY_CONFIG {
            return Ok(Map::new());
        }
        self.object(text).map_err(|why| unparsed(&why))
    }

    /// Reads the configuration as Peekaping's worker does: keys without regard to case, `null` as unset.
    fn parsed(&self, object: Map<String, Value>, text: &str) -> Result<C::Config, CheckError> {
        serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
            // Only a fault inside the object has a place to name.
            let path = Some(error.path().to_string()).filter(|path| path != ".");
            let secret = self.is_secret(error.path());
            let cause = error.into_inner().to_string();
            let first = Fault {
                field: path.unwrap_or_default(),
                message: plain(if secret { without_value(cause) } else { cause }),
            };
            let mut faults = self.faults(text);
            if faults.is_empty() || !first.field.is_empty() {
                // Of one field the words of its own type say more than the schema's.
                faults.retain(|fault| !is_within(&fault.field, &first.field));
                faults.insert(0, first);
            }
            faults.extend(self.findings_beside(&faults, text));
            unparsed(&sentence(&faults))
        })
    }

    /// What the check finds wrong with the fields that have none of `faults`: those are put right for it as the example
    /// has them.
    fn findings_beside(&self, faults: &[Fault], text: &str) -> Vec<Fault> {
        let broken = |name: &str| faults.iter().any(|fault| is_within(&fault.field, name));
        let mut object = self.object(text).unwrap_or_default();
        object.retain(|name, _| !broken(name));
        let example = self.info.example.as_ref().and_then(Value::as_object);
        for (name, value) in example.into_iter().flatten() {
            if broken(name) {
                object.insert(name.clone(), value.clone());
            }
        }
        let Ok(config) = serde_json::from_value(Value::Object(object)) else {
            return Vec::new();
        };
        let mut found = findings::<C>(config);
        found.retain(|fault| {
            !faults
                .iter()
                .any(|broken| top(&broken.field) == top(&fault.field))
        });
        found
    }

    /// What stood in the way of a run, and what else is wrong with the configuration.
    fn with_others(&self, own: String, text: &str) -> CheckError {
        let mut others = self.all_faults(text);
        // Peekaping's words name no field.
        let bare = !own.starts_with('`');
        let told = |fault: &Fault| {
            own.contains(&format!("`{}`", fault.field)) || bare && own.contains(&fault.message)
        };
        others.retain(|fault| !told(fault));
        if others.is_empty() {
            return CheckError::InvalidConfig(own);
        }
        CheckError::InvalidConfig(format!("{own}; {}", sentence(&others)))
    }

    /// What the check and the schema find wrong with a configuration that can be read.
    fn all_faults(&self, text: &str) -> Vec<Fault> {
        let config = self.given(text).and_then(|object| self.parsed(object, text));
        let mut faults = config.map(findings::<C>).unwrap_or_default();
        let mut others = self.faults(text);
        others.retain(|other| !faults.iter().any(|fault| is_within(&fault.field, &other.field)));
        faults.append(&mut others);
        faults
    }

    fn object(&self, text: &str) -> Result<Map<String, Value>, String> {
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        // What stands in place of the object may be the object again, as text: secrets and all.
        gojson::object(text.as_bytes(), &fields).map_err(|error| without_value(error.to_string()))
    }

    /// Everything that the schema finds wrong with a configuration; what is right is not held against it, as it is
    /// stricter than Peekaping.
    fn faults(&self, text: &str) -> Vec<Fault> {
        let schema = self
            .schema
            .get_or_init(|| Schema::new(&self.info.schema, &self.info.sensitive).ok());
        let object = self.object(text).ok();
        schema
            .as_ref()
            .zip(object)
            .map_or_else(Vec::new, |(schema, object)| {
                schema.faults(&Value::Object(object), "")
            })
    }

    /// Whether `path` is that of a secret, leads to one, or lies within one.
    fn is_secret(&self, path: &Path) -> bool {
        path.iter().next().is_some()
            && self.info.sensitive.iter().any(|pointer| {
                let mut steps = pointer.split('/').skip(1).zip(path.iter());
                steps.all(|(name, segment)| segment.to_string() == name)
            })
    }
}

fn unparsed(why: &str) -> CheckError {
    CheckError::InvalidConfig(format!("failed to parse config: {why}"))
}

/// What the check itself finds wrong.
fn findings<C: Check>(config: C::Config) -> Vec<Fault> {
    let mut found = Findings::default();
    C::review(config, &mut found);
    found.into_faults()
}

/// The first name of a path.
fn top(field: &str) -> &str {
    field.split(['.', '[']).next().unwrap_or_default()
}

/// Whether the place `field` is `outer` or lies in it.
fn is_within(field: &str, outer: &str) -> bool {
    let rest = field.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// serde's message without the value it quotes: of "invalid type: …, expected a string" the end.
fn without_value(message: String) -> String {
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => message,
    }
}

/// serde's message with what was expected in words for people.
fn plain(message: String) -> String {
    let Some((found, expected)) = message.rsplit_once("expected ") else {
        return message;
    };
    let words = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 up",
        "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a boolean" => "`true` or `false`",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        _ => return message,
    };
    format!("{found}expected {words}")
}

impl<C: Check> Executor for Native<C> {
    fn info(&self) -> &KindInfo {
        &self.info
    }

    fn review<'a>(
        &'a self,
        config: &'a str,
        root: &'a str,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Fault>, CheckError>> {
        Box::pin(async move {
            let object = self.given(config)?;
            let bounded = self.bounds.admit(&object);
            let mut faults = findings::<C>(self.parsed(object, config)?);
            if !bounded || !faults.is_empty() {
                // The schema is stricter than runs are: alone it is the caller's to ask.
                faults = self.all_faults(config);
            }
            for fault in &mut faults {
                fault.field = schema::join(root, &fault.field);
            }
            Ok(faults)
        })
    }

    fn execute<'a>(
        &'a self,
        config: &'a str,
        cx: &'a ProbeContext,
    ) -> BoxFuture<'a, Result<Observation, CheckError>> {
        Box::pin(async move {
            let parsed = self.config(config)?;
            if cx.remaining().is_zero() {
                return Err(CheckError::Internal(
                    "no time was left to run the check: its task was taken too late, or its timeout is too short"
                        .to_owned(),
                ));
            }
            let probed = self.check.probe(parsed, cx).await;
            let mut seen = probed.map_err(|error| match error {
                CheckError::InvalidConfig(own) => self.with_others(own, config),
                other => other,
            })?;
            seen.message = text::clipped(text::visible(&seen.message), MOST_MESSAGE);
            Ok(seen)
        })
    }
}
