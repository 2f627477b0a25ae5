//! Folders: made and opened up before anything goes into them, their metadata put right at the end.

use super::Site;
use super::asides::Asides;
use super::grounds::REPLACED;
use crate::engine::content::NearFolder;
use crate::engine::report::Tally;
use crate::error::Error;
use crate::model::operation::End;
use crate::model::record::is_racy;
use crate::model::{Attributes, Change, Done, EntryPath, Kind, Loss, Problem, Record, Stat, Verb};
use crate::monitor::Monitor;
use crate::plan::desired::Desired;
use crate::plan::{FolderTask, Plan};
use crate::store::{Applied, During, Fault, Folder, Staging, Store, Target, TemporaryName};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Folders that could not be made or opened: nothing is done in or below them.
#[derive(Debug, Default)]
pub(super) struct FailedFolders(BTreeSet<EntryPath>);

impl FailedFolders {
    /// One more, which lies in none of the others.
    pub(super) fn add(&mut self, folder: &EntryPath) {
        self.0.insert(folder.clone());
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &EntryPath> {
        self.0.iter()
    }

    /// Whether `path` is one of them or lies in one.
    pub(super) fn cover(&self, path: &EntryPath) -> bool {
        // None lies in another, so that only the one just before `path` can hold it.
        let before = self.0.range(..=path.clone()).next_back();
        before.is_some_and(|folder| path == folder || path.is_below(folder))
    }
}

/// The owner's bits that working in a folder needs, unless one is root.
const OWNER_ALL: u32 = 0o700;

/// Makes new folders, which only their owner may enter until they are finished, and narrows
/// existing ones that are to become less open, before new content goes into them.
pub(super) fn prepare<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    plan: &Plan,
    asides: &mut Asides,
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> FailedFolders {
    let mut failed = FailedFolders::default();
    let mut near = NearFolder::new(site.replica);
    for task in &plan.folders {
        if site.cancel.requested() || failed.cover(&task.path) {
            continue;
        }
        let result = match &task.replica {
            None => keep_displaced(site, plan, task, &mut near).and_then(|()| make(task, &mut near)).map(
                |(made, temporary)| {
                    if task.displaces {
                        asides.moved(&task.path, temporary.as_bytes());
                    }
                    made
                },
            ),
            Some(planned) => open_up(site, task, planned).map(|_| *planned),
        };
        match result {
            Ok(stat) => site.grounds.add(&task.path, &stat),
            Err(fault) => {
                // Lack of room is said once, for all that it stops.
                if !fault.is_lack_of_room() || !site.full.swap(true, Ordering::Relaxed) {
                    tally.problem(Problem::replica(&task.path, fault.action, &fault.error), monitor);
                }
                failed.add(&task.path);
            }
        }
    }
    failed
}

/// Gives what a folder displaces, and what the plan deletes then, its name in the trash, if there is one: until
/// the deletes it lies under a temporary name, where a run that comes after a kill takes it for litter.
fn keep_displaced<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    plan: &Plan,
    task: &FolderTask,
    near: &mut NearFolder<'_, R>,
) -> Result<(), Fault> {
    let displaced = task.path.other_kind();
    let planned = plan.deletes.binary_search_by(|delete| delete.path.cmp(&displaced)).ok();
    let planned = planned.and_then(|at| plan.deletes[at].replica.as_ref()).filter(|_| task.displaces);
    let (Some(trash), Some(planned)) = (site.trash, planned) else { return Ok(()) };
    let folder = near.of(&displaced)?;
    // Where the folder cannot be made, a version too many is kept.
    trash.keep_displaced(&site.means(), (&*folder, displaced.name(), planned), &displaced)
}

/// Makes a new folder; what has its name, if it displaces that, lies under the temporary name then, which
/// is returned as well.
pub(super) fn make<R: Store>(
    task: &FolderTask,
    near: &mut NearFolder<'_, R>,
) -> Result<(Stat, TemporaryName), Fault> {
    let mut temporary =
        TemporaryName::fresh(1).map_err(|error| Fault { action: "name a temporary for", error })?;
    let temporary = temporary.pop().ok_or(ErrorKind::NotFound).during("name a temporary for")?;
    let temporary = &temporary;
    let parent = near.of(&task.path)?;
    parent.stage_other(temporary, Staging::Folder)?;
    let made = parent.stat(temporary.as_bytes())?.filter(|made| made.kind() == Kind::Folder);
    let made = made.ok_or(ErrorKind::NotFound).during("make")?;
    let target = if task.displaces { Target::Exchange } else { Target::Absent };
    if let Err(fault) = parent.publish(temporary, task.path.name(), target) {
        // A leftover is litter that the next run removes.
        let _ = parent.discard(temporary);
        return Err(fault);
    }
    Ok((made, temporary.clone()))
}

/// Takes away at once what the folder, or whom it belongs to now, is to lose, and gives a user who
/// is not root what working in it needs; the rest comes at the end. Says whether that changed anything.
pub(super) fn open_up<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    task: &FolderTask,
    planned: &Stat,
) -> Result<bool, Fault> {
    // A run that made the folder early has finished it since.
    let now = &if site.rights.uid == 0 { *planned } else { site.replica.folder(&task.path)?.own_stat()? };
    let mut interim = site.rights.interim(&task.source, now, task.difference);
    if site.rights.uid != 0 {
        interim |= OWNER_ALL;
    }
    if interim == now.fingerprint.mode {
        return Ok(false);
    }
    let folder = site.replica.folder(&task.path)?;
    if !folder.own_stat()?.is_same_object(planned) {
        return Err(io::Error::other(REPLACED)).during("open up");
    }
    let desired = Desired { mode: Some(interim), ..Desired::default() };
    folder.set_own(&desired, &Attributes::default()).map(|_| true)
}

/// Folders recorded in one transaction.
const TOGETHER: usize = 256;

/// Gives every folder its metadata, deepest first, and records what is so then.
pub(super) fn finish<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    tasks: &[Arc<FolderTask>],
    failed: &FailedFolders,
    record: &mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
) -> Result<(), Error> {
    let ready: Vec<Arc<FolderTask>> =
        tasks.iter().rev().filter(|task| !failed.cover(&task.path)).cloned().collect();
    for some in ready.chunks(TOGETHER) {
        record(finish_some(site, some))?;
    }
    Ok(())
}

/// Gives these folders their metadata, in this order, until the run is told to stop.
pub(super) fn finish_some<S: Store, R: Store>(site: &Site<'_, S, R>, tasks: &[Arc<FolderTask>]) -> Vec<Done> {
    let mut dones = Vec::with_capacity(tasks.len());
    for task in tasks {
        if site.cancel.requested() {
            break;
        }
        let started = Instant::now();
        let mut losses = Vec::new();
        let end = match finish_one(site, task) {
            Ok((record, lost)) => {
                losses = lost;
                End::Made(Some(Change::Put(record)))
            }
            // Said once, for all that lack of room stops.
            Err(End::Full(_)) if site.full.swap(true, Ordering::Relaxed) => End::Skipped,
            Err(End::Full(problem)) => End::Failed(problem),
            Err(end) => end,
        };
        // Putting times back is no operation of its own, but it is recorded like one.
        let verb = task.verb.unwrap_or(Verb::Metadata);
        let (path, took) = (task.path.clone(), started.elapsed());
        let silent = task.verb.is_none() && matches!(end, End::Made(_));
        let took = if silent { Duration::ZERO } else { took };
        dones.push(Done { path, verb, from: None, end, bytes: 0, digest: None, took, losses, silent });
    }
    dones
}

fn finish_one<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    task: &FolderTask,
) -> Result<(Record, Vec<Loss>), End> {
    let at_replica = |fault: Fault| {
        let problem = Problem::replica(&task.path, fault.action, &fault.error);
        if fault.is_lack_of_room() { End::Full(problem) } else { End::Failed(problem) }
    };
    let folder = site.replica.folder(&task.path).map_err(at_replica)?;
    site.check_ground(&task.path, &folder).map_err(at_replica)?;
    let mut now = folder.own_stat().map_err(at_replica)?;
    let mut desired = site.rights.desired_new(&task.source, task.replica.as_ref());
    if let (false, true, Some(before)) =
        (site.rights.preserve.permissions, site.rights.held.permissions, &task.replica)
    {
        // What it was opened up to for the time of the run goes back.
        desired.mode = Some(before.fingerprint.mode);
    }
    let attributes = attributes_for(site, task)?;
    let mut applied = Applied::default();
    if !desired.met(&now) || !attributes.scope().is_empty() {
        applied = folder.set_own(&desired, &attributes).map_err(at_replica)?;
        now = folder.own_stat().map_err(at_replica)?;
    }
    site.note_marks(&task.path, &applied);
    let losses = site.losses(&task.source, &desired, &now, applied);
    let racy = is_racy(task.source.fingerprint.ctime, site.began, site.tick_nanos, None);
    Ok((Record::new(task.path.clone(), &task.source, &now, None, racy), losses))
}

/// The attributes that the folder is to have; none are looked at where only its times are put back
/// (a change of owner leaves a folder's attributes alone).
fn attributes_for<S: Store, R: Store>(site: &Site<'_, S, R>, task: &FolderTask) -> Result<Attributes, End> {
    let scope = site.rights.scope();
    if task.verb.is_none() || scope.is_empty() {
        return Ok(Attributes::default());
    }
    let found = site.source.folder(&task.path).and_then(|folder| folder.own_attributes(scope));
    match found {
        Ok(found) => Ok(site.rights.desired_attributes(&task.source, found)),
        Err(fault) if fault.is_absence() => Err(End::Vanished),
        Err(fault) => Err(End::Failed(Problem::source(&task.path, fault.action, &fault.error))),
    }
}
