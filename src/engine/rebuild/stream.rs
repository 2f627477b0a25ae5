//! Large files: read in chunks, both sides of several files in step, their hashes side by side.

use super::read::{Reading, failed, kind, open, restless};
use crate::cancel::Cancel;
use crate::clock;
use crate::engine::abreast::{Lane, abreast, piece_bytes};
use crate::engine::content::{TRIES, digest_of, read_link, restat};
use crate::engine::holes::is_sparse;
use crate::hash::Stream;
use crate::model::{Kind, Side, Stat, Timestamp};
use crate::plan::consistency::is_unchanged;
use crate::plan::join::Joined;
use crate::plan::verdict::{Content, Contents, wanted};
use crate::store::{During, Fault, Store};
use crate::transfer::cache::{FLOOD, Passage};
use crate::transfer::extents::HoleReader;
use crate::transfer::fill;
use std::cell::RefCell;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the files of a batch hold, in their order.
pub(super) fn read<S: Store, R: Store>(reading: &Reading<'_, S, R>, batch: &[Joined]) -> Vec<Contents> {
    let mut contents = vec![Contents::UNREAD; batch.len()];
    let chunk_bytes = piece_bytes(reading.chunk_bytes, batch.len().min(reading.abreast));
    let waiting: RefCell<Vec<(usize, u32)>> =
        RefCell::new((0..batch.len()).rev().map(|at| (at, 1)).collect());
    let next = || {
        if reading.cancel.requested() {
            return None;
        }
        let (index, attempt) = waiting.borrow_mut().pop()?;
        Some(Member::open(reading, (index, attempt), &batch[index], chunk_bytes))
    };
    abreast(reading.abreast, next, |member| {
        let (index, attempt) = member.attempt;
        match member.finish(attempt == TRIES) {
            Some(found) => contents[index] = found,
            None => waiting.borrow_mut().push((index, attempt + 1)),
        }
    });
    contents
}

/// What one entry holds.
pub(super) fn read_one<S: Store, R: Store>(reading: &Reading<'_, S, R>, joined: &Joined) -> Contents {
    read(reading, std::slice::from_ref(joined)).pop().unwrap_or(Contents::UNREAD)
}

/// Both sides of one entry.
struct Member<'b> {
    /// Its number in the batch, and how often it was tried.
    attempt: (usize, u32),
    joined: &'b Joined,
    source: Track,
    replica: Track,
    /// Both hold the same so far: the source's hash is that of both.
    together: bool,
    cancel: &'b Cancel,
    bytes: &'b AtomicU64,
}

impl Lane for Member<'_> {
    fn advance(&mut self) -> bool {
        // What is read after a request to stop is not used.
        if self.cancel.requested() {
            (self.source.filled, self.replica.filled) = (0, 0);
            return false;
        }
        let bytes = self.fill();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.is_reading()
    }

    fn hashing<'l>(&'l mut self, work: &mut Vec<(&'l mut Stream, &'l [u8])>) {
        let Member { source, replica, together, .. } = self;
        for track in [Some(source), (!*together).then_some(replica)].into_iter().flatten() {
            if track.filled > 0 {
                work.push((&mut track.hash, &track.buffer[..track.filled]));
            }
        }
    }
}

impl<'b> Member<'b> {
    fn open<S: Store, R: Store>(
        reading: &Reading<'b, S, R>,
        attempt: (usize, u32),
        joined: &'b Joined,
        chunk_bytes: usize,
    ) -> Self {
        let (source, replica) = wanted(joined, reading.sides);
        let source = Track::open(reading.source, joined, Side::Source, source, chunk_bytes);
        let replica = Track::open(reading.replica, joined, Side::Replica, replica, chunk_bytes);
        let together = source.reading && replica.reading;
        let (cancel, bytes) = (reading.cancel, reading.bytes);
        Self { attempt, joined, source, replica, together, cancel, bytes }
    }

    fn is_reading(&self) -> bool {
        self.source.reading || self.replica.reading
    }

    /// Reads the next chunk of each side; returns the bytes read.
    fn fill(&mut self) -> u64 {
        // The replica's hash begins to differ from the source's where its bytes do.
        let so_far = self.together.then(|| self.source.hash.clone());
        self.source.fill(self.joined, Side::Source);
        self.replica.fill(self.joined, Side::Replica);
        let (source, replica) = (&self.source, &mut self.replica);
        if let Some(hash) = so_far
            && (source.chunk() != replica.chunk() || source.file.is_none() || replica.file.is_none())
        {
            replica.hash = hash;
            self.together = false;
        }
        (self.source.filled + self.replica.filled) as u64
    }

    /// `None`: it did not stand still, and is to be read again (unless this was the `last` time).
    fn finish(self, last: bool) -> Option<Contents> {
        let path = &self.joined.path;
        let same = self.together;
        let shared = same.then(|| self.source.hash.clone());
        let conclude = |track: Track, side| match track.conclude(shared.clone()) {
            Ok(None) if last => Some(Content::Failed(restless(path, side))),
            Ok(content) => content,
            Err(fault) => Some(failed(path, side, &fault)),
        };
        let source = conclude(self.source, Side::Source)?;
        let replica = conclude(self.replica, Side::Replica)?;
        Some(Contents { source, replica, same })
    }
}

/// One side of an entry while it is read.
struct Track {
    /// The file, its figures and when reading began; `None`: there is nothing to read.
    file: Option<(File, Stat, Timestamp)>,
    /// What is so where there is no file.
    otherwise: Content,
    /// Its end was not reached yet.
    reading: bool,
    /// How a file with holes is read.
    holes: Option<HoleReader>,
    /// What reading it does to the page cache.
    cache: Option<Passage>,
    at: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that the last chunk fills.
    filled: usize,
    hash: Stream,
}

impl Track {
    fn open<T: Store>(store: &T, joined: &Joined, side: Side, wanted: bool, chunk_bytes: usize) -> Self {
        let mut track = Self {
            file: None,
            otherwise: Content::Unread,
            reading: false,
            holes: None,
            cache: None,
            at: 0,
            buffer: Vec::new(),
            filled: 0,
            hash: Stream::new(),
        };
        if wanted && let Err(fault) = track.begin(store, joined, side, chunk_bytes) {
            track.otherwise = failed(&joined.path, side, &fault);
        }
        track
    }

    fn begin<T: Store>(
        &mut self,
        store: &T,
        joined: &Joined,
        side: Side,
        chunk_bytes: usize,
    ) -> Result<(), Fault> {
        let name = joined.path.name();
        let folder = store.folder(&joined.path.parent())?;
        let began = clock::now();
        if kind(joined, side) == Some(Kind::Symlink) {
            let (stat, target) = read_link(&folder, name)?;
            self.otherwise = Content::Read { stat, digest: digest_of(&target), began };
            return Ok(());
        }
        let (file, stat) = open(&folder, joined, side)?;
        self.holes = is_sparse(&file, &stat).then(|| HoleReader::of(stat.fingerprint.size));
        let size = stat.fingerprint.size;
        self.cache = (size > FLOOD && self.holes.is_none()).then(|| Passage::of(&file, size));
        self.file = Some((file, stat, began));
        self.reading = true;
        self.buffer = vec![0; chunk_bytes];
        Ok(())
    }

    /// Reads the next chunk; none where there is nothing to read (any more).
    fn fill(&mut self, joined: &Joined, side: Side) {
        self.filled = 0;
        if !self.reading {
            return;
        }
        let Some((file, ..)) = &self.file else { return };
        let read = match &mut self.holes {
            Some(holes) => holes.fill(file, &mut self.buffer),
            None => fill(file, &mut self.buffer),
        };
        match read.during("read") {
            Ok(read) => {
                self.filled = read;
                self.at += read as u64;
                if let Some(cache) = &mut self.cache {
                    cache.was_read(file, self.at);
                }
                self.reading = read == self.buffer.len();
            }
            Err(fault) => {
                self.otherwise = failed(&joined.path, side, &fault);
                self.file = None;
                self.reading = false;
            }
        }
    }

    fn chunk(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// What it holds, by the hash that it shares with the other side or its own; `None`: it did
    /// not stand still while it was read.
    fn conclude(self, shared: Option<Stream>) -> Result<Option<Content>, Fault> {
        let Some((file, stat, began)) = self.file else { return Ok(Some(self.otherwise)) };
        let after = restat(&file).during("look at")?;
        let digest = shared.unwrap_or(self.hash).finish();
        Ok(is_unchanged(&stat, &after).then_some(Content::Read { stat, digest, began }))
    }
}
