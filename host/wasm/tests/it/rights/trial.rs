//! Trial runs: every call to the host, written down.

use super::{Canary, Steps};
use crate::support::{PLENTY, context};
use lapwing_checks::CheckError;
use lapwing_model::{Reason, Status};
use lapwing_wasm::{Trial, TrialOptions};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const MORE: &str = "fixture-steps-more";

async fn trial(steps: &Steps, config: &Value, allow: &[&str]) -> Result<Trial, CheckError> {
    let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
    steps
        .plugin
        .trial(
            MORE,
            &config.to_string(),
            &context(PLENTY),
            TrialOptions { allow },
        )
        .await
}

#[tokio::test]
async fn each_call_is_written_down_with_what_came_of_it() {
    let canary = Canary::start().await;
    let steps = Steps::granted(json!({ "state": true })).await;
    let dial = json!({ "do": "tcp", "to": "127.0.0.1", "port": canary.port });
    let config = json!({ "steps": [dial, { "do": "set", "key": "k", "bytes": 3 }, { "do": "granted", "name": "state" }, { "do": "echo" }], "end": "down" });

    let refused = trial(&steps, &config, &[]).await.unwrap();
    assert_eq!(
        (refused.result.status, refused.result.reason),
        (Status::Unknown, Some(Reason::DeniedByPolicy))
    );
    assert_eq!(refused.refusals, 1);
    assert!(refused.calls[0].failed && refused.calls[0].outcome.contains("plugins.grants.fixtures.hosts"));
    canary.heard_nothing().await;

    let allowed = trial(&steps, &config, &["127.0.0.1"]).await.unwrap();
    assert_eq!(allowed.result.status, Status::Down);
    let calls: Vec<_> = allowed
        .calls
        .iter()
        .map(|call| (call.call, call.failed))
        .collect();
    assert_eq!(
        calls,
        [
            ("tcp.connect", false),
            ("state.set", false),
            ("context.granted", false)
        ]
    );
    let target = format!("127.0.0.1:{}", canary.port);
    assert_eq!(
        (&allowed.calls[0].detail, &allowed.calls[0].outcome),
        (&target, &target)
    );
    assert!(allowed.calls.iter().all(|call| call.elapsed_us.is_some()));
    assert_eq!((allowed.connects, allowed.log.len()), (1, 1));
    assert!(allowed.output.contains("stderr says true"), "{}", allowed.output);
    assert!(allowed.memory_bytes > 0 && allowed.cpu_us > 0 && allowed.elapsed_us >= allowed.cpu_us);
}

#[tokio::test]
async fn a_trial_leaves_nothing_behind() {
    let steps = Steps::granted(json!({ "state": true })).await;
    let config = json!({ "steps": [{ "do": "get", "key": "k" }, { "do": "set", "key": "k", "bytes": 3 }] });
    for _ in 0..2 {
        assert_eq!(
            trial(&steps, &config, &[]).await.unwrap().result.message,
            "nothing | set"
        );
    }
    let trap = json!({ "steps": [], "end": "trap" });
    for _ in 0..6 {
        assert_eq!(
            trial(&steps, &trap, &[]).await.unwrap().result.reason,
            Some(Reason::PluginTrap)
        );
    }
    assert_eq!(
        steps.run(MORE, json!({ "steps": [] })).await.status,
        Status::Up,
        "not quarantined"
    );
}

#[tokio::test]
async fn a_trial_of_nothing_or_of_nonsense_is_refused() {
    let steps = Steps::new().await;
    let unfit = trial(&steps, &json!({ "steps": 7 }), &[]).await.unwrap_err();
    assert_eq!(unfit.reason(), Reason::InvalidConfig);
    let unknown = steps
        .plugin
        .trial("other", "{}", &context(PLENTY), TrialOptions::default())
        .await;
    assert!(matches!(unknown, Err(CheckError::UnknownKind { .. })));
}

#[tokio::test]
async fn a_flood_of_calls_is_counted_and_cut() {
    let steps = Steps::new().await;
    let flood: Vec<_> = (0..1200)
        .map(|_| json!({ "do": "granted", "name": "state" }))
        .collect();
    let trial = trial(&steps, &json!({ "steps": flood }), &[]).await.unwrap();
    assert_eq!((trial.calls.len(), trial.more_calls), (1000, 200));
}

/// `/n` redirects to `/n-1`, with a kilobyte of head; `/0` breaks off after three kilobytes of its body. The port, and how
/// many connections came.
async fn stairs() -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicU32::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Relaxed);
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = match path.trim_start_matches('/').parse::<u32>() {
                Ok(0) => format!("200 OK\r\ncontent-length: 9000\r\n\r\n{}", "x".repeat(3000)),
                Ok(step) => format!(
                    "302 Found\r\nlocation: /{}\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n",
                    step - 1,
                    "x".repeat(1000)
                ),
                Err(_) => "404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await;
        }
    });
    (port, connections)
}

#[tokio::test]
async fn connections_and_bytes_of_what_failed_count() {
    let steps = Steps::new().await;
    let (port, connections) = stairs().await;
    let descend = |from: u32| json!({ "do": "http", "to": format!("http://127.0.0.1:{port}/{from}"), "redirects": 255 });

    let once = trial(&steps, &json!({ "steps": [descend(4)] }), &["127.0.0.1"]).await;
    let once = once.unwrap();
    assert!(once.calls[0].failed, "{:?}", once.calls);
    assert_eq!(once.connects, 5);
    assert!(
        (7000..12_000).contains(&once.network_bytes),
        "{}",
        once.network_bytes
    );

    connections.store(0, Relaxed);
    let config = json!({ "steps": [descend(20), descend(20), descend(20)], "end": "down" });
    let result = trial(&steps, &config, &["127.0.0.1"]).await.unwrap().result;
    assert_eq!(
        (result.reason, result.message.as_str()),
        (Some(Reason::LimitHit), "too many connections (`limits.connects`)")
    );
    assert_eq!(connections.load(Relaxed), 32);
}
