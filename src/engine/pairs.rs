//! Large files that are compared: both sides piece by piece, several pairs side by side.

use super::abreast::{Lane, abreast, piece_bytes};
use super::content::{Comparison, Finding, TRIES, restat};
use super::near::NearFolder;
use crate::hash::Stream;
use crate::model::{Digest, Stat, Timestamp};
use crate::plan::consistency::is_unchanged;
use crate::plan::decide::{Knowledge, unmoved};
use crate::plan::step::Question;
use crate::store::Store;
use crate::transfer::cache::{FLOOD, Passage};
use crate::transfer::{Interruption, same_chunk};
use std::cell::RefCell;
use std::fs::File;

/// Two open files of one size that are to be compared.
pub struct Pair {
    pub source_file: File,
    pub replica_file: File,
    pub source: Stat,
    pub replica: Stat,
    pub began: Timestamp,
}

/// A pair on its way.
struct Walked<'c> {
    index: usize,
    tries: u32,
    pair: Pair,
    buffers: Buffers,
    /// Bytes of the buffers that the last piece fills.
    filled: usize,
    at: u64,
    passages: Option<(Passage, Passage)>,
    /// `None`: the row knows the digest.
    hash: Option<Stream>,
    same: Result<bool, Interruption>,
    cancel: &'c crate::cancel::Cancel,
}

/// A piece of either side.
type Buffers = (Vec<u8>, Vec<u8>);

impl Lane for Walked<'_> {
    fn advance(&mut self) -> bool {
        self.filled = 0;
        if self.cancel.requested() {
            self.same = Err(Interruption::Cancelled);
            return false;
        }
        let (ours, theirs) = (&mut self.buffers.0[..], &mut self.buffers.1[..]);
        match same_chunk(&self.pair.source_file, &self.pair.replica_file, (ours, theirs)) {
            Ok(Some(read)) => {
                self.filled = read;
                self.at += read as u64;
                if let Some((source, replica)) = &mut self.passages {
                    source.was_read(&self.pair.source_file, self.at);
                    replica.was_read(&self.pair.replica_file, self.at);
                }
                read > 0
            }
            Ok(None) => {
                self.same = Ok(false);
                false
            }
            Err(interruption) => {
                self.same = Err(interruption);
                false
            }
        }
    }

    fn hashing<'l>(&'l mut self, work: &mut Vec<(&'l mut Stream, &'l [u8])>) {
        if let Some(hash) = self.hash.as_mut().filter(|_| self.filled > 0) {
            work.push((hash, &self.buffers.0[..self.filled]));
        }
    }
}

/// How two files compare that have been read.
pub enum Compared {
    /// To the end they hold the same; the MD5 of both, if it was computed.
    Same(Option<Digest>),
    /// They do not.
    Different,
    /// The source changed meanwhile.
    Restless,
}

/// Answers those of the questions that `large` numbers, side by side.
pub fn answer_abreast<S: Store, R: Store>(
    comparison: &Comparison<'_, S, R>,
    questions: &[Question],
    large: Vec<usize>,
    answer: &mut dyn FnMut(usize, Knowledge),
) {
    let (mut source, mut replica) = (NearFolder::new(comparison.source), NearFolder::new(comparison.replica));
    let piece = piece_bytes(comparison.chunk_bytes, large.len().min(comparison.abreast));
    let waiting: RefCell<Vec<(usize, u32)>> =
        RefCell::new(large.into_iter().rev().map(|index| (index, 1)).collect());
    let spare: RefCell<Vec<Buffers>> = RefCell::default();
    let answer = RefCell::new(answer);
    let next = || {
        loop {
            if comparison.cancel.requested() {
                return None;
            }
            let (index, tries) = waiting.borrow_mut().pop()?;
            match comparison.examine(&questions[index], &mut source, &mut replica, None) {
                Finding::Pair(pair) => {
                    let spare = spare.borrow_mut().pop();
                    let buffers = spare.unwrap_or_else(|| (vec![0; piece], vec![0; piece]));
                    let row = questions[index].joined.row.as_ref();
                    let known = row.and_then(|row| unmoved(&pair.source, &pair.replica, row)).is_some();
                    let hash = (!known).then(Stream::new);
                    return Some(Walked::new((index, tries), *pair, buffers, hash, comparison.cancel));
                }
                Finding::Known(knowledge) => answer.borrow_mut()(index, knowledge),
                // Without an arena nothing is read into one.
                Finding::Pending(_) => answer.borrow_mut()(index, Knowledge::Vanished),
            }
        }
    };
    abreast(comparison.abreast, next, |walked| {
        let Walked { index, tries, pair, buffers, hash, same, .. } = walked;
        spare.borrow_mut().push(buffers);
        let path = questions[index].path();
        let compared = same.and_then(|same| {
            let still = restat(&pair.source_file).map(|now| is_unchanged(&pair.source, &now));
            Ok(match still.map_err(Interruption::Source)? {
                false => Compared::Restless,
                true if same => Compared::Same(hash.map(Stream::finish)),
                true => Compared::Different,
            })
        });
        match compared {
            Ok(Compared::Restless) if tries < TRIES => waiting.borrow_mut().push((index, tries + 1)),
            compared => answer.borrow_mut()(index, comparison.conclude(path, &pair, compared)),
        }
    });
}

impl<'c> Walked<'c> {
    fn new(
        (index, tries): (usize, u32),
        pair: Pair,
        buffers: Buffers,
        hash: Option<Stream>,
        cancel: &'c crate::cancel::Cancel,
    ) -> Self {
        let size = pair.source.fingerprint.size;
        let of = |file: &File| Passage::of(file, size);
        let passages = (size > FLOOD).then(|| (of(&pair.source_file), of(&pair.replica_file)));
        Self { index, tries, pair, buffers, filled: 0, at: 0, passages, hash, same: Ok(true), cancel }
    }
}
