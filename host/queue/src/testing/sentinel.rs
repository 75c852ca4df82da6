//! A master, its replica, and the Sentinel that watches over them.

use super::RedisServer;
use std::fs;

/// What the Sentinel calls the master.
const MASTER: &str = "lapwing";

/// The three servers. The Sentinel takes half a second of silence for the master's end.
#[derive(Debug)]
pub struct Watched {
    /// The master at the start, and the replica.
    pub servers: [RedisServer; 2],
    /// Who names the master.
    pub sentinel: RedisServer,
}

#[expect(clippy::expect_used, reason = "a test's fixture has nobody to tell")]
impl Watched {
    /// Starts them, and waits until the Sentinel knows the replica, which has the master's data.
    pub fn start() -> Self {
        let master = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
        let port = master.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
        replica.wait_for("INFO replication", "master_link_status:up");
        let sentinel = Self::sentinel_of(&format!("sentinel monitor {MASTER} 127.0.0.1 {port} 1"));
        sentinel.wait_for(
            &format!("SENTINEL replicas {MASTER}"),
            &replica.port().to_string(),
        );
        Self {
            servers: [master, replica],
            sentinel,
        }
    }

    /// A Sentinel with this line in its file.
    pub fn sentinel_of(line: &str) -> RedisServer {
        RedisServer::start_by(|port, folder| {
            let file = folder.join("sentinel.conf");
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\n{line}\n\
                 sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 2000\n",
                folder.display()
            );
            fs::write(&file, text).expect("a file in our folder");
            vec![file.display().to_string(), "--sentinel".to_owned()]
        })
    }

    /// `redis-sentinel://127.0.0.1:port/master/0`.
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/{MASTER}/0", self.sentinel.port())
    }
}
