//! Signals become a token: SIGTERM and SIGINT ask every role to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM or SIGINT; the second one ends the process at once, with 128 plus
/// the signal's number, for an operator who will not wait.
pub(crate) fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => 15,
                _ = interrupt.recv() => 2,
            }
        };
        next().await;
        tracing::info!("stopping: no more checks begin, those that run may end (again to stop at once)");
        token.cancel();
        let number = next().await;
        std::process::exit(128 + number);
    });
    Ok(stop)
}
