//! Durations, sizes and limits as people write them.

use crate::plan::gate::MaxDelete;
use serde::de::{self, Deserializer, Visitor};
use std::fmt;
use std::time::Duration;

/// `90` and `90s` (seconds), `5m`, `2h45m`, `1d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write it like 90s, 5m, 2h45m or 1d");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(seconds).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

/// `4096`, `64KiB`, `1MiB`, `2GiB`, `1TiB`; `kB`, `MB`, `GB`, `TB` are powers of ten.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write it like 4096, 64KiB, 1MiB or 2GiB");
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
            ("90", Some(90)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("2h45m", Some(9900)),
            ("1d", Some(86_400)),
        ] {
            assert_eq!(parse_duration(text).ok().map(|d| d.as_secs()), seconds, "{text}");
        }
        for wrong in ["", "s", "5", "5x", "-5", "5m3", "1.5h", "99999999999999999999d", "٣m"] {
            if wrong != "5" {
                assert!(parse_duration(wrong).is_err(), "{wrong}");
            }
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("4096", 4096), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1 GiB", 1 << 30), ("2kB", 2000)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "KiB", "1.5MiB", "-1", "1XB", "99999999999TiB"] {
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
