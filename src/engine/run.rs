//! One run from its first look to its last row.

mod adoption;
mod planning;
mod rounds;
mod tending;
mod verify;

use super::absent::Search;
use super::books::Books;
use super::capabilities;
use super::damage;
use super::execute::names::settle_ahead;
use super::execute::{Affected, Grounds, MixedCopies, Partials, Site, execute, finish_patches, settle};
use super::gates::{self, HeldBack};
use super::inquiry::Scanned;
use super::job::{Job, Trees};
use super::known_problems::KnownProblems;
use super::opened;
use super::rebuild::Rebuilt;
use super::recall::settled_names;
use super::renames::identify;
use super::report::{Report, Tally};
use super::scan::Scan;
use super::trash::{Opened, Trash};
use super::trend::Looks;
use super::workers::Workers;
use crate::cancel::Cancel;
use crate::clock;
use crate::error::{Error, ExitCode};
use crate::lock::RunLock;
use crate::manifest::{self, Adoption, Bounds, Manifest, ManifestError, RunFigures, RunKind};
use crate::model::{Change, EntryPath, Record, Verb};
use crate::monitor::Monitor;
use crate::plan::Plan;
use crate::plan::ages::Ages;
use crate::plan::census::Census;
use crate::plan::decide::Rules;
use crate::plan::deletions::{Deletions, keep_everything};
use crate::plan::early::Ahead;
use crate::plan::gate::{FirstRun, Gate, approve};
use crate::plan::round::Round;
use crate::plan::step::Seeks;
use crate::store::local::LocalStore;
use crate::transfer::clone::Clones;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

/// Brings the replica into step, once.
///
/// # Errors
/// Only what stops the run as a whole; what goes wrong with one entry is in the report.
pub fn sync(job: &Job, lock: &RunLock, cancel: &Cancel, monitor: &dyn Monitor) -> Result<Report, Error> {
    match attempt(job, lock, cancel, monitor) {
        Err(Error::Manifest(error)) if error.is_damage() => match manifest::confirm(error) {
            ManifestError::Damaged { cause, .. } => {
                job.set_manifest_aside(lock, &cause, monitor)?;
                attempt(job, lock, cancel, monitor)
            }
            error => Err(error.into()),
        },
        result => result,
    }
}

fn attempt(job: &Job, lock: &RunLock, cancel: &Cancel, monitor: &dyn Monitor) -> Result<Report, Error> {
    let started = Instant::now();
    let began = clock::now();
    let manifest = job.open_manifest(lock, began, monitor)?;
    let recorded = manifest.root_mounts()?;
    let successor = manifest.is_successor()?;
    let adoption = manifest.adoption()?.or_else(|| successor.then(Adoption::default));
    let first_run = !successor && !manifest.knows_entries()?;
    let opened = job.open_trees(first_run, &recorded).and_then(|trees| {
        let apart = gates::see_apart(job, &recorded, &trees)?;
        Ok((trees, apart))
    });
    let (mut trees, apart) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            gates::note_refusal(job, &manifest, began, &error)?;
            return Err(error);
        }
    };
    if job.uid() != 0 {
        trees.replica = trees.replica.opening_folders_of(job.uid());
    }
    gates::record(&trees.anchors, &recorded, apart, &manifest, monitor)?;
    let before = manifest.held_plan()?;
    trees.source.recall_mounts(manifest.source_mounts()?);
    let workers = Workers::of(&job.settings, cancel)?;
    monitor.reading(&workers.bytes_read());
    let rotten = damage::rotten(&manifest.damage()?);
    let held = capabilities::of_replica(job, &trees, &manifest, monitor)?;
    let rules = Rules { rotten, ..job.rules(&trees.source, held, began) };
    let trash = Opened::for_run(job, &trees.replica, began)?;
    manifest.vouch_for(&rules.rights.vouchers(trees.source.device()))?;
    let run = manifest.begin_run(RunKind::Sync, began)?;
    monitor.begun(run);
    let known = KnownProblems::new(manifest.problems()?, monitor);
    let monitor: &dyn Monitor = &known;
    let mut report = Report {
        run: Some(run),
        tally: Tally::default(),
        census: Census::default(),
        held: None,
        kept: 0,
        held_operations: Vec::new(),
        held_plan: None,
        verified: Rebuilt::default(),
        interrupted: false,
        elapsed: started.elapsed(),
    };
    let mut held_back = HeldBack::default();
    finish_patches(&trees.replica, &manifest, monitor)?;
    let partials = Partials::of(manifest.partials()?);
    let pass = Pass {
        job,
        trees: &trees,
        rules: &rules,
        manifest: &manifest,
        workers: &workers,
        cancel,
        monitor,
        trash: trash.as_ref(),
        partials: &partials,
        ages: RefCell::default(),
        in_rounds: Cell::default(),
        adoption,
        replica_had: Cell::default(),
        is_seen_through: Cell::new(true),
    };
    let outcome = pass.plan(&mut report).and_then(|(mut plan, site)| {
        let (source, filter) = (&trees.source, &*job.settings.filter);
        Search { source, manifest: &manifest, rules: &rules, filter, cancel, monitor }
            .keep_what_moved(&mut plan)?;
        if job.settings.deletes == Deletions::Never {
            report.kept = keep_everything(&mut plan);
        }
        let first =
            adoption.map(|_| FirstRun { replica_had: pass.replica_had.get().unwrap_or_default(), successor });
        let (limit, unsteady) = (job.settings.max_delete, job.unsteady());
        let before = before.as_ref();
        let approved = approve(plan, &Gate { census: &report.census, limit, before, unsteady, first });
        held_back = HeldBack::of(&approved, before, unsteady);
        gates::tell(job, &approved, &held_back, run, monitor);
        report.held_plan = held_back.plan(run);
        report.held = approved.held();
        report.held_operations = approved.held_operations().to_vec();
        execute(&site, &approved, &workers, &manifest, &mut report.tally, monitor)?;
        pass.settle_rounds(approved.plan())?;
        pass.verify(&mut report)
    });
    opened::close(&trees.replica, &manifest, &mut report.tally, monitor)?;
    if let Some(trash) = &trash {
        pass.tend(trash, &mut report)?;
    }
    known.report(outcome.is_ok());
    report.elapsed = started.elapsed();
    report.interrupted = matches!(outcome, Err(Error::Interrupted));
    let kept = partials.conclude(outcome.is_ok().then_some(&trees.replica), &manifest, monitor);
    let mut figures = report.figures();
    if let Err(error) = &outcome
        && !report.interrupted
    {
        note_failure(&mut figures, error);
    }
    let noted = manifest.finish_run(run, clock::now(), &figures, &report.tally.problems, held_back.holding());
    match outcome {
        Ok(()) | Err(Error::Interrupted) => {
            kept?;
            gates::tell_dropped(noted?, before.as_ref(), monitor);
            if successor && report.exit_code() == ExitCode::Ok {
                manifest.settle_succession()?;
            }
            pass.settle_adoption(&report)?;
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

/// What every step of a run needs.
struct Pass<'e> {
    job: &'e Job,
    trees: &'e Trees,
    rules: &'e Rules,
    manifest: &'e Manifest,
    workers: &'e Workers,
    cancel: &'e Cancel,
    monitor: &'e dyn Monitor,
    trash: Option<&'e Trash<LocalStore>>,
    partials: &'e Partials,
    /// When contents were verified, by the rows as the last look met them.
    ages: RefCell<Ages>,
    /// There were rounds of names before the plan.
    in_rounds: Cell<bool>,
    /// No run of the pair has ended well yet.
    adoption: Option<Adoption>,
    /// Entries that the replica had before anything was brought over; counted in a first run only.
    replica_had: Cell<Option<u64>>,
    /// Nothing in either tree was kept from being looked at.
    is_seen_through: Cell<bool>,
}

impl<'e> Pass<'e> {
    fn site(&self) -> Site<'e, LocalStore, LocalStore> {
        Site {
            source: &self.trees.source,
            replica: &self.trees.replica,
            anchors: &self.trees.anchors,
            rights: &self.rules.rights,
            began: self.rules.began,
            tick_nanos: self.rules.tick_nanos,
            chunk_bytes: self.job.settings.chunk_bytes,
            batch_files: self.job.settings.batch_files,
            durability: self.job.settings.durability,
            cancel: self.cancel,
            owner_lost: AtomicBool::new(false),
            links_lost: Affected::default(),
            marks_left: Affected::default(),
            full: AtomicBool::new(false),
            clones: Clones::default(),
            grounds: Grounds::in_replica(&self.rules.rights.held),
            no_room_from: AtomicU64::new(u64::MAX),
            trash: self.trash,
            publish_mixed: self.job.settings.publish_mixed,
            mixed: MixedCopies::default(),
            when_full: self.job.settings.when_full,
            partials: self.partials,
        }
    }

    /// Looks at both trees, and brings over what need not wait.
    fn look(
        &self,
        site: &Site<'_, LocalStore, LocalStore>,
        (looks, seeks): (Looks, Seeks),
        (ahead, round): (Ahead, Round),
        readied: HashMap<EntryPath, Option<Verb>>,
        report: &mut Report,
    ) -> Result<Scanned, Error> {
        let (manifest, source, replica) = (self.manifest, &self.trees.source, &self.trees.replica);
        let filter = &self.job.settings.filter;
        self.ages.take();
        let rows = manifest.rows(Bounds::All).map(|row| {
            let row = row?;
            self.ages.borrow_mut().note(&row);
            Ok(row)
        });
        let known_mounts = manifest.source_mounts()?;
        let mut mounts_seen = 0;
        let tally = &mut report.tally;
        let books = Books {
            confirm: &mut |changes| {
                for row in changes.iter().filter_map(Change::row) {
                    manifest.note_whole(&row.path)?;
                }
                Ok(manifest.apply(changes)?)
            },
            of_inodes: &mut |inodes, tell| {
                let rows = manifest.rows(Bounds::All);
                let hidden = |row: &Record| filter.pattern_for(&row.path).is_some();
                let visible = rows.filter(|row| !row.as_ref().is_ok_and(hidden));
                settled_names(visible, (inodes, tell), source, replica, self.rules)
            },
            identify: &mut |suspect, known| {
                identify(suspect, known, manifest, source, (replica, &self.rules.rights))
            },
            // Before anything that lies on them is in the replica.
            prepare: &mut || {
                manifest.ensure_run_row()?;
                let mut mounts = source.mounts();
                if mounts.len() != mounts_seen {
                    mounts_seen = mounts.len();
                    mounts.extend(known_mounts.iter().cloned());
                    manifest.remember_source_mounts(&mounts)?;
                }
                Ok(())
            },
            settle_names: &mut || settle_ahead(replica, manifest),
            settle: &mut |dones| settle(dones, (manifest, self.partials), tally, self.monitor),
        };
        let scan = Scan {
            expected: manifest.last_complete()?.map(|figures| figures.entries),
            job: self.job,
            source,
            replica: Some(replica),
            rules: self.rules,
            cancel: self.cancel,
            site: Some((site, manifest)),
            looks,
            seeks,
            ahead,
            round,
            foresight: None,
            readied,
        };
        scan.plan(rows, self.workers, books, self.monitor)
    }

    /// Notes what a scan counted, and says what could not be looked at.
    fn note(&self, scanned: Scanned, report: &mut Report) -> Result<Plan, Error> {
        let Scanned { mut plan, census, adopted, .. } = scanned;
        // Before anything that lies on them is in the replica.
        self.manifest.remember_source_mounts(&self.trees.source.mounts())?;
        report.census = census;
        report.tally.adopted += adopted;
        self.is_seen_through.set(self.is_seen_through.get() && plan.problems.is_empty());
        for problem in std::mem::take(&mut plan.problems) {
            report.tally.problem(problem, self.monitor);
        }
        if census.nodes_left_out > 0 {
            self.monitor.warning(&format!(
                "{} device nodes were left out: the source is mounted nodev, so that whoever wrote them is not trusted with any",
                census.nodes_left_out
            ));
        }
        Ok(plan)
    }
}
