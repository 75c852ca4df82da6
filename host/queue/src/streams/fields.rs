//! An entry's fields as they come from Redis, and what such an entry means.

use super::Format;
use crate::QueueError;
use jiff::Timestamp;
use lapwing_model::Task;
use redis::{RedisError, Value, from_redis_value};

/// Fields and values, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields(pub(super) Vec<(String, Vec<u8>)>);

impl Fields {
    /// The value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// The same as text; `Err` with the field's name when it is none.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        let text = |value| std::str::from_utf8(value).map_err(|_| format!("`{name}` is no UTF-8 text"));
        self.get(name).map(text).transpose()
    }

    /// From a flat list of fields and values.
    pub(super) fn read(value: Value) -> Result<Self, RedisError> {
        let mut flat = from_redis_value::<Vec<Value>>(value)?.into_iter();
        let mut fields = Vec::with_capacity(flat.len() / 2);
        while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
            let field: Vec<u8> = bytes(field)?;
            fields.push((String::from_utf8_lossy(&field).into_owned(), bytes(value)?));
        }
        Ok(Self(fields))
    }
}

fn bytes(value: Value) -> Result<Vec<u8>, RedisError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        other => Ok(from_redis_value(other)?),
    }
}

/// An entry that was handed to us.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: String,
    /// How often it was handed out, this time included.
    pub(super) deliveries: u64,
    pub(super) fields: Fields,
}

impl Entry {
    /// The queue's name for the task, and the task; `Err` with the reason when the entry is none.
    pub(super) fn task(&self, format: Format) -> Result<(String, Task), String> {
        let at = added_at(&self.id).ok_or_else(|| format!("`{}` is no entry's id", self.id))?;
        match format {
            Format::Lapwing => super::entry::read(&self.fields, &self.id, at),
            Format::Uptime => super::uptime::read(&self.fields, at),
        }
    }

    /// The queue's name for it, as far as the fields tell.
    pub(super) fn name(&self, format: Format) -> String {
        let told = match format {
            Format::Lapwing => self.fields.text("id").ok().flatten().map(str::to_owned),
            Format::Uptime => super::uptime::name(&self.fields).ok(),
        };
        told.unwrap_or_else(|| self.id.clone())
    }
}

/// When an entry was added, by Redis's clock: the first half of its id.
pub(super) fn added_at(id: &str) -> Option<Timestamp> {
    let (ms, _) = parts(id)?;
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}

/// The two numbers of an entry's id, by which entries are ordered; `None` for text that is no id.
pub(super) fn parts(id: &str) -> Option<(u64, u64)> {
    let (ms, serial) = id.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(ms) && digits(serial)).then_some(())?;
    Some((ms.parse().ok()?, serial.parse().ok()?))
}

/// How a task is written; [`QueueError::Unfit`] when the format cannot carry it.
pub(super) fn write(format: Format, task: &Task, name: &str) -> Result<Vec<String>, QueueError> {
    match format {
        Format::Lapwing => super::entry::write(task, name),
        Format::Uptime => super::uptime::write(task),
    }
    .map_err(QueueError::Unfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrys_id_tells_when_it_was_added() {
        let at: Timestamp = "2026-04-11T08:15:20.123Z".parse().unwrap();
        assert_eq!(added_at("1775895320123-7"), Some(at));
        for odd in ["", "-", "5", "+5-1", "a-b", "99999999999999999999-0"] {
            assert_eq!(added_at(odd), None, "{odd}");
        }
    }
}
