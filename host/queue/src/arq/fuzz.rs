//! What arq's readers make of any bytes; see [`crate::fuzz`].

use super::{job::Job, pickle, value::Value};

/// A pickle: what is read is bounded, and read equal when we wrote it. Also the job it may be, in any format.
pub fn pickle(bytes: &[u8]) {
    let _ = pickle::text_early(bytes, "f");
    if let Ok(value) = pickle::read(bytes) {
        bounded(&value);
        let key = Value::Str("v".to_owned());
        // One level more, and two values: what only just fitted no longer does.
        match pickle::read(&pickle::write(&[("v", &value)])) {
            Ok(again) => assert!(same(&again, &Value::Dict(vec![(key, value)])), "{again:?}"),
            Err(why) => assert!(why.contains("too"), "{why}"),
        }
    }
    job(bytes);
}

fn job(bytes: &[u8]) {
    let Ok(job) = Job::read(bytes) else { return };
    let _ = job.task("id", 1, 0);
    let _ = job.kind();
    let written = job.write().expect("what was read can be written");
    let again = Job::read(&written).expect("what was written can be read");
    assert_eq!((again.format, &again.function), (job.format, &job.function));
    assert!(
        same(&again.args, &job.args) && same(&again.kwargs, &job.kwargs),
        "{again:?}"
    );
}

/// What the memory of a reader is bounded by.
fn bounded(value: &Value) {
    let (mut values, mut bytes, mut waiting) = (0, 0, vec![value]);
    while let Some(value) = waiting.pop() {
        values += 1;
        match value {
            Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                waiting.extend(items);
            }
            Value::Dict(entries) => waiting.extend(entries.iter().flat_map(|(key, value)| [key, value])),
            Value::Str(text) => bytes += text.len(),
            Value::Bytes(all) | Value::Big(all) => bytes += all.len(),
            Value::Object { name, text } => bytes += name.len() + text.as_ref().map_or(0, String::len),
            _ => {}
        }
    }
    assert!(
        values <= 200_000 && bytes <= 8 << 20,
        "{values} values, {bytes} bytes"
    );
}

/// Equal as Python would say, but that a number that is none equals itself, and an object its name, as which it is written.
fn same(one: &Value, other: &Value) -> bool {
    let all = |one: &[Value], other: &[Value]| {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
    };
    match (one, other) {
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        (Value::Str(text), Value::Object { name, .. }) => text == name,
        (Value::List(one), Value::List(other) | Value::Tuple(other))
        | (Value::Tuple(one), Value::Tuple(other))
        | (Value::Set(one), Value::Set(other))
        | (Value::FrozenSet(one), Value::FrozenSet(other)) => all(one, other),
        (Value::Dict(one), Value::Dict(other)) => {
            let both = |((key, value), (key2, value2)): (&(Value, Value), &(Value, Value))| {
                same(key, key2) && same(value, value2)
            };
            one.len() == other.len() && one.iter().zip(other).all(both)
        }
        _ => one == other,
    }
}
