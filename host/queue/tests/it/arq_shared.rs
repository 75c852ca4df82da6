//! A queue that stock workers and ours share.

use crate::{
    arq_fixture::{OnArq, QUEUE, options},
    arq_stock::{Client, our_worker, stock_worker},
    fixture::{Dialect, eventually, room, take, task},
};
use lapwing_queue::{Queue, Server, Source, arq::Arq};
use redis::AsyncCommands;
use serde_json::json;
use std::{collections::HashMap, process::Stdio, time::Duration};
use tokio::time::{Instant, sleep};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_jobs_run_once_each_whoever_takes_them() {
    let mut on = OnArq::start().await;
    let ours = tokio::spawn({
        let (arq, mut redis) = (on.arq.clone(), on.redis.connection.clone());
        async move {
            let mut count = 0;
            loop {
                for lease in arq.reserve(room(8)).await.unwrap() {
                    let () = redis.hincr("runs", lease.id(), 1).await.unwrap();
                    // Longer than either needs to look again.
                    sleep(Duration::from_millis(1)).await;
                    lease.ack().await.unwrap();
                    count += 1;
                    let () = redis.set("ours", count).await.unwrap();
                }
            }
        }
    });
    let mut worker = stock_worker(&on, &["shared"]);
    let mut client = Client::start(&on, "pickle");
    let many = json!({"do": "enqueue_many", "function": "shared", "kwargs": {}, "count": 1000});
    for _ in 0..2 {
        assert_eq!(client.ask(many.clone()).await, 1000);
    }
    eventually(Duration::from_secs(60), "the queue is empty", async || {
        on.redis.run::<usize>(&format!("ZCARD {QUEUE}")).await == 0
    })
    .await;
    assert!(
        worker.try_wait().unwrap().is_none() && !ours.is_finished(),
        "both are still there"
    );
    ours.abort();
    let runs: HashMap<String, u32> = on.redis.run("HGETALL runs").await;
    assert_eq!(runs.len(), 2000);
    assert!(runs.values().all(|&runs| runs == 1));
    let (stock, ours): (u32, u32) = (on.redis.run("GET stock").await, on.redis.run("GET ours").await);
    assert_eq!(stock + ours, 2000);
    assert!(stock > 0 && ours > 0, "{stock} and {ours}");
    let left = on.keys("arq:[^q]*").await;
    assert!(
        left.len() == 2000 && left.iter().all(|key| key.starts_with("arq:result:")),
        "{}",
        left.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_are_not_ours_are_left_to_stock_workers_however_many_there_are() {
    let mut on = OnArq::start().await;
    let _ours = our_worker(&on.arq);
    let mut client = Client::start(&on, "pickle");
    let many = json!({"do": "enqueue_many", "function": "foreign", "kwargs": {}, "count": 3000});
    assert_eq!(client.ask(many).await, 3000);
    // What nobody but Python can read is not ours either.
    let () = on.redis.run("SET arq:job:garbled nonsense").await;
    let () = on.redis.run(&format!("ZADD {QUEUE} 2 garbled")).await;
    for _ in 0..20 {
        let start = Instant::now();
        let id = client.enqueue("tcp", json!({}), json!({})).await;
        assert_eq!(client.of("result", &id).await["value"]["status"], "up");
        assert!(start.elapsed() < Duration::from_secs(5), "ours come past theirs");
    }
    assert_eq!(on.redis.run::<usize>(&format!("ZCARD {QUEUE}")).await, 3001);
    assert!(on.keys("arq:retry:*").await.is_empty(), "none of them was tried");
    let () = on.redis.run(&format!("ZREM {QUEUE} garbled")).await;
    let _worker = stock_worker(&on, &["foreign"]);
    eventually(
        Duration::from_secs(60),
        "the stock worker runs them",
        async || on.redis.run::<usize>(&format!("ZCARD {QUEUE}")).await == 0,
    )
    .await;
    assert_eq!(on.redis.run::<u32>("GET stock").await, 3000);
}

/// Says to this test that it is the process to be killed.
const VICTIM: &str = "LAPWING_TEST_VICTIM";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::disallowed_methods,
    reason = "how the process to be killed knows that it is"
)]
async fn a_job_of_a_worker_that_was_killed_runs_again_when_its_claim_ends() {
    if let Ok(url) = std::env::var(VICTIM) {
        let arq = Arq::connect(&Server::open(&url).unwrap(), options())
            .await
            .unwrap();
        let leases = take(&*arq, 5).await;
        sleep(Duration::from_secs(60)).await;
        panic!("not killed: {leases:?}");
    }
    let mut on = OnArq::start().await;
    for number in 0..5 {
        on.arq.enqueue(&task(&number.to_string())).await.unwrap();
    }
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "arq_shared::a_job_of_a_worker_that_was_killed_runs_again_when_its_claim_ends",
        ])
        .env(VICTIM, on.redis.server.url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually(Duration::from_secs(20), "it has the jobs", async || {
        on.depth().await == (0, 5)
    })
    .await;
    // Longer than a claim: it renews them.
    sleep(Duration::from_secs(6)).await;
    assert!(on.arq.reserve(room(5)).await.unwrap().is_empty());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let killed = Instant::now();
    for lease in take(&*on.arq, 5).await {
        assert_eq!(lease.task().attempt, 2, "the crash was a try, as for stock");
        lease.ack().await.unwrap();
    }
    // A claim's length and a little; with the default timing half a minute.
    assert!(
        killed.elapsed() < Duration::from_secs(10),
        "{:?}",
        killed.elapsed()
    );
}
