//! What stock clients ask for and get.

use crate::{
    arq_fixture::{OnArq, QUEUE, options},
    arq_stock::{Client, our_worker, seen},
    fixture::{Dialect, eventually, room, take},
};
use lapwing_queue::{Inspect, Lease, Source};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The job that a stock client enqueues, reserved.
async fn reserved(on: &OnArq, client: &mut Client, function: &str, kwargs: Value) -> Lease {
    client.enqueue(function, kwargs, json!({})).await;
    take(&*on.arq, 1).await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_awaits_the_result_of_a_check_as_a_dictionary_in_every_serialization() {
    let on = OnArq::start().await;
    let _worker = our_worker(&on.arq);
    for serializer in [
        "pickle", "json", "msgpack", "pickle2", "pickle3", "pickle4", "pickle5",
    ] {
        let mut client = Client::start(&on, serializer);
        let config = json!({
            "url": "https://example.org/ü", "n": [0, 255, 256, 70000, -1, i64::MIN, u64::MAX], "x": 2.5, "no": null,
            "yes": true, "deep": {"a": [[], {}, ["s"]]}, "long": "é".repeat(40_000),
        });
        let kwargs = json!({"kind": "http", "config": config, "name": "My site", "timeout_ms": 5000});
        let id = client.enqueue("check", kwargs.clone(), json!({})).await;
        let result = client.of("result", &id).await;
        let value = &result["value"];
        assert_eq!(value["status"], "up", "{serializer}: {result}");
        assert_eq!(value["attributes"]["config"], config, "{serializer}");
        assert_eq!(
            (&value["monitor_id"], &value["monitor_name"]),
            (&json!(id), &json!("My site"))
        );
        let info = client.of("info", &id).await;
        assert_eq!((&info["function"], &info["kwargs"]), (&json!("check"), &kwargs));
        assert_eq!(
            (&info["try"], &info["success"], &info["queue"], &info["id"]),
            (&json!(1), &json!(true), &json!(QUEUE), &json!(id))
        );
        let kept = on.arq.result(QUEUE, &id).await.unwrap().unwrap();
        assert_eq!((kept.ok, &kept.value), (true, value));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_is_a_function_that_takes_its_configuration() {
    let on = OnArq::start().await;
    let mut client = Client::start(&on, "pickle");
    let config = json!({"host": "h", "port": 1});
    let lease = reserved(&on, &mut client, "tcp", config.clone()).await;
    assert_eq!(
        (&*lease.task().monitor.kind, &*lease.task().monitor.config),
        ("tcp", r#"{"host":"h","port":1}"#)
    );
    lease.ack().await.unwrap();
    for (function, kwargs) in [("tcp", json!({})), ("check", json!({"kind": "tcp"}))] {
        client
            .ask(json!({"do": "enqueue", "function": function, "args": [config], "kwargs": kwargs}))
            .await;
        let lease = take(&*on.arq, 1).await.remove(0);
        assert_eq!(lease.task().monitor.config, r#"{"host":"h","port":1}"#);
        lease.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_its_producer_named_is_a_monitors() {
    let on = OnArq::start().await;
    let mut client = Client::start(&on, "pickle");
    for (config, options, nameless) in [
        (json!({"kind": "tcp"}), json!({}), true),
        (json!({"kind": "tcp"}), json!({"_job_id": "shop"}), false),
        (json!({"kind": "tcp", "id": "shop"}), json!({}), false),
    ] {
        let id = client.enqueue("check", config, options).await;
        let lease = take(&*on.arq, 1).await.remove(0);
        assert_eq!(lease.task().nameless, nameless, "{id}");
        lease.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_raises_and_one_that_found_its_target_down_does_not() {
    let on = OnArq::start().await;
    let _worker = our_worker(&on.arq);
    let mut client = Client::start(&on, "pickle");
    let id = client.enqueue("tcp", json!({"sees": "down"}), json!({})).await;
    assert_eq!(client.of("result", &id).await["value"]["status"], "down");
    for (function, kwargs, says) in [
        ("tcp", json!({"sees": "unknown"}), "`port` is missing"),
        ("check", json!({"config": {}}), "missing field `kind`"),
        ("check", json!({"kind": "tcp", "url": "x"}), "unknown field `url`"),
        ("check", json!({"kind": "tcp", "timeout_ms": "5"}), "`timeout_ms`"),
    ] {
        let id = client.enqueue(function, kwargs, json!({})).await;
        let result = client.of("result", &id).await;
        assert_eq!(result["raised"], "arq.worker.JobExecutionFailed", "{result}");
        assert!(result["text"].as_str().unwrap().contains(says), "{result}");
        let kept = on.arq.result(QUEUE, &id).await.unwrap().unwrap();
        assert_eq!((kept.ok, &kept.value), (false, &result["text"]));
    }
    client
        .ask(json!({"do": "enqueue", "function": "tcp", "args": ["h", 1], "options": {"_job_id": "x"}}))
        .await;
    let result = client.of("result", "x").await;
    assert!(
        result["text"].as_str().unwrap().contains("by keyword"),
        "{result}"
    );
    assert_eq!(on.arq.dead(QUEUE, 0, 10).await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_text_where_the_serializer_knows_no_exceptions() {
    let on = OnArq::start().await;
    let _worker = our_worker(&on.arq);
    for serializer in ["json", "msgpack"] {
        let mut client = Client::start(&on, serializer);
        let id = client.enqueue("tcp", json!({"sees": "unknown"}), json!({})).await;
        let result = client.of("result", &id).await;
        assert_eq!(
            result,
            json!({"raised": "arq.jobs.SerializationError", "text": "`port` is missing"})
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_follows_its_job_from_stage_to_stage() {
    let on = OnArq::start().await;
    let mut client = Client::start(&on, "pickle");
    assert_eq!(client.of("status", "x").await, "not_found");
    let start = Instant::now();
    let id = client
        .enqueue("tcp", json!({}), json!({"_defer_by": 1.5, "_job_id": "x"}))
        .await;
    assert_eq!(client.of("status", &id).await, "deferred");
    let lease = take(&*on.arq, 1).await.remove(0);
    assert!(start.elapsed() >= Duration::from_millis(1450));
    assert_eq!(client.of("status", &id).await, "in_progress");
    let result = seen(lease.task());
    lease.publish_and_ack(&*on.arq, &result).await.unwrap();
    assert_eq!(client.of("status", &id).await, "complete");
    let again = json!({"do": "enqueue", "function": "tcp", "options": {"_job_id": "x"}});
    assert_eq!(
        client.ask(again).await,
        Value::Null,
        "a kept result keeps a stock client out"
    );
    let id = client.enqueue("tcp", json!({}), json!({})).await;
    assert_eq!(client.of("status", &id).await, "queued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_aborted_before_it_runs_and_while_it_runs() {
    let mut on = OnArq::start().await;
    let mut client = Client::start(&on, "pickle");
    let waiting = client.enqueue("tcp", json!({}), json!({"_defer_by": 60})).await;
    let reserving = tokio::spawn({
        let arq = on.arq.clone();
        async move { arq.reserve(room(1)).await.unwrap() }
    });
    assert_eq!(client.of("abort", &waiting).await, true);
    assert!(reserving.await.unwrap().is_empty());
    let lease = reserved(&on, &mut client, "tcp", json!({})).await;
    let id = lease.id().to_owned();
    let worker = tokio::spawn(async move {
        lease.cancelled().await;
        lease.abort().await.unwrap();
    });
    assert_eq!(client.of("abort", &id).await, true);
    worker.await.unwrap();
    let result = client.of("result", &id).await;
    assert_eq!(result["raised"], "asyncio.exceptions.CancelledError");
    let left = on.keys("arq:[^q]*").await;
    assert!(
        left.len() == 2 && left.iter().all(|key| key.starts_with("arq:result:")),
        "{left:?}"
    );
    let ended = client.of("abort", &id).await;
    assert_eq!(ended, true, "stock says so of what was aborted");
    eventually(Duration::from_secs(6), "the stale request is gone", async || {
        let _ = on.arq.reserve(room(1)).await;
        on.redis.run::<usize>("ZCARD arq:abort").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_expired_fails_and_tries_are_counted_as_by_a_stock_worker() {
    let on = OnArq::start().await;
    let mut client = Client::start(&on, "pickle");
    let expired = client.enqueue("tcp", json!({}), json!({"_expires": 0.05})).await;
    let spent = client.enqueue("tcp", json!({}), json!({"_job_try": 6})).await;
    let third = client.enqueue("tcp", json!({}), json!({"_job_try": 3})).await;
    sleep(Duration::from_millis(100)).await;
    let lease = take(&*on.arq, 1).await.remove(0);
    assert_eq!((lease.id(), lease.task().attempt), (&*third, 3));
    lease.retry("our own trouble").await.unwrap();
    assert_eq!(client.of("status", &third).await, "deferred");
    let lease = take(&*on.arq, 1).await.remove(0);
    assert_eq!(lease.task().attempt, 4);
    lease.requeue().await.unwrap();
    let lease = take(&*on.arq, 1).await.remove(0);
    assert_eq!(lease.task().attempt, 4, "what was put back was not tried");
    let result = seen(lease.task());
    lease.publish_and_ack(&*on.arq, &result).await.unwrap();
    assert_eq!(client.of("info", &third).await["try"], 4);
    for (id, says) in [(expired, "job expired"), (spent, "max 5 retries exceeded")] {
        let result = client.of("result", &id).await;
        assert_eq!(
            result,
            json!({"raised": "arq.worker.JobExecutionFailed", "text": says})
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_only_python_has_are_refused_by_name_and_never_built() {
    let on = OnArq::start().await;
    let _worker = our_worker(&on.arq);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made-by-a-pickle");
    let mut commands = vec![(json!({"path": path}), "system")];
    for (odd, says) in [
        ("bytes", "bytes"),
        ("set", "set"),
        ("datetime", "`datetime.datetime`"),
        ("decimal", "`decimal.Decimal`"),
        ("nan", "finite"),
        ("huge", "64 bits"),
        ("negative", "64 bits"),
        ("keys", "keys"),
        ("ordered", "`collections.OrderedDict`"),
    ] {
        commands.push((json!({"odd": odd}), says));
    }
    for serializer in ["pickle", "pickle2", "pickle5"] {
        let mut client = Client::start(&on, serializer);
        for (command, says) in &commands {
            let mut command = command.clone();
            command["do"] = "enqueue_odd".into();
            command["function"] = "tcp".into();
            let id = client.ask(command).await;
            let result = client.of("result", id.as_str().unwrap()).await;
            assert_eq!(result["raised"], "arq.worker.JobExecutionFailed", "{result}");
            let text = result["text"].as_str().unwrap();
            assert!(text.contains("`options.deep[1]`"), "{text}");
            // Protocol 2 has neither bytes nor sets: it has calls in their place.
            assert!(serializer == "pickle2" || text.contains(says), "{says}: {text}");
        }
        assert!(!path.exists(), "code in a pickle was run");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_too_long_fails_in_clear_words() {
    let mut options = options();
    options.longest_job = 100_000;
    let on = OnArq::with(options).await;
    let _worker = our_worker(&on.arq);
    let mut client = Client::start(&on, "pickle");
    let id = client
        .enqueue("tcp", json!({"body": "x".repeat(100_001)}), json!({}))
        .await;
    let result = client.of("result", &id).await;
    assert!(
        result["text"]
            .as_str()
            .unwrap()
            .contains("bytes long, which is too much"),
        "{result}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_broken_behind_our_function_fails_once() {
    let mut on = OnArq::start().await;
    let _worker = our_worker(&on.arq);
    let twice = r#"{"t":null,"f":"tcp","a":[],"k":{},"et":1,"f":"foreign"}"#;
    // Once before the function is known, once after.
    for job in [
        r#"{"t":null,"f":"tcp","a":[],"k":{},"et":1}"#,
        twice,
        r#"{"t":null,"f":"tcp",nonsense"#,
    ] {
        let () = on.redis.run(&format!("SET arq:job:x {job}")).await;
        let () = on.redis.run(&format!("ZADD {QUEUE} 1 x")).await;
        eventually(Duration::from_secs(5), "it is done with", async || {
            on.redis.run::<u32>(&format!("ZCARD {QUEUE}")).await == 0
        })
        .await;
    }
    let dead = on.arq.dead(QUEUE, 0, 10).await.unwrap();
    assert!(dead[0].why.contains("cannot be read"), "{dead:?}");
    let () = on.redis.run(&format!("SET arq:job:y {twice}")).await;
    let () = on.redis.run(&format!("ZADD {QUEUE} 1 y")).await;
    eventually(Duration::from_secs(5), "it is a dead letter", async || {
        on.arq.dead(QUEUE, 0, 10).await.unwrap().len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_known_function_are_claimed_in_the_trip_that_finds_them() {
    let mut options = options();
    options.timing.abort = Duration::from_secs(60);
    let mut on = OnArq::with(options).await;
    for serializer in ["pickle", "pickle5", "json", "msgpack"] {
        let mut client = Client::start(&on, serializer);
        // The first one makes the function known.
        reserved(&on, &mut client, "tcp", json!({}))
            .await
            .ack()
            .await
            .unwrap();
        let many = json!({"do": "enqueue_many", "function": "tcp", "kwargs": {}, "count": 20});
        assert_eq!(client.ask(many).await, 20);
        let () = on.redis.run("CONFIG RESETSTAT").await;
        let leases = on.arq.reserve(room(20)).await.unwrap();
        assert_eq!(leases.len(), 20, "{serializer}");
        let stats: String = on.redis.run("INFO commandstats").await;
        assert!(
            stats.contains("cmdstat_evalsha:calls=1,"),
            "{serializer}: {stats}"
        );
        for lease in leases {
            lease.ack().await.unwrap();
        }
    }
}
