//! Redis goes away and comes back.

use crate::fixture::{Redis, eventually, quick, result, room, take, task};
use lapwing_queue::{Inspect, Lease, Queue, QueueError, Source, asynq::Asynq};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

async fn reserved(asynq: &Asynq, count: usize) -> Vec<Lease> {
    for number in 0..count {
        asynq.enqueue(&task(&format!("held{number}"))).await.unwrap();
    }
    take(asynq, count).await
}

fn settle_all(asynq: &Arc<Asynq>, leases: Vec<Lease>) -> JoinSet<Result<(), QueueError>> {
    let mut settling = JoinSet::new();
    for lease in leases {
        let sink = asynq.clone();
        settling.spawn(async move {
            let result = result(lease.task());
            lease.publish_and_ack(&*sink, &result).await
        });
    }
    settling
}

/// Every result is there once, and nothing is in work.
async fn all_settled(redis: &mut Redis, count: usize) {
    let results = redis.list("ingester", "pending").await;
    assert_eq!(results.len(), count);
    assert_eq!(results.into_iter().collect::<BTreeSet<_>>().len(), count);
    for name in ["pending", "active"] {
        assert!(redis.list("healthcheck", name).await.is_empty());
    }
    assert!(redis.zset("healthcheck", "lease").await.is_empty());
    assert!(redis.zset("healthcheck", "archived").await.is_empty());
    assert_eq!(
        redis.run::<usize>("GET asynq:{healthcheck}:processed").await,
        count
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_seen_while_redis_was_killed_are_told_when_it_is_back() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let leases = reserved(&asynq, 50).await;
    redis.server.stop();
    let settling = settle_all(&asynq, leases);
    assert!(asynq.reserve(room(1)).await.is_err());
    sleep(Duration::from_secs(2)).await;
    redis.server.restart();
    let back = Instant::now();
    for outcome in timeout(Duration::from_secs(10), settling.join_all())
        .await
        .unwrap()
    {
        outcome.unwrap();
    }
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    redis.reconnect().await;
    all_settled(&mut redis, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_seen_while_redis_hung_are_told_once_when_it_goes_on() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let leases = reserved(&asynq, 50).await;
    redis.server.pause();
    let settling = settle_all(&asynq, leases);
    sleep(Duration::from_secs(3)).await;
    redis.server.resume();
    for outcome in timeout(Duration::from_secs(10), settling.join_all())
        .await
        .unwrap()
    {
        outcome.unwrap();
    }
    all_settled(&mut redis, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_takes_tasks_within_two_seconds_of_redis_return() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    assert!(asynq.reserve(room(1)).await.unwrap().is_empty());
    redis.server.stop();
    let worker = tokio::spawn({
        let asynq = asynq.clone();
        async move { take(&*asynq, 1).await }
    });
    sleep(Duration::from_secs(3)).await;
    redis.server.restart();
    let back = Instant::now();
    while asynq.enqueue(&task("a")).await.is_err() {
        assert!(back.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(worker.await.unwrap().len(), 1);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_reserved_in_an_answer_that_never_came_are_recovered() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    assert!(asynq.reserve(room(1)).await.unwrap().is_empty());
    for number in 0..20 {
        asynq.enqueue(&task(&number.to_string())).await.unwrap();
    }
    redis.server.pause();
    // The request lies in the server's socket; nobody waits for the answer any more when it goes on.
    assert!(matches!(
        asynq.reserve(room(20)).await,
        Err(QueueError::Unavailable(_))
    ));
    redis.server.resume();
    eventually(Duration::from_secs(5), "the late request is served", async || {
        redis.list("healthcheck", "active").await.len() == 20
    })
    .await;
    assert_eq!(take(&*asynq, 20).await.len(), 20);
    assert_eq!(asynq.counts().recovered, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_whose_answer_was_lost_is_done_once_and_spares_the_next_task_of_the_same_id() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    // The server knows the script from now on.
    reserved(&asynq, 1).await.remove(0).ack().await.unwrap();
    let lease = reserved(&asynq, 1).await.remove(0);
    redis.server.pause();
    let ack = tokio::spawn(lease.ack());
    // Long enough for the first attempt to be given up and another to be made.
    sleep(Duration::from_millis(1500)).await;
    redis.server.resume();
    ack.await.unwrap().unwrap();
    let count = async |redis: &mut Redis| redis.run::<i64>("GET asynq:{healthcheck}:processed").await;
    assert_eq!(count(&mut redis).await, 2);
    assert_eq!(reserved(&asynq, 1).await.len(), 1);
    assert_eq!(count(&mut redis).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_do_not_take_each_others_tasks_after_an_outage() {
    let mut redis = Redis::start().await;
    let mut options = quick();
    options.timing.lease = Duration::from_secs(60);
    options.timing.confirm = Duration::from_secs(3);
    let holders = [redis.asynq(options.clone()).await, redis.asynq(options).await];
    let mut leases = Vec::new();
    for (holder, monitor) in holders.iter().zip(["a", "b"]) {
        holder.enqueue(&task(monitor)).await.unwrap();
        leases.extend(take(&**holder, 1).await);
    }
    redis.server.stop();
    // Past the end of everybody's presence.
    sleep(Duration::from_secs(3)).await;
    redis.server.restart();
    sleep(Duration::from_secs(5)).await;
    for lease in leases {
        lease.ack().await.unwrap();
    }
    assert_eq!(holders.map(|holder| holder.counts().recovered), [0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_could_not_be_extended_is_lost_and_its_task_runs_again() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let lease = reserved(&asynq, 1).await.remove(0);
    redis.server.stop();
    let start = Instant::now();
    timeout(Duration::from_secs(12), lease.lost())
        .await
        .expect("lost without being told");
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    redis.server.restart();
    assert!(matches!(lease.ack().await, Err(QueueError::LeaseLost(_))));
    assert_eq!(take(&*asynq, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_redis_may_have_forgotten_the_scripts() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let () = redis.run("SCRIPT FLUSH").await;
    let lease = reserved(&asynq, 1).await.remove(0);
    let () = redis.run("SCRIPT FLUSH").await;
    lease.ack().await.unwrap();
    assert!(redis.list("healthcheck", "active").await.is_empty());
    assert_eq!(redis.run::<i64>("GET asynq:{healthcheck}:processed").await, 1);
}
