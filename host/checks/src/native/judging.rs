//! Looking through what a peer sent, where that takes a processor for more than a moment: not on the threads that serve
//! the network, and by the deadline.

use crate::CheckError;
use tokio::{
    sync::Semaphore,
    task,
    time::{self, Instant},
};

/// What is looked through between other work, in bytes: it takes a millisecond or two.
const AT_ONCE: usize = 16 << 10;
/// Larger ones at a time: each takes a thread, and up to a hundred times its size.
static LARGE: Semaphore = Semaphore::const_new(2);

/// What `judge` makes of something of `size` bytes; `what` is its name where it is not done in the check's time.
///
/// Dropped, it lets a judge that has begun end on its own thread.
pub(super) async fn judged<T: Send + 'static>(
    what: &str,
    size: usize,
    deadline: Instant,
    judge: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CheckError> {
    if size <= AT_ONCE {
        return Ok(judge());
    }
    let judging = async {
        let turn = LARGE.acquire().await;
        let judging = task::spawn_blocking(move || {
            let _turn = turn;
            judge()
        });
        let judged = judging.await;
        judged.map_err(|error| CheckError::Internal(format!("{what} ended early: {error}")))
    };
    let late = |_| CheckError::limit_hit(format!("{what} was not done in the check's time"));
    time::timeout_at(deadline, judging).await.map_err(late)?
}
