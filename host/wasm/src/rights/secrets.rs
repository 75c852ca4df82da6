//! Named secrets of the operator's: held by the host, read when they are used.

use lapwing_checks::net::scope::Destination;
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::timeout};

/// Largest secret, in bytes.
const LARGEST: u64 = 64 << 10;
/// Longest wait for a file: a dead network drive must not hold up a run.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a secret is.
pub enum SecretSource {
    /// Here.
    Value(String),
    /// In a file, without the line end at its end; read again when the file has changed.
    File(PathBuf),
}

/// The secrets there are, by name.
#[derive(Debug, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

struct Secret {
    source: SecretSource,
    /// Where the host may send it; empty is where the operator grants the plugin to go.
    hosts: Vec<Destination>,
    /// It may go out for others to read.
    plain: bool,
    /// Of a file.
    file: Arc<Mutex<FileState>>,
}

#[derive(Default)]
struct FileState {
    /// The file as it was.
    last: Option<Seen>,
    /// The look at it that is under way. A dead network drive holds its thread for as long as it likes, so there is one.
    look: Option<watch::Receiver<Option<Looked>>>,
}

type Looked = Result<Arc<str>, String>;

#[derive(Clone)]
struct Seen {
    changed: Option<SystemTime>,
    length: u64,
    text: Arc<str>,
}

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretFault {
    NotFound,
    Unavailable(String),
}

impl Secrets {
    /// Adds one. The host sends it to `hosts` alone, wherever else the run may go; without any, only where the operator
    /// grants the plugin to go.
    pub fn insert(&mut self, name: impl Into<String>, source: SecretSource, hosts: Vec<Destination>) {
        let secret = Secret {
            source,
            hosts,
            plain: false,
            file: Arc::default(),
        };
        self.0.insert(name.into(), secret);
    }

    /// Lets the host send `name` by plain HTTP, and to peers whose certificate is not verified.
    pub fn allow_plain(&mut self, name: &str) {
        if let Some(secret) = self.0.get_mut(name) {
            secret.plain = true;
        }
    }

    /// Whether `name` may go to `host` for others to read: by plain HTTP, or to whoever answers. On the way to this
    /// machine's own addresses there are no others.
    pub(crate) fn may_be_read(&self, name: &str, host: &str) -> bool {
        let plain = self.0.get(name).is_some_and(|secret| secret.plain);
        plain || host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Where the host may send `name`, and nowhere else; empty when nothing is said of that. `None`: there is none.
    pub(crate) fn hosts(&self, name: &str) -> Option<&[Destination]> {
        self.0.get(name).map(|secret| secret.hosts.as_slice())
    }

    /// The secret `name`, waited for no longer than `patience`. Cancel safe.
    pub(crate) async fn read(&self, name: &str, patience: Duration) -> Result<Arc<str>, SecretFault> {
        self.read_by(name, patience, look).await
    }

    async fn read_by(
        &self,
        name: &str,
        patience: Duration,
        look: impl FnOnce(&Path, Option<Seen>) -> io::Result<Seen> + Send + 'static,
    ) -> Result<Arc<str>, SecretFault> {
        let secret = self.0.get(name).ok_or(SecretFault::NotFound)?;
        let path = match &secret.source {
            SecretSource::Value(text) => return Ok(text.as_str().into()),
            SecretSource::File(path) => path.clone(),
        };
        let mut looked = begin(&secret.file, path, look);
        let seen = timeout(patience.min(READ_TIMEOUT), looked.wait_for(Option::is_some)).await;
        let failed = |why: &str| Err(SecretFault::Unavailable(why.to_owned()));
        match seen.as_ref().map(|seen| seen.as_ref().map(|seen| seen.as_ref())) {
            Ok(Ok(Some(Ok(text)))) => Ok(text.clone()),
            Ok(Ok(Some(Err(why)))) => failed(why),
            Ok(_) => failed("its file was not read"),
            Err(_) => failed("its file cannot be read in time"),
        }
    }
}

/// The look that is under way, or a new one.
fn begin(
    file: &Arc<Mutex<FileState>>,
    path: PathBuf,
    look: impl FnOnce(&Path, Option<Seen>) -> io::Result<Seen> + Send + 'static,
) -> watch::Receiver<Option<Looked>> {
    let mut state = locked(file);
    // One that ended without a word is none.
    if let Some(under_way) = state.look.clone().filter(|look| look.has_changed().is_ok()) {
        return under_way;
    }
    let (tell, looked) = watch::channel(None);
    state.look = Some(looked.clone());
    let (last, file) = (state.last.clone(), file.clone());
    tokio::task::spawn_blocking(move || {
        let seen = look(&path, last);
        let mut state = locked(&file);
        // Whoever comes from here on looks anew.
        state.look = None;
        let text = seen.as_ref().map(|seen| seen.text.clone());
        tell.send_replace(Some(text.map_err(ToString::to_string)));
        state.last = seen.ok().or(state.last.take());
    });
    looked
}

fn locked(file: &Mutex<FileState>) -> MutexGuard<'_, FileState> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file as it is; read only if it is not as it was.
fn look(path: &Path, last: Option<Seen>) -> io::Result<Seen> {
    let facts = fs::metadata(path)?;
    if !facts.is_file() || facts.len() > LARGEST {
        return Err(io::Error::other(format!(
            "its file is no file, or larger than {} KiB",
            LARGEST >> 10
        )));
    }
    let (changed, length) = (facts.modified().ok(), facts.len());
    if let Some(last) =
        last.filter(|last| changed.is_some() && (last.changed, last.length) == (changed, length))
    {
        return Ok(last);
    }
    let text = fs::read_to_string(path)?;
    let text = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Seen {
        changed,
        length,
        text: text.into(),
    })
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    const PLENTY: Duration = Duration::from_secs(20);

    fn of_file(path: &Path) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.insert("token", SecretSource::File(path.to_owned()), Vec::new());
        secrets
    }

    #[test]
    fn only_what_the_operator_says_so_of_may_be_read_on_its_way() {
        let mut secrets = Secrets::default();
        secrets.insert("token", SecretSource::Value("x".into()), Vec::new());
        for host in ["localhost", "127.0.0.9", "::1"] {
            assert!(secrets.may_be_read("token", host), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1", "api.example.com"] {
            assert!(!secrets.may_be_read("token", host), "{host}");
        }
        secrets.allow_plain("token");
        assert!(secrets.may_be_read("token", "10.0.0.1") && !secrets.may_be_read("other", "10.0.0.1"));
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let secrets = of_file(&path);
        let read = async || secrets.read("token", PLENTY).await;
        assert!(matches!(read().await, Err(SecretFault::Unavailable(_))));
        fs::write(&path, "first\r\n").unwrap();
        assert_eq!(&*read().await.unwrap(), "first");
        fs::write(&path, "second one").unwrap();
        assert_eq!(&*read().await.unwrap(), "second one");
        fs::write(&path, vec![b'x'; 70_000]).unwrap();
        assert!(matches!(read().await, Err(SecretFault::Unavailable(_))));
        assert_eq!(secrets.read("other", PLENTY).await, Err(SecretFault::NotFound));
        assert!(!format!("{secrets:?}").contains("second"));
    }

    #[tokio::test]
    async fn a_file_on_a_dead_drive_holds_one_thread_however_many_ask() {
        let secrets = of_file(Path::new("token"));
        let looks = Arc::new(AtomicUsize::new(0));
        let (alive, dead) = mpsc::channel::<()>();
        let dead = Arc::new(Mutex::new(dead));
        let read = async |patience| {
            let (looks, dead) = (looks.clone(), dead.clone());
            let look = move |_: &Path, _| {
                looks.fetch_add(1, SeqCst);
                let _ = dead.lock().unwrap().recv();
                Ok(Seen {
                    changed: None,
                    length: 0,
                    text: "found".into(),
                })
            };
            secrets.read_by("token", patience, look).await
        };
        for _ in 0..100 {
            let why = read(Duration::from_micros(1)).await.unwrap_err();
            assert_eq!(
                why,
                SecretFault::Unavailable("its file cannot be read in time".into())
            );
        }
        // The drive is back: who waits gets what the one look found, and the next one looks anew.
        drop(alive);
        for _ in 0..2 {
            while secrets.0["token"].file.lock().unwrap().look.is_some() {
                tokio::task::yield_now().await;
            }
            assert_eq!(&*read(PLENTY).await.unwrap(), "found");
        }
        assert_eq!(looks.load(SeqCst), 3);
    }
}
