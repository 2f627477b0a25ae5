//! From all that was decided to the plan: names of one inode together, what makes way for what, and the order.

use super::Planner;
use crate::model::{Change, EntryPath};
use crate::plan::gate::{MaxDelete, hold};
use crate::plan::links::{Links, Settled};
use crate::plan::round::Round;
use crate::plan::spelling::keep_misspelled;
use crate::plan::step::Planned;
use crate::plan::{FolderTask, moved};
use std::collections::HashSet;
use std::sync::Arc;

impl Planner<'_> {
    /// Inodes of the source of whose rows [`Planner::recall`] must be told: they have names, or may have,
    /// that no difference brought here. Those of what is deleted only where it matters to `limit` how much of
    /// that is under other names already: all rows are looked through for them.
    pub fn incomplete_inodes(&self, limit: MaxDelete) -> HashSet<u64> {
        let mut inodes = self.links.incomplete();
        if self.links.is_followed() {
            return inodes;
        }
        let (lost, unmatched) = moved::unmatched(&self.plan, &self.folders);
        if hold(lost, &self.census, limit).is_some() {
            inodes.extend(unmatched);
        }
        inodes
    }

    /// One more name of the inodes that [`Planner::incomplete_inodes`] names.
    pub fn recall(&mut self, name: Settled) {
        self.links.recall(name);
    }

    /// The plan.
    pub fn finish(mut self) -> Planned {
        let (user, none) = (self.rules.rights.uid, Links::new(Round::default()));
        let links = std::mem::replace(&mut self.links, none);
        if links.is_followed() {
            // The last round plans it again. Litter may be names of these inodes.
            self.plan.entries = Vec::new();
        }
        let (resolution, settled) =
            links.resolve(user, &mut |operation, folder| self.add_operation(operation, folder));
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
        // A run finds the name taken and gives it back to its plan.
        plan.entries.extend(plan.early.extract_if(.., |operation| makes_way(&operation.path)));
        plan.entries.sort_by(|a, b| a.path.cmp(&b.path));
        let brought = plan.entries.iter_mut().chain(&mut plan.links);
        for operation in brought.filter(|operation| operation.replica.is_none()) {
            operation.displaces = makes_way(&operation.path);
        }
        // BTreeMap: in path order.
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
        keep_misspelled(&mut plan, self.spelling.found());
        plan.moved = moved::count(&plan, &settled);
        let confirmed = resolution.confirmed.into_iter().map(Change::Put).collect();
        Planned { plan, census: self.census, confirmed, settled, rest: resolution.rest }
    }
}
