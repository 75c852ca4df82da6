//! Settings of queues, and whose tasks they hold.

use crate::fixture::{Redis, check, monitors, quick, result, room, take, task};
use lapwing_queue::{
    Inspect, Policy, Queue, Source,
    asynq::{Options, Priority, QueueOptions, message::TaskMessage},
};
use std::{collections::HashMap, time::Duration};
use tokio::time::timeout;

fn serving(queues: Vec<QueueOptions>) -> Options {
    Options { queues, ..quick() }
}

#[tokio::test]
async fn by_weight_every_queue_is_served_the_heavier_the_more_often_first() {
    let mut redis = Redis::start().await;
    let options = Options {
        priority: Priority::Weighted,
        ..serving(vec![QueueOptions::new("heavy", 9), QueueOptions::new("light", 1)])
    };
    let asynq = redis.asynq(options).await;
    for queue in ["heavy", "light"] {
        for number in 0..400 {
            redis.push(&check(queue, &format!("{queue}{number}")), &[]).await;
        }
    }
    let mut first = HashMap::new();
    for _ in 0..400 {
        let lease = take(&*asynq, 1).await.remove(0);
        let queue = lease
            .task()
            .monitor
            .id
            .trim_end_matches(char::is_numeric)
            .to_owned();
        *first.entry(queue).or_insert(0) += 1;
        lease.ack().await.unwrap();
    }
    // 40 of 400 are expected; fewer than 10 or more than 90 happen once in a million runs.
    assert!((10..90).contains(&first["light"]), "{first:?}");
}

#[tokio::test]
async fn a_queue_has_no_more_tasks_in_work_here_than_it_may() {
    let mut redis = Redis::start().await;
    let narrow = QueueOptions {
        max_jobs: Some(2),
        ..QueueOptions::new("narrow", 2)
    };
    let asynq = redis
        .asynq(serving(vec![narrow, QueueOptions::new("low", 1)]))
        .await;
    for number in 0..4 {
        redis.push(&check("narrow", &format!("n{number}")), &[]).await;
        redis.push(&check("low", &format!("l{number}")), &[]).await;
    }
    let mut leases = asynq.reserve(room(5)).await.unwrap();
    assert_eq!(monitors(&leases), ["n0", "n1", "l0", "l1", "l2"]);
    assert_eq!(monitors(&asynq.reserve(room(5)).await.unwrap()), ["l3"]);
    assert!(asynq.reserve(room(5)).await.unwrap().is_empty());
    let waiting = tokio::spawn({
        let asynq = asynq.clone();
        async move { take(&*asynq, 1).await }
    });
    leases.remove(0).ack().await.unwrap();
    let next = timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!(monitors(&next), ["n2"], "there is room for one");
}

#[tokio::test]
async fn a_lease_says_what_its_queue_and_its_message_allow() {
    let mut redis = Redis::start().await;
    let policy = Policy {
        max_tries: 4,
        job_timeout: Some(Duration::from_secs(9)),
    };
    let strict = QueueOptions {
        policy,
        ..QueueOptions::new("strict", 2)
    };
    let asynq = redis
        .asynq(serving(vec![strict, QueueOptions::new("low", 1)]))
        .await;
    let soon = redis.now().await + 5;
    for (queue, monitor, timeout, deadline) in [
        ("strict", "as configured", 16, 0),
        ("strict", "short", 3, 0),
        ("low", "as the task says", 16, 0),
        ("low", "no limit", 0, 0),
        ("low", "deadline", 0, soon),
        ("low", "deadline first", 16, soon),
        ("low", "too late", 16, soon - 60),
    ] {
        let message = TaskMessage {
            timeout,
            deadline,
            ..check(queue, monitor)
        };
        redis.push(&message, &[]).await;
    }
    let mut limits = HashMap::new();
    for lease in take(&*asynq, 6).await {
        let id = lease.task().monitor.id.clone();
        limits.insert(id, (lease.policy().max_tries, lease.policy().job_timeout));
    }
    assert_eq!(limits["as configured"], (4, Some(Duration::from_secs(9))));
    assert_eq!(limits["short"], (4, Some(Duration::from_secs(3))));
    assert_eq!(limits["as the task says"], (1, None));
    assert_eq!(limits["no limit"], (1, None));
    for monitor in ["deadline", "deadline first"] {
        let limit = limits[monitor].1.unwrap();
        assert!(limit <= Duration::from_secs(5), "{monitor}: {limit:?}");
    }
    assert!(asynq.reserve(room(1)).await.unwrap().is_empty());
    let late = redis.message("low", "healthcheck:too late").await;
    assert_eq!(late.error_msg, "context deadline exceeded");
}

#[tokio::test]
async fn a_result_is_kept_as_long_as_the_message_says_or_else_the_queue() {
    let mut redis = Redis::start().await;
    let keeping = QueueOptions {
        keep_result: Duration::from_secs(500),
        ..QueueOptions::new("low", 1)
    };
    let asynq = redis.asynq(serving(vec![keeping])).await;
    for (monitor, retention) in [("own", 60), ("queue", 0), ("silent", 0)] {
        let message = TaskMessage {
            retention,
            ..check("low", monitor)
        };
        redis.push(&message, &[]).await;
    }
    for lease in take(&*asynq, 3).await {
        let result = result(lease.task());
        if lease.task().monitor.id == "silent" {
            lease.ack().await.unwrap();
        } else {
            lease.publish_and_ack(&*asynq, &result).await.unwrap();
        }
    }
    let now = redis.now().await as f64;
    let kept: HashMap<_, _> = redis.zset("low", "completed").await.into_iter().collect();
    assert_eq!(
        kept.len(),
        2,
        "without a result there is nothing to keep: {kept:?}"
    );
    assert!((kept["healthcheck:own"] - now - 60.0).abs() < 5.0, "{kept:?}");
    assert!((kept["healthcheck:queue"] - now - 500.0).abs() < 5.0, "{kept:?}");
    let json = redis
        .hash("low", "healthcheck:own")
        .await
        .remove("result")
        .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(value["monitor_id"], "own");
}

#[tokio::test]
async fn a_check_in_lapwings_own_words_is_taken_too() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let message = |id: &str, payload: &str| TaskMessage {
        id: id.to_owned(),
        kind: "lapwing:check".to_owned(),
        payload: payload.as_bytes().to_vec(),
        retry: 3,
        retried: 1,
        ..check("default", "")
    };
    let good = r#"{"kind":"tcp","config":{"port":1},"timeout_ms":1500}"#;
    redis.push(&message("x", good), &[]).await;
    redis
        .push(&message("y", r#"{"kind":"tcp","url":"z"}"#), &[])
        .await;
    let lease = take(&*asynq, 1).await.remove(0);
    let task = lease.task();
    assert_eq!(
        (task.monitor.id.as_str(), task.monitor.kind.as_str()),
        ("x", "tcp")
    );
    assert_eq!((task.attempt, task.budget()), (2, Duration::from_millis(1500)));
    let pending_since = "1970-01-01T00:00:00.000000001Z".parse().unwrap();
    assert_eq!(task.scheduled_at, Some(pending_since), "when it was enqueued");
    assert!(
        asynq.reserve(room(1)).await.unwrap().is_empty(),
        "the other is no task"
    );
    let dead = asynq.dead("default", 0, 5).await.unwrap();
    assert!(dead[0].why.contains("unknown field `url`"), "{dead:?}");
    assert_eq!(dead[0].kind.as_deref(), Some("lapwing:check"));
}

#[tokio::test]
async fn the_result_of_a_check_in_lapwings_own_words_is_kept_with_its_task_alone() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let message = TaskMessage {
        id: "x".to_owned(),
        kind: "lapwing:check".to_owned(),
        payload: br#"{"kind":"tcp"}"#.to_vec(),
        retention: 60,
        ..check("default", "")
    };
    redis.push(&message, &[]).await;
    redis.push(&check("default", "peekaping's"), &[]).await;
    for lease in take(&*asynq, 2).await {
        let result = result(lease.task());
        lease.publish_and_ack(&*asynq, &result).await.unwrap();
    }
    let kept = asynq.result("default", "x").await.unwrap().unwrap();
    assert_eq!(kept.value["monitor_id"], "x");
    let told = redis.list("ingester", "pending").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("peekaping's"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_our_own_producer_is_taken_without_waiting_for_the_next_look() {
    let mut redis = Redis::start().await;
    let mut options = quick();
    options.timing.idle = Duration::from_secs(120);
    options.timing.wait = Duration::from_secs(60);
    // So that scripts are run by looks for work alone.
    options.timing.beat = Duration::from_secs(60);
    let (worker, producer) = (redis.asynq(options.clone()).await, redis.asynq(options).await);
    let () = redis.run("SET asynq:{healthcheck}:paused 1").await;
    let waiting = tokio::spawn({
        let worker = worker.clone();
        async move { take(&*worker, 1).await }
    });
    crate::fixture::eventually(Duration::from_secs(10), "somebody listens", async || {
        let listeners: (String, i64) = redis.run("PUBSUB NUMSUB lapwing:asynq:due").await;
        listeners.1 > 0
    })
    .await;
    // Until the pauses between looks are so long that there are two more in the next ten seconds, by themselves.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = scripts_run(&mut redis).await;
    producer.enqueue(&task("a")).await.unwrap();
    crate::fixture::eventually(
        Duration::from_secs(10),
        "it looks at once, and again",
        async || scripts_run(&mut redis).await >= before + 7,
    )
    .await;
    let () = redis.run("DEL asynq:{healthcheck}:paused").await;
    assert_eq!(monitors(&waiting.await.unwrap()), ["a"]);
}

async fn scripts_run(redis: &mut Redis) -> u64 {
    let stats: String = redis.run("INFO commandstats").await;
    let calls = stats.lines().filter_map(|line| {
        let calls = line.strip_prefix("cmdstat_evalsha:calls=")?;
        calls.split(',').next()?.parse::<u64>().ok()
    });
    calls.sum()
}
