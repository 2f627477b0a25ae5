//! Files that have another name in the source and could not be copied under it: what the replica has under the old one
//! stays until the next run.

use super::Outcome;
use crate::model::operation::End;
use crate::model::{EntryPath, Operation, Stat, Verb};
use crate::plan::absence::is_object_of;
use std::collections::{HashMap, HashSet};

/// Paths of copies that came to nothing: the file went on to yet another name, or could not be read.
#[derive(Debug, Default)]
pub(super) struct Uncopied(HashSet<EntryPath>);

impl Uncopied {
    /// Notes those of a batch.
    pub(super) fn note(&mut self, outcomes: &[Outcome]) {
        let failed = |end: &End| matches!(end, End::Vanished | End::Failed(_));
        let dones = outcomes.iter().map(|outcome| &outcome.done);
        let failed = dones.filter(|done| done.verb == Verb::Copy && failed(&done.end));
        self.0.extend(failed.map(|done| done.path.clone()));
    }

    /// Takes out of `deletes`, in path order, those that would remove the only copy of such a file, and the folders that
    /// they lie in. `copies` are those that were tried.
    pub(super) fn spare(&self, deletes: &mut Vec<&Operation>, copies: &[&Operation]) {
        if self.0.is_empty() {
            return;
        }
        let mut sources: HashMap<u64, Vec<Stat>> = HashMap::new();
        for source in copies.iter().filter(|copy| self.0.contains(&copy.path)).filter_map(|copy| copy.source)
        {
            sources.entry(source.fingerprint.inode).or_default().push(source);
        }
        let is_last_copy = |delete: &Operation| {
            let row = delete.origin.as_deref();
            let of_inode = row.and_then(|row| Some((row, sources.get(&row.source.inode)?)));
            of_inode.is_some_and(|(row, sources)| sources.iter().any(|source| is_object_of(source, row)))
        };
        let mut kept: HashSet<EntryPath> = HashSet::new();
        for delete in deletes.iter().filter(|delete| is_last_copy(delete)) {
            kept.extend(delete.path.folders_above());
            kept.insert(delete.path.clone());
        }
        deletes.retain(|delete| !kept.contains(&delete.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Done, Fingerprint, Kind, Record, Timestamp};

    fn stat(inode: u64) -> Stat {
        let moment = Timestamp::new(1, 0);
        let fingerprint =
            Fingerprint { kind: Kind::File, mode: 0o644, size: 5, mtime: moment, ctime: moment, inode };
        Stat { fingerprint, uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: 5 }
    }

    fn operation(path: &str, verb: Verb, inode: u64) -> Operation {
        let path = EntryPath::from(path);
        let row = Record::new(path.clone(), &stat(inode), &stat(inode), None, false);
        Operation {
            path,
            verb,
            source: (verb == Verb::Copy).then(|| stat(inode)),
            replica: None,
            content: None,
            attributes: true,
            origin: (verb == Verb::Delete).then(|| Box::new(row)),
            from: None,
            displaces: false,
            loses: false,
        }
    }

    #[test]
    fn the_old_name_of_a_file_that_could_not_be_copied_stays_and_others_go() {
        let copies = [operation("new/a", Verb::Copy, 7), operation("new/b", Verb::Copy, 8)];
        let ended = |copy: &Operation, end: End| Outcome {
            done: Done {
                path: copy.path.clone(),
                verb: Verb::Copy,
                from: None,
                end,
                bytes: 0,
                digest: None,
                took: std::time::Duration::ZERO,
                silent: false,
                losses: Vec::new(),
            },
            aside: None,
        };
        let mut uncopied = Uncopied::default();
        uncopied.note(&[ended(&copies[0], End::Vanished), ended(&copies[1], End::Made(None))]);
        let deletes = [("old/", 1), ("old/a", 7), ("old/b", 8), ("old/c", 9), ("x", 7)]
            .map(|(path, inode)| operation(path, Verb::Delete, inode));
        let mut left: Vec<&Operation> = deletes.iter().collect();
        uncopied.spare(&mut left, &copies.iter().collect::<Vec<_>>());
        let left: Vec<_> = left.iter().map(|delete| delete.path.clone()).collect();
        assert_eq!(left, ["old/b", "old/c"].map(EntryPath::from));
    }
}
