//! What a walk goes by, and what it leaves out.

use super::handle::Mounts;
use super::memory::MountMemory;
use super::opened::Opener;
use super::spared::Spared;
use super::task::NamesAlive;
#[cfg(test)]
use super::task::Task;
use crate::cancel::Cancel;
use crate::filter::Filter;
use crate::model::{Entry, EntryPath, Seen, Stat};
use crate::plan::is_trash;
use crate::plan::visible::is_hidden;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a walk goes by.
#[derive(Clone)]
pub(super) struct Terms<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) mounts: Mounts,
    pub(super) memory: &'a MountMemory,
    pub(super) cancel: &'a Cancel,
    /// What is left out; `None`: nothing.
    pub(super) filter: Option<&'a Filter>,
    /// What is left alone at the root.
    pub(super) spared: Option<&'a Spared>,
    /// The tree is a source: nothing is said of what is left out.
    pub(super) is_source: bool,
    /// While this is set, what the listing says are files is not looked at. `None`: everything is.
    pub(super) leaves_files: Option<&'a AtomicBool>,
    pub(super) alive: NamesAlive,
    /// Opens folders that their owner may not list; `None`: they stay as they are.
    pub(super) opener: Option<&'a Opener>,
    /// What a test has happen before each step.
    #[cfg(test)]
    pub(super) before_step: Option<&'a (dyn Fn(&Task) + Sync)>,
    /// A test has listings tell no kinds.
    #[cfg(test)]
    pub(super) untold: bool,
}

impl Terms<'_> {
    /// Whether what the listing says are files is left to others now; it may be otherwise the next moment.
    pub(super) fn leaves_files(&self) -> bool {
        self.leaves_files.is_some_and(|leaves| leaves.load(Ordering::Relaxed))
    }

    /// Whether a folder is of another file system than its parent, on device `parent`, and a source that stays on its own
    /// ends there. A btrfs subvolume, which a snapshot is as well, has a device of its own and is no mount.
    pub(super) fn is_elsewhere(&self, folder: &Stat, parent: u64) -> bool {
        self.is_source && self.mounts == Mounts::Stay && folder.device != parent
    }

    /// Returns true if a pattern leaves this path out, it is the trash, or it is left alone at the root.
    pub(super) fn is_left_out(&self, path: &EntryPath) -> bool {
        is_trash(path)
            || self.spared.is_some_and(|spared| spared.covers(path))
            || self.filter.is_some_and(|filter| is_hidden(filter, path))
    }

    /// What is said of an entry that is left out: the replica's folders that it lies in are to stay.
    pub(super) fn left_out(&self, path: EntryPath) -> Option<Entry> {
        (!self.is_source && !is_trash(&path)).then_some(Entry { path, seen: Seen::Excluded })
    }
}

#[cfg(test)]
impl<'a> Terms<'a> {
    /// Those of a whole source.
    pub(super) fn of_a_source(
        root: BorrowedFd<'a>,
        memory: &'a MountMemory,
        cancel: &'a Cancel,
        leaves_files: &'a AtomicBool,
    ) -> Self {
        Self {
            root,
            mounts: Mounts::Cross,
            memory,
            cancel,
            filter: None,
            spared: None,
            is_source: true,
            leaves_files: Some(leaves_files),
            alive: NamesAlive::default(),
            opener: None,
            before_step: None,
            untold: false,
        }
    }
}
