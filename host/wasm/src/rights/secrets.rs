//! Named secrets of the operator's: held by the host, read when they are used.

use lapwing_checks::net::scope::Destination;
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

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
    /// Where the host may send it; empty is anywhere the run may go.
    hosts: Vec<Destination>,
    /// Of a file, as it was.
    last: Mutex<Option<Seen>>,
}

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
    /// Adds one. With `hosts` the host sends it to these alone, wherever else the run may go.
    pub fn insert(&mut self, name: impl Into<String>, source: SecretSource, hosts: Vec<Destination>) {
        let last = Mutex::default();
        self.0.insert(name.into(), Secret { source, hosts, last });
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether `name` may be sent to `host` (a name in lower case, or an address) at `port`.
    pub(crate) fn may_go_to(&self, name: &str, host: &str, port: u16) -> bool {
        let Some(secret) = self.0.get(name) else {
            return true;
        };
        let fits = |place: &Destination| match host.parse::<IpAddr>() {
            Ok(address) => place.holds(address.to_canonical(), Some(port)),
            Err(_) => place.names(host, Some(port)),
        };
        secret.hosts.is_empty() || secret.hosts.iter().any(fits)
    }

    /// The secret `name`. Cancel safe.
    pub(crate) async fn read(&self, name: &str) -> Result<Arc<str>, SecretFault> {
        let secret = self.0.get(name).ok_or(SecretFault::NotFound)?;
        let path = match &secret.source {
            SecretSource::Value(text) => return Ok(text.as_str().into()),
            SecretSource::File(path) => path.clone(),
        };
        let last = secret.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let work = tokio::task::spawn_blocking(move || look(&path, last));
        let seen = match timeout(READ_TIMEOUT, work).await {
            Ok(Ok(Ok(seen))) => seen,
            Ok(Ok(Err(error))) => return Err(SecretFault::Unavailable(error.to_string())),
            Ok(Err(error)) => return Err(SecretFault::Unavailable(error.to_string())),
            Err(_) => {
                return Err(SecretFault::Unavailable(
                    "its file cannot be read in time".to_owned(),
                ));
            }
        };
        let text = seen.text.clone();
        *secret.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(text)
    }
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

    #[tokio::test]
    async fn a_file_is_read_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut secrets = Secrets::default();
        secrets.insert("token", SecretSource::File(path.clone()), Vec::new());
        assert!(matches!(
            secrets.read("token").await,
            Err(SecretFault::Unavailable(_))
        ));
        fs::write(&path, "first\r\n").unwrap();
        assert_eq!(&*secrets.read("token").await.unwrap(), "first");
        fs::write(&path, "second one").unwrap();
        assert_eq!(&*secrets.read("token").await.unwrap(), "second one");
        fs::write(&path, vec![b'x'; 70_000]).unwrap();
        assert!(matches!(
            secrets.read("token").await,
            Err(SecretFault::Unavailable(_))
        ));
        assert_eq!(secrets.read("other").await, Err(SecretFault::NotFound));
    }

    #[test]
    fn a_bound_secret_goes_nowhere_else() {
        let mut secrets = Secrets::default();
        let hosts = vec!["*.a.test:443".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        secrets.insert("bound", SecretSource::Value("x".into()), hosts);
        secrets.insert("free", SecretSource::Value("x".into()), Vec::new());
        for (host, port, fits) in [
            ("x.a.test", 443, true),
            ("x.a.test", 80, false),
            ("10.1.1.1", 80, true),
            ("11.1.1.1", 80, false),
        ] {
            assert_eq!(secrets.may_go_to("bound", host, port), fits, "{host}:{port}");
            assert!(secrets.may_go_to("free", host, port));
        }
        assert!(!format!("{secrets:?}").contains('x'));
    }
}
