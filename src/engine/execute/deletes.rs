//! Deletes: deepest first, each looked at once more before it goes.

use super::Site;
use super::asides::{Asides, Whereabouts};
use super::durable::Durable;
use super::names::Names;
use crate::config::file::Durability;
use crate::engine::content::NearFolder;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::operation::End;
use crate::model::{Attributes, Change, Done, EntryPath, Kind, Operation, Problem, Verb};
use crate::plan::desired::Desired;
use crate::plan::is_litter;
use crate::store::{Fault, Folder, Store};
use std::io;
use std::time::Instant;

/// Deletes recorded in one transaction: they lie scattered over the manifest, and each transaction
/// writes every page it touches.
const TOGETHER: usize = 1024;

/// So many at most wait for the disk together.
const MOST_TOGETHER: usize = 8 * TOGETHER;

/// Where the disk took a quarter of the time to forget entries that it took to remove them, four times as many are removed
/// before it is asked again.
const MORE: u32 = 4;

/// What is to be removed, and whether it is litter.
type Removal<'o> = (&'o Operation, bool);

/// What came of removals that waited for the disk together.
struct Removed {
    dones: Vec<Done>,
    /// That took its time.
    waited: bool,
    /// The disk did not take them: no rows are forgotten any more.
    refused: bool,
    /// Nothing more is to be removed.
    stop: bool,
}

/// Carries out the plan's deletes and removes litter, on one worker and in their order; meanwhile what went before is
/// recorded. If that fails, what is out already still goes, and the next run forgets its rows.
pub(super) fn carry_out<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    workers: &Workers,
    (litter, deletes): (&[Operation], &[&Operation]),
    (asides, names): (&Asides, &Names<'_>),
    record: &mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
) -> Result<(), Error> {
    open_up(site, litter.iter().chain(deletes.iter().copied()), asides);
    let litter = litter.iter().rev().map(|operation| (operation, true));
    let deletes = deletes.iter().rev().map(|operation| (*operation, false));
    let all: Vec<Removal<'_>> = litter.chain(deletes).collect();
    let (mut rest, mut together) = (&all[..], TOGETHER);
    let mut next_piece = |together: usize| {
        let (piece, later) = rest.split_at(together.min(rest.len()));
        rest = later;
        (!piece.is_empty()).then_some(piece)
    };
    workers.within(|window| {
        if let Some(piece) = next_piece(together) {
            window.submit(move || remove_all(site, (asides, names), piece, false));
        }
        while !window.is_idle() {
            let Some(removed) = window.next_within(Manifest::PATIENCE) else {
                // The worker may hang: what is done is recorded.
                record(Vec::new())?;
                continue;
            };
            let Removed { mut dones, waited, refused, stop } = removed;
            if waited {
                together = MOST_TOGETHER.min(together * MORE as usize);
            }
            if !stop && let Some(piece) = next_piece(together) {
                window.submit(move || remove_all(site, (asides, names), piece, refused));
            }
            while !dones.is_empty() {
                let later = dones.split_off(TOGETHER.min(dones.len()));
                record(std::mem::replace(&mut dones, later))?;
            }
        }
        Ok(())
    })
}

/// Removes what waits for the disk together; `refused`: it did not take earlier ones.
fn remove_all<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    (asides, names): (&Asides, &Names<'_>),
    removals: &[Removal<'_>],
    refused: bool,
) -> Removed {
    let began = Instant::now();
    let mut near = NearFolder::new(site.replica);
    let mut dones = Vec::with_capacity(removals.len());
    let mut durable = Durable::new(site.replica, site.durability != Durability::None).after(refused);
    let mut stop = false;
    for &(operation, silent) in removals {
        stop |= site.cancel.requested();
        if stop {
            break;
        }
        if silent && site.partials.keep(&operation.path) {
            continue;
        }
        let started = Instant::now();
        if operation.origin.is_some() {
            durable.expect();
        }
        let end = match asides.whereabouts(&operation.path) {
            Whereabouts::Kept => continue,
            Whereabouts::InPlace => remove(site, &mut near, names, operation, &operation.path, silent),
            Whereabouts::Aside(actual) => remove(site, &mut near, names, operation, &actual, silent),
        };
        // A file system that takes no writes any more takes none of the other deletes either.
        let end = match end {
            End::Full(problem) => {
                stop = true;
                End::Failed(problem)
            }
            end => end,
        };
        let silent = silent && !matches!(end, End::Failed(_));
        dones.push(Done {
            path: operation.path.clone(),
            verb: operation.verb,
            from: None,
            end,
            bytes: 0,
            digest: None,
            took: started.elapsed(),
            losses: Vec::new(),
            silent,
        });
    }
    let removed = Instant::now();
    durable.settle(Verb::Delete, &mut dones);
    let waited = removed.elapsed() * MORE > removed - began;
    Removed { dones, waited, refused: durable.has_failed(), stop }
}

/// The owner's bits that removing what a folder holds needs, unless one is root.
const OWNER_ALL: u32 = 0o700;

/// Gives a user who is not root what emptying the folders that are to go needs.
pub(super) fn open_up<'o, S: Store, R: Store>(
    site: &Site<'_, S, R>,
    removals: impl Iterator<Item = &'o Operation>,
    asides: &Asides,
) {
    if site.rights.uid == 0 {
        return;
    }
    for operation in removals {
        let Some(planned) = operation.replica.as_ref().filter(|stat| stat.kind() == Kind::Folder) else {
            continue;
        };
        let mode = planned.fingerprint.mode;
        if mode & OWNER_ALL == OWNER_ALL || site.cancel.requested() {
            continue;
        }
        let actual = match asides.whereabouts(&operation.path) {
            Whereabouts::Kept => continue,
            Whereabouts::InPlace => operation.path.clone(),
            Whereabouts::Aside(actual) => actual,
        };
        let desired = Desired { mode: Some(mode | OWNER_ALL), ..Desired::default() };
        if let Ok(folder) = site.replica.folder(&actual)
            && folder.own_stat().is_ok_and(|now| now.is_same_object(planned))
        {
            // Where this fails, removing what the folder holds fails as well and says why.
            let _ = folder.set_own(&desired, &Attributes::default());
        }
    }
}

/// Whether litter is of a folder that a killed run had put aside: what is half made never lies in a folder of its own.
fn was_put_aside(litter: &EntryPath) -> bool {
    !litter.is_folder() && is_litter(&litter.parent())
}

fn remove<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    near: &mut NearFolder<'_, R>,
    names: &Names<'_>,
    operation: &Operation,
    actual: &EntryPath,
    litter: bool,
) -> End {
    let removed = || -> Result<bool, Fault> {
        let folder = near.of(actual)?;
        // A delete is planned from what the replica's walk saw; there is always something.
        let Some(planned) = operation.replica.map(|planned| names.as_mended(planned)) else {
            return Ok(false);
        };
        match site.trash {
            Some(trash) if !litter || was_put_aside(&operation.path) => {
                trash.take(&site.means(), (&*folder, actual.name(), &planned), &operation.path)
            }
            _ => folder.remove(actual.name(), &planned),
        }
    }();
    match removed {
        // Told to stop while it was copied into the trash.
        Err(fault) if fault.error.kind() == io::ErrorKind::Interrupted => End::Skipped,
        Ok(_) => End::Made(Some(Change::Forget(operation.path.clone()))),
        Err(fault) if fault.is_absence() => End::Made(Some(Change::Forget(operation.path.clone()))),
        Err(fault) => {
            let problem = Problem::replica(&operation.path, fault.action, &fault.error);
            if fault.is_lack_of_room() { End::Full(problem) } else { End::Failed(problem) }
        }
    }
}
