//! Writing pickles of protocol 4, which every Python since 3.4 reads.

use crate::arq::value::{Failure, Value};

/// Writes a dictionary. An [`Object`](Value::Object) is written as its name: the two exceptions of [`Failure`] are all that
/// a reader is made to build.
pub(in crate::arq) fn write(entries: &[(&str, &Value)]) -> Vec<u8> {
    let mut out = vec![0x80, 4, b'}', b'('];
    for (key, value) in entries {
        text(&mut out, key);
        put(&mut out, value);
    }
    out.extend(b"u.");
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::None => out.push(b'N'),
        Value::Bool(truth) => out.push(if *truth { 0x88 } else { 0x89 }),
        Value::Int(number) => int(out, *number),
        Value::Big(bytes) => long(out, bytes),
        Value::Float(number) => {
            out.push(b'G');
            out.extend(number.to_be_bytes());
        }
        Value::Str(string) => text(out, string),
        Value::Bytes(bytes) => sized(out, bytes, [b'C', b'B', 0x8e]),
        Value::List(items) => {
            out.push(b']');
            marked(out, items, b'e');
        }
        Value::Set(items) => {
            out.push(0x8f);
            marked(out, items, 0x90);
        }
        Value::Dict(entries) => {
            out.push(b'}');
            if !entries.is_empty() {
                out.push(b'(');
                for (key, value) in entries {
                    put(out, key);
                    put(out, value);
                }
                out.push(b'u');
            }
        }
        Value::FrozenSet(items) => {
            out.push(b'(');
            all(out, items);
            out.push(0x91);
        }
        Value::Tuple(items) if items.is_empty() => out.push(b')'),
        Value::Tuple(items) => {
            out.push(b'(');
            all(out, items);
            out.push(b't');
        }
        Value::Object { name, .. } => text(out, name),
        Value::Failure(Failure::Execution(why)) => {
            out.extend(b"carq.worker\nJobExecutionFailed\n");
            text(out, why);
            out.extend(b"\x85R");
        }
        Value::Failure(Failure::Cancelled) => out.extend(b"casyncio.exceptions\nCancelledError\n)R"),
    }
}

fn marked(out: &mut Vec<u8>, items: &[Value], end: u8) {
    if !items.is_empty() {
        out.push(b'(');
        all(out, items);
        out.push(end);
    }
}

fn all(out: &mut Vec<u8>, items: &[Value]) {
    for item in items {
        put(out, item);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    sized(out, text.as_bytes(), [0x8c, b'X', 0x8d]);
}

/// Bytes after their length, with the instruction for one, four or eight bytes of length.
fn sized(out: &mut Vec<u8>, bytes: &[u8], [short, middle, long]: [u8; 3]) {
    if let Ok(length) = u8::try_from(bytes.len()) {
        out.extend([short, length]);
    } else if let Ok(length) = u32::try_from(bytes.len()) {
        out.push(middle);
        out.extend(length.to_le_bytes());
    } else {
        out.push(long);
        out.extend((bytes.len() as u64).to_le_bytes());
    }
    out.extend(bytes);
}

fn int(out: &mut Vec<u8>, number: i128) {
    match (u8::try_from(number), i32::try_from(number)) {
        (Ok(number), _) => out.extend([b'K', number]),
        (_, Ok(number)) => {
            out.push(b'J');
            out.extend(number.to_le_bytes());
        }
        _ => long(out, &number.to_le_bytes()),
    }
}

fn long(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(length) = u8::try_from(bytes.len()) {
        out.extend([0x8a, length]);
    } else {
        out.push(0x8b);
        out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.extend(bytes);
}
