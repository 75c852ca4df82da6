//! Group commit: requests that come while a call is under way travel together in the next one.
//!
//! A task's end is one small write; a round trip for each would bound a worker to one task a round trip. Callers wait
//! for the outcome of their own request, so nothing is told done before it is.

use crate::{QueueError, backoff::Backoff};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// Pauses after calls that failed.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Who waits for an outcome.
type Caller<A> = oneshot::Sender<Result<A, QueueError>>;

/// Gathers requests of one sort.
#[derive(Debug)]
pub(crate) struct Batch<Q, A> {
    requests: mpsc::Sender<(Q, Caller<A>)>,
    _task: AbortOnDropHandle<()>,
}

impl<Q: Send + 'static, A: Send + 'static> Batch<Q, A> {
    /// Starts the task that makes the calls: `call` is given at most `most` requests at a time, in order, and answers
    /// each in its place. A failure of the call is told to all of them.
    pub(crate) fn new<F>(most: usize, call: impl Fn(Vec<Q>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<A>, QueueError>> + Send,
    {
        let (requests, mut queue) = mpsc::channel::<(Q, Caller<A>)>(most);
        let task = async move {
            let mut waiting = Vec::with_capacity(most);
            let mut trouble = Backoff::new(LEAST_PAUSE, LONGEST_PAUSE);
            while queue.recv_many(&mut waiting, most).await > 0 {
                let (requests, callers): (Vec<Q>, Vec<Caller<A>>) = waiting.drain(..).unzip();
                match call(requests).await {
                    Ok(answers) => {
                        trouble.reset();
                        // A caller that is gone asks for nothing.
                        for (caller, answer) in callers.into_iter().zip(answers) {
                            let _ = caller.send(Ok(answer));
                        }
                    }
                    // What gathers meanwhile is one call: callers that try again each for itself do not add up.
                    Err(error) => {
                        fail(callers, error);
                        tokio::time::sleep(trouble.pause()).await;
                    }
                }
            }
        };
        Self {
            requests,
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    /// Makes one request. When cancelled, it may be made all the same.
    pub(crate) async fn call(&self, request: Q) -> Result<A, QueueError> {
        let (caller, answer) = oneshot::channel();
        let ended = || QueueError::Protocol("the queue was closed".to_owned());
        // Not `send`: its future would hold the request once more.
        let room = self.requests.reserve().await.map_err(|_| ended())?;
        room.send((request, caller));
        answer.await.map_err(|_| ended())?
    }
}

fn fail<A>(callers: Vec<Caller<A>>, error: QueueError) {
    let shared = match error {
        QueueError::Unavailable(cause) => Err(Arc::new(cause)),
        other => Ok(other),
    };
    for caller in callers {
        let _ = caller.send(Err(match &shared {
            Err(cause) => QueueError::Unavailable(Box::new(SharedCause(cause.clone()))),
            Ok(QueueError::Denied(why)) => QueueError::Denied(why.clone()),
            Ok(other) => QueueError::Protocol(other.to_string()),
        }));
    }
}

/// The cause of a failure that several callers are told of.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct SharedCause(Arc<Box<dyn std::error::Error + Send + Sync>>);

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Mutex, time::Duration};

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_a_call_is_under_way_travels_together() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        let batch = Batch::new(10, move |numbers: Vec<u32>| {
            seen.lock().unwrap().push(numbers.len());
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(numbers.into_iter().map(|number| number * 2).collect())
            }
        });
        let batch = Arc::new(batch);
        let first = tokio::spawn({
            let batch = batch.clone();
            async move { batch.call(21).await }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        let calls = (0..15).map(|number| {
            let batch = batch.clone();
            async move { (number, batch.call(number).await.unwrap()) }
        });
        for (number, answer) in futures_util::future::join_all(calls).await {
            assert_eq!(answer, number * 2);
        }
        assert_eq!(first.await.unwrap().unwrap(), 42);
        assert_eq!(*sizes.lock().unwrap(), [1, 10, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_try_again_do_not_make_more_calls_while_the_server_refuses() {
        let calls = Arc::new(Mutex::new(0));
        let made = calls.clone();
        let batch = Batch::new(1000, move |requests: Vec<()>| {
            *made.lock().unwrap() += 1;
            async move {
                drop(requests);
                Err::<Vec<()>, _>(QueueError::Unavailable("full".into()))
            }
        });
        let insist = async || {
            loop {
                batch.call(()).await.unwrap_err();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let all = futures_util::future::join_all((0..128).map(|_| insist()));
        let _ = tokio::time::timeout(Duration::from_secs(10), all).await;
        let calls = *calls.lock().unwrap();
        assert!((10..100).contains(&calls), "{calls} calls in ten seconds");
    }

    #[tokio::test]
    async fn a_failed_call_is_told_to_everyone_and_the_next_one_is_made() {
        let batch = Batch::new(4, |fail: Vec<bool>| async move {
            if fail.contains(&true) {
                return Err(QueueError::Unavailable("away".into()));
            }
            Ok(fail)
        });
        let (one, other) = tokio::join!(batch.call(true), batch.call(true));
        for outcome in [one, other] {
            let error = outcome.unwrap_err();
            assert!(error.is_temporary());
            assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "away");
        }
        assert!(!batch.call(false).await.unwrap());
    }
}
