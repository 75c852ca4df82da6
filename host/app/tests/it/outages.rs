//! The worker killed, Redis gone: nothing is lost, nothing settled is done twice.

use crate::{
    support::{
        asynq::{enqueue_check, ingested, ingested_count, leftovers, payload},
        eventually, targets,
    },
    worker::{connect, worker},
};
use lapwing_queue::testing::RedisServer;
use serde_json::json;
use std::{
    collections::HashSet,
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
