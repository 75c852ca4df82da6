//! The admin API: `/api/v1/…` and `/metrics`. One file an endpoint, one route line each.

pub(crate) mod access;
pub(crate) mod checks;
pub(crate) mod error;
pub(crate) mod executors;
pub(crate) mod health;
pub(crate) mod kinds;
mod lobby;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod plugins;
pub(crate) mod queues;
pub(crate) mod tasks;
pub(crate) mod workers;

use crate::{config::Secret, metrics::Metrics, probe::Prober, pulse::Pulse, queues::Queues};
use anyhow::Context;
use axum::{Router, body::Body, extract::DefaultBodyLimit, middleware};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use lobby::{Lobby, PLACES, Paced, Seat};
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The largest request body.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Time to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest life of a connection: longer than the longest check asked for by API.
const CONNECTION_TIME: Duration = Duration::from_secs(330);
/// Time for answers under way when it is time to stop.
const LAST_WORDS: Duration = Duration::from_secs(1);
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
    /// The bearer token of those who may upload plugins; nobody may without one.
    pub(crate) upload_token: Option<Secret>,
    /// Largest upload, in bytes.
    pub(crate) upload_limit: u64,
    /// The uploads under way.
    pub(crate) uploads: Arc<plugins::upload::Uploads>,
    /// The names of the secrets that can be granted.
    pub(crate) secrets: Arc<BTreeSet<String>>,
    /// The queues of this process; none until they are connected.
    pub(crate) queues: watch::Receiver<Queues>,
    /// The load tests begun here.
    pub(crate) loads: Arc<tasks::load::Loads>,
}

impl State {
    /// Room for checks asked for by API, as a state starts with.
    pub(crate) fn check_slots() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_CHECKS))
    }
}

/// Routes that bring their own description: nothing can be served and not described.
type Endpoints = OpenApiRouter<State>;

/// Every endpoint.
fn endpoints() -> Endpoints {
    guarded().merge(open())
}

/// For those who may use the API.
fn guarded() -> Endpoints {
    OpenApiRouter::new()
        .routes(routes!(executors::list))
        .routes(routes!(kinds::schema))
        .routes(routes!(checks::run))
        .routes(routes!(plugins::list::list))
        .routes(routes!(plugins::reload::reload))
        .routes(routes!(plugins::inspect::inspect))
        .routes(routes!(plugins::enable::enable))
        .routes(routes!(plugins::disable::disable))
        .routes(routes!(plugins::approve::approve))
        .routes(routes!(plugins::grant::grant, plugins::revoke::revoke))
        .routes(routes!(plugins::logs::logs))
        .routes(routes!(plugins::test::test))
        .routes(routes!(queues::list::list))
        .routes(routes!(queues::pause::pause))
        .routes(routes!(queues::pause::resume))
        .routes(routes!(queues::dead::list))
        .routes(routes!(queues::dead::delete))
        .routes(routes!(queues::dead::retry))
        .routes(routes!(workers::list))
        .routes(routes!(tasks::kinds::list))
        .routes(routes!(tasks::enqueue::enqueue))
        .routes(routes!(tasks::follow::status))
        .routes(routes!(tasks::follow::result))
        .routes(routes!(tasks::load::start))
        .routes(routes!(openapi::serve))
        .routes(routes!(metrics::render))
}

/// For all, or for those that they themselves ask.
fn open() -> Endpoints {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(plugins::upload::upload))
}

fn router(state: State) -> Router {
    Router::from(guarded())
        .route_layer(middleware::from_fn_with_state(state.clone(), access::authorize))
        .merge(Router::from(open()))
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

    /// Serves until `stop`, and a moment longer for answers under way.
    pub(crate) async fn run(self, state: State, stop: CancellationToken) {
        let service = TowerToHyperService::new(router(state));
        let (lobby, connections) = (Lobby::new(PLACES), TaskTracker::new());
        while let Some((stream, seat)) = self.accept(&lobby, &stop).await {
            connections.spawn(serve(stream, service.clone(), stop.clone(), seat));
        }
        connections.close();
        connections.wait().await;
    }

    /// The next connection, with a place for it; `None` when it is time to stop.
    async fn accept(&self, lobby: &Arc<Lobby>, stop: &CancellationToken) -> Option<(TcpStream, Arc<Seat>)> {
        let next = async {
            loop {
                match self.listener.accept().await {
                    Ok((stream, _)) => return Some((stream, lobby.seat().await?)),
                    Err(error) => {
                        tracing::warn!("admin API cannot accept a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => None,
            next = next => next,
        }
    }
}

/// One connection: slow senders are cut off, before and after the token is seen.
async fn serve(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    stop: CancellationToken,
    seat: Arc<Seat>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let service = service_fn(|request: Request<Incoming>| {
        let request = request.map(|body| Body::new(Paced::new(body, seat.clone())));
        let (answer, seat) = (service.call(request), seat.clone());
        async move {
            let answer = answer.await;
            seat.wait();
            answer
        }
    });
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // Its errors are the client's: gone, or not speaking HTTP.
        _ = connection.as_mut() => {}
        () = tokio::time::sleep(CONNECTION_TIME) => {}
        () = seat.sent_away() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_WORDS, connection).await;
        }
    }
}
