//! How the engine tells what it does. It never prints; whoever watches implements this.

mod bytes_read;

pub use bytes_read::BytesRead;

use crate::model::{Done, Finding, PastProblem, Problem};
use crate::plan::Intent;
use std::sync::Arc;

/// What a run is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Walking both trees.
    Scan,
    /// Reading contents to compare them, or to bring over what goes ahead of the plan.
    Compare,
    /// Making folders and bringing entries over.
    Copy,
    /// Removing what the source does not have.
    Delete,
    /// Putting folders' metadata in place.
    Folders,
    /// Reading everything again.
    Rebuild,
    /// Reading a part of it again, along with a run.
    Verify,
}

impl Phase {
    /// The phase as progress displays name it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Scan => "scanning",
            Phase::Compare => "contents",
            Phase::Copy => "copying",
            Phase::Delete => "deleting",
            Phase::Folders => "folders",
            Phase::Rebuild => "reading",
            Phase::Verify => "verifying",
        }
    }
}

/// An amount of work, done or to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Entries.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What is left of the problems of the run before.
#[derive(Clone, Copy, Debug)]
pub struct Remaining<'r> {
    /// Problems that the run before left.
    pub before: usize,
    /// Those of them that this run met again.
    pub count: usize,
    /// The one that is left, if it is only one.
    pub only: Option<&'r PastProblem>,
}

/// Watches a run. Called from the engine's own thread only; every method may do nothing.
pub trait Monitor {
    /// The run has this number.
    fn begun(&self, _run: i64) {}
    /// What the workers read of contents from now on is counted here, in bytes.
    fn reading(&self, _bytes: &Arc<BytesRead>) {}
    /// A phase begins; `total` is how much it will be, where that is known.
    fn phase(&self, _phase: Phase, _total: Option<Amount>) {}
    /// So much more of the phase is done.
    fn advance(&self, _by: Amount) {}
    /// A dry run would do this.
    fn planned(&self, _intent: Intent<'_>) {}
    /// These operations were carried out, together.
    fn done(&self, _batch: &[Done]) {}
    /// A rebuild found this entry not to be sound.
    fn finding(&self, _finding: &Finding) {}
    /// This entry has a problem.
    fn problem(&self, _problem: &Problem) {}
    /// This entry has a problem that the run before had as well. [`Monitor::remaining`] counts them at the end.
    fn known_problem(&self, _problem: &Problem) {}
    /// Some problems of the run before are still there.
    fn remaining(&self, _remaining: &Remaining<'_>) {}
    /// This problem of the run before is not there any more.
    fn solved(&self, _problem: &PastProblem) {}
    /// Something about the run as a whole that a person should know.
    fn warning(&self, _message: &str) {}
    /// Something about the run as a whole that is as it should be, for the log.
    fn note(&self, _message: &str) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {}
