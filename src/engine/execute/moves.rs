//! Files that get another name instead of being copied and deleted.

use super::Site;
use super::durable::Durable;
use super::folders::FailedFolders;
use crate::config::file::Durability;
use crate::engine::content::NearFolder;
use crate::error::Error;
use crate::model::operation::End;
use crate::model::{Attributes, Change, Done, EntryPath, Kind, Operation, Record, Stat, Verb};
use crate::plan::relocation::{Move, Relocation, Relocations};
use crate::plan::{Moving, Plan, is_temporary_name};
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
    /// The copies.
    pub(super) fn copies(&self) -> impl Iterator<Item = &Operation> {
        self.0.iter().map(|(copy, _)| copy)
    }

    /// The deletes of `plan` together with those whose copies are among `made`, in path order.
    pub(super) fn deletes<'p>(&'p self, plan: &'p Plan, made: &HashSet<EntryPath>) -> Vec<&'p Operation> {
        let mut all: Vec<&Operation> = plan.deletes.iter().collect();
        let there = self.0.iter().filter(|(copy, _)| made.contains(&copy.path));
        let own = all.len();
        all.extend(there.filter_map(|(_, delete)| delete.as_ref()));
        if all.len() > own {
            all.sort_by(|one, other| one.path.cmp(&other.path));
        }
        all
    }
}

/// Carries out the moves of a plan, in an order in which none is in another's way.
pub(super) fn carry_out<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    plan: &Plan,
    failed: &FailedFolders,
    record: &mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
) -> Result<Instead, Error> {
    let moves: Vec<&Moving> = plan.moves.iter().filter(|moving| !failed.cover(&moving.to)).collect();
    let way = |moving: &&Moving| Relocation {
        lies: moving.from.clone(),
        rows: moving.from.clone(),
        to: moving.to.clone(),
    };
    let mut relocations = Relocations::of(moves.iter().map(way).collect());
    let mut mover =
        Mover { site, lying: NearFolder::new(site.replica), coming: NearFolder::new(site.replica) };
    let mut durable = Durable::new(site.replica, site.durability != Durability::None);
    let mut instead = Instead::default();
    let mut dones = Vec::new();
    while let Some(next) = relocations.next_move() {
        if site.cancel.requested() {
            break;
        }
        let started = Instant::now();
        durable.expect();
        let item = match next {
            Move::Home(item) | Move::Aside(item) => item,
            Move::Swap(one, other) => {
                match mover.swap(moves[one], moves[other]) {
                    Ok(rows) => {
                        relocations.swapped(one, other);
                        for (item, row) in [one, other].into_iter().zip(rows) {
                            dones.extend(told(moves[item], row, started.elapsed()));
                        }
                    }
                    // Whatever kept them from that, a temporary name may do.
                    Err(_) => relocations.without_exchange(),
                }
                continue;
            }
        };
        let lies = relocations.get(item).lies.clone();
        let moving = moves[item];
        let result = match next {
            Move::Home(_) => mover.bring_home(moving, &lies).map(|row| (moving.to.clone(), Some(row))),
            Move::Aside(_) | Move::Swap(..) => mover.put_aside(moving, &lies).map(|name| (name, None)),
        };
        if let Ok((name, row)) = result {
            relocations.done(item, &name);
            if let Some(row) = row {
                dones.extend(told(moving, row, started.elapsed()));
            }
        } else {
            // Whatever kept it from moving, it can be copied.
            relocations.give_up(item);
            mover.discard(&lies);
            instead.0.push((moving.as_copy(), moving.old.as_deref().cloned()));
        }
        if dones.len() >= TOGETHER {
            durable.settle(Verb::Move, &mut dones);
            record(std::mem::take(&mut dones))?;
        }
    }
    durable.settle(Verb::Move, &mut dones);
    record(dones)?;
    instead.0.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    Ok(instead)
}

/// What is true now: the row of the new name, and none of the old one, unless another file comes there and
/// has, or will have, a row of its own.
fn told(moving: &Moving, row: Record, took: Duration) -> impl Iterator<Item = Done> {
    let done = |path: &EntryPath, change, silent| Done {
        path: path.clone(),
        verb: Verb::Move,
        from: Some(moving.from.clone()),
        end: End::Made(Some(change)),
        bytes: 0,
        digest: None,
        took,
        silent,
    };
    let digest = row.digest;
    let made = Done { digest, ..done(&moving.to, Change::Put(row), false) };
    let gone = moving.old.as_ref().map(|_| done(&moving.from, Change::Forget(moving.from.clone()), true));
    std::iter::once(made).chain(gone)
}

struct Mover<'s, S: Store, R: Store> {
    site: &'s Site<'s, S, R>,
    lying: NearFolder<'s, R>,
    coming: NearFolder<'s, R>,
}

impl<S: Store, R: Store> Mover<'_, S, R> {
    fn bring_home(&mut self, moving: &Moving, lies: &EntryPath) -> Result<Record, Fault> {
        let folder = self.coming.of(&moving.to)?;
        self.site.check_ground(&moving.to.parent(), &*folder)?;
        // Read before anything is changed: the attributes of something else must not come to it.
        let attributes = self.attributes(moving)?;
        let name = moving.to.name();
        let from = self.lying.of(lies)?;
        let replica = from.relocate(lies.name(), &moving.replica, &*folder, name, moving.target.as_ref())?;
        self.mend(moving, &folder, replica, &attributes)
    }

    /// Exchanges the names of two files.
    fn swap(&mut self, one: &Moving, other: &Moving) -> Result<[Record; 2], Fault> {
        let (here, there) = (self.lying.of(&one.from)?, self.coming.of(&one.to)?);
        for (moving, folder) in [(one, &there), (other, &here)] {
            self.site.check_ground(&moving.to.parent(), &**folder)?;
        }
        let attributes = [self.attributes(one)?, self.attributes(other)?];
        let (first, second) = here.exchange_with(
            (one.from.name(), &one.replica),
            &*there,
            (other.from.name(), &other.replica),
        )?;
        Ok([self.mend(one, &there, first, &attributes[0])?, self.mend(other, &here, second, &attributes[1])?])
    }

    /// Puts the metadata right of what has its new name in `folder`.
    fn mend(
        &self,
        moving: &Moving,
        folder: &R::Folder,
        mut replica: Stat,
        attributes: &Attributes,
    ) -> Result<Record, Fault> {
        let name = moving.to.name();
        let mut lost = false;
        if moving.mend {
            let desired = self.site.rights.desired(&moving.source);
            let (mended, applied) = folder.set_metadata(name, &replica, &desired, attributes)?;
            self.site.note_applied(&moving.to, applied);
            lost = applied.attributes_lost;
            replica = mended;
        }
        self.site.note_losses(&moving.source, &replica);
        let racy = moving.racy || lost;
        Ok(Record::new(moving.to.clone(), &moving.source, &replica, moving.content, racy))
    }

    fn attributes(&self, moving: &Moving) -> Result<Attributes, Fault> {
        let scope = self.site.rights.scope();
        if !moving.mend || scope.is_empty() {
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

    fn put_aside(&mut self, moving: &Moving, lies: &EntryPath) -> Result<EntryPath, Fault> {
        let name = TemporaryName::fresh(1).during("name a temporary for")?;
        let name = name.first().ok_or(io::ErrorKind::NotFound).during("name a temporary for")?;
        let folder = self.lying.of(lies)?;
        folder.relocate(lies.name(), &moving.replica, &*folder, name.as_bytes(), None)?;
        Ok(lies.parent().child(name.as_bytes(), moving.replica.kind() == Kind::Folder))
    }

    /// Removes what lies under a temporary name and gets no other.
    fn discard(&mut self, lies: &EntryPath) {
        if is_temporary_name(lies.name())
            && let Ok(folder) = self.lying.of(lies)
            && let Ok(Some(there)) = folder.stat(lies.name())
        {
            // A leftover is litter that the next run removes.
            let _: Result<bool, Fault> = folder.remove(lies.name(), &there);
        }
    }
}
