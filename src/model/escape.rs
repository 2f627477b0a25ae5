//! Names as a person may safely read them: nothing that forges a log line or drives a terminal.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Writes `bytes` as text, with control characters (C0, DEL, C1), bidirectional overrides, line
/// and paragraph separators, backslashes and bytes that are not UTF-8 as backslash escapes.
///
/// The form can be reversed: `\\`, `\n`, `\t`, `\r`, `\xNN` for a byte, `\u{N}` for a character.
pub fn write_escaped(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    if bytes.iter().all(|&b| (0x20..0x7f).contains(&b) && b != b'\\') {
        // Proved ASCII just above; the fallback cannot be reached and loses nothing if it were.
        return out.write_str(std::str::from_utf8(bytes).unwrap_or_default());
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.write_str("\\\\")?,
                character => write_tame(out, character)?,
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

fn write_tame(out: &mut impl Write, character: char) -> fmt::Result {
    match character {
        '\n' => out.write_str("\\n"),
        '\t' => out.write_str("\\t"),
        '\r' => out.write_str("\\r"),
        c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
        c if c.is_control() || drives_direction(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
        c => out.write_char(c),
    }
}

/// One line of a message in which names may stand as they are: what drives a terminal or forges a
/// line is escaped, and backslashes stay, because names that were escaped before have them.
pub fn tamed(message: &str) -> Cow<'_, str> {
    let is_plain = message.bytes().all(|byte| matches!(byte, 0x20..0x7f));
    if is_plain || !message.chars().any(|c| c.is_control() || drives_direction(c)) {
        return Cow::Borrowed(message);
    }
    let mut text = String::with_capacity(message.len() + 16);
    for character in message.chars() {
        // Writing to a String cannot fail.
        let _ = write_tame(&mut text, character);
    }
    Cow::Owned(text)
}

/// Characters that reorder or break what stands around them (Unicode UAX #9 and UAX #14).
fn drives_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// [`write_escaped`] into a new string.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    // Writing to a String cannot fail.
    let _ = write_escaped(&mut text, bytes);
    text
}

/// Bytes for people: `512 B`, `1.5 KiB`, `20.0 GiB`.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_stays_and_what_is_not_is_escaped() {
        let table: [(&[u8], &str); 9] = [
            (b"plain name.txt", "plain name.txt"),
            ("grün".as_bytes(), "grün"),
            (b"a\nb\tc\rd", "a\\nb\\tc\\rd"),
            (b"\x1b[31m", "\\x1b[31m"),
            (b"back\\slash", "back\\\\slash"),
            (b"caf\xe9", "caf\\xe9"),
            ("\u{202e}gpj.exe".as_bytes(), "\\u{202e}gpj.exe"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            (b"\x7f", "\\x7f"),
        ];
        for (bytes, text) in table {
            assert_eq!(escaped(bytes), text);
        }
    }

    #[test]
    fn every_character_that_reorders_or_breaks_lines_is_escaped() {
        let driving = ['\u{200e}', '\u{200f}', '\u{61c}', '\u{2028}', '\u{2029}', '\u{feff}']
            .into_iter()
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
            .chain('\u{0}'..='\u{1f}')
            .chain('\u{7f}'..='\u{9f}');
        for character in driving {
            let name = format!("a{character}b");
            for text in [escaped(name.as_bytes()), tamed(&name).into_owned()] {
                assert!(
                    text.starts_with("a\\") && text.chars().all(|c| c == 'b' || c.is_ascii_graphic()),
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn a_message_keeps_what_was_escaped_before() {
        assert_eq!(tamed("a\\nb gr\u{fc}n"), "a\\nb gr\u{fc}n");
        assert_eq!(tamed("a\nb\x1b[2J"), "a\\nb\\x1b[2J");
    }
}
