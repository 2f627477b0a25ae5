//! Files with holes: which ones go by their data extents, and what of them is hashed.

use super::content::SMALL;
use crate::cancel::Cancel;
use crate::hash::Stream;
use crate::model::{Digest, Stat};
use crate::transfer::cache::{FLOOD, Passage};
use crate::transfer::extents::{has_holes, holes_exceed};
use crate::transfer::sparse::{self, Holes, Likeness, Piece};
use crate::transfer::{self, Interruption};
use std::fs::File;

/// Where the holes of a file amount to more than this, it gets no MD5: hashing zeros would take
/// longer than all else.
const MOST_HASHED: u64 = 1 << 30;

/// Whether an open file, of which nothing was read yet, has holes. A small file is asked only where
/// it takes up less room than its size; a large one always, because blocks for attributes or extents,
/// or allocated ahead, can outweigh a hole.
pub fn is_sparse(file: &File, stat: &Stat) -> bool {
    let size = stat.fingerprint.size;
    (size > SMALL || stat.allocated < size) && has_holes(file, size)
}

/// The hash of a file with holes, fed as it passes.
pub struct PassingHash {
    stream: Stream,
    /// Zeros are hashed for holes; otherwise the holes' lengths are.
    whole: bool,
}

/// What a [`PassingHash`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The MD5 of all bytes, those in holes included.
    Hashed(Digest),
    /// No MD5 of the bytes. Two readings with the same mark read the same data at the same places.
    Marked(Digest),
}

impl Passed {
    /// The MD5 of the bytes, where it was computed.
    pub fn digest(self) -> Option<Digest> {
        match self {
            Passed::Hashed(digest) => Some(digest),
            Passed::Marked(_) => None,
        }
    }
}

/// What a comparison of two files came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equality {
    /// They are equal; the MD5 of both, if it was computed.
    Same(Option<Digest>),
    /// They are not, or the replica's lacks holes that it could have.
    Different,
}

/// Copies the first `size` bytes of a file into an empty one, a sparse one (`holes` says what becomes of them) by its
/// data. Returns the number of bytes that were there: more than `size` where the file goes on.
pub fn pass_on(
    (from, to): (&File, &File),
    size: u64,
    holes: Option<Holes>,
    chunk_bytes: usize,
    cancel: &Cancel,
) -> Result<(u64, Passed), Interruption> {
    let mut buffer = vec![0; chunk_bytes];
    let Some(holes) = holes else {
        let mut hash = Stream::new();
        let copied = transfer::copy(from, to, size, &mut buffer, cancel, |chunk| hash.update(chunk))?;
        return Ok((copied, Passed::Hashed(hash.finish())));
    };
    let mut hash = PassingHash::of(from, size);
    let copied = sparse::copy((from, to), size, holes, &mut buffer, cancel, |piece| hash.take(piece))?;
    Ok((copied, hash.finish()))
}

/// Hashes a file of `size` bytes that was cloned from the source; returns how many bytes were there.
pub fn hash_clone(
    clone: &File,
    size: u64,
    chunk_bytes: usize,
    cancel: &Cancel,
) -> Result<(u64, Passed), Interruption> {
    let mut hash = PassingHash::of(clone, size);
    let read = sparse::read(clone, size, &mut vec![0; chunk_bytes], cancel, |piece| hash.take(piece));
    match read {
        Ok(read) => Ok((read, hash.finish())),
        Err(Interruption::Source(error)) => Err(Interruption::Replica(error)),
        Err(other) => Err(other),
    }
}

/// Reads the first `size` bytes of a file once more; `None`: it is shorter now. What has been read before is not kept in
/// the page cache for that.
pub fn hash_again(
    file: &File,
    size: u64,
    chunk_bytes: usize,
    cancel: &Cancel,
) -> Result<Option<Passed>, Interruption> {
    let mut hash = PassingHash::of(file, size);
    let mut cache = (size > FLOOD).then(|| Passage::of(file, size));
    let mut at = 0;
    let read = sparse::read(file, size, &mut vec![0; chunk_bytes], cancel, |piece| {
        at += match piece {
            Piece::Data(bytes) => bytes.len() as u64,
            Piece::Hole(length) => length,
        };
        hash.take(piece);
        if let Some(passage) = &mut cache {
            passage.was_read(file, at);
        }
    })?;
    Ok((read >= size).then(|| hash.finish()))
}

/// Compares two files of `size` bytes, the source being sparse.
pub fn compare_sparse(
    files: (&File, &File),
    size: u64,
    buffers: (&mut [u8], &mut [u8]),
    keep_holes: bool,
    cancel: &Cancel,
) -> Result<Equality, Interruption> {
    let mut hash = PassingHash::of(files.0, size);
    let whole = hash.whole;
    let likeness = sparse::compare(files, size, buffers, cancel, |piece| {
        if whole {
            hash.take(piece);
        }
    })?;
    Ok(match likeness {
        Likeness::Same { holes_lost } if !(holes_lost && keep_holes) => {
            Equality::Same(hash.finish().digest())
        }
        Likeness::Same { .. } | Likeness::Different => Equality::Different,
    })
}

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

impl PassingHash {
    /// Of a file of `size` bytes that is about to be read.
    pub fn of(file: &File, size: u64) -> Self {
        Self { stream: Stream::new(), whole: !holes_exceed(file, size, MOST_HASHED) }
    }

    /// Takes in what passes.
    pub fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Data(bytes) => self.stream.update(bytes),
            Piece::Hole(length) if self.whole => {
                let mut left = length;
                while left > 0 {
                    let zeros = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
                    self.stream.update(&ZEROS[..zeros]);
                    left -= zeros as u64;
                }
            }
            Piece::Hole(length) => self.stream.update(&length.to_le_bytes()),
        }
    }

    /// What it came to.
    pub fn finish(self) -> Passed {
        let digest = self.stream.finish();
        if self.whole { Passed::Hashed(digest) } else { Passed::Marked(digest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_hashed_as_the_zeros_they_read_as() {
        let mut hash = PassingHash { stream: Stream::new(), whole: true };
        let mut plain = Stream::new();
        for piece in [Piece::Hole(70_001), Piece::Data(b"data"), Piece::Hole(3)] {
            hash.take(piece);
        }
        for bytes in [&vec![0; 70_001][..], b"data", &[0; 3]] {
            plain.update(bytes);
        }
        assert_eq!(hash.finish(), Passed::Hashed(plain.finish()));
    }

    #[test]
    fn a_mark_tells_data_at_other_places_apart() {
        let mark = |pieces: &[Piece<'_>]| {
            let mut hash = PassingHash { stream: Stream::new(), whole: false };
            for piece in pieces {
                hash.take(*piece);
            }
            hash.finish()
        };
        let (data, other) = (Piece::Data(b"data"), Piece::Data(b"DATA"));
        let marked = mark(&[Piece::Hole(5), data, Piece::Hole(6)]);
        assert_eq!(marked, mark(&[Piece::Hole(5), data, Piece::Hole(6)]));
        assert_ne!(marked, mark(&[Piece::Hole(6), data, Piece::Hole(5)]));
        assert_ne!(marked, mark(&[Piece::Hole(5), other, Piece::Hole(6)]));
        assert_eq!(marked.digest(), None);
    }
}
