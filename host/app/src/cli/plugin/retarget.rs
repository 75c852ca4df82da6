//! Points a configuration at another server: in the fields its schema marks as target.
//!
//! The marks are those that give a plugin its right to reach its target (`x-lapwing-target`, else `format`); what is
//! not marked stays as the example has it.

use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use url::Url;

/// How deep a schema is looked into.
const DEPTH: usize = 12;

/// `config` with every marked field at `address`, and how many there were.
pub(crate) fn retarget(
    schema: &Value,
    config: &Map<String, Value>,
    address: SocketAddr,
) -> (Map<String, Value>, usize) {
    let mut pointed = Pointer {
        root: schema,
        address,
        found: 0,
    };
    let config = pointed.object(schema, config.clone(), 0);
    (config, pointed.found)
}

struct Pointer<'a> {
    root: &'a Value,
    address: SocketAddr,
    found: usize,
}

impl Pointer<'_> {
    fn object(&mut self, schema: &Value, mut config: Map<String, Value>, depth: usize) -> Map<String, Value> {
        let schema = resolve(self.root, schema);
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            // What the example leaves to its default must be pointed, too.
            let value = config.remove(name);
            if let Some(value) = self.value(property, value, depth) {
                config.insert(name.clone(), value);
            }
        }
        config
    }

    fn value(&mut self, schema: &Value, value: Option<Value>, depth: usize) -> Option<Value> {
        let schema = resolve(self.root, schema).clone();
        if let Some(mark) = mark(&schema) {
            let pointed = self.point(mark, value.as_ref(), &schema);
            self.found += usize::from(pointed.is_some());
            return pointed.or(value);
        }
        match value? {
            Value::Object(map) if depth < DEPTH => Some(Value::Object(self.object(&schema, map, depth + 1))),
            Value::Array(items) if depth < DEPTH => {
                let inner = schema.get("items").cloned().unwrap_or(Value::Null);
                let items = items
                    .into_iter()
                    .filter_map(|item| self.value(&inner, Some(item), depth + 1));
                Some(items.collect())
            }
            other => Some(other),
        }
    }

    fn point(&self, mark: &str, value: Option<&Value>, schema: &Value) -> Option<Value> {
        let is_text = schema.get("type").and_then(Value::as_str) == Some("string");
        match mark {
            "port" if is_text => Some(json!(self.address.port().to_string())),
            "port" => Some(json!(self.address.port())),
            // Optional second targets that the example leaves out stay out.
            "host" | "hostname" | "idn-hostname" | "ipv4" => {
                value.map(|_| json!(self.address.ip().to_string()))
            }
            "host:port" => value.map(|_| json!(self.address.to_string())),
            "url" | "uri" | "iri" => value.and_then(Value::as_str).map(|url| json!(self.url(url))),
            _ => None,
        }
    }

    /// The same path, without encryption where that is a matter of the scheme.
    fn url(&self, text: &str) -> String {
        let Ok(url) = Url::parse(text) else {
            return format!("http://{}/", self.address);
        };
        let scheme = match url.scheme() {
            "https" => "http",
            "wss" => "ws",
            other => other,
        };
        let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
        format!("{scheme}://{}{}{query}", self.address, url.path())
    }
}

/// Follows a reference within the schema.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
    pointer
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema)
}

/// What a field is, in the words of `x-lapwing-target` or of `format`.
fn mark(schema: &Value) -> Option<&str> {
    let own = schema.get("x-lapwing-target").and_then(Value::as_str);
    let format = || schema.get("format").and_then(Value::as_str);
    own.or_else(format).filter(|mark| {
        [
            "host",
            "port",
            "url",
            "host:port",
            "hostname",
            "idn-hostname",
            "ipv4",
            "uri",
            "iri",
        ]
        .contains(mark)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointed(schema: &Value, config: &Value) -> (Value, usize) {
        let address = "127.0.0.1:7".parse().unwrap();
        let (config, found) = retarget(schema, config.as_object().unwrap(), address);
        (Value::Object(config), found)
    }

    #[test]
    fn marked_fields_point_to_the_server_and_others_stay() {
        let schema = json!({
            "properties": {
                "host": {"$ref": "#/$defs/Host"},
                "port": {"type": "integer", "x-lapwing-target": "port"},
                "url": {"type": "string", "format": "uri"},
                "docs": {"type": "string", "format": "uri", "x-lapwing-target": "none"},
                "peers": {"items": {"properties": {"at": {"x-lapwing-target": "host:port"}}}},
                "spare": {"format": "hostname"},
            },
            "$defs": {"Host": {"type": "string", "format": "hostname"}},
        });
        let config = json!({
            "host": "mail.example", "url": "https://example.com/status?x=1", "docs": "https://docs.example/",
            "peers": [{"at": "a:1"}, {"at": "b:2", "n": 1}],
        });
        let expected = json!({
            "host": "127.0.0.1", "port": 7, "url": "http://127.0.0.1:7/status?x=1", "docs": "https://docs.example/",
            "peers": [{"at": "127.0.0.1:7"}, {"at": "127.0.0.1:7", "n": 1}],
        });
        assert_eq!(pointed(&schema, &config), (expected, 5));
    }

    #[test]
    fn without_marks_nothing_changes() {
        let schema = json!({"properties": {"host": {"type": "string"}}});
        assert_eq!(pointed(&schema, &json!({"host": "h"})), (json!({"host": "h"}), 0));
    }
}
