//! Peekaping's payload, read as leniently as Go reads it: what is accepted comes back as it is written.

#![no_main]

use jiff::Timestamp;
use lapwing_model::peekaping::{encode_task, parse_task};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut task) = parse_task(bytes) else { return };
    let written = encode_task(&task);
    let again = parse_task(&written).expect("what was written can be read");
    // Its writers go by milliseconds.
    let whole = |at: Timestamp| Timestamp::from_millisecond(at.as_millisecond()).expect("in range");
    task.scheduled_at = task.scheduled_at.map(whole);
    assert_eq!(again, task, "written and read again");
    assert_eq!(encode_task(&again), written, "written the same each time");
});
