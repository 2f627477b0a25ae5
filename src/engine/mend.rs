//! The way back for what is damaged in the source: the replica's copy, if that is what the manifest knows.

use super::holes::hash_clone;
use super::job::Job;
use super::restore::{Errand, Restored, restore};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::model::{EntryPath, Kind, Record, Stat};
use crate::plan::decide::{Rules, unchanged};
use crate::store::local::LocalStore;
use crate::store::{During, Fault, Folder, Store};
use crate::transfer::Interruption;

/// Why nothing is put into the source.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The replica has nothing of this name.
    #[error("the replica has nothing of this name")]
    NoCopy,
    /// The source has something else there by now.
    #[error(
        "the source was changed since the manifest saw it last, so the replica's copy may be the older one; look at both, \
         or put the copy elsewhere with --to DIR"
    )]
    Changed,
    /// The replica's copy is not what the manifest knows.
    #[error(
        "the replica's copy is not what the manifest knows either (its MD5 is {found}, not {known}); look at it with --to DIR"
    )]
    BadCopy {
        /// What it holds.
        found: String,
        /// What it should hold.
        known: String,
    },
    /// Nothing tells whether the copy is good.
    #[error(
        "the manifest has no MD5 of it that tells whether the replica's copy is good; look at it with --to DIR"
    )]
    Unknown,
}

/// What the replica has of an entry; `None`: nothing.
pub fn copy_of(replica: &LocalStore, path: &EntryPath) -> Result<Option<Stat>, Error> {
    let looked = replica.folder(&path.parent()).and_then(|folder| folder.stat(path.name()));
    match looked {
        Err(fault) if fault.is_absence() => Ok(None),
        looked => looked.map_err(fatal),
    }
}

/// Whether the replica's copy of a file may take the place of what the source has: the source has nothing there, or what
/// the row knows under figures that did not change, and the copy's bytes are those of the row.
pub fn may_replace(
    job: &Job,
    row: Option<&Record>,
    (source, replica): (&LocalStore, &LocalStore),
    (path, copy): (&EntryPath, &Stat),
    rules: &Rules,
    cancel: &Cancel,
) -> Result<Result<(), Refusal>, Error> {
    let Some(there) = copy_of(source, path)? else { return Ok(Ok(())) };
    let Some(row) = row else { return Ok(Err(Refusal::Changed)) };
    let strict = Rules { ignore_ctime: false, ignore_inode: false, ..rules.clone() };
    let are_files = there.kind() == Kind::File && copy.kind() == Kind::File;
    let stands = || unchanged(&there.fingerprint, &row.source, &strict);
    if !are_files || !(stands() || is_lost(job, source, path, cancel)) {
        return Ok(Err(Refusal::Changed));
    }
    let Some(known) = row.digest else { return Ok(Err(Refusal::Unknown)) };
    let folder = replica.folder(&path.parent()).map_err(fatal)?;
    let (file, stat) = folder.open_file(path.name()).map_err(fatal)?;
    let found = match hash_clone(&file, stat.fingerprint.size, job.settings.chunk_bytes, cancel) {
        Ok((_, passed)) => passed.digest(),
        Err(Interruption::Cancelled) => return Err(Error::Interrupted),
        Err(Interruption::Source(error) | Interruption::Replica(error)) => {
            return Err(Error::System { action: "read the replica's copy", error });
        }
    };
    Ok(match found {
        Some(found) if found == known => Ok(()),
        Some(found) => Err(Refusal::BadCopy { found: found.to_string(), known: known.to_string() }),
        None => Err(Refusal::Unknown),
    })
}

/// Whether the disk does not give back what the source has there: then there is nothing to lose.
fn is_lost(job: &Job, source: &LocalStore, path: &EntryPath, cancel: &Cancel) -> bool {
    let read = || -> Result<(), Fault> {
        let (file, stat) = source.folder(&path.parent())?.open_file(path.name())?;
        match hash_clone(&file, stat.fingerprint.size, job.settings.chunk_bytes, cancel) {
            Err(Interruption::Source(error) | Interruption::Replica(error)) => Err(error).during("read"),
            Ok(_) | Err(Interruption::Cancelled) => Ok(()),
        }
    };
    read().is_err_and(|fault| fault.is_broken_content())
}

/// Brings the replica's copy of `path` to its place in `to`.
pub fn bring_back(
    job: &Job,
    (replica, to): (&LocalStore, &LocalStore),
    (path, stat): (&EntryPath, &Stat),
    replace: bool,
    cancel: &Cancel,
) -> Result<Restored, Error> {
    restore(job, &Errand { from: replica, lies: path, stat, to, path, replace }, cancel)
}

fn fatal(fault: Fault) -> Error {
    Error::System { action: fault.action, error: fault.error }
}
