//! On what a root lies: the part of its identity that a reboot does not move.

use super::escape::escaped;
use std::fmt;

/// The mount that a root lies on. Device numbers and file system ids are left out: they change
/// over reboots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootMount {
    /// Where it is mounted, as raw bytes.
    pub point: Vec<u8>,
    /// Which type of file system is mounted there.
    pub filesystem: String,
}

impl fmt::Display for RootMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} mounted at {}", escaped(self.filesystem.as_bytes()), escaped(&self.point))
    }
}

/// The mounts of both roots, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootMounts {
    /// What the source lies on.
    pub source: Option<RootMount>,
    /// What the replica lies on.
    pub replica: Option<RootMount>,
    /// A probe file has shown that neither root is the other one by another way.
    pub probed: bool,
}
