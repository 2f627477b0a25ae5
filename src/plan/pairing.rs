//! Which new files of a plan are old ones of the replica under another name.
//!
//! Three rounds, from the surest to the weakest sign: the same inode with the same size and time; the same size
//! and time; the same size and MD5. A pair of the first round whose ctime did not move either is certain: nobody
//! wrote to the file. All others are proposals, and only equal bytes make them moves.

use super::decide::{Knowledge, Rules, unchanged};
use super::join::Joined;
use super::step::Question;
use super::{Moving, Plan};
use crate::model::record::is_racy;
use crate::model::{
    Difference, Digest, EntryPath, Fingerprint, Kind, Operation, Problem, Record, Seen, Side, Stat, Verb,
};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// A new file, as its copy is planned, and an old one that may be it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Where the new one is in the source.
    pub to: EntryPath,
    /// Where the old one is in the replica.
    pub from: EntryPath,
    /// The new one's figures, as scanned.
    pub source: Stat,
    /// The old one's.
    pub replica: Stat,
    new: usize,
    old: usize,
    /// The inode says that they are one file.
    by_inode: bool,
}

impl Pair {
    /// Whether both hold the same.
    pub fn question(&self) -> Question {
        let joined = Joined {
            path: self.to.clone(),
            source: Some(Seen::Present(self.source)),
            replica: Some(Seen::Present(self.replica)),
            row: None,
        };
        Question { joined, folder: None, elsewhere: Some(self.from.clone()) }
    }
}

/// A new file whose MD5 would tell whether an old one may be it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// Where it is in the source.
    pub path: EntryPath,
    /// Its figures, as scanned.
    pub source: Stat,
    new: usize,
}

/// An old file that the replica will not have any more under its name.
#[derive(Debug)]
struct Old {
    path: EntryPath,
    replica: Stat,
    row: Record,
    taken: bool,
}

#[derive(Debug)]
struct New {
    /// Its place among the plan's entries.
    entry: usize,
    settled: bool,
}

/// New and old files while they are brought together.
#[derive(Debug)]
pub struct Pairing<'p> {
    plan: &'p Plan,
    rules: &'p Rules,
    /// The device of the source's root, on which inode numbers are those of the rows.
    device: u64,
    new: Vec<New>,
    old: Vec<Old>,
    found: Vec<(usize, usize, Moving)>,
    /// New files that cannot be read, each with the old one that its inode says it is.
    unread: Vec<(usize, usize, Problem)>,
}

/// What becomes of a plan's copies, by their places in it.
#[derive(Debug, Default)]
pub struct Moves {
    /// What is moved instead.
    found: Vec<(usize, Moving)>,
    /// What cannot be read, with the old name under which the replica keeps its last content.
    unread: Vec<(usize, EntryPath, Problem)>,
}

impl<'p> Pairing<'p> {
    /// All files of a complete plan that come, and all that go or make room for others.
    pub fn of(plan: &'p Plan, rules: &'p Rules, device: u64) -> Self {
        // Names of one inode are a matter of their own.
        let single = |stat: &Stat| stat.kind() == Kind::File && stat.links == 1;
        let leaves = |operation: &Operation| {
            let (row, replica) = (operation.origin.as_deref()?, operation.replica?);
            let stands = unchanged(&replica.fingerprint, &row.replica, rules);
            let whole = single(&replica) && row.source.kind == Kind::File && row.source.size > 0;
            (stands && whole).then(|| Old {
                path: operation.path.clone(),
                replica,
                row: row.clone(),
                taken: false,
            })
        };
        let copies = || plan.entries.iter().enumerate().filter(|(_, operation)| operation.verb == Verb::Copy);
        let old: Vec<Old> =
            plan.deletes.iter().chain(copies().map(|(_, copy)| copy)).filter_map(leaves).collect();
        let comes = |operation: &Operation| {
            let source = operation.source.filter(single);
            // What must displace another kind of entry has its own way of coming.
            source.is_some_and(|source| source.fingerprint.size > 0) && !operation.displaces
        };
        let new = if old.is_empty() {
            Vec::new()
        } else {
            copies().filter(|(_, copy)| comes(copy)).map(|(entry, _)| New { entry, settled: false }).collect()
        };
        Self { plan, rules, device, new, old, found: Vec::new(), unread: Vec::new() }
    }

    /// The first round. What is certain is found at once; the rest is to be compared.
    pub fn by_inode(&mut self) -> Vec<Pair> {
        let key = |file: &Fingerprint| Some((file.inode, file.size, file.mtime));
        let pairs = self.propose(|stat, _| key(&stat.fingerprint), |row| key(&row.source));
        let pairs = pairs.into_iter().map(|pair| Pair { by_inode: true, ..pair });
        let (certain, open): (Vec<Pair>, Vec<Pair>) = pairs.partition(|pair| self.is_certain(pair));
        for pair in certain {
            let row = &self.old[pair.old].row;
            let racy = is_racy(pair.source.fingerprint.ctime, self.rules.began, self.rules.tick_nanos, None);
            let moving = Moving {
                to: pair.to,
                from: pair.from,
                source: pair.source,
                replica: pair.replica,
                target: self.target(pair.new),
                content: row.digest.zip(row.hashed),
                mend: false,
                difference: Difference::None,
                racy,
                old: None,
                loses: self.plan.entries[self.new[pair.new].entry].loses,
            };
            self.take(pair.new, pair.old, moving);
        }
        open
    }

    /// The second round: to be compared.
    pub fn by_time(&mut self) -> Vec<Pair> {
        let key = |file: &Fingerprint| Some((file.size, file.mtime));
        self.propose(|stat, _| key(&stat.fingerprint), |row| key(&row.source))
    }

    /// For the third round: new files that have the size of an old one.
    pub fn unnamed(&self) -> Vec<Unnamed> {
        let free = self.old.iter().filter(|old| !old.taken && old.row.digest.is_some());
        let sizes: HashSet<u64> = free.map(|old| old.row.source.size).collect();
        let open = self.new.iter().enumerate().filter(|(_, new)| !new.settled);
        open.filter_map(|(number, new)| {
            let operation = &self.plan.entries[new.entry];
            let source = operation.source.filter(|source| sizes.contains(&source.fingerprint.size))?;
            Some(Unnamed { path: operation.path.clone(), source, new: number })
        })
        .collect()
    }

    /// The third round: pairs of one MD5, to be compared. `named` are those of [`Pairing::unnamed`] that
    /// could be read.
    pub fn by_digest(&mut self, named: &[(Unnamed, Digest)]) -> Vec<Pair> {
        let digests: HashMap<usize, Digest> =
            named.iter().map(|(file, digest)| (file.new, *digest)).collect();
        self.propose(
            |stat, number| digests.get(&number).map(|digest| (stat.fingerprint.size, *digest)),
            |row| row.digest.map(|digest| (row.source.size, digest)),
        )
    }

    /// What comparing the bytes of a pair showed.
    pub fn learn(&mut self, pair: Pair, knowledge: &Knowledge) {
        if self.new[pair.new].settled || self.old[pair.old].taken {
            return;
        }
        let (source, replica, digest, attributes, began) = match knowledge {
            Knowledge::Same { source, replica, digest, attributes, began } => {
                (source, replica, digest, attributes, began)
            }
            // The replica has the only copy that can be read, under the old name.
            Knowledge::Failed(problem) if pair.by_inode && problem.side == Side::Source => {
                self.settle(pair.new, pair.old);
                return self.unread.push((pair.new, pair.old, problem.clone()));
            }
            Knowledge::Different | Knowledge::Vanished | Knowledge::Failed(_) => return,
        };
        let differ = *attributes != Difference::None || !self.rules.rights.desired(source).met(replica);
        let moving = Moving {
            to: pair.to,
            from: pair.from,
            source: *source,
            replica: *replica,
            target: self.target(pair.new),
            content: digest.map(|digest| (digest, *began)),
            mend: differ,
            difference: *attributes,
            racy: is_racy(source.fingerprint.ctime, *began, self.rules.tick_nanos, None),
            old: None,
            loses: self.plan.entries[self.new[pair.new].entry].loses,
        };
        self.take(pair.new, pair.old, moving);
    }

    /// What is to be moved, and what stays.
    pub fn finish(self) -> Moves {
        let Self { new, old, found, unread, .. } = self;
        let found = found.into_iter().map(|(number, _, moving)| (new[number].entry, moving)).collect();
        let unread = unread.into_iter().map(|(number, was, problem)| {
            let path = old[was].path.clone();
            (new[number].entry, path, problem)
        });
        Moves { found, unread: unread.collect() }
    }

    /// Pairs of open new and old files that have one key, each at most once; of several old ones the first of
    /// the same name, or else the first.
    fn propose<K: Hash + Eq + Copy>(
        &self,
        key_of: impl Fn(&Stat, usize) -> Option<K>,
        old_key_of: impl Fn(&Record) -> Option<K>,
    ) -> Vec<Pair> {
        // The first ones come last, so that they can be taken from the end.
        let mut by_key: HashMap<K, Vec<usize>> = HashMap::new();
        let mut by_name: HashMap<(K, &[u8]), Vec<usize>> = HashMap::new();
        for (number, old) in self.old.iter().enumerate().rev().filter(|(_, old)| !old.taken) {
            if let Some(key) = old_key_of(&old.row) {
                by_key.entry(key).or_default().push(number);
                by_name.entry((key, old.path.name())).or_default().push(number);
            }
        }
        let mut gone: Vec<bool> = self.old.iter().map(|old| old.taken).collect();
        let mut pairs = Vec::new();
        for (number, new) in self.new.iter().enumerate().filter(|(_, new)| !new.settled) {
            let operation = &self.plan.entries[new.entry];
            let Some(source) = operation.source else { continue };
            let Some(key) = key_of(&source, number) else { continue };
            let path = &operation.path;
            let take = |candidates: Option<&mut Vec<usize>>| self.take_last(candidates?, &gone, path);
            let chosen = take(by_name.get_mut(&(key, path.name()))).or_else(|| take(by_key.get_mut(&key)));
            let Some(old) = chosen else { continue };
            gone[old] = true;
            let (from, replica) = (self.old[old].path.clone(), self.old[old].replica);
            let to = path.clone();
            pairs.push(Pair { to, from, source, replica, new: number, old, by_inode: false });
        }
        pairs
    }

    /// Takes the last of `candidates` that is not `gone`, nor the old one of `path` itself: a file that is
    /// rewritten where it lies is no move.
    fn take_last(&self, candidates: &mut Vec<usize>, gone: &[bool], path: &EntryPath) -> Option<usize> {
        let mut itself = None;
        let found = loop {
            match candidates.pop() {
                Some(old) if gone[old] => {}
                Some(old) if self.old[old].path == *path => itself = Some(old),
                found => break found,
            }
        };
        candidates.extend(itself);
        found
    }

    /// Whether all figures say that this is the very file of the row, and that nobody wrote to it.
    fn is_certain(&self, pair: &Pair) -> bool {
        let row = &self.old[pair.old].row;
        // What is known to be damaged would not compare equal: the replica's good copy gets the new name all the same.
        let rotten = self.rules.rotten.contains(&row.path) && pair.source.device == self.device;
        if rotten && pair.replica.fingerprint.is_as(&row.replica) {
            return true;
        }
        !row.racy
            && pair.source.device == self.device
            && pair.source.fingerprint == row.source
            && pair.replica.fingerprint == row.replica
    }

    fn target(&self, new: usize) -> Option<Stat> {
        self.plan.entries[self.new[new].entry].replica
    }

    fn take(&mut self, new: usize, old: usize, moving: Moving) {
        self.settle(new, old);
        self.found.push((new, old, moving));
    }

    fn settle(&mut self, new: usize, old: usize) {
        self.new[new].settled = true;
        self.old[old].taken = true;
    }
}

impl Moves {
    /// Puts them into the plan in the place of copies and deletes; `false`: there are none.
    pub fn apply(self, plan: &mut Plan) -> bool {
        let Self { found, unread } = self;
        if found.is_empty() && unread.is_empty() {
            return false;
        }
        let mut copies: HashSet<usize> = found.iter().map(|(entry, _)| *entry).collect();
        copies.extend(unread.iter().map(|(entry, ..)| *entry));
        let old: HashSet<EntryPath> = found.iter().map(|(_, moving)| moving.from.clone()).collect();
        let mut place = 0;
        plan.entries.retain(|_| {
            place += 1;
            !copies.contains(&(place - 1))
        });
        let gone = plan.deletes.extract_if(.., |delete| old.contains(&delete.path));
        let mut gone: HashMap<EntryPath, Operation> =
            gone.map(|delete| (delete.path.clone(), delete)).collect();
        let moves = found.into_iter().map(|(_, moving)| {
            let old = gone.remove(&moving.from).map(Box::new);
            Moving { old, ..moving }
        });
        plan.moves.extend(moves);
        plan.moves.sort_by(|one, other| one.to.cmp(&other.to));
        if !unread.is_empty() {
            let (kept, problems): (Vec<_>, Vec<_>) =
                unread.into_iter().map(|(_, old, problem)| (old, problem)).unzip();
            plan.problems.extend(problems);
            plan.problems.sort_by(|one, other| one.path.cmp(&other.path));
            keep(plan, kept);
        }
        true
    }
}

/// Takes the deletes of `names` out of the plan, those of the folders that they lie in, and what would come in
/// the place of any of them.
fn keep(plan: &mut Plan, mut names: Vec<EntryPath>) {
    while !names.is_empty() {
        let above: Vec<EntryPath> = names.iter().flat_map(EntryPath::folders_above).collect();
        let kept: HashSet<EntryPath> = names.into_iter().chain(above).collect();
        plan.deletes.retain(|delete| !kept.contains(&delete.path));
        let waits = |displaces: bool, path: &EntryPath| displaces && kept.contains(&path.other_kind());
        let waiting = plan.folders.iter().filter(|task| waits(task.displaces, &task.path));
        let waiting: HashSet<EntryPath> = waiting.map(|task| task.path.clone()).collect();
        let is_within = |path: &EntryPath| {
            let mut above = path.folders_above();
            waiting.contains(path) || above.any(|folder| waiting.contains(&folder))
        };
        let goes_on = |operation: &Operation| {
            !waits(operation.displaces, &operation.path) && !is_within(&operation.path)
        };
        plan.entries.retain(goes_on);
        plan.links.retain(goes_on);
        plan.folders.retain(|task| !is_within(&task.path));
        // What cannot move there stays where it is, too.
        names = plan.moves.extract_if(.., |moving| is_within(&moving.to)).map(|moving| moving.from).collect();
    }
}

#[cfg(test)]
mod tests;
