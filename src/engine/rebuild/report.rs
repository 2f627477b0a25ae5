//! What a rebuild found, counted as it goes.

use crate::error::ExitCode;
use crate::manifest::{DamageRow, RunFigures};
use crate::model::{Change, EntryPath, Finding, Problem, Verdict};
use crate::plan::join::Joined;
use std::time::Duration;

/// How many entries met with which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As the manifest says.
    pub sound: u64,
    /// Changed together with their metadata.
    pub drift: u64,
    /// Damaged, on either side or both.
    pub damaged: u64,
    /// The same on both sides, and not what the manifest knows, under metadata that says nothing of it: taken for
    /// right from now on.
    pub alike: u64,
    /// Of these, damaged in the replica only, with the source read and found good: the next run restores them.
    pub mendable: u64,
    /// The same of what the disk does not give back: a problem, not counted as damaged.
    pub mendable_unread: u64,
    /// Entries of the source, its root not counted.
    pub source_entries: u64,
    /// Bytes in the source's files and links.
    pub source_bytes: u64,
    /// Below something that could not be looked at.
    pub unseen: u64,
    /// Verified before the rebuild was interrupted that this one goes on with.
    pub earlier: u64,
}

impl Counts {
    /// Counts one path that was judged.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Sound => self.sound += 1,
            Verdict::Drift(_) => self.drift += 1,
            Verdict::Damaged(_) => self.damaged += 1,
            // Problems are listed one by one, and counted by that.
            Verdict::Unreadable => {}
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Counts) {
        self.sound += other.sound;
        self.drift += other.drift;
        self.damaged += other.damaged;
        self.alike += other.alike;
        self.mendable += other.mendable;
        self.mendable_unread += other.mendable_unread;
        self.source_entries += other.source_entries;
        self.source_bytes += other.source_bytes;
        self.unseen += other.unseen;
        self.earlier += other.earlier;
    }
}

/// How a rebuild ended.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// The run's number in the manifest; `None` where only a report was asked for.
    pub run: Option<i64>,
    /// Only a report was asked for: the manifest is as it was.
    pub report_only: bool,
    /// What was counted.
    pub counts: Counts,
    /// Bytes read, on both sides together.
    pub bytes: u64,
    /// What could not be looked at or read.
    pub problems: Vec<Problem>,
    /// Whether it was told to stop before it was through; the next one goes on from there.
    pub interrupted: bool,
    /// How long it took.
    pub elapsed: Duration,
}

/// What one batch of entries came to.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) counts: Counts,
    pub(super) findings: Vec<Finding>,
    pub(super) problems: Vec<Problem>,
    /// Damage, for the manifest to remember.
    pub(super) damage: Vec<DamageRow>,
    /// Damage that was known before and is none any more.
    pub(super) settled: Vec<EntryPath>,
    /// Whose age is another now.
    pub(super) aged: Vec<Aged>,
    /// For the manifest.
    pub(super) rows: Vec<Change>,
    /// What turned out to be large when it was looked at: nothing was read of it, and it is not judged.
    pub(super) large: Vec<Joined>,
}

/// A file that was looked at: when its content was verified last (in seconds since 1970), and its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aged {
    pub(super) before: Option<(i64, u64)>,
    pub(super) after: Option<(i64, u64)>,
}

impl Rebuilt {
    /// The exit code of a program that ends with this rebuild.
    pub fn exit_code(&self) -> ExitCode {
        if self.interrupted {
            ExitCode::Interrupted
        } else if self.counts.damaged > 0 {
            ExitCode::Damage
        } else if !self.problems.is_empty() {
            ExitCode::Problems
        } else {
            ExitCode::Ok
        }
    }

    /// The result in one word, as the manifest and JSON have it.
    pub fn result(&self) -> &'static str {
        match self.exit_code() {
            ExitCode::Interrupted => "interrupted",
            ExitCode::Damage => "damage",
            ExitCode::Problems => "problems",
            _ => "ok",
        }
    }

    /// Entries that were judged.
    pub fn entries(&self) -> u64 {
        self.counts.sound + self.counts.earlier + self.counts.drift + self.counts.alike + self.counts.damaged
    }

    /// Bytes read in a second.
    pub fn bytes_per_second(&self) -> u64 {
        let millis = self.elapsed.as_millis().max(1);
        u64::try_from(u128::from(self.bytes) * 1000 / millis).unwrap_or(u64::MAX)
    }

    /// The figures for the manifest's history.
    pub fn figures(&self) -> RunFigures {
        let Counts { drift, damaged, .. } = self.counts;
        RunFigures {
            result: self.result().to_owned(),
            exit_code: self.exit_code().number(),
            entries: self.counts.source_entries,
            entry_bytes: self.counts.source_bytes,
            adopted: self.counts.sound + self.counts.earlier,
            problems: self.problems.len() as u64,
            message: (damaged + drift > 0).then(|| format!("{damaged} damaged, {drift} drift")),
            ..RunFigures::default()
        }
    }
}
