//! Reads the contents of a batch: the small ones into memory, to be hashed side by side.

use super::stream;
use crate::cancel::Cancel;
use crate::clock;
use crate::engine::content::{Arena, NearFolder, SMALL, read_link, restat};
use crate::engine::identity::open_scanned;
use crate::engine::listed::{Opened, look_at_listed};
use crate::hash::digest_many;
use crate::model::{EntryPath, Fingerprint, Kind, Problem, Seen, Side, Stat, Timestamp};
use crate::plan::consistency::is_unchanged;
use crate::plan::join::Joined;
use crate::plan::verdict::{Content, Contents, Sides, wanted};
use crate::store::{During, Fault, Folder, Store};
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all workers of a rebuild share.
pub(super) struct Reading<'e, S: Store, R: Store> {
    /// The tree that is mirrored.
    pub source: &'e S,
    /// The mirror.
    pub replica: &'e R,
    /// Which contents are read.
    pub sides: Sides,
    /// Bytes read at a time.
    pub chunk_bytes: usize,
    /// Large files that one worker reads side by side.
    pub abreast: usize,
    /// A request to stop; what is read after it is not to be used.
    pub cancel: &'e Cancel,
    /// Bytes read so far, by all workers.
    pub bytes: &'e AtomicU64,
}

/// Whether the content of this entry is too large to be read as a whole; of what is only listed, by what its row says.
pub(super) fn is_large(joined: &Joined) -> bool {
    let large = |seen: &Option<Seen>, row: Option<&Fingerprint>| match seen {
        Some(Seen::Present(stat)) => stat.kind() == Kind::File && stat.fingerprint.size > SMALL,
        Some(Seen::Listed) => row.is_some_and(|row| row.kind == Kind::File && row.size > SMALL),
        _ => false,
    };
    let row = joined.row.as_ref();
    large(&joined.source, row.map(|row| &row.source)) || large(&joined.replica, row.map(|row| &row.replica))
}

/// The message for a file that never stood still.
pub(super) fn restless(path: &EntryPath, side: Side) -> Problem {
    let cause = "it kept changing while it was read; run this again when it stands still".to_owned();
    Problem { path: path.clone(), side, action: "read", cause }
}

/// A step that failed: the entry is gone, or it has a problem.
pub(super) fn failed(path: &EntryPath, side: Side, fault: &Fault) -> Content {
    if fault.is_absence() {
        return Content::Vanished;
    }
    let problem = Problem { path: path.clone(), side, action: fault.action, cause: fault.error.to_string() };
    if fault.is_broken_content() { Content::Broken(problem) } else { Content::Failed(problem) }
}

/// A small content, perhaps still to be hashed with the others.
enum Held {
    Known(Content),
    InMemory(InMemory),
    /// It is not as the walk saw it, or has outgrown the memory meant for it since.
    Changed,
}

/// A content that was read whole.
struct InMemory {
    range: Range<usize>,
    stat: Stat,
    began: Timestamp,
    /// Kept open to be asked whether it stood still; a link's text cannot change.
    file: Option<File>,
}

impl InMemory {
    fn stood_still(&self) -> bool {
        let still = |file| restat(file).is_ok_and(|now| is_unchanged(&self.stat, &now));
        self.file.as_ref().is_none_or(still)
    }
}

/// A content in memory, and whose it is.
struct Pending {
    index: usize,
    side: Side,
    /// The other side holds the same.
    shared: Option<(Stat, Timestamp)>,
    range: Range<usize>,
    stat: Stat,
    began: Timestamp,
}

impl<S: Store, R: Store> Reading<'_, S, R> {
    /// What the entries of a batch hold, in their order; what is only listed is looked at as well. `None`: it turned
    /// out to be large.
    pub(super) fn read(&self, batch: &mut [Joined]) -> Vec<Option<Contents>> {
        if batch.iter().any(is_large) {
            let (mut ours, mut theirs) = (NearFolder::new(self.source), NearFolder::new(self.replica));
            for joined in batch.iter_mut() {
                look_at_listed(&mut ours, &joined.path, &mut joined.source, None);
                look_at_listed(&mut theirs, &joined.path, &mut joined.replica, None);
            }
            return stream::read(self, batch).into_iter().map(Some).collect();
        }
        Arena::with(self.chunk_bytes, |arena| self.read_small(batch, arena))
    }

    fn read_small(&self, batch: &mut [Joined], arena: &mut Arena) -> Vec<Option<Contents>> {
        let (mut ours, mut theirs) = (NearFolder::new(self.source), NearFolder::new(self.replica));
        let mut contents: Vec<Option<Contents>> = Vec::with_capacity(batch.len());
        let mut pending: Vec<Pending> = Vec::with_capacity(batch.len());
        for index in 0..batch.len() {
            let joined = &mut batch[index];
            contents.push(Some(Contents::UNREAD));
            if self.cancel.requested() {
                continue;
            }
            // Opened at once where both sides, or the row and one of them, can be compared.
            let open = (joined.source == Some(Seen::Listed) && joined.replica == Some(Seen::Listed))
                || joined.row.as_ref().is_some_and(|row| row.digest.is_some());
            let open = open.then(clock::now);
            let source_opened = look_at_listed(&mut ours, &joined.path, &mut joined.source, open);
            let replica_opened = look_at_listed(&mut theirs, &joined.path, &mut joined.replica, open);
            if is_large(joined) {
                contents[index] = None;
                continue;
            }
            let (source, replica) = wanted(joined, self.sides);
            let nothing = || Held::Known(Content::Unread);
            let source = if source {
                hold(&mut ours, joined, (Side::Source, source_opened), arena)
            } else {
                nothing()
            };
            let replica = if replica {
                hold(&mut theirs, joined, (Side::Replica, replica_opened), arena)
            } else {
                nothing()
            };
            let mut found = Contents::UNREAD;
            if !self.settle(source, replica, index, &mut found, &mut pending, arena) {
                found = stream::read_one(self, joined);
            }
            contents[index] = Some(found);
            if arena.holds_enough() {
                self.hash(&pending, batch, arena, &mut contents);
                pending.clear();
                arena.clear();
            }
        }
        self.hash(&pending, batch, arena, &mut contents);
        contents
    }

    /// Hashes what is in memory, side by side.
    fn hash(&self, pending: &[Pending], batch: &[Joined], arena: &Arena, contents: &mut [Option<Contents>]) {
        let inputs: Vec<&[u8]> = pending.iter().map(|pending| arena.get(&pending.range)).collect();
        for (pending, digest) in pending.iter().zip(digest_many(&inputs)) {
            let Some(contents) = &mut contents[pending.index] else { continue };
            let read = |stat, began| Content::Read { stat, digest, began };
            match pending.side {
                Side::Source => contents.source = read(pending.stat, pending.began),
                Side::Replica => contents.replica = read(pending.stat, pending.began),
            }
            let Some((stat, began)) = pending.shared else { continue };
            contents.replica = read(stat, began);
            contents.same = true;
            // Both sides hold what the row does not know: nobody looked whether they stood still.
            let joined = &batch[pending.index];
            let known = joined.row.as_ref().and_then(|row| row.digest);
            if known.is_some_and(|known| known != digest) {
                *contents = stream::read_one(self, joined);
            }
        }
    }

    /// Sorts out what was read of one entry. Comparing bytes in memory is many times faster than
    /// hashing them, and proves more: what is the same is hashed once for both sides, and whatever
    /// changed under the reading did not show in it. `false`: it is to be read with more care.
    fn settle(
        &self,
        source: Held,
        replica: Held,
        index: usize,
        contents: &mut Contents,
        pending: &mut Vec<Pending>,
        arena: &mut Arena,
    ) -> bool {
        let sort = |held, content: &mut Content| match held {
            Held::Known(known) => {
                *content = known;
                Some(None)
            }
            Held::InMemory(held) => Some(Some(held)),
            Held::Changed => None,
        };
        let (Some(ours), Some(theirs)) =
            (sort(source, &mut contents.source), sort(replica, &mut contents.replica))
        else {
            return false;
        };
        let mut shared = None;
        match (&ours, &theirs) {
            (Some(ours), Some(theirs)) if arena.get(&ours.range) == arena.get(&theirs.range) => {
                arena.release(&theirs.range);
                shared = Some((theirs.stat, theirs.began));
            }
            _ if ![&ours, &theirs].into_iter().flatten().all(InMemory::stood_still) => return false,
            _ => {}
        }
        let size = |held: &Option<InMemory>| held.as_ref().map_or(0, |held| held.stat.fingerprint.size);
        self.bytes.fetch_add(size(&ours) + size(&theirs), Ordering::Relaxed);
        if let Some(InMemory { range, stat, began, .. }) = theirs.filter(|_| shared.is_none()) {
            pending.push(Pending { index, side: Side::Replica, shared: None, range, stat, began });
        }
        if let Some(InMemory { range, stat, began, .. }) = ours {
            pending.push(Pending { index, side: Side::Source, shared, range, stat, began });
        }
        true
    }
}

/// Reads a file, which may be open already, or a link's text into the arena.
fn hold<T: Store>(
    near: &mut NearFolder<'_, T>,
    joined: &Joined,
    (side, opened): (Side, Option<Opened>),
    arena: &mut Arena,
) -> Held {
    let path = &joined.path;
    let attempt = || -> Result<Held, Fault> {
        if let Some(Opened { file, stat, began }) = opened {
            return read_into(arena, file, stat, began);
        }
        let folder = near.of(path)?;
        let began = clock::now();
        if kind(joined, side) == Some(Kind::Symlink) {
            let (stat, target) = read_link(&*folder, path.name())?;
            return Ok(Held::InMemory(InMemory { range: arena.put(&target), stat, began, file: None }));
        }
        let (file, stat) = open(&*folder, joined, side)?;
        if stat.fingerprint.size > SMALL {
            return Ok(Held::Changed);
        }
        read_into(arena, file, stat, began)
    };
    attempt().unwrap_or_else(|fault| Held::Known(failed(path, side, &fault)))
}

fn read_into(arena: &mut Arena, file: File, stat: Stat, began: Timestamp) -> Result<Held, Fault> {
    let range = arena.read(&file, stat.fingerprint.size).during("read")?;
    let held = |range| Held::InMemory(InMemory { range, stat, began, file: Some(file) });
    Ok(range.map_or(Held::Changed, held))
}

/// Opens the file that the walk of `side` saw there.
pub(super) fn open<F: Folder>(folder: &F, joined: &Joined, side: Side) -> Result<(File, Stat), Fault> {
    match present(joined, side) {
        Some(scanned) => open_scanned(folder, joined.path.name(), scanned),
        None => folder.open_file(joined.path.name()),
    }
}

/// What the walk of `side` saw there.
pub(super) fn kind(joined: &Joined, side: Side) -> Option<Kind> {
    present(joined, side).map(Stat::kind)
}

fn present(joined: &Joined, side: Side) -> Option<&Stat> {
    let seen = match side {
        Side::Source => &joined.source,
        Side::Replica => &joined.replica,
    };
    match seen {
        Some(Seen::Present(stat)) => Some(stat),
        _ => None,
    }
}
