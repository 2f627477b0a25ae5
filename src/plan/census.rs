//! How much a scan saw.

use super::is_litter;
use super::join::Joined;
use crate::model::{DeviceSet, Kind, Seen};

/// How much a scan saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Entries of the source, its root not counted.
    pub source_entries: u64,
    /// Bytes in the source's files and links.
    pub source_bytes: u64,
    /// Rows of the manifest of what either tree still has, the root's not counted.
    pub rows: u64,
    /// Entries of the replica, its root, what is left alone in it and temporaries not counted.
    pub replica_entries: u64,
    /// Of the source's entries, those that every new file system has: `lost+found`, as a folder of its root.
    pub furniture: u64,
    /// Device nodes that are left out because the source is mounted without them.
    pub nodes_left_out: u64,
}

/// What `mkfs` makes in the root of a file system.
const LOST_AND_FOUND: &[u8] = b"lost+found/";

impl Census {
    /// Whether nobody has put anything into the source.
    pub fn source_is_empty(&self) -> bool {
        self.source_entries == self.furniture
    }

    /// Counts one joined path; device nodes mean nothing on the devices of `nodev`.
    pub fn count(&mut self, joined: &Joined, nodev: &DeviceSet) {
        if joined.path.is_root() {
            return;
        }
        // Of what neither tree has nothing can be lost: such rows do not raise what may be deleted.
        let there = |seen: &Option<Seen>| seen.as_ref().is_some_and(|seen| *seen != Seen::Excluded);
        let somewhere = there(&joined.source) || there(&joined.replica);
        self.rows += u64::from(joined.row.is_some() && somewhere);
        self.replica_entries += u64::from(there(&joined.replica) && !is_litter(&joined.path));
        if let Some(seen) = &joined.source {
            self.source_entries += 1;
            self.furniture += u64::from(joined.path.as_bytes() == LOST_AND_FOUND);
            if let Seen::Present(stat) = seen {
                self.source_bytes += stat.fingerprint.size;
                let node = matches!(stat.kind(), Kind::BlockDevice | Kind::CharDevice);
                self.nodes_left_out += u64::from(node && nodev.contains(stat.device));
            }
        }
    }
}
