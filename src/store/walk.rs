//! A tree as one stream of entries in path order.

use super::handle::Mounts;
use super::list::list;
use super::stat::convert;
use crate::cancel::Cancel;
use crate::model::{Entry, EntryPath, Kind, Seen};
use rustix::fs::fstat;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;

/// Walks the tree below a root, folder by folder, holding no folder open between two entries.
///
/// The root comes first, as the entry with the empty path. The walk ends early when cancelled;
/// ask [`Cancel::requested`] before trusting that it saw everything.
pub struct Walk<'a> {
    root: BorrowedFd<'a>,
    mounts: Mounts,
    cancel: &'a Cancel,
    begun: bool,
    /// What is left of the listings from the root down to the present folder.
    open: Vec<std::vec::IntoIter<Entry>>,
}

impl<'a> Walk<'a> {
    /// A walk below `root`, an open folder.
    pub fn new(root: BorrowedFd<'a>, mounts: Mounts, cancel: &'a Cancel) -> Self {
        Self { root, mounts, cancel, begun: false, open: Vec::new() }
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
        let Seen::Present(stat) = entry.seen else { return entry };
        if stat.kind() != Kind::Folder {
            return entry;
        }
        match list(self.root, &entry.path, self.mounts) {
            Ok(children) => {
                self.open.push(children.into_iter());
                entry
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Entry { seen: Seen::Vanished, ..entry }
            }
            Err(error) => Entry { seen: Seen::Unlisted(stat, error.to_string()), ..entry },
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if !self.begun {
            self.begun = true;
            return Some(self.root_entry());
        }
        while let Some(listing) = self.open.last_mut() {
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
