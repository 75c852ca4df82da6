//! A real server with a port and a certificate of its own, started for one test and killed at its end.

use super::{
    certificates::{Authority, Leaf},
    servers::{Folder, Running, accepts, free_port},
};
use std::{path::PathBuf, process::Command};

/// A running server, and the authority that signed its certificate.
pub(crate) struct Daemon {
    pub(crate) port: u16,
    pub(crate) authority: Authority,
    pub(crate) running: Running,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked politely, a database would wait for its clients.
        self.running.kill();
    }
}

impl Daemon {
    /// Prepares a folder, with `server.pem` and `server.key` in it, then starts what `prepare` says with the free port it is
    /// given, and waits until it listens.
    pub(crate) async fn start(prepare: impl FnOnce(&Folder, u16) -> (PathBuf, Vec<String>)) -> Self {
        let (folder, authority, port) = (Folder::new(), Authority::new(), free_port().await);
        let identity = authority.issue(&Leaf::default());
        folder.write("server.pem", identity.chain);
        folder.write_secret("server.key", identity.key);
        let (program, arguments) = prepare(&folder, port);
        let mut command = Command::new(program);
        command.args(arguments);
        let running = folder.start(command, async || accepts(port).await).await;
        Self {
            port,
            authority,
            running,
        }
    }

    /// Waits until something listens on `port`, too.
    pub(crate) async fn listening(&mut self, port: u16) {
        self.running.until(async || accepts(port).await).await;
    }
}
