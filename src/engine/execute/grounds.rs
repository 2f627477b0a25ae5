//! The folders that a run works in, each by the object that was planned or made.
//!
//! Whoever owns a folder of the replica may put another one in the place of what lies in it. What is
//! meant for a folder that only its owner may enter must not end up in one that is open to others.

use super::Site;
use crate::model::{Capabilities, EntryPath, Stat};
use crate::store::{Fault, Folder, Store};
use std::collections::BTreeMap;
use std::io;
use std::sync::{PoisonError, RwLock};

/// Said of a folder that is not the one that was planned with.
pub(super) const REPLACED: &str =
    "another folder has taken its name since it was planned; the next run looks again";

/// Device and inode.
type Identity = (u64, u64);

/// The folders to work in, with what stood, or was made, under their names.
#[derive(Debug, Default)]
pub struct Grounds {
    folders: RwLock<BTreeMap<EntryPath, Identity>>,
    /// Inode numbers are made up: only devices tell folders apart.
    by_device: bool,
}

fn identity(stat: &Stat) -> Identity {
    (stat.device, stat.fingerprint.inode)
}

impl Grounds {
    /// None yet, in a replica that holds what `held` says.
    pub fn in_replica(held: &Capabilities) -> Self {
        Self { folders: RwLock::default(), by_device: !held.stable_inodes }
    }

    /// Adds the folder `path`, which is `stat`.
    pub(super) fn add(&self, path: &EntryPath, stat: &Stat) {
        self.folders.write().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), identity(stat));
    }

    /// Nothing is done in the folder `path` any more.
    pub(super) fn leave(&self, path: &EntryPath) {
        self.folders.write().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Whether the folder `path` is known.
    pub(super) fn knows(&self, path: &EntryPath) -> bool {
        self.folders.read().unwrap_or_else(PoisonError::into_inner).contains_key(path)
    }

    /// Refuses to work in a folder that is, as `now`, not the one known under `path`.
    ///
    /// RACE: a folder that somebody exchanges between its making and the look that follows is taken
    /// for the one that was made. Worst outcome: what goes into it can be read by whoever owns its
    /// parent in the replica.
    fn check(&self, path: &EntryPath, now: &Stat) -> Result<(), Fault> {
        let known = self.folders.read().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        let same = |known: Identity| known.0 == now.device && (self.by_device || known == identity(now));
        if known.is_some_and(same) {
            return Ok(());
        }
        Err(Fault { action: "work in the folder of", error: io::Error::other(REPLACED) })
    }
}

impl<S: Store, R: Store> Site<'_, S, R> {
    /// See [`Grounds::check`]; returns the device that the folder lies on.
    pub(super) fn check_ground<F: Folder>(&self, path: &EntryPath, folder: &F) -> Result<u64, Fault> {
        let now = folder.own_stat()?;
        self.grounds.check(path, &now)?;
        Ok(now.device)
    }
}
