//! The worker killed, Redis gone: nothing is lost, nothing settled is done twice.

use crate::{
    support::{
        asynq::{enqueue_check, ingested, ingested_count, leftovers, now, payload},
        eventually,
        process::Daemon,
        targets,
    },
    worker::{connect, worker, worker_command},
};
use lapwing_queue::testing::RedisServer;
use serde_json::json;
use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_tasks_all_give_a_result_after_a_restart() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let http = targets::http().await;
    let killed = worker(&redis);
    for index in 0..100 {
        let config = json!({"url": format!("http://{http}/slow/3000")});
        enqueue_check(&mut connection, &payload(&format!("m{index}"), "http", &config)).await;
    }
    eventually("100 tasks in flight", Duration::from_secs(10), async || {
        redis::cmd("LLEN")
            .arg("asynq:{healthcheck}:active")
            .query_async(&mut connection)
            .await
            .unwrap_or(0)
            == 100
    })
    .await;
    killed.signal("KILL");
    assert_eq!(ingested_count(&mut connection).await, 0);
    let start = Instant::now();
    let _restarted = worker(&redis);
    eventually("100 results", Duration::from_secs(90), async || {
        ingested_count(&mut connection).await >= 100
    })
    .await;
    println!("recovered and ran 100 tasks {:?} after the kill", start.elapsed());
    let monitors: HashSet<String> = ingested(&mut connection)
        .await
        .into_iter()
        .map(|(_, result)| result["monitor_id"].to_string())
        .collect();
    assert_eq!(monitors.len(), 100);
    eventually("nothing left", Duration::from_secs(5), async || {
        leftovers(&mut connection, "healthcheck").await.is_empty()
    })
    .await;
    assert_eq!(ingested_count(&mut connection).await, 100, "one result each");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_for_ten_seconds_costs_nothing_and_doubles_nothing() {
    let mut redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let http = targets::http().await;
    let worker = worker(&redis);
    let check =
        |id: String, ms: u32| payload(&id, "http", &json!({"url": format!("http://{http}/slow/{ms}")}));
    for index in 0..50 {
        enqueue_check(&mut connection, &check(format!("before{index}"), 0)).await;
    }
    eventually("50 results", Duration::from_secs(10), async || {
        ingested_count(&mut connection).await == 50
    })
    .await;
    // These run into the outage: their probes end while Redis is away.
    for index in 0..50 {
        enqueue_check(&mut connection, &check(format!("during{index}"), 3000)).await;
    }
    eventually("50 in flight", Duration::from_secs(10), async || {
        redis::cmd("LLEN")
            .arg("asynq:{healthcheck}:active")
            .query_async(&mut connection)
            .await
            .unwrap_or(0)
            == 50
    })
    .await;
    redis.stop();
    // The outage itself is what is tested: ten seconds, as an operator's restart may take.
    tokio::time::sleep(Duration::from_secs(10)).await;
    redis.restart();
    let back = Instant::now();
    let mut connection = connect(&redis).await;
    for index in 0..50 {
        enqueue_check(&mut connection, &check(format!("after{index}"), 0)).await;
    }
    eventually(
        "150 results within 2 s of Redis' return",
        Duration::from_secs(2),
        async || ingested_count(&mut connection).await >= 150,
    )
    .await;
    println!("caught up {:?} after Redis was back", back.elapsed());
    eventually("nothing left", Duration::from_secs(5), async || {
        leftovers(&mut connection, "healthcheck").await.is_empty()
    })
    .await;
    let results = ingested(&mut connection).await;
    let monitors: HashSet<String> = results
        .iter()
        .map(|(_, result)| result["monitor_id"].to_string())
        .collect();
    assert_eq!(
        (results.len(), monitors.len()),
        (150, 150),
        "each monitor once; the worker said:\n{}",
        worker.log()
    );
    assert!(
        results.iter().all(|(_, result)| result["status"] == 1),
        "Redis' trouble is nobody's downtime"
    );
}

/// Debian's libfaketime, which no search path has.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let mut there = folders.map(|folder| {
        let folder = folder.unwrap().path();
        folder.join("faketime/libfaketimeMT.so.1")
    });
    there
        .find(|file| file.is_file())
        .expect("libfaketime (Debian: faketime)")
}

/// Stale by their own clocks (after 30 s), in work for longer than a lease may be silent (8 s): were the hosts' clocks
/// asked, one worker would drop all tasks, or take the other's.
#[tokio::test(flavor = "multi_thread")]
async fn workers_whose_clocks_are_45_s_off_do_each_task_once_and_at_the_servers_time() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let http = targets::http().await;
    let library = faketime();
    let workers = ["+45s", "-45s"].map(|offset| {
        let mut command = worker_command(&redis);
        command.env("LD_PRELOAD", &library).envs([
            ("QUEUE_CONCURRENCY", "30"),
            ("FAKETIME", offset),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        Daemon::start(command)
    });
    for index in 0..50 {
        let config = json!({"url": format!("http://{http}/slow/10000")});
        let mut due = payload(&format!("m{index}"), "http", &config);
        due["interval"] = json!(20);
        enqueue_check(&mut connection, &due).await;
    }
    eventually("50 results", Duration::from_secs(60), async || {
        ingested_count(&mut connection).await >= 50
    })
    .await;
    eventually("nothing left", Duration::from_secs(5), async || {
        leftovers(&mut connection, "healthcheck").await.is_empty()
    })
    .await;
    let told = ingested(&mut connection).await;
    let monitors: HashSet<_> = told
        .iter()
        .map(|(_, result)| result["monitor_id"].to_string())
        .collect();
    assert_eq!((monitors.len(), told.len()), (50, 50), "one result each");
    let now: jiff::Timestamp = now().parse().unwrap();
    for (_, result) in told {
        let started: jiff::Timestamp = result["start_time"].as_str().unwrap().parse().unwrap();
        assert!(
            now.duration_since(started).unsigned_abs() < Duration::from_secs(40),
            "{result}"
        );
        assert_eq!(result["status"], 1, "{result}");
    }
    for worker in workers {
        let log = worker.log();
        assert!(log.contains("this host's clock is 45 s"), "{log}");
    }
}
