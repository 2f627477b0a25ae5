//! Between plan and execution: pure predicates over the whole plan, before the first mutation.

use super::planner::Census;
use super::{FolderTask, Plan};
use crate::model::{EntryPath, Operation};
use std::fmt;
use std::sync::Arc;

/// How many deletes a plan may hold before they are held back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxDelete {
    /// So many entries.
    Count(u64),
    /// A share (in percent) of the manifest's entries; it counts from 100 entries up.
    Percent(f64),
    /// No limit.
    Off,
}

/// Below so many entries a share says nothing: half of four files is no mass delete.
const SHARE_COUNTS_FROM: u64 = 100;

/// Why deletes are held back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Held {
    /// The source has not one entry.
    SourceEmptied {
        /// Deletes planned.
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
            Held::TooMany { planned, allowed, limit } => write!(
                f,
                "{planned} entries would be deleted, more than the {allowed} that max_delete = {limit} \
                 allows; check the source, then run once with --max-delete {planned} (or off) if this is meant"
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
}

/// Whether and why the deletes of `plan` must be held.
pub fn hold(plan: &Plan, census: &Census, limit: MaxDelete) -> Option<Held> {
    let planned = (plan.deletes.len() as u64).saturating_sub(plan.moved);
    if planned == 0 {
        return None;
    }
    if census.source_entries == 0 {
        return Some(Held::SourceEmptied { planned });
    }
    let allowed = match limit {
        MaxDelete::Off => return None,
        MaxDelete::Count(count) => count,
        MaxDelete::Percent(_) if census.rows < SHARE_COUNTS_FROM => return None,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count; percent is 0 to 100"
        )]
        MaxDelete::Percent(percent) => (census.rows as f64 * percent / 100.0) as u64,
    };
    (planned > allowed).then_some(Held::TooMany { planned, allowed, limit })
}

/// Lets a plan through, without its deletes (and what depends on them) where they must be held.
pub fn approve(mut plan: Plan, census: &Census, limit: MaxDelete) -> Approved {
    let held = hold(&plan, census, limit);
    if held.is_none() {
        return Approved { plan, held, held_deletes: Vec::new() };
    }
    // What takes a name that a held delete would have freed has to wait, and all below it.
    let waiting: Vec<EntryPath> =
        plan.folders.iter().filter(|f| f.displaces).map(|f| f.path.clone()).collect();
    let waits = |path: &EntryPath| waiting.iter().any(|folder| path == folder || path.is_below(folder));
    plan.entries.retain(|operation| !operation.displaces && !waits(&operation.path));
    plan.links.retain(|operation| !operation.displaces && !waits(&operation.path));
    plan.folders.retain(|task: &Arc<FolderTask>| !waits(&task.path));
    let held_deletes = std::mem::take(&mut plan.deletes);
    Approved { plan, held, held_deletes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Verb;

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
        }
    }

    fn plan(deletes: usize) -> Plan {
        let deletes = (0..deletes).map(|n| delete(&format!("{n:04}"))).collect();
        Plan { deletes, ..Plan::default() }
    }

    #[test]
    fn deletes_are_held_exactly_where_the_table_says() {
        let half = MaxDelete::Percent(50.0);
        // (deletes, entries in the source, rows in the manifest, limit, held)
        let table = [
            (0, 0, 0, half, false),
            (1, 0, 1, half, true),
            (1, 0, 1, MaxDelete::Off, true),
            (1, 0, 0, MaxDelete::Count(10), true),
            (99, 1, 99, half, false),
            (50, 50, 100, half, false),
            (51, 49, 100, half, true),
            (51, 49, 100, MaxDelete::Off, false),
            (5, 1, 6, MaxDelete::Count(5), false),
            (6, 1, 7, MaxDelete::Count(5), true),
            (1, 99, 100, MaxDelete::Percent(0.0), true),
            (500, 10, 0, half, false),
        ];
        for (deletes, source_entries, rows, limit, held) in table {
            let census = Census { source_entries, rows, ..Census::default() };
            let got = hold(&plan(deletes), &census, limit);
            assert_eq!(got.is_some(), held, "{deletes} {source_entries} {rows} {limit}: {got:?}");
        }
    }

    #[test]
    fn what_only_got_another_name_is_not_counted_as_lost() {
        let census = Census { source_entries: 40, rows: 100, ..Census::default() };
        let half = MaxDelete::Percent(50.0);
        assert!(hold(&plan(60), &census, half).is_some());
        assert!(hold(&Plan { moved: 10, ..plan(60) }, &census, half).is_none());
    }

    #[test]
    fn what_a_held_delete_blocks_waits_and_the_rest_goes_on() {
        let mut plan = plan(1);
        let copy = |path: &str, displaces| Operation { verb: Verb::Copy, displaces, ..delete(path) };
        plan.entries = vec![copy("a", true), copy("b", false)];
        let census = Census { source_entries: 0, rows: 0, ..Census::default() };
        let approved = approve(plan, &census, MaxDelete::Off);
        assert_eq!(approved.plan().entries.len(), 1);
        assert_eq!(approved.plan().entries[0].path, EntryPath::from("b"));
        assert!(approved.plan().deletes.is_empty());
        assert_eq!(approved.held_deletes().len(), 1);
    }
}
