//! The clock, and times as people and machines read them.

use crate::model::Timestamp;
use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use rustix::time::{ClockId, clock_getres, clock_gettime};
use std::time::Duration;

/// The time now, by the same clock that file systems stamp with.
pub fn now() -> Timestamp {
    let now = clock_gettime(ClockId::Realtime);
    Timestamp::new(now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The time since the machine was started, which goes on while it sleeps and which nobody can set.
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Returns which start of the machine this is; empty where the system does not tell.
pub fn boot() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// How long a kernel tick is, in nanoseconds: file systems stamp with the time of the last one.
pub fn tick_nanos() -> i64 {
    let tick = clock_getres(ClockId::RealtimeCoarse);
    tick.tv_sec.saturating_mul(1_000_000_000).saturating_add(tick.tv_nsec)
}

/// RFC 3339 in UTC with milliseconds, for machines.
pub fn rfc3339(time: Timestamp) -> String {
    utc(time).map_or_else(|| time.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// RFC 3339 in UTC with nanoseconds, for figures that are compared to the nanosecond.
pub fn rfc3339_nanos(time: Timestamp) -> String {
    utc(time).map_or_else(|| time.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Nanos, true))
}

/// Local time to the second with the offset, for people.
pub fn readable(time: Timestamp) -> String {
    utc(time).map_or_else(
        || time.to_string(),
        |t| t.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string(),
    )
}

/// Local time to the millisecond with the offset, as log lines begin.
pub fn readable_millis(time: Timestamp) -> String {
    utc(time).map_or_else(
        || time.to_string(),
        |t| t.with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Millis, false),
    )
}

/// The time of day to the second in local time, for what is read on the same day.
pub fn time_of_day(time: Timestamp) -> String {
    utc(time).map_or_else(|| time.to_string(), |t| t.with_timezone(&Local).format("%H:%M:%S").to_string())
}

/// The time as part of a file name: `20261122T195646Z`.
pub fn file_stamp(time: Timestamp) -> String {
    utc(time).map_or_else(|| time.seconds.to_string(), |t| t.format("%Y%m%dT%H%M%SZ").to_string())
}

/// A time as people write it: RFC 3339, or local time as `2026-11-26 19:05:04`, `2026-11-26 19:05` or `2026-11-26`
/// (the beginning of that day).
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(Timestamp::new(time.timestamp(), time.timestamp_subsec_nanos()));
    }
    let formats = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    let parsed = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    // Where clocks are put back a time comes twice; the earlier one is meant.
    let local = parsed.or_else(day)?.and_local_timezone(Local).earliest()?;
    Some(Timestamp::new(local.timestamp(), 0))
}

fn utc(time: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, time.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_expected() {
        let time = Timestamp::new(1_700_000_000, 123_456_789);
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20.123Z");
        assert_eq!(file_stamp(time), "20231114T221320Z");
        assert_eq!(rfc3339(Timestamp::new(i64::MAX, 0)), format!("{}.000000000", i64::MAX));
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse("2023-11-14T22:13:20Z"), Some(Timestamp::new(1_700_000_000, 0)));
        assert_eq!(parse("2023-11-14T23:13:20.5+01:00"), Some(Timestamp::new(1_700_000_000, 500_000_000)));
        let day = parse("2023-11-14").unwrap();
        assert_eq!(parse("2023-11-14 00:00"), Some(day));
        assert_eq!(parse("2023-11-14 01:01:01"), Some(Timestamp::new(day.seconds + 3661, 0)));
        for wrong in ["", "yesterday", "2023-13-01", "1700000000"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_tick_is_between_a_microsecond_and_a_second() {
        assert!((1_000..=1_000_000_000).contains(&tick_nanos()), "{}", tick_nanos());
    }
}
