//! One plugin file by itself, to be tried out: it need not be in the folder, and nothing of the folder is loaded.
//!
//! Used by `lapwing plugin test`, `conformance` and `bench`.

use super::retarget::retarget;
use crate::{admin::checks::adhoc, producer};
use anyhow::{Context, bail};
use lapwing_checks::{CheckError, Executor, Net, ProbeContext};
use lapwing_model::{CheckResult, Clock, SystemClock, WorkerIdentity};
use lapwing_wasm::{Plugin, PluginHost, PluginReport, PluginSettings};
use serde_json::{Map, Value};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::time::Instant;

/// The kinds of one file.
pub(crate) struct Subject {
    /// What loading it showed.
    pub(crate) report: PluginReport,
    /// Its kinds, in its own order.
    pub(crate) kinds: Vec<Arc<dyn Executor>>,
    /// Keeps the engine alive.
    _host: Arc<PluginHost>,
}

impl Subject {
    /// Loads `file`; `Err` says why it is no plugin that could serve.
    pub(crate) async fn load(file: &Path, settings: PluginSettings) -> anyhow::Result<Self> {
        let host = PluginHost::new(settings)?;
        let report = host.load_file(file).await;
        let Some(plugin) = report.plugin() else {
            bail!(
                "`{}`: {}",
                file.display(),
                report.failure().unwrap_or("not a plugin")
            );
        };
        Ok(Self {
            kinds: Plugin::executors(plugin).collect(),
            report,
            _host: host,
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
        match (wanted, self.kinds.as_slice()) {
            (Some(wanted), kinds) => {
                let found = kinds.iter().find(|kind| kind.info().kind == wanted);
                found.with_context(|| {
                    format!("it has no kind `{wanted}`; name one of {} with --kind", names())
                })
            }
            (None, [only]) => Ok(only),
            (None, _) => bail!("it has several kinds; name one of {} with --kind", names()),
        }
    }
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

/// Runs `kind` once, as the worker would. Ends at most shortly after `timeout`.
pub(crate) async fn run(
    kind: &Arc<dyn Executor>,
    config: Map<String, Value>,
    net: Net,
    timeout: Duration,
) -> CheckResult {
    let clock = Arc::new(SystemClock);
    let task = Arc::new(producer::task(
        &adhoc(&kind.info().kind, config, timeout),
        &*clock,
    ));
    let cx = ProbeContext {
        task: task.clone(),
        deadline: Instant::now() + timeout,
        net,
        clock: clock.clone(),
    };
    let started = clock.now();
    let outcome = kind.execute(&task.monitor.config, &cx).await;
    let observation = outcome.unwrap_or_else(CheckError::into_observation);
    let nobody = WorkerIdentity {
        name: "lapwing plugin".to_owned(),
        region: None,
    };
    CheckResult::new(&task, &nobody, started, clock.now(), observation)
}
