//! Names that turn out to be taken, on a file system that takes several spellings for one name.
//!
//! The planner knows which names those are as far as letters are folded the usual way. Where a file system folds more, a
//! new name is one that the replica has already, and the delete of that one would take away what the source has.

use super::Outcome;
use super::folders::FailedFolders;
use crate::model::operation::End;
use crate::model::{Capabilities, EntryPath, Operation};
use crate::store::RENAME;
use std::collections::HashSet;

/// Folders in which a new name was taken: nothing in them is deleted by this run.
#[derive(Debug)]
pub(super) struct TakenNames {
    is_possible: bool,
    folders: HashSet<EntryPath>,
}

impl TakenNames {
    /// Those that `failed` folders point to, in a replica that holds what `held` says.
    pub(super) fn of(held: &Capabilities, failed: &FailedFolders) -> Self {
        let is_possible = !held.case_sensitive;
        let folders =
            if is_possible { failed.iter().map(EntryPath::parent).collect() } else { HashSet::new() };
        Self { is_possible, folders }
    }

    /// Takes in what came of a batch.
    pub(super) fn note(&mut self, outcomes: &[Outcome]) {
        if !self.is_possible {
            return;
        }
        let is_taken = |end: &End| matches!(end, End::Failed(problem) if problem.action == RENAME);
        let taken = outcomes.iter().filter(|outcome| is_taken(&outcome.done.end));
        self.folders.extend(taken.map(|outcome| outcome.done.path.parent()));
    }

    /// Takes the deletes in these folders, and in folders that lie in them, out of `deletes`.
    pub(super) fn keep(&self, deletes: &mut Vec<&Operation>) {
        if self.folders.is_empty() {
            return;
        }
        let is_root_taken = self.folders.contains(&EntryPath::root());
        deletes.retain(|delete| {
            !is_root_taken && !delete.path.folders_above().any(|folder| self.folders.contains(&folder))
        });
    }
}
