//! The binary as a child process, targets to probe, and Asynq's messages as a stock client sees them.

pub(crate) mod asynq;
pub(crate) mod contract;
pub(crate) mod home;
pub(crate) mod process;
pub(crate) mod targets;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// Where `just build-plugins` puts components.
pub(crate) fn plugins() -> PathBuf {
    let dist = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist");
    assert!(
        dist.join("smtp.wasm").is_file(),
        "{} has no plugins: run `just build-plugins` first",
        dist.display()
    );
    dist
}

/// One of them, as an argument.
pub(crate) fn plugin(name: &str) -> String {
    plugins().join(name).to_str().unwrap().to_owned()
}

/// Waits for a condition, for at most `limit`; panics with `what` when it does not come true.
pub(crate) async fn eventually<F: AsyncFnMut() -> bool>(what: &str, limit: Duration, mut condition: F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
