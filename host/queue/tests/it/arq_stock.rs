//! Stock Python arq, as its users run it.

use crate::{
    arq_fixture::{OnArq, QUEUE},
    fixture::room,
};
use lapwing_model::{CheckResult, Clock, Observation, Reason, Task, WorkerIdentity};
use lapwing_queue::{Source, arq::Arq};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command as Blocking, Stdio},
    sync::Arc,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use tokio_util::task::AbortOnDropHandle;

/// Where the stock software is, installed when it is not there yet.
fn python(script: &str, port: u16, rest: &[&str]) -> Command {
    let stock = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stock");
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../lapwing-tools");
    let installed = Blocking::new(stock.join("install.sh"))
        .arg(tools)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(installed.status.success(), "stock arq cannot be installed");
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", String::from_utf8(installed.stdout).unwrap().trim())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(stock.join(script))
        .args([&port.to_string(), QUEUE])
        .args(rest)
        .kill_on_drop(true);
    command
}

/// A stock client in a process of its own.
pub(crate) struct Client {
    _child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Client {
    pub(crate) fn start(on: &OnArq, serializer: &str) -> Self {
        let mut command = python("arq_client.py", on.redis.server.port(), &[serializer]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
    }

    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        let line = format!("{command}\n");
        self.commands.write_all(line.as_bytes()).await.unwrap();
        let answer = self.answers.next_line().await.unwrap();
        serde_json::from_str(&answer.expect("the client ended")).unwrap()
    }

    pub(crate) async fn enqueue(&mut self, function: &str, kwargs: Value, options: Value) -> String {
        let command = json!({"do": "enqueue", "function": function, "kwargs": kwargs, "options": options});
        self.ask(command).await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn of(&mut self, what: &str, id: &str) -> Value {
        self.ask(json!({"do": what, "id": id})).await
    }
}

/// A stock worker in a process of its own, for these functions.
pub(crate) fn stock_worker(on: &OnArq, functions: &[&str]) -> Child {
    let mut command = python("arq_worker.py", on.redis.server.port(), functions);
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// Whether stock arq's `--check` finds a live worker.
pub(crate) async fn stock_check(on: &OnArq) -> bool {
    let status = python("arq_check.py", on.redis.server.port(), &[]).status();
    status.await.unwrap().success()
}

/// What a check of `task` saw; its configuration may say what that is to be.
pub(crate) fn seen(task: &Task) -> CheckResult {
    let config: Value = serde_json::from_str(&task.monitor.config).unwrap();
    let observation = match config["sees"].as_str() {
        Some("down") => Observation::down(Reason::ConnectionRefused, "refused"),
        Some("unknown") => Observation::unknown(Reason::InvalidConfig, "`port` is missing"),
        _ => Observation::up("open").with_attribute("config", config),
    };
    let worker = WorkerIdentity {
        name: "here:1".to_owned(),
        region: None,
    };
    let now = lapwing_model::SystemClock.now();
    CheckResult::new(task, &worker, now, now, observation)
}

/// A worker of ours that runs whatever comes, until the handle is dropped.
pub(crate) fn our_worker(arq: &Arc<Arq>) -> AbortOnDropHandle<()> {
    let arq = arq.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            for lease in arq.reserve(room(16)).await.unwrap_or_default() {
                let result = seen(lease.task());
                lease.publish_and_ack(&*arq, &result).await.unwrap();
            }
        }
    }))
}
