//! The folders on the way to a new name: made, or closed to whom they are to be closed, before what has the
//! name comes into them.

use super::folders::{make, open_up};
use super::{Site, grounds};
use crate::engine::content::{Comparison, NearFolder};
use crate::model::{Attributes, Kind, Stat, Verb};
use crate::plan::FolderTask;
use crate::plan::decide::Knowledge;
use crate::plan::desired::Desired;
use crate::store::{During, Fault, Folder, Store};
use std::io;

/// Makes one folder ready, its parents being so, and says what was done to it. Nothing is planned yet: what
/// counts is what the replica has now.
pub fn make_ready<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    comparison: &Comparison<'_, S, R>,
    task: &FolderTask,
) -> Result<Option<Verb>, Fault> {
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
        return Ok(Some(Verb::Create));
    };
    if now.kind() != Kind::Folder {
        return Err(io::Error::other("its name is taken there by something that is no folder"))
            .during("make");
    }
    let Knowledge::Same { attributes, replica, .. } = comparison.compare_folders(&task.path) else {
        return Err(io::Error::other("it cannot be compared with the source's")).during("open up");
    };
    if !replica.is_same_object(&now) {
        return Err(io::Error::other(grounds::REPLACED)).during("open up");
    }
    let task = FolderTask { difference: attributes, ..task.clone() };
    let narrowed = open_up(site, &task, &now)?;
    site.grounds.add(&task.path, &now);
    Ok(narrowed.then_some(Verb::Metadata))
}

/// Where permissions are not kept, a folder that a plan finds keeps those that it has: so a new one gets
/// what it would have got from the plan.
fn give_mode<S: Store, R: Store>(site: &Site<'_, S, R>, task: &FolderTask, made: &Stat) -> Result<(), Fault> {
    if site.rights.preserve.permissions {
        return Ok(());
    }
    let mode = site.rights.desired_new(&task.source, None).mode;
    let folder = site.replica.folder(&task.path)?;
    if !folder.own_stat()?.is_same_object(made) {
        return Err(io::Error::other(grounds::REPLACED)).during("open up");
    }
    folder.set_own(&Desired { mode, ..Desired::default() }, &Attributes::default()).map(drop)
}
