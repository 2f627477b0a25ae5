//! Between plan and execution: pure predicates over the whole plan, before the first mutation.

use super::census::Census;
use super::links::{Object, object};
use super::release::{Release, Releasing};
use super::{FolderTask, Moving, Plan};
use crate::model::{EntryPath, HeldPlan, Operation, Unsteady, Verb};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The largest number of deletes that a plan may have; a plan with more has its deletes held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxDelete {
    /// A number of entries.
    Count(u64),
    /// A share (in percent) of the manifest's entries. In a small mirror it allows at least a handful.
    Percent(f64),
    /// No limit.
    Off,
}

/// A mirror of fewer entries than this is small.
const SMALL: u64 = 100;

/// Deletes that any share but 0 % allows in a small mirror: two of three files are no mass delete. That not all of it
/// goes is the matter of another gate, which holds whatever an emptied source would delete.
const HANDFUL: u64 = 5;

impl MaxDelete {
    /// Returns how many of `entries` the limit allows to be deleted, rounded down; `None`: any number.
    fn of(self, entries: u64) -> Option<u64> {
        match self {
            MaxDelete::Off => None,
            MaxDelete::Count(count) => Some(count),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a count; percent is 0 to 100"
            )]
            MaxDelete::Percent(percent) => Some((entries as f64 * percent / 100.0) as u64),
        }
    }

    /// Returns how many entries of a mirror of `entries` may be deleted at once; `None`: any number.
    fn of_mirror(self, entries: u64) -> Option<u64> {
        let is_share = matches!(self, MaxDelete::Percent(percent) if percent > 0.0);
        let least = if is_share && entries < SMALL { HANDFUL } else { 0 };
        self.of(entries).map(|allowed| allowed.max(least))
    }
}

/// Why deletes are held back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Held {
    /// The source has not one entry but an empty `lost+found`.
    SourceEmptied {
        /// Deletes planned.
        planned: u64,
    },
    /// The manifest has no row of what would be deleted because a damaged one went before it.
    Unknown {
        /// Deletes planned of entries without a row.
        planned: u64,
    },
    /// No run of this pair has ended well yet, and more than may be would go of what the replica had before.
    FirstRun {
        /// Deletes planned of entries that no row knows.
        deletes: u64,
        /// Overwrites planned of entries that no row knows: newer ones, and such of another kind.
        overwrites: u64,
        /// Entries that the replica had.
        had: u64,
        /// The limit that says so.
        limit: MaxDelete,
    },
    /// The plan deletes more than it may.
    TooMany {
        /// Deletes planned.
        planned: u64,
        /// Deletes allowed.
        allowed: u64,
        /// The limit that says so.
        limit: MaxDelete,
    },
}

impl fmt::Display for MaxDelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxDelete::Count(count) => write!(f, "{count}"),
            MaxDelete::Percent(percent) => write!(f, "{percent}%"),
            MaxDelete::Off => f.write_str("off"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::SourceEmptied { planned } => write!(
                f,
                "the source is empty, and {planned} entries would be deleted from the replica; \
                 is the source mounted?"
            ),
            Held::Unknown { planned } => write!(
                f,
                "the manifest was damaged and set aside, so that it is not known whether {planned} entries that \
                 would be deleted from the replica were ever in the source; check the source"
            ),
            Held::FirstRun { deletes, overwrites, had, limit } => {
                write!(f, "the manifest is new and the replica is not: ")?;
                match (deletes, overwrites) {
                    (deletes, 0) => {
                        write!(f, "{deletes} entries that only the replica has would be deleted")?;
                    }
                    (0, overwrites) => {
                        write!(
                            f,
                            "{overwrites} entries that are newer in the replica, or of another kind, would be overwritten"
                        )?;
                    }
                    (deletes, overwrites) => {
                        write!(
                            f,
                            "{deletes} entries that only the replica has would be deleted, and {overwrites} that are newer \
                             in it, or of another kind, overwritten"
                        )?;
                    }
                }
                write!(
                    f,
                    ", more than max_delete = {limit} allows of the {had} that it held. Are source and replica the \
                     right way round?"
                )
            }
            Held::TooMany { planned, allowed, limit } => write!(
                f,
                "{planned} entries would be deleted, more than the {allowed} that max_delete = {limit} \
                 allows; check the source"
            ),
        }
    }
}

/// A plan that the gate let through: the executor takes nothing else, and only the gate makes it.
#[derive(Debug)]
pub struct Approved {
    plan: Plan,
    held: Option<Held>,
    held_operations: Vec<Operation>,
    release: Option<Release>,
}

impl Approved {
    /// What may be done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Why operations are held, if any are.
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// The operations that are held, in path order: deletes and, in a first run, overwrites.
    pub fn held_operations(&self) -> &[Operation] {
        &self.held_operations
    }

    /// Returns true if what is held is not deletes alone.
    pub fn holds_overwrites(&self) -> bool {
        self.held_operations.iter().any(|operation| operation.verb != Verb::Delete)
    }

    /// What an approval of a plan that was held before did for this plan.
    pub fn release(&self) -> Option<Release> {
        self.release
    }
}

/// What is true of a pair until a run of it has ended well: the replica may hold what never came from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstRun {
    /// Entries that the replica had before anything was brought over.
    pub replica_had: u64,
    /// A damaged manifest went before: deletes of what no row knows are held whatever the limit.
    pub successor: bool,
}

/// What decides whether a plan goes through.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'g> {
    /// What the scan counted.
    pub census: &'g Census,
    /// The limit for deletes.
    pub limit: MaxDelete,
    /// The plan that earlier runs left held.
    pub before: Option<&'g HeldPlan>,
    /// Figures that say nothing on the replica's file system.
    pub unsteady: Unsteady,
    /// `None`: a run of the pair has ended well before.
    pub first: Option<FirstRun>,
}

/// Returns why deletes must be held, `planned` of which would lose what they delete; `None`: they need not be.
pub fn hold(planned: u64, census: &Census, limit: MaxDelete) -> Option<Held> {
    if planned == 0 {
        return None;
    }
    if census.source_is_empty() {
        return Some(Held::SourceEmptied { planned });
    }
    let allowed = limit.of_mirror(census.rows)?;
    (planned > allowed).then_some(Held::TooMany { planned, allowed, limit })
}

/// Lets a plan through, without those operations (and what depends on them) that must be held. Where the plan held by
/// earlier runs was approved, its operations go ahead, and no others with them.
pub fn approve(mut plan: Plan, gate: &Gate<'_>) -> Approved {
    let mut releasing = gate
        .before
        .filter(|before| before.approved.is_some())
        .map(|before| Releasing::new(before, gate.unsteady));
    let mut is_released =
        |operation: &Operation| releasing.as_mut().is_some_and(|releasing| releasing.releases(operation));
    let deletes = std::mem::take(&mut plan.deletes);
    let (mut released, others): (Vec<_>, Vec<_>) = deletes.into_iter().partition(|each| is_released(each));
    let overwrites = match gate.first {
        Some(_) => losing_overwrites(&plan).into_iter().filter(|each| !is_released(each)).collect(),
        None => Vec::new(),
    };
    let release = releasing.map(Releasing::finish);
    // Which of the moved ones were released is not known: taken to be as many as there can be.
    let moved = plan.moved.saturating_sub(released.len() as u64);
    let Judgement { held, known, unknown } = judge(&others, overwrites.len() as u64, moved, gate);
    let (mut held_operations, free) = others.into_iter().partition(|delete| {
        let is_unknown = gate.first.is_some() && delete.loses;
        if is_unknown { unknown } else { known }
    });
    released = in_order(released, free);
    if matches!(held, Some(Held::FirstRun { .. })) {
        held_operations = in_order(held_operations, overwrites);
    }
    // A folder stays as long as something stays in it.
    let occupied = |folder: &Operation| {
        let next = held_operations.partition_point(|other| other.path <= folder.path);
        held_operations.get(next).is_some_and(|other| other.path.is_below(&folder.path))
    };
    let occupied: Vec<Operation> = released.extract_if(.., |operation| occupied(operation)).collect();
    let held_operations = in_order(occupied, held_operations);
    plan.deletes = released;
    if held.is_some() {
        keep_back(&mut plan, &held_operations);
    }
    Approved { plan, held, held_operations, release }
}

/// What is to be held of the operations that take something away.
struct Judgement {
    held: Option<Held>,
    /// Deletes of what rows know are held.
    known: bool,
    /// So are, in a first run, deletes of what no row knows.
    unknown: bool,
}

fn judge(deletes: &[Operation], overwrites: u64, moved: u64, gate: &Gate<'_>) -> Judgement {
    let planned = deletes.len() as u64;
    let strays =
        if gate.first.is_some() { deletes.iter().filter(|each| each.loses).count() as u64 } else { 0 };
    let lost = (planned - strays).saturating_sub(moved);
    if lost + strays > 0 && gate.census.source_is_empty() {
        return Judgement { held: Some(Held::SourceEmptied { planned }), known: true, unknown: true };
    }
    let too_many = hold(lost, gate.census, gate.limit);
    let (known, successor) = (too_many.is_some(), gate.first.is_some_and(|first| first.successor));
    let first_run = gate.first.and_then(|first| hold_first(first, strays, overwrites, gate.limit));
    let unknown = Held::Unknown { planned: strays };
    let unknown = (successor && strays > 0 && overwrites == 0).then_some(unknown);
    // What no row knows is the graver matter, so that its reason is given.
    let held = unknown
        .or(first_run)
        .or(too_many)
        .or((successor && strays > 0).then_some(Held::Unknown { planned: strays }));
    Judgement { held, known, unknown: known || first_run.is_some() || (successor && strays > 0) }
}

/// Returns why a first run must hold what no row knows; `None`: it need not. The limit counts from the first entry up,
/// for nothing says yet that this folder is the replica.
fn hold_first(first: FirstRun, deletes: u64, overwrites: u64, limit: MaxDelete) -> Option<Held> {
    let allowed = limit.of(first.replica_had)?;
    let had = first.replica_had;
    (deletes + overwrites > allowed).then_some(Held::FirstRun { deletes, overwrites, had, limit })
}

/// Returns the operations, deletes not counted, that take content away which no row knows; in path order.
fn losing_overwrites(plan: &Plan) -> Vec<Operation> {
    let moves = plan.moves.iter().filter(|moving| moving.loses).map(Moving::as_copy);
    let others = plan.entries.iter().chain(&plan.links).filter(|operation| operation.loses).cloned();
    let mut found: Vec<Operation> = others.chain(moves).collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Lets a plan through that another one of the same run will follow: without its deletes, in a first run (`first`)
/// without overwrites that may be held, and without what depends on them. Returns the source's inodes with names that
/// have to wait.
pub fn approve_without_deletes(mut plan: Plan, first: bool) -> (Approved, HashSet<Object>) {
    let overwrites = if first { losing_overwrites(&plan) } else { Vec::new() };
    let held = in_order(overwrites, std::mem::take(&mut plan.deletes));
    let waiting = keep_back(&mut plan, &held);
    let sources = waiting.iter().filter_map(|operation| operation.source);
    let inodes = sources.map(|source| object(&source)).collect();
    (Approved { plan, held: None, held_operations: Vec::new(), release: None }, inodes)
}

/// Takes out of a plan what is held, what needs a name that a held delete would have freed, and what would be linked to
/// any of that; returns the entries.
pub(super) fn keep_back(plan: &mut Plan, held: &[Operation]) -> Vec<Operation> {
    let is_held = |path: &EntryPath| held.binary_search_by(|held| held.path.cmp(path)).is_ok();
    // What takes a name that a held delete would have freed has to wait, and all below it.
    let is_taken = |path: &EntryPath| is_held(&path.other_kind());
    let waiting: Vec<EntryPath> =
        plan.folders.iter().filter(|f| f.displaces && is_taken(&f.path)).map(|f| f.path.clone()).collect();
    let waits = |path: &EntryPath| waiting.iter().any(|folder| path == folder || path.is_below(folder));
    let stays = |operation: &mut Operation| {
        let is_itself = operation.loses && is_held(&operation.path);
        is_itself || waits(&operation.path) || (operation.displaces && is_taken(&operation.path))
    };
    let mut back: Vec<Operation> = plan.entries.extract_if(.., stays).collect();
    let firsts: HashSet<EntryPath> = back.iter().map(|operation| operation.path.clone()).collect();
    back.extend(plan.links.extract_if(.., |operation| {
        stays(operation) || operation.from.as_ref().is_some_and(|first| firsts.contains(first))
    }));
    plan.moves.retain(|moving| !(waits(&moving.to) || moving.loses && is_held(&moving.to)));
    plan.folders.retain(|task: &Arc<FolderTask>| !waits(&task.path));
    back
}

/// Two lists of operations as one, in path order.
pub(super) fn in_order(some: Vec<Operation>, others: Vec<Operation>) -> Vec<Operation> {
    if some.is_empty() {
        return others;
    }
    let mut all = some;
    all.extend(others);
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all
}
