//! Files that a walk only listed: looked at and opened in one go by whoever reads them.

use super::content::{Arena, Bench, Comparison, Finding, SMALL};
use super::mended::{Answer, Mender, share_time};
use super::near::NearFolder;
use super::pairs::Pair;
use super::pending::{Pending, hash};
use crate::clock;
use crate::model::{EntryPath, Record, Seen, Stat, Timestamp};
use crate::plan::decide::{Decision, Rules, decide};
use crate::plan::join::Joined;
use crate::plan::links::{Object, object};
use crate::store::{Folder, Store};
use rustix::io::Errno;
use std::fs::File;
use std::time::Instant;

/// A file that was opened when it was looked at.
pub struct Opened {
    /// Open for reading.
    pub file: File,
    /// The figures of the handle.
    pub stat: Stat,
    /// Before it was opened.
    pub began: Timestamp,
}

/// Looks at what the walk only listed (nothing is done where it saw more), and opens it where a moment is given that it
/// may be said to be read from.
pub fn look_at_listed<S: Store>(
    near: &mut NearFolder<'_, S>,
    path: &EntryPath,
    seen: &mut Option<Seen>,
    open: Option<Timestamp>,
) -> Option<Opened> {
    if *seen != Some(Seen::Listed) {
        return None;
    }
    let (found, file) = match near.of(path) {
        Ok(folder) => folder.look(path.name(), open.is_some()),
        // Its folder is gone, or has another name: what is so there now, the next run sees.
        Err(fault)
            if fault.is_absence() || fault.error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) =>
        {
            (Some(Seen::Vanished), None)
        }
        Err(fault) => (Some(Seen::Unreadable(fault.error.to_string())), None),
    };
    *seen = found;
    match (file.zip(open), seen.as_ref()) {
        (Some((file, began)), Some(Seen::Present(stat))) => Some(Opened { file, stat: *stat, began }),
        _ => None,
    }
}

/// Paths that are looked at now.
#[derive(Debug)]
pub struct Looked {
    /// In path order.
    pub paths: Vec<Joined>,
    /// Of each what is known of its contents, or was done, if that came of the same go.
    pub answers: Vec<Option<Answer>>,
}

impl IntoIterator for Looked {
    type Item = (Joined, Option<Answer>);
    type IntoIter = std::iter::Zip<std::vec::IntoIter<Joined>, std::vec::IntoIter<Option<Answer>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.paths.into_iter().zip(self.answers)
    }
}

/// What holds for a batch that is looked at.
pub struct Looking<'l, S: Store, R: Store> {
    /// What holds for the run.
    pub rules: &'l Rules,
    /// Inodes of the source from here on that have names are not read: another look decides about these.
    pub until: Option<Object>,
    /// Mends files of the replica that the last run left there. `None`: nothing is mended.
    pub mender: Option<Mender<'l, S, R>>,
    /// Contents are compared, too.
    pub reads: bool,
}

impl<S: Store, R: Store> Comparison<'_, S, R> {
    /// Looks at what the walks only listed of these paths. Where the planner would ask about small files that both
    /// sides have, it is answered as well, and what needs little is done: they are open.
    pub fn look_at(&self, mut batch: Vec<Joined>, looking: &Looking<'_, S, R>) -> Looked {
        let started = Instant::now();
        let mut answers = Arena::with(self.chunk_bytes, |arena| {
            let mut near = (NearFolder::new(self.source), NearFolder::new(self.replica));
            let mut answers: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
            let mut pending: Vec<(usize, Pending)> = Vec::new();
            for (index, joined) in batch.iter_mut().enumerate() {
                if self.cancel.requested() {
                    break;
                }
                match self.look_into(joined, &mut near, looking, arena) {
                    Some(Finding::Pending(found)) => pending.push((index, found)),
                    Some(Finding::Known(knowledge)) => answers[index] = Some(Answer::Known(knowledge)),
                    Some(Finding::Pair(_)) | None => {}
                }
                if arena.holds_enough() {
                    let full = std::mem::take(&mut pending);
                    hash(full, arena, |index, answer| answers[index] = Some(answer));
                    arena.clear();
                }
            }
            hash(pending, arena, |index, answer| answers[index] = Some(answer));
            answers
        });
        share_time(answers.iter_mut().flatten(), started, batch.len());
        Looked { paths: batch, answers }
    }

    /// `None`: there is nothing to be asked, or it is to be asked like anything else.
    fn look_into(
        &self,
        joined: &mut Joined,
        (ours, theirs): &mut (NearFolder<'_, S>, NearFolder<'_, R>),
        looking: &Looking<'_, S, R>,
        arena: &mut Arena,
    ) -> Option<Finding> {
        let both = joined.source == Some(Seen::Listed) && joined.replica == Some(Seen::Listed);
        let open = (both && looking.reads).then(clock::now);
        let ours = look_at_listed(ours, &joined.path, &mut joined.source, open);
        let theirs = look_at_listed(theirs, &joined.path, &mut joined.replica, open);
        let (ours, theirs) = (ours?, theirs?);
        let (size, other) = (ours.stat.fingerprint.size, theirs.stat.fingerprint.size);
        let is_later = looking.until.is_some_and(|until| ours.stat.links > 1 && object(&ours.stat) >= until);
        if is_later || size != other || size > SMALL || decide(joined, None, looking.rules) != Decision::Ask {
            return None;
        }
        // The planner has not seen it yet: only of what the last run left there it is sure to want no more than that.
        let mender = looking.mender.filter(|_| is_as_left(joined, &ours.stat, &theirs.stat));
        let pair = Pair {
            source_file: ours.file,
            replica_file: theirs.file,
            source: ours.stat,
            replica: theirs.stat,
            began: ours.began,
        };
        // A source that does not stand still is asked about again.
        let mut bench = Bench { arena, mender };
        self.compare_pair(joined, pair, Some(&mut bench)).unwrap_or_else(|known| Some(Finding::Known(known)))
    }
}

/// Whether the source has the file that it had, whatever became of it, and the replica what was made of that, each under
/// this name only.
fn is_as_left(joined: &Joined, source: &Stat, replica: &Stat) -> bool {
    let is = |row: &Record| {
        row.source.inode == source.fingerprint.inode && row.replica.inode == replica.fingerprint.inode
    };
    source.links == 1 && replica.links == 1 && joined.row.as_ref().is_some_and(is)
}
