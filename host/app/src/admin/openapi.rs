//! `GET /api/v1/openapi.json`: this API as OpenAPI 3.1, made of the handlers' attributes and the types they answer with.
//!
//! utoipa reads the attributes, schemars the types: the same schemas that check the configuration. Kept in
//! `docs/reference/openapi.json`; a test fails while that is out of date, others hold real answers against it.

use super::{checks, error, executors, health, plugins, queues, tasks, workers};
use axum::Json;
use lapwing_model::CheckResult;
use lapwing_queue::QueueStats;
use lapwing_wasm::Trial;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Where the types are, in the document.
const SCHEMAS: &str = "/components/schemas";

/// What the document says of the whole; the paths and schemas are put in.
fn head() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lapwing's admin API",
            "description": "Served by `lapwing run` and `lapwing worker`. See docs/api.md.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8085"}],
        // Either will do: without a token configured, local clients need none.
        "security": [{"token": []}, {}],
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "LAPWING_ADMIN_TOKEN"},
                "upload": {"type": "http", "scheme": "bearer", "description": "LAPWING_ADMIN_UPLOAD_TOKEN"},
            },
            "responses": {"error": {
                "description": "Refused or failed; `error.code` tells programs, `error.message` tells people.",
                "content": {"application/json": {"schema": {"$ref": refer::<error::Envelope>()}}},
            }},
        },
    })
}

/// The types that cross the wire: what is answered as it is written, what is asked as it is read.
fn schemas() -> Map<String, Value> {
    let mut answers = generator(SchemaSettings::for_serialize);
    answers.subschema_for::<CheckResult>();
    answers.subschema_for::<error::Envelope>();
    answers.subschema_for::<executors::Executors>();
    answers.subschema_for::<health::Health>();
    answers.subschema_for::<plugins::Plugins>();
    answers.subschema_for::<plugins::inspect::Inspection>();
    answers.subschema_for::<plugins::logs::Logs>();
    answers.subschema_for::<queues::list::QueueList>();
    answers.subschema_for::<queues::dead::DeadLetters>();
    answers.subschema_for::<QueueStats>();
    answers.subschema_for::<tasks::enqueue::EnqueueAnswer>();
    answers.subschema_for::<tasks::follow::Followed>();
    answers.subschema_for::<tasks::follow::Outcome>();
    answers.subschema_for::<tasks::kinds::TaskKinds>();
    answers.subschema_for::<tasks::load::LoadAnswer>();
    answers.subschema_for::<workers::Workers>();
    answers.subschema_for::<Trial>();
    let mut questions = generator(SchemaSettings::for_deserialize);
    questions.subschema_for::<checks::CheckRequest>();
    questions.subschema_for::<plugins::approve::ApproveRequest>();
    questions.subschema_for::<plugins::test::TestRequest>();
    questions.subschema_for::<tasks::enqueue::EnqueueRequest>();
    questions.subschema_for::<tasks::load::LoadRequest>();
    let mut schemas = answers.take_definitions(true);
    schemas.extend(questions.take_definitions(true));
    schemas.sort_keys();
    schemas
}

fn generator(contract: fn(SchemaSettings) -> SchemaSettings) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    contract(settings).into_generator()
}

/// A reference to `T`, for a handler's attribute. `T` must be one of [`schemas`]; a test finds those that are not.
pub(crate) fn refer<T: JsonSchema>() -> String {
    format!("#{SCHEMAS}/{}", T::schema_name())
}

/// The document.
pub(crate) fn document() -> Value {
    let mut paths = json!(super::endpoints().into_openapi().paths);
    for (path, item) in paths.as_object_mut().into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            complete(path, operation);
        }
    }
    let mut document = head();
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert("schemas".to_owned(), Value::Object(schemas()));
    }
    if let Some(document) = document.as_object_mut() {
        document.insert("paths".to_owned(), paths);
    }
    document
}

/// What a path names, and what is said when there is none such.
const NAMED: [(&str, &str, &str); 5] = [
    (
        "/plugins/{name}",
        "As the plugin calls itself",
        "`unknown_plugin`",
    ),
    (
        "/queues/{queue}",
        "The queue's name, or what follows its last `:`",
        "`unknown_queue`",
    ),
    (
        "/dead/{id}",
        "As the list of dead letters names it",
        "`unknown_task`",
    ),
    ("/{id}", "The task's id", "`unknown_task`"),
    (
        "/examples/{size}",
        "`load-test-small`, `load-test-medium` or `load-test-large`",
        "No such size",
    ),
];

/// What handlers need not say each for itself: every operation can end in an error, and what its path names.
fn complete(path: &str, operation: &mut Value) {
    let mut parameters = Vec::new();
    let mut missing = None;
    for (part, about, unknown) in NAMED {
        let name = part
            .split_once('{')
            .map_or("", |(_, name)| name.trim_end_matches('}'));
        if path.contains(part)
            && parameters
                .iter()
                .all(|known: &Value| known.get("name") != Some(&json!(name)))
        {
            let text = json!({"type": "string"});
            parameters.push(
                json!({"name": name, "in": "path", "description": about, "required": true, "schema": text}),
            );
            missing.get_or_insert(unknown);
        }
    }
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        let error = json!({"$ref": "#/components/responses/error"});
        responses.insert("default".to_owned(), error);
        if let Some(unknown) = missing.filter(|_| !responses.contains_key("404")) {
            let content = json!({"application/json": {"schema": {"$ref": refer::<error::Envelope>()}}});
            responses.insert(
                "404".to_owned(),
                json!({"description": unknown, "content": content}),
            );
        }
        responses.sort_keys();
    }
    if let Some(operation) = operation.as_object_mut().filter(|_| !parameters.is_empty()) {
        let told = operation.entry("parameters").or_insert_with(|| json!([]));
        if let Some(told) = told.as_array_mut() {
            told.splice(0..0, parameters);
        }
    }
}

/// This API as OpenAPI 3.1.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "worker", responses(
    (status = 200, description = "An OpenAPI 3.1 document", body = Object)
))]
pub(crate) async fn serve() -> Json<Value> {
    Json(document())
}
