//! A hand of large files, copied side by side by one worker: every byte is read once, written, and
//! hashed in a lane of the vector registers.
//!
//! Only what goes smoothly is done here. What was written to while it was read, or found no room while others took
//! theirs, is copied again by itself, once the others have got their names.

use super::changing::match_clone;
use super::crossing::{Broken, Course, Crossing, Proof};
use super::prepared::{Content, Prepared};
use super::progress::Progress;
use super::stage::{Reading, Stager, Way, unread};
use super::staged_file::StagedFile;
use crate::clock;
use crate::config::file::Durability;
use crate::engine::abreast::{ABREAST, abreast, piece_bytes};
use crate::engine::content::{SMALL, restat};
use crate::engine::holes::{Passed, hash_again, is_sparse};
use crate::engine::identity::open_scanned;
use crate::hash::Stream;
use crate::model::operation::End;
use crate::model::record::is_racy;
use crate::model::{Kind, Mark, Operation, Partial, StagedObject, Stat, Verb};
use crate::plan::consistency::{Consistency, Verdict, judge};
use crate::plan::when_full::{PATCHED_FROM, replaces};
use crate::store::{During, Fault, Folder, Store, TemporaryName, attributes_of};
use crate::transfer::Interruption;
use crate::transfer::patch::Patch;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;

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

/// The file of an earlier run, its name, and what is to be proved of it.
type Resumed = (File, TemporaryName, Partial, Proof);

/// What came of opening both sides of a file; `None`: it is none of those that are copied here.
type SetOut<'c, S, R> = Result<Option<Crossing<'c, <S as Store>::Folder, <R as Store>::Folder>>, End>;

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
        let (target, course, began, temporary, durable) =
            if let Some((target, temporary, partial, proof)) = self.resume(operation, &way, &source) {
                (target, Course::Prove(proof), partial.began, temporary, partial.durable)
            } else {
                let (target, course) = self.begin(operation, &way, &file, &mut source)?;
                (target, course, began, way.temporary.clone(), None)
            };
        // What may have changed unseen while it was read is nothing to go on with.
        let steady = !is_racy(source.fingerprint.ctime, began, site.tick_nanos, None);
        let mut progress = Progress::new(site.durability != Durability::None);
        progress.begin_behind(durable);
        let mut crossing = Crossing {
            index,
            path: operation.path.clone(),
            way: Way { temporary, ..way },
            target,
            file,
            source,
            began,
            course: Course::Copy(None),
            buffer,
            filled: 0,
            at: 0,
            goes_on: false,
            hash: Stream::new(),
            caches: None,
            progress,
            partials: steady.then_some(site.partials),
            resumed_at: 0,
            broken: None,
            cancel: site.cancel,
        };
        crossing.set_course(course);
        Ok(Some(crossing))
    }

    /// Begins a copy: as a clone of the source where that can be, else with an empty file.
    fn begin(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        file: &File,
        source: &mut Stat,
    ) -> Result<(File, Course), End> {
        let site = self.site;
        let unread = |fault: Fault| unread(operation, &fault);
        let mut target = StagedFile::of(way);
        let opened = target.emptied().map_err(|fault| site.failure(operation, &fault))?;
        let (mut cloned, mut over_old) = (None, false);
        if site.clones.try_clone(file, opened, (source.device, way.device)) {
            cloned = Some(match_clone(file, opened, source).during("read"));
        } else if let Some(old) = self.old_version(operation, way, source) {
            over_old = site.clones.try_clone(&old, opened, (way.device, way.device));
        }
        let ready = cloned.transpose().map_err(unread).and_then(|cloned| {
            let target = target.into_emptied(cloned.is_some() || over_old);
            Ok((cloned, target.map_err(|fault| site.failure(operation, &fault))?))
        });
        let (cloned, target) = ready.inspect_err(|_| {
            // A leftover is litter that the next run removes.
            let _ = way.theirs.discard(&way.temporary);
        })?;
        let copy = || Course::Copy(over_old.then(Patch::default));
        Ok((target, cloned.map_or_else(copy, Course::Hash)))
    }

    /// Opens the version that the replica has, if a clone of it is worth writing the new one over: the blocks that are the
    /// same go on being shared, and are not written.
    fn old_version(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        source: &Stat,
    ) -> Option<File> {
        let old = operation.replica.filter(|_| replaces(operation))?;
        let size = old.fingerprint.size;
        let is_alike =
            size.min(source.fingerprint.size) >= PATCHED_FROM && size >= source.fingerprint.size / 4;
        if !is_alike || !self.site.clones.may_try((way.device, way.device)) {
            return None;
        }
        let (file, now) = way.theirs.open_file(operation.path.name()).ok()?;
        now.is_same_object(&old).then_some(file)
    }

    /// Opens what an earlier run left of this copy, if the source still is what was read then.
    fn resume(
        &self,
        operation: &Operation,
        way: &Way<S::Folder, R::Folder>,
        source: &Stat,
    ) -> Option<Resumed> {
        let site = self.site;
        let partial = site.partials.find(&operation.path, &source.fingerprint)?;
        let temporary = TemporaryName::given(&partial.temporary)?;
        let (target, now) = way.theirs.reopen_staged(&temporary).ok()?;
        let is_ours = StagedObject::of(&now) == partial.object
            && now.links == 1
            && now.uid == site.rights.uid
            && now.device == way.device;
        let held = |mark: &Mark| mark.bytes <= now.fingerprint.size.min(source.fingerprint.size);
        let marks: VecDeque<Mark> = partial.marks().into_iter().filter(held).collect();
        (is_ours && !marks.is_empty()).then_some((target, temporary, partial, Proof { marks, good: None }))
    }

    /// Finishes a file that has come to its end; `in_company`: room that it did not find may be there
    /// when the others are done.
    fn arrive(
        &self,
        operation: &Operation,
        crossing: Crossing<'_, S::Folder, R::Folder>,
        in_company: bool,
    ) -> Attempt<R::Folder> {
        let lost = match &crossing.broken {
            Some(Broken::Cancelled | Broken::Source(_)) => true,
            Some(Broken::Replica(fault)) => fault.is_lost_disk() && crossing.has_advanced(),
            None => false,
        };
        let kept = lost && crossing.note(true);
        let Crossing {
            way,
            target,
            file,
            source,
            began,
            course,
            at,
            goes_on,
            hash,
            broken,
            caches,
            mut progress,
            ..
        } = crossing;
        let cloned = match course {
            Course::Hash(consistency) => Some(consistency),
            Course::Copy(_) | Course::Prove(_) => None,
        };
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
                let failed = |error| self.site.failure(operation, &Fault { action: "write", error });
                if matches!(course, Course::Copy(Some(_))) {
                    // What was there before may be longer.
                    target.set_len(at).map_err(failed)?;
                }
                if self.site.durability == Durability::File {
                    // What it met is not told again.
                    progress.finish().map_err(failed)?;
                }
                let applied = self.finish_file(operation, &*way.theirs, &target, &reading)?;
                Ok(Ok((reading, applied)))
            }
            Err(again) => Ok(Err(again)),
        });
        match finished {
            Ok(Ok((reading, applied))) => {
                let prepared = Prepared::staged(way.theirs, way.temporary, reading);
                let written = caches.map(|_| target);
                Ok(Ok(Prepared { applied, written, ..prepared }))
            }
            stopped => {
                if !kept {
                    self.site.partials.forget(&operation.path);
                    // A leftover is litter that the next run removes.
                    let _ = way.theirs.discard(&way.temporary);
                }
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
