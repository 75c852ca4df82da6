//! The clocks and the chance that `describe` finds: made up, and the same on every machine.
//!
//! Operators decide by what a plugin says of itself, so that must follow from its file alone. It is asked on both
//! stages, far apart in time and chance, and refused when that makes a difference; what passes can be no different
//! another day or elsewhere, for no third stage is ever set.

use crate::guest::Guest;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtxBuilder, p2::DynPollable, random::Deterministic,
};

/// Random bytes before they come again.
const BYTES: usize = 4096;
/// Between two looks at the clock, so that who waits for a time to come sees it come.
const STEP: Duration = Duration::from_millis(1);

/// Time that is always left.
pub(crate) const BUDGET: Duration = Duration::from_secs(1);

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// 1 January 1980, soon after the machine was started.
    First,
    /// The last evening of 2099, a year after.
    Second,
}

impl Stage {
    /// Unix time, and time since the machine was started.
    fn times(self) -> (Duration, Duration) {
        match self {
            Self::First => (Duration::new(315_532_801, 123_456_789), Duration::from_secs(7)),
            Self::Second => (
                Duration::new(4_102_444_598, 987_654_321),
                Duration::from_secs(31_557_610),
            ),
        }
    }

    /// Puts it in the place of the worker's own clocks and randomness.
    pub(crate) fn set(self, wasi: &mut WasiCtxBuilder) {
        let (wall, machine) = self.times();
        let chance = |what: &str| {
            let mut bytes = vec![0; BYTES];
            let mut hasher = blake3::Hasher::new();
            hasher.update(format!("lapwing describe {self:?} {what}").as_bytes());
            hasher.finalize_xof().fill(&mut bytes);
            bytes
        };
        let seed = chance("seed")
            .first_chunk()
            .map_or(0, |seed| u128::from_le_bytes(*seed));
        wasi.wall_clock(Clock::at(wall))
            .monotonic_clock(Clock::at(machine))
            .secure_random(Deterministic::new(chance("secure")))
            .insecure_random(Deterministic::new(chance("insecure")))
            .insecure_random_seed(seed);
    }
}

/// Nobody waits on a stage: how long that takes is this machine's affair, and would tell one machine from another.
pub(crate) fn forbid_waiting(linker: &mut Linker<Guest>) -> Result<()> {
    fn refusal<T>() -> Result<T> {
        Err(wasmtime::Error::msg(
            "it waits for something (`wasi:io/poll`), which `describe` must not",
        ))
    }
    linker.allow_shadowing(true);
    let mut poll = linker.instance("wasi:io/poll@0.2.12")?;
    poll.func_wrap("poll", |_, (_,): (Vec<Resource<DynPollable>>,)| {
        refusal::<(Vec<u32>,)>()
    })?;
    poll.func_wrap("[method]pollable.block", |_, (_,): (Resource<DynPollable>,)| {
        refusal::<()>()
    })?;
    poll.func_wrap("[method]pollable.ready", |_, (_,): (Resource<DynPollable>,)| {
        refusal::<(bool,)>()
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A clock that goes on when it is looked at.
struct Clock(AtomicU64);

impl Clock {
    fn at(time: Duration) -> Self {
        Self(AtomicU64::new(nanos(time)))
    }

    fn look(&self) -> u64 {
        self.0.fetch_add(nanos(STEP), Relaxed)
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        STEP
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.look())
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        nanos(STEP)
    }

    fn now(&self) -> u64 {
        self.look()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_starts_where_it_did_and_goes_on() {
        let looks = || {
            let (wall, machine) = Stage::First.times();
            let (wall, machine) = (Clock::at(wall), Clock::at(machine));
            [
                HostWallClock::now(&wall),
                HostWallClock::now(&wall),
                Duration::from_nanos(HostMonotonicClock::now(&machine)),
            ]
        };
        assert_eq!(looks(), looks());
        assert_eq!(looks()[1], looks()[0] + STEP);
        assert!(
            Stage::Second.times().0 > Stage::First.times().0
                && Stage::Second.times().1 > Stage::First.times().1
        );
    }
}
