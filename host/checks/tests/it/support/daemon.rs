//! Real servers, each started for one test in a folder of its own, and killed at its end.

use super::{
    AMPLE,
    certificates::{Authority, Leaf},
    server::closed_port,
};
use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};

/// Servers refuse to run as root; tests may.
const NOBODY: u32 = 65_534;

/// A running server, and the authority that signed its certificate.
pub(crate) struct Daemon {
    pub(crate) port: u16,
    pub(crate) authority: Authority,
    child: Child,
    folder: Folder,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is gone with its owner; `server.pem` and `server.key` are in it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    fn new(authority: &Authority) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let identity = authority.issue(&Leaf::default());
        folder.write("server.pem", &identity.chain);
        folder.write("server.key", &identity.key);
        fs::set_permissions(folder.path("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        own(&folder.path(""));
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        own(&self.path(name));
    }

    /// `program`, as somebody who may run servers, with nothing to say unless it fails.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs `program` to its end, which must be a good one.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str]) {
        let done = self.command(program).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {told}", program.display());
    }
}

impl Daemon {
    /// Prepares a folder, then starts what `prepare` says with the free port it is given, and waits until it listens.
    pub(crate) async fn start(prepare: impl FnOnce(&Folder, u16) -> (PathBuf, Vec<String>)) -> Self {
        let authority = Authority::new();
        let folder = Folder::new(&authority);
        let port = closed_port().await;
        let (program, arguments) = prepare(&folder, port);
        let log = fs::File::create(folder.path("log")).unwrap();
        let mut command = folder.command(&program);
        command
            .args(arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut daemon = Self {
            port,
            authority,
            child,
            folder,
        };
        daemon.listening(port).await;
        daemon
    }

    /// Waits until something listens on `port`, too.
    pub(crate) async fn listening(&mut self, port: u16) {
        let patience = Instant::now() + AMPLE * 3;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let ended = self.child.try_wait().unwrap();
            let log = fs::read_to_string(self.folder.path("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < patience, "{ended:?}: {log}");
            time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Hands `path` to whom servers run as.
fn own(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The path of `program`, where Debian keeps servers. Not there: `./just test` installs `package`.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let versions = versions.map(|version| version.unwrap().path().join("bin"));
        folders.splice(0..0, versions);
    }
    let found = folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not installed, and this test is about it: `./just test` installs Debian's package `{package}`"))
}
