//! One run from its first look to its last row.

use super::content::Comparison;
use super::execute::{Loss, Site, execute};
use super::gates::{self, HeldBack};
use super::inquiry::{Books, Inquiry};
use super::job::{Job, Trees, View};
use super::observe;
use super::recall::settled_names;
use super::report::{Report, Tally};
use super::workers::Workers;
use crate::cancel::Cancel;
use crate::clock;
use crate::error::{Error, ExitCode};
use crate::lock::RunLock;
use crate::manifest::{Bounds, Manifest, ManifestError, Reader, RunFigures, RunKind, Salvage};
use crate::model::{Record, Side};
use crate::monitor::{Amount, Monitor, Phase};
use crate::plan::Plan;
use crate::plan::decide::Rules;
use crate::plan::gate::{Approved, approve};
use crate::plan::join::Join;
use crate::plan::planner::{Census, Planner};
use crate::store::local::LocalStore;
use crate::transfer::clone::Clones;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

/// Brings the replica into step, once.
///
/// # Errors
/// Only what stops the run as a whole; what goes wrong with one entry is in the report.
pub fn sync(job: &Job, lock: &RunLock, cancel: &Cancel, monitor: &dyn Monitor) -> Result<Report, Error> {
    match attempt(job, lock, cancel, monitor) {
        Err(Error::Manifest(ManifestError::Damaged { cause, .. })) => {
            job.set_manifest_aside(lock, &cause, monitor)?;
            attempt(job, lock, cancel, monitor)
        }
        result => result,
    }
}

/// What a run would do now: the plan, past the gate. Writes nothing, needs no lock.
pub fn preview(job: &Job, cancel: &Cancel, monitor: &dyn Monitor) -> Result<(Approved, Report), Error> {
    let ahead = |reader: Option<&Reader>| look_ahead(job, reader, None, cancel, monitor);
    let known = match Reader::open(&job.manifest) {
        Ok(reader) => match ahead(Some(&reader)) {
            // A run began meanwhile: what was taken to stand still is read like a live one now.
            _ if reader.is_disturbed() => ahead(Some(&Reader::open(&job.manifest)?)),
            known => known,
        },
        Err(ManifestError::Missing { .. }) => ahead(None),
        Err(error) => Err(error.into()),
    };
    let (approved, report) = match known {
        // A sync would set it aside and adopt the replica.
        Err(Error::Manifest(error)) if error.is_damage() => {
            let salvage = Salvage::of(&job.manifest, &job.roots());
            look_ahead(job, None, Some(salvage), cancel, monitor)?
        }
        known => known?,
    };
    for problem in &report.tally.problems {
        monitor.problem(problem);
    }
    for intent in approved.plan().operations() {
        monitor.planned(intent);
    }
    Ok((approved, report))
}

fn look_ahead(
    job: &Job,
    reader: Option<&Reader>,
    damaged: Option<Salvage>,
    cancel: &Cancel,
    monitor: &dyn Monitor,
) -> Result<(Approved, Report), Error> {
    let started = Instant::now();
    if let Some(reader) = reader {
        reader.check_job(&job.roots())?;
    }
    let succeeds = damaged.is_some() || reader.map_or(Ok(false), Reader::is_successor)?;
    let Salvage { mut root_mounts, mut source_mounts } = damaged.unwrap_or_default();
    if let Some(reader) = reader {
        root_mounts = reader.root_mounts()?;
        source_mounts = reader.source_mounts()?;
    }
    let View { mut source, replica } = job.look_at_trees(&root_mounts)?;
    let before = reader.map_or(Ok(None), Reader::held_plan)?;
    source.recall_mounts(source_mounts);
    let known = succeeds || reader.is_some_and(|reader| reader.knows_entries().unwrap_or(true));
    if replica.is_none() && known {
        return Err(job.replica_gone());
    }
    let workers = Workers::new(job.settings.workers)?;
    let rules = job.rules(&source, clock::now());
    let vouchers = rules.rights.vouchers(source.device());
    let doubted = reader.map_or(Ok(false), |reader| reader.vouches_for(&vouchers).map(|vouches| !vouches))?;
    let rows = reader.into_iter().flat_map(|reader| reader.rows(Bounds::All)).map(|row| {
        let row = row?;
        Ok(Record { racy: row.racy || doubted, ..row })
    });
    let scan = Scan { job, source: &source, replica: replica.as_ref(), rules: &rules, cancel };
    let books = Books {
        confirm: &mut |_| Ok(()),
        // Rows that are doubted as they are read vouch for no names either.
        of_inodes: &mut |inodes| match (reader.filter(|_| !doubted), &replica) {
            (Some(reader), Some(replica)) => {
                settled_names(reader.rows(Bounds::All), inodes, &source, replica, &rules)
            }
            _ => Ok(Vec::new()),
        },
    };
    let (plan, census, _) = scan.plan(rows, &workers, books, monitor)?;
    if cancel.requested() {
        return Err(Error::Interrupted);
    }
    let mut tally = Tally::default();
    tally.problems.clone_from(&plan.problems);
    let limit = job.settings.max_delete;
    let approved = approve(plan, &census, limit, before.as_ref(), job.unsteady(), succeeds);
    if let Some(release) = approved.release() {
        gates::tell_release(release, monitor);
    }
    for intent in approved.plan().operations() {
        tally.assume(intent.verb, intent.bytes);
    }
    let report = Report {
        run: None,
        tally,
        census,
        held: approved.held(),
        held_deletes: approved.held_deletes().to_vec(),
        interrupted: false,
        elapsed: started.elapsed(),
    };
    Ok((approved, report))
}

fn attempt(job: &Job, lock: &RunLock, cancel: &Cancel, monitor: &dyn Monitor) -> Result<Report, Error> {
    let started = Instant::now();
    let began = clock::now();
    let manifest = job.open_manifest(lock, began, monitor)?;
    let recorded = manifest.root_mounts()?;
    let successor = manifest.is_successor()?;
    let first_run = !successor && !manifest.knows_entries()?;
    let opened = job.open_trees(first_run, &recorded).and_then(|trees| {
        let apart = gates::see_apart(job, &recorded, &trees)?;
        Ok((trees, apart))
    });
    let (mut trees, apart) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            gates::note_refusal(&manifest, began, &error)?;
            return Err(error);
        }
    };
    gates::record(&trees.anchors, &recorded, apart, &manifest, monitor)?;
    let before = manifest.held_plan()?;
    trees.source.recall_mounts(manifest.source_mounts()?);
    let workers = Workers::new(job.settings.workers)?;
    let rules = job.rules(&trees.source, began);
    manifest.vouch_for(&rules.rights.vouchers(trees.source.device()))?;
    let run = manifest.begin_run(RunKind::Sync, began)?;
    monitor.begun(run);
    let mut report = Report {
        run: Some(run),
        tally: Tally::default(),
        census: Census::default(),
        held: None,
        held_deletes: Vec::new(),
        interrupted: false,
        elapsed: started.elapsed(),
    };
    let mut held_back = HeldBack::default();
    let scan = Scan { job, source: &trees.source, replica: Some(&trees.replica), rules: &rules, cancel };
    let outcome = scan.plan_with(&trees.replica, &manifest, &workers, &mut report, monitor).and_then(
        |(plan, census)| {
            let approved =
                approve(plan, &census, job.settings.max_delete, before.as_ref(), job.unsteady(), successor);
            held_back = HeldBack::of(&approved, before.as_ref(), job.unsteady());
            gates::tell(job, &approved, held_back.same_as.unwrap_or(run), monitor);
            report.held = approved.held();
            report.held_deletes = approved.held_deletes().to_vec();
            scan.carry_out(&trees, &approved, &manifest, &workers, &mut report, monitor)
        },
    );
    report.elapsed = started.elapsed();
    report.interrupted = matches!(outcome, Err(Error::Interrupted));
    let mut figures = report.figures();
    if let Err(error) = &outcome
        && !report.interrupted
    {
        note_failure(&mut figures, error);
    }
    let noted = manifest.finish_run(run, clock::now(), &figures, &report.tally.problems, held_back.holding());
    match outcome {
        Ok(()) | Err(Error::Interrupted) => {
            gates::tell_dropped(noted?, before.as_ref(), monitor);
            if successor && report.exit_code() == ExitCode::Ok {
                manifest.settle_succession()?;
            }
            Ok(report)
        }
        // What stopped the run says more than that it could not be noted.
        Err(error) => Err(error),
    }
}

pub(super) fn note_failure(figures: &mut RunFigures, error: &Error) {
    "failed".clone_into(&mut figures.result);
    figures.exit_code = error.exit_code().number();
    figures.message = Some(error.to_string());
}

/// What a scan needs to know.
struct Scan<'e> {
    job: &'e Job,
    source: &'e LocalStore,
    replica: Option<&'e LocalStore>,
    rules: &'e Rules,
    cancel: &'e Cancel,
}

impl Scan<'_> {
    /// Looks at both trees and plans; says what could not be looked at.
    fn plan_with(
        &self,
        replica: &LocalStore,
        manifest: &Manifest,
        workers: &Workers,
        report: &mut Report,
        monitor: &dyn Monitor,
    ) -> Result<(Plan, Census), Error> {
        let rows = manifest.rows(Bounds::All).map(|row| Ok(row?));
        let books = Books {
            confirm: &mut |changes| Ok(manifest.apply(changes)?),
            of_inodes: &mut |inodes| {
                settled_names(manifest.rows(Bounds::All), inodes, self.source, replica, self.rules)
            },
        };
        let (mut plan, census, adopted) = self.plan(rows, workers, books, monitor)?;
        // Before anything that lies on them is in the replica.
        manifest.remember_source_mounts(&self.source.mounts())?;
        report.census = census;
        report.tally.adopted = adopted;
        for problem in std::mem::take(&mut plan.problems) {
            report.tally.problem(problem, monitor);
        }
        if census.nodes_left_out > 0 {
            monitor.warning(&format!(
                "{} device nodes were left out: the source is mounted nodev, so that whoever wrote them is not trusted with any",
                census.nodes_left_out
            ));
        }
        Ok((plan, census))
    }

    fn carry_out(
        &self,
        trees: &Trees,
        approved: &Approved,
        manifest: &Manifest,
        workers: &Workers,
        report: &mut Report,
        monitor: &dyn Monitor,
    ) -> Result<(), Error> {
        let site = Site {
            source: &trees.source,
            replica: &trees.replica,
            anchors: &trees.anchors,
            rights: &self.rules.rights,
            began: self.rules.began,
            tick_nanos: self.rules.tick_nanos,
            chunk_bytes: self.job.settings.chunk_bytes,
            batch_files: self.job.settings.batch_files,
            durability: self.job.settings.durability,
            cancel: self.cancel,
            owner_lost: AtomicBool::new(false),
            attributes_lost: Loss::default(),
            links_lost: Loss::default(),
            time_lost: AtomicBool::new(false),
            full: AtomicBool::new(false),
            clones: Clones::default(),
            grounds: OnceLock::new(),
            no_room_from: AtomicU64::new(u64::MAX),
        };
        execute(&site, approved, workers, manifest, &mut report.tally, monitor)
    }

    /// Walks both trees, joins them with the rows, has read what must be known, and decides.
    /// Returns the plan, what was counted, and how many rows were confirmed as they are.
    fn plan(
        &self,
        rows: impl Iterator<Item = Result<Record, Error>>,
        workers: &Workers,
        books: Books<'_>,
        monitor: &dyn Monitor,
    ) -> Result<(Plan, Census, u64), Error> {
        monitor.phase(Phase::Scan, None);
        let comparison = self.replica.map(|replica| Comparison {
            source: self.source,
            replica,
            rights: &self.rules.rights,
            chunk_bytes: self.job.settings.chunk_bytes,
            keep_holes: self.rules.rights.preserve.sparse && replica.holds_holes(),
            cancel: self.cancel,
        });
        std::thread::scope(|scope| {
            let source = observe::walk(scope, Side::Source, Some(self.source), self.cancel)?;
            let replica = observe::walk(scope, Side::Replica, self.replica, self.cancel)?;
            let join = Join::new(source, replica, rows)?;
            workers.within(|window| {
                let planner = Planner::new(self.rules);
                let mut inquiry = Inquiry::new(planner, comparison.as_ref(), window, books, monitor);
                let mut scanned = 0;
                for joined in join {
                    inquiry.feed(joined?)?;
                    scanned += 1;
                    if scanned == SCANNED_TOGETHER {
                        monitor.advance(Amount { entries: scanned, bytes: 0 });
                        scanned = 0;
                    }
                }
                inquiry.finish()
            })
        })
    }
}

/// Entries between two reports of progress.
const SCANNED_TOGETHER: u64 = 1024;
