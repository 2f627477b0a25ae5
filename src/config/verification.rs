//! How much is verified along with each run, and what an adoption takes on trust.

use super::ConfigError;
use super::units::parse_size;
use serde::Deserialize;

/// How a replica that has files without rows is taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopt {
    /// Both contents are read and compared.
    #[default]
    Verify,
    /// Where size and time agree, nothing is read; what was not read counts as unverified.
    TrustMetadata,
}

/// A part of the bytes of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Portion {
    /// Nothing.
    #[default]
    Off,
    /// Percent of them, more than 0 and at most 100.
    Share(f64),
    /// So many.
    Bytes(u64),
}

impl Portion {
    /// What a text has to look like.
    pub const EXPECTED: &'static str = "a share like \"1%\", a size like \"10GiB\" or \"off\"";

    /// Reads `1%`, `10GiB` or `off`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is none of the expected: {}", Self::EXPECTED);
        if text == "off" {
            return Ok(Portion::Off);
        }
        if let Some(share) = text.strip_suffix('%') {
            let share: f64 = share.trim().parse().map_err(|_| wrong())?;
            return if share > 0.0 && share <= 100.0 { Ok(Portion::Share(share)) } else { Err(wrong()) };
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !matches!(text, "" | "0") {
            return Err(format!(
                "`{text}` has no unit; write \"{text}%\" for a share, or a size like \"{text}GiB\""
            ));
        }
        match parse_size(text).map_err(|_| wrong())? {
            0 => Ok(Portion::Off),
            bytes => Ok(Portion::Bytes(bytes)),
        }
    }

    /// How many of `all` bytes that is; `None`: nothing.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is not exact"
    )]
    pub fn of(self, all: u64) -> Option<u64> {
        match self {
            Portion::Off => None,
            Portion::Share(percent) => Some((all as f64 * percent / 100.0).ceil() as u64),
            Portion::Bytes(bytes) => Some(bytes),
        }
    }
}

/// Reads a share of more than 0 and at most 100 percent, as `5%`.
pub fn parse_share(text: &str) -> Result<f64, String> {
    match Portion::parse(text) {
        Ok(Portion::Share(share)) => Ok(share),
        _ => Err(ConfigError::Invalid(format!("`{text}` is no share; write it as 5%")).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_shares_sizes_or_off() {
        assert_eq!(Portion::parse("off"), Ok(Portion::Off));
        assert_eq!(Portion::parse("0"), Ok(Portion::Off));
        assert_eq!(Portion::parse("1%"), Ok(Portion::Share(1.0)));
        assert_eq!(Portion::parse("0.5 %"), Ok(Portion::Share(0.5)));
        assert_eq!(Portion::parse("2KiB"), Ok(Portion::Bytes(2048)));
        for wrong in ["", "0%", "101%", "-1%", "x%", "NaN%", "some", "5", "100"] {
            assert!(Portion::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Portion::Share(1.0).of(1000), Some(10));
        assert_eq!(Portion::Share(1.0).of(1), Some(1), "never nothing of something");
        assert_eq!(Portion::Bytes(7).of(1), Some(7));
        assert_eq!(Portion::Off.of(1), None);
    }
}
