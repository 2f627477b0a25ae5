//! Reading one entry from the source and making its counterpart under a temporary name.

use super::Site;
use super::names::FirstNames;
use super::prepared::{Content, Prepared};
use super::staged_file::StagedFile;
use crate::clock;
use crate::config::file::Durability;
use crate::engine::content::{Arena, NearFolder, SMALL, TRIES, digest_of, read_link, restat, stood_still};
use crate::engine::holes::{Passed, is_sparse, pass_on};
use crate::engine::identity::open_scanned;
use crate::model::operation::End;
use crate::model::{Attributes, Digest, Kind, Operation, Problem, Stat, Timestamp, Verb};
use crate::plan::desired::Desired;
use crate::store::{Applied, During, Fault, Folder, Staging, Store, TemporaryName, attributes_of};
use crate::transfer::Interruption;
use crate::transfer::sparse::Holes;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;

/// Prepares one entry after the other, in path order.
pub(super) struct Stager<'s, S: Store, R: Store> {
    site: &'s Site<'s, S, R>,
    source: NearFolder<'s, S>,
    replica: NearFolder<'s, R>,
    first_names: NearFolder<'s, R>,
    firsts: &'s FirstNames,
    names: std::vec::IntoIter<TemporaryName>,
}

/// One reading of a source file.
struct Reading {
    content: Content,
    source: Stat,
    attributes: Attributes,
    began: Timestamp,
    still: bool,
}

impl<'s, S: Store, R: Store> Stager<'s, S, R> {
    pub(super) fn new(
        site: &'s Site<'s, S, R>,
        firsts: &'s FirstNames,
        entries: usize,
    ) -> Result<Self, Fault> {
        let names =
            TemporaryName::fresh(entries).map_err(|error| Fault { action: "name a temporary for", error })?;
        Ok(Self {
            site,
            source: NearFolder::new(site.source),
            replica: NearFolder::new(site.replica),
            first_names: NearFolder::new(site.replica),
            firsts,
            names: names.into_iter(),
        })
    }

    pub(super) fn prepare(
        &mut self,
        operation: &Operation,
        arena: &mut Arena,
    ) -> Result<Prepared<R::Folder>, End> {
        let room = operation.verb == Verb::Metadata || self.site.may_have_room(operation);
        if self.site.cancel.requested() || !room {
            return Err(End::Skipped);
        }
        let folder =
            self.replica.of(&operation.path).map_err(|fault| self.site.failure(operation, &fault))?;
        if operation.verb == Verb::Metadata {
            let source = operation.source.ok_or(End::Vanished)?;
            let attributes = self.attributes_for(operation, &source)?;
            // A digest may be older than this run, where the contents were compared without hashing.
            let began = operation.content.map_or(self.site.began, |(_, hashed)| hashed.max(self.site.began));
            return Ok(Prepared {
                folder,
                temporary: None,
                content: Content::None,
                source,
                attributes,
                began,
                never_still: false,
                incomplete: false,
            });
        }
        let ground = self.site.check_ground(&operation.path.parent(), &*folder);
        ground.map_err(|fault| self.site.failure(operation, &fault))?;
        let ours = self.source.of(&operation.path).map_err(|fault| unread(operation, &fault))?;
        // One name an entry was asked for.
        let temporary = self.names.next().ok_or(End::Skipped)?;
        let linked = if operation.verb == Verb::Link {
            self.stage_link(operation, &*ours, &*folder, &temporary)
        } else {
            Ok(None)
        };
        let is_file = operation.source.is_some_and(|source| source.kind() == Kind::File);
        let link_lost = operation.verb == Verb::Link && matches!(linked, Ok(None));
        let staged = match linked {
            Err(end) => Err(end),
            Ok(Some(reading)) => Ok((reading, Applied::default())),
            Ok(None) if is_file => self.stage_file(operation, &*ours, &*folder, &temporary, arena),
            Ok(None) => self.stage_other(operation, &*ours, &*folder, &temporary),
        };
        match staged {
            Ok((Reading { content, source, attributes, began, still }, applied)) => {
                let temporary = Some(temporary);
                let (never_still, incomplete) = (!still, applied.attributes_lost || link_lost);
                Ok(Prepared {
                    folder,
                    temporary,
                    content,
                    source,
                    attributes,
                    began,
                    never_still,
                    incomplete,
                })
            }
            Err(end) => {
                // A leftover is litter that the next run removes.
                let _ = folder.discard(&temporary);
                Err(end)
            }
        }
    }

    /// The attributes of an entry that is mended in place, if they are to be brought over: they must be
    /// those of what was scanned.
    fn attributes_for(&mut self, operation: &Operation, scanned: &Stat) -> Result<Attributes, End> {
        let scope = self.site.rights.scope();
        if !operation.attributes || scope.is_empty() || scanned.kind() == Kind::Symlink {
            return Ok(Attributes::default());
        }
        let ours = self.source.of(&operation.path).map_err(|fault| unread(operation, &fault))?;
        let (now, found) =
            ours.attributes(operation.path.name(), scope).map_err(|fault| unread(operation, &fault))?;
        // Changed since it was scanned: the next run looks at it again.
        if now.fingerprint != scanned.fingerprint {
            return Err(End::Vanished);
        }
        Ok(self.site.rights.desired_attributes(scanned, found))
    }

    /// Makes a temporary name for the inode of the first name, if the source still has both as names of
    /// one inode. `None`: the replica cannot have it, so it is to be brought over by itself.
    fn stage_link(
        &mut self,
        operation: &Operation,
        ours: &S::Folder,
        theirs: &R::Folder,
        temporary: &TemporaryName,
    ) -> Result<Option<Reading>, End> {
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        // Planned from rows and outcomes that are there; without one the next run plans anew.
        let first = operation.from.as_ref().and_then(|from| self.firsts.get(from)).ok_or(End::Vanished)?;
        let source = ours.stat(operation.path.name()).map_err(|fault| unread(operation, &fault))?;
        // A name of the same inode, whatever is done to that meanwhile: the row has the figures with which it
        // was read, so that the next run looks at it again. Another inode is for the next run as well.
        let same =
            |now: &Stat| (now.kind(), now.fingerprint.inode) == (first.source.kind, first.source.inode);
        let mut source = source.filter(same).ok_or(End::Vanished)?;
        source.fingerprint = first.source;
        let folder = self.first_names.of(&first.path).map_err(failed)?;
        if let Err(fault) = theirs.stage_link(temporary, &folder, first.path.name()) {
            if !fault.is_refusal_to_link() {
                return Err(failed(fault));
            }
            self.site.links_lost.note(&operation.path);
            // What is there is right but for being an inode of its own: it stays.
            return if operation.content.is_some() { Err(End::Vanished) } else { Ok(None) };
        }
        let made = theirs.stat(temporary.as_bytes()).map_err(failed)?;
        let is_first = |made: &Stat| {
            let (made, first) = (&made.fingerprint, &first.replica);
            made.inode == first.inode
                && made.size == first.size
                && made.mtime == first.mtime
                && made.mode == first.mode
        };
        if !made.is_some_and(|made| is_first(&made)) {
            let cause = "its other name in the replica was changed meanwhile; the next run looks at it again";
            return Err(End::Failed(Problem::replica(&operation.path, "link", cause)));
        }
        Ok(Some(Reading {
            content: Content::Linked(Box::new(first.clone())),
            source,
            attributes: Attributes::default(),
            began: self.site.began,
            still: true,
        }))
    }

    fn stage_file(
        &self,
        operation: &Operation,
        ours: &S::Folder,
        theirs: &R::Folder,
        temporary: &TemporaryName,
        arena: &mut Arena,
    ) -> Result<(Reading, Applied), End> {
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let mut target = StagedFile::new(theirs, temporary);
        let mut before: Option<(u64, Digest)> = None;
        for _ in 0..TRIES {
            let Some(reading) = self.read_once(operation, ours, &mut target, arena)? else { continue };
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
                Content::InArena(range) => {
                    let file = target.emptied().map_err(failed)?;
                    write_all(file, arena.get(range)).map_err(failed)?;
                    file
                }
                Content::Passed(_) | Content::None | Content::Linked(_) => {
                    target.present().map_err(failed)?
                }
            };
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
            return Ok((reading, applied));
        }
        let cause =
            "it kept changing while it was read; the replica keeps what it had, and the next run tries again";
        Err(End::Failed(Problem::source(&operation.path, "copy", cause)))
    }

    /// Reads the source file once: a small one into the arena, a large one straight into the staged
    /// file. `None`: its length changed meanwhile.
    fn read_once(
        &self,
        operation: &Operation,
        ours: &S::Folder,
        target: &mut StagedFile<'_, R::Folder>,
        arena: &mut Arena,
    ) -> Result<Option<Reading>, End> {
        let began = clock::now();
        let unread = |fault: Fault| unread(operation, &fault);
        let unread_io = |error| unread(Fault { action: "read", error });
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let scanned = operation.source.as_ref().ok_or(End::Vanished)?;
        let (file, source) = open_scanned(ours, operation.path.name(), scanned).map_err(unread)?;
        let size = source.fingerprint.size;
        let sparse = is_sparse(&file, &source);
        let content = if size <= SMALL && !sparse {
            match arena.read(&file, size).map_err(unread_io)? {
                Some(range) => Content::InArena(range),
                None => return Ok(None),
            }
        } else {
            let sink = target.emptied().map_err(failed)?;
            let holes = sparse.then(|| Holes::kept_if(self.site.rights.preserve.sparse));
            match pass_on((&file, sink), size, holes, self.site.chunk_bytes, self.site.cancel) {
                Ok((copied, passed)) if copied == size => Content::Passed(passed),
                Ok(_) => return Ok(None),
                Err(Interruption::Source(error)) => return Err(unread_io(error)),
                Err(Interruption::Replica(error)) => return Err(failed(Fault { action: "write", error })),
                Err(Interruption::Cancelled) => return Err(End::Skipped),
            }
        };
        let found = attributes_of(&file, self.site.rights.scope()).map_err(unread)?;
        let attributes = self.site.rights.desired_attributes(&source, found);
        let still = stood_still(&source, &restat(&file).map_err(unread_io)?);
        Ok(Some(Reading { content, source, attributes, began, still }))
    }

    fn stage_other(
        &self,
        operation: &Operation,
        ours: &S::Folder,
        theirs: &R::Folder,
        temporary: &TemporaryName,
    ) -> Result<(Reading, Applied), End> {
        let failed = |fault: Fault| self.site.failure(operation, &fault);
        let unread = |fault: Fault| unread(operation, &fault);
        let name = operation.path.name();
        let began = clock::now();
        let scope = self.site.rights.scope();
        let (source, attributes) = match operation.source.map(|scanned| scanned.kind()) {
            Some(Kind::Symlink) | None => {
                (ours.stat(name).map_err(unread)?.ok_or(End::Vanished)?, Attributes::default())
            }
            Some(_) => ours.attributes(name, scope).map_err(unread)?,
        };
        let attributes = self.site.rights.desired_attributes(&source, attributes);
        if Some(source.kind()) != operation.source.map(|scanned| scanned.kind()) {
            let cause = "it became another kind of entry since it was scanned; the next run brings it over";
            return Err(End::Failed(Problem::source(&operation.path, "create", cause)));
        }
        let content = if source.kind() == Kind::Symlink {
            let (_, target) = read_link(ours, name).map_err(unread)?;
            theirs.stage_other(temporary, Staging::Symlink(&target)).map_err(failed)?;
            Content::Passed(Passed::Hashed(digest_of(&target)))
        } else {
            theirs.stage_other(temporary, Staging::Special(&source)).map_err(failed)?;
            Content::None
        };
        let made = theirs.stat(temporary.as_bytes()).map_err(failed)?.ok_or(End::Vanished)?;
        // Somebody may have put a link to another inode in its place.
        if made.kind() != source.kind() || made.links != 1 {
            let cause = "something else has taken the place of what was made; the next run tries again";
            return Err(End::Failed(Problem::replica(&operation.path, "create", cause)));
        }
        let desired = self.desired(operation, &source);
        let (_, applied) =
            theirs.set_metadata(temporary.as_bytes(), &made, &desired, &attributes).map_err(failed)?;
        self.site.note_applied(&operation.path, applied);
        Ok((Reading { content, source, attributes, began, still: true }, applied))
    }

    /// What the new entry is to have.
    fn desired(&self, operation: &Operation, source: &Stat) -> Desired {
        self.site.rights.desired_new(source, operation.replica.as_ref())
    }
}

fn write_all(mut file: &File, bytes: &[u8]) -> Result<(), Fault> {
    file.write_all(bytes).map_err(|error| Fault { action: "write", error })
}

/// A step on the source's side that failed; what went away meanwhile is no problem.
fn unread(operation: &Operation, fault: &Fault) -> End {
    if fault.is_absence() {
        End::Vanished
    } else {
        End::Failed(Problem::source(&operation.path, fault.action, &fault.error))
    }
}
