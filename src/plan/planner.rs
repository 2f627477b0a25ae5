//! Collects decisions into a plan, and the folders that its operations touch.

mod finish;
mod meet;

use super::census::Census;
use super::decide::{Decision, Knowledge, Rules, decide};
use super::early::{Ahead, Early};
use super::join::Joined;
use super::links::{Links, Named, Object, Waiting};
use super::occupied::Occupied;
use super::round::Round;
use super::shared;
use super::shield::Shields;
use super::spelling::{Misspelled, Spelling};
use super::step::{Mode, Question, Step, Suspect};
use super::trail::Trail;
use super::{FolderTask, Plan, is_litter};
use crate::model::{Change, Difference, EntryPath, Operation, Problem, Seen, Stat, Verb};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Folds joined paths, which must come in path order, into a [`Plan`].
#[derive(Debug)]
pub struct Planner<'r> {
    rules: &'r Rules,
    plan: Plan,
    census: Census,
    shields: Shields,
    spelling: Spelling,
    mode: Mode,
    /// Nothing is planned any more: folders with other names are looked for, and nothing else.
    surveys: bool,
    trail: Trail,
    folders: BTreeMap<EntryPath, Arc<FolderTask>>,
    links: Links,
    /// What would have made way for a folder of the source that could not be listed.
    stays: HashSet<EntryPath>,
    occupied: Occupied,
    /// What the run did to folders before it planned, as people are told: that they are as they are is its
    /// own work.
    readied: HashMap<EntryPath, Option<Verb>>,
    /// The source's inodes of rows whose entries are gone: what is new may be one of them under another name.
    vanished: HashSet<u64>,
    /// Entries that neither the replica nor a row has.
    fresh: usize,
}

impl<'r> Planner<'r> {
    /// An empty plan under `rules`.
    pub fn new(rules: &'r Rules, mut mode: Mode) -> Self {
        let links = Links::new(std::mem::take(&mut mode.round));
        Self {
            rules,
            mode,
            surveys: false,
            vanished: HashSet::new(),
            fresh: 0,
            readied: HashMap::new(),
            plan: Plan::default(),
            census: Census::default(),
            shields: Shields::default(),
            spelling: Spelling::default(),
            trail: Trail::default(),
            folders: BTreeMap::new(),
            links,
            stays: HashSet::new(),
            occupied: Occupied::default(),
        }
    }

    /// What the run did to folders before it planned: people are told of it as of what is planned.
    #[must_use]
    pub fn after_readying(self, folders: HashMap<EntryPath, Option<Verb>>) -> Self {
        Self { readied: folders, ..self }
    }

    /// Decides about the next path of the join, of whose contents this is `known`.
    pub fn feed(&mut self, mut joined: Joined, known: Option<&Knowledge>) -> Step {
        let met = self.meet(&mut joined);
        if self.mode.seeks.misspelled && !self.surveys && !self.spelling.found().is_empty() {
            self.survey();
        }
        if let Some(step) = met {
            return step;
        }
        if self.mode.seeks.renames && self.is_suspect(&joined) {
            let way = self.trail.folders();
            // The last one is the folder itself.
            let way = way[..way.len() - 1].to_vec();
            return Step::Suspect(Box::new(Suspect { joined, way }));
        }
        self.go_on(joined, known)
    }

    /// Decides about a path that was fed.
    pub fn go_on(&mut self, joined: Joined, known: Option<&Knowledge>) -> Step {
        if self.is_too_much() {
            self.survey();
        }
        if self.surveys {
            return Step::Settled;
        }
        let inode = shared::inode_of(&joined, &self.rules.rights);
        let is_for_later = inode.is_some_and(|inode| self.links.leaves_out(inode))
            || (self.links.is_of_names_only() && shared::is_plain(&joined));
        if is_for_later {
            return Step::Settled;
        }
        match self.as_told(decide(&joined, None, self.rules), &joined.path) {
            Decision::Ask => {
                // A folder's own task is what its answer is for.
                let task = if joined.path.is_folder() {
                    self.trail.last()
                } else {
                    self.trail.enclosing(&joined.path)
                };
                let Some(folder) = task.cloned() else { return Step::Settled };
                match known {
                    Some(known) => self.conclude(&joined, Some(folder), known),
                    None => Step::Ask(Box::new(Question { joined, folder: Some(folder), elsewhere: None })),
                }
            }
            Decision::Folder(verb, difference) => {
                // A folder whose permissions hide what it holds is mended, but what it holds was not
                // compared: only the next run can say that it is in step.
                if let Some(Seen::Unlisted(_, cause)) = &joined.replica {
                    self.plan.problems.push(Problem::replica(&joined.path, "list", cause));
                }
                let Some(task) = self.trail.last().cloned() else { return Step::Settled };
                if verb == Some(Verb::Create) && task.replica.is_none() && self.may_go_ahead(None) {
                    return Step::Early(Box::new(Early {
                        way: self.trail.way_to(&task.path, true),
                        operation: None,
                    }));
                }
                self.add_folder(&task, verb, difference);
                Step::Settled
            }
            decision => {
                let folder = self.trail.enclosing(&joined.path).cloned();
                self.settle(decision, &joined, folder)
            }
        }
    }

    /// A folder that is right by now because the run has readied it is an operation all the same.
    fn as_told(&self, decision: Decision, path: &EntryPath) -> Decision {
        match (&decision, self.readied.get(path)) {
            (Decision::Confirm(_), Some(verb)) if path.is_folder() => {
                Decision::Folder(*verb, Difference::Plain)
            }
            _ => decision,
        }
    }

    /// Plans nothing any more: only folders with other names are looked for from here on.
    pub fn survey(&mut self) {
        self.surveys = true;
        self.plan = Plan::default();
        self.folders.clear();
        self.links = Links::new(Round::default());
    }

    /// Whether it plans nothing any more.
    pub fn surveys(&self) -> bool {
        self.surveys
    }

    /// Whether a second look is to plan, and what may go ahead in it.
    pub fn surveyed(&mut self) -> Option<Ahead> {
        let ahead = if self.is_too_much() {
            Ahead::AllBut(std::mem::take(&mut self.vanished))
        } else {
            Ahead::Nothing
        };
        self.surveys.then_some(ahead)
    }

    /// Whether more is new, or gone, than a plan is to hold.
    fn is_too_much(&self) -> bool {
        self.fresh.max(self.vanished.len()) >= self.mode.seeks.most
    }

    /// Whether this folder's inode is not that of a row under its name. Inode numbers mean something on
    /// the root's own file system only.
    fn is_suspect(&self, joined: &Joined) -> bool {
        let (true, Some(Seen::Present(source))) = (joined.path.is_folder(), &joined.source) else {
            return false;
        };
        let root = self.trail.folders().first();
        !self.rules.ignore_inode
            && !joined.path.is_root()
            && root.is_some_and(|root| root.source.device == source.device)
            && joined.row.as_ref().is_none_or(|row| row.source.inode != source.fingerprint.inode)
    }

    /// Whether something new may be brought over while the join goes on.
    fn may_go_ahead(&self, operation: Option<&Operation>) -> bool {
        let source = operation.and_then(|operation| operation.source);
        self.mode.ahead.allows(source.map(|source| source.fingerprint.inode))
    }

    /// The replica has the folder `path` now, as `stat`; no operation of the plan makes it any more.
    pub fn made(&mut self, path: &EntryPath, stat: &Stat) {
        self.trail.made(path, stat);
        self.folders.remove(path);
    }

    /// Something was put into a folder that the replica had: its times are put back at the end.
    pub fn touched(&mut self, folder: Arc<FolderTask>) {
        self.touch(Some(folder));
    }

    /// Takes back what could not be brought over early: it is planned like anything else.
    pub fn defer(&mut self, early: Early) {
        self.take_back(early, false);
    }

    /// Takes in, in a dry run, what a run would bring over now: it is planned, but nothing is matched with it.
    pub fn foresee(&mut self, early: Early) {
        self.take_back(early, true);
    }

    fn take_back(&mut self, early: Early, is_foreseen: bool) {
        if self.surveys {
            return;
        }
        let mut way = early.way;
        let folder = match early.operation {
            None => way.pop(),
            Some(operation) => {
                let folder = way.last().cloned();
                let names = operation
                    .source
                    .filter(|source| shared::inode_with_names(source, &self.rules.rights).is_some());
                match names {
                    _ if is_foreseen => {
                        self.plan.early.push(operation);
                        self.touch(folder);
                    }
                    Some(source) => self.wait_for_names((source, operation.replica), operation, folder),
                    None => self.add_operation(operation, folder),
                }
                None
            }
        };
        for task in way.iter().chain(&folder).filter(|task| task.replica.is_none()) {
            let create = FolderTask { verb: Some(Verb::Create), ..(**task).clone() };
            self.folders.insert(task.path.clone(), Arc::new(create));
        }
        if folder.is_some() {
            self.touch(way.pop());
        }
    }

    /// Decides about a path that was asked about, now that what it holds is known.
    pub fn learn(&mut self, question: Question, knowledge: &Knowledge) -> Step {
        if self.surveys {
            return Step::Settled;
        }
        self.conclude(&question.joined, question.folder, knowledge)
    }

    fn conclude(&mut self, joined: &Joined, folder: Option<Arc<FolderTask>>, known: &Knowledge) -> Step {
        match self.as_told(decide(joined, Some(known), self.rules), &joined.path) {
            Decision::Folder(verb, difference) => {
                if let Some(folder) = &folder {
                    self.add_folder(folder, verb, difference);
                }
                Step::Settled
            }
            decision => self.settle(decision, joined, folder),
        }
    }

    /// Gives away which entries of the replica have another spelling than the source: they are to get that before
    /// anything is planned.
    pub fn misspelled(&mut self) -> Vec<Misspelled> {
        self.spelling.take()
    }

    /// Notes problems that somebody else met.
    pub fn complain(&mut self, problems: Vec<Problem>) {
        self.plan.problems.extend(problems);
    }

    /// Where the inodes of the source begin whose names are left for another look.
    pub fn names_until(&self) -> Option<Object> {
        self.links.until()
    }

    /// What holds for the run.
    pub fn rules(&self) -> &'r Rules {
        self.rules
    }

    /// Adds a folder with what is to become of it.
    fn add_folder(&mut self, task: &FolderTask, verb: Option<Verb>, difference: Difference) {
        // The root is there before anything is planned, but for a dry run.
        let verb = if task.path.is_root() { verb.map(|_| Verb::Metadata) } else { verb };
        let verb = self.readied.get(&task.path).copied().unwrap_or(verb);
        let task = Arc::new(FolderTask { verb, difference, ..task.clone() });
        if verb == Some(Verb::Create) {
            let parent = self.trail.enclosing(&task.path).cloned();
            self.touch(parent);
        }
        self.folders.insert(task.path.clone(), task);
    }

    /// Notes that something in `folder` changes, so that its times must be put back at the end.
    fn touch(&mut self, folder: Option<Arc<FolderTask>>) {
        if let Some(folder) = folder {
            self.folders.entry(folder.path.clone()).or_insert(folder);
        }
    }

    fn settle(&mut self, decision: Decision, joined: &Joined, folder: Option<Arc<FolderTask>>) -> Step {
        match decision {
            Decision::Unchanged | Decision::Ask | Decision::Folder(..) => Step::Settled,
            Decision::Confirm(record) => match shared::right(joined, &self.rules.rights) {
                Some((source, replica)) => {
                    let decision = Waiting::Right(Box::new(record));
                    let right = self.links.add(Named { source, replica, decision, folder });
                    if right.is_empty() {
                        return Step::Settled;
                    }
                    Step::ConfirmAll(right.into_iter().map(Change::Put).collect())
                }
                None => Step::Confirm(Change::Put(record)),
            },
            Decision::Forget(path) => Step::Confirm(Change::Forget(path)),
            Decision::Problem(problem) => {
                self.plan.problems.push(problem);
                Step::Settled
            }
            Decision::Operate(operation) => {
                let names = shared::operated(&operation, joined, &self.rules.rights);
                let wait = names
                    .is_some_and(|(source, _)| !self.mode.ahead.allows_names() || self.links.holds(&source));
                if !wait && self.is_ahead(&operation, folder.as_deref()) {
                    let way = self.trail.way_to(&operation.path, false);
                    return Step::Early(Box::new(Early { way, operation: Some(operation) }));
                }
                match names {
                    Some(figures) => self.wait_for_names(figures, operation, folder),
                    None => self.add_operation(operation, folder),
                }
                Step::Settled
            }
        }
    }

    /// What is to be done to a name waits for what is decided about the others of its inode.
    fn wait_for_names(
        &mut self,
        (source, replica): (Stat, Option<Stat>),
        operation: Operation,
        folder: Option<Arc<FolderTask>>,
    ) {
        // What is to be done is not right yet, so nothing is confirmed with it.
        self.links.add(Named { source, replica, decision: Waiting::Operation(Box::new(operation)), folder });
    }

    /// Whether an operation destroys nothing and may be carried out while the join goes on. It must be the
    /// one for the join's present path: only then is the way to it known.
    fn is_ahead(&self, operation: &Operation, folder: Option<&FolderTask>) -> bool {
        let present = self.trail.enclosing(&operation.path).zip(folder);
        matches!(operation.verb, Verb::Copy | Verb::Create)
            && operation.replica.is_none()
            && present.is_some_and(|(present, folder)| present.path == folder.path)
            && self.may_go_ahead(Some(operation))
    }

    fn add_operation(&mut self, operation: Operation, folder: Option<Arc<FolderTask>>) {
        if operation.verb != Verb::Metadata {
            self.touch(folder);
        }
        self.list_for(&operation).push(operation);
    }

    fn list_for(&mut self, operation: &Operation) -> &mut Vec<Operation> {
        match operation.verb {
            // What has a row came from the source, whatever its name.
            Verb::Delete if operation.origin.is_none() && is_litter(&operation.path) => &mut self.plan.litter,
            Verb::Delete => &mut self.plan.deletes,
            Verb::Link => &mut self.plan.links,
            Verb::Create | Verb::Copy | Verb::Move | Verb::Metadata => &mut self.plan.entries,
        }
    }
}
