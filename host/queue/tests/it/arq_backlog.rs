//! What others leave on a shared queue: it costs little, and ours come past it.

use crate::{
    arq_fixture::{OnArq, QUEUE, options},
    arq_stock::{Client, our_worker},
    fixture::{Dialect, eventually, room, take, task},
};
use lapwing_queue::{
    Inspect, Queue, Source, TaskState,
    arq::{Arq, Timing},
};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const OURS: &str = r#"{"t":null,"f":"tcp","a":[],"k":{},"et":1}"#;
const FOREIGN: &str = r#"{"t":null,"f":"foreign","a":[],"k":{},"et":1}"#;

/// Puts a job of any id and bytes on the queue.
async fn put(on: &mut OnArq, id: &[u8], job: &[u8], score: i64) {
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg([b"arq:job:", id].concat()).arg(job);
    pipe.cmd("ZADD").arg(QUEUE).arg(score).arg(id);
    let () = pipe.query_async(&mut on.redis.connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_id_is_no_text_is_left_alone_and_keeps_nobody_waiting() {
    let mut on = OnArq::start().await;
    for round in 0..2 {
        // At first its function is unknown; later the script knows it to be ours.
        put(&mut on, b"\xff\xfe\0bad", OURS.as_bytes(), 1 + round).await;
        put(&mut on, b"\xff\xfe\0worse", b"nonsense", 1 + round).await;
        for id in ["a", "b", "\u{e9}", "d"] {
            put(&mut on, id.as_bytes(), OURS.as_bytes(), 5).await;
        }
        let leases = take(&*on.arq, 4).await;
        let mut ids: Vec<_> = leases.iter().map(lapwing_queue::Lease::id).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "b", "d", "\u{e9}"]);
        for lease in leases {
            lease.ack().await.unwrap();
        }
        assert!(on.arq.reserve(room(8)).await.unwrap().is_empty());
        assert_eq!(on.redis.run::<usize>(&format!("ZCARD {QUEUE}")).await, 2);
    }
    assert!(on.keys("arq:retry:*").await.is_empty(), "it was not tried");
    on.arq.stats(QUEUE).await.unwrap();
}

/// Longer than 10 s: an idle worker's habits show only with time.
async fn an_idle_worker_asks_seldom_and_finds_its_own(job: &str, count: i64) {
    let mut with = options();
    with.timing = Timing {
        claim: Duration::from_secs(5),
        ..Timing::default()
    };
    let mut on = OnArq::with(with).await;
    for chunk in 0..count / 100 {
        let mut pipe = redis::pipe();
        for number in 0..100 {
            let score = 100 * chunk + number;
            pipe.cmd("SET").arg(format!("arq:job:theirs{score}")).arg(job);
            pipe.cmd("ZADD")
                .arg(QUEUE)
                .arg(score)
                .arg(format!("theirs{score}"));
        }
        let () = pipe.query_async(&mut on.redis.connection).await.unwrap();
    }
    let _worker = our_worker(&on.arq);
    // It gets to know them.
    sleep(Duration::from_millis(2500)).await;
    let () = on.redis.run("CONFIG RESETSTAT").await;
    let start = Instant::now();
    sleep(Duration::from_secs(4)).await;
    let stats: String = on.redis.run("INFO commandstats").await;
    let took = start.elapsed().as_secs();
    let calls = stats.split("cmdstat_evalsha:calls=").nth(1).unwrap();
    let calls: u64 = calls.split(',').next().unwrap().parse().unwrap();
    assert!(
        calls <= 5 * (took + 1),
        "{count} of {job}: {calls} calls in {took} s"
    );
    for round in 0..3 {
        let new = format!("new{round}");
        on.arq.enqueue(&task(&new)).await.unwrap();
        eventually(Duration::from_secs(2), "a new job of ours is run", async || {
            on.redis.run::<bool>(&format!("EXISTS arq:result:{new}")).await
        })
        .await;
    }
    // As if another of ours had died with it.
    put(&mut on, b"old", OURS.as_bytes(), count / 2).await;
    eventually(Duration::from_secs(12), "an old one is run", async || {
        on.redis.run::<bool>("EXISTS arq:result:old").await
    })
    .await;
    let left: i64 = on.redis.run(&format!("ZCARD {QUEUE}")).await;
    assert_eq!(left, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_seldom_beside_a_few_jobs_of_others() {
    an_idle_worker_asks_seldom_and_finds_its_own(FOREIGN, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_seldom_beside_many_jobs_of_others() {
    an_idle_worker_asks_seldom_and_finds_its_own(FOREIGN, 11_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_seldom_beside_many_jobs_that_cannot_be_read() {
    an_idle_worker_asks_seldom_and_finds_its_own("nonsense", 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_functions_that_are_known_not_to_be_ours_do_not_count_as_pending() {
    let mut on = OnArq::start().await;
    for number in 0..50 {
        let id = format!("theirs{number}");
        put(&mut on, id.as_bytes(), FOREIGN.as_bytes(), 5).await;
    }
    // Of a type that no job is.
    let () = on.redis.run("HSET arq:job:odd f 1").await;
    let () = on.redis.run(&format!("ZADD {QUEUE} 99999999999999 odd")).await;
    assert!(on.arq.reserve(room(8)).await.unwrap().is_empty());
    let stats = on.arq.stats(QUEUE).await.unwrap();
    assert_eq!((stats.pending, stats.oldest_ms, stats.scheduled), (0, None, 1));
    on.arq.enqueue(&task("a")).await.unwrap();
    let () = on.redis.run(&format!("ZADD {QUEUE} 7 odd")).await;
    assert_eq!(on.arq.stats(QUEUE).await.unwrap().pending, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_jobs_in_the_midst_of_many_others_are_all_run() {
    let mut on = OnArq::start().await;
    for part in 0..30 {
        let mut pipe = redis::pipe();
        for number in 0..100 {
            let id = 100 * part + number;
            let job = if number % 10 == 0 { OURS } else { FOREIGN };
            pipe.cmd("SET").arg(format!("arq:job:{id}")).arg(job);
            pipe.cmd("ZADD").arg(QUEUE).arg(id).arg(id);
        }
        let () = pipe.query_async(&mut on.redis.connection).await.unwrap();
    }
    let _worker = our_worker(&on.arq);
    eventually(Duration::from_secs(30), "all of ours are run", async || {
        on.redis.run::<usize>(&format!("ZCARD {QUEUE}")).await == 2700
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_in_pickles_older_than_protocol_2_are_left_to_whoever_reads_them() {
    let mut on = OnArq::start().await;
    // As `pickle.dumps({"t": None, "f": "tcp", "a": (), "k": {}, "et": 1}, protocol)` writes it.
    let first = b"}q\x00(X\x01\x00\x00\x00tq\x01NX\x01\x00\x00\x00fq\x02X\x03\x00\x00\x00tcpq\x03X\x01\x00\x00\x00aq\x04)X\x01\x00\x00\x00kq\x05}q\x06X\x02\x00\x00\x00etq\x07K\x01u.";
    let zeroth = b"(dp0\nVt\np1\nNsVf\np2\nVtcp\np3\nsVa\np4\n(tsVk\np5\n(dp6\nsVet\np7\nI1\ns.";
    put(&mut on, b"zeroth", zeroth, 1).await;
    put(&mut on, b"first", first, 1).await;
    for _ in 0..3 {
        assert!(on.arq.reserve(room(8)).await.unwrap().is_empty());
    }
    assert_eq!(on.redis.run::<usize>(&format!("ZCARD {QUEUE}")).await, 2);
    assert!(on.dead().await.is_empty() && on.keys("arq:re*").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_job_says_how_often_it_was_tried_and_only_on_its_own_queue() {
    let on = OnArq::start().await;
    let mut client = Client::start(&on, "pickle");
    let id = client.enqueue("tcp", json!({}), json!({"_job_try": 3})).await;
    take(&*on.arq, 1).await.remove(0).ack().await.unwrap();
    let status = on.arq.status(QUEUE, &id).await.unwrap().unwrap();
    assert_eq!(
        (status.state, status.attempts, status.kind.as_deref()),
        (TaskState::Completed, 3, Some("tcp"))
    );
    assert!(on.arq.result(QUEUE, &id).await.unwrap().is_some());
    let mut with = options();
    with.queue = "arq:queue:other".to_owned();
    let other = Arq::connect(&on.redis.server(), with).await.unwrap();
    assert_eq!(other.status("arq:queue:other", &id).await.unwrap(), None);
    assert_eq!(other.result("arq:queue:other", &id).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_tries_that_failed_are_told_as_retried() {
    let mut with = options();
    with.health_check_interval = Duration::from_millis(100);
    let mut on = OnArq::with(with).await;
    on.arq.enqueue(&task("a")).await.unwrap();
    for _ in 0..2 {
        take(&*on.arq, 1).await.remove(0).requeue().await.unwrap();
    }
    take(&*on.arq, 1).await.remove(0).retry("trouble").await.unwrap();
    let told = format!("GET {QUEUE}:health-check");
    eventually(Duration::from_secs(5), "one is told", async || {
        // Not there before the first beat.
        let text: Option<String> = on.redis.run(&told).await;
        let text = text.unwrap_or_default();
        assert!(
            !text.contains("j_retried=2") && !text.contains("j_retried=3"),
            "{text}"
        );
        text.contains("j_retried=1")
    })
    .await;
}
