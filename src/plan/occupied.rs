//! Folders of the replica in which something is mounted or excluded: they stay, whatever the source has instead.

use super::Plan;
use crate::model::{EntryPath, Operation, Problem};
use std::collections::HashSet;

/// Folders that cannot go, because of what is mounted in them, or excluded from the mirror.
#[derive(Debug, Default)]
pub struct Occupied(HashSet<EntryPath>);

impl Occupied {
    /// What is at `path` in the replica is to be left alone: all folders above it stay.
    pub fn by(&mut self, path: &EntryPath) {
        let mut folder = path.parent();
        while !folder.is_root() && self.0.insert(folder.clone()) {
            folder = folder.parent();
        }
    }

    /// Takes out of the plan what these folders would have to go for. That they stay where the source has
    /// nothing any more is said by the problem of what is mounted, and as it should be for what is excluded; what should come in their place is a
    /// problem of its own.
    pub fn keep(&self, plan: &mut Plan) {
        if self.0.is_empty() {
            return;
        }
        for removals in [&mut plan.deletes, &mut plan.litter] {
            removals.retain(|removal| !self.0.contains(&removal.path));
        }
        // Further names of an inode wait for its first: these fail by themselves, together.
        let alone = |operation: &Operation| operation.source.is_some_and(|source| source.links <= 1);
        let blocked = |operation: &Operation| {
            operation.replica.is_none() && alone(operation) && self.0.contains(&operation.path.other_kind())
        };
        let mut stay: Vec<EntryPath> = Vec::new();
        for operation in plan.entries.extract_if(.., |operation| blocked(operation)) {
            let cause = "in the replica a folder has this name, and in it is something that is mounted or excluded; \
                 unmount or move that first";
            plan.problems.push(Problem::replica(&operation.path, "replace", cause));
            stay.push(operation.path.other_kind());
        }
        // The old goes when the new can come.
        plan.deletes.retain(|delete| !stay.iter().any(|folder| delete.path.is_below(folder)));
    }
}
