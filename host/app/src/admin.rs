//! The admin API: `/api/v1/…` and `/metrics`. One file an endpoint, one route line each.

pub(crate) mod access;
pub(crate) mod checks;
pub(crate) mod error;
pub(crate) mod executors;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod plugins;

use crate::{config::Secret, metrics::Metrics, probe::Prober, pulse::Pulse};
use anyhow::Context;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// The largest request body.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// How many checks asked for by API may run at once.
const MAX_CHECKS: usize = 16;

/// What the endpoints work on.
#[derive(Clone)]
pub(crate) struct State {
    /// Runs checks.
    pub(crate) prober: Prober,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the worker is alive.
    pub(crate) pulse: Arc<Pulse>,
    /// After how long without a beat it is dead.
    pub(crate) liveness: Duration,
    /// The bearer token.
    pub(crate) token: Option<Secret>,
    /// Room for checks asked for by API.
    pub(crate) checks: Arc<Semaphore>,
}

impl State {
    /// Room for checks asked for by API, as a state starts with.
    pub(crate) fn check_slots() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_CHECKS))
    }
}

fn router(state: State) -> Router {
    Router::new()
        .route("/api/v1/executors", get(executors::list))
        .route("/api/v1/plugins", get(plugins::list::list))
        .route("/api/v1/plugins/reload", post(plugins::reload::reload))
        .route("/api/v1/checks", post(checks::run))
        .route("/metrics", get(metrics::render))
        .route_layer(middleware::from_fn_with_state(state.clone(), access::authorize))
        .route("/api/v1/health", get(health::health))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(state)
}

/// A bound admin API.
pub(crate) struct Server {
    listener: TcpListener,
    /// The address, with the port the system chose where `0` was asked for.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Binds `address`.
    pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} for the admin API; choose another with --listen")
        })?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
        })
    }

    /// Serves until `stop`.
    pub(crate) async fn run(self, state: State, stop: CancellationToken) {
        let shutdown = stop.cancelled_owned();
        if let Err(error) = axum::serve(self.listener, router(state))
            .with_graceful_shutdown(shutdown)
            .await
        {
            tracing::error!("admin API ended: {error}");
        }
    }
}
