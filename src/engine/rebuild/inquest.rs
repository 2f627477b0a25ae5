//! The scan of a rebuild: batches go out to be read and judged, and one thread folds and writes.

use super::Options;
use super::read::{Reading, is_large};
use super::report::{Judged, Rebuilt};
use crate::cancel::Cancel;
use crate::engine::content::SMALL;
use crate::engine::deal::{Deck, Most};
use crate::engine::job::{Job, Trees};
use crate::engine::observe;
use crate::engine::workers::{Window, Workers};
use crate::error::Error;
use crate::manifest::{Manifest, Rows};
use crate::model::{Attributes, Change, Difference, Kind, Record, Seen, Side, Timestamp, Verdict};
use crate::monitor::{Amount, Monitor, Phase};
use crate::plan::decide::{Rules, unchanged};
use crate::plan::join::{Join, Joined};
use crate::plan::shield::Shields;
use crate::plan::verdict::{Case, Sides};
use crate::plan::visible::Sight;
use crate::store::local::LocalStore;
use crate::store::{Fault, Folder, Store};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Small contents are read this many entries and bytes at a time: enough to fill the lanes of the
/// hash, little enough to be in the processor's cache still when they are hashed.
const FILES_TOGETHER: usize = 256;
const BYTES_TOGETHER: u64 = 2 << 20;

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
    pub(super) cancel: &'e Cancel,
}

impl Scan<'_> {
    /// Walks, joins with `rows`, reads and judges all there is; what changes in the rows goes
    /// to `manifest`. On the way, `expected` is how much that will be.
    pub(super) fn carry_out(
        &self,
        rows: Option<Rows<'_>>,
        manifest: Option<&Manifest>,
        expected: Option<Amount>,
        report: &mut Rebuilt,
        monitor: &dyn Monitor,
    ) -> Result<(), Error> {
        monitor.phase(Phase::Rebuild, expected);
        let bytes = AtomicU64::new(0);
        let (source, replica) = (&self.trees.source, &self.trees.replica);
        let chunk_bytes = self.job.settings.chunk_bytes;
        let reading = Reading {
            source,
            replica,
            sides: self.options.sides,
            chunk_bytes,
            cancel: self.cancel,
            bytes: &bytes,
        };
        let examiner = Examiner { reading, rules: self.rules, anew: self.anew, rows: manifest.is_some() };
        let threads = self.job.settings.workers;
        let workers = Workers::of(&self.job.settings, self.cancel)?;
        let result = std::thread::scope(|scope| {
            let source = observe::walk(scope, Side::Source, Some(source), threads, self.cancel)?;
            let replica = observe::walk(scope, Side::Replica, Some(replica), threads, self.cancel)?;
            let rows = rows.into_iter().flatten().map(|row| Ok(row?));
            let mut sight = Sight::new(&self.job.settings.filter);
            let join = Join::new(source, replica, rows)?.map(|joined| Ok::<_, Error>(sight.of(joined?)));
            workers.within(|window| {
                let large = Deck::new(window.workers(), Most::ANY);
                let mut inquest = Inquest {
                    examiner: &examiner,
                    manifest,
                    since: self.since,
                    window,
                    report,
                    monitor,
                    shields: Shields::default(),
                    small: Batch::default(),
                    large,
                    told_bytes: 0,
                };
                for joined in join {
                    inquest.feed(joined?)?;
                }
                inquest.finish()
            })
        });
        report.bytes = bytes.into_inner();
        result
    }
}

/// What all workers share.
struct Examiner<'e> {
    reading: Reading<'e, LocalStore, LocalStore>,
    rules: &'e Rules,
    anew: bool,
    /// Whether rows are wanted.
    rows: bool,
}

impl Examiner<'_> {
    /// Reads and judges a batch.
    fn examine(&self, batch: &[Joined]) -> Judged {
        let contents = self.reading.read(batch);
        let mut judged = Judged::default();
        if self.reading.cancel.requested() {
            // What was read after that may be cut short, and is not to be taken for damage.
            return judged;
        }
        for (joined, contents) in batch.iter().zip(&contents) {
            let case = Case { joined, contents, rules: self.rules, anew: self.anew };
            let verdict = case.verdict();
            if !joined.path.is_root() || verdict != Verdict::Sound {
                judged.counts.count(verdict);
            }
            judged.counts.mendable += u64::from(case.is_mendable(verdict));
            judged.problems.extend(case.problems());
            judged.findings.extend(case.finding(verdict));
            if self.rows {
                let row = case.row_for(verdict).map(|row| self.vouched_for(joined, row));
                judged.rows.extend(self.change(joined, row));
            }
        }
        judged
    }

    /// What becomes of the row of a path.
    fn change(&self, joined: &Joined, now: Option<Record>) -> Option<Change> {
        let Some(mut now) = now else {
            return joined.row.as_ref().map(|row| Change::Forget(row.path.clone()));
        };
        let Some(before) = &joined.row else { return Some(Change::Put(now)) };
        if self.reading.sides != Sides::Both && now.digest == before.digest {
            // Verified is what was read on both sides.
            now.hashed = before.hashed;
        }
        let hashed = std::mem::replace(&mut now.hashed, before.hashed);
        if now != *before {
            now.hashed = hashed;
            return Some(Change::Put(now));
        }
        let seconds = |when: Option<Timestamp>| when.map(|when| when.seconds);
        hashed
            .filter(|_| seconds(hashed) != seconds(before.hashed))
            .map(|when| Change::Verified(now.path, when))
    }

    /// A row vouches for attributes and names too. Where no earlier row did for the same figures, the
    /// attributes are compared; what they do not settle is left for the next run to look at.
    fn vouched_for(&self, joined: &Joined, row: Record) -> Record {
        let before = joined.row.as_ref().filter(|before| !before.racy);
        let vouched =
            before.is_some_and(|before| before.source == row.source && before.replica == row.replica);
        if vouched || row.racy || self.agree(joined) { row } else { Record { racy: true, ..row } }
    }

    /// Whether attributes, and as far as one name tells also hard links, are as they should be.
    fn agree(&self, joined: &Joined) -> bool {
        let (Some(Seen::Present(source)), Some(Seen::Present(replica))) = (&joined.source, &joined.replica)
        else {
            return true;
        };
        let rights = &self.rules.rights;
        let shared = source.kind() != Kind::Folder && (source.links > 1 || replica.links > 1);
        if shared && rights.preserve.hard_links {
            return false;
        }
        if rights.scope().is_empty() || source.kind() == Kind::Symlink {
            return true;
        }
        let compare = || -> Result<Difference, Fault> {
            let of = |store: &LocalStore| -> Result<Attributes, Fault> {
                let path = &joined.path;
                if path.is_folder() {
                    return store.folder(path)?.own_attributes(rights.scope());
                }
                Ok(store.folder(&path.parent())?.attributes(path.name(), rights.scope())?.1)
            };
            let wanted = rights.desired_attributes(source, of(self.reading.source)?);
            Ok(wanted.difference(&of(self.reading.replica)?))
        };
        matches!(compare(), Ok(Difference::None))
    }
}

/// Joined paths that are examined together.
#[derive(Default)]
struct Batch {
    entries: Vec<Joined>,
    bytes: u64,
}

/// Hands out batches while the join goes on, and folds what comes back. The one who writes.
struct Inquest<'i, 'w, 'scope> {
    examiner: &'scope Examiner<'scope>,
    manifest: Option<&'i Manifest>,
    since: Option<Timestamp>,
    window: &'i mut Window<'w, 'scope, Judged>,
    report: &'i mut Rebuilt,
    monitor: &'i dyn Monitor,
    shields: Shields,
    small: Batch,
    large: Deck<Joined>,
    told_bytes: u64,
}

impl Inquest<'_, '_, '_> {
    fn feed(&mut self, joined: Joined) -> Result<(), Error> {
        if let Some(Seen::Excluded) = &joined.replica {
            // No part of the mirror; a row that it has is of an earlier filter, and is not kept.
            return self.keep(joined.row.map(|row| Change::Forget(row.path)).into_iter().collect());
        }
        self.count(&joined);
        let shielded = self.shields.cover(&joined.path);
        self.shields.raise(&joined);
        if shielded {
            // Not seen is not gone: what was known of it stays known.
            self.report.counts.unseen += 1;
        } else if self.since.is_some_and(|since| is_verified(&joined, since, self.examiner.rules)) {
            self.report.counts.earlier += 1;
        } else if is_large(&joined) {
            for hand in self.large.add(file_bytes(&joined), joined) {
                self.submit(hand)?;
            }
        } else {
            let size = content_bytes(&joined);
            if self.small.bytes + size > BYTES_TOGETHER || self.small.entries.len() == FILES_TOGETHER {
                self.flush()?;
            }
            self.small.bytes += size;
            self.small.entries.push(joined);
        }
        while let Some(judged) = self.window.try_next() {
            self.take(judged)?;
        }
        Ok(())
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
        self.window.submit(move || examiner.examine(&batch));
        Ok(())
    }

    /// Waits for a batch to come back, telling of progress meanwhile: a large file takes its time.
    fn wait(&mut self) -> Result<(), Error> {
        let judged = self.window.next_within(NEWS);
        self.tell_progress(0);
        judged.map_or(Ok(()), |judged| self.take(judged))
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
        let Judged { counts, findings, problems, rows } = judged;
        self.report.counts.add(&counts);
        for finding in &findings {
            self.monitor.finding(finding);
        }
        for problem in problems {
            self.monitor.problem(&problem);
            self.report.problems.push(problem);
        }
        self.tell_progress(counts.sound + counts.drift + counts.damaged);
        self.keep(rows)
    }

    fn keep(&mut self, rows: Vec<Change>) -> Result<(), Error> {
        self.manifest.map_or(Ok(()), |manifest| Ok(manifest.apply_soon(rows)?))
    }

    fn finish(mut self) -> Result<(), Error> {
        self.flush()?;
        for hand in self.large.deal() {
            self.submit(hand)?;
        }
        while !self.window.is_idle() {
            self.wait()?;
        }
        if self.examiner.reading.cancel.requested() {
            return Err(Error::Interrupted);
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
        && unchanged(&replica.fingerprint, &row.replica, rules)
}

/// Bytes of both sides of an entry.
fn file_bytes(joined: &Joined) -> u64 {
    let size = |seen: &Option<Seen>| match seen {
        Some(Seen::Present(stat)) => stat.fingerprint.size,
        _ => 0,
    };
    size(&joined.source).saturating_add(size(&joined.replica))
}

/// Bytes of the small contents of an entry: those of the larger side, as the other is let go where
/// they are the same.
fn content_bytes(joined: &Joined) -> u64 {
    let size = |seen: Option<&Seen>| match seen {
        Some(Seen::Present(stat)) => stat.fingerprint.size.min(SMALL),
        _ => 0,
    };
    size(joined.source.as_ref()).max(size(joined.replica.as_ref()))
}
