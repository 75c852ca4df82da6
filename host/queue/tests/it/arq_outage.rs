//! Redis goes away, hangs, forgets or refuses.

use crate::{
    arq_fixture::{OnArq, QUEUE, options},
    fixture::{Dialect, Redis, result, room, take, task},
};
use lapwing_queue::{Lease, Queue, QueueError, Server, Source, arq::Arq};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

async fn reserved(on: &OnArq, count: usize) -> Vec<Lease> {
    for number in 0..count {
        on.arq.enqueue(&task(&format!("held{number}"))).await.unwrap();
    }
    take(&*on.arq, count).await
}

fn settle_all(arq: &Arc<Arq>, leases: Vec<Lease>) -> JoinSet<Result<(), QueueError>> {
    let mut settling = JoinSet::new();
    for lease in leases {
        let sink = arq.clone();
        settling.spawn(async move {
            let result = result(lease.task());
            lease.publish_and_ack(&*sink, &result).await
        });
    }
    settling
}

/// Every result is there, and nothing else.
async fn all_settled(on: &mut OnArq, count: usize) {
    let left = on.keys("arq:[^q]*").await;
    assert_eq!(left.len(), count, "{left:?}");
    assert!(left.iter().all(|key| key.starts_with("arq:result:")), "{left:?}");
    assert_eq!(on.depth().await, (0, 0));
}

async fn commands(redis: &mut Redis) -> i64 {
    let info: String = redis.run("INFO commandstats").await;
    let calls = |line: &str| -> Option<i64> {
        // Not what scripts call.
        let name = line.strip_prefix("cmdstat_")?.split(':').next()?;
        let ours = ["evalsha", "eval", "multi", "zrangebyscore"].contains(&name);
        let calls = line.split("calls=").nth(1)?.split(',').next()?.parse().ok()?;
        ours.then_some(calls)
    };
    info.lines().filter_map(calls).sum()
}

fn keep_reserving(arq: &Arc<Arq>) -> tokio::task::JoinHandle<()> {
    let arq = arq.clone();
    tokio::spawn(async move {
        loop {
            let _ = arq.reserve(room(8)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_seen_while_redis_was_killed_are_told_when_it_is_back() {
    let mut on = OnArq::start().await;
    let leases = reserved(&on, 50).await;
    on.redis.server.stop();
    let settling = settle_all(&on.arq, leases);
    assert!(on.arq.reserve(room(1)).await.is_err());
    sleep(Duration::from_secs(2)).await;
    on.redis.server.restart();
    let back = Instant::now();
    for outcome in timeout(Duration::from_secs(10), settling.join_all())
        .await
        .unwrap()
    {
        outcome.unwrap();
    }
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    on.redis.reconnect().await;
    all_settled(&mut on, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_seen_while_redis_hung_are_told_once_when_it_goes_on() {
    let mut on = OnArq::start().await;
    let leases = reserved(&on, 50).await;
    on.redis.server.pause();
    let settling = settle_all(&on.arq, leases);
    sleep(Duration::from_secs(3)).await;
    on.redis.server.resume();
    for outcome in timeout(Duration::from_secs(10), settling.join_all())
        .await
        .unwrap()
    {
        outcome.unwrap();
    }
    all_settled(&mut on, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_whose_answer_never_came_are_given_back_at_once_and_untried() {
    let mut on = OnArq::start().await;
    assert!(on.arq.reserve(room(1)).await.unwrap().is_empty());
    for number in 0..20 {
        on.arq.enqueue(&task(&number.to_string())).await.unwrap();
    }
    // Seen by the first trip; the second, which claims them, gets no answer.
    let lease = take(&*on.arq, 1).await.remove(0);
    let mut lost = false;
    for _ in 0..10 {
        let reserving = tokio::spawn({
            let arq = on.arq.clone();
            async move { arq.reserve(room(19)).await }
        });
        on.redis.server.pause();
        let outcome = reserving.await.unwrap();
        on.redis.server.resume();
        if let Ok(leases) = outcome {
            for lease in leases {
                lease.requeue().await.unwrap();
            }
            continue;
        }
        lost = true;
        break;
    }
    assert!(lost, "every answer came");
    let back = Instant::now();
    let leases = take(&*on.arq, 19).await;
    assert!(back.elapsed() < Duration::from_secs(4), "{:?}", back.elapsed());
    assert!(leases.iter().all(|lease| lease.task().attempt == 1));
    for outcome in settle_all(&on.arq, leases).join_all().await {
        outcome.unwrap();
    }
    lease.ack().await.unwrap();
    all_settled(&mut on, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_could_not_be_renewed_is_lost_and_its_job_runs_again() {
    let mut on = OnArq::start().await;
    let lease = reserved(&on, 1).await.remove(0);
    on.redis.server.stop();
    let start = Instant::now();
    timeout(Duration::from_secs(12), lease.lost())
        .await
        .expect("lost without being told");
    assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
    on.redis.server.restart();
    assert!(matches!(lease.ack().await, Err(QueueError::LeaseLost(_))));
    assert_eq!(take(&*on.arq, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_another_worker_has_by_now_is_neither_renewed_nor_settled() {
    let mut on = OnArq::start().await;
    let lease = reserved(&on, 1).await.remove(0);
    let () = on.redis.run("SET arq:in-progress:held0 1 PX 60000").await;
    timeout(Duration::from_secs(5), lease.lost())
        .await
        .expect("lost without being told");
    assert!(matches!(lease.ack().await, Err(QueueError::LeaseLost(_))));
    assert_eq!(
        on.redis
            .run::<u32>("EXISTS arq:job:held0 arq:in-progress:held0")
            .await,
        2
    );
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the event loop is to be blocked")]
async fn an_event_loop_that_is_starved_keeps_its_claims() {
    let mut on = OnArq::start().await;
    let lease = reserved(&on, 1).await.remove(0);
    // Longer than a claim lasts unrenewed.
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(on.depth().await, (0, 1));
    lease.ack().await.unwrap();
    all_settled(&mut on, 1).await;
}

/// Every refusal of writes that Redis can be made to give by a setting.
const REFUSALS: [(&str, &str); 3] = [
    (
        "CONFIG SET min-replicas-to-write 1",
        "CONFIG SET min-replicas-to-write 0",
    ),
    ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_refused_does_not_run_hot_and_goes_on_soon_after() {
    for (refuse, allow) in REFUSALS {
        let mut on = OnArq::start().await;
        on.arq.enqueue(&task("held")).await.unwrap();
        let lease = take(&*on.arq, 1).await.remove(0);
        on.arq.enqueue(&task("before")).await.unwrap();
        let () = on.redis.run(refuse).await;
        let settling = settle_all(&on.arq, vec![lease]);
        let worker = keep_reserving(&on.arq);
        let before = commands(&mut on.redis).await;
        sleep(Duration::from_secs(3)).await;
        let rate = (commands(&mut on.redis).await - before) / 3;
        worker.abort();
        assert!(rate < 50, "{refuse}: {rate} commands/s");
        assert!(rate > 0, "{refuse}: nothing is counted");
        let () = on.redis.run(allow).await;
        let leases = timeout(Duration::from_secs(2), take(&*on.arq, 1)).await.unwrap();
        assert_eq!(leases.len(), 1, "{refuse}");
        let ended = timeout(Duration::from_secs(2), settling.join_all())
            .await
            .unwrap();
        assert!(ended.iter().all(Result::is_ok), "{refuse}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_asks_at_most_five_times_a_second() {
    let mut with = options();
    with.timing = lapwing_queue::arq::Timing::default();
    let mut on = OnArq::with(with).await;
    let _ = on.arq.reserve(room(8)).await.unwrap();
    let worker = keep_reserving(&on.arq);
    let before = commands(&mut on.redis).await;
    sleep(Duration::from_secs(4)).await;
    let count = commands(&mut on.redis).await - before;
    worker.abort();
    assert!(count > 4 && count <= 5 * 4, "{count} commands in 4 s");
}

#[tokio::test]
async fn a_missing_permission_is_told_in_clear_words() {
    let mut redis = Redis::start().await;
    let () = redis.run("ACL SETUSER lap on >secret ~* &* +@all -evalsha").await;
    let server = Server::open(&format!("redis://lap:secret@127.0.0.1:{}/0", redis.server.port())).unwrap();
    let arq = Arq::connect(&server, options()).await.unwrap();
    let error = arq.enqueue(&task("a")).await.unwrap_err();
    assert!(
        matches!(&error, QueueError::Denied(text) if text.contains("evalsha")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_redis_may_have_forgotten_the_scripts() {
    let mut on = OnArq::start().await;
    let () = on.redis.run("SCRIPT FLUSH").await;
    let lease = reserved(&on, 1).await.remove(0);
    let () = on.redis.run("SCRIPT FLUSH").await;
    lease.ack().await.unwrap();
    all_settled(&mut on, 1).await;
    assert_eq!(on.redis.run::<u32>(&format!("EXISTS {QUEUE}")).await, 0);
}
