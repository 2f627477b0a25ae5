//! From all that was decided to the plan: names of one inode together, what makes way for what, and the order.

use super::Planner;
use crate::model::{Change, EntryPath};
use crate::plan::gate::{MaxDelete, hold};
use crate::plan::links::Settled;
use crate::plan::step::Planned;
use crate::plan::{FolderTask, moved};
use std::collections::HashSet;
use std::sync::Arc;

impl Planner<'_> {
    /// Inodes of the source whose rows [`Planner::finish`] must be given: they have names, or may have,
    /// that no difference brought here. Those of what is deleted only where it matters to `limit` how much of
    /// that is under other names already: all rows are looked through for them.
    pub fn incomplete_inodes(&self, limit: MaxDelete) -> HashSet<u64> {
        let mut inodes = self.links.incomplete();
        let (lost, unmatched) = moved::unmatched(&self.plan, &self.folders);
        if hold(lost, &self.census, limit).is_some() {
            inodes.extend(unmatched);
        }
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
        plan.moved = moved::count(&plan, settled);
        let confirmed = resolution.confirmed.into_iter().map(Change::Put).collect();
        Planned { plan, census: self.census, confirmed }
    }
}
