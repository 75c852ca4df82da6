//! Redis servers of a test's own, found on the `PATH`: on free ports of 127.0.0.1, with their data in temporary folders,
//! gone with the value. One, or a master watched by a Sentinel, or a cluster; with TLS, where asked for.
//!
//! For tests only, of this crate and of others (feature `testing`). Unlike the rest of the crate it panics when it
//! cannot go on: a test has nobody to tell.

mod certificates;
mod cluster;
mod probe;
mod proxy;
mod sentinel;

pub use certificates::Certificates;
pub use cluster::RedisCluster;
pub use probe::Probe;
pub use proxy::Proxy;
pub use sentinel::Watched;

use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
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
        Self::start_by(|port, folder| {
            let mut all = common(port, folder);
            all.extend(arguments.iter().map(|&argument| argument.to_owned()));
            all
        })
    }

    /// A server that speaks TLS only, shows the certificate for `localhost`, and asks for the client's.
    pub fn start_tls(certificates: &Certificates, arguments: &[&str]) -> Self {
        Self::start_by(|port, folder| {
            let mut all = common(port, folder);
            all.extend(["--tls-port", &port.to_string(), "--port", "0"].map(str::to_owned));
            all.extend(certificates.server_arguments());
            all.extend(arguments.iter().map(|&argument| argument.to_owned()));
            all
        })
    }

    /// Starts a server with the arguments made for a port and a folder.
    fn start_by(arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        for _ in 0..TRIES {
            let port = free_port();
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut server = Self {
                port,
                arguments: arguments(port, folder.path()),
                folder,
                child: None,
            };
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server found no port in {TRIES} tries");
    }

    /// Runs a command by `redis-cli`, its words parted by spaces, and answers what it prints.
    pub fn cli(&self, words: &str) -> String {
        self.cli_with(words.split(' '))
    }

    fn cli_with<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(words)
            .output()
            .expect("redis-cli on the PATH");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Asks until the answer contains `text`.
    fn wait_for(&self, words: &str, text: &str) {
        let end = Instant::now() + START_TIMEOUT;
        while !self.cli(words).contains(text) {
            assert!(
                Instant::now() < end,
                "no `{text}` in the answer to {words}: {}",
                self.cli(words)
            );
            std::thread::yield_now();
        }
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

    /// As [`restart`](Self::restart), but answers at once, while the server goes on loading its data for `time` and refuses
    /// all commands meanwhile.
    pub fn restart_loading(&mut self, time: Duration) {
        const KEYS: u128 = 1000;
        let fill = format!("for i = 1, {KEYS} do redis.call('SET', 'filler:' .. i, i) end");
        self.cli_with(["EVAL", &fill, "0"]);
        // Only a snapshot is loaded with pauses: it becomes the first part of the append-only file.
        self.cli("BGREWRITEAOF");
        self.wait_for("INFO persistence", "aof_rewrite_in_progress:0");
        self.stop();
        let pause = (time.as_micros() / KEYS).to_string();
        let slowly = [
            "--key-load-delay",
            &pause,
            "--loading-process-events-interval-bytes",
            "1024",
        ];
        assert!(
            self.launch_until(&slowly, &["Server initialized"]),
            "redis-server does not start again on port {}",
            self.port
        );
        self.wait_for("PING", "LOADING");
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
        self.launch_until(&[], &["Ready to accept connections", "Sentinel ID is"])
    }

    /// With more arguments, until it says one of these.
    fn launch_until(&mut self, more: &[&str], says: &'static [&'static str]) -> bool {
        let mut child = Command::new("redis-server")
            .args(&self.arguments)
            .args(more)
            .current_dir(self.folder.path())
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
                if says.iter().any(|text| line.contains(text)) {
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

/// What all servers are started with.
fn common(port: u16, folder: &Path) -> Vec<String> {
    let words = format!(
        // With fsync every second, Redis holds writes back while a slow disk syncs; the kernel keeps what a killed
        // process wrote.
        "--port {port} --bind 127.0.0.1 --daemonize no --appendonly yes --appendfsync no --dir"
    );
    let mut all: Vec<String> = words.split(' ').map(str::to_owned).collect();
    all.extend([folder.display().to_string(), "--save".to_owned(), String::new()]);
    all
}

#[expect(clippy::expect_used, reason = "a test's fixture has nobody to tell")]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
