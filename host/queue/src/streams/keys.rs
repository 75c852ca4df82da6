//! The keys of one stream. All but the stream and its dead letters carry the stream's name as their hash tag, so that
//! they share its slot in a cluster; a stream whose name has a hash tag of its own shares it with the dead letters too.

use crate::QueueError;

/// Entries that nobody works at belong to this consumer.
pub(super) const PARKED: &str = "lapwing:parked";

/// See the README for what is where.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) stream: String,
    pub(super) dead: String,
    pub(super) later: String,
    pub(super) scheduled: String,
    pub(super) retry: String,
    pub(super) paused: String,
    pub(super) cancelled: String,
    pub(super) processed: String,
    pub(super) failed: String,
    /// What comes before a task's name.
    pub(super) locks: String,
    pub(super) kept: String,
}

impl Keys {
    pub(super) fn new(stream: &str) -> Result<Self, QueueError> {
        let tag = tagged(stream)?;
        Ok(Self {
            stream: stream.to_owned(),
            dead: format!("{stream}:dead"),
            later: format!("{tag}:later"),
            scheduled: format!("{tag}:scheduled"),
            retry: format!("{tag}:retry"),
            paused: format!("{tag}:paused"),
            cancelled: format!("{tag}:cancelled"),
            processed: format!("{tag}:processed"),
            failed: format!("{tag}:failed"),
            locks: format!("{tag}:task:"),
            kept: format!("{tag}:result:"),
        })
    }

    /// What says that a task of this name is on the queue, and where.
    pub(super) fn lock(&self, name: &str) -> String {
        format!("{}{name}", self.locks)
    }

    /// Where the newest result of a task is kept.
    pub(super) fn result(&self, name: &str) -> String {
        format!("{}{name}", self.kept)
    }
}

/// The beginning of keys that share the slot of `stream`. Redis hashes what is between the first `{` and the next `}`,
/// if that is something, else the whole key.
pub(super) fn tagged(stream: &str) -> Result<String, QueueError> {
    let tag = |from: &str| from.find('}').map(|end| end > 0);
    match stream.split_once('{').and_then(|(_, rest)| tag(rest)) {
        Some(true) => Ok(stream.to_owned()),
        None if !stream.is_empty() && !stream.contains(['{', '}']) => Ok(format!("{{{stream}}}")),
        _ => Err(QueueError::Unfit(format!(
            "`{stream}` cannot name a stream: braces must enclose a hash tag"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_share_the_slot_of_their_stream() {
        assert_eq!(tagged("uptime:jobs").unwrap(), "{uptime:jobs}");
        assert_eq!(tagged("a{b}c").unwrap(), "a{b}c");
        assert_eq!(Keys::new("a{b}c").unwrap().lock("m"), "a{b}c:task:m");
        for odd in ["", "{}a", "a}b", "a{b"] {
            assert!(matches!(tagged(odd), Err(QueueError::Unfit(_))), "{odd}");
        }
    }
}
