//! Which values of a configuration name what the monitor is about: found in the kind's schema once, read in each run.
//!
//! `format` says it (`uri`, `iri`, `hostname`, `idn-hostname`, `ipv4`, `ipv6`), or `x-lapwing-target` does (`host`,
//! `port`, `url`, `host:port`, `none`), which wins. A port is for the hosts of the same object.

use lapwing_checks::net::{
    Host,
    scope::{Ports, Target},
};
use serde_json::Value;
use std::collections::BTreeMap;
use url::Url;

/// The keyword of ours.
const KEYWORD: &str = "x-lapwing-target";
/// How deep a configuration is looked into. What is deeper is no target, and so out of reach.
const DEPTH: usize = 12;
/// How much of a schema is looked at, references written out.
const NODES: usize = 10_000;
/// Most targets of one run.
const TARGETS: usize = 256;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Host,
    Port,
    Url,
    HostPort,
    /// Meant as no target.
    None,
}

/// Where in a configuration the targets are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Map {
    parts: Vec<Part>,
    fields: BTreeMap<String, Map>,
    /// Items of an array, and fields of any other name.
    rest: Option<Box<Map>>,
}

impl Map {
    /// Reads a schema that compiles. `Err` names a mark that is none.
    pub(crate) fn read(schema: &Value) -> Result<Self, String> {
        let mut map = Self::default();
        Reader {
            root: schema,
            left: NODES,
        }
        .read(schema, &mut map, 0)?;
        Ok(map)
    }

    /// The targets that `config` names. Texts that name no host are passed over: whoever dials them finds out. So are the
    /// fields `filled` with the schema's defaults, but for their ports: a place is the operator's to name, not the plugin's.
    pub(crate) fn targets(&self, config: &Value, filled: &[String]) -> Vec<Target> {
        let mut found = Vec::new();
        self.walk(config, filled, &Ports::any(), &mut found);
        found
    }

    /// Whether nothing is marked.
    pub(crate) fn is_empty(&self) -> bool {
        let inner = || self.fields.values().chain(self.rest.as_deref());
        self.parts.iter().all(|part| *part == Part::None) && inner().all(Self::is_empty)
    }

    /// Whether the schema has a field at `path` (names joined by dots), and no mark there or below.
    pub(crate) fn is_unmarked(&self, path: &str) -> bool {
        self.at(path)
            .is_some_and(|map| map.is_empty() && !map.parts.contains(&Part::None))
    }

    /// Whether the schema has, or allows, a field at `path` (names joined by dots; places in arrays need not be named).
    pub(crate) fn has(&self, path: &str) -> bool {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        let inner = || {
            self.fields
                .get(name)
                .map_or(self.rest.is_some(), |field| field.has(rest))
        };
        path.is_empty() || inner()
    }

    /// Whether the field at `path` is marked as something else than a port, or as nothing.
    pub(crate) fn is_no_port(&self, path: &str) -> bool {
        self.at(path)
            .is_some_and(|map| !map.parts.contains(&Part::Port) && !map.parts.contains(&Part::None))
    }

    fn at(&self, path: &str) -> Option<&Self> {
        if path.is_empty() {
            return Some(self);
        }
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        match self.fields.get(name) {
            Some(field) => field.at(rest),
            None => self.rest.as_deref()?.at(path),
        }
    }

    /// Notes the targets of `value`; `ports` are those beside it.
    fn walk(&self, value: &Value, filled: &[String], ports: &Ports, found: &mut Vec<Target>) {
        match value {
            Value::String(text) => self.name(text, ports, found),
            Value::Array(items) => {
                if let Some(rest) = &self.rest {
                    for item in items {
                        rest.walk(item, &[], ports, found);
                    }
                }
            }
            Value::Object(fields) => {
                let inner = |name: &String| self.fields.get(name).or(self.rest.as_deref());
                let known = || {
                    fields
                        .iter()
                        .filter_map(|(name, value)| Some((name, inner(name)?, value)))
                };
                let ports = Ports::only(known().flat_map(|(_, map, value)| map.ports(value)));
                known()
                    .filter(|(name, ..)| !filled.contains(name))
                    .for_each(|(_, map, value)| map.walk(value, &[], &ports, found));
            }
            _ => {}
        }
    }

    fn name(&self, text: &str, ports: &Ports, found: &mut Vec<Target>) {
        for part in &self.parts {
            let target = match part {
                Part::Port | Part::None => None,
                Part::Host => Host::parse(text).ok().map(|host| (host, ports.clone())),
                Part::Url => url(text),
                Part::HostPort => host_port(text, ports),
            };
            if let Some((host, ports)) = target.filter(|_| found.len() < TARGETS) {
                found.push(Target { host, ports });
            }
        }
    }

    /// The ports that `value` is, if it is of that kind.
    fn ports(&self, value: &Value) -> Vec<u16> {
        if let (Value::Array(items), Some(rest)) = (value, &self.rest) {
            return items.iter().filter_map(|item| rest.port(item)).collect();
        }
        self.port(value).into_iter().collect()
    }

    fn port(&self, value: &Value) -> Option<u16> {
        if !self.parts.contains(&Part::Port) {
            return None;
        }
        match value {
            Value::String(text) => text.parse().ok(),
            _ => value.as_u64().and_then(|port| u16::try_from(port).ok()),
        }
    }

    fn mark(&mut self, part: Part) {
        if !self.parts.contains(&part) {
            self.parts.push(part);
        }
    }
}

/// Goes through a schema. Alternatives are read as one: which of them holds is the configuration's business.
struct Reader<'a> {
    root: &'a Value,
    left: usize,
}

impl<'a> Reader<'a> {
    fn read(&mut self, schema: &'a Value, map: &mut Map, depth: usize) -> Result<(), String> {
        let Some(keywords) = schema.as_object().filter(|_| depth < DEPTH && self.left > 0) else {
            return Ok(());
        };
        self.left -= 1;
        if let Some(part) = part(schema)? {
            map.mark(part);
        }
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$ref" | "$dynamicRef" => {
                    let pointer = value.as_str().and_then(|reference| reference.strip_prefix('#'));
                    if let Some(target) = pointer.and_then(|pointer| self.root.pointer(pointer)) {
                        self.read(target, map, depth + 1)?;
                    }
                }
                "allOf" | "anyOf" | "oneOf" => {
                    for alternative in value.as_array().into_iter().flatten() {
                        self.read(alternative, map, depth + 1)?;
                    }
                }
                "if" | "then" | "else" => self.read(value, map, depth + 1)?,
                "properties" => {
                    for (name, property) in value.as_object().into_iter().flatten() {
                        self.read(property, map.fields.entry(name.clone()).or_default(), depth + 1)?;
                    }
                }
                "dependentSchemas" => {
                    for (_, schema) in value.as_object().into_iter().flatten() {
                        self.read(schema, map, depth + 1)?;
                    }
                }
                // What is not there is no field.
                "additionalProperties" | "unevaluatedProperties" if *value == Value::Bool(false) => {}
                "items"
                | "contains"
                | "additionalProperties"
                | "unevaluatedProperties"
                | "unevaluatedItems" => {
                    self.read(value, map.rest.get_or_insert_default(), depth + 1)?;
                }
                "patternProperties" => {
                    for (_, property) in value.as_object().into_iter().flatten() {
                        self.read(property, map.rest.get_or_insert_default(), depth + 1)?;
                    }
                }
                "prefixItems" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.read(item, map.rest.get_or_insert_default(), depth + 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn part(schema: &Value) -> Result<Option<Part>, String> {
    if let Some(mark) = schema.get(KEYWORD) {
        return match mark.as_str() {
            Some("host") => Ok(Some(Part::Host)),
            Some("port") => Ok(Some(Part::Port)),
            Some("url") => Ok(Some(Part::Url)),
            Some("host:port") => Ok(Some(Part::HostPort)),
            Some("none") => Ok(Some(Part::None)),
            _ => Err(format!(
                "`{KEYWORD}` is {mark}; expected \"host\", \"port\", \"url\", \"host:port\" or \"none\""
            )),
        };
    }
    Ok(match schema.get("format").and_then(Value::as_str) {
        Some("uri" | "iri") => Some(Part::Url),
        Some("hostname" | "idn-hostname" | "ipv4" | "ipv6") => Some(Part::Host),
        _ => None,
    })
}

/// A URL's host, and its port or its scheme's; of an unknown scheme, any. `http` is often a redirect to `https`, on the
/// usual ports at least.
fn url(text: &str) -> Option<(Host, Ports)> {
    let url = Url::parse(text.trim()).ok()?;
    let host = Host::parse(url.host_str()?).ok()?;
    let ports = match (url.port(), url.scheme()) {
        (Some(port), _) => Ports::only([port]),
        (None, "http") => Ports::only([80, 443]),
        (None, scheme) => url
            .port_or_known_default()
            .or_else(|| usual_port(scheme))
            .map_or_else(Ports::any, |port| Ports::only([port])),
    };
    Some((host, ports))
}

/// As IANA's registry of service names has them, for schemes the `url` crate does not know.
fn usual_port(scheme: &str) -> Option<u16> {
    Some(match scheme {
        "amqp" => 5672,
        "amqps" => 5671,
        "imap" => 143,
        "imaps" => 993,
        "ldap" => 389,
        "ldaps" => 636,
        "mongodb" => 27_017,
        "mqtt" => 1883,
        "mqtts" => 8883,
        "mysql" => 3306,
        "nats" => 4222,
        "pop3" => 110,
        "pop3s" => 995,
        "postgres" | "postgresql" => 5432,
        "redis" | "rediss" => 6379,
        "smtp" => 25,
        "smtps" => 465,
        "ssh" | "sftp" => 22,
        _ => return None,
    })
}

/// `host`, `host:port`, `[::1]:port`; without a port those beside it.
fn host_port(text: &str, ports: &Ports) -> Option<(Host, Ports)> {
    if let Ok(host) = Host::parse(text) {
        return Some((host, ports.clone()));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some((Host::parse(host).ok()?, Ports::only([port.parse().ok()?])))
}

/// The host that `text` names, however it is written.
pub(super) fn host(text: &str) -> Option<Host> {
    let found = url(text).or_else(|| host_port(text, &Ports::any()));
    found.map(|(host, _)| host)
}

/// What a field with this text would be marked with.
pub(super) fn mark(text: &str) -> Option<&'static str> {
    if url(text).is_some() {
        return Some("`format: uri` or `x-lapwing-target: url`");
    }
    if Host::parse(text).is_ok() {
        return Some("`format: hostname` or `x-lapwing-target: host`");
    }
    host_port(text, &Ports::any()).map(|_| "`x-lapwing-target: host:port`")
}

#[cfg(test)]
mod tests;
