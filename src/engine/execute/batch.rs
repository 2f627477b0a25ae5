//! One batch on one worker: stage all, hash all, make all durable, publish each, say what is true.

use super::large::{Again, is_large};
use super::names::{FirstNames, verb_of};
use super::prepared::{Content, Prepared};
use super::stage::Stager;
use super::{Outcome, Site};
use crate::config::file::Durability;
use crate::engine::content::{Arena, restat};
use crate::hash::digest_many;
use crate::model::operation::End;
use crate::model::record::is_racy;
use crate::model::{
    Attributes, Change, Digest, Done, Loss, Mark, Operation, Partial, Problem, Record, StagedObject,
    Timestamp, Verb,
};
use crate::plan::consistency::Consistency;
use crate::plan::desired::Desired;
use crate::store::{Fault, Folder, RENAME, Store, Target, Writes};
use crate::transfer::cache::let_all_go;
use std::time::Instant;

/// Carries out a batch of operations that are no folders and no deletes.
pub(super) fn carry_out<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    batch: &[&Operation],
    firsts: &FirstNames,
) -> Vec<Outcome> {
    Arena::with(site.chunk_bytes, |arena| {
        let abreast = batch.iter().all(|operation| is_large(operation));
        let manner = if abreast { Manner::Abreast } else { Manner::InTurn { changes: false } };
        let (mut outcomes, again) = with_arena(site, batch, firsts, manner, arena);
        for (index, changes) in again {
            let manner = Manner::InTurn { changes };
            let (alone, _) = with_arena(site, &batch[index..=index], firsts, manner, arena);
            outcomes.splice(index..=index, alone);
        }
        outcomes
    })
}

/// How the entries of a batch are prepared.
#[derive(Clone, Copy)]
enum Manner {
    /// Large files side by side.
    Abreast,
    /// One after the other; files are known to be written to while they are read if it `changes`.
    InTurn { changes: bool },
}

/// Carries out a batch. Returns also the numbers of those that are to be tried again alone, and whether they were
/// written to while they were read.
fn with_arena<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    batch: &[&Operation],
    firsts: &FirstNames,
    manner: Manner,
    arena: &mut Arena,
) -> (Vec<Outcome>, Vec<(usize, bool)>) {
    let started = Instant::now();
    let mut writes = None;
    let stager = begin_writes(site, batch).and_then(|begun| {
        writes = begun;
        Stager::new(site, firsts, batch.len())
    });
    let mut again = Vec::new();
    let mut prepared: Vec<Result<Prepared<R::Folder>, End>> = match stager {
        Ok(mut stager) => match manner {
            Manner::Abreast => {
                let attempts = stager.prepare_abreast(batch).into_iter().enumerate();
                let mut ended = |(index, attempt)| match attempt {
                    Ok(result) => result,
                    Err(Again { changes }) => {
                        again.push((index, changes));
                        Err(End::Skipped)
                    }
                };
                attempts.map(&mut ended).collect()
            }
            Manner::InTurn { changes } => {
                stager.changes = changes;
                batch.iter().map(|operation| stager.prepare(operation, arena)).collect()
            }
        },
        Err(fault) => batch.iter().map(|operation| Err(site.failure(operation, &fault))).collect(),
    };
    // Unlinking what nobody waits for is quick; making it durable might not be.
    let verdict =
        if site.cancel.requested() { Err(None) } else { make_durable(writes, &prepared).map_err(Some) };
    let digests = digests(&prepared, arena);
    let mut outcomes = Vec::with_capacity(batch.len());
    for ((operation, prepared), digest) in batch.iter().zip(prepared.drain(..)).zip(digests) {
        let (mut aside, mut losses) = (None, Vec::new());
        let mut found = digest;
        let linked = prepared.as_ref().is_ok_and(Prepared::is_link);
        let verb = verb_of(operation.verb, linked, operation);
        let copied = match &prepared {
            Ok(prepared) if verb == Verb::Copy => prepared.source.fingerprint.size,
            _ => 0,
        };
        let (staged, mut kept) = (prepared.is_ok(), false);
        let end = match (prepared, &verdict) {
            (Err(end), _) => end,
            (Ok(prepared), Err(None)) if keep_whole(site, operation, &prepared, digest) => {
                kept = true;
                End::Skipped
            }
            (Ok(prepared), Err(refusal)) => {
                prepared.discard();
                refusal.as_ref().map_or(End::Skipped, |fault| site.failure(operation, fault))
            }
            (Ok(mut prepared), Ok(())) => {
                found = found.or(still_known(operation, &prepared).map(|(digest, _)| digest));
                match publish(site, operation, &mut prepared, digest) {
                    Ok((change, lost)) => {
                        losses = lost;
                        aside = prepared.temporary.filter(|_| operation.displaces);
                        End::Made(Some(change))
                    }
                    Err(end) => {
                        // After an exchange the temporary's name is the old entry's.
                        if !operation.displaces {
                            prepared.discard();
                        }
                        end
                    }
                }
            }
        };
        // What was published, or discarded, is no part of a copy any more.
        if staged && !kept && is_large(operation) {
            site.partials.forget(&operation.path);
        }
        let bytes = if matches!(end, End::Made(_)) { copied } else { 0 };
        let done = Done {
            path: operation.path.clone(),
            verb,
            from: operation.from.clone().filter(|_| linked),
            end,
            bytes,
            digest: found,
            took: std::time::Duration::ZERO,
            losses,
            silent: false,
        };
        outcomes.push(Outcome { done, aside });
    }
    let share = started.elapsed() / u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
    for outcome in &mut outcomes {
        outcome.done.took = share;
    }
    (outcomes, again)
}

/// What the batch stages is made durable together, where that is asked for.
fn begin_writes<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    batch: &[&Operation],
) -> Result<Option<R::Writes>, Fault> {
    let stages = batch.iter().any(|operation| operation.verb != Verb::Metadata);
    let wanted = stages && site.durability == Durability::Batch;
    wanted.then(|| site.replica.begin_writes()).transpose()
}

/// One syncfs for all that the batch staged. An error is final: a second call would lie.
fn make_durable<W: Writes, F: Folder, E>(
    writes: Option<W>,
    prepared: &[Result<Prepared<F>, E>],
) -> Result<(), Fault> {
    let is_new = |prepared: &Prepared<F>| prepared.temporary.is_some() && !prepared.is_link();
    let staged = prepared.iter().flatten().any(is_new);
    writes.filter(|_| staged).map_or(Ok(()), Writes::make_durable)?;
    prepared.iter().flatten().filter_map(|prepared| prepared.written.as_ref()).for_each(let_all_go);
    Ok(())
}

/// Leaves a large file that is complete, and does not get its name because the run is to stop, to the next run; `false`: that is
/// not possible.
fn keep_whole<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    operation: &Operation,
    prepared: &Prepared<R::Folder>,
    digest: Option<Digest>,
) -> bool {
    let Prepared { folder, temporary, written, source, began, consistency, .. } = prepared;
    let (Some(temporary), Some(file), Some(digest)) = (temporary, written, digest) else { return false };
    if *consistency != Consistency::Exact || is_racy(source.fingerprint.ctime, *began, site.tick_nanos, None)
    {
        return false;
    }
    // Nobody but its owner may write to it until it goes on, and nobody but us is that.
    let (uid, gid) = (Some(site.rights.uid), Some(site.rights.gid));
    let closed = Desired { mode: Some(0o600), uid, gid, mtime: None, with_access_time: false };
    let closed = folder.finish_file(file, &closed, &Attributes::default());
    let closed = closed.is_ok_and(|applied| applied.losses.is_empty());
    let Some(made) = restat(file).ok().filter(|_| closed) else { return false };
    let partial = Partial {
        path: operation.path.clone(),
        temporary: temporary.as_bytes().to_vec(),
        object: StagedObject::of(&made),
        began: *began,
        source: source.fingerprint,
        durable: None,
        written: Mark { bytes: source.fingerprint.size, digest },
    };
    site.partials.note(partial, true);
    true
}

/// The digest of each prepared content; those in memory are hashed side by side.
fn digests<F: Folder>(prepared: &[Result<Prepared<F>, End>], arena: &Arena) -> Vec<Option<Digest>> {
    let in_memory =
        |prepared: &Result<Prepared<F>, End>| match prepared.as_ref().map(|prepared| &prepared.content) {
            Ok(Content::InArena(range)) => Some(range.clone()),
            _ => None,
        };
    let ranges: Vec<_> = prepared.iter().filter_map(in_memory).collect();
    let contents: Vec<&[u8]> = ranges.iter().map(|range| arena.get(range)).collect();
    let mut hashed = digest_many(&contents).into_iter();
    prepared
        .iter()
        .map(|prepared| match prepared.as_ref().map(|prepared| &prepared.content) {
            Ok(Content::InArena(_)) => hashed.next(),
            Ok(Content::Passed(passed)) => passed.digest(),
            Ok(Content::Linked(first)) => first.digest,
            Ok(Content::None) | Err(_) => None,
        })
        .collect()
}

/// The digest that the plan knows, as long as the source has the figures that it was planned by.
fn still_known<F: Folder>(operation: &Operation, prepared: &Prepared<F>) -> Option<(Digest, Timestamp)> {
    let planned = operation.source.is_none_or(|scanned| scanned.fingerprint == prepared.source.fingerprint);
    operation.content.filter(|_| planned)
}

/// Gives a staged entry its name (or mends one in place) and returns what is true then, and what it is without.
fn publish<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    operation: &Operation,
    prepared: &mut Prepared<R::Folder>,
    digest: Option<Digest>,
) -> Result<(Change, Vec<Loss>), End> {
    let mut applied = std::mem::take(&mut prepared.applied);
    let prepared = &*prepared;
    let path = &operation.path;
    let failed = |fault: Fault| site.failure(operation, &fault);
    let (source, began) = (&prepared.source, prepared.began);
    let folder = &prepared.folder;
    let mut desired = site.rights.desired_new(source, operation.replica.as_ref());
    let replica = if let Some(temporary) = &prepared.temporary {
        if let (Verb::Copy, Some((known, _)), Some(found)) =
            (operation.verb, still_known(operation, prepared), digest)
            && known != found
        {
            let cause = "its bytes are not those the manifest knows, though its size, times and inode say \
                         that it did not change: it may be damaged. If it is right as it is, touch it";
            return Err(End::Failed(Problem::source(path, "copy", cause)));
        }
        let target = match &operation.replica {
            _ if operation.displaces => Target::Exchange,
            None => Target::Absent,
            Some(planned) => Target::Replace(planned),
        };
        let kept = match target {
            Target::Replace(planned) => site.keep((&**folder, path.name(), planned), path).map_err(failed)?,
            Target::Absent | Target::Exchange => None,
        };
        folder.publish(temporary, path.name(), target).map_err(|fault| {
            if let Some((trash, kept)) = &kept {
                trash.give_back(kept);
            }
            // Nothing was exchanged: the temporary is still what was staged.
            if operation.displaces && fault.action == RENAME {
                prepared.discard();
            }
            failed(fault)
        })?;
        folder.stat(path.name()).map_err(failed)?.ok_or(End::Vanished)?
    } else {
        let planned = operation.replica.as_ref().ok_or(End::Vanished)?;
        desired = site.rights.desired(source);
        let (replica, refused) =
            match folder.set_metadata(path.name(), planned, &desired, &prepared.attributes) {
                Err(fault) if fault.is_absence() => return Err(End::Vanished),
                result => result.map_err(failed)?,
            };
        applied = refused;
        replica
    };
    if let Content::Linked(first) = &prepared.content {
        let mut row = Record::new(path.clone(), source, &replica, None, first.racy);
        (row.digest, row.hashed) = (first.digest, first.hashed);
        return Ok((Change::Put(row), Vec::new()));
    }
    site.note_marks(path, &applied);
    let losses = site.losses(source, &desired, &replica, applied);
    let content = digest.map(|digest| (digest, began)).or(still_known(operation, prepared));
    // A name that is no link is tried again on the next run.
    let racy = prepared.consistency != Consistency::Exact
        || prepared.link_lost
        || is_racy(source.fingerprint.ctime, began, site.tick_nanos, None);
    if prepared.consistency == Consistency::Mixed {
        site.mixed.add(path);
    }
    Ok((Change::Put(Record::new(path.clone(), source, &replica, content, racy)), losses))
}
