//! What a plugin's run costs: a fresh instance and a call, beside wasmtime alone; a call on a live instance; loading
//! compiled code; a whole check of `smtp` against a local server; an HTTP check in every way there is; and many runs at
//! once. Prints p50 and p99; needs `just build-plugins`. Names of parts as arguments run those only.
//!
//! No framework: a distribution over single runs is wanted, and the same loop on several threads.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints, and fails where it stands"
)]

mod flight;
mod http;

use lapwing_checks::{Net, ProbeContext, Registry, net::EgressPolicy};
use lapwing_model::{Monitor, Status, SystemClock, Task};
use lapwing_wasm::{
    CompileSettings, PluginHost, PluginSettings,
    bench::{Bare, Subject},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tikv_jemallocator::Jemalloc;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    runtime::{Builder, Runtime},
};

/// As in `lapwing`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const RUNS: usize = 50_000;
/// Without a network the plugin gets as far as its first call, and reports the refusal.
const NOWHERE: &str = r#"{"url":"http://127.0.0.1/"}"#;

fn main() {
    if std::env::args().any(|argument| argument == http::SERVE) {
        return http::serve();
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("kernel {}, {} processors", kernel.trim(), processors());
    let parts: [(&str, fn()); 6] = [
        ("instance", instance),
        ("languages", languages),
        ("loading", loading),
        ("executor", through_the_executor),
        ("http", || worker().block_on(http::compare())),
        ("flight", || worker().block_on(flight::measure())),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    let wanted = |part: &str| {
        !wanted.iter().any(|name| !name.starts_with('-')) || wanted.iter().any(|name| name == part)
    };
    for (_, measure) in parts.into_iter().filter(|(name, _)| wanted(name)) {
        measure();
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn instance() {
    let empty = Subject::compile(&dist("fixtures/empty.wasm"), PluginSettings::default()).unwrap();
    println!(
        "\nan empty Rust plugin ({} KiB of code)",
        empty.code_bytes() >> 10
    );
    row(
        "fresh instance + call",
        single().block_on(fresh(&empty, RUNS, "{}")),
    );
    let bare = Bare::compile(&dist("fixtures/empty.wasm")).unwrap();
    row("the same, wasmtime alone", single().block_on(alone(&bare, RUNS)));
    row(
        "call on a live instance",
        single().block_on(empty.warm("{}", RUNS)).unwrap(),
    );
    for threads in [1, 2, processors()].into_iter().collect::<BTreeSet<_>>() {
        let (rate, of_processor) = rate(&empty, threads);
        println!(
            "  {:<26} {rate:>8.0} runs/s, {of_processor:>8.0} a second of processor time",
            format!("fresh, {threads} threads")
        );
    }
}

fn languages() {
    for (language, file) in [
        ("JavaScript", "fixtures/fetch.wasm"),
        ("Python", "fixtures/visit.wasm"),
    ] {
        let subject = Subject::compile(&dist(file), PluginSettings::default()).unwrap();
        println!("\n{language} ({} KiB of code)", subject.code_bytes() >> 10);
        row(
            "fresh instance + call",
            single().block_on(fresh(&subject, 1000, NOWHERE)),
        );
        row(
            "call on a live instance",
            single().block_on(subject.warm(NOWHERE, 1000)).unwrap(),
        );
    }
}

fn loading() {
    println!("\na folder of files that were compiled before, by a new host");
    for (file, count) in [
        ("fixtures/empty.wasm", 1),
        ("smtp.wasm", 1),
        ("fixtures/fetch.wasm", 1),
        ("fixtures/visit.wasm", 1),
        ("smtp.wasm", 50),
    ] {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        row(
            &format!("{count} of {file}"),
            runtime.block_on(from_cache(file, count, 20)),
        );
    }
}

fn through_the_executor() {
    let runtime = worker();
    println!("\nthrough the executor (schema, queue, other threads, verdict)");
    row(
        "empty",
        runtime.block_on(executor("fixtures/empty.wasm", "{}", 10_000)),
    );
    let port = runtime.block_on(mail_server());
    let config = format!(r#"{{"host":"127.0.0.1","port":{port}}}"#);
    row(
        "smtp, a whole dialogue",
        runtime.block_on(executor("smtp.wasm", &config, 2000)),
    );
}

/// As the worker's own: what is not a guest's runs here.
fn worker() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn dist(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/dist")
        .join(name)
}

/// A host whose compiler is this crate's own.
fn host(settings: PluginSettings) -> Arc<PluginHost> {
    let compile = CompileSettings {
        program: Some(env!("CARGO_BIN_EXE_lapwing-compile").into()),
        ..CompileSettings::default()
    };
    PluginHost::new(PluginSettings { compile, ..settings }).unwrap()
}

/// Times for loading a folder of `count` plugins that were compiled before, each by a new host.
async fn from_cache(file: &str, count: u8, times: usize) -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let plugin = std::fs::read(dist(file)).unwrap();
    for index in 0..count {
        // A custom section with one byte tells them apart.
        let bytes = [&plugin[..], &[0, 3, 1, b'n', index]].concat();
        std::fs::write(folder.path().join(format!("{index}.wasm")), bytes).unwrap();
    }
    let cache = folder.path().join("cache");
    let mut took = Vec::with_capacity(times);
    for _ in 0..=times {
        let host = host(PluginSettings {
            cache: Some(cache.clone()),
            ..PluginSettings::default()
        });
        let begun = Instant::now();
        let reports = host.load_dir(folder.path()).await.unwrap();
        took.push(begun.elapsed());
        assert!(reports.iter().all(|report| report.failure().is_none()));
    }
    // The first one compiled.
    took.split_off(1)
}

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn fresh(subject: &Subject, runs: usize, config: &str) -> Vec<Duration> {
    let mut took = Vec::with_capacity(runs);
    for _ in 0..runs {
        took.push(subject.fresh(config).await);
    }
    took
}

async fn alone(bare: &Bare, runs: usize) -> Vec<Duration> {
    let mut took = Vec::with_capacity(runs);
    for _ in 0..runs {
        took.push(bare.fresh("{}").await.unwrap());
    }
    took
}

/// Runs per second of `threads` threads that share one engine, by the clock and by the processor time they took.
fn rate(subject: &Subject, threads: usize) -> (f64, f64) {
    let (begun, processor) = (Instant::now(), http::processor());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| single().block_on(fresh(subject, RUNS, "{}")));
        }
    });
    let runs = (RUNS * threads) as f64;
    let (took, processor) = (begun.elapsed(), http::processor().saturating_sub(processor));
    (runs / took.as_secs_f64(), runs / processor.as_secs_f64())
}

async fn executor(plugin: &str, config: &str, runs: usize) -> Vec<Duration> {
    let host = host(PluginSettings::default());
    let mut registry = Registry::default();
    let mut report = host.load_file(dist(plugin)).await;
    report.register(&mut registry);
    assert_eq!(report.failure(), None);
    let executor = registry.executor(&report.kinds[0]).unwrap().clone();
    let net = Net::new(EgressPolicy::default());
    let mut took = Vec::with_capacity(runs);
    for _ in 0..runs {
        let cx = context(net.clone(), 0);
        let begun = Instant::now();
        let seen = executor.execute(config, &cx).await.unwrap();
        took.push(begun.elapsed());
        assert_eq!(seen.status, Status::Up, "{seen:?}");
    }
    took
}

fn context(net: Net, monitor: usize) -> ProbeContext {
    let budget = Duration::from_secs(20);
    let monitor = Monitor {
        id: format!("monitor-{monitor}"),
        name: "bench".into(),
        kind: "bench".into(),
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
    let deadline = tokio::time::Instant::now() + budget;
    ProbeContext {
        task: Arc::new(task),
        queue: Some("checks".into()),
        deadline,
        net,
        clock: Arc::new(SystemClock),
    }
}

/// Greets, answers EHLO and QUIT, for ever.
async fn mail_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                stream.write_all(b"220 bench ESMTP\r\n").await.unwrap();
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                    let answer: &[u8] = if line.starts_with("EHLO") {
                        b"250 bench\r\n"
                    } else {
                        b"221 bye\r\n"
                    };
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    port
}

fn row(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let micros = |share: usize| took[took.len() * share / 100].as_nanos() as f64 / 1000.0;
    println!(
        "  {what:<26} p50 {:>9.2} µs   p99 {:>9.2} µs",
        micros(50),
        micros(99)
    );
}
