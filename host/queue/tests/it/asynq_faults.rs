//! What goes wrong between a worker and its Redis.

use crate::fixture::{Redis, check, quick, result, room, take, task};
use lapwing_queue::{
    Queue, QueueError, Server, Source,
    asynq::{Asynq, Options},
    testing::Proxy,
};
use prost::Message;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// A worker behind a proxy, which has run every script once: an answer lost is then that of the script, not that of
/// "no such script".
async fn behind(proxy: &Proxy) -> Arc<Asynq> {
    let asynq = Asynq::connect(&Server::open(&proxy.url()).unwrap(), quick())
        .await
        .unwrap();
    asynq.enqueue(&task("first")).await.unwrap();
    let lease = take(&*asynq, 1).await.remove(0);
    let result = result(lease.task());
    lease.publish_and_ack(&*asynq, &result).await.unwrap();
    asynq
}

async fn counter(redis: &mut Redis, name: &str) -> i64 {
    let count: Option<i64> = redis.run(&format!("GET asynq:{{healthcheck}}:{name}")).await;
    count.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ending_whose_answer_is_lost_happens_once() {
    let mut redis = Redis::start().await;
    let proxy = Proxy::start(redis.server.port());
    let asynq = behind(&proxy).await;
    for way in ["done", "retry", "archived", "pending"] {
        asynq.enqueue(&task(way)).await.unwrap();
        let lease = take(&*asynq, 1).await.remove(0);
        let before = proxy.swallowed();
        proxy.swallow(format!("\r\n{way}\r\n").as_bytes());
        match way {
            "done" => lease.ack().await.unwrap(),
            "retry" => lease.retry("why").await.unwrap(),
            "archived" => lease.archive("why").await.unwrap(),
            _ => lease.requeue().await.unwrap(),
        }
        assert_eq!(proxy.swallowed(), before + 1, "{way}");
        assert!(redis.list("healthcheck", "active").await.is_empty());
        assert!(redis.zset("healthcheck", "lease").await.is_empty());
    }
    assert_eq!(redis.message("healthcheck", "healthcheck:retry").await.retried, 1);
    assert_eq!(redis.zset("healthcheck", "archived").await.len(), 1);
    assert_eq!(counter(&mut redis, "processed").await, 4);
    assert_eq!(counter(&mut redis, "failed").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_whose_answer_is_lost_is_published_once() {
    let mut redis = Redis::start().await;
    let proxy = Proxy::start(redis.server.port());
    let asynq = behind(&proxy).await;
    asynq.enqueue(&task("a")).await.unwrap();
    let lease = take(&*asynq, 1).await.remove(0);
    let result = result(lease.task());
    proxy.swallow(b"ingest:a:");
    lease.publish_and_ack(&*asynq, &result).await.unwrap();
    assert_eq!(proxy.swallowed(), 1);
    assert_eq!(redis.list("ingester", "pending").await.len(), 2, "with the first");
    assert_eq!(counter(&mut redis, "processed").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_whose_answer_is_lost_comes_again() {
    let mut redis = Redis::start().await;
    let proxy = Proxy::start(redis.server.port());
    let asynq = behind(&proxy).await;
    asynq.enqueue(&task("a")).await.unwrap();
    proxy.swallow(b"asynq:{healthcheck}:paused");
    assert!(matches!(
        asynq.reserve(room(1)).await,
        Err(QueueError::Unavailable(_))
    ));
    assert_eq!(redis.list("healthcheck", "active").await, ["healthcheck:a"]);
    let lease = take(&*asynq, 1).await.remove(0);
    assert_eq!((lease.task().attempt, asynq.counts().recovered), (1, 1));
    lease.ack().await.unwrap();
    assert_eq!(counter(&mut redis, "processed").await, 2);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "to block the event loop is the point")]
fn a_starved_event_loop_loses_no_lease() {
    let starving = Duration::from_secs(4);
    let options = || {
        let (mut options, ms) = (quick(), Duration::from_millis);
        options.timing.lease = ms(2000);
        options.timing.beat = ms(300);
        options.timing.silence = ms(900);
        options.timing.presence = ms(2000);
        options.timing.confirm = ms(300);
        options
    };
    let runtime = |threads| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap()
    };
    let (starved, healthy) = (runtime(2), runtime(1));
    let mut redis = healthy.block_on(Redis::start());
    let server = redis.server();
    let (asynq, lease) = starved.block_on(async {
        let asynq = Asynq::connect(&server, options()).await.unwrap();
        asynq.enqueue(&task("a")).await.unwrap();
        let lease = take(&*asynq, 1).await.remove(0);
        (asynq, lease)
    });
    let ticks = Arc::new(AtomicU32::new(0));
    let ticking = ticks.clone();
    starved.spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ticking.fetch_add(1, Ordering::Relaxed);
        }
    });
    for _ in 0..2 {
        starved.spawn(async move { thread::sleep(starving) });
    }
    let peer = healthy.block_on(async {
        let peer = redis.asynq(Options { pid: 1, ..options() }).await;
        let end = tokio::time::Instant::now() + starving;
        while tokio::time::Instant::now() < end {
            assert!(peer.reserve(room(1)).await.unwrap().is_empty(), "robbed");
        }
        peer
    });
    let ticks = ticks.load(Ordering::Relaxed);
    assert!(ticks < 20, "the event loop was starved: {ticks} ticks");
    starved.block_on(lease.ack()).unwrap();
    assert_eq!((peer.counts().recovered, asynq.counts().recovered), (0, 0));
    assert_eq!(healthy.block_on(counter(&mut redis, "processed")), 1);
}

#[tokio::test]
async fn what_stock_workers_left_behind_hides_nothing() {
    let mut redis = Redis::start().await;
    redis.push(&check("low", "forgotten"), &[]).await;
    // In work without a lease, and a lease without a task in work: as many of one as of the other.
    redis.stock_dequeue("low", 60).await;
    let () = redis.run("ZREM asynq:{low}:lease healthcheck:forgotten").await;
    let () = redis.run("ZADD asynq:{low}:lease 1000 nothing").await;
    // Tasks without a message, wherever an id can be.
    for (place, add) in [("pending", "LPUSH"), ("active", "LPUSH")] {
        let () = redis
            .run(&format!("{add} asynq:{{low}}:{place} empty-{place}"))
            .await;
        let () = redis
            .run(&format!("HSET asynq:{{low}}:t:empty-{place} state {place}"))
            .await;
    }
    for place in ["scheduled", "retry"] {
        let () = redis
            .run(&format!("ZADD asynq:{{low}}:{place} 1 empty-{place}"))
            .await;
        let () = redis
            .run(&format!("HSET asynq:{{low}}:t:empty-{place} state {place}"))
            .await;
    }
    // A key of another type in a task's place.
    let () = redis.run("SET asynq:{low}:t:odd x").await;
    let () = redis.run("LPUSH asynq:{low}:pending odd").await;
    let asynq = redis.asynq(quick()).await;
    let lease = take(&*asynq, 1).await.remove(0);
    assert_eq!(lease.task().monitor.id, "forgotten");
    lease.ack().await.unwrap();
    crate::fixture::eventually(Duration::from_secs(10), "nothing is left", async || {
        redis.list("low", "active").await.is_empty()
            && redis.list("low", "pending").await.is_empty()
            && redis.zset("low", "lease").await.is_empty()
            && redis
                .run::<Vec<String>>("KEYS asynq:{low}:t:empty*")
                .await
                .is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_thousand_failures_leave_a_bounded_archive_and_nothing_else() {
    const FAILURES: usize = 30_000;
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let mut pipe = redis::pipe();
    for number in 0..FAILURES {
        let message = check("low", &number.to_string());
        let key = format!("asynq:{{low}}:t:{}", message.id);
        let fields = [("msg", message.encode_to_vec()), ("state", b"pending".to_vec())];
        pipe.hset_multiple(key, &fields).ignore();
        pipe.lpush("asynq:{low}:pending", &message.id).ignore();
    }
    let () = pipe.query_async(&mut redis.connection).await.unwrap();
    let mut failed = 0;
    while failed < FAILURES {
        let leases = asynq.reserve(room(500)).await.unwrap();
        failed += leases.len();
        let archived = leases.into_iter().map(|lease| lease.archive("broken"));
        for outcome in futures_util::future::join_all(archived).await {
            outcome.unwrap();
        }
    }
    assert_eq!(redis.zset("low", "archived").await.len(), 9999);
    let tasks: Vec<String> = redis.run("KEYS asynq:{low}:t:*").await;
    assert_eq!(tasks.len(), 9999, "no hash is left over");
    assert_eq!(redis.run::<usize>("GET asynq:{low}:failed").await, FAILURES);
}
