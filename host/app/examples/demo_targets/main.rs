//! Local targets to watch, so that `just demo` and `examples/monitors.toml` need no network: a web server, a TCP echo
//! and a mail server, on fixed loopback ports.
//!
//! `demo_targets` serves until Ctrl-C; `demo_targets --run COMMAND…` serves while the command runs and exits as it does.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod echo;
mod http;
mod smtp;

use anyhow::Context;
use clap::Parser;
use std::{ffi::OsString, process::ExitCode, time::Duration};
use tokio::{net::TcpListener, process::Command, signal, time::timeout};

/// Serves targets for the demo on loopback: HTTP 18080, TCP echo 18007, SMTP 18025.
#[derive(Debug, Parser)]
struct Args {
    /// Run this while the targets are up, and exit as it does
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "COMMAND")]
    run: Vec<OsString>,
}

/// How long the command may take to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> ExitCode {
    serve(Args::parse()).await.unwrap_or_else(|error| {
        eprintln!("demo_targets: {error:#}");
        ExitCode::from(69)
    })
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let tls = smtp::acceptor()?;
    let (web, echoing, mail) = (bind(18080).await?, bind(18007).await?, bind(18025).await?);
    println!("demo targets: http://127.0.0.1:18080/health (also /broken, /status, /moved)");
    println!("              tcp echo 127.0.0.1:18007, smtp 127.0.0.1:18025 (STARTTLS, self-signed)");
    tokio::spawn(http::serve(web));
    tokio::spawn(echo::serve(echoing));
    tokio::spawn(smtp::serve(mail, tls));
    if let Some((program, arguments)) = args.run.split_first() {
        return run(program, arguments).await;
    }
    signal::ctrl_c().await?;
    Ok(ExitCode::SUCCESS)
}

async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
        format!("cannot listen on 127.0.0.1:{port}; examples/monitors.toml expects the demo target there")
    })
}

/// Runs the command to its end. Ctrl-C reaches it from the terminal; it is given time to end by itself.
async fn run(program: &OsString, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut child = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run `{}`", program.display()))?;
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = signal::ctrl_c() => timeout(GRACE, child.wait()).await.context("the command did not end")??,
    };
    // Ended by a signal: no code of its own.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
