//! Stock clients against `lapwing worker` with the example settings: what docs and examples say works.

use crate::{
    support::{
        eventually,
        process::{Daemon, lapwing},
        targets,
    },
    worker::connect,
};
use lapwing_queue::testing::RedisServer;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn worker(redis: &RedisServer, settings: &str) -> Daemon {
    let mut command = lapwing();
    command
        .arg("worker")
        .arg("--settings")
        .arg(format!("{ROOT}/examples/queues/{settings}.toml"))
        .env("REDIS_URL", redis.url());
    Daemon::start(command)
}

/// Where stock arq is, installed when it is not there yet.
fn stock_arq() -> PathBuf {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../lapwing-tools");
    let install = format!("{ROOT}/host/queue/tests/stock/install.sh");
    let installed = Command::new(install).arg(tools).output().unwrap();
    let error = String::from_utf8_lossy(&installed.stderr);
    assert!(
        installed.status.success(),
        "stock arq cannot be installed: {error}"
    );
    String::from_utf8(installed.stdout).unwrap().trim().into()
}

fn run(mut command: Command, redis: &RedisServer) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.env("REDIS_URL", redis.url()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{out}{err}");
    out.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_arq_client_gets_its_results() {
    let redis = RedisServer::start();
    let _worker = worker(&redis, "aegis");
    let http = targets::http().await;
    let mut client = Command::new("python3");
    client
        .env("PYTHONPATH", stock_arq())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(format!("{ROOT}/examples/clients/arq_client.py"))
        .arg(format!("http://{http}/ok"));
    let told = run(client, &redis);
    let lines: Vec<&str> = told.lines().collect();
    assert!(matches!(lines[..], [_, _, _]), "{told}");
    assert!(
        lines[0].starts_with("up ") && lines[1].starts_with("up "),
        "{told}"
    );
    assert!(
        lines[2].starts_with("failed:") && lines[2].contains("uri"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_is_client_enough() {
    let redis = RedisServer::start();
    let worker = worker(&redis, "streams");
    let http = targets::http().await;
    let mut client = Command::new("sh");
    client
        .arg(format!("{ROOT}/examples/clients/redis_cli.sh"))
        .arg(format!("http://{http}/ok"));
    run(client, &redis);
    let mut connection = connect(&redis).await;
    for (stream, count) in [("lapwing:results", 2), ("uptime:results", 1)] {
        eventually(stream, Duration::from_secs(10), async || {
            let length: usize = redis::cmd("XLEN")
                .arg(stream)
                .query_async(&mut connection)
                .await
                .unwrap();
            length == count
        })
        .await;
    }
    let read: Vec<(String, HashMap<String, String>)> = redis::cmd("XRANGE")
        .arg(&["uptime:results", "-", "+"])
        .query_async(&mut connection)
        .await
        .unwrap();
    let fields = &read[0].1;
    assert_eq!(
        (fields["websiteId"].as_str(), fields["status"].as_str()),
        ("site-1", "Up")
    );
    assert!(
        fields["responseTimeMs"].parse::<u64>().is_ok(),
        "{fields:?}\n{}",
        worker.log()
    );
}

/// By the default intervals: what an operator sees after a `kill -9`.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_tasks_run_again_in_every_dialect() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queues.toml");
    let queues = "[[queues]]\ndialect = \"streams\"\nload_test = true\n[[queues]]\ndialect = \"arq\"\nload_test = true\n";
    std::fs::write(&file, queues).unwrap();
    let start = || {
        let mut command = lapwing();
        command.args(["worker", "--settings"]).arg(&file);
        Daemon::start({
            command.env("REDIS_URL", redis.url());
            command
        })
    };
    let active = async |daemon: &Daemon| -> Vec<u64> {
        let queues = daemon.get("/api/v1/queues").await.1["queues"].clone();
        let count = |queue: &Value| queue["active"].as_u64().unwrap();
        queues.as_array().unwrap().iter().map(count).collect()
    };
    let killed = start();
    let soon = Duration::from_secs(20);
    eventually("the queues are connected", soon, async || {
        active(&killed).await.len() == 2
    })
    .await;
    let mut ids = Vec::new();
    for queue in ["lapwing:tasks", "arq:queue"] {
        for _ in 0..20 {
            let order = json!({"task_name": "sleep", "queue_type": queue, "kwargs": {"ms": 1500}});
            let (code, answer) = killed.post("/api/v1/tasks/enqueue", &order).await;
            assert_eq!(code, 202, "{answer}");
            ids.push(answer["task_id"].as_str().unwrap().to_owned());
        }
    }
    eventually("all are in work", soon, async || {
        active(&killed).await == [20, 20]
    })
    .await;
    killed.signal("KILL");
    let restarted = start();
    eventually("all have a result", Duration::from_secs(60), async || {
        let Some(id) = ids.last() else {
            return true;
        };
        if restarted.get(&format!("/api/v1/tasks/result/{id}")).await.0 == 200 {
            ids.pop();
        }
        ids.is_empty()
    })
    .await;
    assert_eq!(active(&restarted).await, [0, 0]);
    let (_, queues) = restarted.get("/api/v1/queues").await;
    for queue in queues["queues"].as_array().unwrap() {
        assert_eq!(queue["here"]["complete"], 20, "each ran once: {queue}");
    }
}
