//! A tree as one stream of entries in path order.

use super::handle::{Mounts, is_mount_refusal};
use super::list::list;
use super::memory::MountMemory;
use super::stat::convert;
use crate::cancel::Cancel;
use crate::model::{Entry, EntryPath, Kind, Seen, Stat};
use rustix::fs::fstat;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;

/// Said of a folder of the source that something was mounted on in an earlier run.
const UNMOUNTED: &str = "what was mounted here is gone, so its replica is left as it is. Mount it again; if it is \
                         gone for good, remove this folder from the source (and make it again after the next run)";

/// Walks the tree below a root, folder by folder, holding no folder open between two entries.
///
/// The root comes first, as the entry with the empty path. The walk ends early when cancelled;
/// ask [`Cancel::requested`] before trusting that it saw everything.
pub struct Walk<'a> {
    root: BorrowedFd<'a>,
    mounts: Mounts,
    memory: &'a MountMemory,
    cancel: &'a Cancel,
    begun: bool,
    /// What is left of the listings from the root down to the present folder, with the device that
    /// each folder lies on.
    open: Vec<(std::vec::IntoIter<Entry>, u64)>,
}

impl<'a> Walk<'a> {
    /// A walk below `root`, an open folder.
    pub(super) fn new(
        root: BorrowedFd<'a>,
        mounts: Mounts,
        memory: &'a MountMemory,
        cancel: &'a Cancel,
    ) -> Self {
        Self { root, mounts, memory, cancel, begun: false, open: Vec::new() }
    }

    fn root_entry(&mut self) -> Entry {
        let seen = match fstat(self.root) {
            Ok(stat) => Seen::Present(convert(&stat)),
            Err(error) => Seen::Unreadable(io::Error::from(error).to_string()),
        };
        self.enter(Entry { path: EntryPath::root(), seen })
    }

    /// Lists `entry` if it is a folder.
    fn enter(&mut self, entry: Entry) -> Entry {
        let seen = match entry.seen {
            Seen::Present(stat) if stat.kind() == Kind::Folder => self.look_into(&entry.path, stat),
            seen => seen,
        };
        if !matches!(seen, Seen::Present(_)) {
            self.memory.keep_below(&entry.path);
        }
        Entry { seen, ..entry }
    }

    /// What is so of a folder that was `scanned` with its parent, once it has been opened.
    fn look_into(&mut self, path: &EntryPath, scanned: Stat) -> Seen {
        let here = self.open.last().map_or(scanned.device, |(_, device)| *device);
        let listing = match list(self.root, path, here, self.mounts) {
            Ok(listing) => listing,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Seen::Vanished;
            }
            // It was mounted after the look at it.
            Err(error) if is_mount_refusal(&error) => return Seen::Foreign(scanned),
            Err(error) => return Seen::Unlisted(scanned, error.to_string()),
        };
        if listing.mounted && !path.is_root() {
            self.memory.note(path);
        } else if self.memory.knows(path) {
            return Seen::Unlisted(listing.stat, UNMOUNTED.to_owned());
        }
        self.open.push((listing.entries.into_iter(), listing.stat.device));
        // Another folder may have taken the name meanwhile, or been mounted on it: what counts is
        // the one that was listed.
        Seen::Present(listing.stat)
    }
}

impl Iterator for Walk<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if !self.begun {
            self.begun = true;
            return Some(self.root_entry());
        }
        while let Some((listing, _)) = self.open.last_mut() {
            match listing.next() {
                Some(entry) if entry.path.is_folder() && self.cancel.requested() => {
                    self.open.clear();
                    drop(entry);
                }
                Some(entry) => return Some(self.enter(entry)),
                None => {
                    self.open.pop();
                }
            }
        }
        None
    }
}
