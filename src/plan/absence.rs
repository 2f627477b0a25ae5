//! Deletes of what may not be gone from the source: an entry that moves while the source is scanned can be missed under
//! both names.

use super::Plan;
use super::gate::{in_order, keep_back};
use crate::model::{EntryPath, Kind, Operation, Record, Stat};
use std::collections::BTreeSet;

/// What is known of an entry that the scan did not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the facts of a truth table")]
pub struct Absence {
    /// Its object has another name in the source.
    pub found: bool,
    /// No folder of the source changed any more after the scan had listed it, or after it was listed again.
    pub proven: bool,
    /// The folder that held it has changed since the run began.
    pub recent: bool,
    /// The run before missed it, too, and left its replica.
    pub awaited: bool,
}

/// What becomes of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Delete,
    /// It waits for the next run, which will meet the entry under its other name.
    Moved,
    /// It waits for the next run, which carries it out if the entry is missing then as well.
    Await,
}

/// Decides about the delete of an entry that the scan did not meet.
pub fn decide_absence(absence: Absence) -> Fate {
    match absence {
        Absence { found: true, .. } => Fate::Moved,
        Absence { proven: false, recent: true, awaited: false, .. } => Fate::Await,
        Absence { .. } => Fate::Delete,
    }
}

/// Returns true if an entry of the source is the object of this row, by figures that a new name leaves alone.
pub fn is_object_of(now: &Stat, row: &Record) -> bool {
    let (now, then) = (&now.fingerprint, &row.source);
    now.kind == then.kind
        && now.inode == then.inode
        && (now.kind == Kind::Folder || (now.size == then.size && now.mtime == then.mtime))
}

/// The deletes of a plan that lie in no folder which is deleted, too, by their numbers.
pub fn tops(deletes: &[Operation]) -> Vec<usize> {
    let mut tops: Vec<usize> = Vec::new();
    for (number, delete) in deletes.iter().enumerate() {
        if tops.last().is_none_or(|&top| !delete.path.is_below(&deletes[top].path)) {
            tops.push(number);
        }
    }
    tops
}

/// Takes the deletes of these paths out of a plan, those of the folders that they lie in, and what needs their names.
pub fn postpone(plan: &mut Plan, waiting: &BTreeSet<EntryPath>) {
    let deletes = std::mem::take(&mut plan.deletes);
    let (waiting, mut free): (Vec<Operation>, Vec<Operation>) =
        deletes.into_iter().partition(|delete| waiting.contains(&delete.path));
    let is_occupied = |folder: &Operation| {
        let next = waiting.partition_point(|other| other.path <= folder.path);
        waiting.get(next).is_some_and(|other| other.path.is_below(&folder.path))
    };
    let occupied: Vec<Operation> = free.extract_if(.., |delete| is_occupied(delete)).collect();
    let waiting = in_order(occupied, waiting);
    plan.deletes = free;
    // Which of them lose nothing is not known: taken to be as many as there can be.
    plan.moved = plan.moved.saturating_sub(waiting.len() as u64);
    keep_back(plan, &waiting);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fingerprint, Timestamp, Verb};

    #[test]
    fn only_what_is_found_waits_for_good_and_what_is_unproven_waits_once() {
        for found in [false, true] {
            for proven in [false, true] {
                for recent in [false, true] {
                    for awaited in [false, true] {
                        let fate = decide_absence(Absence { found, proven, recent, awaited });
                        let wanted = if found {
                            Fate::Moved
                        } else if !proven && recent && !awaited {
                            Fate::Await
                        } else {
                            Fate::Delete
                        };
                        assert_eq!(fate, wanted, "{found} {proven} {recent} {awaited}");
                    }
                }
            }
        }
    }

    fn delete(path: &str) -> Operation {
        Operation {
            path: EntryPath::from(path),
            verb: Verb::Delete,
            source: None,
            replica: None,
            content: None,
            attributes: true,
            origin: None,
            from: None,
            displaces: false,
            loses: false,
        }
    }

    #[test]
    fn what_lies_in_a_deleted_folder_is_not_looked_for_on_its_own() {
        let deletes = ["a", "b/", "b/c/", "b/c/d", "b/e", "bc", "d/e", "d/f/", "d/f/g"].map(delete);
        assert_eq!(tops(&deletes), [0, 1, 5, 6, 7]);
    }

    #[test]
    fn a_folder_stays_with_what_stays_in_it_and_nothing_takes_its_name() {
        let mut plan = Plan {
            deletes: ["a/", "a/b/", "a/b/c", "a/b/d", "e"].map(delete).into(),
            moved: 4,
            entries: vec![Operation { verb: Verb::Copy, displaces: true, ..delete("a") }],
            ..Plan::default()
        };
        postpone(&mut plan, &BTreeSet::from([EntryPath::from("a/b/c")]));
        let left: Vec<_> = plan.deletes.iter().map(|delete| delete.path.clone()).collect();
        assert_eq!(left, ["a/b/d", "e"].map(EntryPath::from));
        assert!(plan.entries.is_empty());
        assert_eq!(plan.moved, 1);
    }

    #[test]
    fn an_object_is_known_by_what_a_rename_leaves_alone() {
        let moment = |seconds| Timestamp::new(seconds, 0);
        let print = |kind, inode, size, mtime, ctime| Fingerprint {
            kind,
            mode: 0o644,
            size,
            mtime: moment(mtime),
            ctime: moment(ctime),
            inode,
        };
        let stat =
            |fingerprint| Stat { fingerprint, uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: 0 };
        let row = |fingerprint| {
            Record::new(EntryPath::from("x"), &stat(fingerprint), &stat(fingerprint), None, false)
        };
        let file = row(print(Kind::File, 7, 10, 1, 1));
        for (now, is) in [
            (print(Kind::File, 7, 10, 1, 9), true),
            // The inode was given to a new file.
            (print(Kind::File, 7, 10, 2, 9), false),
            (print(Kind::File, 7, 11, 1, 9), false),
            (print(Kind::File, 8, 10, 1, 1), false),
            (print(Kind::Folder, 7, 10, 1, 1), false),
        ] {
            assert_eq!(is_object_of(&stat(now), &file), is, "{now:?}");
        }
        let folder = row(print(Kind::Folder, 7, 0, 1, 1));
        assert!(is_object_of(&stat(print(Kind::Folder, 7, 0, 5, 5)), &folder));
    }
}
