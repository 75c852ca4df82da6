//! The thread that keeps leases alive.
//!
//! A worker whose event loop is starved (a check that computes, a machine that swaps) must not lose the leases of the
//! tasks it still works at. So whatever renews leases and shows presence runs on a thread and an event loop of its own,
//! with a connection of its own. Nothing else belongs there.

use std::{future::Future, sync::LazyLock, thread};
use tokio::runtime::{Builder, Handle};
use tokio_util::task::AbortOnDropHandle;

/// The event loop; `None` where the system gave no thread for it.
static KEEPER: LazyLock<Option<Handle>> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let handle = runtime.handle().clone();
    let forever = move || runtime.block_on(std::future::pending::<()>());
    thread::Builder::new()
        .name("leases".to_owned())
        .spawn(forever)
        .ok()?;
    Some(handle)
});

/// Runs `work` there, or where the caller runs if there is no such thread. Ends with the handle.
pub(crate) fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    let task = match &*KEEPER {
        Some(keeper) => keeper.spawn(work),
        None => tokio::spawn(work),
    };
    AbortOnDropHandle::new(task)
}
