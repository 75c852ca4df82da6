//! Redis that was started again, and has a lot to load: it is there, and refuses everything.

use crate::{
    arq_fixture::OnArq,
    fixture::{Dialect, OnRedis, result, take, task},
    streams_fixture::OnStreams,
};
use lapwing_queue::testing::RedisServer;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const LOADING: Duration = Duration::from_millis(1500);

/// A task is in work and another waits while Redis loads: the first is ended once, the second comes, both soon after.
async fn a_redis_that_loads_its_data_counts_as_away<D: Dialect>(server: impl Fn(&mut D) -> &mut RedisServer) {
    let mut on = D::start().await;
    for monitor in ["a", "b"] {
        on.queue().enqueue(&task(monitor)).await.unwrap();
    }
    let lease = take(&*on.source(), 1).await.remove(0);
    server(&mut on).restart_loading(LOADING);
    assert!(on.queue().enqueue(&task("c")).await.is_err(), "refused");
    let (sink, source) = (on.sink(), on.source());
    let ending = tokio::spawn(async move {
        let seen = result(lease.task());
        lease.publish_and_ack(&*sink, &seen).await
    });
    let taking = tokio::spawn(async move { take(&*source, 1).await });
    while server(&mut on).cli("PING").contains("LOADING") {
        tokio::task::yield_now().await;
    }
    let back = Instant::now();
    let patience = Duration::from_secs(10);
    timeout(patience, ending).await.unwrap().unwrap().unwrap();
    let waited = timeout(patience, taking).await.unwrap().unwrap();
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(waited[0].task().monitor.id, "b");
    let stats = on.dialect().stats(D::NAME).await.unwrap();
    assert_eq!((stats.pending, stats.active), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_asynq() {
    a_redis_that_loads_its_data_counts_as_away::<OnRedis>(|on| &mut on.redis.server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_streams() {
    a_redis_that_loads_its_data_counts_as_away::<OnStreams>(|on| &mut on.redis.server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_arq() {
    a_redis_that_loads_its_data_counts_as_away::<OnArq>(|on| &mut on.redis.server).await;
}
