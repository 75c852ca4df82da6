//! What goes wrong between a worker and its Redis.

use crate::fixture::{Redis, check, quick, result, room, take, task};
use lapwing_queue::{
    Inspect, Queue, QueueError, Server, Source,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_are_no_text_are_archived_and_hold_up_nothing() {
    const ODD: [&[u8]; 8] = [
        b"\xff\xfe",
        b"\x80",
        b"a\xc3",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82\xac\xac",
    ];
    const TEXT: [&str; 4] = [
        "\u{e9}",
        "\u{20ac}\u{d7ff}\u{e000}",
        "\u{10ffff}\u{10000}",
        "\u{7f}\u{80}\u{7ff}\u{800}",
    ];
    let mut redis = Redis::start().await;
    for (number, id) in ODD.iter().enumerate() {
        let id = |place: &str| [place.as_bytes(), id].concat();
        let key = |place: &str| [b"asynq:{critical}:t:".as_slice(), &id(place)].concat();
        let mut pipe = redis::pipe();
        for place in ["pending", "scheduled", "retry", "active", "lease"] {
            let state = if place == "lease" { "active" } else { place };
            let msg = check("critical", place).encode_to_vec();
            let fields = [("msg", msg.as_slice()), ("state", state.as_bytes())];
            pipe.hset_multiple(key(place), &fields).ignore();
            let list = format!("asynq:{{critical}}:{state}");
            match place {
                "scheduled" | "retry" => pipe.zadd(list, id(place), 1).ignore(),
                _ => pipe.lpush(list, id(place)).ignore(),
            };
        }
        pipe.zadd("asynq:{critical}:lease", id("lease"), 1).ignore();
        let () = pipe.query_async(&mut redis.connection).await.unwrap();
        redis.push(&check("critical", &number.to_string()), &[]).await;
    }
    for id in TEXT {
        redis.push(&check("critical", id), &[]).await;
    }
    let asynq = redis.asynq(quick()).await;
    let leases = take(&*asynq, ODD.len() + TEXT.len()).await;
    let mut ids: Vec<_> = crate::fixture::monitors(&leases);
    ids.retain(|id| TEXT.contains(id));
    assert_eq!(ids, TEXT);
    assert!(asynq.reserve(room(1)).await.unwrap().is_empty());
    crate::fixture::eventually(Duration::from_secs(10), "all are archived", async || {
        assert!(asynq.reserve(room(100)).await.unwrap().is_empty());
        redis.run::<usize>("ZCARD asynq:{critical}:archived").await == 5 * ODD.len()
    })
    .await;
    let dead = asynq.dead("critical", 0, 100).await.unwrap();
    assert_eq!(dead.len(), 5 * ODD.len());
    assert!(
        dead.iter()
            .all(|letter| letter.why == "the task's id is not UTF-8"),
        "{dead:?}"
    );
    assert_eq!(asynq.counts().archived, 5 * ODD.len() as u64);
    let first = b"asynq:{critical}:t:pending\xff\xfe";
    let became: String = redis::cmd("HGET")
        .arg(first)
        .arg("state")
        .query_async(&mut redis.connection)
        .await
        .unwrap();
    assert_eq!(became, "archived");
    // The leases of the others are kept, past their first end.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for lease in leases {
        lease.ack().await.unwrap();
    }
    let stats = asynq.stats("critical").await.unwrap();
    assert_eq!(
        (stats.pending, stats.active, stats.scheduled, stats.retry),
        (0, 0, 0, 0)
    );
    assert!(redis.list("critical", "active").await.is_empty());
    assert_eq!(redis.run::<usize>("ZCARD asynq:{critical}:lease").await, 0);
    asynq.workers().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_silent_for_long_enough_to_be_looked_into_is_asked_for_before_a_result_is_told() {
    let mut redis = Redis::start().await;
    let mut options = quick();
    let long = Duration::from_secs(60);
    (options.timing.lease, options.timing.presence, options.timing.beat) = (long, long, long);
    options.timing.silence = Duration::from_millis(300);
    let asynq = redis.asynq(options).await;
    redis.push(&check("low", "a"), &[]).await;
    let lease = take(&*asynq, 1).await.remove(0);
    let () = redis
        .run("HSET asynq:{low}:t:healthcheck:a lapwing_owner other")
        .await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let result = result(lease.task());
    let outcome = lease.publish_and_ack(&*asynq, &result).await;
    assert!(matches!(outcome, Err(QueueError::LeaseLost(_))), "{outcome:?}");
    assert!(redis.list("ingester", "pending").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_another_type_in_tasks_places_hold_up_no_recovery() {
    let mut redis = Redis::start().await;
    redis.push(&check("low", "a"), &[]).await;
    redis.stock_dequeue("low", -60).await;
    let () = redis.run("ZADD asynq:{low}:scheduled 1 odd1").await;
    let () = redis.run("ZADD asynq:{low}:lease 1 odd2").await;
    let () = redis.run("LPUSH asynq:{low}:active odd2 odd3").await;
    let () = redis.run("ZADD asynq:{low}:archived 1 odd4").await;
    let () = redis.run("LPUSH asynq:{low}:pending odd5").await;
    let () = redis.run("ZADD asynq:{low}:completed 1 odd6").await;
    for number in 1..7 {
        let () = redis.run(&format!("SET asynq:{{low}}:t:odd{number} x")).await;
    }
    let () = redis.run("SET asynq:{low}:paused 1").await;
    let asynq = redis.asynq(quick()).await;
    asynq.stats("low").await.unwrap();
    assert_eq!(asynq.dead("low", 0, 5).await.unwrap().len(), 1);
    let () = redis.run("DEL asynq:{low}:paused").await;
    let () = redis.run("LPUSH asynq:{low}:active odd7").await;
    let lease = take(&*asynq, 1).await.remove(0);
    lease.ack().await.unwrap();
    crate::fixture::eventually(Duration::from_secs(10), "nothing is left", async || {
        redis.list("low", "active").await.is_empty() && redis.zset("low", "lease").await.is_empty()
    })
    .await;
    assert_eq!(
        redis
            .run::<usize>("EXISTS asynq:{low}:t:odd1 asynq:{low}:t:odd2")
            .await,
        2
    );
}
