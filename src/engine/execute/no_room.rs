//! New versions of files that have no room beside the old ones (`when_full`).
//!
//! Where little differs the old version is made the new one in place. What is to be written is in a journal beside it first,
//! on the disk, and the manifest knows of it: from then on the file becomes the new version whatever happens, because the
//! next run writes the journal again before it does anything else.
//!
//! RACE: while the journal is written over the file, which takes as long as writing what differs, who reads it sees parts of
//! both versions; after a crash in that time, until the next run. No other way leaves a copy of the file at all times.

use super::{FirstNames, Outcome, Site, batch};
use crate::clock;
use crate::engine::content::{NearFolder, restat};
use crate::engine::holes::is_sparse;
use crate::engine::identity::open_scanned;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::hash::Stream;
use crate::manifest::Manifest;
use crate::model::operation::End;
use crate::model::record::is_racy;
use crate::model::{
    Attributes, Change, Digest, Done, EntryPath, Loss, Operation, Problem, Record, Stat, Timestamp,
    UnfinishedPatch, Verb,
};
use crate::monitor::Monitor;
use crate::plan::consistency::{Verdict, judge};
use crate::plan::desired::Desired;
use crate::plan::when_full::{WhenFull, replaces};
use crate::store::{Applied, During, Fault, Folder, Store, TemporaryName, allocate, attributes_of};
use crate::transfer::fill;
use crate::transfer::pace::unlimited;
use crate::transfer::patch::differing;
use crate::transfer::redo::{Journal, is_complete, records};
use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Bytes compared at a time.
const PIECE: usize = 1 << 20;

/// A file that is ready to be patched.
struct Ready {
    patch: UnfinishedPatch,
    temporary: TemporaryName,
    journal: File,
    file: File,
    old: Stat,
    source: Stat,
    attributes: Attributes,
    digest: Digest,
    began: Timestamp,
}

/// Brings over what found no room, as far as `when_full` allows; returns what is left.
pub(super) fn carry_out<'p, S: Store, R: Store>(
    site: &Site<'_, S, R>,
    left: Vec<&'p Operation>,
    workers: &Workers,
    manifest: &Manifest,
    record: &mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
) -> Result<Vec<&'p Operation>, Error> {
    let mut rest = Vec::new();
    for operation in left {
        if site.cancel.requested() || !replaces(operation) {
            rest.push(operation);
            continue;
        }
        let started = Instant::now();
        let ready = workers.within(|window| {
            window.submit(|| prepare(site, operation));
            window.next().flatten()
        });
        if let Some(ready) = ready {
            let (end, losses) = patch(site, operation, ready, manifest)?;
            let digest = match &end {
                End::Made(Some(Change::Put(row))) => row.digest,
                _ => None,
            };
            let bytes = if matches!(end, End::Made(_)) { operation.bytes() } else { 0 };
            let took = started.elapsed();
            let path = operation.path.clone();
            let verb = Verb::Copy;
            record(vec![Done { path, verb, from: None, end, bytes, digest, took, losses, silent: false }])?;
        } else if let Some(done) = replace(site, operation, workers) {
            record(vec![done])?;
        } else {
            rest.push(operation);
        }
    }
    Ok(rest)
}

/// What else people may do about these, of which the replica keeps older versions.
pub(super) fn advice<S: Store, R: Store>(site: &Site<'_, S, R>, left: &[&Operation]) -> &'static str {
    if !left.iter().any(|operation| replaces(operation)) {
        ""
    } else if site.trash.is_some() {
        ". Older versions stay, because the trash keeps what is overwritten, which needs room for both"
    } else if site.when_full == WhenFull::Replace {
        ". Older versions stay, because removing them would not make room enough"
    } else {
        ". Older versions stay; to have them removed before the new ones are copied, set when_full = \"replace\""
    }
}

/// Writes the journal of what differs, without touching the file. `None`: it is not to be patched, or cannot be.
fn prepare<S: Store, R: Store>(site: &Site<'_, S, R>, operation: &Operation) -> Option<Ready> {
    let most = site.when_full.patches(operation, site.trash.is_some())?;
    let (planned, scanned) = (operation.replica?, operation.source?);
    let (mut sources, mut replicas) = (NearFolder::new(site.source), NearFolder::new(site.replica));
    let ours = sources.of(&operation.path).ok()?;
    let theirs = replicas
        .of_checked(&operation.path, |path, folder| site.check_ground(path, folder).map(drop))
        .ok()?;
    let began = clock::now();
    let (from, source) = open_scanned(&*ours, operation.path.name(), &scanned).ok()?;
    let (file, old) = theirs.open_to_patch(operation.path.name(), planned.fingerprint.inode).ok()?;
    // One with holes may be far larger than what it holds.
    if !old.is_same_object(&planned) || is_sparse(&from, &source) {
        return None;
    }
    let temporary = TemporaryName::fresh(1).ok()?.pop()?;
    let staged = theirs.stage_file(&temporary).ok()?;
    // Where files share blocks, writing over some takes room as well: the copy has tried all there is.
    if site.clones.try_clone(&file, &staged, (old.device, old.device)) {
        let _ = theirs.discard(&temporary);
        return None;
    }
    let journal = Journal::new(staged);
    let ready = || -> io::Result<Option<Ready>> {
        let Some((journal, digest)) = compare(site, (&from, &source), (&file, &old), journal, most)? else {
            return Ok(None);
        };
        let attributes = attributes_of(&from, site.rights.scope()).map_err(|fault| fault.error)?;
        let attributes = site.rights.desired_attributes(&source, attributes);
        let (journal, mark) = journal.finish()?;
        // What is a hole now, or behind the end, must not meet a full disk half way.
        let allocated = records(&journal, mark.bytes, |at, bytes| allocate(&file, at, bytes.len() as u64));
        if allocated.is_err()
            && (old.allocated < old.fingerprint.size || source.fingerprint.size > old.fingerprint.size)
        {
            return Ok(None);
        }
        let patch = UnfinishedPatch {
            path: operation.path.clone(),
            temporary: temporary.as_bytes().to_vec(),
            journal: mark,
            inode: old.fingerprint.inode,
            size: source.fingerprint.size,
        };
        let temporary = temporary.clone();
        Ok(Some(Ready { patch, temporary, journal, file, old, source, attributes, digest, began }))
    };
    let ready = ready().ok().flatten();
    if ready.is_none() {
        // A leftover is litter that the next run removes.
        let _ = theirs.discard(&temporary);
    }
    ready
}

/// Reads both versions and puts what differs into the journal, with the digest of the new one. `None`: more than `most` bytes
/// differ, the source was written to meanwhile, or the run is to stop.
fn compare<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    (from, source): (&File, &Stat),
    (file, old): (&File, &Stat),
    mut journal: Journal,
    most: u64,
) -> io::Result<Option<(Journal, Digest)>> {
    let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut at, mut hash) = (0, Stream::new());
    while at < source.fingerprint.size {
        if site.cancel.requested() {
            return Ok(None);
        }
        let read = fill(from, &mut ours)?;
        if read == 0 {
            break;
        }
        let there = unlimited(file, &mut theirs[..read], at)?;
        let new = &ours[..read];
        differing(at, new, &theirs[..there], |start, end| journal.add(at + start as u64, &new[start..end]))?;
        if journal.bytes() > most {
            return Ok(None);
        }
        hash.update(new);
        at += read as u64;
    }
    let (now, now_there) = (restat(from)?, restat(file)?);
    let is_exact = judge(source, &now, at) == Verdict::Exact && now_there.is_same_object(old);
    Ok(is_exact.then(|| (journal, hash.finish())))
}

/// Makes a file its new version.
fn patch<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    operation: &Operation,
    ready: Ready,
    manifest: &Manifest,
) -> Result<(End, Vec<Loss>), Error> {
    let Ready { patch, temporary, journal, file, old, source, attributes, digest, began } = ready;
    let mut replicas = NearFolder::new(site.replica);
    manifest.note_patch(&patch)?;
    let desired = site.rights.desired_new(&source, Some(&old));
    let written = || -> Result<(Stat, Applied), Fault> {
        let folder = replicas.of(&operation.path)?;
        // Who is to lose access must not see any of the new version.
        let narrowed = desired.mode.map(|mode| mode & old.fingerprint.mode);
        let narrowed = Desired { mode: narrowed, ..Desired::default() };
        folder.finish_file(&file, &narrowed, &Attributes::default())?;
        write_over(&file, &journal, &patch).during("write over")?;
        let applied = folder.finish_file(&file, &desired, &attributes)?;
        file.sync_all().during("make durable (fsync)")?;
        let now = folder.stat(operation.path.name())?;
        let is_it = |now: &Stat| now.fingerprint.inode == old.fingerprint.inode;
        let now = now.filter(is_it).ok_or(io::Error::from(io::ErrorKind::NotFound)).during("look at")?;
        Ok((now, applied))
    }();
    let (replica, applied) = match written {
        Ok(written) => written,
        Err(fault) => {
            let cause = format!(
                "{}; the file is between two versions, and the next run finishes it from the journal {} beside it",
                fault.error,
                String::from_utf8_lossy(temporary.as_bytes())
            );
            return Ok((End::Failed(Problem::replica(&operation.path, fault.action, cause)), Vec::new()));
        }
    };
    manifest.forget_patch(&operation.path)?;
    // A leftover is litter that the next run removes.
    let _ = replicas.of(&operation.path).and_then(|folder| folder.discard(&temporary));
    let losses = site.losses(&source, &desired, &replica, applied);
    let racy = is_racy(source.fingerprint.ctime, began, site.tick_nanos, None);
    let row = Record::new(operation.path.clone(), &source, &replica, Some((digest, began)), racy);
    Ok((End::Made(Some(Change::Put(row))), losses))
}

fn write_over(file: &File, journal: &File, patch: &UnfinishedPatch) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    records(journal, patch.journal.bytes, |at, bytes| file.write_all_at(bytes, at))?;
    file.set_len(patch.size)
}

/// Finishes what an earlier run was in the middle of, before anything else is done.
pub fn finish_patches<R: Store>(
    replica: &R,
    manifest: &Manifest,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    for patch in manifest.patches()? {
        let finished = || -> Result<bool, Fault> {
            let folder = replica.folder(&patch.path.parent())?;
            let Some(temporary) = TemporaryName::given(&patch.temporary) else { return Ok(false) };
            let (journal, _) = folder.reopen_staged(&temporary)?;
            let (file, _) = folder.open_to_patch(patch.path.name(), patch.inode)?;
            if !is_complete(&journal, &patch.journal).during("read the journal of")? {
                return Ok(false);
            }
            write_over(&file, &journal, &patch).during("write over")?;
            file.sync_all().during("make durable (fsync)")?;
            Ok(true)
        }();
        match finished {
            Ok(true) => {
                monitor.note(&format!("{}: its new version was finished from the journal", patch.path));
            }
            Err(fault) if fault.is_lack_of_room() || fault.is_lost_disk() => continue,
            // Without its journal, or as another file, it is compared with the source like any other.
            Ok(false) | Err(_) => {}
        }
        manifest.forget_patch(&patch.path)?;
    }
    Ok(())
}

/// Removes the old version and copies the new one, where that was asked for and will find room. `None`: it is not done.
fn replace<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    operation: &Operation,
    workers: &Workers,
) -> Option<Done> {
    let old = operation.replica?;
    let mut replicas = NearFolder::new(site.replica);
    let checked = |path: &EntryPath, folder: &R::Folder| site.check_ground(path, folder).map(drop);
    let folder = replicas.of_checked(&operation.path, checked).ok()?;
    let free = folder.free_bytes().ok()?;
    if !site.when_full.removes(operation, site.trash.is_some(), free) {
        return None;
    }
    folder.remove(operation.path.name(), &old).ok()?;
    site.full.store(false, Ordering::Relaxed);
    site.no_room_from.store(u64::MAX, Ordering::Relaxed);
    let alone = Operation { replica: None, ..operation.clone() };
    let none = FirstNames::new();
    let outcomes = workers.within(|window| {
        window.submit(|| batch::carry_out(site, &[&alone], &none));
        window.next().unwrap_or_default()
    });
    let Outcome { mut done, .. } = outcomes.into_iter().next()?;
    let gone = "the old version was removed to make room (when_full = \"replace\"), so that the replica has no copy of it \
                now. The next run tries again";
    done.end = match done.end {
        End::Failed(problem) | End::Full(problem) => {
            let cause = format!("{}; {gone}", problem.cause);
            End::Failed(Problem::replica(&operation.path, "copy", cause))
        }
        end => end,
    };
    Some(done)
}
