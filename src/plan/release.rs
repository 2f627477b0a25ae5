//! Which of the planned deletes an approval lets go: those of the approved plan that are still the same.

use crate::model::{HeldPlan, Operation, Unsteady};

/// What an approval did for the plan of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The number of the plan that was approved.
    pub run: i64,
    /// Deletes that go ahead.
    pub released: u64,
    /// Deletes that are still planned, of entries that the replica did not have like this when the
    /// plan was made: they do not go ahead.
    pub changed: u64,
    /// Deletes that are not planned any more.
    pub gone: u64,
}

/// Splits deletes, which are in path order, into those that `held` lets go and the others.
pub fn split(
    deletes: Vec<Operation>,
    held: &HeldPlan,
    unsteady: Unsteady,
) -> (Vec<Operation>, Vec<Operation>, Release) {
    let mut release = Release { run: held.run, released: 0, changed: 0, gone: held.deletes.len() as u64 };
    let (released, others) = deletes.into_iter().partition(|operation| {
        let found = held.deletes.binary_search_by(|known| known.path.cmp(&operation.path));
        let Some(known) = found.ok().and_then(|at| held.deletes.get(at)) else { return false };
        release.gone = release.gone.saturating_sub(1);
        let fits = operation.replica.is_some_and(|now| known.fits(&now.fingerprint, unsteady));
        if fits {
            release.released += 1;
        } else {
            release.changed += 1;
        }
        fits
    });
    (released, others, release)
}

/// Whether these are the very deletes of `held`.
pub fn is_same(deletes: &[Operation], held: &HeldPlan, unsteady: Unsteady) -> bool {
    deletes.len() == held.deletes.len()
        && deletes.iter().zip(&held.deletes).all(|(operation, known)| {
            operation.path == known.path
                && operation.replica.is_some_and(|now| known.fits(&now.fingerprint, unsteady))
        })
}
