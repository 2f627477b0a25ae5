//! Files that hold what they should and only need other permissions or times: mended through the very handle that they
//! were compared by, while the join goes on.

use super::execute::Site;
use super::pairs::Pair;
use crate::model::operation::End;
use crate::model::record::is_racy;
use crate::model::{Change, Difference, Digest, Done, EntryPath, Loss, Record, Seen, Stat, Timestamp, Verb};
use crate::plan::decide::{Decision, Knowledge, Rules, decide};
use crate::plan::join::Joined;
use crate::plan::shared;
use crate::store::{Store, mend_open};
use std::time::{Duration, Instant};

/// Where files may be mended as they are compared, and what holds there. A dry run has none.
pub struct Mender<'s, S: Store, R: Store> {
    /// The place, whose roots were looked at once more.
    pub site: &'s Site<'s, S, R>,
    /// What holds for the run.
    pub rules: &'s Rules,
}

impl<S: Store, R: Store> Clone for Mender<'_, S, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Store, R: Store> Copy for Mender<'_, S, R> {}

/// A file that was mended.
#[derive(Clone, Debug)]
pub struct Mended {
    source: Stat,
    /// As it is now.
    replica: Stat,
    racy: bool,
    losses: Vec<Loss>,
    /// Its digest and when that was computed, once they are known.
    content: Option<(Digest, Timestamp)>,
    took: Duration,
}

/// What comes of a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What is known now.
    Known(Knowledge),
    /// All that was to be done is done.
    Mended(Mended),
}

impl Answer {
    /// What is known, if nothing was done.
    pub fn known(self) -> Option<Knowledge> {
        match self {
            Answer::Known(knowledge) => Some(knowledge),
            Answer::Mended(_) => None,
        }
    }
}

/// Gives what was done its share of the time that `count` answers took from `started` on.
pub fn share_time<'a>(answers: impl Iterator<Item = &'a mut Answer>, started: Instant, count: usize) {
    let share = started.elapsed() / u32::try_from(count).unwrap_or(u32::MAX).max(1);
    for answer in answers {
        if let Answer::Mended(mended) = answer {
            mended.took = share;
        }
    }
}

impl<S: Store, R: Store> Mender<'_, S, R> {
    /// Mends the replica's file of a pair that holds the same on both sides, where this is all that the plan would do.
    ///
    /// No gate keeps that back, nothing is lost by it, and whoever dies here has the next run compare the two again.
    /// Names of one inode are left to the plan, and so is what needs an owner or attributes, or is not what was scanned
    /// (something may be mounted on its name by now). What fails is, too: the plan's own attempt tells why.
    ///
    /// RACE: the file may have lost its name to another one since it was opened. Worst outcome: a file that the replica
    /// does not have any more is mended, and the row says so of an inode that the next run does not find there.
    pub fn mend(&self, joined: &Joined, pair: &Pair, attributes: Difference) -> Option<Mended> {
        let Pair { source, replica, began, .. } = *pair;
        let same = Knowledge::Same { source, replica, digest: None, attributes, began };
        let Decision::Operate(operation) = decide(joined, Some(&same), self.rules) else { return None };
        let rights = &self.rules.rights;
        let is_little = operation.verb == Verb::Metadata
            && !operation.attributes
            && shared::operated(&operation, joined, rights).is_none();
        let as_scanned =
            matches!(&joined.replica, Some(Seen::Present(scanned)) if scanned.is_same_object(&replica));
        if !is_little || !as_scanned || self.site.cancel.requested() {
            return None;
        }
        let desired = rights.desired(&source);
        let (replica, applied) = mend_open(&pair.replica_file, &replica, &desired).ok()?;
        let losses = self.site.losses(&source, &desired, &replica, applied);
        let racy = is_racy(source.fingerprint.ctime, began, self.site.tick_nanos, None);
        Some(Mended { source, replica, racy, losses, content: None, took: Duration::ZERO })
    }
}

impl Mended {
    /// The same now that its content is known, and when that was computed.
    #[must_use]
    pub fn with_content(self, content: Option<(Digest, Timestamp)>) -> Self {
        Self { content, ..self }
    }

    /// What was done, to the file `path`.
    pub fn done(self, path: EntryPath) -> Done {
        let Self { source, replica, racy, losses, content, took } = self;
        let row = Record::new(path.clone(), &source, &replica, content, racy);
        Done {
            path,
            verb: Verb::Metadata,
            from: None,
            end: End::Made(Some(Change::Put(row))),
            bytes: 0,
            digest: content.map(|(digest, _)| digest),
            took,
            losses,
            silent: false,
        }
    }
}
