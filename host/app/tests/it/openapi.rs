//! The description of the API: is it OpenAPI, is it whole, is it true? That answers are as described is seen by every
//! other test of the API, in `support::contract`.

use crate::support::{
    contract::{DOCUMENT, paths},
    process::{Daemon, lapwing},
};
use reqwest::Method;
use serde_json::Value;

/// The OpenAPI Initiative's own schema (Apache-2.0), of 2022-10-07.
const OPENAPI: &str = include_str!("support/openapi-3.1.schema.json");
/// What a path item calls the methods.
const METHODS: [Method; 6] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

#[test]
fn the_description_is_openapi() {
    let schema: Value = serde_json::from_str(OPENAPI).unwrap();
    let openapi = jsonschema::draft202012::new(&schema).unwrap();
    let faults: Vec<_> = openapi
        .iter_errors(&DOCUMENT)
        .map(|fault| fault.to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let mut broken = DOCUMENT.clone();
    broken["paths"]["/metrics"]["get"]["responses"]["200"]["description"] = Value::Null;
    assert!(!openapi.is_valid(&broken), "the check would not notice");
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        if let Err(fault) = jsonschema::draft202012::meta::validate(schema) {
            panic!("{name}: {fault}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let mut references = Vec::new();
    collect(&DOCUMENT, &mut references);
    for reference in &references {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(DOCUMENT.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for name in DOCUMENT["components"]["schemas"].as_object().unwrap().keys() {
        let reference = format!("#/components/schemas/{name}");
        assert!(references.contains(&reference), "nobody refers to {name}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            references.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect(value, references));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_served_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = lapwing();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/monitors.toml");
    command
        .args(["run", "--config", config, "--plugins"])
        .arg(folder.path());
    let daemon = Daemon::start(command);
    let (_, served) = daemon.get("/api/v1/openapi.json").await;
    assert_eq!(served, *DOCUMENT, "run `./just docs`");
    let client = reqwest::Client::new();
    for (path, operations) in paths() {
        let url = format!("{}{}", daemon.admin, path.replace(['{', '}'], "x"));
        for method in METHODS {
            let described = operations.contains_key(&method.as_str().to_lowercase());
            let answer = client.request(method.clone(), &url).send().await.unwrap();
            let text = answer.text().await.unwrap();
            let served = !text.contains(r#""method_not_allowed""#) && !text.contains("no such endpoint");
            assert_eq!(served, described, "{method} {path}: {text}");
        }
    }
}
