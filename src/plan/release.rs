//! Which of the planned operations an approval releases: those of the approved plan that are still the same.

use crate::model::{HeldOperation, HeldPlan, Operation, Unsteady, Verb};

/// What an approval did for the plan of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The number of the plan that was approved.
    pub run: i64,
    /// Operations that go ahead.
    pub released: u64,
    /// Operations that are still planned, of entries that the replica did not have like this when the
    /// plan was made: they do not go ahead.
    pub changed: u64,
    /// Operations that are not planned any more.
    pub gone: u64,
    /// Not all that was approved are deletes.
    pub overwrites: bool,
}

/// An approved plan, while the operations of another one are compared with it.
#[derive(Debug)]
pub struct Releasing<'h> {
    held: &'h HeldPlan,
    unsteady: Unsteady,
    release: Release,
}

impl<'h> Releasing<'h> {
    /// Nothing compared yet.
    pub fn new(held: &'h HeldPlan, unsteady: Unsteady) -> Self {
        let gone = held.operations.len() as u64;
        let overwrites = held.operations.iter().any(|operation| operation.overwrites);
        Self { held, unsteady, release: Release { run: held.run, released: 0, changed: 0, gone, overwrites } }
    }

    /// Returns true if the approval releases `operation`, which must be asked for once only.
    pub fn releases(&mut self, operation: &Operation) -> bool {
        let found = self.held.operations.binary_search_by(|known| known.path.cmp(&operation.path));
        let known = found.ok().and_then(|at| self.held.operations.get(at));
        let Some(known) = known.filter(|known| known.overwrites == overwrites(operation)) else {
            return false;
        };
        self.release.gone = self.release.gone.saturating_sub(1);
        let fits = is_held(operation, known, self.unsteady);
        if fits {
            self.release.released += 1;
        } else {
            self.release.changed += 1;
        }
        fits
    }

    /// Returns what came of it.
    pub fn finish(self) -> Release {
        self.release
    }
}

/// Returns true if an operation that takes something away leaves its name to something else.
fn overwrites(operation: &Operation) -> bool {
    operation.verb != Verb::Delete
}

fn is_held(operation: &Operation, known: &HeldOperation, unsteady: Unsteady) -> bool {
    operation.replica.is_some_and(|now| known.fits(&now.fingerprint, unsteady))
}

/// Returns the operation with what it takes to know it again.
pub fn as_held(operation: &Operation) -> Option<HeldOperation> {
    let replica = operation.replica?.fingerprint;
    Some(HeldOperation { path: operation.path.clone(), overwrites: overwrites(operation), replica })
}

/// Returns true if these are the very operations of `held`.
pub fn is_same(operations: &[Operation], held: &HeldPlan, unsteady: Unsteady) -> bool {
    operations.len() == held.operations.len()
        && operations.iter().zip(&held.operations).all(|(operation, known)| {
            operation.path == known.path
                && overwrites(operation) == known.overwrites
                && is_held(operation, known, unsteady)
        })
}
