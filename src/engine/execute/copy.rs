//! Copying one file: read once, a small one into memory and from there, a large one chunk by chunk.

use super::prepared::Content;
use super::stage::{Reading, Stager, Way, unread};
use super::staged_file::StagedFile;
use crate::clock;
use crate::config::file::Durability;
use crate::engine::content::{Arena, SMALL, TRIES, digest_of, restat, stood_still};
use crate::engine::holes::{hash_clone, is_sparse, pass_on};
use crate::engine::identity::open_scanned;
use crate::model::operation::End;
use crate::model::{Digest, Operation, Problem};
use crate::store::{Applied, During, Fault, Folder, Store, attributes_of};
use crate::transfer::Interruption;
use crate::transfer::sparse::Holes;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;

impl<S: Store, R: Store> Stager<'_, S, R> {
    pub(super) fn stage_file(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        arena: &mut Arena,
    ) -> Result<(Reading, Applied), End> {
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let mut target = StagedFile::of(way);
        let mut before: Option<(u64, Digest)> = None;
        for _ in 0..TRIES {
            let Some(reading) = self.read_once(operation, way, &mut target, arena)? else { continue };
            if !reading.still {
                // What never stands still is taken when two readings of one length agree.
                let digest = match &reading.content {
                    Content::InArena(range) => digest_of(arena.get(range)),
                    Content::Passed(passed) => passed.mark(),
                    Content::None | Content::Linked(_) => return Err(End::Skipped),
                };
                let now = Some((reading.source.fingerprint.size, digest));
                if std::mem::replace(&mut before, now) != now {
                    continue;
                }
            }
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
            let applied = self.finish_file(operation, &*way.theirs, file, &reading)?;
            return Ok((reading, applied));
        }
        let cause =
            "it kept changing while it was read; the replica keeps what it had, and the next run tries again";
        Err(End::Failed(Problem::source(&operation.path, "copy", cause)))
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
        self.site.note_applied(&operation.path, applied);
        if self.site.durability == Durability::File {
            file.sync_all().during("make durable (fsync)").map_err(failed)?;
        }
        Ok(applied)
    }

    /// Reads the source file once: a small one into the arena, a large one straight into the staged
    /// file. `None`: its length changed meanwhile.
    fn read_once(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        target: &mut StagedFile<R::Folder>,
        arena: &mut Arena,
    ) -> Result<Option<Reading>, End> {
        let began = clock::now();
        let unread = |fault: Fault| unread(operation, &fault);
        let unread_io = |error| unread(Fault { action: "read", error });
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let scanned = operation.source.as_ref().ok_or(End::Vanished)?;
        let (file, source) = open_scanned(&*way.ours, operation.path.name(), scanned).map_err(unread)?;
        let size = source.fingerprint.size;
        let sparse = is_sparse(&file, &source);
        let keep_holes = self.site.rights.preserve.sparse;
        let whole = size <= SMALL && !sparse;
        let devices = (source.device, way.device);
        let may_clone = (keep_holes || !sparse) && size > 0 && self.site.clones.may_try(devices);
        let cloned =
            may_clone && self.site.clones.try_clone(&file, target.emptied().map_err(failed)?, devices);
        // What happens to the source after it was cloned is nothing to the clone.
        let still = cloned.then(|| restat(&file).map(|now| stood_still(&source, &now)));
        let still = still.transpose().map_err(unread_io)?;
        let content = if whole {
            let read = if cloned {
                arena.read(target.present().map_err(failed)?, size).during("write").map_err(failed)?
            } else {
                arena.read(&file, size).map_err(unread_io)?
            };
            match read {
                Some(range) => Content::InArena(range),
                None => return Ok(None),
            }
        } else {
            let passed = if cloned {
                let clone = target.present().map_err(failed)?;
                hash_clone(clone, size, self.site.chunk_bytes, self.site.cancel)
            } else {
                let sink = target.emptied().map_err(failed)?;
                let holes = sparse.then(|| Holes::kept_if(keep_holes));
                pass_on((&file, sink), size, holes, self.site.chunk_bytes, self.site.cancel)
            };
            match passed {
                Ok((copied, passed)) if copied == size => Content::Passed(passed),
                Ok(_) => return Ok(None),
                Err(Interruption::Source(error)) => return Err(unread_io(error)),
                Err(Interruption::Replica(error)) => return Err(failed(Fault { action: "write", error })),
                Err(Interruption::Cancelled) => return Err(End::Skipped),
            }
        };
        let found = attributes_of(&file, self.site.rights.scope()).map_err(unread)?;
        let attributes = self.site.rights.desired_attributes(&source, found);
        let still = match still {
            Some(still) => still,
            None => stood_still(&source, &restat(&file).map_err(unread_io)?),
        };
        Ok(Some(Reading { content, source, attributes, began, still, cloned }))
    }
}
