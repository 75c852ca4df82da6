//! What lies in a stream: a task as JSON or MessagePack, flat fields, an uptime job.
//!
//! Input: the value of the field `task`; also fields, one `name=value` a line.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lapwing_queue::fuzz::stream_entry(bytes));
