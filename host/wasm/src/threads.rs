//! The threads guests run on, apart from the worker's.

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime that may be dropped anywhere: what still runs on it is abandoned, and no thread is waited for.
#[derive(Debug)]
pub(crate) struct Threads(Option<Runtime>, Handle);

impl Threads {
    pub(crate) fn start(threads: u32) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(usize::try_from(threads).unwrap_or(1))
            .thread_name("lapwing-guest")
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

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
