//! Names that the replica's file system does not tell apart: which of the source's is mirrored, and which of the replica's
//! entries has another spelling than the source.
//!
//! Names are compared folder by folder. What is held are the names of the folders that lead to the join's path, and
//! nothing where the file system tells all names apart.

use super::join::Joined;
use super::{Plan, is_litter};
use crate::model::{Capabilities, EntryPath, Problem, Seen, Stat};
use std::collections::{HashMap, HashSet};

/// An entry of the replica that the source spells in another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misspelled {
    /// The replica's spelling.
    pub from: EntryPath,
    /// The source's spelling, as the same kind of entry: both are folders, or none is.
    pub to: EntryPath,
    /// The replica's figures.
    pub replica: Stat,
}

/// What a joined path means for the names that count as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spelled {
    /// Nothing: it is the only one.
    Alone,
    /// The source has another name for the same entry, which comes first.
    Taken(EntryPath),
}

/// The names of one folder that were met so far.
#[derive(Debug)]
struct Level {
    folder: EntryPath,
    names: HashMap<Box<[u8]>, Spellings>,
}

/// How both sides spell one name.
#[derive(Debug, Default)]
struct Spellings {
    source: Option<EntryPath>,
    replica: Option<(EntryPath, Stat)>,
}

/// The names on the way to the path of a join in path order.
#[derive(Debug, Default)]
pub struct Spelling {
    levels: Vec<Level>,
    found: Vec<Misspelled>,
}

impl Spelling {
    /// Takes in the next path of a join.
    pub fn meet(&mut self, joined: &Joined, held: &Capabilities) -> Spelled {
        let path = &joined.path;
        let is_wanted = !matches!(joined.source, None | Some(Seen::Excluded));
        let lies_there = match &joined.replica {
            Some(Seen::Present(stat) | Seen::Unlisted(stat, _)) if !is_litter(path) => Some(*stat),
            _ => None,
        };
        if held.case_sensitive || path.is_root() || !(is_wanted || lies_there.is_some()) {
            return Spelled::Alone;
        }
        let Self { levels, found } = self;
        let level = level_of(levels, path);
        let spellings = level.names.entry(held.name_key(path.name()).into()).or_default();
        if let Some(stat) = lies_there {
            spellings.replica = Some((path.clone(), stat));
        }
        let taken = match &spellings.source {
            Some(first) if is_wanted && first.name() != path.name() => Spelled::Taken(first.clone()),
            _ => Spelled::Alone,
        };
        if is_wanted && spellings.source.is_none() {
            spellings.source = Some(path.clone());
        }
        if let (Some(source), Some((lies, stat))) = (&spellings.source, &spellings.replica)
            && source.name() != lies.name()
        {
            let to = path.parent().child(source.name(), lies.is_folder());
            found.push(Misspelled { from: lies.clone(), to, replica: *stat });
            spellings.replica = None;
        }
        taken
    }

    /// Returns what was found to be spelled in another way.
    pub fn found(&self) -> &[Misspelled] {
        &self.found
    }

    /// Gives away what was found.
    pub fn take(&mut self) -> Vec<Misspelled> {
        std::mem::take(&mut self.found)
    }
}

/// The names of the folder that `path` lies in; those of folders that do not lead there are dropped.
fn level_of<'l>(levels: &'l mut Vec<Level>, path: &EntryPath) -> &'l mut Level {
    while levels.last().is_some_and(|level| !path.is_below(&level.folder)) {
        levels.pop();
    }
    if levels.last().is_none_or(|level| level.folder.as_bytes() != path.parent_bytes()) {
        levels.push(Level { folder: path.parent(), names: HashMap::new() });
    }
    let last = levels.len() - 1;
    &mut levels[last]
}

/// Returns the problem of a name that is not mirrored because `first` has its place.
pub fn collision(second: &EntryPath, first: &EntryPath) -> Problem {
    let cause = format!(
        "{first} and {second} differ only in case, which the replica's file system does not tell apart; {first} is \
         mirrored, rename one of them"
    );
    Problem::replica(second, "mirror", cause)
}

/// Takes out of a plan what concerns entries that still have another spelling in the replica: their deletes would
/// take away what the source has, and what is to come finds the name taken.
pub fn keep_misspelled(plan: &mut Plan, misspelled: &[Misspelled]) {
    if misspelled.is_empty() {
        return;
    }
    let lying: HashSet<&EntryPath> = misspelled.iter().map(|entry| &entry.from).collect();
    let wanted: HashSet<EntryPath> =
        misspelled.iter().flat_map(|entry| [entry.to.clone(), entry.to.other_kind()]).collect();
    let stays =
        |path: &EntryPath| lying.contains(path) || path.folders_above().any(|folder| lying.contains(&folder));
    let waits = |path: &EntryPath| {
        wanted.contains(path) || path.folders_above().any(|folder| wanted.contains(&folder))
    };
    plan.deletes.retain(|delete| !stays(&delete.path));
    plan.entries.retain(|operation| !waits(&operation.path));
    plan.links.retain(|operation| !waits(&operation.path));
    plan.folders.retain(|task| !waits(&task.path));
    for Misspelled { from, to, .. } in misspelled {
        let cause = format!(
            "the replica has it as {from}, which its file system does not tell apart, and it was not renamed; the next \
             run tries again"
        );
        plan.problems.push(Problem::replica(to, "mirror", cause));
    }
    plan.problems.sort_by(|one, other| one.path.cmp(&other.path));
}

#[cfg(test)]
#[path = "spelling_tests.rs"]
mod tests;
