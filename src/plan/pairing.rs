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
    Difference, Digest, EntryPath, Fingerprint, Kind, Operation, Record, Seen, Stat, Timestamp, Verb,
};
use std::collections::{HashMap, HashSet};

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
}

/// What is moved instead of being copied, by the places of the copies in the plan.
#[derive(Debug, Default)]
pub struct Moves(Vec<(usize, Moving)>);

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
        Self { plan, rules, device, new, old, found: Vec::new() }
    }

    /// The first round. What is certain is found at once; the rest is to be compared.
    pub fn by_inode(&mut self) -> Vec<Pair> {
        let pairs = self.propose(
            |stat, _| Some(stat.fingerprint.inode),
            |row| Some(row.source.inode),
            |source, row| source.size == row.source.size && source.mtime == row.source.mtime,
        );
        let (certain, open): (Vec<Pair>, Vec<Pair>) =
            pairs.into_iter().partition(|pair| self.is_certain(pair));
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
            };
            self.take(pair.new, pair.old, moving);
        }
        open
    }

    /// The second round: to be compared.
    pub fn by_time(&mut self) -> Vec<Pair> {
        let time = |size: u64, mtime: Timestamp| Some((size, mtime));
        self.propose(
            |stat, _| time(stat.fingerprint.size, stat.fingerprint.mtime),
            |row| time(row.source.size, row.source.mtime),
            |_, _| true,
        )
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
            |_, _| true,
        )
    }

    /// What comparing the bytes of a pair showed.
    pub fn learn(&mut self, pair: Pair, knowledge: &Knowledge) {
        let Knowledge::Same { source, replica, digest, attributes, began } = knowledge else { return };
        if self.new[pair.new].settled || self.old[pair.old].taken {
            return;
        }
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
        };
        self.take(pair.new, pair.old, moving);
    }

    /// What is to be moved.
    pub fn finish(self) -> Moves {
        let new = self.new;
        Moves(self.found.into_iter().map(|(number, _, moving)| (new[number].entry, moving)).collect())
    }

    /// Pairs of open new and old files that have one key and fit, each at most once; of several old ones the
    /// one of the same name, if there is one.
    fn propose<K: std::hash::Hash + Eq>(
        &self,
        key_of: impl Fn(&Stat, usize) -> Option<K>,
        old_key_of: impl Fn(&Record) -> Option<K>,
        fits: impl Fn(&Fingerprint, &Record) -> bool,
    ) -> Vec<Pair> {
        let mut by_key: HashMap<K, Vec<usize>> = HashMap::new();
        for (number, old) in self.old.iter().enumerate().filter(|(_, old)| !old.taken) {
            if let Some(key) = old_key_of(&old.row) {
                by_key.entry(key).or_default().push(number);
            }
        }
        let mut pairs = Vec::new();
        for (number, new) in self.new.iter().enumerate().filter(|(_, new)| !new.settled) {
            let operation = &self.plan.entries[new.entry];
            let Some(source) = operation.source else { continue };
            let candidates = key_of(&source, number).and_then(|key| by_key.get_mut(&key));
            let Some(candidates) = candidates else { continue };
            let usable = |&&old: &&usize| {
                // A file that is rewritten where it lies is no move.
                self.old[old].path != operation.path && fits(&source.fingerprint, &self.old[old].row)
            };
            let same_name = |&&old: &&usize| self.old[old].path.name() == operation.path.name();
            let chosen = candidates.iter().filter(usable).find(same_name).or(candidates.iter().find(usable));
            let Some(&old) = chosen else { continue };
            candidates.retain(|&other| other != old);
            let (from, replica) = (self.old[old].path.clone(), self.old[old].replica);
            pairs.push(Pair { to: operation.path.clone(), from, source, replica, new: number, old });
        }
        pairs
    }

    /// Whether all figures say that this is the very file of the row, and that nobody wrote to it.
    fn is_certain(&self, pair: &Pair) -> bool {
        let row = &self.old[pair.old].row;
        let strict = Rules { ignore_ctime: false, ignore_inode: false, ..self.rules.clone() };
        !row.racy
            && pair.source.device == self.device
            && unchanged(&pair.source.fingerprint, &row.source, &strict)
            && unchanged(&pair.replica.fingerprint, &row.replica, &strict)
    }

    fn target(&self, new: usize) -> Option<Stat> {
        self.plan.entries[self.new[new].entry].replica
    }

    fn take(&mut self, new: usize, old: usize, moving: Moving) {
        self.new[new].settled = true;
        self.old[old].taken = true;
        self.found.push((new, old, moving));
    }
}

impl Moves {
    /// Puts them into the plan in the place of copies and deletes; `false`: there are none.
    pub fn apply(self, plan: &mut Plan) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let copies: HashSet<usize> = self.0.iter().map(|(entry, _)| *entry).collect();
        let old: HashSet<EntryPath> = self.0.iter().map(|(_, moving)| moving.from.clone()).collect();
        let mut place = 0;
        plan.entries.retain(|_| {
            place += 1;
            !copies.contains(&(place - 1))
        });
        let gone = plan.deletes.extract_if(.., |delete| old.contains(&delete.path));
        let mut gone: HashMap<EntryPath, Operation> =
            gone.map(|delete| (delete.path.clone(), delete)).collect();
        let moves = self.0.into_iter().map(|(_, moving)| {
            let old = gone.remove(&moving.from).map(Box::new);
            Moving { old, ..moving }
        });
        plan.moves.extend(moves);
        plan.moves.sort_by(|one, other| one.to.cmp(&other.to));
        true
    }
}
