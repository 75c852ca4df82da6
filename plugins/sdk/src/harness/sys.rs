//! What [`crate::sys`] is outside of a component: the functions of the interface, as the [`Host`] of the run answers them.

pub mod tcp;
pub mod udp;

use super::Host;
use crate::net::Fault;
use std::{cell::RefCell, time::Duration};

thread_local! {
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Puts a host in force until the value is dropped.
pub(super) fn enter(host: Host) -> Entered {
    Entered(CURRENT.with(|current| current.replace(Some(host))))
}

/// The host that was in force before.
pub(super) struct Entered(Option<Host>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(self.0.take()));
    }
}

/// The host in force. Outside of a run there is one that answers nothing and has no time.
fn host() -> Host {
    CURRENT.with(|current| current.borrow().clone().unwrap_or_default())
}

fn unanswered<T>(what: &str) -> Result<T, Fault> {
    Err(Fault::AccessDenied(format!("the test answers no {what}")))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// `context`
pub mod context {
    use super::{host, nanos};

    /// Nanoseconds left.
    pub fn remaining() -> u64 {
        nanos(host().remaining())
    }

    /// Whether the test grants it.
    pub fn granted(capability: &str) -> bool {
        host().granted.iter().any(|granted| granted == capability)
    }
}

/// `log`
pub mod log {
    use super::host;
    pub use crate::bindings::lapwing::plugin::log::Level;

    /// Keeps the line.
    pub fn log(level: Level, message: &str) {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        host().seen.borrow_mut().lines.push(format!("{level}: {message}"));
    }
}

/// `secrets`
pub mod secrets {
    use super::host;
    pub use crate::bindings::lapwing::plugin::secrets::SecretError;

    /// A secret that the test holds.
    pub fn reveal(name: &str) -> Result<String, SecretError> {
        host().secrets.get(name).cloned().ok_or(SecretError::AccessDenied)
    }
}

/// `state`
pub mod state {
    use super::host;
    pub use crate::bindings::lapwing::plugin::state::StateError;

    /// What was kept.
    pub fn get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(host().state(key))
    }

    /// Keeps it; nothing is forgotten by time.
    pub fn set(key: &str, value: &[u8], _: Option<u32>) -> Result<(), StateError> {
        host()
            .seen
            .borrow_mut()
            .state
            .insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Forgets it.
    pub fn delete(key: &str) -> Result<(), StateError> {
        host().seen.borrow_mut().state.remove(key);
        Ok(())
    }
}

/// `dns`
pub mod dns {
    use super::{host, unanswered};
    pub use crate::bindings::lapwing::plugin::dns::{Answer, Reply};
    use crate::net::{Endpoint, Fault};

    /// The scripted answers, with a TTL of a minute.
    pub fn query(name: &str, rtype: &str, _: Option<&Endpoint>, _: u64) -> Result<Reply, Fault> {
        let host = host();
        host.called(format!("dns {name} {rtype}"));
        let Some(answer) = &host.dns else {
            return unanswered("DNS questions");
        };
        let answers = answer(name, rtype)?.into_iter().map(|data| Answer {
            name: name.to_owned(),
            ttl: 60,
            rtype: rtype.to_owned(),
            data,
        });
        Ok(Reply {
            rcode: 0,
            authoritative: false,
            answers: answers.collect(),
            elapsed: 1_000_000,
        })
    }
}

/// `http`
pub mod http {
    use super::{host, unanswered};
    pub use crate::bindings::lapwing::plugin::http::{HeaderValue, HttpRequest, HttpResponse};
    use crate::{
        bindings::lapwing::plugin::net_types::Timing,
        net::{Fault, Peer},
    };

    /// The scripted response, cut to what was asked for.
    pub fn send(request: &HttpRequest) -> Result<HttpResponse, Fault> {
        let host = host();
        host.called(format!("http {} {}", request.method, request.url));
        let Some(answer) = &host.http else {
            return unanswered("HTTP requests");
        };
        let mut reply = answer(request)?;
        let limit = usize::try_from(request.max_response_bytes).unwrap_or(usize::MAX);
        let truncated = reply.body.len() > limit;
        reply.body.truncate(limit);
        let headers = reply.headers.into_iter();
        Ok(HttpResponse {
            status: reply.status,
            version: "HTTP/1.1".to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.into_bytes()))
                .collect(),
            body: reply.body,
            truncated,
            final_url: request.url.clone(),
            peer: Peer {
                address: "192.0.2.1".to_owned(),
                port: 80,
            },
            timing: Timing {
                dns: None,
                connect: None,
                tls: None,
                first_byte: None,
                total: 1_000_000,
            },
            tls: None,
        })
    }
}
