//! Rewriting a message loses nothing.

use lapwing_queue::asynq::message::{Envelope, Headers, TaskMessage};
use proptest::prelude::*;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

fn known() -> impl Strategy<Value = TaskMessage> {
    let texts = (
        ".*",
        prop::collection::vec(any::<u8>(), 0..64),
        ".*",
        ".*",
        ".*",
        ".*",
        ".*",
    );
    let numbers = (
        any::<i32>(),
        any::<i32>(),
        any::<i64>(),
        any::<i64>(),
        any::<i64>(),
        any::<i64>(),
        any::<i64>(),
    );
    (texts, numbers).prop_map(
        |(
            (kind, payload, id, queue, error_msg, unique_key, group_key),
            (retry, retried, timeout, deadline, last_failed_at, retention, completed_at),
        )| TaskMessage {
            kind,
            payload,
            id,
            queue,
            retry,
            retried,
            error_msg,
            timeout,
            deadline,
            unique_key,
            last_failed_at,
            retention,
            completed_at,
            group_key,
        },
    )
}

/// Fields that no version so far has, of every wire type there is.
fn unknown() -> impl Strategy<Value = Vec<u8>> {
    let field = (
        15_u32..2000,
        any::<u64>(),
        prop::collection::vec(any::<u8>(), 0..32),
        0..4,
    )
        .prop_map(|(tag, number, bytes, wire_type)| {
            let mut field = Vec::new();
            match wire_type {
                0 => {
                    encode_key(tag, WireType::Varint, &mut field);
                    encode_varint(number, &mut field);
                }
                1 => {
                    encode_key(tag, WireType::SixtyFourBit, &mut field);
                    field.extend(number.to_le_bytes());
                }
                2 => {
                    encode_key(tag, WireType::LengthDelimited, &mut field);
                    encode_varint(bytes.len() as u64, &mut field);
                    field.extend(bytes);
                }
                _ => {
                    encode_key(tag, WireType::ThirtyTwoBit, &mut field);
                    field.extend(&number.to_le_bytes()[..4]);
                }
            }
            field
        });
    prop::collection::vec(field, 0..5).prop_map(|fields| fields.concat())
}

proptest! {
    #[test]
    fn a_rewritten_message_keeps_every_field(message in known(), unknown in unknown(), why in ".*") {
        let bytes = [message.encode_to_vec(), unknown.clone()].concat();
        let mut envelope = Envelope::decode(&bytes).unwrap();
        prop_assert_eq!(envelope.encode(), bytes);
        envelope.message.error_msg.clone_from(&why);
        let again = Envelope::decode(&envelope.encode()).unwrap();
        prop_assert_eq!(again.unknown, unknown);
        prop_assert_eq!(again.message, TaskMessage { error_msg: why, ..message });
    }

    #[test]
    fn bytes_that_are_no_message_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(envelope) = Envelope::decode(&bytes) {
            prop_assert!(Envelope::decode(&envelope.encode()).is_ok());
        }
    }
}

#[test]
fn field_numbers_are_asynqs() {
    let message = TaskMessage {
        kind: "t".into(),
        payload: b"p".to_vec(),
        id: "i".into(),
        queue: "q".into(),
        retry: 1,
        retried: 2,
        error_msg: "e".into(),
        timeout: 3,
        deadline: 4,
        unique_key: "u".into(),
        last_failed_at: 5,
        retention: 6,
        completed_at: 7,
        group_key: "g".into(),
    };
    let headers = Headers {
        headers: [("h".to_owned(), "v".to_owned())].into(),
    };
    let envelope = Envelope {
        message,
        unknown: headers.encode_to_vec(),
    };
    assert_eq!(
        hex::encode(envelope.encode()),
        "0a01741201701a01692201712801300 23a0165400348045201755805600668077201677a060a016812017 6"
            .replace(' ', "")
    );
}
