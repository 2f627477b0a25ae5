//! What may be brought over before the plan is complete.
//!
//! A copy into a name that is free destroys nothing, so no gate asks for it, and it need not be held in
//! memory until the join is through. But what is new may be what is old under another name: to see that,
//! both must be known.

use super::FolderTask;
use crate::model::Operation;
use std::collections::HashSet;
use std::sync::Arc;

/// Something new that is to be brought over while the join goes on.
#[derive(Debug)]
pub struct Early {
    /// Folders on the way to it, the outermost first: those that the replica does not have, and the one that
    /// it lies in.
    pub way: Vec<Arc<FolderTask>>,
    /// What is to be brought over; `None`: the last folder of the way itself.
    pub operation: Option<Operation>,
}

/// How much is brought over before the plan is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Nothing: a dry run, or a first look at trees that the manifest knows.
    Nothing,
    /// All that is new, names of one inode included: neither the manifest nor the replica has anything that could be
    /// one of them.
    Everything,
    /// All that is new but what has one of these inodes in the source, which are those of rows whose entries
    /// are gone: it may be one of them under another name.
    AllBut(HashSet<u64>),
}

/// New entries, or deletes, that a first look plans: some 30 MB of them. Where there are more it only looks
/// which entries are gone, so that a second look knows what need not wait.
pub const PLANNED_MOST: usize = 1 << 16;

impl Ahead {
    /// Whether something new, which has this inode in the source if it is no folder, may be brought over.
    pub fn allows(&self, inode: Option<u64>) -> bool {
        match self {
            Ahead::Nothing => false,
            Ahead::Everything => true,
            Ahead::AllBut(gone) => inode.is_none_or(|inode| !gone.contains(&inode)),
        }
    }

    /// Whether a new name of an inode that has others may be brought over.
    pub fn allows_names(&self) -> bool {
        matches!(self, Ahead::Everything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_had_another_name_waits() {
        let all_but = |inodes: &[u64]| Ahead::AllBut(inodes.iter().copied().collect());
        for (ahead, inode, allowed) in [
            (Ahead::Nothing, Some(1), false),
            (all_but(&[]), Some(1), true),
            (all_but(&[1]), Some(1), false),
            (all_but(&[1]), Some(2), true),
            (all_but(&[1]), None, true),
            (Ahead::Everything, Some(1), true),
        ] {
            assert_eq!(ahead.allows(inode), allowed, "{ahead:?} {inode:?}");
        }
    }
}
