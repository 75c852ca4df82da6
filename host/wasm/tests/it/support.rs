//! What the tests share: a small host, the fixtures, and one run of one kind.

use lapwing_checks::{CheckError, Executor, Net, ProbeContext, Registry, net::EgressPolicy};
use lapwing_model::{Monitor, Observation, Reason, SystemClock, Task};
use lapwing_wasm::{CompileSettings, PluginHost, PluginReport, PluginSettings, Usage};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

pub(crate) type Probed = Result<Observation, CheckError>;

/// Long enough for any run that ends by itself, on a busy machine.
pub(crate) const PLENTY: Duration = Duration::from_secs(20);

/// Settings of a small host, so that many of them fit on one machine.
pub(crate) fn small() -> PluginSettings {
    PluginSettings {
        threads: 2,
        concurrent_runs: 16,
        cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")),
        compile: compile(),
        ..PluginSettings::default()
    }
}

/// Compiles with the small program that this crate has for its tests.
pub(crate) fn compile() -> CompileSettings {
    CompileSettings {
        program: Some(env!("CARGO_BIN_EXE_lapwing-compile").into()),
        ..CompileSettings::default()
    }
}

pub(crate) fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist")
}

/// A component that exports an empty checker, and has `inside`.
pub(crate) fn checker(inside: &str) -> String {
    format!(r#"(component {inside} (instance $c) (export "lapwing:plugin/checker@1.0.0" (instance $c)))"#)
}

/// A file of the component that this text describes.
pub(crate) fn wasm(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    std::fs::write(file.path(), wat::parse_str(text).unwrap()).unwrap();
    file
}

/// A program of these lines of shell.
pub(crate) fn script(folder: &Path, lines: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("program");
    // Written by another process: one that is forked meanwhile would hold it open for writing ("text file busy").
    let draft = folder.join("program.draft");
    std::fs::write(&draft, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o700)).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-p")
        .arg(&draft)
        .arg(&path)
        .status();
    assert!(copied.unwrap().success());
    path
}

/// A built fixture.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let path = dist().join("fixtures").join(name).with_extension("wasm");
    assert!(
        path.is_file(),
        "`{}` is missing; run `just build-plugins`",
        path.display()
    );
    path
}

/// A host with one fixture loaded and registered.
pub(crate) struct Bench {
    pub(crate) host: Arc<PluginHost>,
    pub(crate) registry: Registry,
    pub(crate) kind: String,
}

impl Bench {
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, small()).await
    }

    pub(crate) async fn with(name: &str, settings: PluginSettings) -> Self {
        Self::of(&fixture(name), settings).await
    }

    /// With any plugin file.
    pub(crate) async fn of(path: &Path, settings: PluginSettings) -> Self {
        let host = PluginHost::new(settings).unwrap();
        let mut registry = Registry::default();
        let kind = add(&host, &mut registry, path).await;
        Self { host, registry, kind }
    }

    pub(crate) fn executor(&self) -> &Arc<dyn Executor> {
        self.registry.executor(&self.kind).unwrap()
    }

    pub(crate) async fn run(&self, config: &str, budget: Duration) -> Probed {
        self.executor().execute(config, &context(budget)).await
    }
}

/// Loads a file that must load, registers it, and gives the first kind's name.
pub(crate) async fn add(host: &PluginHost, registry: &mut Registry, path: &Path) -> String {
    let mut report = host.load_file(path).await;
    report.register(registry);
    assert_eq!(report.failure(), None, "{}", path.display());
    report.kinds[0].clone()
}

/// One run of a fixture with the default limits.
pub(crate) async fn run(name: &str, config: &str, budget: Duration) -> Probed {
    Bench::new(name).await.run(config, budget).await
}

pub(crate) fn context(budget: Duration) -> ProbeContext {
    context_of("monitor-1", budget)
}

/// A run of that monitor.
pub(crate) fn context_of(monitor: &str, budget: Duration) -> ProbeContext {
    context_on(Net::new(EgressPolicy::default()), monitor, budget)
}

/// The same, on a network that is there already: making one reads every trust root of the machine, milliseconds of work.
pub(crate) fn context_on(net: Net, monitor: &str, budget: Duration) -> ProbeContext {
    let monitor = Monitor {
        id: monitor.into(),
        name: "A monitor".into(),
        kind: "fixture".into(),
        interval: Duration::from_secs(60),
        timeout: budget,
        max_retries: 0,
        retry_interval: Duration::ZERO,
        resend_interval: 0,
        config: String::new(),
    };
    let task = Task {
        monitor,
        scheduled_at: Some("2026-04-11T08:15:00Z".parse().unwrap()),
        attempt: 1,
        under_maintenance: false,
        check_cert_expiry: false,
        proxy: None,
        last_heartbeat: None,
        nameless: false,
    };
    ProbeContext {
        task: Arc::new(task),
        queue: Some("checks".into()),
        deadline: Instant::now() + budget,
        net,
        clock: Arc::new(SystemClock),
    }
}

/// The reason of a run that must not have a verdict on its target.
pub(crate) fn unknown(probed: Probed) -> (Reason, String) {
    let observation = probed.unwrap_or_else(CheckError::into_observation);
    assert_eq!(
        observation.status,
        lapwing_model::Status::Unknown,
        "{observation:?}"
    );
    (observation.reason.unwrap(), observation.message)
}

/// Why a file was refused.
pub(crate) fn refused(report: &PluginReport) -> &str {
    report
        .failure()
        .unwrap_or_else(|| panic!("{} was not refused", report.path.display()))
}

/// Waits until a host holds nothing for any run: no store but those that are kept, no slot, nobody waiting.
pub(crate) async fn at_rest(host: &PluginHost) {
    let rest = |usage: Usage| Usage {
        live_stores: usage.kept,
        slots_used: 0,
        waiting: 0,
        ..usage
    };
    eventually("the host is at rest", async || host.usage() == rest(host.usage())).await;
}

/// Waits until `condition` holds, for at most twenty seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < limit, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
