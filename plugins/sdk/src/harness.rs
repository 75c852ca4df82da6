//! Runs a check on the machine at hand, in `cargo test`, against a worker that the test scripts.
//!
//! TCP and UDP go to real sockets, so that a real server can be probed; HTTP, TLS and DNS answer what the test says. A call
//! that no script answers is refused, as a worker refuses what was not granted.
//!
//! ```
//! use lapwing_plugin_sdk::harness::{self, Host, Reply};
//! # use lapwing_plugin_sdk::{Checker, Context, Failure, Outcome, http};
//! # struct Door;
//! # impl Checker for Door {
//! #     const KIND: &'static str = "door";
//! #     const TITLE: &'static str = "";
//! #     const SUMMARY: &'static str = "";
//! #     const EXAMPLE: &'static str = "";
//! #     type Config = String;
//! #     fn check(url: String, _: &Context) -> Result<Outcome, Failure> {
//! #         Ok(Outcome::up(http::get(&url)?.text()?))
//! #     }
//! # }
//! let host = Host::new().http(|_| Ok(Reply::new(200, "open")));
//! let outcome = harness::check::<Door>(r#""http://door.test/""#, &host).unwrap();
//! assert_eq!(outcome.message, "open");
//! assert_eq!(host.calls(), ["http GET http://door.test/"]);
//! ```

#[doc(hidden)]
pub mod sys;

pub use crate::bindings::lapwing::plugin::{
    http::HttpRequest,
    net_types::TlsOptions,
    types::{CheckError, TlsInfo},
};
use crate::{Checker, Outcome, Status, bindings::lapwing::plugin::types::Request, glue, net::Fault};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

type Http = dyn Fn(&HttpRequest) -> Result<Reply, Fault>;
type Tls = dyn Fn(&TlsOptions) -> Result<TlsInfo, Fault>;
type Dns = dyn Fn(&str, &str) -> Result<Vec<String>, Fault>;

/// A scripted response.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A response without headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How the worker answers, and what it was asked. Clones are of the same worker.
#[derive(Clone, Default)]
pub struct Host {
    http: Option<Rc<Http>>,
    tls: Option<Rc<Tls>>,
    dns: Option<Rc<Dns>>,
    denied: Vec<String>,
    secrets: BTreeMap<String, String>,
    granted: Vec<String>,
    previous: Option<Status>,
    budget: Option<Duration>,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: Vec<String>,
    lines: Vec<String>,
    state: BTreeMap<String, Vec<u8>>,
    ends: Option<Instant>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// A worker that answers nothing yet, and gives a run 10 s.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers HTTP requests.
    #[must_use]
    pub fn http(mut self, answer: impl Fn(&HttpRequest) -> Result<Reply, Fault> + 'static) -> Self {
        self.http = Some(Rc::new(answer));
        self
    }

    /// Answers TLS handshakes. What is sent after one goes over the socket as it is.
    #[must_use]
    pub fn tls(mut self, answer: impl Fn(&TlsOptions) -> Result<TlsInfo, Fault> + 'static) -> Self {
        self.tls = Some(Rc::new(answer));
        self
    }

    /// Answers DNS questions: the data of the answers to a name and a record type.
    #[must_use]
    pub fn dns(mut self, answer: impl Fn(&str, &str) -> Result<Vec<String>, Fault> + 'static) -> Self {
        self.dns = Some(Rc::new(answer));
        self
    }

    /// Refuses connections to `host:port`.
    #[must_use]
    pub fn deny(mut self, target: &str) -> Self {
        self.denied.push(target.to_owned());
        self
    }

    /// Holds a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Grants an optional capability.
    #[must_use]
    pub fn grant(mut self, capability: &str) -> Self {
        self.granted.push(capability.to_owned());
        self
    }

    /// Tells a run what the one before said.
    #[must_use]
    pub fn previous(mut self, status: Status) -> Self {
        self.previous = Some(status);
        self
    }

    /// Gives a run this much time.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Every network call, in order: `tcp mail.test:25`, `http GET …`, `dns name TXT`, `udp …`, `tls …`.
    pub fn calls(&self) -> Vec<String> {
        self.seen.borrow().calls.clone()
    }

    /// Every line logged, its level first: `info: …`.
    pub fn lines(&self) -> Vec<String> {
        self.seen.borrow().lines.clone()
    }

    /// What a run left in the state under `key`.
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.seen.borrow().state.get(key).cloned()
    }

    /// Writes a call down.
    fn called(&self, call: String) {
        self.seen.borrow_mut().calls.push(call);
    }

    fn remaining(&self) -> Duration {
        let ends = self.seen.borrow().ends;
        ends.map_or(Duration::ZERO, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }

    fn judge(&self, host: &str, port: u16) -> Result<(), Fault> {
        let target = format!("{host}:{port}");
        if self.denied.contains(&target) {
            return Err(Fault::AccessDenied(format!("the test denies `{target}`")));
        }
        Ok(())
    }
}

/// One run of a check with this config. The schema is not looked at: that is the worker's, as are defaults that only
/// stand there.
pub fn check<C: Checker>(config: &str, host: &Host) -> Result<Outcome, CheckError> {
    let budget = host.budget.unwrap_or(Duration::from_secs(10));
    host.seen.borrow_mut().ends = Some(Instant::now() + budget);
    let request = Request {
        check_type: C::KIND.to_owned(),
        monitor_id: "monitor-1".to_owned(),
        run_id: "run-1".to_owned(),
        config: config.to_owned(),
        budget: u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX),
        attempt: 1,
        previous: host.previous,
    };
    let _run = sys::enter(host.clone());
    glue::run::<C>(request).unwrap_or_else(|request| Err(glue::unknown_kind(&request)))
}

/// Holds [`Checker::SCHEMA`] against the schema that is derived from the config's type. `file` is where it came from,
/// below the package's folder; with `UPDATE_SCHEMAS` in the environment it is written. The first time it may hold `{}`.
#[expect(clippy::panic, reason = "an assertion, for tests")]
pub fn assert_schema<C: Checker>(file: &str) {
    let derived = format!("{:#}\n", glue::schema::<C>());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(file, derived).unwrap_or_else(|error| panic!("{file}: {error}"));
    } else if C::SCHEMA != Some(&derived) {
        panic!("{file} is not the schema of the config: run this test again with `UPDATE_SCHEMAS=1`");
    }
}
