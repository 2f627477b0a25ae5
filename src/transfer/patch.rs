//! A new content written over an old one that is for the most part the same: only the blocks that differ are written,
//! so that a clone goes on sharing all others with what it was made from.

use super::pace::unlimited;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The unit that is compared and written: that of most file systems. A smaller one would save no room.
const BLOCK: u64 = 4096;

/// Bytes after which it is decided whether comparing is worth its while.
const SAMPLE: u64 = 32 << 20;

/// Where nearly all of a sample differs, so many times as much is written without a look at what is there.
const BLIND_SAMPLES: u64 = 7;

/// Where less than this share of a sample is found to be the same, nearly all of it differs: 1 in 8.
const LEAST_SAME: u64 = 8;

/// Writes a file from start to end over what it holds.
#[derive(Debug, Default)]
pub struct Patch {
    old: Vec<u8>,
    /// Bytes compared in this sample, and those found to be the same.
    compared: u64,
    same: u64,
    /// Up to here nothing is compared.
    blind_until: u64,
    /// The file ends at or before this place, as far as was seen.
    ended: bool,
    written: u64,
}

impl Patch {
    /// Makes `file` hold `bytes` at `at`.
    pub fn write(&mut self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        if self.ended || at < self.blind_until {
            return self.put(file, at, bytes);
        }
        let mut old = std::mem::take(&mut self.old);
        old.resize(bytes.len().max(old.len()), 0);
        let read = unlimited(file, &mut old[..bytes.len()], at)?;
        // What cannot be found at the end of the old content is new.
        self.ended = read < bytes.len();
        let same = differing(at, bytes, &old[..read], |start, end| {
            self.put(file, at + start as u64, &bytes[start..end])
        });
        self.old = old;
        self.same += same?;
        self.compared += bytes.len() as u64;
        if self.compared >= SAMPLE {
            if self.same < self.compared / LEAST_SAME {
                self.blind_until = at + bytes.len() as u64 + BLIND_SAMPLES * SAMPLE;
            }
            (self.compared, self.same) = (0, 0);
        }
        Ok(())
    }

    /// Bytes that were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn put(&mut self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        file.write_all_at(bytes, at)
    }
}

/// Calls `put` with each range of `new`, which begins at `at` in its file, that is not the same in `old`, whole blocks at a
/// time; returns how many bytes are the same. What `old` lacks differs.
pub fn differing(
    at: u64,
    new: &[u8],
    old: &[u8],
    mut put: impl FnMut(usize, usize) -> io::Result<()>,
) -> io::Result<u64> {
    let mut begun: Option<usize> = None;
    let (mut start, mut same) = (0, 0);
    while start < new.len() {
        let left = BLOCK - (at + start as u64) % BLOCK;
        let end = new.len().min(start + usize::try_from(left).unwrap_or(usize::MAX));
        if old.get(start..end) == Some(&new[start..end]) {
            same += (end - start) as u64;
            if let Some(from) = begun.take() {
                put(from, start)?;
            }
        } else {
            begun.get_or_insert(start);
        }
        start = end;
    }
    if let Some(from) = begun {
        put(from, new.len())?;
    }
    Ok(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Writes all of `new` over `file`, so many bytes at a time.
    fn patch(file: &File, new: &[u8], piece: usize) -> u64 {
        let mut patch = Patch::default();
        let mut at = 0;
        for bytes in new.chunks(piece) {
            patch.write(file, at, bytes).unwrap();
            at += bytes.len() as u64;
        }
        patch.written()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn the_new_content_is_there_and_what_was_the_same_was_not_written(
            old in prop::collection::vec(0_u8..3, 0..12),
            new in prop::collection::vec(0_u8..3, 0..12),
            (short_old, short_new) in (0_usize..4096, 0_usize..4096),
            piece in 1_usize..20_000,
        ) {
            let bytes = |blocks: &[u8], short: usize| {
                let mut bytes: Vec<u8> = blocks.iter().flat_map(|&block| [block; 4096]).collect();
                bytes.truncate(bytes.len().saturating_sub(short));
                bytes
            };
            let (old_bytes, new_bytes) = (bytes(&old, short_old), bytes(&new, short_new));
            let file = file(&old_bytes);
            let written = patch(&file, &new_bytes, piece);
            prop_assert_eq!(&content(&file)[..new_bytes.len()], &new_bytes[..]);
            let blocks = new_bytes.chunks(4096).enumerate();
            let differ = blocks.filter(|(number, block)| old_bytes.get(number * 4096..number * 4096 + block.len()) != Some(*block));
            let differing: usize = differ.map(|(_, block)| block.len()).sum();
            // A piece that ends within a block has it compared in two parts.
            prop_assert!(written == differing as u64 || piece % 4096 != 0 && written < differing as u64);
        }
    }

    #[test]
    fn where_nearly_all_differs_most_is_written_without_a_look() {
        let sample = usize::try_from(SAMPLE).unwrap();
        let length = 9 * sample;
        let file = file(&vec![1; length]);
        let mut new = vec![2; length];
        // The same, but met only where nobody looks; and in the last sample, where somebody does again.
        new[4 * sample..5 * sample].fill(1);
        new[8 * sample..].fill(1);
        let written = patch(&file, &new, 128 << 10);
        assert!(content(&file) == new);
        assert_eq!(written, 8 * SAMPLE);
    }
}
