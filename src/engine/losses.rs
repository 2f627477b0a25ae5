//! What entries of the replica are without: named by every run, without reading the entries again.

use super::report::Tally;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::{Losses, Problem, Timestamp};
use crate::monitor::Monitor;

/// More entries than these, without the same for the same reason, are one problem.
pub const NAMED: u64 = 10;

/// Says what entries are without, as problems. What the root is without is a remark to an ordinary user, once: who may
/// write into a folder of somebody else has all that matters there. `began` is when the run began.
pub fn tell(
    manifest: &Manifest,
    (user, began): (u32, Timestamp),
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    let with_root = names_root(user);
    for losses in manifest.losses(NAMED, with_root)? {
        for problem in problems(&losses) {
            tally.problem(problem, monitor);
        }
    }
    let of_root = if with_root { Vec::new() } else { manifest.losses_of_root(began)? };
    for loss in of_root {
        let (action, cause) = (loss.lost.action(), &loss.cause);
        monitor.warning(&format!(
            "cannot {action} the replica's root: {cause}; it is left as it is, and the run goes on"
        ));
    }
    Ok(())
}

/// Whether what the replica's root is without is a problem: where the user may set what is to be there.
pub fn names_root(user: u32) -> bool {
    user == 0
}

/// Losses as problems: one for each entry, or one for all where there are many.
pub fn problems(losses: &Losses) -> impl Iterator<Item = Problem> + '_ {
    let others = losses.count.saturating_sub(losses.paths.len() as u64);
    let Losses { loss, paths, .. } = losses;
    paths.iter().map(move |path| Problem::replica(path, loss.lost.action(), loss.advice(others)))
}
