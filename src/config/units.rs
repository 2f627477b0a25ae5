//! Durations, sizes and limits as people write them.

use crate::plan::gate::MaxDelete;
use serde::de::{self, Deserializer, Visitor};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How many seconds the units of durations have. Months and years are missing on purpose: they are not all alike, and `M`
/// would be a month to one reader and a minute to the other.
const SECONDS: [(&[&str], u64); 5] = [
    (&["s", "sec", "secs", "second", "seconds"], 1),
    (&["m", "min", "mins", "minute", "minutes"], 60),
    (&["h", "hr", "hrs", "hour", "hours"], 3600),
    (&["d", "day", "days"], 86_400),
    (&["w", "week", "weeks"], 604_800),
];

/// `90s`, `5m`, `2h45m`, `1d`, `5 minutes`, `1h 30m`; also `0`. A number without a unit is refused: `keep = "30"` would be 30
/// seconds where 30 days were meant.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" => Ok(Duration::ZERO),
        number if is_bare(number) => Err(format!(
            "`{number}` has no unit; write \"{number}d\" for days, \"{number}h\", \"{number}m\" for minutes, or \"{number}s\""
        )),
        text => with_units(text),
    }
}

/// A duration in which a number without a unit counts seconds, as the program that this one replaces had it: for the
/// interval alone.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    match text.trim().parse() {
        Ok(seconds) if is_bare(text.trim()) => Ok(Duration::from_secs(seconds)),
        _ => with_units(text.trim()),
    }
}

fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn with_units(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write it like 90s, 5m, 2h45m, 1d or 2 weeks");
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let behind = rest[digits..].trim_start();
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let unit = &behind[..letters];
        let (_, seconds) = SECONDS.iter().find(|(names, _)| names.contains(&unit)).ok_or_else(wrong)?;
        total = number.checked_mul(*seconds).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        rest = behind[letters..].trim_start();
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

/// `64KiB`, `1MiB`, `2GiB`, `1TiB`, for which `64K`, `1M`, `2G`, `1T` are other words; `kB`, `MB`, `GB`, `TB` are powers of
/// ten, `B` is bytes; also `0`. A number without a unit is refused: `verify = "5"` would be 5 bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    match text.trim() {
        "0" => Ok(0),
        number if is_bare(number) => Err(format!(
            "`{number}` has no unit; write \"{number}GiB\", \"{number}MiB\", \"{number}KiB\", or \"{number}B\" for bytes"
        )),
        text => parse_bytes(text),
    }
}

/// A size in which a number without a unit counts bytes, as the program that this one replaces had it: for
/// `hashing_file_chunk_size` alone.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write it like 64KiB, 1MiB or 2GiB");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let factor: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// A whole number, from 0 up.
pub fn parse_count<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is no whole number, or one that is too large"))
}

/// A number of entries, a share like `50%`, or `off`.
pub fn parse_max_delete(text: &str) -> Result<MaxDelete, String> {
    let wrong = || format!("`{text}` is no limit for deletes; write a number, a share like 50%, or off");
    if text == "off" {
        return Ok(MaxDelete::Off);
    }
    match text.strip_suffix('%') {
        Some(share) => {
            let share: f64 = share.trim().parse().map_err(|_| wrong())?;
            if (0.0..=100.0).contains(&share) { Ok(MaxDelete::Percent(share)) } else { Err(wrong()) }
        }
        None => text.parse().map(MaxDelete::Count).map_err(|_| wrong()),
    }
}

/// A value in the config file that is a plain number or a text with a unit.
pub(super) fn text_or_number<'de, D, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct Either<T> {
        expected: &'static str,
        parse: fn(&str) -> Result<T, String>,
    }
    impl<T> Visitor<'_> for Either<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.parse)(text).map_err(E::custom)
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }
    deserializer.deserialize_any(Either { expected, parse })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("0", 0),
            ("90s", 90),
            ("5m", 300),
            ("2h45m", 9900),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("5 minutes", 300),
            ("1 day", 86_400),
            ("2 weeks 1 hr", 1_213_200),
            (" 7s ", 7),
        ] {
            assert_eq!(parse_duration(text).map(|d| d.as_secs()), Ok(seconds), "{text}");
            assert_eq!(parse_interval(text).map(|d| d.as_secs()), Ok(seconds), "{text}");
        }
        for wrong in [
            "",
            "s",
            "5x",
            "-5",
            "5m3",
            "1h30",
            "1.5h",
            "99999999999999999999d",
            "٣m",
            "1y",
            "5M",
            "1month",
            "+5",
            "5m,",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
            assert!(parse_interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_has_no_unit_is_an_error_that_proposes_some_but_for_the_old_names() {
        assert_eq!(parse_interval("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for bare in ["1", "30", "00", "4096", "99999999999999999999"] {
            let (duration, size) = (parse_duration(bare).unwrap_err(), parse_size(bare).unwrap_err());
            assert!(duration.contains(&format!("\"{bare}d\"")), "{duration}");
            assert!(size.contains(&format!("\"{bare}MiB\"")), "{size}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096B", 4096),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("1 GiB", 1 << 30),
            ("2kB", 2000),
            ("10MB", 10_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (short, long) in [("10K", "10KiB"), ("10M", "10MiB"), ("10G", "10GiB"), ("10T", "10TiB")] {
            assert_eq!(parse_size(short), parse_size(long));
        }
        for wrong in ["", "KiB", "1.5MiB", "-1", "1XB", "10Mb", "10mb", "99999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_for_deletes() {
        assert_eq!(parse_max_delete("50%"), Ok(MaxDelete::Percent(50.0)));
        assert_eq!(parse_max_delete("0"), Ok(MaxDelete::Count(0)));
        assert_eq!(parse_max_delete("off"), Ok(MaxDelete::Off));
        for wrong in ["", "%", "101%", "-1", "NaN%", "many"] {
            assert!(parse_max_delete(wrong).is_err(), "{wrong}");
        }
    }
}
