//! A hand of large files, copied side by side by one worker: every byte is read once, written, and
//! hashed in a lane of the vector registers.
//!
//! Only what goes smoothly is done here. What was written to while it was read, or found no room while others took
//! theirs, is copied again by itself, once the others have got their names.

use super::changing::match_clone;
use super::prepared::{Content, Prepared};
use super::stage::{Reading, Stager, Way, unread};
use super::staged_file::StagedFile;
use crate::cancel::Cancel;
use crate::clock;
use crate::engine::abreast::{ABREAST, Lane, abreast, piece_bytes};
use crate::engine::content::{SMALL, restat};
use crate::engine::holes::{Passed, hash_again, is_sparse};
use crate::engine::identity::open_scanned;
use crate::hash::Stream;
use crate::model::operation::End;
use crate::model::{Kind, Operation, Stat, Timestamp, Verb};
use crate::plan::consistency::{Consistency, Verdict, judge};
use crate::store::{During, Fault, Folder, Store, attributes_of};
use crate::transfer::cache::{FLOOD, Passage, Written};
use crate::transfer::{Interruption, fill};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};

/// What became of one of the files: it is prepared or is not to be, or it is to be copied again by itself.
pub(super) type Attempt<F> = Result<Result<Prepared<F>, End>, Again>;

/// Why a file is to be copied again.
#[derive(Clone, Copy)]
pub(super) struct Again {
    /// It was written to while it was read.
    pub(super) changes: bool,
}

/// Whether an operation copies a large file.
pub(super) fn is_large(operation: &Operation) -> bool {
    let file = operation.source.filter(|source| source.kind() == Kind::File);
    operation.verb == Verb::Copy && file.is_some_and(|source| source.fingerprint.size > SMALL)
}

/// So many files are copied side by side where a batch may hold the folders of so many: both
/// sides of each are open as well.
pub(super) fn lanes(batch_files: usize) -> usize {
    (batch_files / 4).clamp(1, ABREAST)
}

/// A file on its way.
struct Crossing<'c, S: Folder, R: Folder> {
    index: usize,
    way: Way<S, R>,
    target: File,
    file: File,
    source: Stat,
    began: Timestamp,
    /// The target is a clone: how that relates to the file.
    cloned: Option<Consistency>,
    buffer: Vec<u8>,
    filled: usize,
    at: u64,
    /// There was more than its size says.
    goes_on: bool,
    hash: Stream,
    cache: Option<(Passage, Written)>,
    broken: Option<Broken>,
    cancel: &'c Cancel,
}

/// What came of opening both sides of a file; `None`: it is none of those that are copied here.
type SetOut<'c, S, R> = Result<Option<Crossing<'c, <S as Store>::Folder, <R as Store>::Folder>>, End>;

/// Why a file did not arrive.
enum Broken {
    Source(io::Error),
    Replica(Fault),
    Cancelled,
}

impl<S: Folder, R: Folder> Lane for Crossing<'_, S, R> {
    fn advance(&mut self) -> bool {
        self.filled = 0;
        match self.pass() {
            Ok(()) => self.filled == self.buffer.len() && self.at < self.source.fingerprint.size,
            Err(broken) => {
                self.broken = Some(broken);
                false
            }
        }
    }

    fn hashing<'l>(&'l mut self, work: &mut Vec<(&'l mut Stream, &'l [u8])>) {
        if self.filled > 0 {
            work.push((&mut self.hash, &self.buffer[..self.filled]));
        }
    }
}

impl<S: Folder, R: Folder> Crossing<'_, S, R> {
    /// Takes the next piece over.
    fn pass(&mut self) -> Result<(), Broken> {
        if self.cancel.requested() {
            return Err(Broken::Cancelled);
        }
        let replica = |error| Broken::Replica(Fault { action: "write", error });
        let left = usize::try_from(self.source.fingerprint.size - self.at).unwrap_or(usize::MAX);
        let read = if self.cloned.is_some() {
            fill(&self.target, &mut self.buffer).map_err(replica)?
        } else {
            fill(&self.file, &mut self.buffer).map_err(Broken::Source)?
        };
        // What was added since it was opened is for the next run.
        self.goes_on |= read > left;
        self.filled = read.min(left);
        if self.cloned.is_none() {
            self.target.write_all(&self.buffer[..self.filled]).map_err(replica)?;
        }
        self.at += self.filled as u64;
        match &mut self.cache {
            Some((passage, _)) if self.cloned.is_some() => passage.was_read(&self.target, self.at),
            Some((passage, written)) => {
                passage.was_read(&self.file, self.at);
                written.was_written(&self.target, self.at);
            }
            None => {}
        }
        Ok(())
    }
}

impl<'s, S: Store, R: Store> Stager<'s, S, R> {
    /// Prepares a hand of large files, in its order.
    pub(super) fn prepare_abreast(&mut self, hand: &[&Operation]) -> Vec<Attempt<R::Folder>> {
        let mut attempts: Vec<Attempt<R::Folder>> = hand.iter().map(|_| Ok(Err(End::Skipped))).collect();
        let lanes = lanes(self.site.batch_files);
        let piece = piece_bytes(self.site.chunk_bytes, hand.len().min(lanes));
        let spare: RefCell<Vec<Vec<u8>>> = RefCell::default();
        let (attempts_cell, stager) = (RefCell::new(&mut attempts), RefCell::new(self));
        let mut waiting = hand.iter().enumerate();
        let next = || {
            for (index, operation) in waiting.by_ref() {
                let buffer = spare.borrow_mut().pop().unwrap_or_else(|| vec![0; piece]);
                let begun = stager.borrow_mut().set_out(index, operation, buffer);
                match begun {
                    Ok(Some(crossing)) => return Some(crossing),
                    Ok(None) => attempts_cell.borrow_mut()[index] = Err(Again { changes: false }),
                    Err(end) => attempts_cell.borrow_mut()[index] = Ok(Err(end)),
                }
            }
            None
        };
        abreast(lanes, next, |mut crossing| {
            spare.borrow_mut().push(std::mem::take(&mut crossing.buffer));
            let index = crossing.index;
            let attempt = stager.borrow().arrive(hand[index], crossing, hand.len() > 1);
            attempts_cell.borrow_mut()[index] = attempt;
        });
        attempts
    }

    /// Opens both sides of one file.
    fn set_out(&mut self, index: usize, operation: &Operation, buffer: Vec<u8>) -> SetOut<'s, S, R> {
        let site = self.site;
        if site.cancel.requested() || !site.may_have_room(operation) {
            return Err(End::Skipped);
        }
        let way = self.way(operation)?;
        let began = clock::now();
        let unread = |fault: Fault| unread(operation, &fault);
        let scanned = operation.source.as_ref().ok_or(End::Vanished)?;
        let (file, mut source) = open_scanned(&*way.ours, operation.path.name(), scanned).map_err(unread)?;
        if source.fingerprint.size <= SMALL || is_sparse(&file, &source) {
            return Ok(None);
        }
        let mut target = StagedFile::of(&way);
        let opened = target.emptied().map_err(|fault| site.failure(operation, &fault))?;
        let cloned = if site.clones.try_clone(&file, opened, (source.device, way.device)) {
            Some(match_clone(&file, opened, &mut source).during("read"))
        } else {
            None
        };
        let ready = cloned.transpose().map_err(unread).and_then(|cloned| {
            let target = target.into_emptied(cloned.is_some());
            Ok((cloned, target.map_err(|fault| site.failure(operation, &fault))?))
        });
        let (cloned, target) = ready.inspect_err(|_| {
            // A leftover is litter that the next run removes.
            let _ = way.theirs.discard(&way.temporary);
        })?;
        let size = source.fingerprint.size;
        let passage = |from: &File| (Passage::of(from, size), Written::default());
        let from = if cloned.is_some() { &target } else { &file };
        let cache = (size > FLOOD).then(|| passage(from));
        let (hash, cancel) = (Stream::new(), site.cancel);
        let (filled, at, goes_on, broken) = (0, 0, false, None);
        Ok(Some(Crossing {
            index,
            way,
            target,
            file,
            source,
            began,
            cloned,
            buffer,
            filled,
            at,
            goes_on,
            hash,
            cache,
            broken,
            cancel,
        }))
    }

    /// Finishes a file that has come to its end; `in_company`: room that it did not find may be there
    /// when the others are done.
    fn arrive(
        &self,
        operation: &Operation,
        crossing: Crossing<'_, S::Folder, R::Folder>,
        in_company: bool,
    ) -> Attempt<R::Folder> {
        let Crossing { way, target, file, source, began, cloned, at, goes_on, hash, broken, cache, .. } =
            crossing;
        let again = |changes| Ok(Err(Again { changes }));
        let conclude = || -> Result<Result<Reading, Again>, End> {
            match broken {
                None => {}
                Some(Broken::Cancelled) => return Err(End::Skipped),
                Some(Broken::Source(error)) => {
                    return Err(unread(operation, &Fault { action: "read", error }));
                }
                Some(Broken::Replica(fault)) if in_company && fault.is_lack_of_room() => return again(false),
                Some(Broken::Replica(fault)) => return Err(self.site.failure(operation, &fault)),
            }
            let unread = |fault: Fault| unread(operation, &fault);
            let found = attributes_of(&file, self.site.rights.scope()).map_err(unread)?;
            let attributes = self.site.rights.desired_attributes(&source, found);
            let content = Passed::Hashed(hash.finish());
            let consistency = match cloned {
                Some(_) if at != source.fingerprint.size => return again(false),
                Some(consistency) => consistency,
                None => match judge(
                    &source,
                    &restat(&file).during("read").map_err(unread)?,
                    at + u64::from(goes_on),
                ) {
                    Verdict::Exact => Consistency::Exact,
                    Verdict::Unproven if self.is_proven(operation, &way, (&file, &source), content)? => {
                        Consistency::Snapshot
                    }
                    verdict => return again(verdict != Verdict::WrongSize),
                },
            };
            let (content, cloned) = (Content::Passed(content), cloned.is_some());
            Ok(Ok(Reading { content, source, attributes, began, consistency, cloned }))
        };
        let finished = conclude().and_then(|reading| match reading {
            Ok(reading) => {
                let applied = self.finish_file(operation, &*way.theirs, &target, &reading)?;
                Ok(Ok((reading, applied)))
            }
            Err(again) => Ok(Err(again)),
        });
        match finished {
            Ok(Ok((reading, applied))) => {
                let prepared = Prepared::staged(way.theirs, way.temporary, reading);
                let (incomplete, written) = (applied.attributes_lost, cache.map(|_| target));
                Ok(Ok(Prepared { incomplete, written, ..prepared }))
            }
            stopped => {
                // A leftover is litter that the next run removes.
                let _ = way.theirs.discard(&way.temporary);
                match stopped {
                    Ok(Err(again)) => Err(again),
                    Err(end) => Ok(Err(end)),
                    Ok(Ok(_)) => Ok(Err(End::Skipped)),
                }
            }
        }
    }

    /// Reads a file that has changed once more, as far as it was read; returns true if that shows what was read before.
    /// Where it can be cloned that is left to the second attempt.
    fn is_proven(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        (file, source): (&File, &Stat),
        read: Passed,
    ) -> Result<bool, End> {
        if self.site.can_clone_aside(&way.ours, source.device) {
            return Ok(false);
        }
        match hash_again(file, source.fingerprint.size, self.site.chunk_bytes, self.site.cancel) {
            Ok(again) => Ok(again == Some(read)),
            Err(Interruption::Source(error) | Interruption::Replica(error)) => {
                Err(unread(operation, &Fault { action: "read", error }))
            }
            Err(Interruption::Cancelled) => Err(End::Skipped),
        }
    }
}
