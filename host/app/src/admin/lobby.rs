//! The connections to the API: how many there may be, who makes room for whom, and how long a request may take to come.
//!
//! A connection waits for its client until a request is there whole, and again once it is answered. When every place is
//! taken, the one that has waited longest is closed for a newcomer: whoever holds connections open, or stops halfway
//! through a request, bars nobody. A body that is not read counts as awaited.

use axum::{
    BoxError,
    body::{Bytes, HttpBody},
};
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

/// Connections at a time, so that no client can use up the process's file descriptors.
pub(super) const PLACES: usize = 64;
/// How long a body may take to begin, and beyond its length at [`LEAST_PACE`].
const PATIENCE: Duration = Duration::from_secs(10);
/// What must arrive of a body on the whole, in bytes a second.
const LEAST_PACE: u64 = 32 << 10;

/// The connections of one server.
pub(super) struct Lobby {
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    /// One more waits.
    began: Notify,
}

/// Those that wait for their clients, who waits longest first.
#[derive(Default)]
struct Waiting {
    seats: Vec<(u64, CancellationToken)>,
    /// Numbers the seats.
    next: u64,
}

/// One connection's place, given back when it is dropped.
pub(super) struct Seat {
    lobby: Arc<Lobby>,
    number: u64,
    leave: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Waiting {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Lobby {
    /// With this many places.
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            waiting: Mutex::default(),
            began: Notify::new(),
        })
    }

    /// A place for one more connection, which waits for its client: a free one, or that of who has waited longest. To
    /// be asked by one at a time; `None` only if the semaphore were closed, which nobody does.
    pub(super) async fn seat(self: &Arc<Self>) -> Option<Arc<Seat>> {
        let place = loop {
            let place = self.places.clone().acquire_owned();
            if self.places.available_permits() > 0 || self.send_away() {
                break place.await;
            }
            tokio::select! {
                place = place => break place,
                () = self.began.notified() => {}
            }
        };
        let seat = Seat {
            lobby: self.clone(),
            number: self.waiting().number(),
            leave: CancellationToken::new(),
            _place: place.ok()?,
        };
        seat.wait();
        Some(Arc::new(seat))
    }

    /// Asks the one that has waited longest to leave, if there is one.
    fn send_away(&self) -> bool {
        let mut waiting = self.waiting();
        let longest = (!waiting.seats.is_empty()).then(|| waiting.seats.remove(0));
        longest.is_some_and(|(_, leave)| {
            leave.cancel();
            true
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// It waits for its client, from now on.
    pub(super) fn wait(&self) {
        self.work();
        self.lobby.waiting().seats.push((self.number, self.leave.clone()));
        self.lobby.began.notify_one();
    }

    /// Its client waits for it.
    fn work(&self) {
        self.lobby
            .waiting()
            .seats
            .retain(|(number, _)| *number != self.number);
    }

    /// Comes when it must make room.
    pub(super) async fn sent_away(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.work();
    }
}

/// A request's body, which must come at a pace.
pub(super) struct Paced<B> {
    body: B,
    seat: Arc<Seat>,
    begun: Instant,
    length: u64,
    end: Pin<Box<Sleep>>,
}

impl<B: HttpBody> Paced<B> {
    /// Of the request that just came over the connection with this seat.
    pub(super) fn new(body: B, seat: Arc<Seat>) -> Self {
        if body.is_end_stream() {
            seat.work();
        }
        Self {
            body,
            seat,
            begun: Instant::now(),
            length: 0,
            end: Box::pin(sleep(PATIENCE)),
        }
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin> HttpBody for Paced<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            ready!(this.end.as_mut().poll(cx));
            let why = format!(
                "the body comes too slowly: after {PATIENCE:?}, {LEAST_PACE} bytes a second at least"
            );
            return Poll::Ready(Some(Err(why.into())));
        };
        if let Some(Ok(frame)) = &frame {
            this.length += frame.data_ref().map_or(0, |data| data.len() as u64);
            let due = Duration::from_millis(this.length * 1000 / LEAST_PACE);
            this.end.as_mut().reset(this.begun + PATIENCE + due);
        }
        if frame.is_none() || this.body.is_end_stream() {
            this.seat.work();
        } else {
            this.seat.wait();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use futures_util::stream;
    use std::{convert::Infallible, future::poll_fn};

    #[tokio::test]
    async fn who_waits_longest_makes_room_and_who_is_worked_for_does_not() {
        let lobby = Lobby::new(3);
        let worked_for = lobby.seat().await.unwrap();
        let (longest, other) = (lobby.seat().await.unwrap(), lobby.seat().await.unwrap());
        worked_for.work();
        let newcomer = tokio::spawn({
            let lobby = lobby.clone();
            async move { lobby.seat().await }
        });
        longest.sent_away().await;
        assert!(!other.leave.is_cancelled() && !newcomer.is_finished());
        drop(longest);
        let newcomer = newcomer.await.unwrap().unwrap();
        assert!(!other.leave.is_cancelled(), "one newcomer needs one place");

        // When all are worked for, the first that waits again makes room.
        other.work();
        newcomer.work();
        let last = tokio::spawn(async move { lobby.seat().await });
        tokio::task::yield_now().await;
        assert!(!newcomer.leave.is_cancelled() && !other.leave.is_cancelled());
        worked_for.wait();
        worked_for.sent_away().await;
        drop(worked_for);
        assert!(last.await.unwrap().is_some());
    }

    /// What comes of a body of `count` pieces of this length, one every `pause`.
    async fn read(count: usize, length: usize, pause: Duration) -> Result<u64, String> {
        let pieces = stream::unfold(0, move |sent| async move {
            sleep(pause).await;
            (sent < count).then(|| (Ok::<_, Infallible>(Bytes::from(vec![0; length])), sent + 1))
        });
        let seat = Lobby::new(1).seat().await.unwrap();
        let mut body = Paced::new(Body::from_stream(pieces), seat);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            frame.map_err(|error| error.to_string())?;
        }
        Ok(body.length)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_take_its_time_as_long_as_it_comes() {
        let (second, mebi) = (Duration::from_secs(1), 1 << 20);
        assert_eq!(read(30, mebi, 9 * second).await, Ok(30 << 20));
        assert_eq!(read(5, 1, second).await, Ok(5));
        // Stalled, and dripping.
        for (count, pause) in [(1, 3600 * second), (1000, 9 * second)] {
            let begun = Instant::now();
            assert!(read(count, 1, pause).await.unwrap_err().contains("too slowly"));
            assert!(begun.elapsed() < 11 * second, "{:?}", begun.elapsed());
        }
    }
}
