//! Logs: to standard error, as text for people or as JSON for machines.

use crate::config::{environment::Log, file::LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Starts logging. Libraries speak up only from `warn` on, unless everything is asked for with `trace`.
pub(crate) fn start(log: &Log) {
    let level = log.level.as_str().to_ascii_lowercase();
    let mut directives = match level.as_str() {
        "trace" => "trace".to_owned(),
        level => format!(
            "warn,lapwing={level},lapwing_checks={level},lapwing_wasm={level},lapwing_queue={level},plugin={level}"
        ),
    };
    if !log.folder {
        directives.push_str(",lapwing_wasm::folder::choose=error");
    }
    let registry = tracing_subscriber::registry().with(EnvFilter::new(directives));
    // A second start (tests) changes nothing.
    let _ = match log.format {
        LogFormat::Text => {
            let colors = std::io::stderr().is_terminal();
            registry
                .with(
                    fmt::layer()
                        .with_writer(std::io::stderr)
                        .with_ansi(colors)
                        .with_target(false),
                )
                .try_init()
        }
        LogFormat::Json => {
            let layer = fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    };
    if let Some(service) = &log.service {
        tracing::info!(svc = service, "service name");
    }
}
