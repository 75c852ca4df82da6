//! What a plugin's run costs: a fresh instance and a call, a call on a live instance, loading compiled code, a whole check
//! of `smtp` against a local server, an HTTP check in every way there is, and many runs at once. Prints p50 and p99;
//! needs `just build-plugins`.
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
use lapwing_wasm::{CompileSettings, PluginHost, PluginSettings, bench::Subject};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    runtime::{Builder, Runtime},
};

const RUNS: usize = 50_000;

fn main() {
    if std::env::args().any(|argument| argument == http::SERVE) {
        return http::serve();
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("kernel {}, {processors} processors", kernel.trim());

    let empty = Subject::compile(&dist("fixtures/empty.wasm"), PluginSettings::default()).unwrap();
    println!("\nempty ({} KiB of code)", empty.code_bytes() >> 10);
    row("fresh instance + call", single().block_on(fresh(&empty, RUNS)));
    row(
        "call on a live instance",
        single().block_on(empty.warm("{}", RUNS)).unwrap(),
    );
    row(
        "load from compiled code",
        (0..2000).map(|_| empty.load().unwrap()).collect(),
    );
    let begun = Instant::now();
    for _ in 0..50 {
        empty.load().unwrap();
    }
    println!(
        "  {:<26} {:>8.2} ms",
        "fifty loaded",
        begun.elapsed().as_secs_f64() * 1000.0
    );
    for threads in [1, 2, processors]
        .into_iter()
        .filter(|count| *count <= processors)
        .collect::<std::collections::BTreeSet<_>>()
    {
        println!(
            "  {:<26} {:>8.0} runs/s",
            format!("fresh, {threads} threads"),
            rate(&empty, threads)
        );
    }

    for (language, file) in [
        ("JavaScript", "fixtures/js_http.wasm"),
        ("Python", "fixtures/py_http.wasm"),
    ] {
        println!("\n{language}");
        if !dist(file).is_file() {
            println!("  {file} is not built");
            continue;
        }
        let subject = Subject::compile(&dist(file), PluginSettings::default()).unwrap();
        row(
            "load from compiled code",
            (0..200).map(|_| subject.load().unwrap()).collect(),
        );
        row("fresh instance + call", single().block_on(fresh(&subject, 1000)));
    }

    let smtp = Subject::compile(&dist("smtp.wasm"), PluginSettings::default()).unwrap();
    println!("\nsmtp ({} KiB of code)", smtp.code_bytes() >> 10);
    // Without a network the plugin gets as far as its first call and reports the refusal.
    row(
        "load from compiled code",
        (0..2000).map(|_| smtp.load().unwrap()).collect(),
    );
    drop((empty, smtp));

    let cached = Builder::new_multi_thread().enable_all().build().unwrap();
    row(
        "50 plugins from the cache, all",
        cached.block_on(from_cache(50, 20)),
    );
    drop(cached);

    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
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
    runtime.block_on(http::compare());
    runtime.block_on(flight::measure());
}

fn dist(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/dist")
        .join(name)
}

/// A host that keeps compiled code in `cache`.
fn host(cache: Option<PathBuf>) -> Arc<PluginHost> {
    let compile = CompileSettings {
        program: Some(env!("CARGO_BIN_EXE_lapwing-compile").into()),
        ..CompileSettings::default()
    };
    PluginHost::new(PluginSettings {
        cache,
        compile,
        ..PluginSettings::default()
    })
    .unwrap()
}

/// Times for loading a folder of `count` plugins that were compiled before, each by a new host.
async fn from_cache(count: u8, times: usize) -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let plugin = std::fs::read(dist("smtp.wasm")).unwrap();
    for index in 0..count {
        // A custom section with one byte tells them apart.
        let bytes = [&plugin[..], &[0, 3, 1, b'n', index]].concat();
        std::fs::write(folder.path().join(format!("{index}.wasm")), bytes).unwrap();
    }
    let cache = folder.path().join("cache");
    let mut took = Vec::with_capacity(times);
    for _ in 0..=times {
        let host = host(Some(cache.clone()));
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

async fn fresh(subject: &Subject, runs: usize) -> Vec<Duration> {
    let mut took = Vec::with_capacity(runs);
    for _ in 0..runs {
        took.push(subject.fresh("{}").await);
    }
    took
}

/// Runs per second of `threads` threads that share one engine.
fn rate(subject: &Subject, threads: usize) -> f64 {
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| single().block_on(fresh(subject, RUNS)));
        }
    });
    (RUNS * threads) as f64 / begun.elapsed().as_secs_f64()
}

async fn executor(plugin: &str, config: &str, runs: usize) -> Vec<Duration> {
    let host = host(None);
    let mut registry = Registry::default();
    let mut report = host.load_file(dist(plugin)).await;
    report.register(&mut registry);
    assert_eq!(report.failure(), None);
    let executor = registry.executor(&report.kinds[0]).unwrap().clone();
    let net = Net::new(EgressPolicy::default());
    let mut took = Vec::with_capacity(runs);
    for _ in 0..runs {
        let cx = context(net.clone());
        let begun = Instant::now();
        let seen = executor.execute(config, &cx).await.unwrap();
        took.push(begun.elapsed());
        assert_eq!(seen.status, Status::Up, "{seen:?}");
    }
    took
}

fn context(net: Net) -> ProbeContext {
    let budget = Duration::from_secs(20);
    let monitor = Monitor {
        id: "monitor".into(),
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
        scheduled_at: None,
        attempt: 1,
        under_maintenance: false,
        check_cert_expiry: false,
        proxy: None,
        last_heartbeat: None,
    };
    let deadline = tokio::time::Instant::now() + budget;
    ProbeContext {
        task: Arc::new(task),
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
