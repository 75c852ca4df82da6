//! What lies in an Asynq queue: any bytes are a message or an error, and rewriting a message loses nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lapwing_queue::fuzz::asynq_message(bytes));
