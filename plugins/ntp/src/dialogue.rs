//! Asks the server, once for each sample and again where an answer is lost. It tells what was seen; judging that is
//! `verdict`'s business.

use crate::{
    config::Config,
    packet::{self, Answer, Stray},
    timestamp::{Span, Timestamp},
};
use lapwing_plugin_sdk::{Context, Failure, NetError, log, net::Fault, udp::Socket};
use std::time::{Duration, Instant, SystemTime};

/// How many requests may stay without an answer, beyond which there is no point in asking.
const SPARE: u32 = 2;
/// Most datagrams of an attempt that are no answer to it.
const MAX_STRAYS: u32 = 32;
/// Longest datagram looked at: longer ones (extension fields) are cut.
const DATAGRAM: u32 = 1024;
/// Least time that must be left after a pause for another sample.
const ROOM: Duration = Duration::from_millis(500);

/// One answer, and what it says of the clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) answer: Answer,
    /// How far the server's clock is ahead of the worker's.
    pub(crate) offset: Span,
    /// The way there and back, without the time the server thought.
    pub(crate) delay: Span,
    /// From our request to the answer.
    pub(crate) elapsed: Duration,
}

/// What the server showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) samples: Vec<Sample>,
    /// The answer that ended the asking: without a time, or a kiss-o'-death.
    pub(crate) timeless: Option<Answer>,
    /// How many requests stayed without an answer.
    pub(crate) lost: u32,
    pub(crate) strays: u32,
    pub(crate) last_stray: Option<Stray>,
    /// The last failure of the network.
    pub(crate) error: Option<NetError>,
}

/// Asks until there are samples enough, or no hope of any. `Err` when there was nobody to ask.
pub(crate) fn ask(config: &Config, context: &Context) -> Result<Seen, Failure> {
    let mut socket = Socket::open(&config.host, config.port)
        .map_err(|error| error.during(format!("{}:{}", config.host, config.port)))?;
    let mut seen = Seen::default();
    while seen.samples.len() < usize::from(config.samples) && seen.lost <= SPARE {
        if !seen.samples.is_empty() && !pause(config.sample_interval(), context) {
            break;
        }
        let share = context.remaining() / (SPARE + 1 - seen.lost);
        let limit = config
            .step_timeout_ms
            .map_or(share, |limit| Duration::from(limit).min(share));
        match attempt(&mut socket, limit, &mut seen) {
            Ok(sample) if sample.answer.is_synchronized() => seen.samples.push(sample),
            Ok(sample) => {
                seen.timeless = Some(sample.answer);
                break;
            }
            Err(Failed::Network(error)) => {
                log::debug!("no answer: {error}");
                let lost = matches!(error.fault, Fault::Timeout(_));
                seen.error = Some(error);
                if !lost {
                    break;
                }
                seen.lost += 1;
            }
            Err(Failed::Check(failure)) => return Err(failure),
        }
    }
    Ok(seen)
}

/// Waits, if that leaves time for more. It must come to a server as if from a well-behaved client.
#[expect(
    clippy::disallowed_methods,
    reason = "a guest has one thread, its own, and nothing else to do"
)]
fn pause(interval: Duration, context: &Context) -> bool {
    let fits = context.remaining() > interval + ROOM;
    if fits && !interval.is_zero() {
        std::thread::sleep(interval);
    }
    fits
}

enum Failed {
    Network(NetError),
    Check(Failure),
}

/// One request, and the wait for its answer.
fn attempt(socket: &mut Socket, limit: Duration, seen: &mut Seen) -> Result<Sample, Failed> {
    let nonce = getrandom::u64()
        .map_err(|error| Failed::Check(Failure::internal(format!("no randomness: {error}"))))?;
    let (sent, begun) = (now(), Instant::now());
    socket.send(&packet::request(nonce)).map_err(Failed::Network)?;
    for _ in 0..MAX_STRAYS {
        socket.set_timeout(Some(limit.saturating_sub(begun.elapsed())));
        let datagram = socket.receive(DATAGRAM).map_err(Failed::Network)?;
        // The wall clock may jump in between; this one does not.
        let elapsed = begun.elapsed();
        match Answer::parse(&datagram, nonce) {
            Ok(answer) => return Ok(Sample::new(answer, sent, elapsed)),
            Err(stray) => {
                log::debug!("passed over {stray}");
                seen.strays += 1;
                seen.last_stray = Some(stray);
            }
        }
    }
    let flood = Fault::Timeout("response: other datagrams came instead".to_owned());
    Err(Failed::Network(flood.into()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a guest has no other clock than WASI's, and the worker's time is what is compared"
)]
fn now() -> Timestamp {
    Timestamp::at(SystemTime::now())
}

impl Sample {
    /// RFC 5905 §8: offset and delay of the four timestamps.
    pub(crate) fn new(answer: Answer, sent: Timestamp, elapsed: Duration) -> Self {
        let arrived = sent.plus(elapsed);
        let (there, back) = (answer.received.since(sent), answer.sent.since(arrived));
        let thought = answer.sent.since(answer.received);
        Self {
            answer,
            offset: there.mean(back),
            delay: arrived.since(sent).minus(thought),
            elapsed,
        }
    }
}
