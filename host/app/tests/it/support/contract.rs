//! The committed description of the API, and whether an answer is as it says. Every test that asks the API goes through
//! here, so that whatever is tested is also described.

use serde_json::{Map, Value};
use std::{fs, path::PathBuf, sync::LazyLock};

/// `docs/reference/openapi.json`.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    serde_json::from_str(&fs::read_to_string(path).expect("run `./just docs`")).expect("JSON")
});

/// Panics unless `body` is what the description says of this answer.
pub(crate) fn holds(method: &str, path: &str, status: u16, body: &Value) {
    let path = path.split('?').next().unwrap_or(path);
    let place = answer(method, path, status);
    let mut schema = DOCUMENT
        .pointer(&place)
        .unwrap_or_else(|| panic!("{place} is not described"))
        .clone();
    schema["components"] = DOCUMENT["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let faults: Vec<_> = validator
        .iter_errors(body)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(
        faults.is_empty(),
        "{method} {path} answered {status}, not as described: {faults:#?}\n{body}"
    );
}

/// Where the schema of an answer is, as a JSON pointer into the description.
fn answer(method: &str, path: &str, status: u16) -> String {
    let error = "/components/responses/error/content/application~1json/schema";
    let Some((template, operations)) = paths().find(|(template, _)| is_of(path, template)) else {
        assert_eq!(status, 404, "{path} is not described");
        return error.to_owned();
    };
    let method = method.to_lowercase();
    let Some(operation) = operations.get(&method) else {
        assert_eq!(status, 405, "{method} {path} is not described");
        return error.to_owned();
    };
    if operation["responses"].get(status.to_string()).is_none() {
        assert!(
            status >= 400,
            "{method} {path}: an answer of {status} is not described"
        );
        return error.to_owned();
    }
    let template = template.replace('~', "~0").replace('/', "~1");
    format!("/paths/{template}/{method}/responses/{status}/content/application~1json/schema")
}

/// Every path with its operations.
pub(crate) fn paths() -> impl Iterator<Item = (&'static String, &'static Map<String, Value>)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths").iter();
    paths.map(|(path, operations)| (path, operations.as_object().expect("operations")))
}

fn is_of(path: &str, template: &str) -> bool {
    let (path, template): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
    path.len() == template.len()
        && path
            .iter()
            .zip(template)
            .all(|(part, expected)| expected.starts_with('{') || *part == expected)
}
