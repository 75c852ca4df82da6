//! Real servers in processes of their own: with a folder and a free port of the loopback, without root's rights, stopped
//! when dropped. And the real plugins to check them with.

use crate::support::{Bench, add, dist, small};
use lapwing_checks::Registry;
use lapwing_wasm::PluginHost;
use rcgen::generate_simple_self_signed;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    time::{Instant, sleep},
};

/// Where everybody else runs when the tests run as root: `nobody`, whom every system has under this number.
const NOBODY: u32 = 65534;
/// Longest wait for a server to begin, on a busy machine.
const BEGIN: Duration = Duration::from_secs(30);

/// A server's folder: what it reads and writes lies here.
pub(crate) struct Folder(TempDir);

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    pub(crate) folder: Folder,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A certificate for `mail.test` that nobody signed but itself, and its key.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        let made = generate_simple_self_signed(vec!["mail.test".into()]).unwrap();
        let certificate = self.write("cert.pem", made.cert.pem());
        (
            certificate,
            self.write("key.pem", made.signing_key.serialize_pem()),
        )
    }

    /// Starts `command` with its output in `log`, and waits until `ready` says that it serves.
    pub(crate) async fn start(
        self,
        port: u16,
        mut command: Command,
        ready: impl AsyncFn(SocketAddr) -> bool,
    ) -> Server {
        self.give_away();
        let log = fs::File::create(self.path("log")).unwrap();
        as_nobody(&mut command)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; `just servers` installs it"));
        let mut server = Server {
            child,
            port,
            folder: self,
        };
        let limit = Instant::now() + BEGIN;
        while !ready((Ipv4Addr::LOCALHOST, port).into()).await {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < limit,
                "{command:?} does not serve: {ended:?}\n{}",
                server.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// Everything here belongs to who runs the server.
    fn give_away(&self) {
        if rustix::process::geteuid().is_root() {
            for entry in fs::read_dir(self.0.path()).unwrap() {
                chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            chown(self.0.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

impl Server {
    /// What it has written until now.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked, not killed: it has children to stop.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if pid.is_none_or(|pid| kill_process(pid, Signal::TERM).is_err()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A command for the program of this name, also where only root's PATH has it.
pub(crate) fn program(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    Command::new(found.unwrap_or_else(|| panic!("`{name}` is missing: `just servers` installs it")))
}

/// Gives up root's rights, where there are any.
pub(crate) fn as_nobody(command: &mut Command) -> &mut Command {
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// What a program that ends by itself says.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A port that nobody used a moment ago.
pub(crate) async fn free_port() -> u16 {
    // Both kinds of socket, for servers of either.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    match UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(_) => port,
        Err(_) => Box::pin(free_port()).await,
    }
}

/// Whether somebody accepts connections.
pub(crate) async fn accepts(at: SocketAddr) -> bool {
    TcpStream::connect(at).await.is_ok()
}

/// A host with the real plugin of this name.
pub(crate) async fn plugin(name: &str) -> Bench {
    let host = PluginHost::new(small()).unwrap();
    let mut registry = Registry::default();
    let path = dist().join(Path::new(name).with_extension("wasm"));
    let kind = add(&host, &mut registry, &path).await;
    Bench { host, registry, kind }
}

/// Serves each client with `talk`; the port.
pub(crate) async fn fake<F>(talk: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    port
}
