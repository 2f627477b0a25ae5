//! What is brought over while the join goes on: new entries, in batches, into folders that are made as
//! their first entry comes and finished when their last one is there.

use super::cut::{Cutter, Size};
use super::folders::{self, FailedFolders};
use super::groups::{Groups, Released, Turn};
use super::names::alone;
use super::{FirstNames, Outcome, Site, batch};
use crate::engine::content::{Comparison, NearFolder};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::operation::End;
use crate::model::{Change, Difference, Done, EntryPath, Operation, Record, Verb};
use crate::plan::FolderTask;
use crate::plan::decide::Knowledge;
use crate::plan::early::Early;
use crate::plan::links::Object;
use crate::plan::planner::Planner;
use crate::plan::shared::inode_with_names;
use crate::store::{RENAME, Store};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Folders finished together.
const TOGETHER: usize = 64;

/// So many folders may wait for entries in them that wait for others, and so many names for others of their inode.
const HELD_UP: usize = 4096;

/// New entries on their way, in path order.
pub struct Pioneer<'s, S: Store, R: Store> {
    site: &'s Site<'s, S, R>,
    /// Tells whether the attributes of folders differ.
    comparison: &'s Comparison<'s, S, R>,
    near: NearFolder<'s, R>,
    /// The roots were looked at once more before the first change.
    begun: bool,
    /// The replica has no room, or takes no folders: nothing more goes ahead.
    stopped: bool,
    failed: FailedFolders,
    /// Folders that were made and are not finished, as the replica has them.
    made: BTreeMap<EntryPath, Arc<FolderTask>>,
    /// Those of them that lead to the join's present path.
    open: Vec<Arc<FolderTask>>,
    cutter: Cutter<Errand>,
    /// Batches that are full.
    full: Vec<EarlyBatch>,
    groups: Groups<'s, Errand>,
    /// Entries taken in so far, and those of them that are not back.
    taken: u64,
    out: BTreeSet<u64>,
    /// Folders that the join has left, each with the last entry that may lie in it.
    closing: VecDeque<(u64, Arc<FolderTask>)>,
}

/// A new entry on its way.
struct Errand {
    number: u64,
    operation: Operation,
    way: Vec<Arc<FolderTask>>,
    part: Part,
}

/// What an entry is among the names of its inode.
enum Part {
    /// The only one, as far as this goes.
    Alone,
    /// The first, which others wait for.
    First(Object),
    /// A further one, to be linked to the first, whose row this is.
    Further(Box<Record>),
}

impl Errand {
    fn first_of(&self) -> Option<Object> {
        match self.part {
            Part::First(object) => Some(object),
            Part::Alone | Part::Further(_) => None,
        }
    }

    fn linked_to(self, first: Box<Record>) -> Self {
        let from = Some(first.path.clone());
        let operation = Operation { verb: Verb::Link, from, ..self.operation };
        Self { operation, part: Part::Further(first), ..self }
    }
}

/// New entries that are brought over together.
pub struct EarlyBatch(Vec<Errand>);

/// What came of a batch.
pub struct Brought {
    batch: EarlyBatch,
    outcomes: Vec<Outcome>,
}

impl EarlyBatch {
    /// Brings the entries over.
    pub fn carry_out<S: Store, R: Store>(self, site: &Site<'_, S, R>) -> Brought {
        let operations: Vec<&Operation> = self.0.iter().map(|errand| &errand.operation).collect();
        let first = |errand: &Errand| match &errand.part {
            Part::Further(row) => Some((row.path.clone(), Record::clone(row))),
            Part::Alone | Part::First(_) => None,
        };
        let firsts: FirstNames = self.0.iter().filter_map(first).collect();
        let outcomes = batch::carry_out(site, &operations, &firsts);
        Brought { batch: self, outcomes }
    }
}

/// Gives these folders their metadata.
pub fn finish<S: Store, R: Store>(site: &Site<'_, S, R>, tasks: &[Arc<FolderTask>]) -> Vec<Done> {
    folders::finish_some(site, tasks)
}

impl<'s, S: Store, R: Store> Pioneer<'s, S, R> {
    /// Nothing on its way.
    pub fn new(
        site: &'s Site<'s, S, R>,
        comparison: &'s Comparison<'s, S, R>,
        manifest: &'s Manifest,
        workers: usize,
    ) -> Self {
        Self {
            site,
            comparison,
            near: NearFolder::new(site.replica),
            begun: false,
            stopped: false,
            failed: FailedFolders::default(),
            made: BTreeMap::new(),
            open: Vec::new(),
            cutter: Cutter::new(site.batch_files, workers),
            full: Vec::new(),
            groups: Groups::new(manifest),
            taken: 0,
            out: BTreeSet::new(),
            closing: VecDeque::new(),
        }
    }

    /// The join is at `path`: what does not lead there is complete as far as the join goes.
    pub fn pass(&mut self, path: &EntryPath) {
        while self.open.last().is_some_and(|folder| folder.path != *path && !path.is_below(&folder.path)) {
            self.close_last();
        }
    }

    fn close_last(&mut self) {
        self.closing.extend(self.open.pop().map(|task| (self.taken, task)));
    }

    /// Takes in something new.
    pub fn take(&mut self, mut early: Early, planner: &mut Planner<'_>) -> Result<(), Error> {
        if !self.begun {
            self.site.anchors.recheck()?;
            self.begun = true;
        }
        let full = self.site.full.load(Ordering::Relaxed) || self.stopped;
        if full || !self.make_ready(&early.way, planner) {
            self.refresh(&mut early.way);
            planner.defer(early);
            return Ok(());
        }
        let Early { way, operation: Some(operation) } = early else { return Ok(()) };
        self.taken += 1;
        self.out.insert(self.taken);
        let errand = Errand { number: self.taken, operation, way, part: Part::Alone };
        let source = errand.operation.source;
        let names = source.and_then(|source| Some((source, inode_with_names(&source, self.site.rights)?)));
        let Some((source, object)) = names else {
            self.send(errand);
            return Ok(());
        };
        match self.groups.turn(&source)? {
            Turn::First => self.send(Errand { part: Part::First(object), ..errand }),
            Turn::Further(first) => self.send(errand.linked_to(first)),
            Turn::Waits => self.groups.wait(object, errand),
        }
        Ok(())
    }

    fn send(&mut self, errand: Errand) {
        let batches = self.cutter.add(Size::of(&errand.operation), errand);
        self.full.extend(batches.into_iter().map(EarlyBatch));
    }

    /// The batches that are full.
    pub fn full(&mut self) -> Vec<EarlyBatch> {
        std::mem::take(&mut self.full)
    }

    /// All that waits to be handed out.
    pub fn rest(&mut self) -> Vec<EarlyBatch> {
        self.full.extend(self.cutter.rest().into_iter().map(EarlyBatch));
        self.full()
    }

    /// Whether folders wait for entries that wait themselves (large files, until enough are together), or many names
    /// for others that do.
    pub fn is_held_up(&self) -> bool {
        self.closing.len() >= HELD_UP || self.is_crowded()
    }

    /// Whether more names wait for others of their inode than are to be held.
    pub fn is_crowded(&self) -> bool {
        self.groups.waiting() >= HELD_UP
    }

    /// Whether names were linked: the rows of others of their inodes are to be put right.
    pub fn has_linked(&self) -> bool {
        self.groups.any()
    }

    /// Sorts out what came of a batch: what is to be recorded is returned, what found its name taken or no
    /// room goes back to the planner, for the deletes may make way for it.
    pub fn brought(&mut self, brought: Brought, planner: &mut Planner<'_>) -> Result<Vec<Done>, Error> {
        let Brought { batch, outcomes } = brought;
        let mut dones = Vec::with_capacity(outcomes.len());
        for (errand, outcome) in batch.0.into_iter().zip(outcomes) {
            let first_of = errand.first_of();
            let goes_back = match &outcome.done.end {
                End::Full(_) => true,
                End::Skipped => !self.site.may_have_room(&errand.operation),
                End::Failed(problem) => problem.action == RENAME,
                End::Made(_) | End::Vanished => false,
            };
            if goes_back {
                self.give_back(errand, planner);
                for name in first_of.map(|object| self.groups.give_up(object)).into_iter().flatten() {
                    self.give_back(name, planner);
                }
            } else {
                self.out.remove(&errand.number);
                if let Some(object) = first_of {
                    self.release(object, &outcome.done)?;
                }
                dones.push(outcome.done);
            }
        }
        Ok(dones)
    }

    fn give_back(&mut self, mut errand: Errand, planner: &mut Planner<'_>) {
        self.out.remove(&errand.number);
        self.refresh(&mut errand.way);
        let operation = match errand.part {
            Part::Further(_) => alone(errand.operation),
            Part::Alone | Part::First(_) => errand.operation,
        };
        planner.defer(Early { way: errand.way, operation: Some(operation) });
    }

    /// The first name of an inode has come to an end: what waited for it goes on.
    fn release(&mut self, object: Object, done: &Done) -> Result<(), Error> {
        let row = match &done.end {
            End::Made(Some(Change::Put(row))) => Some(row),
            _ => None,
        };
        match self.groups.came(object, &done.path, row)? {
            Released::Nobody => {}
            Released::Heir(heir) => self.send(Errand { part: Part::First(object), ..heir }),
            Released::Further(names, first) => {
                for name in names {
                    self.send(name.linked_to(first.clone()));
                }
            }
            Released::Alone(names) => {
                for name in names {
                    self.send(name);
                }
            }
        }
        Ok(())
    }

    /// Folders that nothing more comes into, if there are enough of them, or `all`.
    pub fn complete(&mut self, all: bool) -> Option<Vec<Arc<FolderTask>>> {
        let first_out = self.out.first().copied().unwrap_or(u64::MAX);
        let is_complete = |(last, _): &&(u64, Arc<FolderTask>)| *last < first_out;
        let count = self.closing.iter().take_while(is_complete).count();
        if count == 0 || (count < TOGETHER && !all) {
            return None;
        }
        let tasks: Vec<Arc<FolderTask>> = self.closing.drain(..count).map(|(_, task)| task).collect();
        for task in &tasks {
            self.made.remove(&task.path);
        }
        Some(tasks)
    }

    /// Nothing is done in these folders any more.
    pub fn leave(&self, folders: &[Done]) {
        for done in folders {
            self.site.grounds.leave(&done.path);
        }
    }

    /// The join has come to its end.
    pub fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close_last();
        }
    }

    /// Makes the folders of `way` that are missing, and closes others to whom they are to be closed.
    fn make_ready(&mut self, way: &[Arc<FolderTask>], planner: &mut Planner<'_>) -> bool {
        way.iter().all(|task| {
            if self.site.grounds.knows(&task.path) {
                return true;
            }
            if self.failed.cover(&task.path) || self.site.cancel.requested() {
                return false;
            }
            let ready = match task.replica {
                None => self.make(task, planner),
                Some(_) => self.open_up(task, planner),
            };
            if !ready {
                self.failed.add(&task.path);
            }
            ready
        })
    }

    fn make(&mut self, task: &Arc<FolderTask>, planner: &mut Planner<'_>) -> bool {
        match folders::make(task, &mut self.near) {
            Ok((stat, _)) => {
                let stat = self.site.rights.known(stat);
                self.site.grounds.add(&task.path, &stat);
                planner.made(&task.path, &stat);
                let fresh = FolderTask { replica: Some(stat), ..(**task).clone() };
                self.made.insert(task.path.clone(), Arc::new(fresh));
                let verb = Some(Verb::Create);
                self.open.push(Arc::new(FolderTask { verb, ..(**task).clone() }));
                true
            }
            Err(fault) => {
                self.stopped |= fault.is_lack_of_room();
                false
            }
        }
    }

    /// A folder that the replica has: before something new comes into it, whoever is to lose access to it
    /// loses that.
    fn open_up(&self, task: &Arc<FolderTask>, planner: &mut Planner<'_>) -> bool {
        let Knowledge::Same { replica, attributes, .. } = self.comparison.compare_folders(&task.path) else {
            return false;
        };
        let planned = task.replica.filter(|planned| planned.is_same_object(&replica));
        let task = FolderTask { difference: attributes, ..(**task).clone() };
        let opened = planned.is_some_and(|planned| folders::open_up(self.site, &task, &planned).is_ok());
        if opened {
            self.site.grounds.add(&task.path, &replica);
            planner.touched(Arc::new(FolderTask { difference: Difference::None, ..task }));
        }
        opened
    }

    /// Puts what is known of folders that were made in the place of what was planned.
    fn refresh(&self, way: &mut [Arc<FolderTask>]) {
        for task in way {
            if let Some(made) = self.made.get(&task.path) {
                *task = Arc::clone(made);
            }
        }
    }
}
