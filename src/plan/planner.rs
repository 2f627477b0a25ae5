//! Collects decisions into a plan: which folders an operation touches, what must make way for what.

use super::decide::{Decision, Knowledge, Rules, decide};
use super::join::Joined;
use super::links::{Links, Named, Settled, Waiting};
use super::moved;
use super::occupied::Occupied;
use super::shield::Shields;
use super::{FolderTask, Plan, is_litter};
use crate::model::{Change, Difference, EntryPath, Kind, Operation, Problem, Seen, Stat, Verb};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// What the engine has to do for one joined path, beyond what the plan remembers.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Settled,
    /// The manifest is to say this; the replica needs no change.
    Confirm(Change),
    /// Read both contents and come back with [`Planner::learn`].
    Ask(Box<Question>),
}

/// A path whose contents must be known before it can be decided about.
#[derive(Debug)]
pub struct Question {
    /// What the three witnesses said.
    pub joined: Joined,
    /// A folder itself; of anything else the folder it lies in, should an operation touch that.
    folder: Arc<FolderTask>,
}

impl Question {
    /// The path in question.
    pub fn path(&self) -> &EntryPath {
        &self.joined.path
    }

    /// The source's and the replica's figures as scanned.
    pub fn stats(&self) -> Option<(&Stat, &Stat)> {
        match (&self.joined.source, &self.joined.replica) {
            (Some(Seen::Present(source)), Some(Seen::Present(replica))) => Some((source, replica)),
            _ => None,
        }
    }
}

/// How much a scan saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Entries of the source, its root not counted.
    pub source_entries: u64,
    /// Bytes in the source's files and links.
    pub source_bytes: u64,
    /// Rows of the manifest of what either tree still has, the root's not counted.
    pub rows: u64,
    /// Of the source's entries, those that every new file system has: `lost+found`, as a folder of its root.
    pub furniture: u64,
    /// Device nodes that are left out because the source is mounted without them.
    pub nodes_left_out: u64,
}

impl Census {
    /// Whether nobody has put anything into the source.
    pub fn source_is_empty(&self) -> bool {
        self.source_entries == self.furniture
    }
}

/// What `mkfs` makes in the root of a file system.
const LOST_AND_FOUND: &[u8] = b"lost+found/";

/// Folds joined paths, which must come in path order, into a [`Plan`].
#[derive(Debug)]
pub struct Planner<'r> {
    rules: &'r Rules,
    plan: Plan,
    census: Census,
    shields: Shields,
    /// The source's folders from the root down to where the join is.
    trail: Vec<Arc<FolderTask>>,
    folders: BTreeMap<EntryPath, Arc<FolderTask>>,
    links: Links,
    /// What would have made way for a folder of the source that could not be listed.
    stays: HashSet<EntryPath>,
    occupied: Occupied,
}

/// What a planner comes to.
#[derive(Debug)]
pub struct Planned {
    /// The plan, sorted.
    pub plan: Plan,
    /// What was counted on the way.
    pub census: Census,
    /// Rows that the manifest is to have; the replica needs no change for them.
    pub confirmed: Vec<Change>,
}

impl<'r> Planner<'r> {
    /// An empty plan under `rules`.
    pub fn new(rules: &'r Rules) -> Self {
        Self {
            rules,
            plan: Plan::default(),
            census: Census::default(),
            shields: Shields::default(),
            trail: Vec::new(),
            folders: BTreeMap::new(),
            links: Links::default(),
            stays: HashSet::new(),
            occupied: Occupied::default(),
        }
    }

    /// Decides about the next path of the join.
    pub fn feed(&mut self, mut joined: Joined) -> Step {
        if !self.rules.rights.preserve.specials && joined.source.as_ref().is_some_and(is_special) {
            joined.source = None;
        }
        self.count(&joined);
        if let Some(Seen::Foreign(_)) = &joined.replica {
            self.occupied.by(&joined.path);
        }
        let shielded = self.shields.cover(&joined.path);
        self.shields.raise(&joined);
        if shielded {
            return Step::Settled;
        }
        if let (true, Some(Seen::Foreign(source))) = (joined.path.is_folder(), &joined.source) {
            // The mount point is part of the tree, as a folder with nothing in it.
            joined.source = Some(Seen::Present(*source));
        }
        if let Some(Seen::Unlisted(..) | Seen::Vanished | Seen::Unreadable(_)) = &joined.source {
            self.stays.insert(joined.path.other_kind());
        }
        self.follow(&joined);
        match decide(&joined, None, self.rules) {
            Decision::Ask => {
                // A folder's own task is what its answer is for.
                let task =
                    if joined.path.is_folder() { self.trail.last() } else { self.enclosing(&joined.path) };
                match task.cloned() {
                    Some(folder) => Step::Ask(Box::new(Question { joined, folder })),
                    None => Step::Settled,
                }
            }
            Decision::Folder(verb, difference) => {
                // A folder whose permissions hide what it holds is mended, but what it holds was not
                // compared: only the next run can say that it is in step.
                if let Some(Seen::Unlisted(_, cause)) = &joined.replica {
                    self.plan.problems.push(Problem::replica(&joined.path, "list", cause));
                }
                if let Some(task) = self.trail.last().cloned() {
                    self.add_folder(&task, verb, difference);
                }
                Step::Settled
            }
            decision => {
                let folder = self.enclosing(&joined.path).cloned();
                self.settle(decision, &joined, folder)
            }
        }
    }

    /// Decides about a path that was asked about, now that what it holds is known.
    pub fn learn(&mut self, question: Question, knowledge: &Knowledge) -> Step {
        match decide(&question.joined, Some(knowledge), self.rules) {
            Decision::Folder(verb, difference) => {
                self.add_folder(&question.folder, verb, difference);
                Step::Settled
            }
            decision => self.settle(decision, &question.joined, Some(question.folder)),
        }
    }

    /// Inodes of the source whose rows [`Planner::finish`] must be given: they have names, or may have,
    /// that no difference brought here.
    pub fn incomplete_inodes(&self) -> HashSet<u64> {
        let mut inodes = self.links.incomplete();
        inodes.extend(moved::unmatched_inodes(&self.plan, &self.folders));
        inodes
    }

    /// The plan. `settled` are the further names of the inodes that [`Planner::incomplete_inodes`] names.
    pub fn finish(mut self, settled: &[Settled]) -> Planned {
        let incomplete = self.links.incomplete();
        let is_name = |name: &&Settled| incomplete.contains(&name.source.fingerprint.inode);
        let names = settled.iter().filter(is_name).cloned().collect();
        let user = self.rules.rights.uid;
        let resolution = std::mem::take(&mut self.links).resolve(names, user);
        for (operation, folder) in resolution.operations {
            self.add_operation(operation, folder);
        }
        let mut plan = self.plan;
        plan.unsettled = resolution.unsettled;
        plan.links.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        plan.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        // The old goes when the new can come.
        plan.deletes.retain(|delete| !self.stays.contains(&delete.path));
        self.occupied.keep(&mut plan);
        plan.problems.sort_by(|a, b| a.path.cmp(&b.path));
        let deletes = &plan.deletes;
        let makes_way =
            |path: &EntryPath| deletes.binary_search_by(|delete| delete.path.cmp(&path.other_kind())).is_ok();
        let brought = plan.entries.iter_mut().chain(&mut plan.links);
        for operation in brought.filter(|operation| operation.replica.is_none()) {
            operation.displaces = makes_way(&operation.path);
        }
        plan.moved = moved::count(&plan, &self.folders, settled);
        plan.folders = self
            .folders
            .into_values()
            .map(|task| {
                if task.replica.is_none() && makes_way(&task.path) {
                    Arc::new(FolderTask { displaces: true, ..(*task).clone() })
                } else {
                    task
                }
            })
            .collect();
        let confirmed = resolution.confirmed.into_iter().map(Change::Put).collect();
        Planned { plan, census: self.census, confirmed }
    }

    fn count(&mut self, joined: &Joined) {
        if joined.path.is_root() {
            return;
        }
        // Of what neither tree has nothing can be lost: such rows do not raise what may be deleted.
        let somewhere = joined.source.is_some() || joined.replica.is_some();
        self.census.rows += u64::from(joined.row.is_some() && somewhere);
        if let Some(seen) = &joined.source {
            self.census.source_entries += 1;
            self.census.furniture += u64::from(joined.path.as_bytes() == LOST_AND_FOUND);
            if let Seen::Present(stat) = seen {
                self.census.source_bytes += stat.fingerprint.size;
                let node = matches!(stat.kind(), Kind::BlockDevice | Kind::CharDevice);
                self.census.nodes_left_out += u64::from(node && self.rules.nodev.contains(stat.device));
            }
        }
    }

    /// Keeps the trail of source folders that lead to the join's present path.
    fn follow(&mut self, joined: &Joined) {
        while self.trail.last().is_some_and(|folder| !joined.path.is_below(&folder.path)) {
            self.trail.pop();
        }
        if let (true, Some(Seen::Present(source))) = (joined.path.is_folder(), &joined.source) {
            let replica = match &joined.replica {
                Some(Seen::Present(stat) | Seen::Unlisted(stat, _)) => Some(*stat),
                _ => None,
            };
            self.trail.push(Arc::new(FolderTask {
                path: joined.path.clone(),
                source: *source,
                replica,
                verb: None,
                difference: Difference::None,
                displaces: false,
            }));
        }
    }

    /// The folder that `path` lies in, if the source has it.
    fn enclosing(&self, path: &EntryPath) -> Option<&Arc<FolderTask>> {
        let innermost = self.trail.last()?;
        let folder = if innermost.path == *path { self.trail.iter().nth_back(1)? } else { innermost };
        (folder.path.as_bytes() == path.parent_bytes()).then_some(folder)
    }

    /// Adds a folder with what is to become of it.
    fn add_folder(&mut self, task: &FolderTask, verb: Option<Verb>, difference: Difference) {
        // The root is there before anything is planned, but for a dry run.
        let verb = if task.path.is_root() { verb.map(|_| Verb::Metadata) } else { verb };
        let task = Arc::new(FolderTask { verb, difference, ..task.clone() });
        if verb == Some(Verb::Create) {
            let parent = self.enclosing(&task.path).cloned();
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
            Decision::Confirm(record) => match self.others_share_it(joined) {
                Some((source, replica)) => {
                    self.links.add(Named { source, replica, decision: Waiting::Right(record), folder });
                    Step::Settled
                }
                None => Step::Confirm(Change::Put(record)),
            },
            Decision::Forget(path) => Step::Confirm(Change::Forget(path)),
            Decision::Problem(problem) => {
                self.plan.problems.push(problem);
                Step::Settled
            }
            Decision::Operate(operation) => {
                match self.others_share(&operation, joined) {
                    Some((source, replica)) => {
                        let decision = Waiting::Operation(operation);
                        self.links.add(Named { source, replica, decision, folder });
                    }
                    None => self.add_operation(operation, folder),
                }
                Step::Settled
            }
        }
    }

    /// The figures of both sides where the inode of what is right as it is has several names on one of
    /// them: whether they are the right ones is for [`Links`] to say.
    fn others_share_it(&self, joined: &Joined) -> Option<(Stat, Option<Stat>)> {
        let (source, replica) = scanned(joined);
        let several = |stat: Option<Stat>| stat.is_some_and(|stat| stat.links > 1);
        let source = source.filter(|_| several(source) || several(replica))?;
        self.minds_names(&source).then_some((source, replica))
    }

    /// Likewise for what is to be done to an entry. Where it is mended, what was read need not be what was
    /// scanned: the figures of the open handles count.
    fn others_share(&self, operation: &Operation, joined: &Joined) -> Option<(Stat, Option<Stat>)> {
        let (scanned_source, scanned_replica) = scanned(joined);
        let source = operation.source.or(scanned_source)?;
        let replica = operation.replica.or(scanned_replica);
        let shared = |stat: Option<Stat>| stat.is_some_and(|stat| stat.links > 1);
        let mended = operation.verb == Verb::Metadata && (shared(replica) || shared(scanned_replica));
        (self.minds_names(&source) && (source.links > 1 || mended)).then_some((source, replica))
    }

    fn minds_names(&self, source: &Stat) -> bool {
        self.rules.rights.preserve.hard_links && source.kind() != Kind::Folder
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
            Verb::Create | Verb::Copy | Verb::Metadata => &mut self.plan.entries,
        }
    }
}

/// The figures of both sides as they were scanned.
fn scanned(joined: &Joined) -> (Option<Stat>, Option<Stat>) {
    let present = |seen: &Option<Seen>| match seen {
        Some(Seen::Present(stat)) => Some(*stat),
        _ => None,
    };
    (present(&joined.source), present(&joined.replica))
}

/// Whether this is a FIFO, a socket or a device node.
fn is_special(seen: &Seen) -> bool {
    let Seen::Present(stat) = seen else { return false };
    matches!(stat.kind(), Kind::Fifo | Kind::Socket | Kind::BlockDevice | Kind::CharDevice)
}
