//! A web server: healthy, broken, moved, and one that tells numbers.

use axum::{Json, Router, http::StatusCode, response::Redirect, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) async fn serve(listener: TcpListener) {
    let routes = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route(
            "/broken",
            get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "out of coffee") }),
        )
        .route("/moved", get(|| async { Redirect::temporary("/health") }))
        .route("/status", get(status));
    if let Err(error) = axum::serve(listener, routes).await {
        println!("http target: {error}");
    }
}

async fn status() -> Json<Value> {
    Json(
        json!({"service": "demo", "healthy": true, "queue": {"depth": 3, "workers": [{"id": 1}, {"id": 2}]}}),
    )
}
