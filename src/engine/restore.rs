//! Bringing back what the trash has.

use super::capabilities;
use super::content::NearFolder;
use super::job::Job;
use super::replicate::{Means, Spot};
use super::trash::{entries, make};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::model::{Attributes, DeviceSet, EntryPath, Kind, Problem, Stat};
use crate::plan::desired::{Desired, Rights};
use crate::store::local::LocalStore;
use crate::store::{During, Fault, Folder, Store};
use crate::transfer::clone::Clones;
use std::io;

/// What was brought back.
#[derive(Debug, Default)]
pub struct Restored {
    /// Entries, folders not counted.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// What could not be.
    pub problems: Vec<Problem>,
}

/// From where to where.
pub struct Errand<'e> {
    /// The tree that has it.
    pub from: &'e LocalStore,
    /// Where it lies there, without the `/` of a folder.
    pub lies: &'e EntryPath,
    /// What it is.
    pub stat: &'e Stat,
    /// The tree that it is to be in.
    pub to: &'e LocalStore,
    /// Its path there, likewise.
    pub path: &'e EntryPath,
    /// Whether a file may take the place of one that is there.
    pub replace: bool,
}

/// Carries out an errand. What is there already stays, unless it may be replaced; it is a problem then.
pub fn restore(job: &Job, errand: &Errand<'_>, cancel: &Cancel) -> Result<Restored, Error> {
    let rights = job.rights(DeviceSet::from(false), capabilities::remembered(job));
    let clones = Clones::default();
    let means = Means { rights: &rights, chunk_bytes: job.settings.chunk_bytes, clones: &clones, cancel };
    let mut restored = Restored::default();
    let parent = errand.path.parent();
    for above in parent.folders_above().collect::<Vec<_>>().into_iter().rev().chain([parent.clone()]) {
        if let Err(fault) = make_way(errand.to, &above, &rights) {
            restored.note(&above, &fault);
            return Ok(restored);
        }
    }
    if errand.stat.kind() == Kind::Folder {
        bring_tree(errand, &means, &mut restored)?;
    } else {
        let from = errand.from.folder(&errand.lies.parent()).map_err(fatal)?;
        let one = (&from, errand.lies.name(), errand.stat);
        bring_one(one, (errand.to, errand.path, errand.replace), &means, &mut restored);
    }
    if cancel.requested() { Err(Error::Interrupted) } else { Ok(restored) }
}

impl Restored {
    fn note(&mut self, path: &EntryPath, fault: &Fault) {
        self.problems.push(Problem::replica(path, fault.action, &fault.error));
    }
}

fn fatal(fault: Fault) -> Error {
    Error::System { action: fault.action, error: fault.error }
}

/// A folder that is missing on the way, open to whom a new folder is.
fn make_way(to: &LocalStore, path: &EntryPath, rights: &Rights) -> Result<(), Fault> {
    const PLAIN: u32 = 0o777;
    if path.is_root() || to.folder(path).is_ok() {
        return Ok(());
    }
    make(to, path)?;
    let desired = Desired { mode: Some(PLAIN & !rights.umask), ..Desired::default() };
    to.folder(path)?.set_own(&desired, &Attributes::default()).map(drop)
}

fn bring_one<F: Folder>(
    (from, name, stat): (&F, &[u8], &Stat),
    (to, path, replace): (&LocalStore, &EntryPath, bool),
    means: &Means<'_>,
    restored: &mut Restored,
) {
    let bring = || -> Result<(), Fault> {
        let folder = to.folder(&path.parent())?;
        let there = folder.stat(path.name())?;
        let may_replace = replace && there.is_some_and(|there| there.kind() != Kind::Folder);
        if there.is_some() && !may_replace {
            let taken =
                "there is something of this name already; move it away, or name another folder with --to";
            return Err(io::Error::other(taken)).during("restore");
        }
        means.replicate(
            (from, name, stat),
            &Spot { folder: &folder, name: path.name(), replaced: there.as_ref() },
        )
    };
    match bring() {
        Ok(()) => {
            restored.entries += 1;
            restored.bytes += if stat.kind() == Kind::File { stat.fingerprint.size } else { 0 };
        }
        Err(fault) if fault.error.kind() == io::ErrorKind::Interrupted => {}
        Err(fault) => restored.note(path, &fault),
    }
}

/// A folder with all in it; those that are made get their metadata when all is in them.
fn bring_tree(errand: &Errand<'_>, means: &Means<'_>, restored: &mut Restored) -> Result<(), Error> {
    let top = EntryPath::from_bytes([errand.path.as_bytes(), b"/"].concat());
    let lies = EntryPath::from_bytes([errand.lies.as_bytes(), b"/"].concat());
    let store = errand.from.within(&lies).map_err(fatal)?;
    let found = entries(errand.from, &lies, means.cancel).map_err(fatal)?;
    let mut near = NearFolder::new(&store);
    let mut made: Vec<(EntryPath, EntryPath)> = Vec::new();
    for (path, stat) in &found {
        if means.cancel.requested() {
            return Ok(());
        }
        let there = EntryPath::from_bytes([top.as_bytes(), path.as_bytes()].concat());
        if stat.kind() == Kind::Folder {
            if errand.to.folder(&there).is_ok() {
                continue;
            }
            match make(errand.to, &there) {
                Ok(()) => made.push((path.clone(), there)),
                Err(fault) => restored.note(&there, &fault),
            }
            continue;
        }
        match near.of(path) {
            Ok(from) => {
                bring_one((&*from, path.name(), stat), (errand.to, &there, errand.replace), means, restored);
            }
            Err(fault) => restored.note(&there, &fault),
        }
    }
    for (path, there) in made.iter().rev() {
        let finish = || -> Result<(), Fault> {
            let old = store.folder(path)?;
            let stat = old.own_stat()?;
            let attributes =
                means.rights.desired_attributes(&stat, old.own_attributes(means.rights.scope())?);
            errand.to.folder(there)?.set_own(&means.rights.desired_new(&stat, None), &attributes).map(drop)
        };
        if let Err(fault) = finish() {
            restored.note(there, &fault);
        }
    }
    Ok(())
}
