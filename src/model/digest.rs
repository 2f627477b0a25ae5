//! The name of a content: its MD5.

use std::fmt;

/// An MD5 digest (RFC 1321). It names content and finds candidates; it never decides alone that
/// bytes need not be copied, because collisions are made to order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut text = [0; 32];
        for (place, digit) in text.iter_mut().zip(digits) {
            *place = DIGITS[usize::from(digit)];
        }
        // Digits are text; the fallback cannot be reached.
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
