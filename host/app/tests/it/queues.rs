//! `lapwing worker` with queues of the settings file, what the API tells of them, and `lapwing enqueue`.

use crate::{
    support::{
        eventually, plugins,
        process::{Daemon, Said, lapwing, say},
        targets,
    },
    worker::connect,
};
use lapwing_queue::testing::RedisServer;
use redis::aio::MultiplexedConnection;
use reqwest::Method;
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Command, time::Duration};

const SOON: Duration = Duration::from_secs(20);

/// A Redis, and a settings file with one stream queue on it.
struct Stage {
    redis: RedisServer,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(more: &str) -> Self {
        let stage = Self {
            redis: RedisServer::start(),
            folder: tempfile::tempdir().unwrap(),
        };
        stage.set(&format!(
            "[[queues]]\ndialect = \"streams\"\nload_test = true\n{more}"
        ));
        stage
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("queues.toml")
    }

    fn set(&self, queues: &str) {
        let redis = format!("[redis]\nurl = \"{}\"\n", self.redis.url());
        fs::write(self.file(), format!("{redis}{queues}")).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = lapwing();
        command.args(args).arg("--settings").arg(self.file());
        command
    }

    fn worker(&self, args: &[&str]) -> Daemon {
        Daemon::start(self.command(&[&["worker"], args].concat()))
    }

    fn say(&self, args: &[&str]) -> Said {
        let file = self.file();
        say(&[args, &["--settings", file.to_str().unwrap()]].concat())
    }
}

/// As redis-cli's `XADD` of a kind and its configuration.
async fn add(redis: &mut MultiplexedConnection, kind: &str, config: &Value) {
    let mut add = redis::cmd("XADD");
    add.arg(&["lapwing:tasks", "*", "kind", kind, "config", &config.to_string()]);
    let _: String = add.query_async(redis).await.unwrap();
}

async fn length(redis: &mut MultiplexedConnection, stream: &str) -> usize {
    redis::cmd("XLEN").arg(stream).query_async(redis).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_drains_the_queue_and_ends_well() {
    let stage = Stage::new("");
    let mut redis = connect(&stage.redis).await;
    for _ in 0..50 {
        add(&mut redis, "sleep", &json!({"ms": 5})).await;
    }
    let mut worker = stage.worker(&["--burst"]);
    assert!(worker.wait(SOON).success(), "{}", worker.log());
    assert_eq!(length(&mut redis, "lapwing:results").await, 50);
    assert_eq!(length(&mut redis, "lapwing:tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_remember_for_monitors_and_not_for_single_tasks() {
    let stage = Stage::new("[plugins.grants.fixtures]\nstate = true\n");
    let folder = stage.folder.path().join("plugins");
    fs::create_dir(&folder).unwrap();
    fs::copy(plugins().join("fixtures/steps.wasm"), folder.join("steps.wasm")).unwrap();
    let mut redis = connect(&stage.redis).await;
    let config = json!({"steps": [{"do": "set", "key": "k", "bytes": 5}]});
    let kind = "fixture-steps-more";
    add(&mut redis, kind, &config).await;
    let task = json!({"kind": kind, "config": config, "id": "monitor-7"});
    let mut named = redis::cmd("XADD");
    named.arg(&["lapwing:tasks", "*", "task", &task.to_string()]);
    let _: String = named.query_async(&mut redis).await.unwrap();
    let mut worker = stage.worker(&["--burst", "--plugins", folder.to_str().unwrap()]);
    assert!(worker.wait(SOON * 3).success(), "{}", worker.log());
    assert_eq!(length(&mut redis, "lapwing:results").await, 2);
    let mut keys = redis::cmd("KEYS");
    let kept: Vec<String> = keys.arg("lapwing:state:*").query_async(&mut redis).await.unwrap();
    let own = format!(r#"lapwing:state:["lapwing:tasks","fixtures","{kind}","monitor-7"]"#);
    assert_eq!(kept, [own], "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_enqueued_and_followed_by_the_api() {
    let stage = Stage::new("");
    let worker = stage.worker(&[]);
    let silent = targets::silent().await;
    eventually("the queues are connected", SOON, async || {
        worker.get("/api/v1/tasks/").await.1["queues"] == json!(["lapwing:tasks"])
    })
    .await;
    let (_, kinds) = worker.get("/api/v1/tasks/").await;
    for kind in ["tcp", "http", "noop"] {
        let known = kinds["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|known| known["name"] == kind);
        assert!(known, "{kind} in {kinds}");
    }
    let kwargs = json!({"host": "127.0.0.1", "port": silent.port()});
    let order = json!({"task_name": "tcp", "queue_type": "tasks", "kwargs": kwargs});
    let (code, answer) = worker.post("/api/v1/tasks/enqueue", &order).await;
    assert_eq!(
        (code, &answer["queue_type"]),
        (202, &json!("lapwing:tasks")),
        "{answer}"
    );
    let id = answer["task_id"].as_str().unwrap().to_owned();
    eventually("the result is there", SOON, async || {
        worker.get(&format!("/api/v1/tasks/result/{id}")).await.0 == 200
    })
    .await;
    let (_, outcome) = worker.get(&format!("/api/v1/tasks/result/{id}")).await;
    assert_eq!(
        (&outcome["ok"], &outcome["value"]["status"]),
        (&json!(true), &json!("up"))
    );
    let (_, status) = worker.get(&format!("/api/v1/tasks/status/{id}")).await;
    assert_eq!(status["state"], "completed", "{status}");

    let later = json!({"task_name": "noop", "delay": 600});
    let (_, answer) = worker.post("/api/v1/tasks/enqueue", &later).await;
    let id = answer["task_id"].as_str().unwrap();
    let (_, status) = worker.get(&format!("/api/v1/tasks/status/{id}")).await;
    assert_eq!(status["state"], "scheduled", "{status}");
    let (_, queues) = worker.get("/api/v1/queues").await;
    let queue = &queues["queues"][0];
    assert_eq!(
        (&queue["state"], &queue["scheduled"]),
        (&json!("ready"), &json!(1)),
        "{queue}"
    );
    assert_eq!(queue["here"]["complete"], 1);
    let (_, workers) = worker.get("/api/v1/workers").await;
    assert_eq!(workers["workers"].as_array().unwrap().len(), 1, "{workers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_enqueued_is_refused_by_name() {
    let stage = Stage::new("");
    let worker = stage.worker(&[]);
    let refused = [
        (json!({"task_name": "nonesuch"}), 404, "nonesuch"),
        (json!({"task_name": "tcp", "kwargs": {"prot": 1}}), 422, "prot"),
        (
            json!({"task_name": "tcp", "queue_type": "nowhere"}),
            404,
            "nowhere",
        ),
        (json!({"task_name": "noop", "args": [1]}), 422, "args"),
        (json!({"task_name": "noop", "delay": -1}), 422, "delay"),
        (
            json!({"task_name": "check", "kwargs": {"config": {}}}),
            422,
            "kind",
        ),
        (json!({"task": "noop"}), 422, "task"),
    ];
    eventually("the queues are connected", SOON, async || {
        worker.get("/api/v1/queues").await.1["queues"] != json!([])
    })
    .await;
    for (order, code, says) in refused {
        let (answered, error) = worker.post("/api/v1/tasks/enqueue", &order).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            answered == code && message.contains(says),
            "{order}: {answered} {message}"
        );
    }
    for path in [
        "tasks/status/%ff",
        "queues/lapwing:tasks/dead?offset=-1",
        "queues/lapwing:tasks/dead?lim=1",
    ] {
        let (code, error) = worker.get(&format!("/api/v1/{path}")).await;
        assert_eq!(
            (code, &error["error"]["code"]),
            (400, &json!("invalid_request")),
            "{path}"
        );
    }
    let far = format!("/api/v1/queues/tasks/dead?offset={}", u64::MAX);
    assert_eq!(worker.get(&far).await, (200, json!({"dead": []})));
    for path in ["status/none", "result/none"] {
        let (code, error) = worker.get(&format!("/api/v1/tasks/{path}")).await;
        assert_eq!((code, &error["error"]["code"]), (404, &json!("unknown_task")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_can_be_paused_and_its_dead_letters_handled() {
    let stage = Stage::new("");
    let mut redis = connect(&stage.redis).await;
    let mut bad = redis::cmd("XADD");
    bad.arg(&["lapwing:tasks", "*", "task", "{\"kind\": 7}"]);
    let _: String = bad.query_async(&mut redis).await.unwrap();
    let worker = stage.worker(&[]);
    let dead = "/api/v1/queues/lapwing:tasks/dead";
    eventually("it is a dead letter", SOON, async || {
        let (code, letters) = worker.get(dead).await;
        code == 200 && letters["dead"].as_array().is_some_and(|dead| dead.len() == 1)
    })
    .await;
    let (_, letters) = worker.get(dead).await;
    let letter = &letters["dead"][0];
    assert!(letter["why"].as_str().unwrap().contains("kind"), "{letter}");
    let id = letter["id"].as_str().unwrap();
    let (code, _) = worker.post(&format!("{dead}/{id}/retry"), &json!({})).await;
    assert_eq!(code, 200);
    eventually("it is another dead letter", SOON, async || {
        let letters = worker.get(dead).await.1["dead"].clone();
        letters.as_array().is_some_and(|dead| dead.len() == 1) && letters[0]["id"] != json!(id)
    })
    .await;

    let change = async |word: &str| {
        let path = format!("/api/v1/queues/lapwing:tasks/{word}");
        worker.post(&path, &json!({})).await
    };
    let (code, stats) = change("pause").await;
    assert_eq!((code, &stats["paused"]), (200, &json!(true)));
    add(&mut redis, "noop", &json!({})).await;
    let queue = async || worker.get("/api/v1/queues").await.1["queues"][0].clone();
    for _ in 0..20 {
        let queue = queue().await;
        assert_eq!(
            (&queue["state"], &queue["here"]["complete"]),
            (&json!("paused"), &json!(0))
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(change("resume").await.1["paused"], false);
    eventually("it runs", SOON, async || queue().await["here"]["complete"] == 1).await;

    let (_, letters) = worker.get(dead).await;
    let id = letters["dead"][0]["id"].as_str().unwrap();
    let (code, _) = worker.ask(Method::DELETE, &format!("{dead}/{id}"), None).await;
    assert_eq!(code, 200);
    let (code, error) = worker.ask(Method::DELETE, &format!("{dead}/{id}"), None).await;
    assert_eq!((code, &error["error"]["code"]), (404, &json!("unknown_task")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_test_tells_its_figures() {
    let stage = Stage::new("max_jobs = 50\n");
    let worker = stage.worker(&[]);
    let order = json!({"task_name": "sleep", "kwargs": {"ms": 20}});
    let start = async || {
        worker
            .post("/api/v1/tasks/examples/load-test-small", &order)
            .await
    };
    eventually("the queues are connected", SOON, async || {
        worker.get("/api/v1/queues").await.1["queues"] != json!([])
    })
    .await;
    let (code, answer) = start().await;
    assert_eq!((code, &answer["count"]), (202, &json!(100)), "{answer}");
    let id = answer["task_id"].as_str().unwrap().to_owned();
    let progress = async || worker.get(&format!("/api/v1/tasks/status/{id}")).await.1;
    eventually("all are done", SOON, async || progress().await["done"] == 100).await;
    let progress = progress().await;
    assert_eq!(progress["failed"], 0, "{progress}");
    assert!(progress["throughput"].as_f64().unwrap() > 1.0, "{progress}");
    let run = progress["run"]["p50_ms"].as_f64().unwrap();
    assert!((20.0..2000.0).contains(&run), "{progress}");

    stage.set("[[queues]]\ndialect = \"streams\"\n");
    let plain = stage.worker(&[]);
    eventually("the queues are connected", SOON, async || {
        plain.get("/api/v1/queues").await.1["queues"] != json!([])
    })
    .await;
    let (code, error) = plain.post("/api/v1/tasks/examples/load-test-small", &order).await;
    assert_eq!((code, &error["error"]["code"]), (409, &json!("no_load_test")));
    let (code, _) = plain
        .post("/api/v1/tasks/enqueue", &json!({"task_name": "noop"}))
        .await;
    assert_eq!(
        code, 404,
        "the kinds of load tests are there for who asks for them"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn enqueue_waits_for_the_result_and_exits_by_it() {
    let stage = Stage::new("");
    let worker = stage.worker(&[]);
    let (open, closed) = (targets::silent().await, targets::closed().await);
    let config = |port: u16| json!({"host": "127.0.0.1", "port": port}).to_string();
    let up = stage.say(&["enqueue", "tcp", "--config", &config(open.port()), "--wait"]);
    assert_eq!(up.code, 0, "{}{}\n{}", up.out, up.err, worker.log());
    assert!(up.out.starts_with("up"), "{}", up.out);
    let down = stage.say(&[
        "enqueue",
        "tcp",
        "--config",
        &config(closed.port()),
        "--wait",
        "--json",
    ]);
    assert_eq!(down.code, 1, "{}", down.err);
    let result: Value = down.json();
    assert_eq!(result["reason"], "connection_refused");
    let unfit = stage.say(&["enqueue", "tcp", "--config", "{\"prot\": 1}"]);
    assert_eq!(unfit.code, 64);
    assert!(unfit.err.contains("prot"), "{}", unfit.err);
    let nowhere = stage.say(&["enqueue", "noop", "--queue", "nowhere"]);
    assert!(
        nowhere.code == 64 && nowhere.err.contains("`nowhere`"),
        "{}",
        nowhere.err
    );
    drop(worker);
    let alone = stage.say(&["enqueue", "noop", "--wait", "--patience", "100ms"]);
    assert_eq!(alone.code, 2);
    assert!(alone.err.contains("is a worker of queue"), "{}", alone.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_whether_a_worker_lives() {
    let stage = Stage::new("health_check_interval = \"1s\"\n");
    let lives = || stage.say(&["worker", "--check"]);
    assert_eq!(lives().code, 1, "none has started");
    let mut worker = stage.worker(&[]);
    eventually("its key is written", SOON, async || lives().code == 0).await;
    let mut redis = connect(&stage.redis).await;
    let text: String = redis::cmd("GET")
        .arg("lapwing:tasks:health-check")
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!(
        text.ends_with("j_complete=0 j_failed=0 j_retried=0 j_ongoing=0 queued=0"),
        "{text}"
    );
    worker.signal("TERM");
    assert!(worker.wait(SOON).success());
    let after = lives();
    assert!(
        after.code == 1 && after.out.contains("none lives"),
        "{}",
        after.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_settings_file_starts_the_worker_again_and_a_faulty_one_does_not() {
    let stage = Stage::new("");
    let mut worker = stage.worker(&["--watch"]);
    let said = async |words: &str| eventually(words, SOON, async || worker.log().contains(words)).await;
    stage.set("[[queues]]\ndialect = \"streams\"\nmax_jobs = 0\n");
    said("the changed settings file is not used").await;
    assert!(worker.log().contains("max_jobs"), "{}", worker.log());
    stage.set("[[queues]]\ndialect = \"streams\"\nname = \"other:tasks\"\n");
    said("starting again").await;
    let mut redis = connect(&stage.redis).await;
    eventually("the other queue is served", SOON, async || {
        let groups: Result<Value, _> = redis::cmd("EXISTS")
            .arg("other:tasks")
            .query_async::<usize>(&mut redis)
            .await
            .map(|there| json!(there));
        groups.is_ok_and(|there| there == 1)
    })
    .await;
    worker.signal("TERM");
    assert!(worker.wait(SOON).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_before_the_first_task_and_after_the_last() {
    let stage = Stage::new("");
    let mut redis = connect(&stage.redis).await;
    add(&mut redis, "noop", &json!({})).await;
    let log = stage.folder.path().join("log");
    let count = format!("redis-cli -u {} XLEN lapwing:results", stage.redis.url());
    let hook = |word: &str| format!("echo {word} $({count}) >> {}", log.display());
    let (start, stop) = (hook("start"), hook("stop"));
    stage.set(&format!(
        "[worker]\non_start = '{start}'\non_stop = '{stop}'\n[[queues]]\ndialect = \"streams\"\nload_test = true\n"
    ));
    let mut worker = stage.worker(&["--burst"]);
    assert!(worker.wait(SOON).success(), "{}", worker.log());
    assert_eq!(fs::read_to_string(&log).unwrap(), "start 0\nstop 1\n");
    stage.set("[worker]\non_start = 'exit 3'\n[[queues]]\ndialect = \"streams\"\n");
    let mut refused = stage.worker(&[]);
    assert_eq!(refused.wait(SOON).code(), Some(2));
    assert!(
        refused.log().contains("`worker.on_start` failed"),
        "{}",
        refused.log()
    );
}

#[test]
fn the_settings_in_force_are_told_with_their_origin() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/queues/aegis.toml");
    let told = say(&["config", "--config", example, "--json"]);
    assert_eq!(told.code, 0, "{}", told.err);
    let settings: Vec<Value> = told.json();
    let of = |field: &str| settings.iter().find(|setting| setting["field"] == field).unwrap();
    assert_eq!(of("queues[0].max_jobs")["value"], 15);
    assert_eq!(of("queues[1].job_timeout")["value"], "10m");
    assert_eq!(of("queues[1].job_timeout")["from"], example);
    assert_eq!(of("worker.concurrency")["from"], "default");
    let table = say(&["config", "--config", example, "--set"]);
    assert!(table.out.contains("queues[1].max_jobs"), "{}", table.out);
    assert!(!table.out.contains("worker.grace"), "{}", table.out);
    for example in ["peekaping", "streams"] {
        let file = format!(
            "{}/../../examples/queues/{example}.toml",
            env!("CARGO_MANIFEST_DIR")
        );
        assert_eq!(say(&["config", "--config", &file]).code, 0, "{example}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_cannot_be_asked_hides_no_other() {
    let stage = Stage::new("[[queues]]\ndialect = \"arq\"\nload_test = true\n");
    let mut redis = connect(&stage.redis).await;
    let () = redis::cmd("SET")
        .arg("arq:queue")
        .arg("x")
        .query_async(&mut redis)
        .await
        .unwrap();
    let worker = stage.worker(&[]);
    let queues = async || worker.get("/api/v1/queues").await.1["queues"].clone();
    eventually("the queues are connected", SOON, async || {
        queues().await != json!([])
    })
    .await;
    add(&mut redis, "noop", &json!({})).await;
    eventually("the other one works", SOON, async || {
        queues().await[0]["here"]["complete"] == 1
    })
    .await;
    let queues = queues().await;
    assert_eq!(
        (&queues[0]["state"], &queues[1]["state"]),
        (&json!("ready"), &json!("worker offline"))
    );
    assert!(
        queues[1]["trouble"].as_str().unwrap().contains("WRONGTYPE"),
        "{queues}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_one_source_are_counted_each_for_itself() {
    let redis = RedisServer::start();
    let stage = Stage {
        redis,
        folder: tempfile::tempdir().unwrap(),
    };
    let queue = |name: &str, load: bool| {
        format!(
            "[[queues]]\ndialect = \"asynq\"\nname = \"{name}\"\nkeep_result = \"1h\"\nload_test = {load}\n"
        )
    };
    stage.set(&format!("{}{}", queue("plain", false), queue("load", true)));
    let worker = stage.worker(&[]);
    let queues = async || worker.get("/api/v1/queues").await.1["queues"].clone();
    eventually("the queues are connected", SOON, async || {
        queues().await != json!([])
    })
    .await;
    let order = |queue: &str| json!({"task_name": "noop", "queue_type": queue});
    let (code, answer) = worker.post("/api/v1/tasks/enqueue", &order("load")).await;
    assert_eq!(code, 202, "{answer}");
    let (code, _) = worker.post("/api/v1/tasks/enqueue", &order("plain")).await;
    assert_eq!(code, 404, "that queue runs no load tests");
    eventually("it is counted where it ran", SOON, async || {
        let queues = queues().await;
        queues[1]["here"]["complete"] == 1 && queues[0]["here"]["complete"] == 0
    })
    .await;
}
