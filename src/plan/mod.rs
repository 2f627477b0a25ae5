//! Floor 1: decisions. Iterators and values in, values out; no I/O, no threads, no clock.

pub mod decide;
#[cfg(test)]
mod decide_tests;
pub mod desired;
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
pub mod planner;
pub mod release;
pub mod shield;
pub mod verdict;

use crate::model::{Difference, EntryPath, Operation, Problem, Record, Stat, Verb};
use std::sync::Arc;

/// Everything that has to be done to the replica: the changes only, never the sameness.
#[derive(Debug, Default)]
pub struct Plan {
    /// Folders to make, to mend, or whose times must be put back after something in them changed;
    /// in path order, so that parents come first.
    pub folders: Vec<Arc<FolderTask>>,
    /// Files, links and special files to create, copy or mend, in path order.
    pub entries: Vec<Operation>,
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

/// What a plan means to do, as people and machines are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent<'p> {
    /// What.
    pub verb: Verb,
    /// To which entry.
    pub path: &'p EntryPath,
    /// For a link: another name of the inode.
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

impl Plan {
    /// Bytes that its copies will read.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(Operation::bytes).sum()
    }

    /// Its operations in the order they will be carried out.
    pub fn operations(&self) -> impl Iterator<Item = Intent<'_>> {
        let folders = self.folders.iter().filter_map(|folder| {
            folder.verb.map(|verb| Intent { verb, path: &folder.path, from: None, bytes: 0 })
        });
        let deletes = self.deletes.iter().rev();
        folders.chain(self.entries.iter().chain(&self.links).chain(deletes).map(Intent::from))
    }
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
