//! Files that a walk only listed: looked at and opened in one go by whoever reads them.

use super::content::{Arena, Bench, Comparison, Finding, Pending, SMALL, hash};
use super::near::NearFolder;
use super::pairs::Pair;
use crate::clock;
use crate::model::{EntryPath, Seen, Stat, Timestamp};
use crate::plan::decide::{Decision, Knowledge, Rules, decide};
use crate::plan::join::Joined;
use crate::plan::links::{Object, object};
use crate::store::{Folder, Store};
use rustix::io::Errno;
use std::fs::File;

/// A file that was opened when it was looked at.
pub struct Opened {
    /// Open for reading.
    pub file: File,
    /// The figures of the handle.
    pub stat: Stat,
    /// Before it was opened.
    pub began: Timestamp,
}

/// Looks at what the walk only listed (nothing is done where it saw more), and opens it with `open`.
pub fn look_at_listed<S: Store>(
    near: &mut NearFolder<'_, S>,
    path: &EntryPath,
    seen: &mut Option<Seen>,
    open: bool,
) -> Option<Opened> {
    if *seen != Some(Seen::Listed) {
        return None;
    }
    let began = clock::now();
    let (found, file) = match near.of(path) {
        Ok(folder) => folder.look(path.name(), open),
        // Its folder is gone, or has another name: what is so there now, the next run sees.
        Err(fault)
            if fault.is_absence() || fault.error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) =>
        {
            (Some(Seen::Vanished), None)
        }
        Err(fault) => (Some(Seen::Unreadable(fault.error.to_string())), None),
    };
    *seen = found;
    match (file, seen.as_ref()) {
        (Some(file), Some(Seen::Present(stat))) => Some(Opened { file, stat: *stat, began }),
        _ => None,
    }
}

/// A path that is looked at now, and what is known of its contents if that was found out in the same go.
pub type Looked = (Joined, Option<Knowledge>);

impl<S: Store, R: Store> Comparison<'_, S, R> {
    /// Looks at what the walks only listed of these paths. Where the planner would ask about small files that both
    /// sides have, it is answered as well: they are open. Not of inodes of the source from `until` on that have names:
    /// another look decides about these.
    pub fn look_at(&self, mut batch: Vec<Joined>, rules: &Rules, until: Option<Object>) -> Vec<Looked> {
        let known = Arena::with(self.chunk_bytes, |arena| {
            let mut near = (NearFolder::new(self.source), NearFolder::new(self.replica));
            let mut known: Vec<Option<Knowledge>> = batch.iter().map(|_| None).collect();
            let mut pending: Vec<(usize, Pending)> = Vec::new();
            for (index, joined) in batch.iter_mut().enumerate() {
                if self.cancel.requested() {
                    break;
                }
                match self.look_into(joined, &mut near, (rules, until), arena) {
                    Some(Finding::Pending(found)) => pending.push((index, found)),
                    Some(Finding::Known(knowledge)) => known[index] = Some(knowledge),
                    Some(Finding::Pair(_)) | None => {}
                }
                if arena.holds_enough() {
                    let full = std::mem::take(&mut pending);
                    hash(full, arena, |index, answer| known[index] = answer.known());
                    arena.clear();
                }
            }
            hash(pending, arena, |index, answer| known[index] = answer.known());
            known
        });
        batch.into_iter().zip(known).collect()
    }

    /// `None`: there is nothing to be asked, or it is to be asked like anything else.
    fn look_into(
        &self,
        joined: &mut Joined,
        (ours, theirs): &mut (NearFolder<'_, S>, NearFolder<'_, R>),
        (rules, until): (&Rules, Option<Object>),
        arena: &mut Arena,
    ) -> Option<Finding> {
        let both = joined.source == Some(Seen::Listed) && joined.replica == Some(Seen::Listed);
        let ours = look_at_listed(ours, &joined.path, &mut joined.source, both);
        let theirs = look_at_listed(theirs, &joined.path, &mut joined.replica, both);
        let (ours, theirs) = (ours?, theirs?);
        let (size, other) = (ours.stat.fingerprint.size, theirs.stat.fingerprint.size);
        let is_later = until.is_some_and(|until| ours.stat.links > 1 && object(&ours.stat) >= until);
        if is_later || size != other || size > SMALL || decide(joined, None, rules) != Decision::Ask {
            return None;
        }
        let pair = Pair {
            source_file: ours.file,
            replica_file: theirs.file,
            source: ours.stat,
            replica: theirs.stat,
            began: ours.began,
        };
        // A source that does not stand still is asked about again.
        // Whether this is to be mended is for the planner to say, which has not seen it yet.
        let mut bench = Bench { arena, mender: None };
        self.compare_pair(joined, pair, Some(&mut bench)).unwrap_or_else(|known| Some(Finding::Known(known)))
    }
}
