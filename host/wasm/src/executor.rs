//! Runs one kind of a plugin behind the face that native kinds have too.

use crate::{
    abi::v1::{PluginPre, wit::types},
    capability::convert::nanoseconds,
    guest::{Errand, Guest, Network},
    quarantine::Quarantine,
    run::Runner,
    schema,
    verdict::{self, Conduct, Verdict},
};
use lapwing_checks::{BoxFuture, CheckError, Executor, KindInfo, ProbeContext, schema::Schema};
use lapwing_model::{Heartbeat, Observation, Reason, Task};
use std::{fmt, sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// Less time than this is not worth a second try.
const RETRY_MIN: Duration = Duration::from_millis(20);

/// A compiled plugin, shared by its kinds.
pub(crate) struct Program {
    pub(crate) name: Arc<str>,
    pub(crate) pre: Arc<PluginPre<Guest>>,
    pub(crate) runner: Arc<Runner>,
}

/// One kind of a plugin.
pub(crate) struct PluginExecutor {
    info: KindInfo,
    kind: Arc<str>,
    schema: Schema,
    quarantine: Quarantine,
    program: Arc<Program>,
}

impl PluginExecutor {
    pub(crate) fn new(info: KindInfo, schema: Schema, quarantine: Quarantine, program: Arc<Program>) -> Self {
        Self {
            kind: info.kind.as_str().into(),
            info,
            schema,
            quarantine,
            program,
        }
    }

    async fn attempt(&self, config: &str, cx: &ProbeContext, retry: u32) -> Verdict {
        let errand = Errand {
            plugin: self.program.name.clone(),
            kind: self.kind.clone(),
            monitor: cx.task.monitor.id.clone(),
            deadline: cx.deadline.into_std(),
            cpu: self.program.runner.limits().cpu(),
            network: Some(Network {
                net: cx.net.clone(),
                worker: Handle::current(),
            }),
        };
        let (kind, config, task) = (self.kind.clone(), config.to_owned(), cx.task.clone());
        let attempt = task.attempt.saturating_add(retry);
        let budget = cx.remaining();
        let request = move |left| request(&kind, config, &task, attempt, left);
        let report = self
            .program
            .runner
            .check(&self.program.pre, errand, request)
            .await;
        verdict::judge(report, budget)
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

    fn execute<'a>(
        &'a self,
        config: &'a str,
        cx: &'a ProbeContext,
    ) -> BoxFuture<'a, Result<Observation, CheckError>> {
        Box::pin(async move {
            let config = schema::fit(&self.schema, config)?;
            let pass = self.quarantine.admit().map_err(|left| self.resting(left))?;
            let mut verdict = self.attempt(&config, cx, 0).await;
            if verdict.conduct == Conduct::Retry && cx.remaining() > RETRY_MIN {
                verdict = self.attempt(&config, cx, 1).await;
            }
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

/// Peekaping's numbers; pending and maintenance say nothing of the target.
fn previous(heartbeat: &Heartbeat) -> Option<types::Status> {
    match heartbeat.status {
        0 => Some(types::Status::Down),
        1 => Some(types::Status::Up),
        _ => None,
    }
}

impl fmt::Debug for PluginExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginExecutor")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
