//! Inodes with several names: linked when their first name is there, and recorded when no name of
//! theirs comes or goes any more.

use super::{Outcome, Site, bring_over};
use crate::engine::content::NearFolder;
use crate::engine::report::Tally;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::operation::End;
use crate::model::{Change, EntryPath, Fingerprint, Kind, Operation, Problem, Record, Stat, Verb};
use crate::monitor::Monitor;
use crate::plan::Plan;
use crate::store::{Folder, Store};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;

/// The rows that names are linked from, by path.
pub(super) type FirstNames = HashMap<EntryPath, Record>;

/// What is known, while a plan is carried out, of names that share their inode.
#[derive(Debug)]
pub(super) struct Names<'p> {
    /// Paths whose inode has several names, on either side.
    shared: HashSet<&'p EntryPath>,
    /// Their rows, true but for a ctime that moves with every name that comes or goes.
    rows: BTreeMap<&'p EntryPath, Row<'p>>,
    /// What this run made of an inode of the replica.
    made: HashMap<u64, Record>,
}

/// Where the row of a name is.
#[derive(Debug)]
enum Row<'p> {
    /// In the plan.
    Planned(&'p Record),
    /// But for the path it is what this run made of an inode of the replica.
    Made(u64),
}

/// After so many rounds what still waits for a first name is copied by itself.
const ROUNDS: u32 = 3;

/// Names that are linked together: their first names' rows are at hand.
const LINKED: usize = 4096;

/// Rows recorded in one transaction.
const TOGETHER: usize = 1024;

impl<'p> Names<'p> {
    /// Those of `plan`.
    pub(super) fn of(plan: &'p Plan) -> Self {
        let several = |stat: Option<Stat>| stat.is_some_and(|stat| stat.links > 1);
        let share = |operation: &&Operation| several(operation.source) || several(operation.replica);
        let shared = plan.entries.iter().chain(&plan.links).filter(share);
        Self {
            shared: shared.map(|operation| &operation.path).collect(),
            rows: plan.unsettled.iter().map(|row| (&row.path, Row::Planned(row))).collect(),
            made: HashMap::new(),
        }
    }

    /// Remembers what was made of shared inodes.
    pub(super) fn note(&mut self, outcomes: &[Outcome]) {
        for Outcome { done, .. } in outcomes {
            if let (End::Made(Some(Change::Put(record))), Some(path)) =
                (&done.end, self.shared.get(&done.path))
            {
                self.made.insert(record.replica.inode, record.clone());
                self.rows.insert(path, Row::Made(record.replica.inode));
            }
        }
    }

    /// The row of a name that is there.
    fn row(&self, path: &EntryPath) -> Option<Record> {
        match self.rows.get(path)? {
            Row::Planned(row) => Some(Record::clone(row)),
            Row::Made(inode) => self.made.get(inode).map(|made| made.under(path)),
        }
    }

    /// The figures of a planned entry after its inode was mended under another of its names.
    pub(super) fn as_mended(&self, mut planned: Stat) -> Stat {
        if let Some(made) = self.made.get(&planned.fingerprint.inode) {
            planned.fingerprint.mtime = made.replica.mtime;
        }
        planned
    }

    /// Makes the links of a plan whose entries were brought over. A name whose first name could not be
    /// brought over becomes a first name itself. Returns how many were left for lack of room.
    pub(super) fn link<S: Store, R: Store>(
        &mut self,
        site: &Site<'_, S, R>,
        links: &[&Operation],
        workers: &Workers,
        record: &mut dyn FnMut(Vec<Outcome>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let (mut left, mut orphans) = self.link_to_firsts(site, links, workers, record)?;
        for round in 0.. {
            if left > 0 || orphans.is_empty() || is_stuck(site) {
                break;
            }
            let (heirs, rest) = promote(orphans, round >= ROUNDS);
            let heirs: Vec<&Operation> = heirs.iter().collect();
            left = self.bring(site, &heirs, &FirstNames::new(), workers, record)?;
            if left > 0 {
                return Ok(left + rest.len());
            }
            let rest: Vec<&Operation> = rest.iter().collect();
            (left, orphans) = self.link_to_firsts(site, &rest, workers, record)?;
        }
        Ok(left + orphans.len())
    }

    /// Makes the links whose first names are there. Returns how many were left for lack of room, and the others.
    fn link_to_firsts<S: Store, R: Store>(
        &mut self,
        site: &Site<'_, S, R>,
        links: &[&Operation],
        workers: &Workers,
        record: &mut dyn FnMut(Vec<Outcome>) -> Result<(), Error>,
    ) -> Result<(usize, Vec<Operation>), Error> {
        let (mut left, mut orphans) = (0, Vec::new());
        for piece in links.chunks(LINKED) {
            if is_stuck(site) {
                left += piece.len();
                continue;
            }
            let mut firsts = FirstNames::new();
            let mut ready = Vec::with_capacity(piece.len());
            for link in piece {
                match link.from.as_ref().and_then(|from| self.row(from)) {
                    Some(first) => {
                        firsts.insert(first.path.clone(), first);
                        ready.push(*link);
                    }
                    None => orphans.push(Operation::clone(link)),
                }
            }
            left += self.bring(site, &ready, &firsts, workers, record)?;
        }
        Ok((left, orphans))
    }

    fn bring<S: Store, R: Store>(
        &mut self,
        site: &Site<'_, S, R>,
        operations: &[&Operation],
        firsts: &FirstNames,
        workers: &Workers,
        record: &mut dyn FnMut(Vec<Outcome>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let left = bring_over(site, operations, firsts, workers, &mut |outcomes| {
            self.note(&outcomes);
            record(outcomes)
        })?;
        Ok(left.len())
    }

    /// Records the rows as they are now that nothing comes or goes any more.
    ///
    /// RACE: what somebody does to such a file of the replica between its last link and this look, with
    /// size, mode and mtime as they were, is taken for ours. Worst outcome: that damage is found by
    /// `rebuild-index` only.
    pub(super) fn settle<R: Store>(
        self,
        replica: &R,
        manifest: &Manifest,
        tally: &mut Tally,
        monitor: &dyn Monitor,
    ) -> Result<(), Error> {
        let mut near = NearFolder::new(replica);
        let mut changes = Vec::new();
        for (path, row) in self.rows {
            let inode = match row {
                Row::Planned(row) => row.replica.inode,
                Row::Made(inode) => inode,
            };
            let row = match (self.made.get(&inode), row) {
                (Some(made), _) => made.under(path),
                (None, Row::Planned(row)) => row.clone(),
                // What was made stays known.
                (None, Row::Made(_)) => continue,
            };
            match as_it_is(&mut near, row) {
                Ok(row) => changes.push(Change::Put(row)),
                Err(problem) => tally.problem(problem, monitor),
            }
            if changes.len() == TOGETHER {
                manifest.apply(std::mem::take(&mut changes))?;
            }
        }
        Ok(manifest.apply(changes)?)
    }
}

/// Records rows of inodes that got further names while new entries went ahead, as they are now. Returns a problem for
/// each that is not what it was made. The same race as in [`Names::settle`].
pub fn settle_ahead<R: Store>(replica: &R, manifest: &Manifest) -> Result<Vec<Problem>, Error> {
    let mut near = NearFolder::new(replica);
    let mut problems = Vec::new();
    let mut after = None;
    loop {
        let rows = manifest.rows_of_first_names(after.as_ref(), TOGETHER)?;
        let Some(last) = rows.last() else { return Ok(problems) };
        after = Some(last.path.clone());
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let ctime = row.replica.ctime;
            match as_it_is(&mut near, row) {
                Ok(row) if row.replica.ctime == ctime => {}
                Ok(row) => changes.push(Change::Put(row)),
                Err(problem) => problems.push(problem),
            }
        }
        manifest.apply(changes)?;
    }
}

/// A row with the figures that the replica has now, if those are the row's but for the ctime.
fn as_it_is<R: Store>(near: &mut NearFolder<'_, R>, row: Record) -> Result<Record, Problem> {
    let now = near.of(&row.path).and_then(|folder| folder.stat(row.path.name()));
    let (now, then) = (now.ok().flatten().map(|now| now.fingerprint), &row.replica);
    let same = |now: &Fingerprint| {
        now.kind == then.kind
            && now.inode == then.inode
            && now.size == then.size
            && now.mtime == then.mtime
            && now.mode == then.mode
    };
    // An overlay gives a name that is written to an inode of its own; or somebody was there.
    let cause = "it is not what the other names of its file are; the next run puts it right";
    let now = now.filter(same).ok_or_else(|| Problem::replica(&row.path, "mend", cause))?;
    Ok(Record { replica: now, ..row })
}

/// Whether nothing more can be brought over.
fn is_stuck<S: Store, R: Store>(site: &Site<'_, S, R>) -> bool {
    site.cancel.requested() || site.full.load(Ordering::Relaxed)
}

/// Makes the first of each group of names a first name, to be brought over by itself, and the others
/// names of that; or all of them, where groups are given up.
fn promote(orphans: Vec<Operation>, all: bool) -> (Vec<Operation>, Vec<Operation>) {
    let mut heirs: HashMap<EntryPath, EntryPath> = HashMap::new();
    let (mut promoted, mut rest) = (Vec::new(), Vec::new());
    for link in orphans {
        let lost = link.from.clone().unwrap_or_else(EntryPath::root);
        if let Some(heir) = heirs.get(&lost).filter(|_| !all) {
            rest.push(Operation { from: Some(heir.clone()), ..link });
        } else {
            heirs.insert(lost, link.path.clone());
            promoted.push(alone(link));
        }
    }
    (promoted, rest)
}

/// The same entry brought over by itself.
pub(super) fn alone(link: Operation) -> Operation {
    let is_file = link.source.is_some_and(|source| source.kind() == Kind::File);
    let verb = if is_file { Verb::Copy } else { Verb::Create };
    Operation { verb, from: None, content: None, ..link }
}

/// What came of a link in the log and in counts: one that the replica refused was copied instead.
pub(super) fn verb_of(done: Verb, linked: bool, operation: &Operation) -> Verb {
    match done {
        Verb::Link if !linked => alone(operation.clone()).verb,
        verb => verb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path: &str, from: &str) -> Operation {
        Operation {
            path: EntryPath::from(path),
            verb: Verb::Link,
            source: None,
            replica: None,
            content: None,
            attributes: true,
            origin: None,
            from: Some(EntryPath::from(from)),
            displaces: false,
            loses: false,
        }
    }

    #[test]
    fn the_first_orphan_of_each_group_takes_the_place_of_the_lost_name() {
        let orphans = || vec![link("b", "a"), link("c", "a"), link("y", "x"), link("z", "x")];
        let (heirs, rest) = promote(orphans(), false);
        let paths = |operations: &[Operation]| -> Vec<String> {
            operations.iter().map(|operation| operation.path.to_string()).collect()
        };
        assert_eq!(paths(&heirs), ["b", "y"]);
        assert!(heirs.iter().all(|heir| heir.from.is_none() && heir.verb == Verb::Create));
        assert_eq!(rest, [link("c", "b"), link("z", "y")]);
        let (heirs, rest) = promote(orphans(), true);
        assert_eq!((heirs.len(), rest.len()), (4, 0));
    }
}
