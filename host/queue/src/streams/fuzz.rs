//! What the streams' readers make of any bytes; see [`crate::fuzz`].

use super::{entry, fields::Fields, uptime};
use jiff::Timestamp;
use lapwing_model::Task;

/// A stream's entry: these bytes as its field `task`, and as fields, one `name=value` a line, of either format.
pub fn stream_entry(bytes: &[u8]) {
    let at = Timestamp::UNIX_EPOCH;
    let whole = Fields(vec![("task".to_owned(), bytes.to_vec())]);
    let line = |line: &[u8]| {
        let cut = line.iter().position(|byte| *byte == b'=')?;
        let (field, value) = (line.get(..cut)?, line.get(cut + 1..)?);
        Some((String::from_utf8_lossy(field).into_owned(), value.to_vec()))
    };
    let lines = Fields(bytes.split(|byte| *byte == b'\n').filter_map(line).collect());
    for fields in [&whole, &lines] {
        let read = |fields: &Fields| entry::read(fields, "7-0", at);
        again(read(fields), read, |name, task| entry::write(task, name));
    }
    let read = |fields: &Fields| uptime::read(fields, at);
    again(read(&lines), read, |_, task| uptime::write(task));
}

fn again(
    read: Result<(String, Task), String>,
    reader: impl Fn(&Fields) -> Result<(String, Task), String>,
    writer: impl Fn(&str, &Task) -> Result<Vec<String>, String>,
) {
    let Ok((name, task)) = read else { return };
    let mut written = writer(&name, &task)
        .expect("what was read can be written")
        .into_iter();
    let mut fields = Vec::new();
    while let (Some(field), Some(value)) = (written.next(), written.next()) {
        fields.push((field, value.into_bytes()));
    }
    let again = reader(&Fields(fields)).expect("what was written can be read");
    assert_eq!(again, (name, task), "written and read again");
}
