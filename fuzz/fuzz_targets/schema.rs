//! A plugin's schema and a user's configuration: nothing in them brings the checker down or keeps it for ever, and no
//! secret is in what it says.
//!
//! Input: two JSON documents with a zero byte between them.

#![no_main]

use lapwing_checks::schema::{Fault, Schema};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let (source, value) = text.split_once('\0').unwrap_or((text, "{}"));
    let (Ok(source), Ok(mut value)) = (serde_json::from_str::<Value>(source), serde_json::from_str::<Value>(value)) else {
        return;
    };
    let sensitive = ["/password".to_owned()];
    let Ok(schema) = Schema::new(&source, &sensitive) else {
        return;
    };
    let before = schema.faults(&value, "config");
    let again = Schema::new(&source, &sensitive).expect("accepted before");
    assert_eq!(before, again.faults(&value, "config"), "the same each time");
    kept_secret(&source, &value, &before);
    if let Some(config) = value.as_object_mut() {
        let given = config.clone();
        schema.fill(config);
        assert!(given.iter().all(|(key, value)| config.get(key) == Some(value)), "what is set stays");
        assert_eq!(schema.fill(config), Vec::<String>::new(), "filled once is filled");
    }
    schema.faults(&value, "config");
});

/// No fault shows the password, unless it stands in the schema or elsewhere in the configuration.
fn kept_secret(source: &Value, value: &Value, faults: &[Fault]) {
    let Some(secret) = value.get("password").and_then(Value::as_str) else {
        return;
    };
    let plain = secret.len() >= 4 && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let known = ["config", "password", "expected", "duration"].iter().any(|word| word.contains(secret));
    let elsewhere = source.to_string().contains(secret) || value.to_string().matches(secret).count() > 1;
    if plain && !known && !elsewhere {
        assert!(!faults.iter().any(|fault| fault.message.contains(secret)), "{faults:?}");
    }
}
