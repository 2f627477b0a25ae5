//! Short random names for what is not yet whole.

use crate::plan::is_temporary_name;
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;

/// `.twinfold-<hex>.tmp`: where an entry is made before it gets its final name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemporaryName(String);

impl TemporaryName {
    /// So many fresh names that nobody can guess, from one call for randomness.
    pub fn fresh(count: usize) -> io::Result<Vec<Self>> {
        const BYTES: usize = 8;
        let mut random = vec![0_u8; count * BYTES];
        let mut filled = 0;
        while filled < random.len() {
            filled += getrandom(&mut random[filled..], GetRandomFlags::empty())?;
        }
        let name = |bytes: &[u8]| {
            let number = bytes.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
            Self(format!(".twinfold-{number:016x}.tmp"))
        };
        Ok(random.chunks_exact(BYTES).map(name).collect())
    }

    /// The name that an earlier run gave; `None`: it is no name of a temporary.
    pub fn given(name: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(name).ok().filter(|_| is_temporary_name(name))?;
        Some(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_names_are_recognised_and_differ() {
        let names = TemporaryName::fresh(3).unwrap();
        assert!(names.iter().all(|name| is_temporary_name(name.as_bytes())));
        assert_ne!(names[0], names[1]);
        assert_eq!(names.len(), 3);
        assert_eq!(TemporaryName::given(names[0].as_bytes()).as_ref(), Some(&names[0]));
        for name in [&b"../.twinfold-1.tmp"[..], b".twinfold-1.tmp/x", b"x", b""] {
            assert_eq!(TemporaryName::given(name), None);
        }
    }
}
