//! Folders of the replica that this user owns and closed to itself, because the source's are closed so: opened for
//! the time of a run, so that what is in them can be listed and changed.
//!
//! Whoever dies in between leaves a folder that is more open to its owner than its row says. The next run finds that
//! its permissions differ, and sets them.

use super::handle::{Mounts, open_beneath};
use super::local::LocalStore;
use super::metadata::set_mode;
use super::stat::look_at_open;
use super::terms::Terms;
use super::{During, Fault};
use crate::model::{EntryPath, Stat};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

/// What the owner of a folder needs to list it and to work in it.
const OWNER_ALL: u32 = 0o700;
/// What it takes to list a folder and to look at what it holds.
const LIST: u32 = 0o500;

/// The folders that were opened, with the figures that they had before.
#[derive(Debug)]
pub(super) struct Opener {
    user: u32,
    opened: Mutex<BTreeMap<EntryPath, Stat>>,
}

impl Opener {
    /// Opens a folder if that is what keeps its owner from listing it. Returns the figures that it had before.
    pub(super) fn open(&self, root: BorrowedFd<'_>, path: &EntryPath, mounts: Mounts) -> Option<Stat> {
        if path.is_root() {
            return None;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let handle = open_beneath(root, path.trimmed(), flags, mounts).ok()?;
        let (before, _) = look_at_open(handle.as_fd(), 0).ok()?;
        let mode = before.fingerprint.mode;
        if before.uid != self.user || mode & LIST == LIST {
            return None;
        }
        // Noted first: what is opened is closed again, whatever becomes of this run.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *opened.entry(path.clone()).or_insert(before);
        set_mode(handle.as_fd(), mode | OWNER_ALL).ok()?;
        Some(first)
    }

    /// The figures that a folder had before it was opened, if it was.
    pub(super) fn before(&self, path: &EntryPath) -> Option<Stat> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
    }
}

impl Terms<'_> {
    /// Opens a folder whose listing failed, if that is what keeps its owner from it; then it can be tried again.
    pub(super) fn opens_up(&self, path: &EntryPath, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::PermissionDenied
            && self.opener.is_some_and(|opener| opener.open(self.root, path, self.mounts).is_some())
    }

    /// The figures of a folder that is open and has the figures `now`: those that the run leaves behind where it
    /// changes nothing else. One in which its owner may look nothing up is opened.
    pub(super) fn figures_to_tell(&self, path: &EntryPath, now: Stat) -> Stat {
        let Some(opener) = self.opener else { return now };
        let before = opener.before(path).or_else(|| {
            let closed = now.fingerprint.mode & LIST != LIST;
            closed.then(|| opener.open(self.root, path, self.mounts)).flatten()
        });
        before.filter(|before| before.is_same_object(&now)).unwrap_or(now)
    }
}

impl LocalStore {
    /// From now on walks open folders that `user` owns and may not list.
    #[must_use]
    pub fn opening_folders_of(mut self, user: u32) -> Self {
        self.opener = Some(Opener { user, opened: Mutex::default() });
        self
    }

    /// The folders that walks opened, deepest last, with the figures that they had before.
    pub fn opened_folders(&self) -> Vec<(EntryPath, Stat)> {
        let Some(opener) = &self.opener else { return Vec::new() };
        let opened = opener.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.iter().map(|(path, before)| (path.clone(), *before)).collect()
    }

    /// Gives the folder `path` the permissions `mode` if it still is the one with the figures `before`. Returns
    /// its figures then; `None`: it is another one by now.
    pub fn close_folder(&self, path: &EntryPath, before: &Stat, mode: u32) -> Result<Option<Stat>, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let handle = open_beneath(self.root(), path.trimmed(), flags, Mounts::Cross).during("open")?;
        let (now, _) = look_at_open(handle.as_fd(), 0).during("look at")?;
        if !now.is_same_object(before) {
            return Ok(None);
        }
        if now.fingerprint.mode == mode {
            return Ok(Some(now));
        }
        set_mode(handle.as_fd(), mode)?;
        Ok(Some(look_at_open(handle.as_fd(), 0).during("look at")?.0))
    }
}
