//! Tasks whose worker is gone come back; tasks of live workers, stock ones too, are left alone.

use crate::fixture::{Redis, check, eventually, monitors, quick, room, take, task};
use lapwing_queue::{
    Inspect, Queue, QueueError, Source,
    asynq::{Options, Timing},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_stock_workers_expired_task_goes_back_to_the_head_and_is_not_archived() {
    let mut redis = Redis::start().await;
    redis.push(&check("healthcheck", "dead"), &[]).await;
    redis.push(&check("healthcheck", "next"), &[]).await;
    assert_eq!(redis.stock_dequeue("healthcheck", -7).await, "healthcheck:dead");
    let asynq = redis.asynq(quick()).await;
    let () = redis.run("SET asynq:{healthcheck}:paused 1").await;
    asynq.reserve(room(1)).await.unwrap();
    eventually(LIMIT, "it is pending again", async || {
        redis.list("healthcheck", "pending").await.len() == 2
    })
    .await;
    assert!(redis.zset("healthcheck", "lease").await.is_empty());
    let () = redis.run("DEL asynq:{healthcheck}:paused").await;
    assert_eq!(monitors(&take(&*asynq, 2).await), ["dead", "next"]);
    assert_eq!(asynq.counts().recovered, 1);
    assert!(redis.zset("healthcheck", "archived").await.is_empty());
}

#[tokio::test]
async fn a_stock_workers_task_is_left_alone_until_its_grace_is_over() {
    let mut redis = Redis::start().await;
    for monitor in ["live", "slow clock", "once ours"] {
        redis.push(&check("healthcheck", monitor), &[]).await;
    }
    redis.stock_dequeue("healthcheck", 60).await;
    redis.stock_dequeue("healthcheck", 1).await;
    redis.stock_dequeue("healthcheck", 1).await;
    // A stock worker has what a Lapwing that is gone had before.
    let mark = [
        "HSET",
        "asynq:{healthcheck}:t:healthcheck:once ours",
        "lapwing_owner",
        "gone:1:uuid/7",
    ];
    let () = redis::cmd(mark[0])
        .arg(&mark[1..])
        .query_async(&mut redis.connection)
        .await
        .unwrap();
    let leases = redis.zset("healthcheck", "lease").await;
    let asynq = redis.asynq(quick()).await;
    for _ in 0..15 {
        assert!(asynq.reserve(room(5)).await.unwrap().is_empty());
    }
    assert_eq!(redis.zset("healthcheck", "lease").await, leases);
    assert_eq!(asynq.counts().recovered, 0);
    // Their grace of 6 s over, the two that expired come back.
    assert_eq!(take(&*asynq, 2).await.len(), 2);
    assert_eq!(
        redis.state("healthcheck", "healthcheck:live").await.unwrap(),
        "active"
    );
}

#[tokio::test]
async fn a_task_in_work_without_a_lease_goes_back_at_once() {
    let mut redis = Redis::start().await;
    redis.push(&check("healthcheck", "a"), &[]).await;
    let id = redis.stock_dequeue("healthcheck", 60).await;
    let () = redis.run(&format!("ZREM asynq:{{healthcheck}}:lease {id}")).await;
    // And a ghost: an id whose task is gone.
    let () = redis.run("LPUSH asynq:{healthcheck}:active ghost").await;
    let () = redis.run("HSET asynq:{healthcheck}:t:ghost state active").await;
    let asynq = redis.asynq(quick()).await;
    assert_eq!(monitors(&take(&*asynq, 1).await), ["a"]);
    assert_eq!(redis.list("healthcheck", "active").await, ["healthcheck:a"]);
    assert!(redis.hash("healthcheck", "ghost").await.is_empty());
}

#[tokio::test]
async fn a_lease_without_a_task_is_removed() {
    let mut redis = Redis::start().await;
    let () = redis.run("ZADD asynq:{healthcheck}:lease 1000 nothing").await;
    let asynq = redis.asynq(quick()).await;
    asynq.reserve(room(1)).await.unwrap();
    eventually(LIMIT, "the lease is gone", async || {
        redis.zset("healthcheck", "lease").await.is_empty()
    })
    .await;
    assert!(redis.list("healthcheck", "pending").await.is_empty());
}

#[tokio::test]
async fn a_killed_workers_tasks_run_again_long_before_their_leases_end() {
    let mut redis = Redis::start().await;
    let long_lease = || {
        let options = quick();
        Options {
            timing: Timing {
                lease: Duration::from_secs(60),
                ..options.timing
            },
            ..options
        }
    };
    let killed = redis.asynq(long_lease()).await;
    for number in 0..100 {
        killed.enqueue(&task(&number.to_string())).await.unwrap();
    }
    let leases = take(&*killed, 100).await;
    // The beat that makes it present has been; then nothing more comes from it.
    eventually(LIMIT, "it is present", async || {
        !redis.run::<Vec<String>>("KEYS asynq:servers:*").await.is_empty()
    })
    .await;
    drop(killed);
    std::mem::forget(leases);
    let successor = redis.asynq(long_lease()).await;
    let again = timeout(LIMIT, take(&*successor, 100))
        .await
        .expect("before the leases end");
    assert_eq!(monitors(&again).into_iter().collect::<BTreeSet<_>>().len(), 100);
    assert_eq!(successor.counts().recovered, 100);
    for lease in again {
        lease.ack().await.unwrap();
    }
    assert!(redis.list("healthcheck", "active").await.is_empty());
}

#[tokio::test]
async fn a_live_lapwing_is_not_robbed_when_its_presence_is_gone() {
    let mut redis = Redis::start().await;
    let mut options = quick();
    options.timing.silence = Duration::from_secs(3);
    let holder = redis.asynq(options.clone()).await;
    let peer = redis.asynq(options).await;
    holder.enqueue(&task("a")).await.unwrap();
    let lease = take(&*holder, 1).await.remove(0);
    // For twice as long as a lease may go unextended.
    for _ in 0..20 {
        let () = redis.run("DEL asynq:servers").await;
        for key in redis.run::<Vec<String>>("KEYS asynq:servers:*").await {
            let () = redis.run(&format!("DEL {key}")).await;
        }
        assert!(peer.reserve(room(1)).await.unwrap().is_empty());
    }
    lease.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_workers_recover_a_thousand_tasks_once_each() {
    let mut redis = Redis::start().await;
    for number in 0..1000 {
        redis.push(&check("healthcheck", &number.to_string()), &[]).await;
    }
    for _ in 0..1000 {
        redis.stock_dequeue("healthcheck", -60).await;
    }
    let () = redis.run("SET asynq:{healthcheck}:paused 1").await;
    let mut workers = Vec::new();
    for pid in 1..=5 {
        workers.push(redis.asynq(Options { pid, ..quick() }).await);
    }
    for worker in &workers {
        worker.reserve(room(1)).await.unwrap();
    }
    eventually(LIMIT, "all are pending", async || {
        redis.zset("healthcheck", "lease").await.is_empty()
    })
    .await;
    let pending = redis.list("healthcheck", "pending").await;
    assert_eq!(pending.len(), 1000);
    assert_eq!(pending.into_iter().collect::<BTreeSet<_>>().len(), 1000);
    assert_eq!(
        workers
            .iter()
            .map(|worker| worker.counts().recovered)
            .sum::<u64>(),
        1000
    );
}

#[tokio::test]
async fn a_lost_task_cannot_be_settled_even_when_the_same_id_runs_again() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let late = {
        asynq.enqueue(&task("a")).await.unwrap();
        take(&*asynq, 1).await.remove(0)
    };
    // Someone moves it back by hand, and it is taken again, by the same worker.
    let () = redis.run("LREM asynq:{healthcheck}:active 0 healthcheck:a").await;
    let () = redis.run("ZREM asynq:{healthcheck}:lease healthcheck:a").await;
    let () = redis
        .run("HSET asynq:{healthcheck}:t:healthcheck:a state pending")
        .await;
    let () = redis.run("RPUSH asynq:{healthcheck}:pending healthcheck:a").await;
    let again = take(&*asynq, 1).await.remove(0);
    assert!(matches!(late.ack().await, Err(QueueError::LeaseLost(id)) if id == "healthcheck:a"));
    assert_eq!(
        redis.list("healthcheck", "active").await,
        ["healthcheck:a"],
        "the second run goes on"
    );
    sleep(Duration::from_millis(1500)).await;
    again.ack().await.unwrap();
    assert!(redis.list("healthcheck", "active").await.is_empty());
}

#[tokio::test]
async fn a_worker_learns_within_a_beat_that_its_task_was_taken() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("a")).await.unwrap();
    let lease = take(&*asynq, 1).await.remove(0);
    let () = redis
        .run("HSET asynq:{healthcheck}:t:healthcheck:a lapwing_owner other:1:uuid/1")
        .await;
    timeout(Duration::from_secs(5), lease.lost())
        .await
        .expect("lost is told");
    assert!(matches!(lease.ack().await, Err(QueueError::LeaseLost(_))));
}

#[tokio::test]
async fn a_task_left_half_settled_does_not_silence_its_monitor() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("a")).await.unwrap();
    redis.stock_dequeue("healthcheck", 60).await;
    let () = redis.run("LREM asynq:{healthcheck}:active 0 healthcheck:a").await;
    let () = redis.run("ZREM asynq:{healthcheck}:lease healthcheck:a").await;
    asynq.enqueue(&task("a")).await.unwrap();
    assert_eq!(monitors(&take(&*asynq, 1).await), ["a"]);
}
