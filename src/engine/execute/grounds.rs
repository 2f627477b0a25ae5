//! The folders that a run works in, each by the object that was planned or made.
//!
//! Whoever owns a folder of the replica may put another one in the place of what lies in it. What is
//! meant for a folder that only its owner may enter must not end up in one that is open to others.

use super::Site;
use crate::model::{EntryPath, Stat};
use crate::plan::FolderTask;
use crate::store::{Fault, Folder, Store};
use std::io;
use std::sync::Arc;

/// Said of a folder that is not the one that was planned with.
pub(super) const REPLACED: &str =
    "another folder has taken its name since it was planned; the next run looks again";

/// Device and inode.
type Identity = (u64, u64);

/// Every folder of a plan with what stood, or was made, under its name; in path order.
#[derive(Debug, Default)]
pub struct Grounds(Vec<(Arc<FolderTask>, Identity)>);

fn identity(stat: &Stat) -> Identity {
    (stat.device, stat.fingerprint.inode)
}

impl Grounds {
    /// Adds the next folder, which is `stat`.
    pub(super) fn add(&mut self, task: &Arc<FolderTask>, stat: &Stat) {
        self.0.push((Arc::clone(task), identity(stat)));
    }

    /// Refuses to work in an open folder that is not the one known under `path`.
    ///
    /// RACE: a folder that somebody exchanges between its making and the look that follows is taken
    /// for the one that was made. Worst outcome: what goes into it can be read by whoever owns its
    /// parent in the replica.
    fn check(&self, path: &EntryPath, now: &Stat) -> Result<(), Fault> {
        let known = self.0.binary_search_by(|(task, _)| task.path.cmp(path)).ok();
        if known.is_some_and(|at| self.0[at].1 == identity(now)) {
            return Ok(());
        }
        Err(Fault { action: "work in the folder of", error: io::Error::other(REPLACED) })
    }
}

impl<S: Store, R: Store> Site<'_, S, R> {
    /// See [`Grounds::check`]; returns the device that the folder lies on.
    pub(super) fn check_ground<F: Folder>(&self, path: &EntryPath, folder: &F) -> Result<u64, Fault> {
        let now = folder.own_stat()?;
        self.grounds.get().map_or(Ok(()), |grounds| grounds.check(path, &now))?;
        Ok(now.device)
    }
}
