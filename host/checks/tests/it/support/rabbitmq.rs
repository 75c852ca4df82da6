//! RabbitMQ on loopback, with its management plugin.

use super::{left_out, server::closed_port};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{self, Duration, Instant},
};

/// Debian's scripts without the wrapper that wants its own user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// Erlang takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// One node; `guest` has the password `guest`.
pub(crate) struct RabbitMq {
    pub(crate) management: SocketAddr,
    process: Child,
    home: TempDir,
    mapper: u16,
}

impl RabbitMq {
    /// `None`, and why on stderr, where there is none on this machine.
    pub(crate) async fn start() -> Option<Self> {
        if !Path::new(SCRIPTS).join("rabbitmq-server").exists() {
            left_out("the tests of `rabbitmq` against a real node: no Debian package rabbitmq-server");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let management = SocketAddr::from(([127, 0, 0, 1], closed_port().await));
        let (listener, mapper) = (closed_port().await, closed_port().await);
        fs::write(home.path().join("plugins"), "[rabbitmq_management].").unwrap();
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{listener}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n",
            management.port()
        );
        fs::write(home.path().join("rabbit.conf"), config).unwrap();
        let mut command = command(home.path(), mapper, "rabbitmq-server");
        command.env("RABBITMQ_DIST_PORT", closed_port().await.to_string());
        let process = command.process_group(0).spawn().unwrap();
        let node = Self {
            management,
            process,
            home,
            mapper,
        };
        let patience = Instant::now() + PATIENCE;
        while TcpStream::connect(management).await.is_err() {
            assert!(Instant::now() < patience, "RabbitMQ never listens");
            time::sleep(Duration::from_millis(100)).await;
        }
        Some(node)
    }

    /// Runs `rabbitmqctl`.
    pub(crate) fn control(&self, arguments: &[&str]) {
        let mut command = command(self.home.path(), self.mapper, "rabbitmqctl");
        assert!(
            command.args(arguments).status().unwrap().success(),
            "{arguments:?}"
        );
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
        // The port mapper, which Erlang started and left.
        let mapper = self.mapper.to_string();
        let _ = Command::new("epmd")
            .args(["-port", &mapper, "-kill"])
            .stdout(Stdio::null())
            .status();
    }
}

fn command(home: &Path, mapper: u16, script: &str) -> Command {
    let mut command = Command::new(Path::new(SCRIPTS).join(script));
    command
        .env("HOME", home)
        .env("RABBITMQ_NODENAME", format!("n{mapper}@localhost"))
        .env("RABBITMQ_MNESIA_BASE", home.join("db"))
        .env("RABBITMQ_LOG_BASE", home.join("log"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
        .env("RABBITMQ_CONFIG_FILE", home.join("rabbit.conf"))
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // Or it could not be ended while it believes the node to live.
        .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
