//! NTP's time: seconds since 1900 and their fractions in 64 bits, which wrap around in 2036 and every 136 years after
//! (RFC 5905 §6). No I/O.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from 1900 to 1970.
const UNIX: u64 = 2_208_988_800;

/// A moment of some era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp(pub(crate) u64);

/// A signed difference of moments, in 2⁻³² seconds; moments more than 68 years apart seem closer than they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(i64);

impl Timestamp {
    /// What a server sends that has no time to tell.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self((since.as_secs().wrapping_add(UNIX) << 32) | fraction(since))
    }

    pub(crate) fn plus(self, elapsed: Duration) -> Self {
        Self(self.0.wrapping_add((elapsed.as_secs() << 32) | fraction(elapsed)))
    }

    pub(crate) fn since(self, earlier: Self) -> Span {
        Span(self.0.wrapping_sub(earlier.0).cast_signed())
    }
}

impl Span {
    /// Half of the sum, which itself may not fit.
    pub(crate) fn mean(self, other: Self) -> Self {
        Self(self.0.midpoint(other.0))
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(crate) fn milliseconds(self) -> f64 {
        milliseconds(self.0, 32)
    }
}

/// The milliseconds of a fixed-point number of seconds with `bits` of fraction.
#[expect(
    clippy::cast_precision_loss,
    reason = "only spans of years lose precision, and then less than a microsecond in each"
)]
pub(crate) fn milliseconds(seconds: i64, bits: u32) -> f64 {
    seconds as f64 / (1_u64 << bits) as f64 * 1e3
}

fn fraction(time: Duration) -> u64 {
    (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::at(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-5
    }

    #[test]
    fn the_epochs_are_those_of_rfc_5905() {
        assert_eq!(at(0).0 >> 32, 2_208_988_800);
        // 8 February 2036, 06:28:16 UTC (§6, figure 4).
        assert_eq!(at(2_085_978_496).0, 0);
    }

    #[test]
    fn differences_hold_across_an_era() {
        let (before, after) = (at(2_085_978_490), at(2_085_978_500));
        assert!(close(after.since(before).milliseconds(), 10_000.0));
        assert!(close(before.since(after).milliseconds(), -10_000.0));
        assert_eq!(before.plus(Duration::from_secs(10)), after);
    }

    #[test]
    fn fractions_are_kept() {
        let start = at(1_700_000_000);
        let later = start.plus(Duration::from_micros(1_234_567));
        assert!(close(later.since(start).milliseconds(), 1234.567));
        assert!(close(milliseconds(1 << 15, 16), 500.0));
    }

    #[test]
    fn no_difference_overflows() {
        let (low, high) = (Span(i64::MIN), Span(i64::MAX));
        assert_eq!(low.mean(low), low);
        assert_eq!(high.mean(high), high);
        assert_eq!(low.minus(high), low);
    }
}
