//! Thousands of runs, a tenth of them hostile, beside native checks and reloads: afterwards the host is as it was.
//!
//! In a process of its own, because it looks at that process' memory and descriptors. `just storm` makes it a hundred
//! thousand runs and prints what it saw; as a test it is small.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails where it stands; this one also reports, and is told its size from outside"
)]

#[path = "it/support.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod support;

use lapwing_checks::{Executor, Net, ProbeContext, Registry, native, net::EgressPolicy};
use lapwing_model::Status;
use lapwing_wasm::{PluginHost, PluginSettings, QuarantineSettings, RunLimits};
use std::{
    fs,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use support::{PLENTY, add, at_rest, context_on, eventually, fixture, small};
use tikv_jemallocator::Jemalloc;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::Instant};

/// As in `lapwing`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Misdeeds and their configurations; each ends as `unknown`, whatever it tries.
const HOSTILE: [(&str, &str); 9] = [
    ("trap", "{}"),
    ("panicking", "{}"),
    ("exit", "{}"),
    ("stack_overflow", "{}"),
    ("eat_memory", "{}"),
    ("spin", "{}"),
    ("flood_calls", "{}"),
    ("hoarder", r#"{"of":"timers","count":100000}"#),
    ("sleep_then_up", r#"{"sleep_ms":60000}"#),
];
/// More of them, which end in other ways; where there is a target it takes connections and says nothing.
const ODD: [(&str, &str); 9] = [
    ("hoarder", r#"{"of":"random","count":67108864}"#),
    ("flood_output", "{}"),
    ("flood_stderr", "{}"),
    ("flood_log", "{}"),
    ("wild_outcome", "{}"),
    ("wasi_misuse", r#"{"misuse":"pollables"}"#),
    ("slow_target", TARGET),
    ("flood_handles", TARGET),
    ("keeper", r#"{"act":"answer"}"#),
];
const TARGET: &str = r#"{"host":"127.0.0.1","port":0}"#;
/// What a hostile run has.
const BUDGET: Duration = Duration::from_millis(250);
/// Monitors whose instances serve again.
const MONITORS: usize = 100;
/// The storm comes in so many parts, with the resident size looked at after each.
const LAPS: usize = 10;
/// Runs under way at a time.
const AT_ONCE: usize = 64;
/// What the pool may keep: 64 free slots, each with 96 KiB of what ran there last.
const WARM: u64 = 64 * (96 << 10);
/// And room for what is allocated once, where the storm is too small to have done so before.
const FIRST: u64 = 64 << 20;

/// One for all, as a worker has it.
static NET: LazyLock<Net> = LazyLock::new(|| Net::new(EgressPolicy::default()));

fn context(monitor: usize, budget: Duration) -> ProbeContext {
    context_on(NET.clone(), &format!("monitor-{monitor}"), budget)
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn resident() -> u64 {
    let pages: u64 = fs::read_to_string("/proc/self/statm")
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    pages * 4096
}

/// The resident size once it falls no more: what was freed goes back to the system a moment later (`jemalloc`'s decay).
async fn settled() -> u64 {
    let mut least = resident();
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = resident();
        if now < least - least / 200 {
            (least, since) = (now, Instant::now());
        }
    }
    resident()
}

/// What is open, without the numbers and digests in its names; sorted. Compiled code left out: a free slot of the pool
/// stays mapped to what it last ran, which may have been replaced since. There are 64 such slots at most.
fn descriptors() -> Vec<String> {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    let mut names: Vec<_> = links
        .filter_map(|link| fs::read_link(link.unwrap().path()).ok())
        .filter(|name| name.extension().is_none_or(|extension| extension != "cwasm"))
        .map(|name| {
            name.to_string_lossy()
                .replace(|c: char| c.is_ascii_hexdigit(), "")
        })
        .collect();
    names.sort();
    names
}

/// One plugin, replaced again and again while it runs.
struct Changing {
    host: Arc<PluginHost>,
    good: Vec<u8>,
    serving: Mutex<Arc<dyn Executor>>,
}

impl Changing {
    async fn new(host: &Arc<PluginHost>) -> Self {
        let good = fs::read(fixture("echo")).unwrap();
        let mut registry = Registry::default();
        let kind = add(host, &mut registry, &fixture("echo")).await;
        Self {
            host: host.clone(),
            good,
            serving: Mutex::new(registry.executor(&kind).unwrap().clone()),
        }
    }

    /// The same code under another digest: a custom section (id 0) with a name of eight bytes is added.
    async fn reload(&self, version: usize) {
        let file = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
        let section = [&[0, 9, 8][..], format!("{version:08}").as_bytes()].concat();
        fs::write(file.path(), [&self.good[..], &section].concat()).unwrap();
        let mut registry = Registry::default();
        let kind = add(&self.host, &mut registry, file.path()).await;
        *self.serving.lock().unwrap() = registry.executor(&kind).unwrap().clone();
    }

    fn serving(&self) -> Arc<dyn Executor> {
        self.serving.lock().unwrap().clone()
    }
}

/// Native checks one after the other until told to stop; how long each took.
async fn native_checks(executor: Arc<dyn Executor>, config: String, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Relaxed) {
        let begun = Instant::now();
        let seen = executor.execute(&config, &context(0, PLENTY)).await.unwrap();
        assert_eq!(seen.status, Status::Up, "{seen:?}");
        took.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took.sort_unstable();
    took
}

fn percentile(took: &[Duration], percent: usize) -> Duration {
    took[(took.len() * percent / 100).min(took.len() - 1)]
}

/// How late runs with nothing but a budget to end them were.
#[derive(Default)]
struct Late(Mutex<Vec<Duration>>);

async fn storm(
    runs: usize,
    reloads: usize,
    hostile: &[(Arc<dyn Executor>, &'static str)],
    keeper: &Arc<dyn Executor>,
    good: &Arc<Changing>,
    late: &Arc<Late>,
) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let done = Arc::new(AtomicU64::new(0));
    let mut storm = JoinSet::new();
    let changing = good.clone();
    let reloading = tokio::spawn(async move {
        for version in 0..reloads {
            changing.reload(version).await;
        }
    });
    for turn in 0..runs {
        let place = room.clone().acquire_owned().await.unwrap();
        let bad = (turn % 10 == 0).then(|| hostile[turn / 10 % hostile.len()].clone());
        let keeper = (turn % 5 == 1).then(|| keeper.clone());
        let (good, done, late) = (good.serving(), done.clone(), late.clone());
        storm.spawn(async move {
            if let Some((executor, config)) = bad {
                let begun = Instant::now();
                let ended = executor.execute(config, &context(0, BUDGET)).await;
                if config.contains("sleep_ms") {
                    late.0
                        .lock()
                        .unwrap()
                        .push(begun.elapsed().saturating_sub(BUDGET));
                }
                let seen = ended.unwrap_or_else(lapwing_checks::CheckError::into_observation);
                assert_eq!(seen.status, Status::Unknown, "{seen:?}");
            } else if let Some(keeper) = keeper {
                let cx = context(turn % MONITORS, PLENTY);
                let seen = keeper.execute(r#"{"act":"answer"}"#, &cx).await.unwrap();
                assert_eq!(seen.status, Status::Up, "{seen:?}");
            } else {
                let seen = good.execute("{}", &context(0, PLENTY)).await.unwrap();
                assert_eq!(seen.status, Status::Up, "{seen:?}");
            }
            done.fetch_add(1, Relaxed);
            drop(place);
        });
        while let Some(run) = storm.try_join_next() {
            run.unwrap();
        }
    }
    while let Some(run) = storm.join_next().await {
        run.unwrap();
    }
    reloading.await.unwrap();
    assert_eq!(done.load(Relaxed), runs as u64, "a run was lost");
}

/// Room for the storm, little time for loops, and hardly any quarantine.
fn settings() -> PluginSettings {
    PluginSettings {
        concurrent_runs: 128,
        limits: RunLimits {
            cpu_ms: 20,
            ..RunLimits::default()
        },
        quarantine: QuarantineSettings {
            faults: 1000,
            first_ms: 1,
            longest_ms: 1,
        },
        ..small()
    }
}

/// Runs each misdeed by itself; after each, the host holds as much as before it.
async fn one_by_one(host: &Arc<PluginHost>) {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = format!(r#""port":{}"#, mute.local_addr().unwrap().port());
    println!("misdeeds one by one: time taken, and time over the budget of {BUDGET:?}");
    for (name, config) in HOSTILE.into_iter().chain(ODD) {
        let mut registry = Registry::default();
        let kind = add(host, &mut registry, &fixture(name)).await;
        let executor = registry.executor(&kind).unwrap();
        let config = config.replace(r#""port":0"#, &port);
        let open = descriptors();
        let begun = Instant::now();
        let seen = executor.execute(&config, &context(0, BUDGET)).await;
        let took = begun.elapsed();
        let seen = seen.unwrap_or_else(lapwing_checks::CheckError::into_observation);
        at_rest(host).await;
        eventually(name, async || descriptors().len() <= open.len()).await;
        let over = took.saturating_sub(BUDGET);
        let reason = seen.reason.as_ref().map_or("", |reason| reason.as_str());
        println!(
            "  {name:<16} {took:>12.1?} {over:>10.1?}  {} {reason}",
            seen.status
        );
    }
}

/// Some runs that take all memory they get: what the last runs had must not wait for others.
async fn gorge(hostile: &[(Arc<dyn Executor>, &'static str)]) {
    let greedy = HOSTILE
        .iter()
        .position(|(name, _)| *name == "eat_memory")
        .unwrap();
    let (greedy, config) = &hostile[greedy];
    for _ in 0..15 {
        greedy.execute(config, &context(0, BUDGET)).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_leaves_a_host_as_it_was() {
    let (runs, reloads) = (number("STORM_RUNS", 1000), number("STORM_RELOADS", 4));
    let host = PluginHost::new(settings()).unwrap();
    let mut registry = Registry::default();
    native::register(&mut registry).unwrap();
    one_by_one(&host).await;
    let mut hostile = Vec::new();
    for (name, config) in HOSTILE {
        let kind = add(&host, &mut registry, &fixture(name)).await;
        hostile.push((registry.executor(&kind).unwrap().clone(), config));
    }
    let kind = add(&host, &mut registry, &fixture("keeper")).await;
    let keeper = registry.executor(&kind).unwrap().clone();
    let good = Arc::new(Changing::new(&host).await);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        r#"{{"host":"127.0.0.1","port":{}}}"#,
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let native = registry.executor("tcp").unwrap().clone();
    let checks =
        |stop: &Arc<AtomicBool>| tokio::spawn(native_checks(native.clone(), config.clone(), stop.clone()));

    let late = Arc::new(Late::default());
    let (lap_runs, lap_reloads) = (runs / LAPS, reloads / LAPS);
    // What is allocated once is allocated here.
    storm(
        lap_runs.max(200),
        lap_reloads.max(2),
        &hostile,
        &keeper,
        &good,
        &late,
    )
    .await;
    at_rest(&host).await;
    let stop = Arc::new(AtomicBool::new(false));
    let alone = checks(&stop);
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Relaxed);
    let alone = alone.await.unwrap();

    let (memory, open) = (settled().await, descriptors());
    let stop = Arc::new(AtomicBool::new(false));
    let beside = checks(&stop);
    let begun = Instant::now();
    let mut laps = Vec::new();
    for _ in 0..LAPS {
        storm(lap_runs, lap_reloads, &hostile, &keeper, &good, &late).await;
        at_rest(&host).await;
        if runs >= 10_000 {
            laps.push(settled().await >> 10);
        }
    }
    let took = begun.elapsed();
    stop.store(true, Relaxed);
    let beside = beside.await.unwrap();
    at_rest(&host).await;
    let limit = Instant::now() + PLENTY;
    while descriptors().len() > open.len() {
        assert!(
            Instant::now() < limit,
            "before: {open:#?}\nafter: {:#?}",
            descriptors()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gorge(&hostile).await;
    let bound = memory + memory / 20 + WARM + if reloads < 100 { FIRST } else { 0 };
    // What was freed goes back to the system a moment later.
    let limit = Instant::now() + PLENTY;
    while resident() > bound && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let after = resident();

    let mut late = std::mem::take(&mut *late.0.lock().unwrap());
    late.sort_unstable();
    println!(
        "{runs} runs, a tenth hostile, and {reloads} reloads in {:.1} s",
        took.as_secs_f64()
    );
    println!("  usage at the end       {:?}", host.usage());
    println!(
        "  resident               {} KiB before, {} KiB after",
        memory >> 10,
        after >> 10
    );
    println!("  after each tenth       {laps:?} KiB");
    println!(
        "  descriptors            {} before, {} after",
        open.len(),
        descriptors().len()
    );
    println!(
        "  native tcp, p99        {:?} alone, {:?} beside the storm",
        percentile(&alone, 99),
        percentile(&beside, 99)
    );
    println!(
        "  end after the deadline {:?} p50, {:?} p99",
        percentile(&late, 50),
        percentile(&late, 99)
    );
    assert!(after <= bound, "{memory} bytes before, {after} after");
}
