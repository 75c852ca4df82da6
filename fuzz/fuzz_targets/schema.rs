//! A plugin's schema and a user's configuration: nothing in them brings the checker down or keeps it for ever.
//!
//! Input: two JSON documents with a zero byte between them.

#![no_main]

use lapwing_checks::schema::Schema;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let (source, value) = text.split_once('\0').unwrap_or((text, "{}"));
    let (Ok(source), Ok(mut value)) = (serde_json::from_str::<Value>(source), serde_json::from_str::<Value>(value)) else {
        return;
    };
    let Ok(schema) = Schema::new(&source, &["/password".to_owned()]) else {
        return;
    };
    let before = schema.faults(&value, "config");
    assert_eq!(before, schema.faults(&value, "config"), "the same each time");
    if let Some(config) = value.as_object_mut() {
        schema.fill(config);
        assert!(!schema.fill(config), "filled once is filled");
    }
    schema.faults(&value, "config");
});
