//! Floor 1: decisions. Iterators and values in, values out; no I/O, no threads, no clock.

pub mod absence;
pub mod ages;
pub mod census;
pub mod consistency;
pub mod decide;
#[cfg(test)]
mod decide_tests;
pub mod deletions;
pub mod desired;
pub mod early;
pub mod elapsed;
pub mod gate;
#[cfg(test)]
mod gate_tests;
pub mod join;
pub mod links;
#[cfg(test)]
mod links_tests;
pub mod moved;
pub mod occupied;
pub mod order;
pub mod pairing;
pub mod planner;
pub mod rebased;
pub mod release;
pub mod relocation;
#[cfg(test)]
mod relocation_tests;
pub mod round;
pub mod shared;
pub mod shield;
pub mod spelling;
pub mod step;
pub mod trail;
pub mod verdict;
pub mod visible;
pub mod when_full;

use crate::model::{Difference, Digest, EntryPath, Operation, Problem, Record, Stat, Timestamp, Verb};
use std::sync::Arc;

/// Everything that has to be done to the replica: the changes only, never the sameness.
#[derive(Debug, Default)]
pub struct Plan {
    /// Folders to make, to mend, or whose times must be put back after something in them changed;
    /// in path order, so that parents come first.
    pub folders: Vec<Arc<FolderTask>>,
    /// Files that get another name instead of being copied, by their new names.
    pub moves: Vec<Moving>,
    /// Folders that had another name: a run has renamed them before it planned, a dry run only says so.
    pub renamed: Vec<Operation>,
    /// Files, links and special files to create, copy or mend, in path order.
    pub entries: Vec<Operation>,
    /// In a dry run: what a run brings over while the join goes on, so that it is no part of its plan; in path order.
    pub early: Vec<Operation>,
    /// Names to be made further names of inodes that the entries above bring or the replica has, in path
    /// order.
    pub links: Vec<Operation>,
    /// Rows that are true but for a ctime that moves when the run links or deletes other names.
    pub unsettled: Vec<Record>,
    /// What the source does not have, in path order (to be worked off from the end: deepest first).
    pub deletes: Vec<Operation>,
    /// Temporaries that an earlier run left behind, in path order; removed with the deletes but
    /// counted and gated by nobody.
    pub litter: Vec<Operation>,
    /// How many of the deletes only follow an entry that has another name in the source now: no
    /// content is lost with them.
    pub moved: u64,
    /// What could not be looked at.
    pub problems: Vec<Problem>,
    /// A folder of the source has changed since the run began: entries may have moved from where they would have been met.
    pub source_moved: bool,
}

/// What is to become of one folder of the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderTask {
    /// The folder.
    pub path: EntryPath,
    /// The source's figures.
    pub source: Stat,
    /// The replica's, `None` where it is to be made.
    pub replica: Option<Stat>,
    /// `None` where only its times are put back: that is no operation of its own.
    pub verb: Option<Verb>,
    /// How the attributes of the two differ, as far as that is known.
    pub difference: Difference,
    /// The name is taken by something that is no folder and that a delete of this plan removes.
    pub displaces: bool,
}

/// A file of the replica that gets another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The name that it is to have.
    pub to: EntryPath,
    /// The name that it has.
    pub from: EntryPath,
    /// The source's figures.
    pub source: Stat,
    /// Its own figures: checked again before it is touched.
    pub replica: Stat,
    /// What has the new name now and is replaced.
    pub target: Option<Stat>,
    /// The digest of what it holds, and when that was read.
    pub content: Option<(Digest, Timestamp)>,
    /// Its metadata must be put right.
    pub mend: bool,
    /// How its attributes differ.
    pub difference: Difference,
    /// The source may have changed again within the same clock tick.
    pub racy: bool,
    /// The delete of the old name that it takes the place of; `None` where another file comes there.
    pub old: Option<Box<Operation>>,
    /// What it replaces would be lost, as with [`Operation::loses`].
    pub loses: bool,
}

impl Moving {
    /// The copy that has the same effect.
    pub fn as_copy(&self) -> Operation {
        Operation {
            path: self.to.clone(),
            verb: Verb::Copy,
            source: Some(self.source),
            replica: self.target,
            content: None,
            attributes: true,
            origin: None,
            from: None,
            displaces: false,
            loses: self.loses,
        }
    }
}

/// What a plan means to do, as people and machines are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent<'p> {
    /// What.
    pub verb: Verb,
    /// To which entry.
    pub path: &'p EntryPath,
    /// For a link or a move: the other name.
    pub from: Option<&'p EntryPath>,
    /// Bytes that will be read.
    pub bytes: u64,
}

impl<'p> From<&'p Operation> for Intent<'p> {
    fn from(operation: &'p Operation) -> Self {
        Self {
            verb: operation.verb,
            path: &operation.path,
            from: operation.from.as_ref(),
            bytes: operation.bytes(),
        }
    }
}

impl<'p> From<&'p Moving> for Intent<'p> {
    fn from(moving: &'p Moving) -> Self {
        Self { verb: Verb::Move, path: &moving.to, from: Some(&moving.from), bytes: 0 }
    }
}

impl Plan {
    /// Bytes that its copies will read.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().chain(&self.early).map(Operation::bytes).sum()
    }

    /// Returns true if nothing is to be done to the replica.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.entries, &self.links, &self.deletes, &self.litter];
        self.folders.is_empty() && self.moves.is_empty() && lists.iter().all(|list| list.is_empty())
    }

    /// Its operations in the order they will be carried out.
    pub fn operations(&self) -> impl Iterator<Item = Intent<'_>> {
        let folders = self.folders.iter().filter_map(|folder| {
            folder.verb.map(|verb| Intent { verb, path: &folder.path, from: None, bytes: 0 })
        });
        let moves = self.moves.iter().map(Intent::from);
        let renamed = self.renamed.iter().map(Intent::from);
        let deletes = self.deletes.iter().rev();
        let others =
            self.early.iter().chain(&self.entries).chain(&self.links).chain(deletes).map(Intent::from);
        folders.chain(renamed).chain(moves).chain(others)
    }
}

/// The name, in a root, of the folder where the trash is: it is no entry of any mirror, on neither side.
pub const TRASH: &[u8] = b".twinfold-trash";

/// Whether `path` is the trash or lies in it.
pub fn is_trash(path: &EntryPath) -> bool {
    path.as_bytes().strip_prefix(TRASH).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Names under which this program stages what is not yet whole: `.twinfold-<hex>.tmp`.
pub fn is_temporary_name(name: &[u8]) -> bool {
    name.strip_prefix(b".twinfold-")
        .and_then(|rest| rest.strip_suffix(b".tmp"))
        .is_some_and(|hex| !hex.is_empty() && hex.iter().all(u8::is_ascii_hexdigit))
}

/// Whether `path` is a temporary or lies in one (a folder that was put aside).
pub fn is_litter(path: &EntryPath) -> bool {
    path.trimmed().split(|&b| b == b'/').any(is_temporary_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_of_its_name_in_a_root_is_the_trash() {
        for (path, trash) in [
            (".twinfold-trash", true),
            (".twinfold-trash/", true),
            (".twinfold-trash/20261126T120000Z/a", true),
            (".twinfold-trash2", false),
            ("a/.twinfold-trash/", false),
            ("", false),
        ] {
            assert_eq!(is_trash(&EntryPath::from(path)), trash, "{path}");
        }
    }

    #[test]
    fn only_our_own_temporaries_are_litter() {
        for (path, litter) in [
            (".twinfold-0123abcd.tmp", true),
            ("a/.twinfold-0f.tmp/x", true),
            (".twinfold-.tmp", false),
            (".twinfold-xyz.tmp", false),
            (".twinfold-0f.tmp.txt", false),
            ("twinfold-0f.tmp", false),
        ] {
            assert_eq!(is_litter(&EntryPath::from(path)), litter, "{path}");
        }
    }
}
