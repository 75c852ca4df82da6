//! The BetterStack-style wire.

use crate::{
    fixture::{Redis, eventually, result, room, take, task},
    streams_fixture::{add, column, depth, entries, open},
};
use lapwing_queue::{Enqueued, Inspect, Queue, QueueError, Source, streams::Options};
use std::time::Duration;

const JOBS: &str = "uptime:jobs";
const GROUP: &str = "uptime-group";

#[test]
fn the_defaults_are_those_of_the_uptime_monitor() {
    let Options {
        stream,
        group,
        results,
        batch,
        block,
        ..
    } = Options::uptime();
    assert_eq!(
        (stream.as_str(), group.as_str(), results.as_str()),
        (JOBS, GROUP, "uptime:results")
    );
    assert_eq!((batch, block), (10, Duration::from_secs(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_comes_as_an_http_task_and_its_result_is_told_before_it_is_done() {
    let mut redis = Redis::start().await;
    let fields: [(&str, &[u8]); 3] = [
        ("websiteId", b"w1"),
        ("url", b"https://example.com/"),
        ("regionId", b"eu"),
    ];
    // Before the group is there: what waits already is not lost.
    add(&mut redis, JOBS, &fields).await;
    let uptime = open(&redis, Options::uptime()).await;
    let lease = take(&*uptime, 1).await.remove(0);
    let ours = lease.task().clone();
    assert_eq!(
        (lease.id(), ours.monitor.kind.as_str(), ours.budget()),
        ("w1@eu", "http", Duration::from_secs(10))
    );
    // The results' key is of another type: they cannot be told, so the job is not done.
    let () = redis.run("SET uptime:results x").await;
    assert!(lease.publish_and_ack(&*uptime, &result(&ours)).await.is_err());
    assert_eq!(depth(&mut redis, JOBS, GROUP).await, (0, 1));
    let () = redis.run("DEL uptime:results").await;
    let lease = take(&*uptime, 1).await.remove(0);
    lease.publish_and_ack(&*uptime, &result(&ours)).await.unwrap();
    assert_eq!(depth(&mut redis, JOBS, GROUP).await, (0, 0));
    for (field, value) in [
        ("websiteId", "w1"),
        ("url", "https://example.com/"),
        ("regionId", "eu"),
        ("status", "Up"),
        ("responseTimeMs", "3"),
    ] {
        assert_eq!(
            column(&mut redis, "uptime:results", field).await,
            [value],
            "{field}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_with_missing_fields_is_a_dead_letter_with_the_reason_and_is_not_tried_for_ever() {
    let mut redis = Redis::start().await;
    let uptime = open(&redis, Options::uptime()).await;
    let id = add(&mut redis, JOBS, &[("websiteId", b"w1")]).await;
    add(&mut redis, JOBS, &[("websiteId", b"w2"), ("url", b"")]).await;
    add(
        &mut redis,
        JOBS,
        &[("websiteId", b"w3"), ("url", b"not an address")],
    )
    .await;
    add(&mut redis, JOBS, &[("websiteId", b"w4"), ("url", b"http://h/")]).await;
    assert_eq!(take(&*uptime, 1).await[0].id(), "w4");
    let dead = "uptime:jobs:dead";
    assert_eq!(
        column(&mut redis, dead, "reason").await,
        [
            "missing field `url`",
            "`url` is empty",
            "`url` is no address: relative URL without a base"
        ]
    );
    let letter = &entries(&mut redis, dead).await[0];
    for (field, value) in [
        ("id", id.as_str()),
        ("stream", JOBS),
        ("group", GROUP),
        ("deliveries", "1"),
        ("task", "w1"),
        ("payload:websiteId", "w1"),
    ] {
        assert_eq!(letter.get::<String>(field).as_deref(), Some(value), "{field}");
    }
    assert_eq!(depth(&mut redis, JOBS, GROUP).await, (0, 1));
    assert_eq!(uptime.counts().archived, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_takes_no_more_than_the_batch() {
    let mut redis = Redis::start().await;
    let uptime = open(&redis, Options::uptime()).await;
    for number in 0..25 {
        let website = format!("w{number}");
        add(
            &mut redis,
            JOBS,
            &[("websiteId", website.as_bytes()), ("url", b"http://h/")],
        )
        .await;
    }
    assert_eq!(uptime.reserve(room(128)).await.unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_enqueued_here_is_what_the_uptime_monitor_would_write() {
    let mut redis = Redis::start().await;
    let uptime = open(&redis, Options::uptime()).await;
    let mut job = task("w1@eu");
    job.monitor.kind = "http".to_owned();
    job.monitor.config = r#"{"url":"https://example.com/"}"#.to_owned();
    assert_eq!(uptime.enqueue(&job).await.unwrap(), Enqueued::Added);
    assert_eq!(uptime.enqueue(&job).await.unwrap(), Enqueued::Duplicate);
    let entry = &entries(&mut redis, JOBS).await[0];
    assert_eq!(entry.map.len(), 3, "{entry:?}");
    for (field, value) in [
        ("websiteId", "w1"),
        ("url", "https://example.com/"),
        ("regionId", "eu"),
    ] {
        assert_eq!(entry.get::<String>(field).as_deref(), Some(value));
    }
    let refused = uptime.enqueue(&task("w2")).await.unwrap_err();
    assert!(matches!(refused, QueueError::Unfit(_)), "{refused}");
    let lease = take(&*uptime, 1).await.remove(0);
    lease.retry("our own trouble").await.unwrap();
    let lease = take(&*uptime, 1).await.remove(0);
    assert_eq!((lease.id(), lease.task().attempt), ("w1@eu", 2));
    lease.ack().await.unwrap();
    eventually(Duration::from_secs(1), "nothing is left but counts", async || {
        redis.run::<Vec<String>>("KEYS *").await.len() == 3
    })
    .await;
}
