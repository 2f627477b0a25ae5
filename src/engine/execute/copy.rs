//! Copying one file: read once, a small one into memory and from there, a large one chunk by chunk.
//!
//! A file that was written to meanwhile is read again. What is read then may be a clone, or is taken where a second
//! reading of its first bytes shows the same: a file that only grows is copied as it was when it was opened.

use super::changing::{is_taken, match_clone, refusal};
use super::prepared::Content;
use super::stage::{Reading, Stager, Way, unread};
use super::staged_file::StagedFile;
use crate::clock;
use crate::config::file::Durability;
use crate::engine::content::{Arena, SMALL, TRIES, restat};
use crate::engine::holes::{hash_again, hash_clone, is_sparse, pass_on};
use crate::engine::identity::open_scanned;
use crate::model::operation::End;
use crate::model::{Operation, Stat, Timestamp};
use crate::plan::consistency::{Consistency, Verdict, judge};
use crate::store::{Applied, During, Fault, Folder, Store, attributes_of};
use crate::transfer::Interruption;
use crate::transfer::sparse::Holes;
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::atomic::Ordering;

/// How often a large file that is written to is copied, each time with a second reading.
const LARGE_TRIES: u32 = 2;

/// A source file that was opened to be copied.
struct Origin {
    file: File,
    /// Its figures when it was opened; the size is that of the clone, if there is one.
    source: Stat,
    began: Timestamp,
    sparse: bool,
    /// The staged file is a clone of it.
    cloned: bool,
    /// Another clone of it, to be read in its place.
    aside: Option<File>,
    /// How the clone relates to the file.
    clone: Option<Consistency>,
}

/// A reading and what it is worth. `reading` is `None` where nothing of it can be published.
struct Attempted {
    reading: Option<Reading>,
    verdict: Verdict,
    /// The size when it was opened, and the number of bytes that were there.
    bytes: (u64, u64),
}

impl<S: Store, R: Store> Stager<'_, S, R> {
    pub(super) fn stage_file(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        arena: &mut Arena,
    ) -> Result<(Reading, Applied), End> {
        let mut target = StagedFile::of(way);
        let (mut tries, mut changes) = (0, self.changes);
        loop {
            tries += 1;
            let origin = self.open_origin(operation, way, &mut target, changes)?;
            let Attempted { reading, verdict, bytes } =
                self.read_once(operation, &origin, &mut target, arena, tries)?;
            let is_last = tries >= if bytes.0 > SMALL { LARGE_TRIES } else { TRIES };
            let policy = self.site.publish_mixed;
            let taken = is_taken(operation);
            match reading {
                Some(reading)
                    if reading.consistency != Consistency::Mixed || is_last && policy.allows(taken) =>
                {
                    let applied = self.complete(operation, way, &mut target, arena, &reading)?;
                    return Ok((reading, applied));
                }
                _ if is_last => return Err(End::Failed(refusal(operation, verdict, bytes, policy))),
                _ => changes |= verdict != Verdict::WrongSize,
            }
        }
    }

    /// Writes what is only in memory to the staged file, and gives it all else that it is to have.
    fn complete(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        target: &mut StagedFile<R::Folder>,
        arena: &Arena,
        reading: &Reading,
    ) -> Result<Applied, End> {
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let file = match &reading.content {
            Content::InArena(range) if !reading.cloned => {
                let mut file = target.emptied().map_err(failed)?;
                file.write_all(arena.get(range)).during("write").map_err(failed)?;
                file
            }
            Content::InArena(_) | Content::Passed(_) | Content::None | Content::Linked(_) => {
                target.present().map_err(failed)?
            }
        };
        self.finish_file(operation, &*way.theirs, file, reading)
    }

    /// Gives a staged file, whose content is there, all else that it is to have.
    pub(super) fn finish_file(
        &self,
        operation: &Operation,
        theirs: &R::Folder,
        file: &File,
        reading: &Reading,
    ) -> Result<Applied, End> {
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let desired = self.desired(operation, &reading.source);
        let kept = self.site.rights.preserve;
        if reading.attributes.has_other_capability() && kept.owner && kept.xattrs {
            self.site.owner_lost.store(true, Ordering::Relaxed);
        }
        let applied = theirs.finish_file(file, &desired, &reading.attributes).map_err(failed)?;
        if self.site.durability == Durability::File {
            file.sync_all().during("make durable (fsync)").map_err(failed)?;
        }
        Ok(applied)
    }

    /// Opens the source file, and clones it where that makes the copy, or where it `changes` while it is read.
    fn open_origin(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        target: &mut StagedFile<R::Folder>,
        changes: bool,
    ) -> Result<Origin, End> {
        let began = clock::now();
        let unread = |fault: Fault| unread(operation, &fault);
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let scanned = operation.source.as_ref().ok_or(End::Vanished)?;
        let (file, mut source) = open_scanned(&*way.ours, operation.path.name(), scanned).map_err(unread)?;
        let mut sparse = is_sparse(&file, &source);
        let devices = (source.device, way.device);
        let may_clone = (self.site.rights.preserve.sparse || !sparse)
            && source.fingerprint.size > 0
            && self.site.clones.may_try(devices);
        let cloned =
            may_clone && self.site.clones.try_clone(&file, target.emptied().map_err(failed)?, devices);
        let aside =
            (changes && !cloned).then(|| self.site.clone_aside(&way.ours, &file, source.device)).flatten();
        let taken = if cloned { Some(target.present().map_err(failed)?) } else { aside.as_ref() };
        let mut clone = None;
        if let Some(taken) = taken {
            let found = match_clone(&file, taken, &mut source).during("read").map_err(unread)?;
            if found == Consistency::Snapshot {
                sparse = is_sparse(taken, &source);
            }
            clone = Some(found);
        }
        Ok(Origin { file, source, began, sparse, cloned, aside, clone })
    }

    /// Reads the source file once: a small one into the arena, a large one straight into the staged file. The last of
    /// the `tries`, and each one of a large file, is proven by a second reading where it changed meanwhile.
    fn read_once(
        &self,
        operation: &Operation,
        origin: &Origin,
        target: &mut StagedFile<R::Folder>,
        arena: &mut Arena,
        tries: u32,
    ) -> Result<Attempted, End> {
        let Origin { file, source, began, sparse, cloned, clone, .. } = origin;
        let unread = |fault: Fault| unread(operation, &fault);
        let size = source.fingerprint.size;
        let whole = size <= SMALL && !sparse;
        let (content, read) = if whole {
            self.read_whole(operation, origin, target, arena)?
        } else {
            self.pass(operation, origin, target)?
        };
        let found = attributes_of(file, self.site.rights.scope()).map_err(unread)?;
        let attributes = self.site.rights.desired_attributes(source, found);
        let mut verdict = match clone {
            Some(_) if read == size => Verdict::Exact,
            Some(_) => Verdict::WrongSize,
            None => judge(source, &restat(file).during("read").map_err(unread)?, read),
        };
        let mut consistency = clone.unwrap_or(Consistency::Exact);
        let is_proven = verdict == Verdict::Unproven
            && (tries >= TRIES || !whole)
            && self.reads_same(operation, origin, &content, arena)?;
        if is_proven {
            (verdict, consistency) = (Verdict::Exact, Consistency::Snapshot);
        }
        let mut source = *source;
        match verdict {
            Verdict::Exact | Verdict::WrongSize => {}
            Verdict::Unproven => consistency = Consistency::Mixed,
            Verdict::Short => {
                consistency = Consistency::Mixed;
                source.fingerprint.size = read.min(size);
            }
        }
        // Of a file with holes that became shorter it is not known which of them are there.
        let is_usable = verdict != Verdict::WrongSize && !(verdict == Verdict::Short && *sparse);
        let reading = Reading { content, source, attributes, began: *began, consistency, cloned: *cloned };
        Ok(Attempted { reading: is_usable.then_some(reading), verdict, bytes: (size, read) })
    }

    /// Reads a small file into the arena. Returns also the number of bytes that were there.
    fn read_whole(
        &self,
        operation: &Operation,
        origin: &Origin,
        target: &mut StagedFile<R::Folder>,
        arena: &mut Arena,
    ) -> Result<(Content, u64), End> {
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let size = origin.source.fingerprint.size;
        let (range, read) = if origin.cloned {
            arena.read_first(target.present().map_err(failed)?, size).during("write").map_err(failed)?
        } else {
            let from = origin.aside.as_ref().unwrap_or(&origin.file);
            let read = arena.read_first(from, size).during("read");
            read.map_err(|fault| unread(operation, &fault))?
        };
        Ok((Content::InArena(range), read))
    }

    /// Reads a large file into the staged one. Returns also the number of bytes that were there.
    fn pass(
        &self,
        operation: &Operation,
        origin: &Origin,
        target: &mut StagedFile<R::Folder>,
    ) -> Result<(Content, u64), End> {
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let (size, chunk, cancel) = (origin.source.fingerprint.size, self.site.chunk_bytes, self.site.cancel);
        let passed = if origin.cloned {
            hash_clone(target.present().map_err(failed)?, size, chunk, cancel)
        } else {
            let from = origin.aside.as_ref().unwrap_or(&origin.file);
            let sink = target.emptied().map_err(failed)?;
            let holes = origin.sparse.then(|| Holes::kept_if(self.site.rights.preserve.sparse));
            pass_on((from, sink), size, holes, chunk, cancel)
        };
        match passed {
            Ok((read, passed)) => Ok((Content::Passed(passed), read)),
            Err(Interruption::Source(error)) => Err(unread(operation, &Fault { action: "read", error })),
            Err(Interruption::Replica(error)) => Err(failed(Fault { action: "write", error })),
            Err(Interruption::Cancelled) => Err(End::Skipped),
        }
    }

    /// Reads what was read once more, from the same open file. If it is the same, the file held just this at the moment
    /// between the two readings, unless something was changed and changed back.
    fn reads_same(
        &self,
        operation: &Operation,
        origin: &Origin,
        content: &Content,
        arena: &mut Arena,
    ) -> Result<bool, End> {
        let unread_io = |error| unread(operation, &Fault { action: "read", error });
        let size = origin.source.fingerprint.size;
        match content {
            Content::InArena(range) => {
                (&origin.file).rewind().map_err(unread_io)?;
                let (again, _) = arena.read_first(&origin.file, size).map_err(unread_io)?;
                let same = arena.get(range) == arena.get(&again);
                arena.release(&again);
                Ok(same)
            }
            Content::Passed(passed) => {
                match hash_again(&origin.file, size, self.site.chunk_bytes, self.site.cancel) {
                    Ok(again) => Ok(again == Some(*passed)),
                    Err(Interruption::Source(error) | Interruption::Replica(error)) => Err(unread_io(error)),
                    Err(Interruption::Cancelled) => Err(End::Skipped),
                }
            }
            Content::None | Content::Linked(_) => Ok(false),
        }
    }
}
