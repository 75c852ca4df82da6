//! Kafka's wire protocol, as far as it is needed: five requests in their last versions without tagged fields.
//!
//! Not `kafka-protocol`: it reserves memory for as many elements as an answer announces, and aborts when there is none.

use bytes::{Buf, Bytes};

/// What a request asks for, with its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Produce,
    Metadata,
    SaslHandshake,
    SaslAuthenticate,
}

impl Api {
    fn key_and_version(self) -> (i16, i16) {
        match self {
            Self::Produce => (0, 3),
            Self::Metadata => (3, 4),
            Self::SaslHandshake => (17, 1),
            Self::SaslAuthenticate => (36, 0),
        }
    }
}

/// A request in the making.
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn new(api: Api, correlation: i32, client: &str) -> Self {
        let (key, version) = api.key_and_version();
        // The size comes when it is known.
        let request = Self(vec![0; 4]).int16(key).int16(version).int32(correlation);
        request.string(client)
    }

    pub(super) fn int16(mut self, value: i16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn int32(mut self, value: i32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn boolean(mut self, value: bool) -> Self {
        self.0.push(value.into());
        self
    }

    pub(super) fn string(self, text: &str) -> Self {
        let mut request = self.int16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        let most = text.len().min(i16::MAX as usize);
        request
            .0
            .extend_from_slice(text.as_bytes().get(..most).unwrap_or_default());
        request
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut request = self.int32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        request.0.extend_from_slice(bytes);
        request
    }

    /// The bytes to send.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        for (place, byte) in self.0.iter_mut().zip(length.to_be_bytes()) {
            *place = byte;
        }
        self.0
    }
}

/// An answer being read; every method is `None` at its end.
pub(super) struct Answer(pub(super) Bytes);

impl Answer {
    pub(super) fn int16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }

    pub(super) fn int32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    pub(super) fn int64(&mut self) -> Option<i64> {
        self.0.try_get_i64().ok()
    }

    /// Null is empty.
    pub(super) fn string(&mut self) -> Option<String> {
        let bytes = self.bytes16()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Null is empty.
    fn bytes16(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.int16()?).unwrap_or_default();
        self.take(length)
    }

    /// Null is empty.
    pub(super) fn bytes(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.int32()?).unwrap_or_default();
        self.take(length)
    }

    /// Reads as many as are announced, and keeps none.
    pub(super) fn each(&mut self, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        (0..self.int32()?).try_for_each(|_| read(self))
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }
}

/// What the cluster says of a topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) error: i16,
    pub(super) leader: Option<Leader>,
}

/// The leader of one of the partitions that have one, whichever.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) partition: i32,
    /// Host and port; `None` when it is none of the brokers.
    pub(super) broker: Option<(String, u16)>,
}

/// Metadata v4. Neither brokers nor partitions are kept: an answer has room for a million of them.
pub(super) fn metadata(answer: &mut Answer) -> Option<Metadata> {
    answer.int32()?;
    let mut brokers = Answer(answer.0.clone());
    answer.each(|answer| broker(answer).map(drop))?;
    answer.bytes16()?;
    answer.int32()?;
    let mut topic = None;
    answer.each(|answer| {
        let error = answer.int16()?;
        answer.bytes16()?;
        answer.take(1)?;
        let (mut led, mut chosen) = (0_u32, None);
        answer.each(|answer| {
            let (partition, leader) = partition(answer)?;
            if leader >= 0 {
                led += 1;
                chosen = chosen
                    .filter(|_| fastrand::u32(..led) > 0)
                    .or(Some((partition, leader)));
            }
            Some(())
        })?;
        topic.get_or_insert((error, chosen));
        Some(())
    })?;
    let (error, chosen) = topic?;
    let leader = chosen.map(|(partition, leader)| {
        let mut found = None;
        // Read once already: it ends well.
        let _ = brokers.each(|answer| {
            let (id, host, port) = broker(answer)?;
            if id == leader {
                found = Some((host, port));
            }
            Some(())
        });
        let broker = found.map(|(host, port)| (String::from_utf8_lossy(&host).into_owned(), port));
        Leader { partition, broker }
    });
    Some(Metadata { error, leader })
}

/// Id, host and port.
fn broker(answer: &mut Answer) -> Option<(i32, Bytes, u16)> {
    let id = answer.int32()?;
    let host = answer.bytes16()?;
    let port = u16::try_from(answer.int32()?).ok()?;
    answer.bytes16()?;
    Some((id, host, port))
}

/// Index and leader.
fn partition(answer: &mut Answer) -> Option<(i32, i32)> {
    answer.int16()?;
    let partition = (answer.int32()?, answer.int32()?);
    answer.each(|answer| answer.int32().map(drop))?;
    answer.each(|answer| answer.int32().map(drop))?;
    Some(partition)
}

/// Produce v3 of one partition: error and offset.
pub(super) fn produced(answer: &mut Answer) -> Option<(i16, i64)> {
    let mut first = None;
    answer.each(|answer| {
        answer.bytes16()?;
        answer.each(|answer| {
            answer.int32()?;
            let told = (answer.int16()?, answer.int64()?);
            answer.int64()?;
            first.get_or_insert(told);
            Some(())
        })
    })?;
    first
}

/// An error in Kafka's words.
pub(super) fn error_name(code: i16) -> String {
    let name = match code {
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION: this server does not host this topic-partition",
        5 => "LEADER_NOT_AVAILABLE: there is no leader for this topic-partition",
        6 => "NOT_LEADER_OR_FOLLOWER: the broker is not the leader of this partition",
        7 => "REQUEST_TIMED_OUT: the replicas did not acknowledge in time",
        10 => "MESSAGE_TOO_LARGE",
        17 => "INVALID_TOPIC_EXCEPTION: the topic's name is invalid",
        19 => "NOT_ENOUGH_REPLICAS: fewer in-sync replicas than required",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND: fewer in-sync replicas than required",
        29 => "TOPIC_AUTHORIZATION_FAILED: the client may not access this topic",
        31 => "CLUSTER_AUTHORIZATION_FAILED: the client may not access the cluster",
        33 => "UNSUPPORTED_SASL_MECHANISM: the broker does not support the SASL mechanism",
        34 => "ILLEGAL_SASL_STATE: the broker expects no SASL now",
        35 => "UNSUPPORTED_VERSION: the broker does not support this version of the request",
        44 => "POLICY_VIOLATION",
        56 => "KAFKA_STORAGE_ERROR: the broker's disk failed",
        58 => "SASL_AUTHENTICATION_FAILED",
        87 => "INVALID_RECORD: the broker refuses the record",
        _ => return format!("kafka server: error {code}"),
    };
    format!("kafka server: {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_announces_more_than_it_has_is_none_at_once() {
        for bytes in [
            &[0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF][..],
            &[0; 3],
            &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        ] {
            assert_eq!(metadata(&mut Answer(Bytes::copy_from_slice(bytes))), None);
        }
        assert_eq!(produced(&mut Answer(Bytes::from_static(&[0x7F; 4]))), None);
        assert_eq!(Answer(Bytes::from_static(&[0x7F; 4])).bytes(), None);
        assert_eq!(Answer(Bytes::from_static(&[0xFF; 4])).bytes(), Some(Bytes::new()));
    }
}
