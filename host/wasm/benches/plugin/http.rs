//! One HTTP check in every way there is: native, by plugins in several languages, and by fork and exec of the C plugin
//! that most monitoring systems run. The same server, in a process of its own, answers all; what is told is this process'
//! (and its children's) processor time for a check, and the ratio to the native one.

use crate::{context, dist};
use lapwing_checks::{Executor, Net, Registry, native, net::EgressPolicy};
use lapwing_model::Status;
use lapwing_wasm::PluginSettings;
use rustix::time::{ClockId, clock_gettime};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Monitors, each with one check under way at a time.
const AT_ONCE: usize = 64;
/// Checks of one way; a tenth for those that take milliseconds.
const CHECKS: usize = 6400;
/// Where distributions put the C plugin.
const CHECK_HTTP: &str = "/usr/lib/nagios/plugins/check_http";
/// The argument that makes this program the server.
pub(crate) const SERVE: &str = "serve-http";

/// A way to check, when there is one on this machine.
struct Way {
    name: &'static str,
    plugin: PathBuf,
    config: String,
    heavy: bool,
    /// Whether instances serve again, where the plugin offers it.
    reused: bool,
}

/// Answers every connection with one page, on as many threads as there are connections; tells its port first.
pub(crate) fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 11\r\nconnection: close\r\n\r\nhello world",
                );
            }
        });
    }
}

/// The server's process, ended with this value.
struct Server(Child, u16);

impl Server {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(SERVE)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self(child, line.trim().parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs every way there is.
pub(crate) async fn compare() {
    let server = Server::start();
    let url = format!("http://127.0.0.1:{}/", server.1);
    println!("\nan HTTP check, {AT_ONCE} at a time: processor time a check, and time it takes");
    let mut registry = Registry::default();
    native::register(&mut registry).unwrap();
    let executor = registry.executor("http").unwrap().clone();
    let native = row(
        "native",
        None,
        executors(&executor, &format!(r#"{{"url":"{url}"}}"#), CHECKS).await,
    );
    for way in ways(server.1) {
        if !way.plugin.is_file() {
            println!("  {:<34} not built", way.name);
            continue;
        }
        let host = crate::host(PluginSettings {
            max_reuse: if way.reused { 1000 } else { 1 },
            // Enough for one of each monitor.
            kept_memory_mib: 2048,
            ..PluginSettings::default()
        });
        let mut registry = Registry::default();
        let mut report = host.load_file(&way.plugin).await;
        report.register(&mut registry);
        if let Some(reason) = report.failure() {
            println!("  {:<34} not loaded: {reason}", way.name);
            continue;
        }
        let executor = registry.executor(&report.kinds[0]).unwrap().clone();
        let checks = if way.heavy { CHECKS / 10 } else { CHECKS };
        row(
            way.name,
            Some(native),
            executors(&executor, &way.config, checks).await,
        );
    }
    if Path::new(CHECK_HTTP).is_file() {
        let port = server.1.to_string();
        row(
            "fork and exec of check_http",
            Some(native),
            processes(port, CHECKS / 10).await,
        );
    } else {
        println!(
            "  {:<34} not installed (Debian: monitoring-plugins-basic)",
            "check_http"
        );
    }
}

fn ways(port: u16) -> Vec<Way> {
    let url = format!("http://127.0.0.1:{port}/");
    let config = format!(r#"{{"url":"{url}"}}"#);
    let via_http = format!(r#"{{"via":"http","url":"{url}"}}"#);
    let via_wasi = format!(r#"{{"authority":"127.0.0.1:{port}"}}"#);
    let (traveller, wasi) = ("fixtures/traveller.wasm", "fixtures/wasi_http.wasm");
    let (javascript, python) = ("fixtures/fetch.wasm", "fixtures/visit.wasm");
    [
        ("Rust plugin, our `http`", traveller, &via_http, false, false),
        ("Rust plugin, wasi:http", wasi, &via_wasi, false, false),
        ("JavaScript plugin, `fetch`", javascript, &config, true, false),
        ("JavaScript plugin, used again", javascript, &config, true, true),
        ("Python plugin, our `http`", python, &config, true, false),
        ("Python plugin, used again", python, &config, true, true),
    ]
    .into_iter()
    .map(|(name, file, config, heavy, reused)| Way {
        name,
        plugin: dist(file),
        config: config.clone(),
        heavy,
        reused,
    })
    .collect()
}

/// What some checks cost: processor time each, and the time each took.
struct Cost {
    processor: Duration,
    took: Vec<Duration>,
}

async fn executors(executor: &Arc<dyn Executor>, config: &str, checks: usize) -> Cost {
    let (executor, config, net): (_, Arc<str>, _) =
        (executor.clone(), config.into(), Net::new(EgressPolicy::default()));
    measured(checks, move |monitor| {
        let (executor, config, net) = (executor.clone(), config.clone(), net.clone());
        async move {
            let seen = executor.execute(&config, &context(net, monitor)).await.unwrap();
            assert_eq!(seen.status, Status::Up, "{seen:?}");
        }
    })
    .await
}

async fn processes(port: String, checks: usize) -> Cost {
    measured(checks, move |_| {
        let mut command = Command::new(CHECK_HTTP);
        command
            .args(["-I", "127.0.0.1", "-p", &port])
            .stdout(Stdio::null());
        async move {
            let status = tokio::task::spawn_blocking(move || command.status())
                .await
                .unwrap();
            assert!(status.unwrap().success());
        }
    })
    .await
}

/// A first tenth is not counted: caches and pools fill.
async fn measured<F: Future<Output = ()> + Send + 'static>(
    checks: usize,
    check: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Cost {
    let check = Arc::new(check);
    spread(checks / 10, &check).await;
    let before = processor();
    let took = spread(checks, &check).await;
    let processor = processor().saturating_sub(before) / u32::try_from(checks).unwrap();
    Cost { processor, took }
}

/// Each monitor checks again as soon as it has its result.
async fn spread<F: Future<Output = ()> + Send + 'static>(
    checks: usize,
    check: &Arc<impl Fn(usize) -> F + Send + Sync + 'static>,
) -> Vec<Duration> {
    let mut monitors = JoinSet::new();
    for monitor in 0..AT_ONCE {
        let check = check.clone();
        monitors.spawn(async move {
            let mut took = Vec::new();
            for _ in 0..checks / AT_ONCE {
                let begun = Instant::now();
                check(monitor).await;
                took.push(begun.elapsed());
            }
            took
        });
    }
    let mut took: Vec<_> = monitors.join_all().await.concat();
    took.sort_unstable();
    took
}

/// Processor time of this process, and of its children that have ended (in hundredths of a second, proc(5)).
pub(crate) fn processor() -> Duration {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let own = Duration::new(own.tv_sec.cast_unsigned(), u32::try_from(own.tv_nsec).unwrap());
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // cutime and cstime, the 16th and 17th field; the name before is the second.
    let ticks: u64 = fields[13..15]
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    own + Duration::from_millis(ticks * 10)
}

fn row(name: &str, native: Option<Duration>, Cost { processor, took }: Cost) -> Duration {
    let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
    let ratio = native.map_or(String::new(), |native| {
        format!("  {:>5.1}x", processor.as_secs_f64() / native.as_secs_f64())
    });
    println!(
        "  {name:<34} {:>8.1} µs{ratio:<8}  p50 {:>9.1} µs  p99 {:>9.1} µs",
        micros(processor),
        micros(took[took.len() / 2]),
        micros(took[took.len() * 99 / 100])
    );
    processor
}
