//! One large file that is being copied, piece by piece, beside others.

use super::partials::Partials;
use super::progress::{Progress, mark};
use super::stage::Way;
use crate::cancel::Cancel;
use crate::engine::abreast::Lane;
use crate::hash::Stream;
use crate::model::{EntryPath, Mark, Partial, StagedObject, Stat, Timestamp};
use crate::plan::consistency::Consistency;
use crate::store::{Fault, Folder, stat_of};
use crate::transfer::cache::{FLOOD, Passage, Written};
use crate::transfer::fill;
use crate::transfer::pace::{count, unlimited};
use crate::transfer::patch::Patch;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// A file that is being copied.
pub(super) struct Crossing<'c, S: Folder, R: Folder> {
    pub(super) index: usize,
    pub(super) path: EntryPath,
    pub(super) way: Way<S, R>,
    pub(super) target: File,
    pub(super) file: File,
    pub(super) source: Stat,
    pub(super) began: Timestamp,
    pub(super) course: Course,
    pub(super) buffer: Vec<u8>,
    pub(super) filled: usize,
    pub(super) at: u64,
    /// There was more than its size says.
    pub(super) goes_on: bool,
    pub(super) hash: Stream,
    pub(super) caches: Option<Caches>,
    pub(super) progress: Progress,
    /// Where it is noted how far this has come; `None`: nobody could go on with it, because the source may have changed unseen.
    pub(super) partials: Option<&'c Partials>,
    /// So many bytes an earlier run had written.
    pub(super) resumed_at: u64,
    pub(super) broken: Option<Broken>,
    pub(super) cancel: &'c Cancel,
}

/// What is done with the file.
pub(super) enum Course {
    /// The target has all of it already, as a clone that relates so to the source, and is hashed.
    Hash(Consistency),
    /// What an earlier run wrote to the target is hashed.
    Prove(Proof),
    /// The source is read, hashed and written, over what is there if there is anything.
    Copy(Option<Patch>),
}

/// Bytes of an earlier run that are to be what they were.
pub(super) struct Proof {
    /// Up to where they may be good.
    pub(super) marks: VecDeque<Mark>,
    /// So many are, with their hash.
    pub(super) good: Option<Stream>,
}

/// What goes through the page cache.
pub(super) struct Caches {
    read: Passage,
    written: Written,
    /// What the target held before.
    old: Option<Passage>,
}

/// Why a file did not arrive.
pub(super) enum Broken {
    Source(io::Error),
    Replica(Fault),
    Cancelled,
}

fn unwritten(error: io::Error) -> Broken {
    Broken::Replica(Fault { action: "write", error })
}

impl<S: Folder, R: Folder> Lane for Crossing<'_, S, R> {
    fn advance(&mut self) -> bool {
        self.filled = 0;
        self.pass().unwrap_or_else(|broken| {
            self.broken = Some(broken);
            false
        })
    }

    fn hashing<'l>(&'l mut self, work: &mut Vec<(&'l mut Stream, &'l [u8])>) {
        if self.filled > 0 {
            work.push((&mut self.hash, &self.buffer[..self.filled]));
        }
    }
}

impl<S: Folder, R: Folder> Crossing<'_, S, R> {
    /// Takes the next piece over; `false`: it was the last.
    fn pass(&mut self) -> Result<bool, Broken> {
        if self.cancel.requested() {
            return Err(Broken::Cancelled);
        }
        match self.course {
            Course::Hash(_) => self.read_clone(),
            Course::Prove(_) => self.prove(),
            Course::Copy(_) => self.copy(),
        }
    }

    fn read_clone(&mut self) -> Result<bool, Broken> {
        let read = fill(&self.target, &mut self.buffer).map_err(unwritten)?;
        self.cut(read);
        self.at += self.filled as u64;
        if let Some(caches) = &mut self.caches {
            caches.read.was_read(&self.target, self.at);
        }
        Ok(self.has_more())
    }

    /// Takes no more of a piece of so many bytes than the size says: what was added since it was opened is for the next run.
    fn cut(&mut self, read: usize) {
        let left =
            usize::try_from(self.source.fingerprint.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.goes_on |= read > left;
        self.filled = read.min(left);
    }

    fn has_more(&self) -> bool {
        self.filled == self.buffer.len() && self.at < self.source.fingerprint.size
    }

    fn copy(&mut self) -> Result<bool, Broken> {
        let due = self.progress.step(&self.target, &self.hash);
        let due =
            due.map_err(|error| Broken::Replica(Fault { action: "make durable (fdatasync)", error }))?;
        if due {
            self.note(false);
        }
        let read = fill(&self.file, &mut self.buffer).map_err(Broken::Source)?;
        self.cut(read);
        let bytes = &self.buffer[..self.filled];
        match &mut self.course {
            Course::Copy(Some(patch)) => patch.write(&self.target, self.at, bytes),
            Course::Copy(None) | Course::Hash(_) | Course::Prove(_) => self.target.write_all(bytes),
        }
        .map_err(unwritten)?;
        self.at += self.filled as u64;
        if let Some(Caches { read, written, old }) = &mut self.caches {
            read.was_read(&self.file, self.at);
            written.was_written(&self.target, self.at);
            if let Some(old) = old {
                old.was_read(&self.target, self.at);
            }
        }
        Ok(self.has_more())
    }

    /// Reads on in what an earlier run wrote; behind what of it is as it was, copying begins.
    fn prove(&mut self) -> Result<bool, Broken> {
        let Course::Prove(proof) = &mut self.course else { return Ok(true) };
        while let Some(mark) = proof.marks.front() {
            if mark.bytes == self.at {
                if self.hash.clone().finish() == mark.digest {
                    proof.good = Some(self.hash.clone());
                    proof.marks.pop_front();
                } else {
                    proof.marks.clear();
                }
                continue;
            }
            let left = usize::try_from(mark.bytes - self.at).unwrap_or(usize::MAX);
            let room = self.buffer.len().min(left);
            match unlimited(&self.target, &mut self.buffer[..room], self.at) {
                Ok(read) if read > 0 => {
                    self.filled = read;
                    self.at += read as u64;
                    if let Some(caches) = &mut self.caches {
                        caches.read.was_read(&self.target, self.at);
                    }
                    return Ok(true);
                }
                // Shorter than it was, or the disk cannot give it back: what comes before may be good.
                Ok(_) | Err(_) => proof.marks.clear(),
            }
        }
        let good = proof.good.take();
        self.begin_behind(good.unwrap_or_default()).map(|()| true)
    }

    /// Has the copy begin behind what is hashed in `good`.
    fn begin_behind(&mut self, good: Stream) -> Result<(), Broken> {
        (self.at, self.resumed_at) = (good.len(), good.len());
        if good.is_empty() {
            self.target.set_len(0).map_err(unwritten)?;
        }
        let durable = self.progress.durable().filter(|durable| durable.bytes <= self.at);
        self.progress.begin_behind(durable);
        self.hash = good;
        self.target.seek(SeekFrom::Start(self.at)).map_err(unwritten)?;
        self.file.seek(SeekFrom::Start(self.at)).map_err(Broken::Source)?;
        count(self.at);
        self.set_course(Course::Copy((self.at > 0).then(Patch::default)));
        Ok(())
    }

    /// Returns true if more is written than an earlier run left: a place that cannot be written is not met again and again.
    pub(super) fn has_advanced(&self) -> bool {
        self.at > self.resumed_at
    }

    /// Has this done from `at` on.
    pub(super) fn set_course(&mut self, course: Course) {
        let size = self.source.fingerprint.size;
        let (from, is_patch) = match &course {
            Course::Hash(_) | Course::Prove(_) => (&self.target, false),
            Course::Copy(patch) => (&self.file, patch.is_some()),
        };
        self.caches = (size > FLOOD).then(|| Caches {
            read: Passage::from(from, size, self.at),
            written: Written::from(self.at),
            old: is_patch.then(|| Passage::from(&self.target, size, self.at)),
        });
        self.course = course;
    }

    /// Notes how far this has come; if it has `stopped`, returns true if the next run goes on there, so that the temporary
    /// is to stay.
    pub(super) fn note(&self, stopped: bool) -> bool {
        let Some(partials) = self.partials else { return false };
        let written = match &self.course {
            Course::Hash(_) => return false,
            // What an earlier run noted holds as long as nothing was written.
            Course::Prove(_) => return stopped && partials.leave(&self.path),
            Course::Copy(_) => mark(&self.hash),
        };
        if stopped && !self.progress.is_worth_keeping(written.bytes) {
            return false;
        }
        let Ok(made) = stat_of(&self.target) else { return false };
        let partial = Partial {
            path: self.path.clone(),
            temporary: self.way.temporary.as_bytes().to_vec(),
            object: StagedObject::of(&made),
            began: self.began,
            source: self.source.fingerprint,
            durable: self.progress.durable(),
            written,
        };
        partials.note(partial, stopped);
        true
    }
}
