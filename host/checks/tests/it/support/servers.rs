//! Real servers in processes of their own: with a folder and a free port of the loopback, without root's rights, stopped
//! when dropped.

use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
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
pub(crate) struct Running {
    child: Child,
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

    pub(crate) fn make(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    /// With no rights for anybody else, as some servers want their keys.
    pub(crate) fn write_secret(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Starts `command` as nobody, with its output in `log`, and waits until `ready` says that it serves.
    pub(crate) async fn start(self, mut command: Command, ready: impl AsyncFn() -> bool) -> Running {
        self.give_away();
        let log = fs::File::create(self.path("log")).unwrap();
        self.apart(&mut command)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; `just servers` installs it"));
        let mut server = Running { child, folder: self };
        server.until(ready).await;
        server
    }

    /// Runs `program` as nobody to its end, which must be a good one.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str]) {
        self.give_away();
        said_as_nobody(self.apart(Command::new(program).args(arguments)));
    }

    /// In this folder, as nobody, with no temporary files anywhere else: a MariaDB that starts removes whatever looks like
    /// a temporary table of its own, and another's that is just being made.
    fn apart<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        as_nobody(command)
            .current_dir(self.0.path())
            .env("TMPDIR", self.0.path())
    }

    /// Everything here belongs to who runs the server.
    pub(crate) fn give_away(&self) {
        if geteuid().is_root() {
            for entry in fs::read_dir(self.0.path()).unwrap() {
                chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            chown(self.0.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

impl Running {
    /// What it has written until now.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path("log")).unwrap_or_default()
    }

    /// Waits until `ready` says that it serves.
    pub(crate) async fn until(&mut self, ready: impl AsyncFn() -> bool) {
        let limit = Instant::now() + BEGIN;
        while !ready().await {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < limit,
                "does not serve: {ended:?}\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it without asking.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
    }
}

impl Drop for Running {
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
    Command::new(path(name))
}

/// The path of the program of this name.
pub(crate) fn path(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    // PostgreSQL's own programs lie in a folder of their version.
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.extend(env::split_paths(&path));
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is missing: `just servers` installs it"))
}

/// Gives up root's rights, where there are any.
pub(crate) fn as_nobody(command: &mut Command) -> &mut Command {
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// What a program that ends by itself says.
pub(crate) fn said_as_nobody(command: &mut Command) -> String {
    let output = as_nobody(command).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The user and the group that servers run as.
pub(crate) fn name_of_nobody() -> (String, String) {
    let id = |option: &str| said_as_nobody(program("id").arg(option));
    (id("-un"), id("-gn"))
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
pub(crate) async fn accepts(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .is_ok()
}
