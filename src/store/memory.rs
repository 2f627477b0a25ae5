//! The mount points of a source, remembered from run to run: where one is gone, what its replica
//! holds is not taken for deleted.

use crate::model::EntryPath;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError, RwLock};

/// Which folders of a tree were mount points in earlier runs, and which are to be remembered.
#[derive(Debug, Default)]
pub(super) struct MountMemory {
    known: RwLock<BTreeSet<EntryPath>>,
    kept: Mutex<BTreeSet<EntryPath>>,
}

impl MountMemory {
    /// Remembers `known` from earlier runs, and forgets what a walk has seen so far.
    pub(super) fn recall(&self, known: BTreeSet<EntryPath>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether something was mounted at `folder` in an earlier run.
    pub(super) fn knows(&self, folder: &EntryPath) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }

    /// Something is mounted at `folder` now.
    pub(super) fn note(&self, folder: &EntryPath) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.clone());
    }

    /// Nothing was learned about `path` and what lies below it: what is known of them stays.
    pub(super) fn keep_below(&self, path: &EntryPath) {
        // A name that could not be looked at may be a folder.
        let folder = if path.is_folder() || path.is_root() { path.clone() } else { path.other_kind() };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let below = known.range(folder.clone()..).take_while(|p| **p == folder || p.is_below(&folder));
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).extend(below.cloned());
    }

    /// What is to be remembered after a walk that came to its end: a mount point that the source
    /// does not have any more is forgotten.
    pub(super) fn kept(&self) -> BTreeSet<EntryPath> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_stays_known_and_what_is_away_is_forgotten() {
        let paths =
            |all: &[&str]| -> BTreeSet<EntryPath> { all.iter().map(|p| EntryPath::from(*p)).collect() };
        let memory = MountMemory::default();
        memory.recall(paths(&["a/", "b/c/", "b/d/e/", "bb/", "d/"]));
        memory.note(&EntryPath::from("new/"));
        memory.keep_below(&EntryPath::from("b"));
        memory.keep_below(&EntryPath::from("d/"));
        assert_eq!(memory.kept(), paths(&["b/c/", "b/d/e/", "d/", "new/"]));
        assert!(memory.knows(&EntryPath::from("a/")) && !memory.knows(&EntryPath::from("new/")));
    }
}
