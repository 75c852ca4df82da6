//! Jobs as stock clients write them, and the tasks they mean (source: `serialize_job` in `arq/jobs.py` of arq 0.28).

use super::{pickle, value::Value};
use jiff::Timestamp;
use lapwing_model::{Task, wire::TaskMessage};
use serde::{Serialize, Serializer};
use serde_json::Map;

/// The function that takes whole tasks as its keyword arguments.
pub(super) const CHECK: &str = "check";

/// How jobs and results are written. What is read says itself how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// As clients and workers do that were not told otherwise.
    #[default]
    Pickle,
    /// For clients with `json.dumps` as their serializer (encoded) and `json.loads` as their deserializer.
    Json,
    /// For clients with `msgpack.packb` and `msgpack.unpackb`.
    MessagePack,
}

impl Format {
    /// What these bytes must be, if they are a job or a result.
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            _ if pickle::is_pickle(bytes) => Some(Format::Pickle),
            [0x81..=0x8f | 0xde | 0xdf, ..] => Some(Format::MessagePack),
            _ if bytes.trim_ascii_start().starts_with(b"{") => Some(Format::Json),
            _ => None,
        }
    }

    /// Reads a job or a result.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, Value), String> {
        let format = Self::of(bytes).ok_or("it is neither pickle nor JSON nor MessagePack")?;
        let value = match format {
            Format::Pickle => pickle::read(bytes)?,
            Format::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string())?,
            Format::MessagePack => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
                reader.set_max_depth(100);
                serde::Deserialize::deserialize(&mut reader).map_err(|error| error.to_string())?
            }
        };
        Ok((format, value))
    }

    /// Writes a dictionary.
    pub(super) fn write(self, entries: &[(&str, &Value)]) -> Result<Vec<u8>, String> {
        match self {
            Format::Pickle => Ok(pickle::write(entries)),
            Format::Json => serde_json::to_vec(&Entries(entries)).map_err(|error| error.to_string()),
            Format::MessagePack => rmp_serde::to_vec(&Entries(entries)).map_err(|error| error.to_string()),
        }
    }
}

struct Entries<'a>(&'a [(&'a str, &'a Value)]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub(super) format: Format,
    pub(super) function: String,
    pub(super) args: Value,
    pub(super) kwargs: Value,
    /// The least number of its next try.
    pub(super) least_try: u32,
    /// When it was enqueued, in Unix milliseconds.
    pub(super) enqueued: i64,
}

impl Job {
    /// Reads a job. The error says what is wrong with the bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let (format, value) = Format::read(bytes)?;
        let Value::Dict(entries) = value else {
            return Err("it is no dictionary".to_owned());
        };
        let (mut function, mut args, mut kwargs) = (None, None, None);
        let (mut least_try, mut enqueued) = (None, None);
        for (key, value) in entries {
            match (key.as_str(), value) {
                // Whoever reads only the beginning must not take it for another.
                (Some("f"), _) if function.is_some() => return Err("it has two functions".to_owned()),
                (Some("f"), Value::Str(name)) => function = Some(name),
                (Some("a"), value @ (Value::Tuple(_) | Value::List(_))) => args = Some(value),
                (Some("k"), value @ Value::Dict(_)) => kwargs = Some(value),
                (Some("t"), value) => least_try = value.as_int(),
                (Some("et"), value) => enqueued = value.as_int(),
                _ => {}
            }
        }
        let missing = |what: &str| format!("it has no {what}");
        Ok(Self {
            format,
            function: function.ok_or_else(|| missing("function"))?,
            args: args.ok_or_else(|| missing("arguments"))?,
            kwargs: kwargs.ok_or_else(|| missing("keyword arguments"))?,
            least_try: least_try.map_or(0, |number| u32::try_from(number.max(0)).unwrap_or(u32::MAX)),
            enqueued: enqueued
                .and_then(|ms| i64::try_from(ms).ok())
                .ok_or_else(|| missing("time"))?,
        })
    }

    /// The job that means `task`; `Err` when its configuration is no JSON object.
    pub(super) fn of(task: &Task, format: Format, now: Timestamp) -> Result<Self, String> {
        let mut message = TaskMessage::of(task).map_err(|error| error.0)?;
        // The job's own id says it.
        message.id = None;
        let kwargs = serde_json::to_value(message).map_err(|error| error.to_string())?;
        Ok(Self {
            format,
            function: CHECK.to_owned(),
            args: Value::Tuple(Vec::new()),
            kwargs: kwargs.into(),
            least_try: 0,
            enqueued: now.as_millisecond(),
        })
    }

    /// As a stock client would write it.
    pub(super) fn write(&self) -> Result<Vec<u8>, String> {
        self.format.write(&[
            ("t", &Value::None),
            ("f", &Value::Str(self.function.clone())),
            ("a", &self.args),
            ("k", &self.kwargs),
            ("et", &Value::Int(self.enqueued.into())),
        ])
    }

    /// The kind of check that it asks for, as far as it says.
    pub(super) fn kind(&self) -> Option<&str> {
        match self.function.as_str() {
            CHECK => self.kwargs.get("kind").and_then(Value::as_str),
            function => Some(function),
        }
    }

    /// The task that it means, on its `attempt`th try, due at `due` in Unix milliseconds. The error is for whoever
    /// enqueued it.
    pub(super) fn task(&self, id: &str, attempt: u32, due: i64) -> Result<Task, String> {
        let mut kwargs = object(&self.kwargs, "")?;
        let (Value::Tuple(args) | Value::List(args)) = &self.args else {
            return Err("the positional arguments are no tuple".to_owned());
        };
        let config = match args.as_slice() {
            [] => None,
            [config @ Value::Dict(_)] => Some(object(config, "args[0]")?),
            _ => {
                return Err(format!(
                    "`{}` takes its arguments by keyword, or one dictionary with the configuration",
                    self.function
                ));
            }
        };
        let twice = || Err("the configuration is given twice".to_owned());
        let message = match (self.function.as_str(), config) {
            (CHECK, config) => {
                if let Some(config) = config
                    && kwargs.insert("config".to_owned(), config.into()).is_some()
                {
                    return twice();
                }
                TaskMessage::from_value(kwargs.into()).map_err(|error| error.0)?
            }
            (_, Some(_)) if !kwargs.is_empty() => return twice(),
            (kind, config) => TaskMessage {
                kind: kind.to_owned(),
                config: config.unwrap_or(kwargs),
                ..TaskMessage::default()
            },
        };
        let mut task = message.into_task(id, self.due(due)?);
        task.attempt = task.attempt.max(attempt);
        // Who names jobs names monitors by them.
        task.nameless &= is_made_up(id);
        Ok(task)
    }

    /// When the run fell due: the time it was deferred to, if later than when it was enqueued.
    fn due(&self, score: i64) -> Result<Timestamp, String> {
        Timestamp::from_millisecond(score.max(self.enqueued))
            .map_err(|error| format!("its time is none: {error}"))
    }
}

/// Whether the client that enqueued it gave the job its id: 32 hexadecimal digits (`arq/connections.py`, `uuid4().hex`).
fn is_made_up(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn object(value: &Value, path: &str) -> Result<Map<String, serde_json::Value>, String> {
    match value.to_json(path)? {
        serde_json::Value::Object(map) => Ok(map),
        _ => Err(format!("argument `{path}` is no dictionary")),
    }
}
