//! What lies in an arq queue, in any of its formats: never run, bounded, and read back as we write it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lapwing_queue::fuzz::pickle(bytes));
