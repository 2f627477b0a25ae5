//! A moment as file systems keep it.

use std::fmt;

/// Seconds since 1970-01-01 00:00 UTC (negative before) and nanoseconds within the second
/// (0 to 999,999,999). Wider than 64-bit nanoseconds, which end in 2262: ext4 holds up to 2446.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanos: u32,
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl Timestamp {
    /// The moment `seconds` and `nanos` after 1970.
    pub const fn new(seconds: i64, nanos: u32) -> Self {
        Self { seconds, nanos }
    }

    /// Nanoseconds since 1970, clamped to what an `i64` holds (the years 1677 to 2262).
    pub fn as_nanos(self) -> i64 {
        let nanos = i128::from(self.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(self.nanos);
        let limit = if nanos < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(nanos).unwrap_or(limit)
    }

    /// The moment `nanos` nanoseconds after 1970.
    pub fn from_nanos(nanos: i64) -> Self {
        // The remainder of a Euclidean division by 10^9 is in 0..10^9 and fits a u32.
        let rest = u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0);
        Self { seconds: nanos.div_euclid(NANOS_PER_SECOND), nanos: rest }
    }

    /// This moment less `nanos` nanoseconds, clamped like [`Timestamp::as_nanos`].
    #[must_use]
    pub fn minus_nanos(self, nanos: i64) -> Self {
        Self::from_nanos(self.as_nanos().saturating_sub(nanos))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_go_there_and_back_on_both_sides_of_1970() {
        for nanos in [0, 1, -1, 999_999_999, -1_000_000_001, i64::MAX, i64::MIN] {
            assert_eq!(Timestamp::from_nanos(nanos).as_nanos(), nanos);
        }
        assert_eq!(Timestamp::from_nanos(-1), Timestamp::new(-1, 999_999_999));
        assert_eq!(Timestamp::new(i64::MAX, 0).as_nanos(), i64::MAX);
    }
}
