//! What entries of the replica are without: named by every run, without reading the entries again.

use super::report::Tally;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::{Losses, Problem, Timestamp};
use crate::monitor::Monitor;

/// More entries than these, without the same for the same reason, are one problem.
pub const NAMED: u64 = 10;

/// Says what entries are without, as problems. What the root is without is a remark, once: who may write into a folder
/// of somebody else has all that matters there. `began` is when the run began.
pub fn tell(
    manifest: &Manifest,
    began: Timestamp,
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    for losses in manifest.losses(NAMED)? {
        for problem in problems(&losses) {
            tally.problem(problem, monitor);
        }
    }
    for loss in manifest.losses_of_root(began)? {
        let (action, cause) = (loss.lost.action(), &loss.cause);
        monitor.warning(&format!(
            "cannot {action} the replica's root: {cause}; it is left as it is, and the run goes on"
        ));
    }
    Ok(())
}

/// Losses as problems: one for each entry, or one for all where there are many.
pub fn problems(losses: &Losses) -> impl Iterator<Item = Problem> + '_ {
    let others = losses.count.saturating_sub(losses.paths.len() as u64);
    let Losses { loss, paths, .. } = losses;
    paths.iter().map(move |path| Problem::replica(path, loss.lost.action(), loss.advice(others)))
}
