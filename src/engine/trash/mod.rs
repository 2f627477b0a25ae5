//! The trash: where what a run deletes or overwrites goes, so that it can be brought back.
//!
//! Every run that puts anything there has a folder of its own in it, named after the time it began, and in that
//! every entry lies under the path it had. What is deleted is renamed to there; what is overwritten gets a second
//! name there first, so that its own name has the old or the new content at every instant. What has more names
//! than one is copied instead: a further name would look like a stranger's to the next run.

mod expire;
mod open;
mod versions;

pub use expire::entries;
pub use open::Opened;
pub use versions::{Version, parse_stamp, versions};

use super::replicate::{Means, Spot, temporary_name};
use crate::model::{EntryPath, Kind, Stat};
use crate::plan::desired::Rights;
use crate::store::{Fault, Folder, Staging, Store, Target};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The trash of a run.
#[derive(Debug)]
pub struct Trash<R: Store> {
    /// The folder with all of it.
    store: R,
    /// The run's own folder, made when something comes into it.
    run: EntryPath,
    /// Where inodes with several names were copied to, by device and inode.
    copies: Mutex<HashMap<(u64, u64), EntryPath>>,
    /// What was kept before something displaced it, and lies under a temporary name until it is deleted.
    displaced: Mutex<HashMap<EntryPath, (u64, u64)>>,
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// What has a second name in the trash, until what takes its place is there.
pub struct Kept {
    path: EntryPath,
    stat: Stat,
}

impl<R: Store> Trash<R> {
    /// That of a run whose folder in `store` is to be `run`.
    pub fn new(store: R, run: EntryPath) -> Self {
        let (entries, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { store, run, copies: Mutex::default(), displaced: Mutex::default(), entries, bytes }
    }

    /// Entries that came into it by this run, folders not counted, and the bytes of its files.
    pub fn taken(&self) -> (u64, u64) {
        (self.entries.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Removes `name`, which is or was the entry `path` and must still be `planned`, by putting it into the trash.
    /// `false`: it was gone.
    pub fn take(
        &self,
        means: &Means<'_>,
        (folder, name, planned): (&R::Folder, &[u8], &Stat),
        path: &EntryPath,
    ) -> Result<bool, Fault> {
        let Some(now) = folder.stat(name)? else { return Ok(false) };
        if !now.is_same_object(planned) {
            // Which is refused there, with the reason.
            return folder.remove(name, planned);
        }
        if now.kind() == Kind::Folder {
            return self.take_folder(means.rights, folder, name, planned, path);
        }
        if lock(&self.displaced).get(path) == Some(&identity(&now)) {
            // It is there since before something displaced it.
            return folder.remove(name, planned);
        }
        let into = self.place(path)?;
        if now.links == 1 {
            match folder.relocate(name, planned, &into, path.name(), None) {
                Ok(_) => {
                    self.count(&now);
                    return Ok(true);
                }
                // What is mounted in the replica lies on another file system.
                Err(fault) if fault.is_crossing() => {}
                Err(fault) => return Err(fault),
            }
        }
        self.copy(means, (folder, name, &now), path, &into)?;
        folder.remove(name, planned)
    }

    /// An emptied folder: the one in the trash gets its metadata, with the time that it had before it was emptied.
    fn take_folder(
        &self,
        rights: &Rights,
        folder: &R::Folder,
        name: &[u8],
        planned: &Stat,
        path: &EntryPath,
    ) -> Result<bool, Fault> {
        let own = self.folder(path)?;
        let (_, found) = folder.attributes(name, rights.scope())?;
        let attributes = rights.desired_attributes(planned, found);
        let removed = folder.remove(name, planned)?;
        own.set_own(&rights.desired_new(planned, None), &attributes)?;
        Ok(removed)
    }

    /// Gives `name`, which is the entry `path` and is to be overwritten, a second name in the trash. `None`: it is
    /// not what was `planned`, which whoever overwrites it finds as well.
    pub fn keep(
        &self,
        means: &Means<'_>,
        (folder, name, planned): (&R::Folder, &[u8], &Stat),
        path: &EntryPath,
    ) -> Result<Option<Kept>, Fault> {
        let now = folder.stat(name)?.filter(|now| now.is_same_object(planned) && now.kind() != Kind::Folder);
        let Some(now) = now else { return Ok(None) };
        let into = self.place(path)?;
        let kept = Kept { path: path.clone(), stat: now };
        if now.links == 1 && link((folder, name), &into, path.name(), Some(&now))? {
            self.count(&now);
        } else {
            self.copy(means, (folder, name, &now), path, &into)?;
        }
        Ok(Some(kept))
    }

    /// The same for what something of the other kind is about to displace: deleting it then only removes it.
    pub fn keep_displaced(
        &self,
        means: &Means<'_>,
        old: (&R::Folder, &[u8], &Stat),
        path: &EntryPath,
    ) -> Result<(), Fault> {
        if let Some(kept) = self.keep(means, old, path)? {
            lock(&self.displaced).insert(path.clone(), identity(&kept.stat));
        }
        Ok(())
    }

    /// Takes back what [`Trash::keep`] did: what was to be overwritten was not.
    pub fn give_back(&self, kept: &Kept) {
        // A leftover is one version more.
        let taken = self.place(&kept.path).and_then(|into| into.remove(kept.path.name(), &kept.stat));
        if taken.is_ok_and(|removed| removed) {
            self.entries.fetch_sub(1, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes(&kept.stat), Ordering::Relaxed);
        }
    }

    fn count(&self, stat: &Stat) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes(stat), Ordering::Relaxed);
    }

    /// Copies what cannot be in the trash by itself; the names of one inode stay names of one.
    fn copy(
        &self,
        means: &Means<'_>,
        (folder, name, now): (&R::Folder, &[u8], &Stat),
        path: &EntryPath,
        into: &R::Folder,
    ) -> Result<(), Fault> {
        let first = if now.links > 1 { lock(&self.copies).get(&identity(now)).cloned() } else { None };
        if let Some(first) = first {
            let lies = self.place(&first)?;
            if link((&lies, first.name()), into, path.name(), None)? {
                self.entries.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        let spot = Spot { folder: into, name: path.name(), replaced: None };
        means.replicate((folder, name, now), &spot)?;
        lock(&self.copies).insert(identity(now), path.clone());
        self.count(now);
        Ok(())
    }

    /// The folder in the trash that the entry `path` belongs in.
    fn place(&self, path: &EntryPath) -> Result<R::Folder, Fault> {
        self.folder(&path.parent())
    }

    /// The folder `path` in the trash, made where it is missing, for its owner only until it gets what it had.
    fn folder(&self, path: &EntryPath) -> Result<R::Folder, Fault> {
        let own = EntryPath::from_bytes([self.run.as_bytes(), path.as_bytes()].concat());
        match self.store.folder(&own) {
            Err(fault) if fault.is_absence() => {}
            result => return result,
        }
        let mut missing: Vec<EntryPath> = own.folders_above().collect();
        missing.reverse();
        missing.push(own.clone());
        for folder in &missing {
            make(&self.store, folder)?;
        }
        self.store.folder(&own)
    }
}

/// Makes a hard link to what has a name; `false`: the file system does not take it, or it is not what was `expected`.
fn link<F: Folder>(
    (folder, name): (&F, &[u8]),
    into: &F,
    to: &[u8],
    expected: Option<&Stat>,
) -> Result<bool, Fault> {
    let temporary = temporary_name()?;
    match into.stage_link(&temporary, folder, name) {
        Err(fault) if fault.is_refusal_to_link() => return Ok(false),
        result => result?,
    }
    let made = into.stat(temporary.as_bytes())?;
    let right = expected.is_none_or(|expected| made.is_some_and(|made| made.is_same_object(expected)));
    if !right {
        // Where names have inode numbers of their own, that is so for each; otherwise copying it finds out what changed.
        let _ = into.discard(&temporary);
        return Ok(false);
    }
    let published = into.publish(&temporary, to, Target::Absent);
    if published.is_err() {
        // A leftover has a name that says what it is.
        let _ = into.discard(&temporary);
    }
    published.map(|()| true)
}

/// Makes the folder `path` if it is missing.
pub fn make<R: Store>(store: &R, path: &EntryPath) -> Result<(), Fault> {
    let parent = store.folder(&path.parent())?;
    if parent.stat(path.name())?.is_some() {
        return Ok(());
    }
    let temporary = temporary_name()?;
    parent.stage_other(&temporary, Staging::Folder)?;
    let published = parent.publish(&temporary, path.name(), Target::Absent);
    if published.is_err() {
        // A leftover has a name that says what it is.
        let _ = parent.discard(&temporary);
        // Another worker was quicker.
        if parent.stat(path.name())?.is_some() {
            return Ok(());
        }
    }
    published
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Device and inode.
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.device, stat.fingerprint.inode)
}

fn bytes(stat: &Stat) -> u64 {
    if stat.kind() == Kind::File { stat.fingerprint.size } else { 0 }
}
