//! `lapwing` as a child process that cannot outlive its test.

use super::contract;
use serde::de::DeserializeOwned;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

/// The binary, with no setting of the machine's environment.
pub(crate) fn lapwing() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_clear();
    at_home(&mut command);
    command
}

/// Compiled plugins are shared by all tests.
fn at_home(command: &mut Command) {
    command
        .env("RUST_BACKTRACE", "1")
        .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
        .env("XDG_STATE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"));
}

/// What a finished command said.
pub(crate) struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }
}

/// Runs `lapwing` to its end, which must come within a minute.
pub(crate) fn say(args: &[&str]) -> Said {
    let mut command = Command::new("timeout");
    at_home(&mut command);
    command.arg("60").arg(env!("CARGO_BIN_EXE_lapwing"));
    let output = command.args(args).output().expect("the binary runs");
    Said {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A running `lapwing run` or `lapwing worker`; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// `http://address` of its admin API.
    pub admin: String,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts it and waits until it has named its admin address.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .env("LAPWING_ADMIN_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, addresses) = mpsc::channel();
        let (stderr, stdout) = (
            child.stderr.take().expect("piped"),
            child.stdout.take().expect("piped"),
        );
        for stream in [Box::new(stderr) as Box<dyn Read + Send>, Box::new(stdout)] {
            let (log, sender) = (log.clone(), sender.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Some((_, rest)) = line.split_once("admin API at ") {
                        let url = rest.split("/api/v1").next().unwrap_or(rest).to_owned();
                        let _ = sender.send(url);
                    }
                    let mut log = log.lock().expect("not poisoned");
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        drop(sender);
        let admin = addresses.recv_timeout(Duration::from_secs(60));
        let admin =
            admin.unwrap_or_else(|_| panic!("it names its admin address; it said:\n{}", log.lock().unwrap()));
        Self { child, admin, log }
    }

    /// Everything it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`TERM`, `KILL`, …).
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(
                start.elapsed() < limit,
                "did not end within {limit:?}; it said:\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// `GET` of its admin API.
    pub(crate) async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        self.ask(reqwest::Method::GET, path, None).await
    }

    /// `POST` of JSON to its admin API.
    pub(crate) async fn post(&self, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        self.ask(reqwest::Method::POST, path, Some(body)).await
    }

    /// Any request to its admin API; whatever it answers must be as the API is described.
    pub(crate) async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> (u16, serde_json::Value) {
        let request = reqwest::Client::new().request(method.clone(), format!("{}{path}", self.admin));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.expect("the API answers");
        let (status, body) = (answer.status().as_u16(), answer.json().await.expect("JSON"));
        contract::holds(method.as_str(), path, status, &body);
        (status, body)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
