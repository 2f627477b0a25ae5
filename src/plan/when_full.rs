//! What becomes of the new version of a file that has no room beside the old one.

use crate::model::{Kind, Operation, Verb};
use serde::Deserialize;

/// What is done where the replica has no room for the old and the new version of a file at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Where little of it differs, the old version is made the new one in place, from a journal beside it.
    #[default]
    Patch,
    /// The old version stays.
    KeepOld,
    /// The old version is patched where that can be; else it is removed before the new one is copied.
    Replace,
}

/// Files below this size are not patched in place.
pub const PATCHED_FROM: u64 = 8 << 20;

/// The most that a journal may hold: writing more would leave the file between two versions for long.
const MOST: u64 = 256 << 20;

/// No more of a file may differ than one part in so many.
const SHARE: u64 = 4;

impl WhenFull {
    /// Returns the most bytes of the file that may differ for it to be patched in place; `None`: it is not. With a `trash`
    /// the old version is to stay.
    pub fn patches(self, operation: &Operation, trash: bool) -> Option<u64> {
        let size = replaced_size(operation)?;
        let allowed = self != WhenFull::KeepOld && !trash && size >= PATCHED_FROM;
        allowed.then(|| (size / SHARE).min(MOST))
    }

    /// Returns true if the old version may be removed first, given how many bytes are `free`. With a `trash` removing it frees
    /// no room.
    pub fn removes(self, operation: &Operation, trash: bool, free: u64) -> bool {
        let old = operation.replica.filter(|old| old.links == 1).map(|old| old.allocated);
        self == WhenFull::Replace
            && !trash
            && replaced_size(operation).is_some()
            && old.is_some_and(|old| free.saturating_add(old) >= operation.bytes())
    }
}

/// The size of the file of the replica that a copy is to replace; `None`: there is none.
fn replaced_size(operation: &Operation) -> Option<u64> {
    let old = operation.replica.filter(|old| old.kind() == Kind::File && !operation.displaces)?;
    (operation.verb == Verb::Copy).then_some(old.fingerprint.size)
}

/// Returns true if a copy would replace an older version in the replica.
pub fn replaces(operation: &Operation) -> bool {
    replaced_size(operation).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryPath, Fingerprint, Stat, Timestamp};

    const MIB: u64 = 1 << 20;

    fn copy(old: Option<u64>, new: u64) -> Operation {
        let moment = Timestamp::new(1, 0);
        let stat = |size| Stat {
            fingerprint: Fingerprint {
                kind: Kind::File,
                mode: 0o644,
                size,
                mtime: moment,
                ctime: moment,
                inode: 1,
            },
            uid: 0,
            gid: 0,
            links: 1,
            device: 1,
            rdev: 0,
            allocated: size,
        };
        Operation {
            path: EntryPath::from("a"),
            verb: Verb::Copy,
            source: Some(stat(new)),
            replica: old.map(stat),
            content: None,
            attributes: true,
            origin: None,
            from: None,
            displaces: false,
            loses: false,
        }
    }

    #[test]
    fn a_file_is_patched_where_it_is_large_and_nothing_speaks_against_it() {
        let large = copy(Some(64 * MIB), 64 * MIB);
        assert_eq!(WhenFull::Patch.patches(&large, false), Some(16 * MIB));
        assert_eq!(WhenFull::Replace.patches(&large, false), Some(16 * MIB));
        assert_eq!(WhenFull::Patch.patches(&copy(Some(8192 * MIB), 1), false), Some(256 * MIB));
        assert_eq!(WhenFull::KeepOld.patches(&large, false), None);
        assert_eq!(WhenFull::Patch.patches(&large, true), None);
        assert_eq!(WhenFull::Patch.patches(&copy(None, 64 * MIB), false), None);
        assert_eq!(WhenFull::Patch.patches(&copy(Some(MIB), MIB), false), None);
        let displaced = Operation { displaces: true, ..large };
        assert_eq!(WhenFull::Patch.patches(&displaced, false), None);
    }

    #[test]
    fn the_old_version_is_removed_only_where_that_was_asked_for_and_makes_enough_room() {
        let operation = copy(Some(64 * MIB), 70 * MIB);
        assert!(WhenFull::Replace.removes(&operation, false, 6 * MIB));
        assert!(!WhenFull::Replace.removes(&operation, false, 5 * MIB));
        assert!(!WhenFull::Replace.removes(&operation, true, 6 * MIB));
        assert!(!WhenFull::Patch.removes(&operation, false, 6 * MIB));
        assert!(!WhenFull::KeepOld.removes(&operation, false, 6 * MIB));
        assert!(!WhenFull::Replace.removes(&copy(None, MIB), false, 6 * MIB));
    }
}
