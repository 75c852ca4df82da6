//! Redis is there but refuses.

use crate::fixture::{Redis, quick, result, room, take, task};
use lapwing_queue::{
    Queue, QueueError, Server, Source,
    asynq::{Asynq, Options},
    testing::RedisServer,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

async fn commands(redis: &mut Redis) -> i64 {
    let info: String = redis.run("INFO stats").await;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"))
        .unwrap();
    line.parse().unwrap()
}

fn keep_reserving(asynq: &Arc<Asynq>) -> tokio::task::JoinHandle<()> {
    let asynq = asynq.clone();
    tokio::spawn(async move {
        loop {
            let _ = asynq.reserve(room(8)).await;
        }
    })
}

/// Every refusal of writes that Redis can be made to give by a setting.
const REFUSALS: [(&str, &str); 2] = [
    (
        "CONFIG SET min-replicas-to-write 1",
        "CONFIG SET min-replicas-to-write 0",
    ),
    ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_refused_does_not_run_hot_and_goes_on_soon_after() {
    for (refuse, allow) in REFUSALS {
        let mut redis = Redis::start().await;
        let asynq = redis.asynq(quick()).await;
        asynq.enqueue(&task("before")).await.unwrap();
        let () = redis.run(refuse).await;
        assert!(
            matches!(asynq.reserve(room(8)).await, Err(QueueError::Unavailable(_))),
            "{refuse}"
        );
        let worker = keep_reserving(&asynq);
        let before = commands(&mut redis).await;
        sleep(Duration::from_secs(3)).await;
        let rate = (commands(&mut redis).await - before) / 3;
        worker.abort();
        assert!(rate < 50, "{refuse}: {rate} commands/s");
        let () = redis.run(allow).await;
        assert_eq!(
            timeout(Duration::from_secs(2), take(&*asynq, 1))
                .await
                .unwrap()
                .len(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ended_while_writes_were_refused_runs_exactly_once() {
    for (refuse, allow) in REFUSALS {
        let mut redis = Redis::start().await;
        let asynq = redis.asynq(quick()).await;
        asynq.enqueue(&task("a")).await.unwrap();
        let lease = take(&*asynq, 1).await.remove(0);
        let () = redis.run(refuse).await;
        let settling = tokio::spawn({
            let asynq = asynq.clone();
            async move {
                let result = result(lease.task());
                lease.publish_and_ack(&*asynq, &result).await
            }
        });
        sleep(Duration::from_secs(3)).await;
        assert!(!settling.is_finished(), "{refuse}");
        let () = redis.run(allow).await;
        let back = Instant::now();
        settling.await.unwrap().unwrap();
        assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
        assert_eq!(redis.list("ingester", "pending").await.len(), 1);
        assert!(redis.hash("healthcheck", "healthcheck:a").await.is_empty());
        assert_eq!(redis.run::<i64>("GET asynq:{healthcheck}:processed").await, 1);
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_in_clear_words() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let url =
        |password: &str| Server::open(&format!("redis://:{password}@127.0.0.1:{}/0", server.port())).unwrap();
    let error = Asynq::connect(&url("wrong"), Options::default())
        .await
        .unwrap_err();
    assert!(matches!(&error, QueueError::Denied(_)), "{error:?}");
    assert!(!error.to_string().contains("wrong@"), "{error}");
    Asynq::connect(&url("secret"), Options::default()).await.unwrap();
}

#[tokio::test]
async fn a_missing_permission_is_told_in_clear_words() {
    let mut redis = Redis::start().await;
    let () = redis.run("ACL SETUSER lap on >secret ~* &* +@all -evalsha").await;
    let asynq = Asynq::connect(
        &Server::open(&format!("redis://lap:secret@127.0.0.1:{}/0", redis.server.port())).unwrap(),
        quick(),
    )
    .await
    .unwrap();
    let error = asynq.enqueue(&task("a")).await.unwrap_err();
    assert!(
        matches!(&error, QueueError::Denied(text) if text.contains("evalsha")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_connection_refused_for_want_of_room_is_tried_again() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let () = redis.run("CONFIG SET maxclients 1").await;
    let () = redis.run("CLIENT KILL SKIPME yes TYPE normal").await;
    for _ in 0..3 {
        assert!(asynq.enqueue(&task("a")).await.is_err());
    }
    let () = redis.run("CONFIG SET maxclients 100").await;
    let start = Instant::now();
    while asynq.enqueue(&task("a")).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_left_for_a_new_connection() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("a")).await.unwrap();
    let () = redis.run("REPLICAOF 127.0.0.1 1").await;
    assert!(matches!(
        asynq.enqueue(&task("b")).await,
        Err(QueueError::Unavailable(_))
    ));
    let connections: String = redis.run("INFO stats").await;
    let count = |info: &str| -> i64 {
        info.lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"))
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!(asynq.enqueue(&task("b")).await.is_err());
    assert!(count(&redis.run::<String>("INFO stats").await) > count(&connections));
    let () = redis.run("REPLICAOF NO ONE").await;
    let start = Instant::now();
    while asynq.enqueue(&task("b")).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
