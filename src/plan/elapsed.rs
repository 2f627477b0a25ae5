//! How much time has passed, counted so that a clock that jumps cannot make it more.
//!
//! What is kept for a while must not be lost because a clock was set: a board without a battery starts in 2020, a
//! wrong server moves the clock five years ahead. So age is not the difference between two readings of the clock:
//! - While the machine is on, the time since it was started counts, which nobody can set.
//! - Over the time that it was off, the clock counts, but at most a part of what is to be measured, and only when the
//!   clock has had a day to be set right: then, or when the machine is started again, is the reading taken that counts.

/// One reading of both clocks, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which start of the machine this is; empty where the system does not tell.
    pub boot: String,
    /// Time since then.
    pub uptime: i64,
    /// The clock, since 1970.
    pub wall: i64,
}

/// All that must be remembered between two readings, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// What was counted until the machine was started last.
    pub passed: i64,
    /// The latest that the clock stood at in a reading before that.
    pub latest: i64,
    /// The uptime of the first reading since then.
    pub first: i64,
    /// The last reading.
    pub last: Reading,
}

/// After so many seconds a clock that was wrong when the machine was started has been set right, or nobody will.
const SETTLED: i64 = 86_400;

/// A recorded reading may be so many seconds old: an idle run need not write.
const STALE: i64 = 3600;

impl Elapsed {
    /// Begins with this reading.
    pub fn begin(reading: Reading) -> Self {
        Self { passed: 0, latest: reading.wall, first: reading.uptime, last: reading }
    }

    /// Counts on to this reading. Time for which the machine was off counts as no more than `most`.
    #[must_use]
    pub fn advance(&self, reading: Reading, most: i64) -> Self {
        if reading.boot == self.last.boot && reading.uptime >= self.last.uptime {
            return Self { last: reading, ..self.clone() };
        }
        Self {
            passed: self.passed + self.on() + self.off(most),
            latest: self.latest.max(self.last.wall),
            first: reading.uptime,
            last: reading,
        }
    }

    /// Returns the seconds that have passed since the first reading of all.
    pub fn seconds(&self, most: i64) -> i64 {
        let off = if self.on() >= SETTLED { self.off(most) } else { 0 };
        self.passed + self.on() + off
    }

    /// Returns true if `recorded` is so old that it must be replaced by this one.
    pub fn outdates(&self, recorded: &Self) -> bool {
        self.last.boot != recorded.last.boot
            || !(0..STALE).contains(&self.last.uptime.saturating_sub(recorded.last.uptime))
    }

    /// The time from the first reading since the machine was started to the last.
    fn on(&self) -> i64 {
        self.last.uptime.saturating_sub(self.first)
    }

    /// The time before that first reading, as the clock tells by now.
    fn off(&self, most: i64) -> i64 {
        let began = self.last.wall.saturating_sub(self.on());
        began.saturating_sub(self.latest).clamp(0, most.max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 86_400;
    const YEAR: i64 = 365 * DAY;
    /// Half of `keep = "30d"`.
    const MOST: i64 = 15 * DAY;
    const NOW: i64 = 56 * YEAR;

    /// Readings as the number of the boot, uptime and clock; what has passed after each.
    fn passed(readings: &[(u32, i64, i64)]) -> Vec<i64> {
        let reading =
            |&(boot, uptime, wall): &(u32, i64, i64)| Reading { boot: boot.to_string(), uptime, wall };
        let mut elapsed = Elapsed::begin(reading(&readings[0]));
        let mut all = Vec::new();
        for each in readings {
            elapsed = elapsed.advance(reading(each), MOST);
            all.push(elapsed.seconds(MOST));
        }
        all
    }

    #[test]
    fn while_the_machine_is_on_no_clock_makes_time_pass() {
        let jumps = [(1, 0, NOW), (1, 60, NOW + 5 * YEAR), (1, 120, NOW - 6 * YEAR), (1, DAY, NOW + DAY)];
        assert_eq!(passed(&jumps), [0, 60, 120, DAY]);
    }

    #[test]
    fn while_it_is_off_the_clock_counts_when_it_has_had_time_to_be_set() {
        // Off for two days; and on for a day after that.
        let rest = [(1, 0, NOW), (2, 60, NOW + 2 * DAY), (2, 60 + DAY, NOW + 3 * DAY)];
        assert_eq!(passed(&rest), [0, 0, 3 * DAY]);
        // Or started again after that.
        let again =
            [(1, 0, NOW), (2, 60, NOW + 2 * DAY), (3, 60, NOW + 5 * DAY), (4, 60, NOW + 5 * DAY + HOUR)];
        assert_eq!(passed(&again), [0, 0, 2 * DAY, 5 * DAY]);
    }

    #[test]
    fn a_clock_that_is_set_right_after_the_start_is_believed_and_not_the_wrong_one() {
        // It starts five years ahead each day, and is set right within the hour.
        let mut readings = vec![(0, 0, NOW)];
        for day in 1..20 {
            let boot = u32::try_from(day).unwrap();
            readings.extend([(boot, 60, NOW + 5 * YEAR), (boot, HOUR, NOW + day * DAY)]);
        }
        let all = passed(&readings);
        assert!(all.iter().all(|&seconds| seconds <= 19 * DAY), "{all:?}");
        assert!(all[all.len() - 1] > 17 * DAY, "{all:?}");
        // A board without a battery starts in 2020, sometimes without a network.
        let board = [
            (1, 60, NOW),
            (2, 60, NOW - 6 * YEAR),
            (3, 60, NOW - 6 * YEAR),
            (3, HOUR, NOW + DAY),
            (4, 60, NOW + 2 * DAY),
        ];
        let all = passed(&board);
        assert!(all.iter().all(|&seconds| seconds <= 2 * DAY), "{all:?}");
    }

    #[test]
    fn a_start_with_a_wrong_clock_that_nobody_sets_counts_as_no_more_than_the_most() {
        let wrong = [(1, 0, NOW), (2, 0, NOW + 5 * YEAR), (3, 0, NOW + 5 * YEAR + 1), (3, DAY, NOW + DAY)];
        assert_eq!(passed(&wrong), [0, 0, MOST, MOST + DAY]);
    }

    #[test]
    fn a_machine_that_is_on_once_a_month_gets_there() {
        let months: Vec<_> = (0..5).map(|month| (month, 60, NOW + i64::from(month) * 30 * DAY)).collect();
        assert_eq!(passed(&months), [0, 0, MOST, 2 * MOST, 3 * MOST]);
    }

    #[test]
    fn a_manifest_that_two_machines_share_counts_no_time_twice() {
        // Both have been on for a hundred days.
        let both = [
            (1, 100 * DAY, NOW),
            (2, 100 * DAY, NOW + HOUR),
            (1, 100 * DAY + 2 * HOUR, NOW + 2 * HOUR),
            (2, 100 * DAY + 3 * HOUR, NOW + 4 * HOUR),
        ];
        let all = passed(&both);
        assert!(all.iter().all(|&seconds| seconds <= 4 * HOUR), "{all:?}");
    }

    #[test]
    fn a_reading_is_recorded_when_it_is_an_hour_old_or_of_another_start() {
        let of = |boot: &str, uptime| Elapsed::begin(Reading { boot: boot.to_owned(), uptime, wall: NOW });
        for (now, recorded, outdated) in [
            (of("a", 10), of("a", 10), false),
            (of("a", STALE), of("a", 1), false),
            (of("a", STALE + 1), of("a", 1), true),
            (of("b", 10), of("a", 10), true),
            (of("a", 9), of("a", 10), true),
        ] {
            assert_eq!(now.outdates(&recorded), outdated, "{now:?} {recorded:?}");
        }
    }
}
