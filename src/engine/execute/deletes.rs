//! Deletes: deepest first, each looked at once more before it goes.

use super::Site;
use super::asides::{Asides, Whereabouts};
use super::folders::OWNER_ALL;
use crate::engine::content::NearFolder;
use crate::error::Error;
use crate::model::operation::End;
use crate::model::{Change, Done, EntryPath, Operation, Problem};
use crate::plan::Plan;
use crate::plan::desired::Desired;
use crate::store::{Fault, Folder, Store};
use std::io::ErrorKind;
use std::time::Instant;

/// Carries out the plan's deletes and removes litter, in transactions of a batch each.
pub(super) fn carry_out<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    plan: &Plan,
    asides: &Asides,
    record: &mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut near = NearFolder::new(site.replica);
    let mut dones = Vec::new();
    let litter = plan.litter.iter().rev().map(|operation| (operation, true));
    let deletes = plan.deletes.iter().rev().map(|operation| (operation, false));
    for (operation, silent) in litter.chain(deletes) {
        if site.cancel.requested() {
            break;
        }
        let started = Instant::now();
        let end = match asides.whereabouts(&operation.path) {
            Whereabouts::Kept => continue,
            Whereabouts::InPlace => remove(site, &mut near, operation, &operation.path),
            Whereabouts::Aside(actual) => remove(site, &mut near, operation, &actual),
        };
        let silent = silent && !matches!(end, End::Failed(_));
        dones.push(Done {
            path: operation.path.clone(),
            verb: operation.verb,
            end,
            bytes: 0,
            digest: None,
            took: started.elapsed(),
            silent,
        });
        if dones.len() >= site.batch_files {
            record(std::mem::take(&mut dones))?;
        }
    }
    record(dones)
}

fn remove<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    near: &mut NearFolder<'_, R>,
    operation: &Operation,
    actual: &EntryPath,
) -> End {
    // A delete is planned from what the replica's walk saw; there is always something.
    let Some(planned) = &operation.replica else { return End::Vanished };
    let mut remove = || near.of(actual)?.remove(actual.name(), planned);
    let removed = match remove() {
        // A user who is not root deletes from a read-only folder only after opening it up; the
        // folder goes too, or gets its permissions back at the end.
        Err(fault) if fault.error.kind() == ErrorKind::PermissionDenied && site.rights.uid != 0 => {
            open_up(site, &actual.parent()).and_then(|()| remove())
        }
        result => result,
    };
    match removed {
        Ok(_) => End::Made(Some(Change::Forget(operation.path.clone()))),
        Err(fault) if fault.is_absence() => End::Made(Some(Change::Forget(operation.path.clone()))),
        Err(fault) => End::Failed(Problem::replica(&operation.path, fault.action, &fault.error)),
    }
}

fn open_up<S: Store, R: Store>(site: &Site<'_, S, R>, path: &EntryPath) -> Result<(), Fault> {
    let folder = site.replica.folder(path)?;
    let now = folder.own_stat()?.fingerprint;
    let desired = Desired { mode: Some(now.mode | OWNER_ALL), uid: None, gid: None, mtime: now.mtime };
    folder.set_own(&desired).map(drop)
}
