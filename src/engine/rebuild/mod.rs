//! Everything read again: what is sound, what has drifted, what is damaged, and rows that say so.
//!
//! The way of the data: *scan both trees → join with the manifest → read and hash every content in
//! batches → a verdict for each path → what changed in its row → commit*.
//! Memory holds batches and findings, never the tree. Each row is true for itself, so rows are written as they
//! come; a rebuild that is stopped, fails or is killed leaves those that were verified marked with the moment, and the
//! next one does not read them again.

mod along;
mod due;
mod examiner;
mod inquest;
mod read;
mod report;
mod stream;

pub use along::verify_along;
pub use report::{Counts, Rebuilt};

use super::capabilities;
use super::gates;
use super::job::Job;
use super::workers::Workers;
use crate::cancel::Cancel;
use crate::clock;
use crate::config::verification::Portion;
use crate::error::Error;
use crate::lock::RunLock;
use crate::manifest::{self, Bounds, Manifest, ManifestError, Reader, Rows, RunKind, RunRow, Unfinished};
use crate::model::{RootMounts, Sums, Timestamp};
use crate::monitor::{Amount, Monitor, Phase};
use crate::plan::ages::Ages;
use crate::plan::verdict::Sides;
use inquest::{Ledger, Scan};
use std::time::{Duration, Instant};

/// What is asked of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Which contents are read.
    pub sides: Sides,
    /// Leave the manifest as it is.
    pub report_only: bool,
    /// Only a part of what the manifest knows, what was verified longest ago first; `None`: all there is.
    pub part: Option<Part>,
    /// Have SQLite look over the whole manifest first.
    pub integrity: bool,
}

impl Options {
    /// Whether all there is is read, on both sides.
    fn is_whole(&self) -> bool {
        self.sides == Sides::Both && self.part.is_none()
    }
}

/// A part of what the manifest knows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Part {
    /// So much of it, in bytes of the source.
    pub limit: Portion,
    /// What was verified longer ago than this.
    pub older_than: Option<Duration>,
}

/// Reads everything again, says what is not sound, and brings the manifest up to date. With `sums` these are the witness
/// instead of the manifest.
///
/// # Errors
/// Only what stops it as a whole; what could not be read is in the report.
pub fn rebuild(
    job: &Job,
    lock: &RunLock,
    options: Options,
    sums: Option<&Sums>,
    cancel: &Cancel,
    monitor: &dyn Monitor,
) -> Result<Rebuilt, Error> {
    let attempt = |trusted| {
        if options.report_only {
            look(job, (options, sums), trusted, cancel, monitor)
        } else {
            renew(job, lock, (options, sums), cancel, monitor)
        }
    };
    let attempted = attempt(true).map_err(|error| match error {
        Error::Manifest(error) => Error::Manifest(manifest::confirm(error)),
        error => error,
    });
    match attempted {
        Err(Error::Manifest(ManifestError::Damaged { path, cause, .. })) => {
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
        attempted => attempted,
    }
}

/// A rebuild that reports and writes nothing, not even that it was.
fn look(
    job: &Job,
    (options, sums): (Options, Option<&Sums>),
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
        if options.integrity {
            reader.check_integrity()?;
        }
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
    let held = reader.as_ref().map_or(Ok(None), |reader| reader.capabilities(job.uid()))?;
    let held = capabilities::recalled(Some(&trees.replica), held);
    let rules = job.rules(&trees.source, held, began);
    let damage = reader.as_ref().map_or(Ok(Vec::new()), Reader::damage)?;
    let suspects = damage.into_iter().map(|row| row.path).collect();
    let scan = Scan { job, trees: &trees, rules: &rules, options, anew, since: None, suspects, sums, cancel };
    let mut report = Rebuilt { report_only: true, ..Rebuilt::default() };
    let ledger = Ledger { manifest: None, ages: &mut Ages::default(), report: &mut report, monitor };
    let outcome = match &reader {
        Some(reader) => scan.all_or_part(&|bounds| reader.rows(bounds), &runs, ledger),
        None => scan.carry_out(None, expected_bytes(&runs, options.sides), ledger),
    };
    report.elapsed = started.elapsed();
    report.interrupted = matches!(outcome, Err(Error::Interrupted));
    match outcome {
        Ok(()) | Err(Error::Interrupted) => Ok(report),
        Err(error) => Err(error),
    }
}

/// A rebuild that brings the manifest up to date.
fn renew(
    job: &Job,
    lock: &RunLock,
    (options, sums): (Options, Option<&Sums>),
    cancel: &Cancel,
    monitor: &dyn Monitor,
) -> Result<Rebuilt, Error> {
    let started = Instant::now();
    let began = clock::now();
    // Before the manifest: one that is only just made would say that the job had its first run.
    let trees = job.open_trees(false, &RootMounts::default())?;
    let manifest = job.open_manifest(lock, began, monitor)?;
    if options.integrity {
        manifest.check_integrity()?;
        monitor.note("SQLite found nothing wrong with the manifest");
    }
    let (anchors, recorded) = (&trees.anchors, manifest.root_mounts()?);
    gates::expect(job, &recorded, &anchors.source, Some(&anchors.replica))?;
    gates::record(anchors, &recorded, false, &manifest, monitor)?;
    trees.source.recall_mounts(manifest.source_mounts()?);
    let (anew, since) = begin(&manifest, options, began, monitor)?;
    let held = capabilities::recalled(Some(&trees.replica), manifest.capabilities(job.uid())?);
    let rules = job.rules(&trees.source, held, began);
    if anew {
        manifest.vouch_for(&rules.rights.vouchers(trees.source.device()))?;
    }
    let runs = manifest.runs(RUNS_ASKED)?;
    let run = manifest.begin_run(RunKind::Rebuild, began)?;
    monitor.begun(run);
    let suspects = manifest.damage()?.into_iter().map(|row| row.path).collect();
    let scan = Scan { job, trees: &trees, rules: &rules, options, anew, since, suspects, sums, cancel };
    let mut report = Rebuilt { run: Some(run), ..Rebuilt::default() };
    let mut ages = Ages::default();
    let ledger = Ledger { manifest: Some(&manifest), ages: &mut ages, report: &mut report, monitor };
    let outcome = scan
        .all_or_part(&|bounds| manifest.rows(bounds), &runs, ledger)
        .and_then(|()| Ok(anchors.recheck()?))
        .and_then(|()| Ok(manifest.note_coverage(&ages.days())?))
        .and_then(|()| if options.is_whole() { Ok(manifest.note_rebuild(None)?) } else { Ok(()) });
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

impl Scan<'_> {
    /// A limit that leaves room for what is known to be damaged: that is never verified, so it is always among the oldest,
    /// and would keep all else from its turn.
    fn beside_damage<'r>(
        &self,
        limit: Option<u64>,
        rows: &dyn Fn(Bounds) -> Rows<'r>,
    ) -> Result<Option<u64>, Error> {
        let Some(mut limit) = limit else { return Ok(None) };
        for path in &self.suspects {
            let row = rows(Bounds::Under(path.clone())).next().transpose()?;
            limit = limit.saturating_add(row.map_or(0, |row| row.source.size));
        }
        Ok(Some(limit))
    }

    /// Reads all there is, or the part of what `rows` have that is asked for.
    fn all_or_part<'r>(
        &self,
        rows: &dyn Fn(Bounds) -> Rows<'r>,
        runs: &[RunRow],
        ledger: Ledger<'_>,
    ) -> Result<(), Error> {
        let Some(part) = self.options.part else {
            return self.carry_out(Some(rows(Bounds::All)), expected_bytes(runs, self.options.sides), ledger);
        };
        // What is not looked at is as the last run saw it.
        let seen = runs.iter().find(|run| run.is_complete()).map(|run| &run.figures);
        let seen = seen.map_or((0, 0), |figures| (figures.entries, figures.entry_bytes));
        *ledger.ages = Ages::default();
        for row in rows(Bounds::All) {
            ledger.ages.note(&row?);
        }
        let all = ledger.ages.all().bytes;
        let span = part.older_than.and_then(|span| i64::try_from(span.as_secs()).ok());
        let until = span.map_or(i64::MAX, |span| self.rules.began.seconds.saturating_sub(span));
        let limit = self.beside_damage(part.limit.of(all), rows)?;
        let Some(due) = ledger.ages.due(limit, until) else {
            (ledger.report.counts.source_entries, ledger.report.counts.source_bytes) = seen;
            return Ok(());
        };
        let times = if self.options.sides == Sides::Both { 2 } else { 1 };
        let expected = Amount { entries: 0, bytes: due.bytes.saturating_mul(times) };
        ledger.monitor.phase(Phase::Rebuild, Some(expected));
        let trees = (&self.trees.source, &self.trees.replica);
        let joined = due::due(rows(Bounds::VerifiedBefore(due.until)), due, trees, None);
        let workers = Workers::of(&self.job.settings, self.cancel)?;
        let Ledger { manifest, ages, report, monitor } = ledger;
        let ledger = Ledger { manifest, ages, report: &mut *report, monitor };
        let outcome = self.examine(joined, false, &workers, ledger);
        (report.counts.source_entries, report.counts.source_bytes) = seen;
        outcome
    }
}

/// Notes that a rebuild begins. Whether the manifest knew nothing then; since when what was verified is not read
/// again.
fn begin(
    manifest: &Manifest,
    options: Options,
    began: Timestamp,
    monitor: &dyn Monitor,
) -> Result<(bool, Option<Timestamp>), Error> {
    let anew = !manifest.knows_entries()?;
    if !options.is_whole() {
        return Ok((anew, None));
    }
    if let Some(unfinished) = manifest.unfinished_rebuild()?
        && began.seconds.abs_diff(unfinished.began.seconds) < WORTH_GOING_ON.as_secs()
    {
        monitor.note(&format!(
            "goes on with the rebuild that began {} and was not finished: what was verified since is not read again",
            clock::readable(unfinished.began)
        ));
        return Ok((anew || unfinished.anew, Some(unfinished.began)));
    }
    manifest.note_rebuild(Some(Unfinished { began, anew }))?;
    Ok((anew, None))
}

/// A rebuild that was interrupted longer ago than this begins from the start.
const WORTH_GOING_ON: Duration = Duration::from_secs(30 * 24 * 3600);

/// So many runs are asked for how much there is to read.
const RUNS_ASKED: u32 = 10;

/// How much there will be to read, by what an earlier run saw.
fn expected_bytes(runs: &[RunRow], sides: Sides) -> Option<Amount> {
    let seen = runs.iter().find(|run| run.figures.entry_bytes > 0)?;
    let times = if sides == Sides::Both { 2 } else { 1 };
    Some(Amount { entries: seen.figures.entries, bytes: seen.figures.entry_bytes.saturating_mul(times) })
}
