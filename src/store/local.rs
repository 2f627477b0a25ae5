//! A tree in a local folder.

use super::folder::LocalFolder;
use super::handle::{Mounts, open_beneath};
use super::walk::Walk;
use super::{During, Fault, Store};
use crate::cancel::Cancel;
use crate::model::EntryPath;
use rustix::fs::{OFlags, StatVfsMountFlags, fstatfs, fstatvfs, syncfs};
use std::os::fd::{AsFd, OwnedFd};

/// A local root, held open: whatever its path leads to later, this is the folder that was checked.
#[derive(Debug)]
pub struct LocalStore {
    pub(super) root: OwnedFd,
    mounts: Mounts,
}

impl LocalStore {
    /// The tree below `root`, an open folder (readable, not `O_PATH`). In a replica what is mounted
    /// in it is left alone; in a source it is part of the tree.
    pub fn new(root: OwnedFd, mounts: Mounts) -> Self {
        Self { root, mounts }
    }

    /// Walks the whole tree.
    pub fn walk<'a>(&'a self, cancel: &'a Cancel) -> Walk<'a> {
        Walk::new(self.root.as_fd(), self.mounts, cancel)
    }
}

impl Store for LocalStore {
    type Folder = LocalFolder;

    fn folder(&self, path: &EntryPath) -> Result<LocalFolder, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let handle = open_beneath(self.root.as_fd(), path.trimmed(), flags, self.mounts)
            .during("open the folder of")?;
        Ok(LocalFolder::new(handle))
    }

    fn make_durable(&self) -> Result<(), Fault> {
        syncfs(&self.root).during("make durable (syncfs)")
    }
}

/// File systems known to stamp with the kernel's tick (numbers from linux/magic.h): ext2 to ext4,
/// xfs, btrfs, tmpfs, overlayfs, f2fs, bcachefs and zfs.
const TICKING: [i64; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0xF2F5_2010, 0xCA45_1A4E, 0x2FC1_2FC1];

/// File systems known to make holes and to tell where they are: the same without zfs, which knows
/// only once all is on the disk.
const HOLED: &[i64] = TICKING.split_at(7).0;

/// Where nothing is known of the file system's stamps.
const UNKNOWN_GRANULARITY_NANOS: i64 = 2_000_000_000;

impl LocalStore {
    /// How coarse this file system's time stamps are, in nanoseconds, given the kernel's tick.
    pub fn granularity_nanos(&self, tick: i64) -> i64 {
        let known = fstatfs(&self.root).is_ok_and(|found| TICKING.contains(&found.f_type));
        if known { tick } else { UNKNOWN_GRANULARITY_NANOS }
    }

    /// Whether what is written with holes is sure to have holes. Where it is not, a file that lacks
    /// them may be all that is to be had.
    pub fn holds_holes(&self) -> bool {
        fstatfs(&self.root).is_ok_and(|found| HOLED.contains(&found.f_type))
    }

    /// What the file system of the root is mounted without.
    pub fn mistrusted(&self) -> Mistrusted {
        let flags = fstatvfs(&self.root).map_or(StatVfsMountFlags::empty(), |found| found.f_flag);
        Mistrusted {
            nosuid: flags.contains(StatVfsMountFlags::NOSUID),
            nodev: flags.contains(StatVfsMountFlags::NODEV),
        }
    }
}

/// What a mount keeps its files from being: its owner did not trust whoever wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistrusted {
    /// Set-id bits are not honoured.
    pub nosuid: bool,
    /// Device nodes are not honoured.
    pub nodev: bool,
}
