//! The folders on the way to a new name: made, or closed to whom they are to be closed, before what has the
//! name comes into them.

use super::folders::{make, open_up};
use super::{Site, grounds};
use crate::engine::content::{Comparison, NearFolder};
use crate::model::{Attributes, Difference, EntryPath, Kind, Stat, Verb};
use crate::plan::FolderTask;
use crate::plan::decide::Knowledge;
use crate::plan::desired::Desired;
use crate::store::{During, Fault, Folder, Store};
use std::io;

/// What a run did to a folder before it planned, as people are told; `None`: nothing that the plan would not
/// undo by itself.
pub type Readied = Option<Verb>;

/// Makes one folder ready, its parents being so, and says what was done to it. Nothing is planned yet: what
/// counts is what the replica has now.
pub fn make_ready<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    comparison: &Comparison<'_, S, R>,
    task: &FolderTask,
) -> Result<Option<Readied>, Fault> {
    if site.grounds.knows(&task.path) {
        return Ok(None);
    }
    let mut near = NearFolder::new(site.replica);
    let now = match near.of(&task.path) {
        Ok(_) if task.path.is_root() => Some(site.replica.folder(&task.path)?.own_stat()?),
        Ok(parent) => parent.stat(task.path.name())?,
        Err(fault) => return Err(fault),
    };
    let Some(now) = now else {
        let task = FolderTask { replica: None, displaces: false, ..task.clone() };
        let (made, _) = make(&task, &mut near)?;
        site.grounds.add(&task.path, &made);
        give_mode(site, &task, &made)?;
        return Ok(Some(Some(Verb::Create)));
    };
    if now.kind() != Kind::Folder {
        return Err(io::Error::other("its name is taken there by something that is no folder"))
            .during("make");
    }
    let found = compare(site, comparison, task, &task.path, &now)?;
    let task = FolderTask { difference: found.difference, ..task.clone() };
    let changed = open_up(site, &task, &now)?;
    site.grounds.add(&task.path, &now);
    Ok(changed.then_some(found.readied))
}

/// How a folder of the replica compares with the one of the source that it is, or is to become.
struct Found {
    difference: Difference,
    readied: Readied,
}

fn compare<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    comparison: &Comparison<'_, S, R>,
    task: &FolderTask,
    lies: &EntryPath,
    now: &Stat,
) -> Result<Found, Fault> {
    let known = comparison.compare_folder_with(&task.path, lies);
    let Knowledge::Same { source, replica, attributes: difference, .. } = known else {
        return Err(io::Error::other("it cannot be compared with the source's")).during("open up");
    };
    if !replica.is_same_object(now) {
        return Err(io::Error::other(grounds::REPLACED)).during("open up");
    }
    let right = difference == Difference::None && site.rights.desired(&source).met_but_for_time(&replica);
    Ok(Found { difference, readied: (!right).then_some(Verb::Metadata) })
}

/// Takes away at once what a folder that lies at `lies`, and is to be `task`'s, is to lose; all but the owner's
/// access where the `parent` that it has in the source is open to others than the one it leaves, for what it
/// holds is looked at later. Gives a user who is not root what renaming it needs. The rest comes when it has its name.
pub fn close<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    comparison: &Comparison<'_, S, R>,
    task: &FolderTask,
    parent: &Stat,
    lies: &EntryPath,
    now: &Stat,
) -> Result<Option<Readied>, Fault> {
    const OWNER_ALL: u32 = 0o700;
    if !site.rights.preserve.permissions {
        return Ok(None);
    }
    let found = compare(site, comparison, task, lies, now)?;
    let mut interim = site.rights.interim(&task.source, now, found.difference);
    if lies.parent() != task.path.parent() {
        let left = site.replica.folder(&lies.parent())?.own_stat()?;
        let reached = site.rights.desired(parent);
        let opens = reached.mode.is_none_or(|mode| mode & !OWNER_ALL & !left.fingerprint.mode != 0);
        if opens || !reached.owner_met(&left) {
            interim &= OWNER_ALL;
        }
    }
    if site.rights.uid != 0 {
        interim |= OWNER_ALL;
    }
    if interim == now.fingerprint.mode {
        return Ok(None);
    }
    set_mode(site, lies, now, interim)?;
    Ok(Some(found.readied))
}

/// Gives a user who is not root what taking something out of the folder `path` needs. `true`: it was missing.
pub fn open_to_leave<S: Store, R: Store>(site: &Site<'_, S, R>, path: &EntryPath) -> Result<bool, Fault> {
    const NEEDED: u32 = 0o300;
    if site.rights.uid == 0 {
        return Ok(false);
    }
    let now = site.replica.folder(path)?.own_stat()?;
    let mode = now.fingerprint.mode;
    if mode & NEEDED == NEEDED {
        return Ok(false);
    }
    set_mode(site, path, &now, mode | NEEDED).map(|()| true)
}

fn set_mode<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    path: &EntryPath,
    expected: &Stat,
    mode: u32,
) -> Result<(), Fault> {
    let folder = site.replica.folder(path)?;
    if !folder.own_stat()?.is_same_object(expected) {
        return Err(io::Error::other(grounds::REPLACED)).during("open up");
    }
    folder.set_own(&Desired { mode: Some(mode), ..Desired::default() }, &Attributes::default()).map(drop)
}

/// Where permissions are not kept, a folder that a plan finds keeps those that it has: so a new one gets
/// what it would have got from the plan.
fn give_mode<S: Store, R: Store>(site: &Site<'_, S, R>, task: &FolderTask, made: &Stat) -> Result<(), Fault> {
    if site.rights.preserve.permissions {
        return Ok(());
    }
    let mode = site.rights.desired_new(&task.source, None).mode;
    mode.map_or(Ok(()), |mode| set_mode(site, &task.path, made, mode))
}
