//! `lapwing plugin bench FILE`: what a run costs on this machine.

use super::{
    retarget::retarget,
    subject::{self, Subject},
};
use crate::{
    cli::{Exit, OneCheck, check},
    config::{Config, Environment},
    console,
    role::{self, Role},
};
use clap::Args;
use lapwing_checks::{Executor, Net, net::EgressPolicy};
use lapwing_model::Reason;
use serde::Serialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// `lapwing plugin bench`
#[derive(Debug, Args)]
#[command(after_help = "\
Without --config the kind's own example is run without any network: the cost of the plugin up to its first call.
With --config the target is probed for real, again and again: it should be your own.

Exits 2 when no run came to a verdict.

Examples:
  lapwing plugin bench ./my-check.wasm
  lapwing plugin bench ./my-check.wasm --config '{\"host\": \"127.0.0.1\", \"port\": 8025}' --runs 500 --at-once 8")]
pub(crate) struct BenchArgs {
    /// A component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which kind of it, if it has several
    #[arg(long)]
    kind: Option<String>,
    /// Its configuration: JSON, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON|@FILE")]
    config: Option<String>,
    /// How many runs to measure
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// How many of them at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=512))]
    at_once: u32,
    /// Time each run may take
    #[arg(long, value_name = "TIME", value_parser = crate::cli::timeout, default_value = "5s")]
    timeout: Duration,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    around: OneCheck,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Figures {
    kind: String,
    size_bytes: u64,
    load_ms: f64,
    start_memory_kib: u64,
    runs: usize,
    at_once: u32,
    p50_us: u128,
    p99_us: u128,
    longest_us: u128,
    runs_per_second: f64,
    /// Processor time of this process for each run: plugin and host.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_per_run: Option<f64>,
    /// How the runs ended.
    endings: BTreeMap<String, usize>,
}

/// Runs it.
pub(crate) fn main(args: &BenchArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let mut config = Config::load(&args.around.shared("error"), environment)?;
    config.start_logging();
    let given = args.config.as_deref().map(check::read).transpose()?;
    config.plugin_settings.quarantine.faults = 1000;
    role::block_on(async {
        let begun = Instant::now();
        let host = Role::host(&config)?;
        let subject = Subject::load(&args.file, &host, !args.json).await?;
        host.custody().set_secrets(config.secrets);
        let loaded = begun.elapsed();
        let kind = subject.kind(args.kind.as_deref())?;
        let net = if let Some(given) = &given {
            let net = Net::new(config.network);
            let first = subject::run(kind, given.clone(), net.clone(), args.timeout).await;
            if first.observation.reason == Some(Reason::InvalidConfig) {
                return Err(subject::unfit(kind.info(), &first.observation.message));
            }
            net
        } else {
            nothing()?
        };
        let probe = Probe {
            kind: kind.clone(),
            // An address, so that no name is looked up.
            config: given.unwrap_or_else(|| {
                let info = kind.info();
                retarget(&info.schema, &subject::example(info), ([127, 0, 0, 1], 9).into()).0
            }),
            net,
            timeout: args.timeout,
        };
        // Caches warm, pages mapped.
        probe.clone().run(args.runs.min(20)).await;
        let figures = measure(&probe, args, &subject, loaded).await;
        console::line(&if args.json {
            serde_json::to_string_pretty(&figures)?
        } else {
            figures.table()
        });
        Ok(if figures.told() { Exit::Up } else { Exit::Unknown })
    })
}

/// A network that leads nowhere.
fn nothing() -> anyhow::Result<Net> {
    let deny = vec!["0.0.0.0/0".parse()?, "::/0".parse()?];
    Ok(Net::new(EgressPolicy {
        deny,
        ..EgressPolicy::default()
    }))
}

/// One run, to be repeated.
#[derive(Clone)]
struct Probe {
    kind: Arc<dyn Executor>,
    config: Map<String, Value>,
    net: Net,
    timeout: Duration,
}

impl Probe {
    /// `times` runs, one after the other: how long each took, and how it ended.
    async fn run(self, times: u32) -> Vec<(Duration, String)> {
        let mut runs = Vec::new();
        for _ in 0..times {
            let begun = Instant::now();
            let result = subject::run(&self.kind, self.config.clone(), self.net.clone(), self.timeout).await;
            let took = begun.elapsed();
            let reason = result.observation.reason.as_ref().map_or("", Reason::as_str);
            runs.push((
                took,
                format!("{} {reason}", result.observation.status)
                    .trim()
                    .to_owned(),
            ));
        }
        runs
    }
}

async fn measure(probe: &Probe, args: &BenchArgs, subject: &Subject, loaded: Duration) -> Figures {
    let (begun, cpu) = (Instant::now(), processor_time());
    let mut lanes = JoinSet::new();
    for lane in 0..args.at_once {
        let share = args.runs / args.at_once + u32::from(lane < args.runs % args.at_once);
        lanes.spawn(probe.clone().run(share));
    }
    let runs: Vec<_> = lanes.join_all().await.into_iter().flatten().collect();
    let (took, cpu) = (
        begun.elapsed(),
        processor_time()
            .zip(cpu)
            .map(|(now, then)| now.saturating_sub(then)),
    );
    let mut endings = BTreeMap::new();
    for (_, ending) in &runs {
        *endings.entry(ending.clone()).or_default() += 1;
    }
    let mut times: Vec<_> = runs.iter().map(|(took, _)| took.as_micros()).collect();
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
            .copied()
    };
    let each = f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX).max(1));
    Figures {
        kind: probe.kind.info().kind.clone(),
        size_bytes: subject.report.size_bytes.unwrap_or(0),
        load_ms: loaded.as_secs_f64() * 1000.0,
        start_memory_kib: subject.report.about.as_ref().map_or(0, |about| about.memory_kib),
        runs: times.len(),
        at_once: args.at_once,
        p50_us: at(50).unwrap_or(0),
        p99_us: at(99).unwrap_or(0),
        longest_us: at(100).unwrap_or(0),
        runs_per_second: each / took.as_secs_f64().max(1e-9),
        cpu_us_per_run: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / each),
        endings,
    }
}

/// Of all threads of this process.
fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(
        time.tv_sec.try_into().ok()?,
        time.tv_nsec.try_into().ok()?,
    ))
}

impl Figures {
    /// Whether any run came to a verdict, or, without a network, as far as its first call.
    fn told(&self) -> bool {
        let none = |ending: &&String| ending.starts_with("unknown") && *ending != "unknown denied_by_policy";
        self.endings.keys().any(|ending| !none(&ending))
    }

    fn table(&self) -> String {
        let mut lines = vec![
            format!(
                "kind      {}  ({} KiB, loaded in {:.0} ms)",
                self.kind,
                self.size_bytes / 1024,
                self.load_ms
            ),
            format!("memory    {} KiB at the start of a run", self.start_memory_kib),
            format!(
                "runs      {}, {} at once: {:.0} a second",
                self.runs, self.at_once, self.runs_per_second
            ),
            format!(
                "time      p50 {} µs, p99 {} µs, longest {} µs",
                self.p50_us, self.p99_us, self.longest_us
            ),
        ];
        if let Some(cpu) = self.cpu_us_per_run {
            lines.push(format!("cpu       {cpu:.0} µs a run, of plugin and host"));
        }
        let endings: Vec<_> = self
            .endings
            .iter()
            .map(|(ending, count)| format!("{count} {ending}"))
            .collect();
        lines.push(format!("endings   {}", endings.join(", ")));
        if cfg!(debug_assertions) {
            lines.push("(debug build: figures mean little)".to_owned());
        }
        lines.join("\n")
    }
}
