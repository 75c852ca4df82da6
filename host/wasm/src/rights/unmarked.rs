//! Fields that a kind's capabilities name as the monitor's own target, and that its schema does not mark as one.
//!
//! They permit nothing. They are told when the plugin is loaded, and when a run is refused what such a field names: an
//! author who forgot the mark would else be advised to ask an operator for a grant.

use super::{Map, Right, needs::placeholder, target};
use lapwing_checks::net::scope::Unmarked as Place;
use serde_json::Value;
use std::sync::Arc;

/// The fields of one kind.
#[derive(Debug, Default)]
pub(crate) struct Unmarked(Vec<Field>);

#[derive(Debug)]
struct Field {
    /// Its names from the outside in, joined by dots.
    path: String,
    /// What is wrong, and the mark that is missing.
    advice: Arc<str>,
}

impl Unmarked {
    /// Reads `(name, scope)` pairs against a schema's `targets`; what to mark a field as is seen from `example`.
    pub(crate) fn read<'a>(
        capabilities: impl IntoIterator<Item = (&'a str, &'a [String])>,
        targets: &Map,
        example: &Value,
    ) -> Self {
        let mut fields: Vec<Field> = Vec::new();
        for (name, scope) in capabilities {
            if !Right::named(name).is_some_and(Right::is_network) {
                continue;
            }
            for path in scope.iter().filter_map(|text| placeholder(text)) {
                let known = fields.iter().any(|field| field.path == path);
                if !known && targets.is_unmarked(path) {
                    fields.push(Field {
                        advice: advice(path, targets, example).into(),
                        path: path.to_owned(),
                    });
                }
            }
        }
        Self(fields)
    }

    /// What is wrong, for each field.
    pub(crate) fn advice(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|field| &*field.advice)
    }

    /// The places that these fields of `config` name.
    pub(crate) fn places(&self, config: &Value) -> Arc<[Place]> {
        let named = self.0.iter().flat_map(|field| {
            let hosts = texts(config, &field.path).filter_map(target::host);
            hosts.map(|host| Place {
                host,
                advice: field.advice.clone(),
            })
        });
        named.collect()
    }
}

fn advice(path: &str, targets: &Map, example: &Value) -> String {
    let mark = texts(example, path)
        .find_map(target::mark)
        .unwrap_or("`x-lapwing-target`");
    if targets.is_empty() {
        format!("no field of the schema is marked as target: mark `{path}` with {mark}")
    } else {
        format!("the schema does not mark `{path}` as target: mark it with {mark}")
    }
}

/// The texts at `path`, of every item where it leads through an array.
pub(super) fn texts<'a>(value: &'a Value, path: &str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
    match value {
        Value::Array(items) => {
            let path = path.to_owned();
            Box::new(items.iter().flat_map(move |item| texts(item, &path)))
        }
        Value::Object(fields) => {
            let (name, rest) = path.split_once('.').unwrap_or((path, ""));
            fields.get(name).map_or_else(
                || Box::new(std::iter::empty()) as Box<dyn Iterator<Item = _>>,
                |value| texts(value, rest),
            )
        }
        Value::String(text) if path.is_empty() => Box::new(std::iter::once(text.as_str())),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(scope: &str, properties: &Value, example: &Value) -> Unmarked {
        let map = Map::read(&json!({ "type": "object", "properties": properties })).unwrap();
        Unmarked::read([("net.tcp", [scope.to_owned()].as_slice())], &map, example)
    }

    #[test]
    fn a_forgotten_mark_is_named_with_what_fits_the_example() {
        let text = json!({ "type": "string" });
        for (value, mark) in [
            ("mail.test", "`format: hostname` or `x-lapwing-target: host`"),
            ("10.0.0.1", "`format: hostname` or `x-lapwing-target: host`"),
            ("http://a.test/", "`format: uri` or `x-lapwing-target: url`"),
            ("a.test:25", "`x-lapwing-target: host:port`"),
            ("a b", "`x-lapwing-target`"),
        ] {
            let found = read(
                "{config.place}",
                &json!({ "place": text }),
                &json!({ "place": value }),
            );
            let advice = format!("no field of the schema is marked as target: mark `place` with {mark}");
            assert_eq!(found.advice().collect::<Vec<_>>(), [advice]);
        }
    }

    #[test]
    fn what_is_marked_or_marked_as_none_is_no_slip() {
        for mark in [
            json!({ "format": "hostname" }),
            json!({ "x-lapwing-target": "host" }),
            json!({ "x-lapwing-target": "none" }),
            json!({ "type": "object", "properties": { "name": { "format": "uri" } } }),
        ] {
            let found = read(
                "{config.host}:{config.port}",
                &json!({ "host": mark }),
                &json!({}),
            );
            assert_eq!(found.0.len(), 0, "{mark}");
        }
        let secret = ("secret", &["{config.token}".to_owned()][..]);
        let map = Map::read(&json!({ "properties": { "token": {} } })).unwrap();
        assert_eq!(Unmarked::read([secret], &map, &json!({})).0.len(), 0);
    }

    #[test]
    fn the_places_of_a_configuration_are_found_through_arrays() {
        let servers = json!({ "servers": { "items": { "properties": { "host": { "type": "string" } } } },
                              "page": { "format": "uri" } });
        let found = read("{config.servers.host}:25", &servers, &json!({}));
        assert!(
            found
                .advice()
                .all(|advice| advice.contains("does not mark `servers.host`"))
        );
        let config = json!({ "servers": [{ "host": "A.test" }, { "host": 1 }, { "host": "10.0.0.1:25" }] });
        let hosts: Vec<_> = found
            .places(&config)
            .iter()
            .map(|place| place.host.to_string())
            .collect();
        assert_eq!(hosts, ["a.test", "10.0.0.1"]);
    }
}
