//! Real servers for the tests of real plugins: started unprivileged on a port of their own, in a folder of their own,
//! and ended with the test.

use crate::support::eventually;
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// A server under way; ended when dropped.
pub(crate) struct Daemon {
    process: Child,
    folder: TempDir,
}

impl Daemon {
    /// Starts `command`, which keeps its files in `folder`, and waits until `ready`.
    ///
    /// What it prints is in `log` of that folder, and shown when it does not come up.
    pub(crate) async fn start(
        mut command: Command,
        folder: TempDir,
        mut ready: impl AsyncFnMut() -> bool,
    ) -> Self {
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed?"));
        let mut daemon = Self { process, folder };
        eventually("the server is ready", async || {
            if let Some(status) = daemon.process.try_wait().unwrap() {
                panic!("{command:?} ended with {status}: {}", daemon.log());
            }
            ready().await
        })
        .await;
        daemon
    }

    /// What it printed until now.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port of 127.0.0.1 that was free for TCP and UDP a moment ago.
pub(crate) fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// Runs a command that must end well.
pub(crate) fn must_run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed?"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}

/// A self-signed certificate for `name` and its key, as `cert.pem` and `key.pem` in `folder`.
pub(crate) fn write_identity(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}
