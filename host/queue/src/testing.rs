//! A Redis server of a test's own, found on the `PATH`: on a free port, with its data in a temporary folder, gone with
//! the value.
//!
//! For tests only, of this crate and of others (feature `testing`). Unlike the rest of the crate it panics when it
//! cannot go on: a test has nobody to tell.

mod proxy;

pub use proxy::Proxy;

use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use tempfile::TempDir;

/// Longest wait for the server to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Ports tried, since a port found free can be taken by the time the server wants it.
const TRIES: usize = 5;

/// A running server. Every write is in its append-only file before it is answered, so killing it loses nothing.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    child: Option<Child>,
    arguments: Vec<String>,
}

#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's fixture has nobody to tell"
)]
impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`start`](Self::start), with more arguments for `redis-server`.
    pub fn start_with(arguments: &[&str]) -> Self {
        for _ in 0..TRIES {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener
                .local_addr()
                .expect("a bound socket has an address")
                .port();
            drop(listener);
            let folder = tempfile::tempdir().expect("a temporary folder");
            let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
            let mut server = Self {
                port,
                folder,
                child: None,
                arguments,
            };
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server found no port in {TRIES} tries");
    }

    /// `redis://127.0.0.1:port/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server as `kill -9` does; its data stays.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("a killed child can be waited for");
        }
    }

    /// Starts the stopped server on its port with its data.
    pub fn restart(&mut self) {
        self.stop();
        assert!(
            self.launch(),
            "redis-server does not start again on port {}",
            self.port
        );
    }

    /// Stops the process without ending it: connections stay open and nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("the server runs").id();
        let pid = Pid::from_raw(i32::try_from(id).expect("a process id")).expect("not zero");
        kill_process(pid, signal).expect("our own child can be signalled");
    }

    /// False when the server ended instead of listening.
    fn launch(&mut self) -> bool {
        let mut child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(self.folder.path())
            // With fsync every second, Redis holds writes back while a slow disk syncs; the kernel keeps what a killed
            // process wrote.
            .args(["--appendonly", "yes", "--appendfsync", "no"])
            .args(["--save", "", "--daemonize", "no"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server on the PATH");
        let output = child.stdout.take().expect("piped");
        self.child = Some(child);
        let (ready, readiness) = mpsc::channel();
        // Reads on until the server ends: a full pipe would block it.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.contains("Ready to accept connections") {
                    let _ = ready.send(());
                }
            }
        });
        match readiness.recv_timeout(START_TIMEOUT) {
            Ok(()) => true,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                self.stop();
                false
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("redis-server did not start within {START_TIMEOUT:?}")
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
