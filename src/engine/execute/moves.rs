//! Files that get another name instead of being copied and deleted.

use super::Site;
use super::asides::{Asides, Whereabouts};
use super::durable::Durable;
use super::folders::FailedFolders;
use crate::config::file::Durability;
use crate::engine::content::NearFolder;
use crate::error::Error;
use crate::model::operation::End;
use crate::model::{Attributes, Change, Digest, Done, EntryPath, Loss, Operation, Problem, Record, Verb};
use crate::plan::desired::Desired;
use crate::plan::{Moving, Plan};
use crate::store::{During, Fault, Folder, Store, TemporaryName};
use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

/// Moves recorded in one transaction.
const TOGETHER: usize = 1024;

/// What is done about files that could not be moved: a copy each, and when that is there, the delete of
/// the old name.
#[derive(Debug, Default)]
pub(super) struct Instead(Vec<(Operation, Option<Operation>)>);

impl Instead {
    /// Whether all could be moved.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The copies.
    pub(super) fn copies(&self) -> impl Iterator<Item = &Operation> {
        self.0.iter().map(|(copy, _)| copy)
    }

    /// The deletes of `plan` together with those whose copies are among `made`, in path order. A folder that still holds
    /// the old name of a file whose copy is not made waits for it.
    pub(super) fn deletes<'p>(&'p self, plan: &'p Plan, made: &HashSet<EntryPath>) -> Vec<&'p Operation> {
        if self.0.is_empty() {
            return plan.deletes.iter().collect();
        }
        let is_made = |(copy, _): &&(Operation, Option<Operation>)| made.contains(&copy.path);
        let (paid, owed): (Vec<_>, Vec<_>) = self.0.iter().partition(is_made);
        let kept = owed.iter().filter_map(|(_, delete)| delete.as_ref());
        let waiting: HashSet<EntryPath> = kept.flat_map(|delete| delete.path.folders_above()).collect();
        let ready = plan.deletes.iter().filter(|delete| !waiting.contains(&delete.path));
        let mut all: Vec<&Operation> =
            ready.chain(paid.into_iter().filter_map(|(_, delete)| delete.as_ref())).collect();
        all.sort_by(|one, other| one.path.cmp(&other.path));
        all
    }
}

/// What became of the moves of a plan.
#[derive(Debug, Default)]
pub(super) struct Moved<'p> {
    /// What is done instead.
    pub(super) instead: Instead,
    /// Files that have their new names, but whose old ones another file is still to take: until then their
    /// metadata is that of both names. To be finished with [`finish`].
    pub(super) late: Vec<&'p Moving>,
}

/// Carries out the moves of a plan.
///
/// A name that another file is to have is never free on the way: what has it now gets a second, temporary
/// name first, and is renamed from that. So any chain or cycle can be worked off in any order, and each name
/// has its old or its new content at every instant.
pub(super) fn carry_out<'p, S: Store, R: Store>(
    site: &Site<'_, S, R>,
    plan: &'p Plan,
    failed: &FailedFolders,
    asides: &Asides,
    record: &mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
) -> Result<Moved<'p>, Error> {
    let moves: Vec<&'p Moving> = plan.moves.iter().filter(|moving| !failed.cover(&moving.to)).collect();
    let mut mover = Mover::new(site, &moves);
    let mut durable = Durable::new(site.replica, site.durability != Durability::None);
    let mut moved = Moved::default();
    let give_up = |moving: &Moving, moved: &mut Moved| {
        moved.instead.0.push((moving.as_copy(), moving.old.as_deref().cloned()));
    };
    let mut ready: Vec<(&'p Moving, Option<TemporaryName>)> = Vec::with_capacity(moves.len());
    for moving in moves {
        if site.cancel.requested() {
            break;
        }
        match moving.old {
            Some(_) => ready.push((moving, None)),
            None => match mover.pin(moving) {
                Ok(name) => ready.push((moving, Some(name))),
                // Whatever kept it from that, it can be copied.
                Err(_) => give_up(moving, &mut moved),
            },
        }
    }
    let mut there: Vec<&Moving> = Vec::with_capacity(ready.len());
    for (moving, pin) in ready {
        durable.expect();
        // A folder may have taken its name already.
        let lies = match asides.whereabouts(&moving.from) {
            Whereabouts::Aside(actual) => actual,
            Whereabouts::InPlace | Whereabouts::Kept => moving.from.clone(),
        };
        match mover.rename(moving, &lies, pin.as_ref()) {
            Ok(()) if pin.is_some() => moved.late.push(moving),
            Ok(()) => there.push(moving),
            Err(_) => {
                mover.unpin(moving, pin.as_ref());
                give_up(moving, &mut moved);
            }
        }
    }
    // Not before all names are taken: each one that an inode loses moves its ctime.
    for some in there.chunks(TOGETHER) {
        let mut dones: Vec<Done> = some.iter().flat_map(|moving| mover.finish(moving)).collect();
        durable.settle(Verb::Move, &mut dones);
        record(dones)?;
    }
    moved.instead.0.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    Ok(moved)
}

/// Gives files their metadata whose old names other files have by now.
pub(super) fn finish<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    late: &[&Moving],
    record: &mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut mover = Mover::new(site, late);
    for some in late.chunks(TOGETHER) {
        record(some.iter().flat_map(|moving| mover.finish(moving)).collect())?;
    }
    Ok(())
}

fn forget(moving: &Moving) -> End {
    End::Made(Some(Change::Forget(moving.from.clone())))
}

fn told(moving: &Moving, end: End, digest: Option<Digest>, took: Duration) -> Done {
    Done {
        path: moving.to.clone(),
        verb: Verb::Move,
        from: Some(moving.from.clone()),
        end,
        bytes: 0,
        digest,
        took,
        losses: Vec::new(),
        silent: false,
    }
}

struct Mover<'s, S: Store, R: Store> {
    site: &'s Site<'s, S, R>,
    lying: NearFolder<'s, R>,
    coming: NearFolder<'s, R>,
    /// Inodes of the replica that get other names.
    taken_along: HashSet<u64>,
    /// The names that they leave.
    left: HashSet<EntryPath>,
}

impl<'s, S: Store, R: Store> Mover<'s, S, R> {
    fn new(site: &'s Site<'s, S, R>, moves: &[&Moving]) -> Self {
        let (lying, coming) = (NearFolder::new(site.replica), NearFolder::new(site.replica));
        // Only who keeps what is overwritten asks for them.
        let kept = || moves.iter().filter(|_| site.trash.is_some());
        let has_inode = |moving: &&&Moving| moving.replica.without_inode() != moving.replica;
        let taken_along = kept().filter(has_inode).map(|moving| moving.replica.fingerprint.inode).collect();
        let left = kept().map(|moving| moving.from.clone()).collect();
        Self { site, lying, coming, taken_along, left }
    }

    /// Gives a file a second, temporary name beside its new one.
    fn pin(&mut self, moving: &Moving) -> Result<TemporaryName, Fault> {
        let (from, into) = (self.lying.of(&moving.from)?, self.coming.of(&moving.to)?);
        let name = TemporaryName::fresh(1).during("name a temporary for")?.pop();
        let name = name.ok_or(io::ErrorKind::NotFound).during("name a temporary for")?;
        into.stage_link(&name, &from, moving.from.name())?;
        if into.stat(name.as_bytes())?.is_some_and(|made| made.is_same_object(&moving.replica)) {
            return Ok(name);
        }
        // A leftover is litter that the next run removes.
        let _ = into.discard(&name);
        Err(io::Error::other("somebody changed it since it was planned")).during("rename")
    }

    fn unpin(&mut self, moving: &Moving, pin: Option<&TemporaryName>) {
        if let (Some(name), Ok(into)) = (pin, self.coming.of(&moving.to)) {
            // A leftover is litter that the next run removes.
            let _ = into.discard(name);
        }
    }

    /// What is true of a file that has its new name.
    fn finish(&mut self, moving: &Moving) -> Vec<Done> {
        let started = Instant::now();
        let result = self.mend(moving);
        let took = started.elapsed();
        match result {
            Ok((row, losses)) => {
                let digest = row.digest;
                let made = told(moving, End::Made(Some(Change::Put(row))), digest, took);
                let made = Done { losses, ..made };
                let gone = moving.old.as_ref().map(|_| Done {
                    path: moving.from.clone(),
                    silent: true,
                    ..told(moving, forget(moving), None, took)
                });
                std::iter::once(made).chain(gone).collect()
            }
            // It has its name, but not all else: the next run looks at it again.
            Err(fault) => {
                let problem = Problem::replica(&moving.to, fault.action, &fault.error);
                vec![told(moving, End::Failed(problem), None, took)]
            }
        }
    }

    /// Gives a file, which lies at `lies` or is pinned, its new name. What is to be less accessible is so
    /// before.
    fn rename(
        &mut self,
        moving: &Moving,
        lies: &EntryPath,
        pin: Option<&TemporaryName>,
    ) -> Result<(), Fault> {
        let into = self.coming.of(&moving.to)?;
        self.site.check_ground(&moving.to.parent(), &*into)?;
        let from = self.lying.of(lies)?;
        let (place, name) = match pin {
            Some(pin) => (&into, pin.as_bytes()),
            None => (&from, lies.name()),
        };
        let rights = self.site.rights;
        let interim = rights.interim(&moving.source, &moving.replica, moving.difference);
        if moving.mend && rights.preserve.permissions && interim != moving.replica.fingerprint.mode {
            let narrow = Desired { mode: Some(interim), ..Desired::default() };
            place.set_metadata(name, &moving.replica, &narrow, &Attributes::default())?;
        }
        let kept = match &moving.target {
            // What another move takes along is not lost.
            Some(target)
                if !self.taken_along.contains(&target.fingerprint.inode)
                    && !self.left.contains(&moving.to) =>
            {
                self.site.keep((&*into, moving.to.name(), target), &moving.to)?
            }
            _ => None,
        };
        let renamed = place.relocate(name, &moving.replica, &*into, moving.to.name(), moving.target.as_ref());
        if let (Err(_), Some((trash, kept))) = (&renamed, &kept) {
            trash.give_back(kept);
        }
        renamed.map(drop)
    }

    /// Puts the metadata right of what has its new name, and says what is so then.
    fn mend(&mut self, moving: &Moving) -> Result<(Record, Vec<Loss>), Fault> {
        let folder = self.coming.of(&moving.to)?;
        let name = moving.to.name();
        let gone = || io::Error::other("somebody changed it since it was renamed");
        let now = folder.stat(name)?.filter(|now| now.is_same_object(&moving.replica));
        let mut replica = now.ok_or_else(gone).during("mend")?;
        let desired = self.site.rights.desired(&moving.source);
        let mut losses = Vec::new();
        if moving.mend {
            let attributes = self.attributes(moving)?;
            let (mended, applied) = folder.set_metadata(name, &replica, &desired, &attributes)?;
            self.site.note_marks(&moving.to, &applied);
            losses = self.site.losses(&moving.source, &desired, &mended, applied);
            replica = mended;
        }
        let row = Record::new(moving.to.clone(), &moving.source, &replica, moving.content, moving.racy);
        Ok((row, losses))
    }

    fn attributes(&self, moving: &Moving) -> Result<Attributes, Fault> {
        let scope = self.site.rights.scope();
        if scope.is_empty() {
            return Ok(Attributes::default());
        }
        let ours = self.site.source.folder(&moving.to.parent())?;
        let (now, found) = ours.attributes(moving.to.name(), scope)?;
        if now.fingerprint != moving.source.fingerprint {
            return Err(io::Error::other("it changed since it was compared"))
                .during("read the attributes of");
        }
        Ok(self.site.rights.desired_attributes(&moving.source, found))
    }
}
