//! The scan of a rebuild: batches go out to be read and judged, and one thread folds and writes.

use super::Options;
use super::examiner::Examiner;
use super::read::{Reading, is_large};
use super::report::{Aged, Judged, Rebuilt};
use crate::cancel::Cancel;
use crate::engine::content::SMALL;
use crate::engine::deal::{Deck, Most};
use crate::engine::gathered::Gathered;
use crate::engine::job::{Job, Trees};
use crate::engine::observe;
use crate::engine::workers::{Window, Workers};
use crate::error::Error;
use crate::manifest::{Manifest, Rows};
use crate::model::{
    Change, Drift, EntryPath, Finding, Fingerprint, Kind, Record, Seen, Side, Sums, Timestamp, Verdict,
};
use crate::monitor::{Amount, Monitor, Phase};
use crate::plan::ages::Ages;
use crate::plan::decide::{Rules, unchanged, unchanged_replica};
use crate::plan::join::{Join, Joined};
use crate::plan::shield::Shields;
use crate::plan::verdict::Sides;
use crate::plan::visible::Sight;
use crate::store::local::Look;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Small contents are read this many entries at a time, or fewer where they are many bytes.
const FILES_TOGETHER: usize = 256;

/// How often a person hears how far it is.
const NEWS: Duration = Duration::from_millis(200);

/// What a scan needs to know.
pub(super) struct Scan<'e> {
    pub(super) job: &'e Job,
    pub(super) trees: &'e Trees,
    pub(super) rules: &'e Rules,
    pub(super) options: Options,
    /// The manifest knows nothing.
    pub(super) anew: bool,
    /// What was verified since then is not read again: a rebuild goes on where it was interrupted.
    pub(super) since: Option<Timestamp>,
    /// What was damaged before.
    pub(super) suspects: HashSet<EntryPath>,
    /// The witness instead of the manifest.
    pub(super) sums: Option<&'e Sums>,
    pub(super) cancel: &'e Cancel,
}

/// Where findings go.
pub(super) struct Ledger<'l> {
    /// What changes in the rows goes there; without one nothing is written.
    pub(super) manifest: Option<&'l Manifest>,
    /// How old everything is, counted along.
    pub(super) ages: &'l mut Ages,
    pub(super) report: &'l mut Rebuilt,
    pub(super) monitor: &'l dyn Monitor,
}

impl Scan<'_> {
    /// Walks, joins with `rows`, reads and judges all there is; `expected` is how much that will be.
    pub(super) fn carry_out(
        &self,
        rows: Option<Rows<'_>>,
        expected: Option<Amount>,
        ledger: Ledger<'_>,
    ) -> Result<(), Error> {
        ledger.monitor.phase(Phase::Rebuild, expected);
        let (source, replica) = (&self.trees.source, &self.trees.replica);
        let threads = self.job.settings.workers;
        let workers = Workers::of(&self.job.settings, self.cancel)?;
        let look = self.look();
        std::thread::scope(|scope| {
            let source = observe::walk(scope, Side::Source, Some(source), look, threads, self.cancel)?;
            let replica = observe::walk(scope, Side::Replica, Some(replica), look, threads, self.cancel)?;
            let rows = rows.into_iter().flatten().map(|row| Ok(row?));
            let mut sight = Sight::new(&self.job.settings.filter);
            let join = Join::new(source, replica, rows)?.map(|joined| Ok::<_, Error>(sight.of(joined?)));
            self.examine(join, true, &workers, ledger)
        })
    }

    /// Where all files are read, whoever opens them looks at them as well.
    fn look(&self) -> Look<'static> {
        let all = self.options.sides == Sides::Both && self.since.is_none() && self.sums.is_none();
        if all && !self.job.settings.filter.has_sizes() { Look::NotAtFiles } else { Look::AtAll }
    }

    /// Reads and judges what comes; `whole`: that is all there is, so that ages are counted from nothing.
    pub(super) fn examine(
        &self,
        all: impl Iterator<Item = Result<Joined, Error>>,
        whole: bool,
        workers: &Workers,
        ledger: Ledger<'_>,
    ) -> Result<(), Error> {
        let Ledger { manifest, ages, report, monitor } = ledger;
        let bytes = AtomicU64::new(0);
        let (source, replica) = (&self.trees.source, &self.trees.replica);
        let chunk_bytes = self.job.settings.chunk_bytes;
        let reading = Reading {
            source,
            replica,
            sides: self.options.sides,
            chunk_bytes,
            abreast: self.job.abreast,
            cancel: self.cancel,
            bytes: &bytes,
        };
        let examiner = Examiner {
            reading,
            rules: self.rules,
            anew: self.anew || self.sums.is_some(),
            by_sums: self.sums.is_some(),
            rows: manifest.is_some(),
            suspects: &self.suspects,
        };
        let mut sums = self.sums.cloned();
        if let Some(sums) = &mut sums {
            // What is no part of the mirror is not missing.
            sums.retain(|path, _| self.job.settings.filter.pattern_for(path).is_none());
        }
        let result = workers.within(|window| {
            let large = Deck::new(window.workers(), Most::ANY);
            let mut inquest = Inquest {
                examiner: &examiner,
                manifest,
                since: self.since.filter(|_| self.sums.is_none()),
                sums,
                whole,
                ages,
                window,
                report,
                monitor,
                shields: Shields::default(),
                small: Batch::default(),
                large,
                late: Vec::new(),
                told_bytes: 0,
            };
            for joined in all {
                inquest.feed(joined?)?;
            }
            inquest.finish()
        });
        report.bytes = bytes.into_inner();
        result
    }
}

/// Joined paths that are examined together.
#[derive(Default)]
struct Batch {
    entries: Vec<Joined>,
    gathered: Gathered,
}

/// Hands out batches while the join goes on, and folds what comes back. The one who writes.
struct Inquest<'i, 'w, 'scope> {
    examiner: &'scope Examiner<'scope>,
    manifest: Option<&'i Manifest>,
    since: Option<Timestamp>,
    /// Those that no entry has claimed yet.
    sums: Option<Sums>,
    whole: bool,
    ages: &'i mut Ages,
    window: &'i mut Window<'w, 'scope, Judged>,
    report: &'i mut Rebuilt,
    monitor: &'i dyn Monitor,
    shields: Shields,
    small: Batch,
    large: Deck<Joined>,
    /// What turned out to be large when it was looked at.
    late: Vec<Joined>,
    told_bytes: u64,
}

impl Inquest<'_, '_, '_> {
    fn feed(&mut self, joined: Joined) -> Result<(), Error> {
        if let Some(Seen::Excluded) = &joined.replica {
            // No part of the mirror; a row that it has is of an earlier filter, and is not kept.
            return self.keep(joined.row.map(|row| Change::Forget(row.path)).into_iter().collect());
        }
        self.count(&joined);
        let mut joined = self.with_witness(joined);
        let replica = joined.replica.as_ref();
        if joined.source.as_ref().is_some_and(|source| self.examiner.rules.rights.leaves_out(source, replica))
        {
            joined.source = None;
        }
        let shielded = self.shields.cover(&joined.path);
        self.shields.raise(&joined);
        if shielded {
            // Not seen is not gone: what was known of it stays known.
            self.report.counts.unseen += 1;
            joined.row.iter().for_each(|row| self.ages.note(row));
        } else if self.since.is_some_and(|since| is_verified(&joined, since, self.examiner.rules)) {
            self.report.counts.earlier += 1;
            joined.row.iter().for_each(|row| self.ages.note(row));
        } else if is_large(&joined) {
            self.add_large(joined)?;
        } else {
            self.small.gathered.add(content_bytes(&joined));
            self.small.entries.push(joined);
            if self.small.gathered.are_enough() || self.small.entries.len() == FILES_TOGETHER {
                self.flush()?;
            }
        }
        while let Some(judged) = self.window.try_next() {
            self.take(judged)?;
        }
        self.add_late()
    }

    fn add_large(&mut self, joined: Joined) -> Result<(), Error> {
        let hands = self.large.add(file_bytes(&joined), joined);
        hands.into_iter().try_for_each(|hand| self.submit(hand))
    }

    fn add_late(&mut self) -> Result<(), Error> {
        while let Some(joined) = self.late.pop() {
            self.add_large(joined)?;
        }
        Ok(())
    }

    /// Puts what the list of sums says in the place of what the manifest knows. A file that is not in the list has no
    /// witness.
    fn with_witness(&mut self, mut joined: Joined) -> Joined {
        let Some(sums) = &mut self.sums else { return joined };
        let known = sums.remove(&joined.path);
        let (Some(Seen::Present(source)), Some(Seen::Present(replica))) = (&joined.source, &joined.replica)
        else {
            return joined;
        };
        if source.kind() == Kind::File {
            // With a moment, or the row would not keep what is damaged from being copied.
            let before = joined.row.as_ref().filter(|row| row.digest.is_some()).and_then(|row| row.hashed);
            let hashed = before.unwrap_or(self.examiner.rules.began);
            let row =
                |digest| Record::new(joined.path.clone(), source, replica, Some((digest, hashed)), false);
            joined.row = known.filter(|_| replica.kind() == Kind::File).map(row);
        }
        joined
    }

    fn count(&mut self, joined: &Joined) {
        if let (false, Some(seen)) = (joined.path.is_root(), &joined.source) {
            let counts = &mut self.report.counts;
            counts.source_entries += 1;
            if let Seen::Present(stat) = seen {
                counts.source_bytes += stat.fingerprint.size;
            }
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.small).entries;
        self.submit(batch)
    }

    fn submit(&mut self, batch: Vec<Joined>) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        while self.window.is_full() {
            self.wait()?;
        }
        let examiner = self.examiner;
        self.window.submit(move || examiner.examine(batch));
        Ok(())
    }

    /// Waits for a batch to come back, telling of progress meanwhile: a large file takes its time.
    fn wait(&mut self) -> Result<(), Error> {
        let judged = self.window.next_within(NEWS);
        self.tell_progress(0);
        match judged {
            Some(judged) => self.take(judged),
            // What waits to be written is not to wait for a large file.
            None => self.keep(Vec::new()),
        }
    }

    fn tell_progress(&mut self, entries: u64) {
        let bytes = self.examiner.reading.bytes.load(Ordering::Relaxed);
        let more = bytes - self.told_bytes;
        self.told_bytes = bytes;
        if entries + more > 0 {
            self.monitor.advance(Amount { entries, bytes: more });
        }
    }

    fn take(&mut self, judged: Judged) -> Result<(), Error> {
        let Judged { counts, findings, problems, damage, settled, aged, rows, large } = judged;
        self.late.extend(large);
        for Aged { before, after } in aged {
            if let (Some((moment, bytes)), false) = (before, self.whole) {
                self.ages.forget_at(moment, bytes);
            }
            if let Some((moment, bytes)) = after {
                self.ages.note_at(moment, bytes);
            }
        }
        if let Some(manifest) = self.manifest {
            manifest.note_damage(&damage, &settled)?;
        }
        self.report.counts.add(&counts);
        for finding in &findings {
            self.monitor.finding(finding);
        }
        for problem in problems {
            self.monitor.problem(&problem);
            self.report.problems.push(problem);
        }
        self.tell_progress(counts.sound + counts.drift + counts.alike + counts.damaged);
        self.keep(rows)
    }

    fn keep(&mut self, rows: Vec<Change>) -> Result<(), Error> {
        self.manifest.map_or(Ok(()), |manifest| Ok(manifest.apply_soon(rows)?))
    }

    fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        loop {
            self.add_late()?;
            for hand in self.large.deal() {
                self.submit(hand)?;
            }
            if self.window.is_idle() && self.late.is_empty() {
                break;
            }
            self.wait()?;
        }
        if self.examiner.reading.cancel.requested() {
            return Err(Error::Interrupted);
        }
        let mut missing: Vec<EntryPath> = self.sums.take().unwrap_or_default().into_keys().collect();
        missing.sort();
        for path in missing {
            self.report.counts.drift += 1;
            let verdict = Verdict::Drift(Drift::GoneOnBothSides);
            self.monitor.finding(&Finding {
                path,
                verdict,
                detail: Some("it is only in the list".to_owned()),
            });
        }
        self.manifest.map_or(Ok(()), |manifest| Ok(manifest.apply(Vec::new())?))
    }
}

/// Whether the contents of both sides were read since then, and nobody touched either.
fn is_verified(joined: &Joined, since: Timestamp, rules: &Rules) -> bool {
    let (Some(row), Some(Seen::Present(source)), Some(Seen::Present(replica))) =
        (&joined.row, &joined.source, &joined.replica)
    else {
        return false;
    };
    row.hashed.is_some_and(|hashed| hashed.seconds >= since.seconds)
        && !row.racy
        && unchanged(&source.fingerprint, &row.source, rules)
        && unchanged_replica(replica, &row.replica, rules)
}

/// Bytes of one side of an entry; of what is only listed, by its row.
fn bytes_of(seen: Option<&Seen>, row: Option<&Fingerprint>) -> u64 {
    match seen {
        Some(Seen::Present(stat)) => stat.fingerprint.size,
        Some(Seen::Listed) => row.map_or(0, |row| row.size),
        _ => 0,
    }
}

/// Bytes of both sides of an entry.
fn sizes(joined: &Joined) -> (u64, u64) {
    let row = joined.row.as_ref();
    let source = bytes_of(joined.source.as_ref(), row.map(|row| &row.source));
    (source, bytes_of(joined.replica.as_ref(), row.map(|row| &row.replica)))
}

fn file_bytes(joined: &Joined) -> u64 {
    let (source, replica) = sizes(joined);
    source.saturating_add(replica)
}

/// Bytes of the small contents of an entry: those of the larger side, as the other is let go where
/// they are the same.
fn content_bytes(joined: &Joined) -> u64 {
    let (source, replica) = sizes(joined);
    source.max(replica).min(SMALL)
}
