//! What a run did, counted as it goes.

use super::rebuild::Rebuilt;
use crate::error::ExitCode;
use crate::manifest::RunFigures;
use crate::model::operation::End;
use crate::model::{Done, Operation, Problem, Verb};
use crate::monitor::{Amount, Monitor};
use crate::plan::census::Census;
use crate::plan::gate::Held;
use std::time::Duration;

/// Counts while a run goes on.
#[derive(Debug, Default)]
pub struct Tally {
    /// Operations done, by verb.
    done: [u64; Verb::ALL.len()],
    /// Bytes copied.
    pub bytes: u64,
    /// Rows confirmed without a change to the replica.
    pub adopted: u64,
    /// What could not be done.
    pub problems: Vec<Problem>,
}

impl Tally {
    /// Counts a batch, and tells who watches.
    pub fn count(&mut self, dones: &[Done], monitor: &dyn Monitor) {
        for done in dones {
            match &done.end {
                End::Made(_) if !done.silent => {
                    self.done[index(done.verb)] += 1;
                    self.bytes += done.bytes;
                }
                End::Failed(problem) => self.problem(problem.clone(), monitor),
                // Lack of room is one problem for the whole run.
                End::Made(_) | End::Vanished | End::Full(_) | End::Skipped => {}
            }
        }
        let bytes = dones.iter().map(|done| done.bytes).sum();
        monitor.advance(Amount { entries: dones.len() as u64, bytes });
        monitor.done(dones);
    }

    /// Counts a problem, and tells who watches.
    pub fn problem(&mut self, problem: Problem, monitor: &dyn Monitor) {
        monitor.problem(&problem);
        self.problems.push(problem);
    }

    /// How many operations of `verb` were done.
    pub fn of(&self, verb: Verb) -> u64 {
        self.done[index(verb)]
    }

    /// Counts what a plan would do as if it were done: for dry runs.
    pub fn assume(&mut self, verb: Verb, bytes: u64) {
        self.done[index(verb)] += 1;
        self.bytes += bytes;
    }
}

fn index(verb: Verb) -> usize {
    // ALL holds every verb; its test is the exhaustive match in Verb::name.
    Verb::ALL.iter().position(|&each| each == verb).unwrap_or(0)
}

/// The plan under which a run leaves deletes held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldAs {
    /// Its number.
    pub number: i64,
    /// An earlier run held the very same deletes, and reported them at length.
    pub again: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// The run's number in the manifest; `None` for a dry run.
    pub run: Option<i64>,
    /// What was counted.
    pub tally: Tally,
    /// What the scan saw.
    pub census: Census,
    /// Entries that the source does not have and that stay, with `deletes = "never"`.
    pub kept: u64,
    /// Why deletes were held, if they were.
    pub held: Option<Held>,
    /// The operations that were held, in path order.
    pub held_operations: Vec<Operation>,
    /// The plan that they are held as; `None`: nothing is held, or this is a dry run.
    pub held_plan: Option<HeldAs>,
    /// What was verified along with it.
    pub verified: Rebuilt,
    /// Whether the run was told to stop before it was through.
    pub interrupted: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// The exit code of a program that ends with this run.
    pub fn exit_code(&self) -> ExitCode {
        if self.interrupted {
            ExitCode::Interrupted
        } else if !self.tally.problems.is_empty() {
            ExitCode::Problems
        } else if self.held.is_some() {
            ExitCode::Held
        } else {
            ExitCode::Ok
        }
    }

    /// The result in one word, as the manifest and JSON have it.
    pub fn result(&self) -> &'static str {
        match self.exit_code() {
            ExitCode::Interrupted => "interrupted",
            ExitCode::Problems => "problems",
            ExitCode::Held => "held",
            _ => "ok",
        }
    }

    /// Whether there is anything in it that a person would want to hear of a daemon's run.
    pub fn did_something(&self) -> bool {
        self.exit_code() != ExitCode::Ok || self.tally.done.iter().any(|&count| count > 0)
    }

    /// The figures for the manifest's history.
    pub fn figures(&self) -> RunFigures {
        RunFigures {
            result: self.result().to_owned(),
            exit_code: self.exit_code().number(),
            entries: self.census.source_entries,
            entry_bytes: self.census.source_bytes,
            created: self.tally.of(Verb::Create),
            copied: self.tally.of(Verb::Copy),
            linked: self.tally.of(Verb::Link),
            moved: self.tally.of(Verb::Move),
            mended: self.tally.of(Verb::Metadata),
            deleted: self.tally.of(Verb::Delete),
            adopted: self.tally.adopted,
            bytes: self.tally.bytes,
            problems: self.tally.problems.len() as u64,
            held: self.held_operations.len() as u64,
            kept: self.kept,
            message: self.held.map(|held| held.to_string()),
        }
    }
}
