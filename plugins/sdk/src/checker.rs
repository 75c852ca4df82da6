//! What a plugin's author implements: a [`Checker`] for each kind, and one [`export_checker!`](crate::export_checker)
//! line for all of them.

use crate::{Failure, Outcome, Status, sys::context};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// One kind of check.
///
/// [`Checker::check`] runs in a fresh instance each time, unless [`Checker::MAX_REUSE`] says otherwise: nothing survives
/// a run but what is kept in [`state`](crate::state).
pub trait Checker {
    /// The kind a monitor names: `^[a-z][a-z0-9-]{0,31}$`, unlike every native kind.
    const KIND: &'static str;
    /// Its name for people.
    const TITLE: &'static str;
    /// One line for people.
    const SUMMARY: &'static str;
    /// A configuration that fits the schema, as JSON text; shown to users and tried when the plugin is loaded.
    const EXAMPLE: &'static str;
    /// What the check needs of the host.
    const CAPABILITIES: &'static [Capability] = &[];
    /// JSON pointers into the configuration that hold secrets (`/password`).
    const SENSITIVE: &'static [&'static str] = &[];
    /// The schema of [`Checker::Config`] as text, where a plugin shall not carry the code that derives it (some 70 KB):
    /// `Some(include_str!("../schema.json"))`. A test with `harness::assert_schema` writes that file and keeps it true.
    const SCHEMA: Option<&'static str> = None;
    /// Runs that one instance may serve, if the operator allows it; 1 is a fresh instance for each. A plugin of several
    /// kinds serves the least of them.
    const MAX_REUSE: u32 = 1;
    /// Interval proposed to who sets up a monitor. Lapwing itself goes by what the monitor says, and shows this nowhere yet.
    const DEFAULT_INTERVAL: Option<Duration> = None;
    /// Timeout proposed so.
    const DEFAULT_TIMEOUT: Option<Duration> = None;

    /// The monitor's configuration. The host validates it against the schema of this type before every run; its
    /// doc comments become the schema's descriptions.
    type Config: DeserializeOwned + JsonSchema;

    /// One run against the target.
    ///
    /// A target that is down is `Ok` with [`Outcome::down`]. `?` on a [`NetError`](crate::NetError) ends the run as
    /// it should end: down, with the fitting reason, if the target caused it; as an error if the host refused.
    fn check(config: Self::Config, cx: &Context) -> Result<Outcome, Failure>;
}

/// Something a check needs of the host, for the operator to grant.
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// `net.tcp`, `net.http`, `net.udp`, `net.dns`, `secret` or `state`.
    pub name: &'static str,
    /// Host patterns, secret names; `{config.host}` stands for a value of the monitor's configuration.
    pub scope: &'static [&'static str],
    /// Whether the check also works without it; ask [`Context::granted`].
    pub optional: bool,
    /// Why, for the operator.
    pub reason: &'static str,
}

/// The run at hand.
#[derive(Debug, Clone)]
pub struct Context {
    /// Opaque stable id of the monitor, for logs.
    pub monitor_id: String,
    /// Opaque id of the run, for logs.
    pub run_id: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// The status of the run before, if there was one and it is known.
    pub previous: Option<Status>,
    /// The time the run had when it began.
    pub budget: Duration,
}

impl Context {
    /// Time left before the host ends the run. Every network call of this SDK minds it already.
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(context::remaining())
    }

    /// Whether an optional capability was granted.
    pub fn granted(&self, capability: &str) -> bool {
        context::granted(capability)
    }
}
