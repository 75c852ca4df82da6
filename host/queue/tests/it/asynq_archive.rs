//! Dead letters, as stock Asynq keeps them.

use crate::fixture::{Redis, check, quick, take, task};
use lapwing_queue::{
    Enqueued, Queue,
    asynq::message::{Headers, TaskMessage},
};
use prost::Message;

/// Fills the archive with tasks that died `age` seconds ago.
async fn fill(redis: &mut Redis, count: i64, age: i64) {
    let died = redis.now().await - age;
    let mut pipe = redis::pipe();
    for number in 0..count {
        pipe.zadd("asynq:{healthcheck}:archived", format!("old{number}"), died)
            .ignore();
        pipe.hset(
            format!("asynq:{{healthcheck}}:t:old{number}"),
            "state",
            "archived",
        )
        .ignore();
    }
    let () = pipe.query_async(&mut redis.connection).await.unwrap();
}

async fn archive_one(redis: &Redis) {
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("a")).await.unwrap();
    take(&*asynq, 1).await.remove(0).archive("why").await.unwrap();
}

#[tokio::test]
async fn headers_and_everything_else_survive_the_archive() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    let headers = Headers {
        headers: [("trace".to_owned(), "abc".to_owned())].into(),
    };
    let message = TaskMessage {
        retry: 2,
        retried: 1,
        deadline: redis.now().await + 60,
        ..check("healthcheck", "a")
    };
    redis.push(&message, &headers.encode_to_vec()).await;
    take(&*asynq, 1).await.remove(0).archive("broken").await.unwrap();

    let hash = redis.hash("healthcheck", &message.id).await;
    assert_eq!(Headers::decode(&*hash["msg"]).unwrap(), headers);
    let archived = TaskMessage::decode(&*hash["msg"]).unwrap();
    let now = redis.now().await;
    assert!((archived.last_failed_at - now).abs() < 5);
    let expected = TaskMessage {
        error_msg: "broken".into(),
        last_failed_at: archived.last_failed_at,
        ..message
    };
    assert_eq!(archived, expected, "retried is unchanged");
    assert!(!hash.contains_key("lapwing_owner"), "nothing of ours stays");
    let (_, died) = redis.zset("healthcheck", "archived").await.remove(0);
    assert!((died - now as f64).abs() < 5.0);
    for counter in ["processed", "failed"] {
        assert_eq!(
            redis
                .run::<i64>(&format!("GET asynq:{{healthcheck}}:{counter}"))
                .await,
            1
        );
    }
    assert_eq!(
        redis
            .run::<Vec<String>>("KEYS asynq:{healthcheck}:failed:*")
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn an_archived_task_keeps_its_lock_until_it_is_replaced() {
    let mut redis = Redis::start().await;
    archive_one(&redis).await;
    let old = redis.message("healthcheck", "healthcheck:a").await.unique_key;
    assert_eq!(redis.run::<i64>(&format!("EXISTS {old}")).await, 1);
    let asynq = redis.asynq(quick()).await;
    let mut later = task("a");
    later.scheduled_at = Some("2026-04-11T08:15:40Z".parse().unwrap());
    assert_eq!(asynq.enqueue(&later).await.unwrap(), Enqueued::Added);
    assert_eq!(redis.run::<i64>(&format!("EXISTS {old}")).await, 0);
    assert!(redis.zset("healthcheck", "archived").await.is_empty());
    assert_eq!(
        redis.state("healthcheck", "healthcheck:a").await.unwrap(),
        "pending"
    );
    assert!(
        redis
            .message("healthcheck", "healthcheck:a")
            .await
            .error_msg
            .is_empty()
    );
}

#[tokio::test]
async fn more_expired_dead_letters_than_lua_can_unpack_are_trimmed_step_by_step() {
    let mut redis = Redis::start().await;
    fill(&mut redis, 8500, 91 * 86400).await;
    archive_one(&redis).await;
    assert_eq!(
        redis.zset("healthcheck", "archived").await.len(),
        3501,
        "5,000 at a time"
    );
    let asynq = redis.asynq(quick()).await;
    asynq.enqueue(&task("b")).await.unwrap();
    take(&*asynq, 1).await.remove(0).archive("why").await.unwrap();
    let archived = redis.zset("healthcheck", "archived").await;
    assert_eq!(archived.len(), 2, "{archived:?}");
    assert_eq!(
        redis
            .run::<Vec<String>>("KEYS asynq:{healthcheck}:t:*")
            .await
            .len(),
        2,
        "no hash is left over"
    );
}

#[tokio::test]
async fn the_archive_holds_at_most_9999_the_oldest_go() {
    let mut redis = Redis::start().await;
    fill(&mut redis, 10_500, 60).await;
    archive_one(&redis).await;
    let archived = redis.zset("healthcheck", "archived").await;
    assert_eq!(archived.len(), 9999);
    assert_eq!(archived.last().unwrap().0, "healthcheck:a");
    assert_eq!(
        redis
            .run::<Vec<String>>("KEYS asynq:{healthcheck}:t:*")
            .await
            .len(),
        9999
    );
}
