//! The threads guests run on, apart from the worker's and behind them.

use tokio::runtime::{Builder, Handle, Runtime};

/// How far behind: a third of a normal thread's share.
const NICENESS: i32 = 5;

/// A runtime that may be dropped anywhere: what still runs on it is abandoned, and no thread is waited for.
#[derive(Debug)]
pub(crate) struct Threads(Option<Runtime>, Handle);

impl Threads {
    pub(crate) fn start(threads: u32) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(usize::try_from(threads).unwrap_or(1))
            .thread_name("lapwing-guest")
            .on_thread_start(yield_to_others)
            // A busy guest holds its thread for up to a tick; look at timers after a few of those.
            .event_interval(5)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.1
    }
}

/// Lets every other thread of the machine go first: when processors are scarce, a spinning guest costs guests, not
/// native checks. On Linux niceness is a thread's own.
fn yield_to_others() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!("plugin threads keep their priority: {error}");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
