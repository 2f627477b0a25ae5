//! Between plan and execution: pure predicates over the whole plan, before the first mutation.

use super::census::Census;
use super::links::{Object, object};
use super::release::{self, Release};
use super::{FolderTask, Plan};
use crate::model::{EntryPath, HeldPlan, Operation, Unsteady};
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
    held_deletes: Vec<Operation>,
    release: Option<Release>,
}

impl Approved {
    /// What may be done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Why deletes are held, if any are.
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// The deletes that are held, in path order.
    pub fn held_deletes(&self) -> &[Operation] {
        &self.held_deletes
    }

    /// What an approval of deletes that were held before did for this plan.
    pub fn release(&self) -> Option<Release> {
        self.release
    }
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

/// Lets a plan through, without those deletes (and what depends on them) that must be held. Where
/// `before`, the plan held by earlier runs, was approved, its deletes go ahead, and no others with them.
/// With a `successor` of a damaged manifest, deletes of what it has no row of are held whatever the limit.
pub fn approve(
    mut plan: Plan,
    census: &Census,
    limit: MaxDelete,
    before: Option<&HeldPlan>,
    unsteady: Unsteady,
    successor: bool,
) -> Approved {
    let deletes = std::mem::take(&mut plan.deletes);
    let (mut released, mut others, release) = match before.filter(|before| before.approved.is_some()) {
        Some(before) => {
            let (released, others, release) = release::split(deletes, before, unsteady);
            (released, others, Some(release))
        }
        None => (Vec::new(), deletes, None),
    };
    // Which of the moved ones were released is not known: taken to be as many as there can be.
    let moved = plan.moved.saturating_sub(released.len() as u64);
    let unknown = |operation: &Operation| successor && operation.origin.is_none();
    let unknowns = others.iter().filter(|operation| unknown(operation)).count() as u64;
    let known = others.len() as u64 - unknowns;
    let held = match hold(known.saturating_sub(moved), census, limit) {
        None if unknowns == 0 => {
            plan.deletes = in_order(released, others);
            return Approved { plan, held: None, held_deletes: Vec::new(), release };
        }
        None => {
            let (held, free) = others.into_iter().partition(unknown);
            (released, others) = (in_order(released, free), held);
            if census.source_is_empty() {
                Held::SourceEmptied { planned: unknowns }
            } else {
                Held::Unknown { planned: unknowns }
            }
        }
        Some(Held::SourceEmptied { .. }) => Held::SourceEmptied { planned: others.len() as u64 },
        Some(held) if unknowns == 0 => held,
        Some(_) => Held::Unknown { planned: unknowns },
    };
    // A folder stays as long as something stays in it.
    let occupied = |folder: &Operation| {
        let next = others.partition_point(|other| other.path <= folder.path);
        others.get(next).is_some_and(|other| other.path.is_below(&folder.path))
    };
    let occupied: Vec<Operation> = released.extract_if(.., |operation| occupied(operation)).collect();
    others = in_order(occupied, others);
    plan.deletes = released;
    keep_back(&mut plan, &others);
    Approved { plan, held: Some(held), held_deletes: others, release }
}

/// Lets a plan through that another one of the same run will follow: without its deletes, and what depends on them.
/// Returns the source's inodes with names that have to wait for a delete.
pub fn approve_without_deletes(mut plan: Plan) -> (Approved, HashSet<Object>) {
    let deletes = std::mem::take(&mut plan.deletes);
    let waiting = keep_back(&mut plan, &deletes);
    let sources = waiting.iter().filter_map(|operation| operation.source);
    let inodes = sources.map(|source| object(&source)).collect();
    (Approved { plan, held: None, held_deletes: Vec::new(), release: None }, inodes)
}

/// Takes out of a plan what needs a name that one of these deletes would have freed; returns the entries.
pub(super) fn keep_back(plan: &mut Plan, held: &[Operation]) -> Vec<Operation> {
    // What takes a name that a held delete would have freed has to wait, and all below it.
    let is_held = |path: &EntryPath| held.binary_search_by(|held| held.path.cmp(&path.other_kind())).is_ok();
    let waiting: Vec<EntryPath> =
        plan.folders.iter().filter(|f| f.displaces && is_held(&f.path)).map(|f| f.path.clone()).collect();
    let waits = |path: &EntryPath| waiting.iter().any(|folder| path == folder || path.is_below(folder));
    let stays = |operation: &mut Operation| {
        waits(&operation.path) || (operation.displaces && is_held(&operation.path))
    };
    let mut back: Vec<Operation> = plan.entries.extract_if(.., stays).collect();
    back.extend(plan.links.extract_if(.., stays));
    plan.moves.retain(|moving| !waits(&moving.to));
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
