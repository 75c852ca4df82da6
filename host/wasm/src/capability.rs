//! What guests may ask of the host, one interface a file, all of it accounted for in the run's ledger.
//!
//! Network imports share one path: quota, then the network guard, then work on the worker's runtime that ends with the
//! guest's time-out or the run's budget, whichever is first. A refusal is a typed error, never a trap.

pub(crate) mod context;
pub(crate) mod convert;
pub(crate) mod dns;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod secrets;
pub(crate) mod state;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod wasi;

use crate::{
    abi::v1::wit::net_types::NetError as GuestError,
    guest::{Guest, Stop},
    quota::{self, Meter, Seat},
    rights::Right,
};
use lapwing_checks::{Net, net::NetError};
use lapwing_model::Reason;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// What a network import answers: the outer error ends the run, the inner one is the guest's.
pub(crate) type Answer<T> = wasmtime::Result<Result<T, GuestError>>;

/// Result of work on the network, and whose clock it ran against.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) value: T,
    pub(crate) elapsed: Duration,
    budget: bool,
}

impl<T> Done<T> {
    /// The same work with another view of its result.
    pub(crate) fn map<U>(self, view: impl FnOnce(T) -> U) -> Done<U> {
        Done {
            value: view(self.value),
            elapsed: self.elapsed,
            budget: self.budget,
        }
    }
}

impl Guest {
    /// Does `work` on the worker's runtime with a deadline `timeout` nanoseconds from now, or shortly before the run's
    /// if that is earlier; dropping the run drops the work. `step` says what is being waited for.
    ///
    /// Not on the guest's own stack: every readiness event would resume that cold stack (a sixth more processor time). Nor
    /// does the future come by there: some are large, and each page they touch stays with the run until its end.
    pub(crate) async fn on_network<F>(
        &mut self,
        step: NetError,
        timeout: u64,
        work: impl FnOnce(Instant) -> F + Send + 'static,
    ) -> wasmtime::Result<Done<F::Output>>
    where
        F: Future<Output: Send + 'static> + Send,
    {
        let begun = Instant::now();
        let end = begun + self.patience();
        let own = begun.checked_add(Duration::from_nanos(timeout));
        let deadline = own.map_or(end, |own| own.min(end));
        let value = self.start(step, work, deadline, end)?.await;
        self.ledger.go_on();
        match value {
            Ok(value) => Ok(Done {
                value,
                elapsed: begun.elapsed(),
                budget: deadline == end,
            }),
            Err(error) => Err(Stop::Host(format!("network work failed: {error}")).into()),
        }
    }

    #[inline(never)]
    fn start<F>(
        &self,
        step: NetError,
        work: impl FnOnce(Instant) -> F + Send + 'static,
        deadline: Instant,
        end: Instant,
    ) -> Result<AbortOnDropHandle<F::Output>, Stop>
    where
        F: Future<Output: Send + 'static> + Send,
    {
        let Some(network) = &self.errand.network else {
            return Err(Stop::Host("network work without a network".into()));
        };
        let ledger = self.ledger.clone();
        ledger.wait(step);
        Ok(AbortOnDropHandle::new(network.worker.spawn(async move {
            let value = Box::pin(work(deadline)).await;
            // Not when the guest learns of it: it may have to wait for a thread, and that is not the network's time.
            ledger.wait_over(Instant::now() >= end);
            ledger.queue();
            value
        })))
    }

    /// How long a call may wait. The rest of the time is for the host to end the run in, so that it ends with the word
    /// for what hung.
    pub(crate) fn patience(&self) -> Duration {
        let left = self.time_left();
        left.saturating_sub((left / 20).min(Duration::from_millis(10)))
    }

    /// Hands a failure to the guest, written down where it was ours; a time-out of the run's budget ends the run.
    pub(crate) fn settle<T>(&self, done: Done<Result<T, NetError>>) -> Answer<T> {
        let error = match done.value {
            Ok(value) => {
                self.ledger.entries().overdue = None;
                return Ok(Ok(value));
            }
            Err(error) => error,
        };
        if is_timeout(&error) {
            self.ledger.entries().timed_out = true;
            if done.budget {
                return Err(Stop::Network(error).into());
            }
        }
        self.ledger.book_failure(&error);
        Ok(Err(convert::net_error(&error)))
    }

    /// The network as this run may use it through `right`; a refusal otherwise.
    pub(crate) fn permit(&self, right: Right) -> Result<Net, GuestError> {
        let Some(network) = &self.errand.network else {
            return Err(self.refuse(&format!("`{right}` is not granted")));
        };
        match network.rights.scope(right) {
            Ok(scope) => {
                let net = network.net.within(Arc::new(scope));
                Ok(net.metered(Arc::new(self.meter())))
            }
            Err(why) => Err(self.refuse(&why)),
        }
    }

    /// Its quotas, for work outside.
    pub(crate) fn meter(&self) -> Meter {
        Meter {
            quota: self.quotas.shared.clone(),
            ledger: self.ledger.clone(),
        }
    }

    /// A refusal, written down.
    pub(crate) fn refuse(&self, rule: &str) -> GuestError {
        self.ledger.refuse(rule);
        GuestError::AccessDenied(rule.to_owned())
    }

    /// A used-up quota, written down.
    pub(crate) fn exhaust(&self, quota: &str) -> GuestError {
        self.ledger.hinder(Reason::LimitHit, quota);
        GuestError::Limit(quota.to_owned())
    }

    /// A request that makes no sense; mostly what the user configured.
    pub(crate) fn unfit(&self, what: &str) -> GuestError {
        self.ledger.hinder(Reason::InvalidConfig, what);
        GuestError::Other(what.to_owned())
    }

    /// Room for one more connection, for as long as it is open.
    pub(crate) fn take_connect(&mut self) -> Result<Seat, GuestError> {
        let seat = self.take_seat()?;
        if self.quotas.shared.take_connect() {
            Ok(seat)
        } else {
            Err(self.exhaust(quota::CONNECTS))
        }
    }

    /// Room for one more open socket.
    pub(crate) fn take_seat(&self) -> Result<Seat, GuestError> {
        let seat = self.quotas.shared.seat();
        seat.ok_or_else(|| self.exhaust("too many sockets open at a time (`limits.open_sockets`)"))
    }

    /// Room for one more DNS question.
    pub(crate) fn take_question(&mut self) -> Result<(), GuestError> {
        match self.quotas.dns_queries.checked_sub(1) {
            Some(left) => self.quotas.dns_queries = left,
            None => return Err(self.exhaust("too many DNS questions (`limits.dns_queries`)")),
        }
        Ok(())
    }

    /// Counts bytes sent or received.
    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), GuestError> {
        if self.quotas.shared.take_bytes(bytes) {
            Ok(())
        } else {
            Err(self.exhaust_bytes())
        }
    }

    pub(crate) fn exhaust_bytes(&self) -> GuestError {
        self.exhaust(quota::BYTES)
    }

    /// How many of `wanted` bytes may still be received; a refusal when there are none left.
    pub(crate) fn room_for(&self, wanted: u32) -> Result<usize, GuestError> {
        match self.quotas.shared.bytes() {
            0 => Err(self.exhaust_bytes()),
            left => Ok(usize::try_from(wanted).unwrap_or(usize::MAX).min(left)),
        }
    }
}

fn is_timeout(error: &NetError) -> bool {
    matches!(
        error,
        NetError::DnsTimeout(_)
            | NetError::ConnectTimeout(_)
            | NetError::TlsTimeout(_)
            | NetError::ResponseTimeout(_)
    )
}
