//! Workers that go, and what becomes of the entries they had.

use crate::{
    fixture::{Redis, eventually, result, room, take, task},
    streams_fixture::{add, brisk, column, depth, lapwing, open},
    streams_proxy::Proxy,
};
use lapwing_queue::{
    Inspect, Queue, QueueError, Server, Source, TaskState,
    streams::{Options, Streams},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const TASKS: &str = "lapwing:tasks";

async fn enqueue(streams: &Streams, count: usize) {
    for number in 0..count {
        streams.enqueue(&task(&number.to_string())).await.unwrap();
    }
}

async fn consumers(redis: &mut Redis) -> usize {
    let info: Vec<redis::Value> = redis.run("XINFO CONSUMERS lapwing:tasks lapwing").await;
    info.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_workers_share_what_a_killed_one_had_and_each_task_is_done_once() {
    let mut redis = Redis::start().await;
    let killed = lapwing(&redis).await;
    enqueue(&killed, 1000).await;
    let leases = take(&*killed, 1000).await;
    drop(killed);
    drop(leases);
    let mut workers = JoinSet::new();
    let mut heirs = Vec::new();
    for _ in 0..5 {
        let heir = lapwing(&redis).await;
        heirs.push(heir.clone());
        workers.spawn(async move {
            let (mut done, end) = (Vec::new(), Instant::now() + Duration::from_secs(6));
            while Instant::now() < end {
                for lease in heir.reserve(room(64)).await.unwrap() {
                    let task = lease.task().clone();
                    lease.publish_and_ack(&*heir, &result(&task)).await.unwrap();
                    done.push(task.monitor.id.clone());
                }
            }
            done
        });
    }
    let done = workers.join_all().await.concat();
    assert_eq!(done.len(), 1000);
    assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), 1000);
    let recovered: u64 = heirs.iter().map(|heir| heir.counts().recovered).sum();
    assert_eq!(recovered, 1000);
    assert_eq!(
        column(&mut redis, "lapwing:results", "id")
            .await
            .iter()
            .collect::<BTreeSet<_>>()
            .len(),
        1000
    );
    assert_eq!(redis.run::<usize>("GET {lapwing:tasks}:processed").await, 1000);
    assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_taken_for_dead_can_settle_until_another_has_its_task_and_not_after() {
    let mut redis = Redis::start().await;
    let slow = lapwing(&redis).await;
    enqueue(&slow, 2).await;
    let mut leases = take(&*slow, 2).await;
    // As recovery does with entries that were not renewed.
    let park = "XAUTOCLAIM lapwing:tasks lapwing lapwing:parked 0 0 JUSTID";
    let _: redis::Value = redis.run(park).await;
    leases.remove(0).ack().await.unwrap();
    let _: redis::Value = redis.run(park).await;
    let other = lapwing(&redis).await;
    let theirs = take(&*other, 1).await.remove(0);
    let late = leases.remove(0);
    let lost = late.ack().await.unwrap_err();
    assert!(matches!(lost, QueueError::LeaseLost(_)), "{lost}");
    theirs.ack().await.unwrap();
    assert_eq!(redis.run::<usize>("GET {lapwing:tasks}:processed").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_another_took_is_known_to_be_lost() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    enqueue(&streams, 1).await;
    let lease = take(&*streams, 1).await.remove(0);
    let _: redis::Value = redis.run("XAUTOCLAIM lapwing:tasks lapwing somebody 0 0").await;
    timeout(Duration::from_secs(3), lease.lost()).await.unwrap();
    assert!(matches!(lease.ack().await, Err(QueueError::LeaseLost(_))));
    assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_every_worker_dies_of_is_a_dead_letter_in_the_end() {
    let mut redis = Redis::start().await;
    let options = Options {
        max_deliveries: 2,
        ..Options::lapwing()
    };
    let producer = open(&redis, options.clone()).await;
    enqueue(&producer, 1).await;
    for _ in 0..2 {
        let worker = open(&redis, options.clone()).await;
        let lease = take(&*worker, 1).await;
        drop(worker);
        drop(lease);
    }
    let last = open(&redis, options).await;
    eventually(Duration::from_secs(10), "it is a dead letter", async || {
        let taken = last.reserve(room(1)).await.unwrap();
        assert!(taken.is_empty(), "{taken:?}");
        last.counts().archived == 1
    })
    .await;
    assert_eq!(
        column(&mut redis, "lapwing:tasks:dead", "reason").await,
        ["handed out 2 times, and no worker came to its end"]
    );
    let letter = &last.dead(TASKS, 0, 1).await.unwrap()[0];
    assert_eq!(letter.kind.as_deref(), Some("tcp"));
    assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_given_back_at_shutdown_do_not_count_as_tried() {
    let mut redis = Redis::start().await;
    let options = Options {
        max_deliveries: 1,
        ..Options::lapwing()
    };
    for round in 0..3 {
        let worker = open(&redis, options.clone()).await;
        enqueue(&worker, 2).await;
        let mut leases = take(&*worker, 2).await;
        worker.drain().await;
        leases.remove(0).requeue().await.unwrap();
        // Given up, not ended: the goodbye hands it over.
        drop(leases);
        worker.close().await;
        assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (2, 0), "{round}");
        assert_eq!(consumers(&mut redis).await, 1, "only the parking place is left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_and_not_asked_for_goes_to_another_worker() {
    let redis = Redis::start().await;
    let (idle, busy) = (lapwing(&redis).await, lapwing(&redis).await);
    // Reads on while nobody asks any more.
    assert!(idle.reserve(room(5)).await.unwrap().is_empty());
    let reading = timeout(Duration::from_millis(50), idle.reserve(room(5))).await;
    assert!(reading.is_err());
    enqueue(&busy, 3).await;
    let taken = timeout(Duration::from_secs(3), take(&*busy, 3)).await.unwrap();
    assert_eq!(taken.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_are_gone_are_removed_unless_they_own_something() {
    let mut redis = Redis::start().await;
    let mut options = brisk(Options::lapwing());
    options.timing.silence = Duration::from_secs(1);
    let streams = Streams::connect(&redis.server(), options).await.unwrap();
    let busy = lapwing(&redis).await;
    for worker in [&streams, &busy] {
        assert!(worker.reserve(room(1)).await.unwrap().is_empty());
    }
    for gone in ["gone:1", "gone:2"] {
        let _: redis::Value = redis
            .run(&format!("XGROUP CREATECONSUMER lapwing:tasks lapwing {gone}"))
            .await;
    }
    add(&mut redis, TASKS, &[("kind", b"tcp")]).await;
    let _: redis::Value = redis
        .run("XREADGROUP GROUP lapwing owner:3 COUNT 1 STREAMS lapwing:tasks >")
        .await;
    let names = async |redis: &mut Redis| -> BTreeSet<String> {
        let info: Vec<std::collections::HashMap<String, redis::Value>> =
            redis.run("XINFO CONSUMERS lapwing:tasks lapwing").await;
        info.into_iter()
            .map(|mut consumer| redis::from_redis_value(consumer.remove("name").unwrap()).unwrap())
            .collect()
    };
    eventually(Duration::from_secs(8), "the idle ones are gone", async || {
        !names(&mut redis)
            .await
            .iter()
            .any(|name| name.starts_with("gone"))
    })
    .await;
    // One that does not read is there all the same, and what the third owned was not dropped with it.
    assert_eq!(
        names(&mut redis)
            .await
            .iter()
            .filter(|name| name.starts_with("testhost"))
            .count(),
        2
    );
    assert_eq!(take(&*streams, 1).await.len(), 1);
}

#[tokio::test]
async fn a_starved_event_loop_does_not_cost_leases() {
    let mut redis = Redis::start().await;
    let streams = lapwing(&redis).await;
    enqueue(&streams, 20).await;
    let leases = take(&*streams, 20).await;
    let url = redis.server.url();
    let thief = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let thief = Streams::connect(&Server::open(&url).unwrap(), brisk(Options::lapwing())).await;
            let (thief, end) = (thief.unwrap(), Instant::now() + Duration::from_secs(6));
            while Instant::now() < end {
                assert!(thief.reserve(room(20)).await.unwrap().is_empty());
            }
            thief.counts().recovered
        })
    });
    // Three times as long as an entry may be left alone, and this is the only thread of the event loop.
    let recovered = thief.join().unwrap();
    assert_eq!(recovered, 0);
    for lease in leases {
        lease.ack().await.unwrap();
    }
    assert_eq!(redis.run::<usize>("GET {lapwing:tasks}:processed").await, 20);
}

async fn behind(redis: &Redis) -> (Proxy, Arc<Streams>) {
    let proxy = Proxy::to(redis.server.port()).await;
    let server = Server::open(&proxy.url()).unwrap();
    let streams = Streams::connect(&server, brisk(Options::lapwing()))
        .await
        .unwrap();
    (proxy, streams)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_handed_out_in_an_answer_that_was_lost_comes_again() {
    let redis = Redis::start().await;
    let (proxy, streams) = behind(&redis).await;
    enqueue(&streams, 5).await;
    proxy.lose_answer_to("\r\nXREADGROUP\r\n");
    let leases = take(&*streams, 5).await;
    assert!(proxy.has_lost());
    assert_eq!(streams.counts().recovered, 5);
    for lease in leases {
        lease.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ended_a_task_is_done_once_when_its_answer_was_lost() {
    let mut redis = Redis::start().await;
    let (proxy, streams) = behind(&redis).await;
    for words in [
        "\r\nack\r\n",
        "\r\nrequeue\r\n",
        "\r\narchive\r\n",
        "\r\nretry\r\n",
    ] {
        streams.enqueue(&task("a")).await.unwrap();
        let lease = take(&*streams, 1).await.remove(0);
        proxy.lose_answer_to(words);
        let word = words.trim();
        match word {
            "ack" => lease.ack().await,
            "requeue" => lease.requeue().await,
            "archive" => lease.archive("no good").await,
            _ => lease.retry("trouble").await,
        }
        .unwrap();
        assert!(proxy.has_lost(), "{word}");
        if matches!(word, "requeue" | "retry") {
            take(&*streams, 1).await.remove(0).ack().await.unwrap();
        }
        assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (0, 0), "{word}");
    }
    assert_eq!(redis.run::<usize>("GET {lapwing:tasks}:processed").await, 4);
    assert_eq!(redis.run::<usize>("GET {lapwing:tasks}:failed").await, 2);
    assert_eq!(redis.run::<usize>("XLEN lapwing:tasks:dead").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_whose_answer_was_lost_is_told_once() {
    let mut redis = Redis::start().await;
    let (proxy, streams) = behind(&redis).await;
    enqueue(&streams, 1).await;
    let lease = take(&*streams, 1).await.remove(0);
    proxy.lose_answer_to("told:");
    let result = result(lease.task());
    lease.publish_and_ack(&*streams, &result).await.unwrap();
    assert!(proxy.has_lost());
    assert_eq!(column(&mut redis, "lapwing:results", "monitor_id").await, ["0"]);
    // A task enqueued in an answer that was lost is on the queue, once.
    proxy.lose_answer_to("\\\"tcp\\\"");
    assert!(streams.enqueue(&task("b")).await.is_err());
    sleep(Duration::from_millis(100)).await;
    streams.enqueue(&task("b")).await.unwrap();
    assert_eq!(depth(&mut redis, TASKS, "lapwing").await, (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_tasks_that_cannot_be_read_are_dead_letters_and_hold_up_no_other() {
    let mut redis = Redis::start().await;
    let waiting: [(&[u8], Option<&[u8]>); 6] = [
        (b"no json", Some(b"notjson")),
        (b"no list", Some(br#"{"task":"x"}"#)),
        (b"odd", Some(br#"["task"]"#)),
        (b"numbers", Some(br#"["task",[1]]"#)),
        (b"bytes", Some(b"\xff\xfe")),
        (b"missing", None),
    ];
    for (place, prefix) in [("scheduled", "s "), ("retry", "r ")] {
        for (name, fields) in waiting {
            let name = [prefix.as_bytes(), name].concat();
            let mut command = redis::cmd("ZADD");
            command
                .arg(format!("{{lapwing:tasks}}:{place}"))
                .arg(1)
                .arg(&name);
            let () = command.query_async(&mut redis.connection).await.unwrap();
            if let Some(fields) = fields {
                let mut command = redis::cmd("HSET");
                command.arg("{lapwing:tasks}:later").arg(&name).arg(fields);
                let () = command.query_async(&mut redis.connection).await.unwrap();
            }
        }
    }
    // A name that is no text stands in nobody's way: its fields say what to do.
    let name = b"\xff\xfe";
    let fields = br#"["kind","tcp","id","named","config","{\"port\":1}"]"#;
    let mut pipe = redis::pipe();
    pipe.zadd("{lapwing:tasks}:scheduled", name, 1).ignore();
    pipe.hset("{lapwing:tasks}:later", name, fields).ignore();
    pipe.zadd("{lapwing:tasks}:cancelled", b"\xff\xfe", 1).ignore();
    let () = pipe.query_async(&mut redis.connection).await.unwrap();
    let streams = lapwing(&redis).await;
    streams
        .schedule(&task("a"), Duration::from_millis(50))
        .await
        .unwrap();
    let leases = take(&*streams, 2).await;
    let mut found: Vec<_> = leases
        .iter()
        .map(|lease| lease.task().monitor.id.as_str())
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["a", "named"]);
    for lease in leases {
        lease.ack().await.unwrap();
    }
    let stats = streams.stats(TASKS).await.unwrap();
    assert_eq!((stats.scheduled, stats.retry, stats.archived), (0, 0, 12));
    assert_eq!(streams.counts().archived, 12);
    assert_eq!(redis.run::<usize>("HLEN {lapwing:tasks}:later").await, 0);
    let dead = streams.dead(TASKS, 0, 20).await.unwrap();
    assert!(
        dead.iter()
            .all(|letter| letter.why.starts_with("the fields of the task are")),
        "{dead:?}"
    );
    let told = streams.status(TASKS, "s no json").await.unwrap().unwrap();
    assert_eq!(told.state, TaskState::Archived);
    assert_eq!(told.why.as_deref(), Some("the fields of the task are not JSON"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_task_that_cannot_be_buried_holds_up_no_other() {
    let mut redis = Redis::start().await;
    let () = redis.run("SET lapwing:tasks:dead x").await;
    let () = redis.run("ZADD {lapwing:tasks}:scheduled 1 zz").await;
    let () = redis.run("HSET {lapwing:tasks}:later zz notjson").await;
    let streams = lapwing(&redis).await;
    streams
        .schedule(&task("a"), Duration::from_millis(50))
        .await
        .unwrap();
    take(&*streams, 1).await.remove(0).ack().await.unwrap();
    assert_eq!(redis.run::<usize>("ZCARD {lapwing:tasks}:scheduled").await, 1);
    let () = redis.run("DEL lapwing:tasks:dead").await;
    eventually(Duration::from_secs(5), "it is a dead letter", async || {
        streams.counts().archived == 1
    })
    .await;
}
