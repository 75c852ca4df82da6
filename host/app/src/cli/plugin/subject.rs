//! One plugin file by itself, to be tried out: it need not be in the folder, and nothing of the folder is loaded.
//!
//! Used by `lapwing plugin test`, `conformance` and `bench`.

use super::retarget::retarget;
use crate::{
    admin::checks::adhoc,
    cli::{Usage, present},
    console::one_line,
    producer,
};
use anyhow::bail;
use jiff::Timestamp;
use lapwing_checks::{CheckError, Executor, KindInfo, Net, ProbeContext};
use lapwing_model::{CheckResult, Clock, Observation, SystemClock, WorkerIdentity};
use lapwing_wasm::{Plugin, PluginHost, PluginReport};
use serde_json::{Map, Value};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::time::Instant;

/// The kinds of one file.
pub(crate) struct Subject {
    /// What loading it showed.
    pub(crate) report: PluginReport,
    /// The plugin.
    pub(crate) plugin: Arc<Plugin>,
    /// Its kinds, in its own order.
    pub(crate) kinds: Vec<Arc<dyn Executor>>,
}

impl Subject {
    /// Loads `file`; `Err` says why it is no plugin that could serve.
    pub(crate) async fn load(file: &Path, host: &PluginHost) -> anyhow::Result<Self> {
        present(file)?;
        let report = host.load_file(file).await;
        let Some(plugin) = report.plugin().cloned() else {
            bail!(
                "`{}`: {}",
                file.display(),
                report.failure().unwrap_or("not a plugin")
            );
        };
        Ok(Self {
            kinds: plugin.executors().collect(),
            plugin,
            report,
        })
    }

    /// The kind of that name, or the only one.
    pub(crate) fn kind(&self, wanted: Option<&str>) -> anyhow::Result<&Arc<dyn Executor>> {
        let names = || {
            let names: Vec<_> = self
                .kinds
                .iter()
                .map(|kind| format!("`{}`", kind.info().kind))
                .collect();
            names.join(", ")
        };
        let why = match (wanted, self.kinds.as_slice()) {
            (Some(wanted), kinds) => match kinds.iter().find(|kind| kind.info().kind == wanted) {
                Some(found) => return Ok(found),
                None => format!("it has no kind `{wanted}`"),
            },
            (None, [only]) => return Ok(only),
            (None, _) => "it has several kinds".to_owned(),
        };
        Err(Usage::says(format!("{why}; name one of {} with --kind", names())))
    }
}

/// A configuration is unfit for `kind`: what is wrong with it, and one that would fit.
pub(crate) fn unfit(kind: &KindInfo, message: &str) -> anyhow::Error {
    let example = kind.example.as_ref().map_or_else(String::new, |example| {
        format!("; for example --config '{example}'")
    });
    Usage::says(one_line(&format!("{message}{example}")))
}

/// The configuration a plugin gives as an example, pointed at `address`, and how many fields that changed.
pub(crate) fn pointed(kind: &Arc<dyn Executor>, address: SocketAddr) -> (Map<String, Value>, usize) {
    let example = kind.info().example.as_ref().and_then(Value::as_object);
    retarget(
        &kind.info().schema,
        &example.cloned().unwrap_or_default(),
        address,
    )
}

/// One run for nobody's monitor, begun.
pub(crate) struct Run {
    /// What the run may use.
    pub(crate) cx: ProbeContext,
    started: Timestamp,
}

impl Run {
    /// With all of `timeout` from now.
    pub(crate) fn new(kind: &KindInfo, config: Map<String, Value>, net: Net, timeout: Duration) -> Self {
        let clock = Arc::new(SystemClock);
        Self {
            started: clock.now(),
            cx: ProbeContext {
                task: Arc::new(producer::task(&adhoc(&kind.kind, config, timeout), &*clock)),
                deadline: Instant::now() + timeout,
                net,
                clock,
            },
        }
    }

    /// As JSON.
    pub(crate) fn config(&self) -> &str {
        &self.cx.task.monitor.config
    }

    /// What was seen, as a result.
    pub(crate) fn result(&self, observation: Observation) -> CheckResult {
        let nobody = WorkerIdentity {
            name: "lapwing plugin".to_owned(),
            region: None,
        };
        CheckResult::new(
            &self.cx.task,
            &nobody,
            self.started,
            self.cx.clock.now(),
            observation,
        )
    }
}

/// Runs `kind` once, as the worker would. Ends at most shortly after `timeout`.
pub(crate) async fn run(
    kind: &Arc<dyn Executor>,
    config: Map<String, Value>,
    net: Net,
    timeout: Duration,
) -> CheckResult {
    let run = Run::new(kind.info(), config, net, timeout);
    let outcome = kind.execute(run.config(), &run.cx).await;
    run.result(outcome.unwrap_or_else(CheckError::into_observation))
}
