//! Lapwing's own entries: a field `task`, as JSON or MessagePack; or, for people at `redis-cli`, the flat fields `kind`,
//! `config` (JSON text), `timeout_ms`, `name`. In either a field `id` names a task that does not name itself.

use super::fields::Fields;
use jiff::Timestamp;
use lapwing_model::{Task, wire::TaskMessage};
use serde::Deserialize;

/// Nesting that is read of MessagePack: no more than JSON's readers take, which the configuration meets later.
const DEEPEST: usize = 100;

/// The queue's name for the task, and the task.
pub(super) fn read(fields: &Fields, entry: &str, at: Timestamp) -> Result<(String, Task), String> {
    let message = match fields.get("task") {
        Some(bytes) => decode(bytes)?,
        None => flat(fields)?,
    };
    let id = fields.text("id")?.filter(|id| !id.is_empty());
    let mut task = message.into_task(id.unwrap_or(entry), at);
    task.nameless &= id.is_none();
    let name = id.map_or_else(|| task.monitor.id.clone(), str::to_owned);
    Ok((name, task))
}

/// The task as fields and values; `Err` when its configuration is no JSON object.
pub(super) fn write(task: &Task, name: &str) -> Result<Vec<String>, String> {
    let message = TaskMessage::of(task).map_err(|error| error.0)?;
    let json = serde_json::to_string(&message).map_err(|error| error.to_string())?;
    let mut fields = vec!["task".to_owned(), json];
    if name != task.monitor.id {
        fields.extend(["id".to_owned(), name.to_owned()]);
    }
    Ok(fields)
}

/// An object in JSON begins with a brace; a map in MessagePack never does.
fn decode(bytes: &[u8]) -> Result<TaskMessage, String> {
    let json = bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_none_or(|first| *first == b'{');
    if json {
        // Telling which field is wrong takes longer, and most are right.
        return serde_json::from_slice(bytes)
            .or_else(|_| TaskMessage::from_json(bytes))
            .map_err(|error| error.to_string());
    }
    let mut rest = bytes;
    let mut reader = rmp_serde::Deserializer::new(&mut rest);
    reader.set_max_depth(DEEPEST);
    let message = TaskMessage::deserialize(&mut reader)
        .map_err(|error| format!("failed to unmarshal payload: MessagePack: {error}"))?;
    if rest.is_empty() {
        return Ok(message);
    }
    Err(format!(
        "failed to unmarshal payload: MessagePack: {} bytes too many",
        rest.len()
    ))
}

fn flat(fields: &Fields) -> Result<TaskMessage, String> {
    let Some(kind) = fields.text("kind")?.filter(|kind| !kind.is_empty()) else {
        return Err("missing field `task` (or `kind` and `config`)".to_owned());
    };
    let config = fields.text("config")?.filter(|text| !text.is_empty());
    let config = config.map(serde_json::from_str).transpose();
    let timeout_ms = fields.text("timeout_ms")?.map(str::parse).transpose();
    Ok(TaskMessage {
        kind: kind.to_owned(),
        config: config
            .map_err(|error| format!("`config` is no JSON object: {error}"))?
            .unwrap_or_default(),
        timeout_ms: timeout_ms.map_err(|error| format!("`timeout_ms` is no number: {error}"))?,
        name: fields.text("name")?.map(str::to_owned),
        ..TaskMessage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at() -> Timestamp {
        "2026-04-11T08:15:20Z".parse().unwrap()
    }

    fn entry(fields: &[(&str, &[u8])]) -> Result<(String, Task), String> {
        let owned = fields
            .iter()
            .map(|(field, value)| ((*field).to_owned(), value.to_vec()));
        read(&Fields(owned.collect()), "7-0", at())
    }

    const JSON: &[u8] = br#" {"kind":"tcp","config":{"host":"h","port":1},"id":"m","attempt":2}"#;

    #[test]
    fn json_and_messagepack_mean_the_same() {
        let message = TaskMessage::from_json(JSON).unwrap();
        let named = rmp_serde::to_vec_named(&message).unwrap();
        let (name, task) = entry(&[("task", JSON)]).unwrap();
        assert_eq!((name.as_str(), task.attempt), ("m", 2));
        assert_eq!(entry(&[("task", &named)]).unwrap().1, task);
        let long = [named.as_slice(), b"x"].concat();
        assert!(
            entry(&[("task", &long)])
                .unwrap_err()
                .contains("1 bytes too many")
        );
    }

    #[test]
    fn a_configuration_deeper_than_json_may_be_is_refused() {
        let nested = |depth: usize| {
            let head = b"\x82\xa4kind\xa4http\xa6config\x81\xa1n";
            [head.as_slice(), &vec![0x91; depth], b"\x90"].concat()
        };
        let (name, task) = entry(&[("task", &nested(90))]).unwrap();
        write(&task, &name).unwrap();
        let why = entry(&[("task", &nested(130))]).unwrap_err();
        assert!(why.contains("depth limit"), "{why}");
    }

    #[test]
    fn flat_fields_are_a_task() {
        let (name, task) = entry(&[
            ("kind", b"tcp"),
            ("config", br#"{"host":"h"}"#),
            ("timeout_ms", b"1500"),
        ])
        .unwrap();
        assert_eq!((name.as_str(), task.monitor.id.as_str()), ("7-0", "7-0"));
        assert_eq!(task.monitor.config, r#"{"host":"h"}"#);
        assert_eq!(task.monitor.timeout, Duration::from_millis(1500));
        assert_eq!(task.scheduled_at, Some(at()));
        let (name, task) = entry(&[("kind", b"tcp"), ("id", b"m"), ("name", b"My site")]).unwrap();
        assert_eq!(
            (
                name.as_str(),
                task.monitor.name.as_str(),
                task.monitor.id.as_str()
            ),
            ("m", "My site", "m")
        );
    }

    #[test]
    fn a_task_is_read_as_it_was_written() {
        let (_, task) = entry(&[("task", JSON)]).unwrap();
        for name in ["m", "9-9"] {
            let written = write(&task, name).unwrap();
            let pairs: Vec<_> = written
                .chunks(2)
                .map(|pair| (pair[0].as_str(), pair[1].as_bytes()))
                .collect();
            assert_eq!(entry(&pairs).unwrap(), (name.to_owned(), task.clone()));
        }
    }

    #[test]
    fn what_is_no_task_says_why() {
        for (fields, says) in [
            (vec![], "missing field `task`"),
            (vec![("task", b"[]".as_slice())], "MessagePack"),
            (vec![("task", b"")], "EOF"),
            (vec![("task", br#"{"config":{}}"#)], "missing field `kind`"),
            (vec![("kind", b"")], "missing field"),
            (vec![("kind", b"tcp"), ("config", b"[]")], "`config`"),
            (vec![("kind", b"tcp"), ("timeout_ms", b"x")], "`timeout_ms`"),
            (vec![("kind", b"\xff")], "`kind` is no UTF-8"),
        ] {
            let why = entry(&fields).unwrap_err();
            assert!(why.contains(says), "{fields:?}: {why}");
        }
    }
}
