//! Bodies on their way, watched: who is waited for, and for how long.

use super::code;
use crate::{
    ledger::{Flight, Ledger},
    quota::Seat,
};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use lapwing_checks::net::NetError;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::{Error, WasiBody};

/// A request's body: while the guest has not written it, nobody waits for the target.
pub(super) struct Outward {
    inner: WasiBody,
    flight: Arc<Flight>,
    step: NetError,
    waits: bool,
}

impl Outward {
    pub(super) fn new(inner: WasiBody, flight: Arc<Flight>, step: NetError) -> Self {
        Self {
            inner,
            flight,
            step,
            waits: false,
        }
    }
}

impl Body for Outward {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if frame.is_pending() != self.waits {
            self.waits = frame.is_pending();
            self.flight.turn((!self.waits).then(|| self.step.clone()));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body: it is waited for from the moment the guest found nothing there.
pub(super) struct Inward {
    inner: Incoming,
    ledger: Arc<Ledger>,
    target: String,
    between_bytes: Option<Duration>,
    begun: Instant,
    flight: Option<Flight>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Free when the guest is done with the answer; the connection ends by itself then.
    _seat: Seat,
}

impl Inward {
    pub(super) fn new(
        inner: Incoming,
        ledger: Arc<Ledger>,
        target: String,
        between_bytes: Option<Duration>,
        seat: Seat,
    ) -> Self {
        Self {
            inner,
            ledger,
            target,
            between_bytes,
            begun: Instant::now(),
            flight: None,
            timer: None,
            _seat: seat,
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.flight.is_none() {
            let step = NetError::ResponseTimeout(format!("{} did not finish its body", self.target));
            self.flight = Some(Flight::begin(&self.ledger, step));
        }
        let Some(between_bytes) = self.between_bytes else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(between_bytes)));
        timer.as_mut().poll(cx).map(|()| {
            self.flight = None;
            Some(Err(Error::ConnectionReadTimeout))
        })
    }
}

impl Body for Inward {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            return self.wait(cx);
        };
        self.timer = None;
        if let Some(flight) = self.flight.take() {
            flight.land();
        }
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                let seen = NetError::from_hyper(&error, &self.target);
                self.ledger.book_failure(&seen);
                code::of(&seen)
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Inward {
    fn drop(&mut self) {
        self.ledger.spend("receive", self.begun.elapsed());
        // Whoever leaves a body unread does not give up on the target.
        if let Some(flight) = self.flight.take() {
            flight.land();
        }
    }
}
