//! Large files side by side: one worker reads several of them in turn, a piece of each, and hashes
//! these pieces in the lanes of the vector registers. One MD5 cannot be split, several can share.

use crate::hash::{LANES, Stream, update_many};

/// So many files one worker has under way at a time, if it may have both sides of so many open (see
/// [`super::descriptors`]): the lanes of the hash are full.
pub const ABREAST: usize = LANES;

/// What is read of a file in one go, and of all that are under way: it should still be in the
/// processor's second cache when it is written, compared or hashed. Larger pieces save no time, and on
/// a file system in memory they took half as long again.
const PIECE_BYTES: usize = 128 << 10;
const ROUND_BYTES: usize = 512 << 10;

/// How much of each file is read at a time where `files` are under way; never more than `chunk_bytes`.
pub fn piece_bytes(chunk_bytes: usize, files: usize) -> usize {
    let share = ROUND_BYTES / files.clamp(1, ABREAST);
    chunk_bytes.min(PIECE_BYTES).min(share).max(1)
}

/// A file, or both sides of one, on its way.
pub trait Lane {
    /// Reads the next piece; `false`: it was the last.
    fn advance(&mut self) -> bool;
    /// Adds each hash and what the last piece has for it.
    fn hashing<'l>(&'l mut self, work: &mut Vec<(&'l mut Stream, &'l [u8])>);
}

/// Takes files from `next`, so `many` of them at a time, the next one as soon as one ends, and hands
/// each to `done` when all of it has been read and hashed.
pub fn abreast<L: Lane>(many: usize, mut next: impl FnMut() -> Option<L>, mut done: impl FnMut(L)) {
    let mut lanes: Vec<L> = Vec::with_capacity(many);
    loop {
        while lanes.len() < many
            && let Some(lane) = next()
        {
            lanes.push(lane);
        }
        if lanes.is_empty() {
            return;
        }
        let goes_on: Vec<bool> = lanes.iter_mut().map(Lane::advance).collect();
        let mut work = Vec::with_capacity(2 * lanes.len());
        for lane in &mut lanes {
            lane.hashing(&mut work);
        }
        update_many(&mut work);
        // From the last one down: what takes the place of one that ended was looked at before.
        for index in (0..lanes.len()).rev().filter(|&index| !goes_on[index]) {
            done(lanes.swap_remove(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::content::digest_of;
    use proptest::prelude::*;

    /// A content in memory, read so many bytes at a time.
    struct Told {
        content: Vec<u8>,
        piece: usize,
        start: usize,
        end: usize,
        hash: Stream,
    }

    impl Lane for Told {
        fn advance(&mut self) -> bool {
            self.start = self.end;
            self.end = self.content.len().min(self.start + self.piece);
            self.end < self.content.len()
        }

        fn hashing<'l>(&'l mut self, work: &mut Vec<(&'l mut Stream, &'l [u8])>) {
            work.push((&mut self.hash, &self.content[self.start..self.end]));
        }
    }

    proptest! {
        #[test]
        fn all_files_are_read_to_their_end_and_hashed_whatever_their_lengths(
            files in prop::collection::vec((0_usize..3000, 1_usize..700), 0..40),
            many in 1_usize..12,
        ) {
            let told = |(index, &(length, piece)): (usize, &(usize, usize))| Told {
                content: (0..length).map(|at| u8::try_from((at * 31 + index * 7) % 251).unwrap()).collect(),
                piece,
                start: 0,
                end: 0,
                hash: Stream::new(),
            };
            let mut waiting = files.iter().enumerate().map(told);
            let (mut out, mut most, mut ended) = (0_usize, 0_usize, Vec::new());
            let count = std::cell::Cell::new(0_usize);
            abreast(
                many,
                || {
                    let next = waiting.next();
                    if next.is_some() {
                        count.set(count.get() + 1);
                        most = most.max(count.get());
                    }
                    next
                },
                |told| {
                    count.set(count.get() - 1);
                    out += 1;
                    ended.push((told.hash.finish(), digest_of(&told.content)));
                },
            );
            prop_assert_eq!(out, files.len());
            prop_assert_eq!(most, files.len().min(many));
            for (got, wanted) in ended {
                prop_assert_eq!(got, wanted);
            }
        }
    }

    #[test]
    fn pieces_are_small_where_many_files_share_the_cache_and_never_larger_than_asked_for() {
        for (chunk, files, piece) in [
            (1 << 20, 1, 1 << 17),
            (1 << 20, 8, 1 << 16),
            (1 << 20, 16, 1 << 15),
            (1 << 20, 100, 1 << 15),
            (4096, 8, 4096),
            (1, 8, 1),
        ] {
            assert_eq!(piece_bytes(chunk, files), piece);
        }
    }
}
