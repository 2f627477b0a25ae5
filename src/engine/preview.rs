//! What a run would do now; nothing is written, and no lock is needed.

use super::books::Books;
use super::capabilities;
use super::damage;
use super::foresight::Foresight;
use super::gates;
use super::inquiry::{Again, Scanned};
use super::job::{Job, View};
use super::losses;
use super::rebuild::Rebuilt;
use super::recall::settled_names;
use super::relocate;
use super::renames::{Renamed, identify};
use super::report::{Report, Tally};
use super::scan::Scan;
use super::trend::Looks;
use super::workers::Workers;
use crate::cancel::Cancel;
use crate::clock;
use crate::error::Error;
use crate::manifest::{self, Adoption, Bounds, Known, ManifestError, Reader, Salvage};
use crate::model::{EntryPath, Operation, Record, Stat};
use crate::monitor::Monitor;
use crate::plan::decide::Rules;
use crate::plan::deletions::{Deletions, keep_everything};
use crate::plan::early::Ahead;
use crate::plan::gate::{Approved, FirstRun, Gate, approve};
use crate::plan::rebased;
use crate::plan::relocation::Relocation;
use crate::plan::round::Round;
use crate::plan::spelling::Misspelled;
use crate::plan::step::Seeks;
use crate::store::local::LocalStore;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// What a run would do now: the plan, past the gate. Writes nothing, needs no lock.
pub fn preview(job: &Job, cancel: &Cancel, monitor: &dyn Monitor) -> Result<(Approved, Report), Error> {
    job.recognize_manifest()?;
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
    let confirmed = known.map_err(|error| match error {
        Error::Manifest(error) => Error::Manifest(manifest::confirm(error)),
        error => error,
    });
    let (approved, report) = match confirmed {
        // A sync would set it aside and adopt the replica.
        Err(Error::Manifest(error)) if error.is_damage() => {
            let salvage = Salvage::of(&job.manifest, &job.roots());
            look_ahead(job, None, Some(salvage), cancel, monitor)?
        }
        confirmed => confirmed?,
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
    let View { source, mut replica } = job.look_at_trees(&root_mounts)?;
    let before = reader.map_or(Ok(None), Reader::held_plan)?;
    source.recall_mounts(source_mounts.clone());
    let adoption = match reader {
        Some(reader) => reader.adoption()?,
        None => Some(Adoption::default()),
    };
    let adoption = adoption.or_else(|| succeeds.then(Adoption::default));
    let known = succeeds || reader.is_some_and(|reader| reader.knows_entries().unwrap_or(true));
    if replica.is_none() && known {
        return Err(job.replica_gone());
    }
    let workers = Workers::of(&job.settings, cancel)?;
    let damaged = reader.map_or(Ok(Vec::new()), Reader::damage)?;
    let held = reader.map_or(Ok(None), |reader| reader.capabilities(job.uid()))?;
    let held = capabilities::recalled(replica.as_ref(), held);
    let rules = Rules { rotten: damage::rotten(&damaged), ..job.rules(&source, held, clock::now()) };
    let vouchers = rules.rights.vouchers(source.device());
    let doubted = reader.map_or(Ok(false), |reader| reader.vouches_for(&vouchers).map(|vouches| !vouches))?;
    let look =
        Look { job, source: &source, rules: &rules, reader, doubted, workers: &workers, cancel, monitor };
    let mut scanned = look.at(replica.as_ref(), None, Ahead::Nothing, true)?;
    let counted = scanned.census.replica_entries;
    let mut changes = Changes::default();
    let mut ahead = None;
    // Without a replica nothing is left to a second look.
    while let (Some(again), Some(replica)) = (scanned.again.take(), &mut replica) {
        let ahead = ahead.get_or_insert_with(|| again.ahead.clone()).clone();
        let added = changes.add(again);
        let foresight = Foresight::of(replica, &changes.ways, job.settings.workers, cancel)?;
        replica.look_through(foresight.view());
        // A run remembers them under the new names before it looks again.
        source.recall_mounts(foresight.mounts(&source_mounts));
        scanned = look.at(Some(replica), Some(&foresight), ahead, added)?;
    }
    let Scanned { mut plan, census, .. } = scanned;
    plan.renamed = changes.planned();
    let kept = if job.settings.deletes == Deletions::Never { keep_everything(&mut plan) } else { 0 };
    if cancel.requested() {
        return Err(Error::Interrupted);
    }
    let mut tally = Tally::default();
    tally.problems.clone_from(&plan.problems);
    // What is not touched by the plan stays damaged.
    let planned: HashSet<&EntryPath> = plan.operations().map(|intent| intent.path).collect();
    for row in damaged {
        let standing = reader.map_or(Ok(None), |reader| reader.find(&row.path))?;
        if standing.is_some_and(|standing| Known::of(&standing) == row.known) && !planned.contains(&row.path)
        {
            tally.problems.push(damage::problem(&row));
        }
    }
    for losses in reader
        .filter(|_| !doubted)
        .map_or(Ok(Vec::new()), |reader| reader.losses(losses::NAMED, losses::names_root(job.uid())))?
    {
        let unplanned = losses::problems(&losses).filter(|problem| !planned.contains(&problem.path));
        tally.problems.extend(unplanned);
    }
    let first = adoption.map(|adoption| FirstRun {
        replica_had: adoption.replica_had.unwrap_or(counted),
        successor: succeeds,
    });
    let (limit, unsteady) = (job.settings.max_delete, job.unsteady());
    let approved = approve(plan, &Gate { census: &census, limit, before: before.as_ref(), unsteady, first });
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
        kept,
        held_operations: approved.held_operations().to_vec(),
        held_plan: None,
        verified: Rebuilt::default(),
        interrupted: false,
        elapsed: started.elapsed(),
    };
    Ok((approved, report))
}

/// What gets another name before a run plans.
#[derive(Default)]
struct Changes {
    ways: Vec<Relocation>,
    /// The source's figures, in the same order; `None`: those of the replica's entry go on.
    sources: Vec<Option<Stat>>,
}

impl Changes {
    /// Adds what a look found, which saw the replica as it will be after those that are here. Returns true if any of it is
    /// new.
    fn add(&mut self, again: Again) -> bool {
        let before = self.ways.len();
        let (lies, rows) = (rebased::View::of(&self.ways, false), rebased::View::of(&self.ways, true));
        for Renamed { way, source, .. } in again.renamed {
            self.ways.push(way);
            self.sources.push(Some(source));
        }
        for Misspelled { from, to, .. } in again.misspelled {
            let way = Relocation { lies: lies.actual(&from), rows: rows.actual(&from), to };
            if !self.ways.iter().any(|other| other.lies == way.lies || other.to == way.to) {
                self.ways.push(way);
                self.sources.push(None);
            }
        }
        self.ways.len() > before
    }

    fn planned(self) -> Vec<Operation> {
        self.ways.iter().zip(self.sources).map(|(way, source)| relocate::planned(way, source)).collect()
    }
}

/// What looking at both trees needs.
struct Look<'e> {
    job: &'e Job,
    source: &'e LocalStore,
    rules: &'e Rules,
    reader: Option<&'e Reader>,
    /// The rows vouch for other things than this run is to keep.
    doubted: bool,
    workers: &'e Workers,
    cancel: &'e Cancel,
    monitor: &'e dyn Monitor,
}

impl Look<'_> {
    /// Plans; with `foresight` as if entries had their new names already. What is `ahead` a run brings over before it
    /// has a plan. `misspelled`: looks for names that the replica spells in another way.
    fn at(
        &self,
        replica: Option<&LocalStore>,
        foresight: Option<&Foresight>,
        ahead: Ahead,
        misspelled: bool,
    ) -> Result<Scanned, Error> {
        let rows = || self.reader.into_iter().flat_map(|reader| reader.rows(Bounds::All));
        let doubt = |row: Result<Record, ManifestError>| -> Result<Record, Error> {
            let row = row?;
            Ok(Record { racy: row.racy || self.doubted, ..row })
        };
        let stream: Box<dyn Iterator<Item = Result<Record, Error>>> = match (foresight, self.reader) {
            (Some(foresight), Some(reader)) => Box::new(foresight.rows(reader).map(doubt)),
            _ => Box::new(rows().map(doubt)),
        };
        let filter = &self.job.settings.filter;
        let hidden = |row: &Record| filter.pattern_for(&row.path).is_some();
        let visible = |row: &Result<Record, ManifestError>| !row.as_ref().is_ok_and(hidden);
        let books = Books {
            confirm: &mut |_| Ok(()),
            // Rows that are doubted as they are read vouch for no names either.
            of_inodes: &mut |inodes, tell| match (self.reader.filter(|_| !self.doubted), replica, foresight) {
                (Some(reader), Some(replica), None) => settled_names(
                    reader.rows(Bounds::All).filter(visible),
                    (inodes, tell),
                    self.source,
                    replica,
                    self.rules,
                ),
                (Some(reader), Some(replica), Some(foresight)) => settled_names(
                    foresight.rows(reader).filter(visible),
                    (inodes, tell),
                    self.source,
                    replica,
                    self.rules,
                ),
                _ => Ok(()),
            },
            identify: &mut |suspect, known| match (self.reader, replica) {
                (Some(reader), Some(replica)) => {
                    identify(suspect, known, reader, self.source, (replica, &self.rules.rights))
                }
                _ => Ok(None),
            },
            prepare: &mut || Ok(()),
            settle_names: &mut || Ok(Vec::new()),
            settle: &mut |_| Ok(()),
        };
        let seen = self.reader.map_or(Ok(None), Reader::last_complete)?;
        // As in a run: without rows nothing has another name, and all that is new is planned in one look.
        let is_first_look = foresight.is_none() && self.reader.map_or(Ok(false), Reader::knows_entries)?;
        let scan = Scan {
            expected: seen.map(|figures| figures.entries),
            job: self.job,
            source: self.source,
            replica,
            rules: self.rules,
            cancel: self.cancel,
            site: None,
            looks: Looks::AtAll,
            seeks: Seeks {
                renames: is_first_look
                    && self.job.settings.filter.is_placeless()
                    && self.job.settings.deletes == Deletions::Mirror,
                misspelled: misspelled && !self.rules.rights.held.case_sensitive,
                most: if is_first_look { self.job.planned_most } else { usize::MAX },
            },
            ahead,
            round: Round::default(),
            foresight,
            readied: HashMap::new(),
        };
        scan.plan(stream, self.workers, books, self.monitor)
    }
}
