//! Verification that goes on along with ordinary runs: a part of the tree each time, what was verified longest ago first.

use super::inquest::{Ledger, Scan};
use super::{Options, Rebuilt, due};
use crate::cancel::Cancel;
use crate::engine::job::{Job, Trees};
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::manifest::{Bounds, Manifest};
use crate::monitor::{Amount, Monitor, Phase};
use crate::plan::ages::Ages;
use crate::plan::decide::Rules;
use crate::plan::join::Joined;
use crate::plan::verdict::Sides;
use std::time::Instant;

/// Verifies as much as the job's `verify` says, and keeps `ages` up to date. What was changed since the run looked at it
/// is left for the next one.
pub fn verify_along(
    job: &Job,
    (trees, rules): (&Trees, &Rules),
    manifest: &Manifest,
    ages: &mut Ages,
    cancel: &Cancel,
    monitor: &dyn Monitor,
) -> Result<Rebuilt, Error> {
    let mut report = Rebuilt::default();
    let Some(limit) = job.settings.verify.of(ages.all().bytes) else { return Ok(report) };
    let options = Options { sides: Sides::Both, report_only: false, part: None, integrity: false };
    let suspects = manifest.damage()?.into_iter().map(|row| row.path).collect();
    let scan = Scan { job, trees, rules, options, anew: false, since: None, suspects, sums: None, cancel };
    let limit = scan.beside_damage(Some(limit), &|bounds| manifest.rows(bounds))?;
    // What was read in this run is not read again.
    let Some(due) = ages.due(limit, rules.began.seconds) else { return Ok(report) };
    monitor.phase(Phase::Verify, Some(Amount { entries: 0, bytes: due.bytes.saturating_mul(2) }));
    let rows = manifest.rows(Bounds::VerifiedBefore(due.until));
    let joined = due::due(rows, due, (&trees.source, &trees.replica), Some(rules));
    // Damage that is known is told by every run, and read again only when it is asked for.
    let fresh =
        joined.filter(|joined| !joined.as_ref().is_ok_and(|joined| scan.suspects.contains(&joined.path)));
    let started = Instant::now();
    let in_time = |_: &Result<Joined, Error>| job.verify_for.is_none_or(|span| started.elapsed() < span);
    let fresh = fresh.take_while(in_time);
    let workers = Workers::in_the_background(&job.settings, cancel)?;
    let ledger = Ledger { manifest: Some(manifest), ages, report: &mut report, monitor };
    scan.examine(fresh, false, &workers, ledger)?;
    if report.counts.alike > 0 {
        monitor.warning(&format!(
            "{} files hold the same on both sides, but not what the manifest knew, though nothing says that they were changed: \
             they are taken for right from now on (which ones is in the log)",
            report.counts.alike
        ));
    }
    Ok(report)
}
