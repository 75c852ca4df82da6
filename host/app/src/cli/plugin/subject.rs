//! One plugin file by itself, to be tried out: it need not be in the folder, and nothing of the folder is loaded.
//!
//! Used by `lapwing plugin test`, `conformance` and `bench`.

use crate::{
    admin::checks::adhoc,
    cli::{Usage, present},
    console::{self, one_line},
    kinds::native_kinds,
    producer,
};
use anyhow::bail;
use jiff::Timestamp;
use lapwing_checks::{CheckError, Executor, KindInfo, Net, ProbeContext, text::nearest};
use lapwing_model::{CheckResult, Clock, Observation, SystemClock, WorkerIdentity};
use lapwing_wasm::{Approval, Plugin, PluginHost, PluginReport, assess};
use serde_json::{Map, Value};
use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};
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
    /// Loads `file`, as [`load`] does; `Err` says why it is no plugin that could serve.
    pub(crate) async fn load(file: &Path, host: &PluginHost, note: bool) -> anyhow::Result<Self> {
        present(file)?;
        let report = load(file, host, note).await;
        if !is_wasm(file) {
            let why = report.failure().unwrap_or("not WebAssembly");
            return Err(Usage::says(format!("`{}`: {why}", file.display())));
        }
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

    /// What to say of a plugin that runs here, and would not (or in vain) in a folder.
    pub(crate) fn hints(&self, host: &PluginHost) -> anyhow::Result<Vec<String>> {
        let clash = self.plugin.register(&mut native_kinds()?).err();
        let clash = clash.map(|clash| format!("a plugin folder would refuse it: {clash}"));
        let warnings = self.report.about.iter().flat_map(|about| about.warnings.clone());
        let hints = clash
            .into_iter()
            .chain(self.waits(host))
            .chain(self.misspelt_grant(host))
            .chain(warnings);
        Ok(hints.map(|hint| one_line(&hint)).collect())
    }

    /// What to say where the settings file has grants for a plugin of nearly this name.
    fn misspelt_grant(&self, host: &PluginHost) -> Option<String> {
        let grants = host.custody().grants();
        let (name, near) = (&self.report.name, nearest(&self.report.name, grants.names())?);
        (near != name).then(|| format!("`plugins.grants` has `{near}`; this plugin is `{name}`"))
    }

    /// What to say of a plugin that asks for more than the settings file grants: in a folder it would not serve.
    fn waits(&self, host: &PluginHost) -> Option<String> {
        let (name, about) = (&self.report.name, self.report.about.as_ref()?);
        let granted = host.custody().grants().of(name, self.report.digest.as_deref()?);
        let pending = assess(name, &about.capabilities, &granted) != Approval::Granted;
        let file = self.report.path.display();
        pending.then(|| {
            format!(
                "in a plugin folder `{name}` would wait for approval; `lapwing plugin inspect {file}` says for what"
            )
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

/// Whether it begins as WebAssembly does; what cannot be read is told elsewhere.
fn is_wasm(file: &Path) -> bool {
    let mut head = [0; 4];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut head));
    read.map_or_else(
        |error| error.kind() != ErrorKind::UnexpectedEof,
        |()| head == *b"\0asm",
    )
}

/// Loads `file`; where it must be compiled, `note` has it told on standard error.
pub(crate) async fn load(file: &Path, host: &PluginHost, note: bool) -> PluginReport {
    let slow = || {
        if note {
            console::note(&format!("compiling {} …", file.display()));
        }
    };
    console::patiently(host.load_file(file), slow).await
}

/// A configuration is unfit for `kind`: what is wrong with it, and one that would fit.
pub(crate) fn unfit(kind: &KindInfo, message: &str) -> anyhow::Error {
    let example = kind.example.as_ref().map_or_else(String::new, |example| {
        format!("; for example --config '{example}'")
    });
    Usage::says(one_line(&format!("{message}{example}")))
}

/// The configuration a plugin gives as an example.
pub(crate) fn example(kind: &KindInfo) -> Map<String, Value> {
    let example = kind.example.as_ref().and_then(Value::as_object);
    example.cloned().unwrap_or_default()
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
                queue: None,
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
