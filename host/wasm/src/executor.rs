//! Runs one kind of a plugin behind the face that native kinds have too.

use crate::{
    abi::v1::{PluginPre, wit::types},
    cache::Hold,
    capability::convert::nanoseconds,
    custody::{Custody, Record},
    guest::{Errand, Guest, Network},
    ledger::Aside,
    memo,
    quarantine::Quarantine,
    reuse::{Place, Tenant},
    rights::{Rights, Sphere},
    run::Runner,
    schema::{self, Fit},
    slots::Line,
    stats::Stats,
    validate::Validation,
    verdict::{self, Conduct, Verdict},
};
use lapwing_checks::{
    BoxFuture, CheckError, Executor, KindInfo, ProbeContext,
    schema::{Fault, Schema},
};
use lapwing_model::{Heartbeat, Observation, Reason, Status, Task};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

/// So many faults of instances that had served before, and the kind's instances serve once only.
const TIRED: u32 = 5;
/// Tries beyond the first.
const RETRIES: u32 = 1;
/// Less time than this is not worth a second try.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// Longest wait for a plugin's state to be kept.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a monitor's state is kept after its last change.
const MEMO_TTL: Duration = Duration::from_hours(7 * 24);

/// A compiled plugin, shared by its kinds.
pub(crate) struct Program {
    pub(crate) name: Arc<str>,
    /// SHA-256 of its file, in hex.
    pub(crate) digest: Arc<str>,
    pub(crate) pre: Arc<PluginPre<Guest>>,
    /// Its own check of configurations, if it has one.
    pub(crate) validation: Option<Validation>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) record: Arc<Record>,
    pub(crate) line: Line,
    /// Runs one of its instances may serve.
    pub(crate) max_reuse: u32,
    pub(crate) stats: Arc<Stats>,
    /// Keeps its code in the cache.
    pub(crate) _code: Hold,
}

/// One kind of a plugin.
pub(crate) struct PluginExecutor {
    info: KindInfo,
    kind: Arc<str>,
    schema: Schema,
    sphere: Sphere,
    quarantine: Quarantine,
    /// Faults of instances that had served before.
    tired: AtomicU32,
    program: Arc<Program>,
}

/// What became of one run, and what was noted beside.
pub(crate) struct Attempt {
    pub(crate) verdict: Verdict,
    pub(crate) aside: Aside,
    /// Time waited for a free slot, and then for a processor.
    pub(crate) queued: Duration,
    /// Time from the start of the call to its end.
    pub(crate) elapsed: Duration,
}

impl Attempt {
    /// One that was never made, for this reason.
    pub(crate) fn never(error: CheckError) -> Self {
        Self {
            verdict: Verdict {
                result: Err(error),
                conduct: Conduct::Unseen,
            },
            aside: Aside::default(),
            queued: Duration::ZERO,
            elapsed: Duration::ZERO,
        }
    }
}

impl PluginExecutor {
    pub(crate) fn new(
        info: KindInfo,
        schema: Schema,
        sphere: Sphere,
        quarantine: Quarantine,
        program: Arc<Program>,
    ) -> Self {
        Self {
            kind: info.kind.as_str().into(),
            info,
            schema,
            sphere,
            quarantine,
            tired: AtomicU32::new(0),
            program,
        }
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// The configuration made fit, or every fault with its field.
    pub(crate) fn fit(&self, config: &str) -> Result<Fit, CheckError> {
        schema::fit(&self.schema, config)
    }

    /// What the plugin itself finds wrong with `config`; fields start with `root`.
    pub(crate) async fn review(
        &self,
        config: &Fit,
        root: &str,
        deadline: Instant,
    ) -> Result<Vec<Fault>, CheckError> {
        let program = &*self.program;
        let Some(validation) = program.validation else {
            return Ok(Vec::new());
        };
        let errand = Errand {
            plugin: program.name.clone(),
            kind: self.kind.clone(),
            monitor: String::new(),
            deadline: deadline.into_std(),
            cpu: program.runner.limits().cpu(),
            network: None,
            stats: program.stats.clone(),
            memory: program.runner.memory(),
        };
        let (pre, runner, line) = (&program.pre, &program.runner, &program.line);
        let shown = (&self.sphere.mask(&config.value), root);
        validation
            .ask(pre, runner, line, errand, config.text.clone(), shown)
            .await
    }

    /// The rights of a run with `config`, as they are granted now.
    pub(crate) fn rights(&self, config: &Fit, cx: &ProbeContext) -> Rights {
        let Program {
            name,
            digest,
            custody,
            record,
            ..
        } = &*self.program;
        Rights {
            plugin: name.clone(),
            needs: self.sphere.needs().clone(),
            held: custody.grants().held(name, digest),
            targets: self.sphere.targets(&config.value, &config.filled),
            named_secrets: self.sphere.named_secrets(&config.value),
            unmarked: self.sphere.unmarked().places(&config.value),
            mask: self.sphere.mask(&config.value),
            custody: custody.clone(),
            record: record.clone(),
            clock: cx.clock.clone(),
            traced: false,
        }
    }

    pub(crate) async fn attempt(
        &self,
        config: &Fit,
        cx: &ProbeContext,
        rights: Rights,
        retry: u32,
    ) -> Attempt {
        let tenant = self.tenant(config, &rights, cx, retry > 0);
        let errand = Errand {
            plugin: self.program.name.clone(),
            kind: self.kind.clone(),
            monitor: cx.task.monitor.id.clone(),
            deadline: cx.deadline.into_std(),
            cpu: self.program.runner.limits().cpu(),
            network: Some(Network {
                net: cx.net.clone(),
                worker: Handle::current(),
                queue: cx.queue.clone(),
                rights,
            }),
            stats: self.program.stats.clone(),
            memory: self.program.runner.memory(),
        };
        let (kind, config, task) = (self.kind.clone(), config.text.clone(), cx.task.clone());
        let attempt = task.attempt.saturating_add(retry);
        let budget = cx.remaining();
        let request = move |left| request(&kind, config, &task, attempt, left);
        let mut report = self
            .program
            .runner
            .check(&self.program.pre, &self.program.line, errand, tenant, request)
            .await;
        let aside = std::mem::take(&mut report.entries.aside);
        let (queued, elapsed) = (report.waited + report.queued, report.elapsed);
        let mut verdict = verdict::judge(report, budget);
        aside.mask.result(&mut verdict.result);
        Attempt {
            verdict,
            aside,
            queued,
            elapsed,
        }
    }

    /// For whom an instance may be kept after the run, and for how many runs in all. Not where somebody looks on: that
    /// is to show what a first run does.
    fn tenant(&self, config: &Fit, rights: &Rights, cx: &ProbeContext, anew: bool) -> Option<(Tenant, u32)> {
        let most = self.program.max_reuse;
        let queue = cx.queue.as_ref()?;
        let looked_at = rights.traced || cx.task.scheduled_at.is_none();
        let tired = self.tired.load(Relaxed) >= TIRED;
        (most > 1 && !looked_at && !tired).then(|| {
            let place = Place {
                digest: self.program.digest.clone(),
                kind: self.kind.clone(),
                queue: queue.clone(),
                monitor: cx.task.monitor.id.clone(),
            };
            let tenant = Tenant {
                place,
                config: blake3::hash(config.text.as_bytes()),
                held: rights.held.clone(),
                anew,
            };
            (tenant, most)
        })
    }

    /// Keeps what the guest wanted remembered of a monitor, if it was the `last` try and ended well, and counts. No verdict waits long
    /// for it, and none changes by it.
    async fn settle(&self, attempt: Attempt, cx: &ProbeContext, last: bool) -> Verdict {
        let Attempt {
            verdict,
            aside,
            elapsed,
            ..
        } = attempt;
        self.program.stats.ran(elapsed);
        let record = &self.program.record;
        let at_limit = verdict
            .result
            .as_ref()
            .is_err_and(|error| error.reason() == Reason::PluginLimit);
        record.runs.fetch_add(1, Relaxed);
        record
            .faults
            .fetch_add((verdict.conduct == Conduct::Fault).into(), Relaxed);
        record.refusals.fetch_add(aside.refusals, Relaxed);
        record.reused.fetch_add(aside.reused.into(), Relaxed);
        record
            .limits
            .fetch_add(aside.limits + u64::from(at_limit), Relaxed);
        let well = verdict.conduct == Conduct::Well && verdict.result.is_ok();
        let memo = aside.memo.and_then(Result::ok).and_then(|memo| memo.changes());
        if let (Some(queue), Some(memo), true) = (&cx.queue, memo, last && well) {
            let (plugin, monitor) = (&*self.program.name, &*cx.task.monitor.id);
            let (key, store) = (
                memo::key(queue, plugin, &self.kind, monitor),
                self.program.custody.state(),
            );
            let patience = COMMIT_TIMEOUT.min(cx.remaining());
            let failure = match timeout(patience, store.save(&key, memo, MEMO_TTL)).await {
                Ok(Ok(())) => return verdict,
                Ok(Err(why)) => why,
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(
                plugin,
                monitor.id = monitor,
                "a plugin's state was not kept: {failure}"
            );
        }
        verdict
    }

    /// An instance that had served before went wrong. Its run is tried again, which must not go on for ever.
    fn tire(&self) {
        if self.tired.fetch_add(1, Relaxed) + 1 == TIRED {
            let (plugin, kind) = (&*self.program.name, &*self.kind);
            tracing::warn!(
                plugin,
                check.kind = kind,
                "instances go wrong when they serve again; each serves once from now on (`max-reuse`)"
            );
        }
    }

    /// What to say of it while it rests.
    pub(crate) fn rest(&self) -> Option<String> {
        let seconds = self.quarantine.left()?.as_secs_f64();
        let (kind, faults) = (&self.info.kind, self.quarantine.faults());
        Some(format!(
            "kind `{kind}` rests for {seconds:.1} s more, after {faults} faults in a row"
        ))
    }

    fn resting(&self, left: Duration) -> CheckError {
        let (kind, faults, seconds) = (&self.info.kind, self.quarantine.faults(), left.as_secs_f64());
        CheckError::Plugin {
            reason: Reason::PluginQuarantined,
            message: format!(
                "kind `{kind}` is quarantined for {seconds:.1} s more, after {faults} faults in a row"
            ),
            retryable: false,
        }
    }
}

impl Executor for PluginExecutor {
    fn info(&self) -> &KindInfo {
        &self.info
    }

    fn review<'a>(
        &'a self,
        config: &'a str,
        root: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Fault>, CheckError>> {
        Box::pin(async move { self.review(&self.fit(config)?, root, deadline).await })
    }

    fn execute<'a>(
        &'a self,
        config: &'a str,
        cx: &'a ProbeContext,
    ) -> BoxFuture<'a, Result<Observation, CheckError>> {
        Box::pin(async move {
            let config = self.fit(config)?;
            let pass = self.quarantine.admit().map_err(|left| self.resting(left))?;
            let rights = self.rights(&config, cx);
            let mut retry = 0;
            let verdict = loop {
                let attempt = self.attempt(&config, cx, rights.clone(), retry).await;
                let (reused, conduct) = (attempt.aside.reused, attempt.verdict.conduct);
                let again = match conduct {
                    Conduct::Retry => true,
                    // What an instance has piled up is neither the target's fault nor this run's, and what it
                    // remembers is no evidence: bad news is heard from a fresh one.
                    Conduct::Fault => reused,
                    Conduct::Well => reused && is_bad_news(&attempt.verdict.result, &cx.task),
                    Conduct::Unseen => false,
                };
                if reused && conduct == Conduct::Fault {
                    self.tire();
                }
                let last = !again || retry == RETRIES || cx.remaining() <= RETRY_MIN;
                let verdict = self.settle(attempt, cx, last).await;
                if last {
                    break verdict;
                }
                retry += 1;
            };
            match verdict.conduct {
                Conduct::Well | Conduct::Retry => pass.well(),
                Conduct::Unseen => drop(pass),
                Conduct::Fault => {
                    if let Some(rest) = pass.fault() {
                        let (plugin, kind) = (&*self.program.name, &self.info.kind);
                        tracing::warn!(
                            plugin,
                            check.kind = kind,
                            ?rest,
                            "plugin quarantined after repeated faults"
                        );
                    }
                }
            }
            verdict.result
        })
    }
}

fn request(kind: &str, config: String, task: &Task, attempt: u32, left: Duration) -> types::Request {
    let due = task.scheduled_at.map_or(0, jiff::Timestamp::as_nanosecond);
    types::Request {
        check_type: kind.to_owned(),
        monitor_id: task.monitor.id.clone(),
        run_id: format!("{}:{due}:{attempt}", task.monitor.id),
        config,
        budget: nanoseconds(left),
        attempt,
        previous: task.last_heartbeat.as_ref().and_then(previous),
    }
}

/// Whether a result is worse than what is known of the target.
fn is_bad_news(result: &Result<Observation, CheckError>, task: &Task) -> bool {
    let known = task.last_heartbeat.as_ref().and_then(previous);
    match result {
        Ok(observation) => observation.status == Status::Down && known != Some(types::Status::Down),
        Err(_) => true,
    }
}

/// Peekaping's numbers; pending and maintenance say nothing of the target.
fn previous(heartbeat: &Heartbeat) -> Option<types::Status> {
    match heartbeat.status {
        0 => Some(types::Status::Down),
        1 => Some(types::Status::Up),
        _ => None,
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.runner.forget(&self.digest);
    }
}

impl fmt::Debug for PluginExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginExecutor")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
