//! The plain values of Python that jobs and results are made of, whichever way they are written.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use std::fmt;

/// One value. Order is kept everywhere.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i128),
    /// An integer beyond `Int`: two's complement, little endian.
    Big(Vec<u8>),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Set(Vec<Value>),
    FrozenSet(Vec<Value>),
    /// What only Python could build: the name of its class or function, and the first text it is built from. It is
    /// never built here.
    Object {
        name: String,
        text: Option<String>,
    },
    /// What makes a stock client's `result()` raise; only ever written.
    Failure(Failure),
}

/// The exceptions a result can be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// `arq.worker.JobExecutionFailed`, with its message.
    Execution(String),
    /// `asyncio.CancelledError`: the job was aborted.
    Cancelled,
}

impl Value {
    /// The entry called `key` of a dictionary; the last one, as in Python.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let Value::Dict(entries) = self else { return None };
        let is = |name: &Value| matches!(name, Value::Str(name) if name == key);
        entries
            .iter()
            .rev()
            .find(|(name, _)| is(name))
            .map(|(_, value)| value)
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The same as JSON. What JSON has not is an error that names the place, as `path` begins it, and the trouble.
    pub(super) fn to_json(&self, path: &str) -> Result<serde_json::Value, String> {
        use serde_json::Value as Json;
        let unfit = |what: &str| Err(format!("argument `{path}` is {what}, which is no JSON"));
        Ok(match self {
            Value::None => Json::Null,
            Value::Bool(truth) => Json::Bool(*truth),
            Value::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => return unfit("an integer beyond 64 bits"),
            },
            Value::Big(_) => return unfit("an integer beyond 64 bits"),
            Value::Float(number) => match serde_json::Number::from_f64(*number) {
                Some(number) => Json::Number(number),
                None => return unfit("not a finite number"),
            },
            Value::Str(text) => Json::String(text.clone()),
            Value::Bytes(_) => return unfit("of type bytes"),
            Value::Set(_) | Value::FrozenSet(_) => return unfit("a set"),
            Value::Failure(_) => return unfit("an exception"),
            Value::Object { name, .. } => return unfit(&format!("an object made by `{name}`")),
            Value::List(items) | Value::Tuple(items) => {
                let item = |(index, item): (usize, &Value)| item.to_json(&format!("{path}[{index}]"));
                Json::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
            }
            Value::Dict(entries) => {
                let mut map = serde_json::Map::with_capacity(entries.len());
                for (key, value) in entries {
                    let Value::Str(key) = key else {
                        return unfit("a dictionary with keys that are no text");
                    };
                    let inner = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    map.insert(key.clone(), value.to_json(&inner)?);
                }
                Json::Object(map)
            }
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(text.to_owned())
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::None,
            Json::Bool(truth) => Value::Bool(truth),
            Json::Number(number) => match (number.as_i128(), number.as_f64()) {
                (Some(number), _) => Value::Int(number),
                (None, number) => Value::Float(number.unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Str(text),
            Json::Array(items) => Value::List(items.into_iter().map(Value::from).collect()),
            Json::Object(map) => {
                let entry = |(key, value)| (Value::Str(key), Value::from(value));
                Value::Dict(map.into_iter().map(entry).collect())
            }
        }
    }
}

/// For JSON and MessagePack. What those have not becomes text: it stood in a pickle, and is only echoed.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::None => serializer.serialize_unit(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => serializer.serialize_i64(number),
                (_, Ok(number)) => serializer.serialize_u64(number),
                _ => serializer.serialize_str(&number.to_string()),
            },
            Value::Big(_) => serializer.serialize_str("int"),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Str(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                serializer.collect_seq(items)
            }
            Value::Dict(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Value::Object { name, .. } => serializer.serialize_str(name),
            Value::Failure(Failure::Execution(why)) => serializer.serialize_str(why),
            Value::Failure(Failure::Cancelled) => serializer.serialize_str("cancelled"),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Plain)
    }
}

struct Plain;

impl<'de> Visitor<'de> for Plain {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Int(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Str(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_owned()))
    }

    /// An extension type of MessagePack.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Ok(Value::Object {
            name: "a MessagePack extension".to_owned(),
            text: None,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut dict = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            dict.push(entry);
        }
        Ok(Value::Dict(dict))
    }
}
