use super::{super::value::Failure, *};
use proptest::prelude::*;

fn write(value: &Value) -> Vec<u8> {
    super::write(&[("value", value)])
}

fn again(bytes: &[u8]) -> Value {
    read(bytes).unwrap().get("value").unwrap().clone()
}

fn plain() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(Value::Int),
        any::<i32>().prop_map(|number| Value::Int(number.into())),
        any::<f64>()
            .prop_filter("equal to itself", |number| !number.is_nan())
            .prop_map(Value::Float),
        ".{0,300}".prop_map(Value::Str),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let some = || proptest::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            some().prop_map(Value::List),
            some().prop_map(Value::Tuple),
            some().prop_map(Value::Set),
            some().prop_map(Value::FrozenSet),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..6).prop_map(Value::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(value in plain()) {
        let bytes = write(&value);
        prop_assert!(is_pickle(&bytes));
        prop_assert_eq!(again(&bytes), value);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = text_early(&bytes, "f");
    }

    #[test]
    fn no_instructions_make_the_reader_panic(
        program in proptest::collection::vec(proptest::sample::select(b"\x80\x04(012N\x88JKM\x8a\x8cX]aelt)\x85\x86\x87}sud\x8f\x90\x91\x94qrhjcR\x81\x92\x93oib\x82Q\x97\x98\x00\x01.".to_vec()), 0..300),
    ) {
        let _ = read(&program);
    }

    #[test]
    fn a_damaged_pickle_is_an_error_or_another_value(value in plain(), at: prop::sample::Index, bit in 0..8_u32) {
        let mut bytes = write(&value);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = read(&bytes);
    }
}

#[test]
fn a_call_is_noted_and_not_made() {
    // What `pickle.dumps` makes of an object whose `__reduce__` is `(os.system, ("touch /tmp/x",))`.
    let evil = b"\x80\x04cos\nsystem\n\x8c\x0ctouch /tmp/x\x85R.";
    let object = Value::Object {
        name: "os.system".into(),
        text: Some("touch /tmp/x".into()),
    };
    assert_eq!(read(evil).unwrap(), object);
    // Nor is it passed on to whoever reads what we write.
    assert_eq!(again(&write(&object)), Value::from("os.system"));
    let split = b"\x80\x04\x8c\x02os\x8c\x07\nsystem\x93.";
    let written = write(&read(split).unwrap());
    assert!(matches!(again(&written), Value::Str(_)), "{written:?}");
}

#[test]
fn shared_references_cannot_make_a_small_pickle_large() {
    // A list of two references to a list of two references …
    let mut laughs = b"\x80\x04]q\x00".to_vec();
    for level in 0..90_u8 {
        laughs.extend([b']', b'(', b'h', level, b'h', level, b'e', b'q', level + 1]);
    }
    laughs.push(b'.');
    assert!(read(&laughs).unwrap_err().contains("too many"));
    let mut long = b"\x80\x04X\x00\x00\x08\x00".to_vec();
    long.extend(vec![b'x'; 512 << 10]);
    long.extend(b"q\x00](");
    long.extend(b"h\x00".repeat(1000));
    long.extend(b"e.");
    assert!(read(&long).unwrap_err().contains("too much"));
}

#[test]
fn depth_and_circles_end() {
    let mut deep = b"\x80\x04".to_vec();
    deep.extend(b"](".repeat(300_000));
    assert!(read(&deep).is_err());
    let deep = [&b"\x80\x04"[..], &b")"[..], &b"\x85".repeat(150_000), b"."].concat();
    assert!(read(&deep).unwrap_err().contains("deep"));
    assert!(read(b"\x80\x04]q\x00h\x00a.").unwrap_err().contains("deep"));
}

#[test]
fn a_failure_is_written_as_the_exception_that_clients_raise() {
    let bytes = write(&Value::Failure(Failure::Execution("no".into())));
    let expected = Value::Object {
        name: "arq.worker.JobExecutionFailed".into(),
        text: Some("no".into()),
    };
    assert_eq!(again(&bytes), expected);
}

#[test]
fn the_function_is_found_at_the_start_of_a_job_that_is_cut_off() {
    let job = hex::decode("80049590000000000000007d94288c0174944e8c0166948c0b70726f62655f636865636b948c0161948c1a68747470733a2f2f6578616d706c652e6f72672f6865616c7468").unwrap();
    assert_eq!(text_early(&job, "f").as_deref(), Some("probe_check"));
    assert_eq!(text_early(&job[..20], "f"), None);
}

#[test]
fn an_empty_map_of_messagepack_is_no_pickle() {
    assert!(!is_pickle(&[0x80]));
    assert!(!is_pickle(&[0x85, 0xa1, b't']));
    assert!(is_pickle(&[0x80, 4, b'N', b'.']));
}
