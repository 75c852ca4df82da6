//! What our worker shows of itself, and what it leaves of its own jobs for others to read.

use crate::{
    arq_fixture::{OnArq, QUEUE, options},
    arq_stock::{Client, stock_check, stock_worker},
    fixture::{Dialect, eventually, room, take, task},
};
use lapwing_queue::{
    Inspect, Queue, Source, TaskState,
    arq::{Arq, Format},
};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_health_check_sees_our_worker_until_it_closes() {
    let mut on = OnArq::start().await;
    assert!(!stock_check(&on).await);
    on.arq.enqueue(&task("a")).await.unwrap();
    let lease = take(&*on.arq, 1).await.remove(0);
    eventually(Duration::from_secs(5), "it is seen", async || {
        stock_check(&on).await
    })
    .await;
    let key = format!("{QUEUE}:health-check");
    let text: String = on.redis.run(&format!("GET {key}")).await;
    let words: Vec<&str> = text.split(' ').collect();
    assert_eq!(words.len(), 7, "{text}");
    assert_eq!(
        &words[2..5],
        ["j_complete=0", "j_failed=0", "j_retried=0"],
        "{text}"
    );
    let left: i64 = on.redis.run(&format!("PTTL {key}")).await;
    assert!(left > 3_590_000 && left <= 3_601_000, "{left} ms");
    lease.ack().await.unwrap();
    on.arq.close().await;
    assert!(!stock_check(&on).await);
    assert!(on.arq.workers().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_listed_while_they_live_and_those_that_died_are_not() {
    let on = OnArq::start().await;
    let dead = Arq::connect(&on.redis.server(), options()).await.unwrap();
    for arq in [&on.arq, &dead] {
        let _ = arq.reserve(room(1)).await.unwrap();
    }
    eventually(Duration::from_secs(5), "both are listed", async || {
        on.arq.workers().await.unwrap().len() == 2
    })
    .await;
    let workers = on.arq.workers().await.unwrap();
    assert!(workers.iter().all(|worker| worker.queues == [QUEUE]
        && worker.pid == Some(4711)
        && worker.started_at.is_some()
        && worker.concurrency == Some(8)));
    drop(dead);
    eventually(Duration::from_secs(8), "the dead one is not", async || {
        on.arq.workers().await.unwrap().len() == 1
    })
    .await;
    let _stock = stock_worker(&on, &["foreign"]);
    eventually(Duration::from_secs(8), "the stock one is", async || {
        let workers = on.arq.workers().await.unwrap();
        workers
            .iter()
            .any(|worker| worker.name == format!("{QUEUE}:health-check"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_jobs_are_read_by_stock_clients_and_workers_in_every_format() {
    for (format, serializer) in [
        (Format::Pickle, "pickle"),
        (Format::Json, "json"),
        (Format::MessagePack, "msgpack"),
    ] {
        let mut with = options();
        with.format = format;
        let on = OnArq::with(with).await;
        let mut client = Client::start(&on, serializer);
        on.arq.enqueue(&task("a")).await.unwrap();
        assert_eq!(client.of("status", "a").await, "queued");
        let lease = take(&*on.arq, 1).await.remove(0);
        assert_eq!(**lease.task(), task("a"));
        lease.ack().await.unwrap();
        assert_eq!(client.of("result", "a").await, json!({"value": null}));
        let info = client.of("info", "a").await;
        assert_eq!(info["kwargs"]["kind"], "tcp");
        if format == Format::Pickle {
            on.arq.enqueue(&task("b")).await.unwrap();
            let _stock = stock_worker(&on, &["check"]);
            assert_eq!(client.of("result", "b").await, json!({"value": "stock"}));
            let kept = on.arq.result(QUEUE, "b").await.unwrap().unwrap();
            assert_eq!((kept.ok, kept.value), (true, json!("stock")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_kept_as_long_as_configured() {
    for (keep, expected) in [
        (Some(Duration::from_secs(60)), 1..=60_000),
        (None, -1..=-1),
        (Some(Duration::ZERO), -2..=-2),
    ] {
        let mut with = options();
        with.keep_result = keep;
        let mut on = OnArq::with(with).await;
        on.arq.enqueue(&task("a")).await.unwrap();
        take(&*on.arq, 1).await.remove(0).ack().await.unwrap();
        let left: i64 = on.redis.run("PTTL arq:result:a").await;
        assert!(expected.contains(&left), "{keep:?}: {left} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_bounded_and_a_retry_shows_as_one() {
    let mut with = options();
    with.dead_letters = 3;
    let mut on = OnArq::with(with).await;
    for number in 0..5 {
        on.arq.enqueue(&task(&number.to_string())).await.unwrap();
        let lease = take(&*on.arq, 1).await.remove(0);
        lease.archive(&format!("no good {number}")).await.unwrap();
    }
    assert_eq!(on.dead().await, ["no good 4", "no good 3", "no good 2"]);
    assert_eq!(on.redis.run::<u32>(&format!("HLEN {QUEUE}:dead:jobs")).await, 3);
    on.arq.enqueue(&task("a")).await.unwrap();
    take(&*on.arq, 1).await.remove(0).retry("again").await.unwrap();
    let status = on.arq.status(QUEUE, "a").await.unwrap().unwrap();
    assert_eq!((status.state, status.attempts), (TaskState::Retry, 1));
    assert!(status.due.is_some());
}
