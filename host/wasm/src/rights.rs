//! What a run may use beyond its own memory and time: what its kind asks for, what the operator grants, and what the
//! monitor is about, held together.
//!
//! The network itself is judged in one place, [`lapwing_checks::Net`]; here is what it is judged by.

mod asked;
mod assess;
mod grant;
mod needs;
mod run;
mod secrets;
mod target;
mod unmarked;

pub use asked::{asked, grantable};
pub(crate) use assess::setting;
pub use assess::{Approval, assess, diff};
pub(crate) use grant::Held;
pub use grant::{Grant, Grants};
pub(crate) use needs::{Needs, placeholders};
pub(crate) use run::{Rights, Sphere};
pub(crate) use secrets::SecretFault;
pub use secrets::{SecretSource, Secrets};
pub(crate) use target::Map;
pub(crate) use unmarked::Unmarked;

use std::fmt;

/// A right a plugin can declare, by the name it has in the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// `net.http`: the `http` interface.
    Http,
    /// `net.tcp`: the `tcp` interface.
    Tcp,
    /// `net.udp`: the `udp` interface.
    Udp,
    /// `net.dns`: the `dns` interface.
    Dns,
    /// `net.wasi-http`: WASI's own HTTP.
    WasiHttp,
    /// `net.wasi-sockets`: WASI's own sockets and name look-ups.
    WasiSockets,
    /// `secret`: named secrets.
    Secret,
    /// `state`: the memo between runs of one monitor.
    State,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 8] = [
        Self::Http,
        Self::Tcp,
        Self::Udp,
        Self::Dns,
        Self::WasiHttp,
        Self::WasiSockets,
        Self::Secret,
        Self::State,
    ];

    /// The name in the interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "net.http",
            Self::Tcp => "net.tcp",
            Self::Udp => "net.udp",
            Self::Dns => "net.dns",
            Self::WasiHttp => "net.wasi-http",
            Self::WasiSockets => "net.wasi-sockets",
            Self::Secret => "secret",
            Self::State => "state",
        }
    }

    /// Whether it is one to use the network by.
    pub(crate) fn is_network(self) -> bool {
        !matches!(self, Self::Secret | Self::State)
    }

    /// The right of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == name)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
