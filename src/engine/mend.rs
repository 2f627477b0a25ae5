//! The way back for what is damaged in the source: the replica's copy, if that is what the manifest knows.

use super::holes::hash_clone;
use super::job::Job;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::model::{Digest, EntryPath, Kind, Record, Stat};

use crate::store::local::LocalStore;
use crate::store::{During, Fault, Folder, Store};
use crate::transfer::Interruption;
use std::io;

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

/// Whether the replica's copy may take the place of what the source has: the source has nothing there, or a file that the
/// row knows under figures that did not change, or that its disk does not give back; and what the row knows of the bytes is what
/// the copy holds.
pub fn may_replace(
    job: &Job,
    row: Option<&Record>,
    (source, replica): (&LocalStore, &LocalStore),
    (path, copy): (&EntryPath, &Stat),
    cancel: &Cancel,
) -> Result<Result<(), Refusal>, Error> {
    let there = copy_of(source, path)?;
    let digest = row.and_then(|row| row.digest).filter(|_| copy.kind() == Kind::File);
    let Some(known) = digest else {
        let refusal = if row.is_some() { Refusal::Unknown } else { Refusal::Changed };
        return Ok(there.map_or(Ok(()), |_| Err(refusal)));
    };
    let stands = |there: &Stat| row.is_some_and(|row| there.fingerprint == row.source);
    if let Some(there) = there
        && !(there.kind() == Kind::File && (stands(&there) || is_lost(job, source, path, cancel)))
    {
        return Ok(Err(Refusal::Changed));
    }
    match hash(job, replica, path, cancel) {
        Ok(Some(found)) if found == known => Ok(Ok(())),
        Ok(Some(found)) => Ok(Err(Refusal::BadCopy { found: found.to_string(), known: known.to_string() })),
        Ok(None) => Ok(Err(Refusal::Unknown)),
        Err(_) if cancel.requested() => Err(Error::Interrupted),
        Err(fault) => Err(fatal(fault)),
    }
}

/// Whether the disk does not give back what the source has there: then there is nothing to lose.
fn is_lost(job: &Job, source: &LocalStore, path: &EntryPath, cancel: &Cancel) -> bool {
    hash(job, source, path, cancel).is_err_and(|fault| fault.is_broken_content())
}

/// The MD5 of a file; `None` where its holes are too large for that.
fn hash(job: &Job, store: &LocalStore, path: &EntryPath, cancel: &Cancel) -> Result<Option<Digest>, Fault> {
    let (file, stat) = store.folder(&path.parent())?.open_file(path.name())?;
    match hash_clone(&file, stat.fingerprint.size, job.settings.chunk_bytes, cancel) {
        Ok((_, passed)) => Ok(passed.digest()),
        Err(Interruption::Source(error) | Interruption::Replica(error)) => Err(error).during("read"),
        Err(Interruption::Cancelled) => Err(io::Error::from(io::ErrorKind::Interrupted)).during("read"),
    }
}

fn fatal(fault: Fault) -> Error {
    Error::System { action: fault.action, error: fault.error }
}
