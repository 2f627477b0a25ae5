//! What is left alone at the root of a replica: names that systems put at the root of a disk, unless the source has them.

use crate::filter::RootNames;
use crate::model::EntryPath;
use rustix::fs::{AtFlags, statat};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The names, and the source that may have them.
#[derive(Debug)]
pub(super) struct Spared {
    pub(super) names: Arc<RootNames>,
    /// The source's root.
    pub(super) source: OwnedFd,
}

impl Spared {
    /// Returns true if `path` in the replica is left alone. Only for a name that is listed is the source asked.
    pub(super) fn covers(&self, path: &EntryPath) -> bool {
        let is_away = || {
            retry_on_intr(|| statat(&self.source, path.trimmed(), AtFlags::SYMLINK_NOFOLLOW)).err()
                == Some(Errno::NOENT)
        };
        self.names.hold(path) && is_away()
    }
}
