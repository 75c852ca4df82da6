//! What a guest may reach and use: its own target, and what it asks for and is granted. Nothing else leaves the worker:
//! listeners and a name server stand by that must never hear a word.

mod names;
mod network;
mod secrets;
mod state;
mod trial;

use crate::support::{PLENTY, add, context, fixture, small, unknown};
use lapwing_checks::{Net, ProbeContext, Registry, net::EgressPolicy};
use lapwing_model::{Observation, Reason, Status};
use lapwing_wasm::{Approval, Grant, Plugin, PluginHost, asked, assess};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::task::AbortOnDropHandle;

/// The steps fixture, ready to run.
struct Steps {
    host: Arc<PluginHost>,
    registry: Registry,
    plugin: Arc<Plugin>,
}

impl Steps {
    async fn new() -> Self {
        let host = PluginHost::new(small()).unwrap();
        let mut registry = Registry::default();
        add(&host, &mut registry, &fixture("steps")).await;
        let report = host.load_file(fixture("steps")).await;
        let plugin = report.plugin().unwrap().clone();
        Self {
            host,
            registry,
            plugin,
        }
    }

    async fn granted(grant: Value) -> Self {
        let steps = Self::new().await;
        steps.grant(grant);
        steps
    }

    /// For the next run.
    fn grant(&self, grant: Value) {
        let grant: Grant = serde_json::from_value(grant).unwrap();
        let grants = BTreeMap::from([("fixtures".to_owned(), vec![grant])]);
        self.host.custody().grants().replace(grants);
    }

    async fn run_in(&self, kind: &str, config: &Value, cx: &ProbeContext) -> Observation {
        let executor = self.registry.executor(kind).unwrap();
        let probed = executor.execute(&config.to_string(), cx).await;
        probed.unwrap_or_else(lapwing_checks::CheckError::into_observation)
    }

    async fn run(&self, kind: &str, config: Value) -> Observation {
        self.run_in(kind, &config, &context(PLENTY)).await
    }

    /// What one step of a run that blames its target comes to: a refusal, or not.
    async fn step(&self, kind: &str, target: Value, step: Value) -> Observation {
        let mut config = target;
        config["steps"] = json!([step]);
        config["end"] = "down".into();
        self.run(kind, config).await
    }
}

/// The refusal that a run ended in.
fn refusal(seen: Observation) -> String {
    let (reason, message) = unknown(Ok(seen));
    assert_eq!(reason, Reason::DeniedByPolicy, "{message}");
    message
}

fn reached(seen: &Observation) {
    assert_eq!(seen.status, Status::Down, "{seen:?}");
}

/// Listens on one port, TCP and UDP, on every address of this machine, and counts who comes.
struct Canary {
    port: u16,
    heard: Arc<AtomicUsize>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Canary {
    async fn start() -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("0.0.0.0:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let port = tcp.local_addr().unwrap().port();
        let heard: Arc<AtomicUsize> = Arc::default();
        let (by_tcp, by_udp) = (heard.clone(), heard.clone());
        let streams = tokio::spawn(async move {
            while tcp.accept().await.is_ok() {
                by_tcp.fetch_add(1, SeqCst);
            }
        });
        let datagrams = tokio::spawn(async move {
            while udp.recv_from(&mut [0; 64]).await.is_ok() {
                by_udp.fetch_add(1, SeqCst);
            }
        });
        Self {
            port,
            heard,
            _tasks: [streams, datagrams].map(AbortOnDropHandle::new),
        }
    }

    /// Nothing came. A connection of our own comes after all that were made before it, so that the wait has an end.
    async fn heard_nothing(&self) {
        let before = self.heard.load(SeqCst);
        let _own = tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        udp.send_to(b"own", ("127.0.0.1", self.port)).await.unwrap();
        crate::support::eventually("the canary hears us", async || {
            self.heard.load(SeqCst) >= before + 2
        })
        .await;
        assert_eq!(
            (before, self.heard.load(SeqCst)),
            (0, 2),
            "the canary heard a guest"
        );
    }
}

/// A context whose names are looked up at `server`.
fn asking(server: SocketAddr) -> ProbeContext {
    ProbeContext {
        net: Net::with_name_servers(EgressPolicy::default(), &[server]),
        ..context(PLENTY)
    }
}

#[tokio::test]
async fn what_a_plugin_cannot_do_without_is_told_and_can_be_granted_as_a_whole() {
    let host = PluginHost::new(small()).unwrap();
    let report = host.load_file(fixture("greedy")).await;
    let declared = &report.about.as_ref().unwrap().capabilities;
    let Approval::Pending { missing } = assess("greedy", declared, &Grant::default()) else {
        panic!("it asks for nothing: {declared:?}");
    };
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(
        missing[0].contains(r#"`hosts = ["relay.test:25"]` in `[plugins.grants.greedy]` (sends by a relay)"#),
        "{missing:?}"
    );
    assert_eq!(assess("greedy", declared, &asked(declared)), Approval::Granted);
}
