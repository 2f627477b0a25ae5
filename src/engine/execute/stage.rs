//! Reading one entry from the source and making its counterpart under a temporary name.

use super::Site;
use super::names::FirstNames;
use super::prepared::{Content, Prepared};
use crate::clock;
use crate::engine::content::{Arena, NearFolder, digest_of, read_link};
use crate::engine::holes::Passed;
use crate::model::operation::End;
use crate::model::{Attributes, Kind, Operation, Problem, Stat, Timestamp, Verb};
use crate::plan::consistency::Consistency;
use crate::plan::desired::Desired;
use crate::store::{Applied, Fault, Folder, Staging, Store, TemporaryName};
use std::rc::Rc;

/// Prepares one entry after the other, in path order.
pub(super) struct Stager<'s, S: Store, R: Store> {
    pub(super) site: &'s Site<'s, S, R>,
    source: NearFolder<'s, S>,
    replica: NearFolder<'s, R>,
    first_names: NearFolder<'s, R>,
    firsts: &'s FirstNames,
    names: std::vec::IntoIter<TemporaryName>,
    /// The device of the replica's folder at hand.
    device: u64,
    /// Files are known to be written to while they are read.
    pub(super) changes: bool,
}

/// One reading of a source entry.
pub(super) struct Reading {
    pub(super) content: Content,
    pub(super) source: Stat,
    pub(super) attributes: Attributes,
    pub(super) began: Timestamp,
    pub(super) consistency: Consistency,
    /// What is in the arena is in the staged file already.
    pub(super) cloned: bool,
}

/// Where an entry comes from and goes to.
pub(super) struct Way<S: Folder, R: Folder> {
    pub(super) ours: Rc<S>,
    pub(super) theirs: Rc<R>,
    /// The device that `theirs` lies on.
    pub(super) device: u64,
    pub(super) temporary: TemporaryName,
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
            device: 0,
            changes: false,
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
        if operation.verb == Verb::Metadata {
            let folder =
                self.replica.of(&operation.path).map_err(|fault| self.site.failure(operation, &fault))?;
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
                consistency: Consistency::Exact,
                applied: Applied::default(),
                link_lost: false,
                written: None,
            });
        }
        let way = self.way(operation)?;
        let linked = if operation.verb == Verb::Link {
            self.stage_link(operation, &*way.ours, &*way.theirs, &way.temporary)
        } else {
            Ok(None)
        };
        let is_file = operation.source.is_some_and(|source| source.kind() == Kind::File);
        let link_lost = operation.verb == Verb::Link && matches!(linked, Ok(None));
        let staged = match linked {
            Err(end) => Err(end),
            Ok(Some(reading)) => Ok((reading, Applied::default())),
            Ok(None) if is_file => self.stage_file(operation, &way, arena),
            Ok(None) => self.stage_other(operation, &*way.ours, &*way.theirs, &way.temporary),
        };
        match staged {
            Ok((reading, applied)) => {
                Ok(Prepared { applied, link_lost, ..Prepared::staged(way.theirs, way.temporary, reading) })
            }
            Err(end) => {
                // A leftover is litter that the next run removes.
                let _ = way.theirs.discard(&way.temporary);
                Err(end)
            }
        }
    }

    /// Opens the folders that an entry is brought from and to.
    pub(super) fn way(&mut self, operation: &Operation) -> Result<Way<S::Folder, R::Folder>, End> {
        let (site, device) = (self.site, &mut self.device);
        let theirs = self.replica.of_checked(&operation.path, |path, folder| {
            *device = site.check_ground(path, folder)?;
            Ok(())
        });
        let theirs = theirs.map_err(|fault| site.failure(operation, &fault))?;
        let ours = self.source.of(&operation.path).map_err(|fault| unread(operation, &fault))?;
        // One name an entry was asked for.
        let temporary = self.names.next().ok_or(End::Skipped)?;
        Ok(Way { ours, theirs, device: self.device, temporary })
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
        let made = theirs.stat_anew(temporary.as_bytes()).map_err(failed)?;
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
            consistency: Consistency::Exact,
            cloned: false,
        }))
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
        Ok((
            Reading { content, source, attributes, began, consistency: Consistency::Exact, cloned: false },
            applied,
        ))
    }

    /// What the new entry is to have.
    pub(super) fn desired(&self, operation: &Operation, source: &Stat) -> Desired {
        self.site.rights.desired_new(source, operation.replica.as_ref())
    }
}

/// A step on the source's side that failed; what went away meanwhile is no problem.
pub(super) fn unread(operation: &Operation, fault: &Fault) -> End {
    if fault.is_absence() {
        End::Vanished
    } else {
        End::Failed(Problem::source(&operation.path, fault.action, &fault.error))
    }
}
