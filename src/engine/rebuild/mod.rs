//! Everything read again: what is sound, what has drifted, what is damaged, and a fresh manifest.
//!
//! The way of the data: *scan both trees → join with the manifest → read and hash every content in
//! batches → a verdict for each path → rows beside the old ones → put in place in one transaction*.
//! Memory holds batches and findings, never the tree. Until the last step the old manifest is in
//! force; a rebuild that is stopped or fails leaves it as it was.

mod inquest;
mod read;
mod report;
mod stream;

pub use report::{Counts, Rebuilt};

use super::gates;
use super::job::Job;
use crate::cancel::Cancel;
use crate::clock;
use crate::error::Error;
use crate::lock::RunLock;
use crate::manifest::{Bounds, Fresh, ManifestError, Reader, RunKind, RunRow};
use crate::model::RootMounts;
use crate::monitor::{Amount, Monitor};
use crate::plan::verdict::Sides;
use inquest::Scan;
use std::time::Instant;

/// What is asked of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which contents are read.
    pub sides: Sides,
    /// Leave the manifest as it is.
    pub report_only: bool,
}

/// Reads everything again, says what is not sound, and writes a fresh manifest.
///
/// # Errors
/// Only what stops it as a whole; what could not be read is in the report.
pub fn rebuild(
    job: &Job,
    lock: &RunLock,
    options: Options,
    cancel: &Cancel,
    monitor: &dyn Monitor,
) -> Result<Rebuilt, Error> {
    let attempt = |trusted| {
        if options.report_only {
            look(job, options, trusted, cancel, monitor)
        } else {
            renew(job, lock, options, cancel, monitor)
        }
    };
    match attempt(true) {
        Err(Error::Manifest(ManifestError::Damaged { path, cause })) => {
            if options.report_only {
                monitor.warning(&format!(
                    "the manifest {} is damaged ({cause}); it is left as it is, and the two sides are compared without it",
                    path.display()
                ));
            } else {
                job.set_manifest_aside(lock, &cause, monitor)?;
            }
            attempt(false)
        }
        result => result,
    }
}

/// A rebuild that reports and writes nothing, not even that it was.
fn look(
    job: &Job,
    options: Options,
    trusted: bool,
    cancel: &Cancel,
    monitor: &dyn Monitor,
) -> Result<Rebuilt, Error> {
    let started = Instant::now();
    let began = clock::now();
    let reader = match Reader::open(&job.manifest) {
        Ok(reader) if trusted => Some(reader),
        Ok(_) | Err(ManifestError::Missing { .. }) => None,
        Err(error) if error.is_damage() && !trusted => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(reader) = &reader {
        reader.check_job(&job.roots())?;
    }
    let recorded = reader.as_ref().map_or(Ok(RootMounts::default()), Reader::root_mounts)?;
    let trees = job.open_trees(false, &recorded)?;
    if let Some(reader) = &reader {
        trees.source.recall_mounts(reader.source_mounts()?);
    }
    let (anew, runs) = match &reader {
        Some(reader) => (!reader.knows_entries()?, reader.runs(RUNS_ASKED)?),
        None => (true, Vec::new()),
    };
    let rows = reader.as_ref().map(|reader| reader.rows(Bounds::All));
    let rules = job.rules(&trees.source, began);
    let scan = Scan { job, trees: &trees, rules: &rules, options, anew, cancel };
    let mut report = Rebuilt { report_only: true, ..Rebuilt::default() };
    let outcome = scan.carry_out(rows, None, expected_bytes(&runs, options.sides), &mut report, monitor);
    report.elapsed = started.elapsed();
    report.interrupted = matches!(outcome, Err(Error::Interrupted));
    match outcome {
        Ok(()) | Err(Error::Interrupted) => Ok(report),
        Err(error) => Err(error),
    }
}

/// A rebuild that writes a fresh manifest.
fn renew(
    job: &Job,
    lock: &RunLock,
    options: Options,
    cancel: &Cancel,
    monitor: &dyn Monitor,
) -> Result<Rebuilt, Error> {
    let started = Instant::now();
    let began = clock::now();
    // Before the manifest: one that is only just made would say that the job had its first run.
    let trees = job.open_trees(false, &RootMounts::default())?;
    let manifest = job.open_manifest(lock, began, monitor)?;
    let (anchors, recorded) = (&trees.anchors, manifest.root_mounts()?);
    gates::expect(job, &recorded, &anchors.source, Some(&anchors.replica))?;
    gates::record(anchors, &recorded, false, &manifest, monitor)?;
    trees.source.recall_mounts(manifest.source_mounts()?);
    let anew = !manifest.knows_entries()?;
    let rules = job.rules(&trees.source, began);
    if anew {
        manifest.vouch_for(&rules.rights.vouchers(trees.source.device()))?;
    }
    let runs = manifest.runs(RUNS_ASKED)?;
    let fresh = Fresh::create(&manifest)?;
    let run = manifest.begin_run(RunKind::Rebuild, began)?;
    monitor.begun(run);
    let scan = Scan { job, trees: &trees, rules: &rules, options, anew, cancel };
    let mut report = Rebuilt { run: Some(run), ..Rebuilt::default() };
    let rows = Some(manifest.rows(Bounds::All));
    let outcome =
        scan.carry_out(rows, Some(&fresh), expected_bytes(&runs, options.sides), &mut report, monitor);
    let outcome = match outcome {
        Ok(()) => anchors
            .recheck()
            .map_err(Error::from)
            .and_then(|()| manifest.replace_entries(fresh).map_err(Error::from)),
        Err(error) => {
            // What stopped it says more than that the unfinished rows could not be removed.
            let _ = fresh.discard();
            Err(error)
        }
    };
    report.elapsed = started.elapsed();
    report.interrupted = matches!(outcome, Err(Error::Interrupted));
    let mut figures = report.figures();
    if let Err(error) = &outcome
        && !report.interrupted
    {
        super::run::note_failure(&mut figures, error);
    }
    let noted = manifest.finish_rebuild(run, clock::now(), &figures, &report.problems);
    match outcome {
        Ok(()) | Err(Error::Interrupted) => {
            noted?;
            Ok(report)
        }
        Err(error) => Err(error),
    }
}

/// So many runs are asked for how much there is to read.
const RUNS_ASKED: u32 = 10;

/// How much there will be to read, by what an earlier run saw.
fn expected_bytes(runs: &[RunRow], sides: Sides) -> Option<Amount> {
    let seen = runs.iter().find(|run| run.figures.entry_bytes > 0)?;
    let times = if sides == Sides::Both { 2 } else { 1 };
    Some(Amount { entries: seen.figures.entries, bytes: seen.figures.entry_bytes.saturating_mul(times) })
}
