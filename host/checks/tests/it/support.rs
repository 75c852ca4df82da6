//! What every test needs: a context to probe in, and servers to probe.

pub(crate) mod apache;
pub(crate) mod certificates;
pub(crate) mod daemon;
pub(crate) mod dns;
pub(crate) mod http2;
pub(crate) mod proxy;
pub(crate) mod rabbitmq;
pub(crate) mod scram;
pub(crate) mod server;
pub(crate) mod servers;

use lapwing_checks::{CheckError, Net, ProbeContext, Registry, native, net::EgressPolicy};
use lapwing_model::{Observation, SystemClock, peekaping};
use serde_json::{Value, json};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{self, Instant};

/// Longer than any loopback exchange, shorter than anyone's patience.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);

/// One probe's surroundings.
pub(crate) struct Probe {
    pub(crate) net: Net,
    pub(crate) budget: Duration,
    pub(crate) proxy: Option<Value>,
    registry: Registry,
}

impl Probe {
    /// Under a policy that lets everything through.
    pub(crate) fn new() -> Self {
        Self::under(json!({ "mode": "open" }))
    }

    pub(crate) fn under(policy: Value) -> Self {
        Self::through(Net::new(policy_of(policy)))
    }

    pub(crate) fn through(net: Net) -> Self {
        Self {
            net,
            budget: AMPLE,
            proxy: None,
            registry: registry(),
        }
    }

    pub(crate) fn within(self, budget: Duration) -> Self {
        Self { budget, ..self }
    }

    pub(crate) fn via(self, proxy: Value) -> Self {
        Self {
            proxy: Some(proxy),
            ..self
        }
    }

    pub(crate) fn context(&self) -> ProbeContext {
        let mut task = json!({
            "monitor_id": "m", "monitor_type": "x", "interval": 60, "scheduled_at": "2026-04-11T08:15:00Z",
        });
        if let Some(proxy) = &self.proxy {
            task["proxy"] = proxy.clone();
        }
        ProbeContext {
            task: Arc::new(peekaping::parse_task(task.to_string().as_bytes()).unwrap()),
            queue: None,
            deadline: Instant::now() + self.budget,
            net: self.net.clone(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Runs `config` as `kind`, through the executor, as a worker would.
    pub(crate) async fn run(&self, kind: &str, config: Value) -> Result<Observation, CheckError> {
        let executor = self.registry.executor(kind).unwrap();
        executor.execute(&config.to_string(), &self.context()).await
    }

    pub(crate) async fn seen(&self, kind: &str, config: Value) -> Observation {
        self.run(kind, config).await.unwrap()
    }
}

pub(crate) fn policy_of(policy: Value) -> EgressPolicy {
    serde_json::from_value(policy).unwrap()
}

pub(crate) fn registry() -> Registry {
    let mut registry = Registry::default();
    native::register(&mut registry).unwrap();
    registry
}

/// `config` with the fields of `more` set.
pub(crate) fn with(mut config: Value, more: Value) -> Value {
    let Value::Object(more) = more else {
        panic!("{more} is no object")
    };
    config.as_object_mut().unwrap().extend(more);
    config
}

/// The machine word of an observation.
pub(crate) fn reason(seen: &Observation) -> &str {
    seen.reason.as_ref().map_or("", |reason| reason.as_str())
}

/// Waits until `holds`, at most [`AMPLE`].
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + AMPLE;
    while !holds() {
        assert!(Instant::now() < patience, "never: {what}");
        time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs `probe` in real time until `stalled`, then in paused time: seconds of silence take none, and no load on this
/// machine can add to them. Not paused from the start, because the clock would leap to the deadline over packets that
/// are still on their way.
pub(crate) async fn paused_from<T>(stalled: impl Future<Output = ()>, probe: impl Future<Output = T>) -> T {
    let mut probe = pin!(probe);
    tokio::select! {
        _ = &mut probe => panic!("ended before it stalled"),
        () = stalled => time::pause(),
    }
    let seen = probe.await;
    time::resume();
    seen
}

/// Tells loudly what this machine cannot test.
#[expect(clippy::print_stderr, reason = "whoever runs the tests must see it")]
pub(crate) fn left_out(what: &str) {
    eprintln!("left out: {what}");
}
