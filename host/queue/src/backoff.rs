//! Growing, jittered pauses between tries, so that a fleet that failed together does not try again together.

use std::time::Duration;

/// Doubles from `floor` to `cap`; each pause is a random one between half of that and all of it.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    floor: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(floor: Duration, cap: Duration) -> Self {
        Self {
            floor,
            cap,
            next: floor,
        }
    }

    /// The next pause.
    pub(crate) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.cap);
        jittered(whole)
    }

    /// Starts again from the floor.
    pub(crate) fn reset(&mut self) {
        self.next = self.floor;
    }
}

/// A random duration between half of `whole` and all of it.
pub(crate) fn jittered(whole: Duration) -> Duration {
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// How long a task waits before it is tried again after its `attempt`th try failed by our own doing: 1 s, doubling up to
/// 5 min, jittered. Where the dialect's stock software has a rule of its own, that holds.
pub(crate) fn retry_pause(attempt: u32) -> Duration {
    let doubled = Duration::from_secs(1).saturating_mul(1 << attempt.saturating_sub(1).min(16));
    jittered(doubled.min(Duration::from_secs(300)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_start_again_after_a_reset() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(35));
        for whole in [10, 20, 35, 35] {
            let pause = backoff.pause();
            assert!(
                pause >= ms(whole) / 2 && pause <= ms(whole),
                "{pause:?} for {whole} ms"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= ms(10));
    }
}
