//! A journal of what of a file is to be written over: kept beside it until all of that is on the disk, so that it can be
//! written again from the start whatever happened meanwhile.
//!
//! It is a sequence of records, each a place (8 bytes), a length (8 bytes) and so many bytes.

use super::pace::unlimited;
use crate::hash::Stream;
use crate::model::Mark;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;

/// Bytes of a record before its content.
const HEAD: usize = 16;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// A journal that is being written.
pub struct Journal {
    file: File,
    hash: Stream,
}

impl Journal {
    /// An empty one, in an empty file.
    pub fn new(file: File) -> Self {
        Self { file, hash: Stream::new() }
    }

    /// Adds that these bytes are to be written at `at`.
    pub fn add(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&at.to_le_bytes());
        head[8..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        for part in [&head[..], bytes] {
            self.file.write_all(part)?;
            self.hash.update(part);
        }
        Ok(())
    }

    /// Bytes that it takes up.
    pub fn bytes(&self) -> u64 {
        self.hash.len()
    }

    /// Returns when it is on the disk, with what tells whether it is complete.
    pub fn finish(self) -> io::Result<(File, Mark)> {
        self.file.sync_all()?;
        Ok((self.file, Mark { bytes: self.hash.len(), digest: self.hash.finish() }))
    }
}

/// Returns true if a journal is what was written.
pub fn is_complete(journal: &File, mark: &Mark) -> io::Result<bool> {
    let (mut hash, mut buffer) = (Stream::new(), vec![0; PIECE]);
    loop {
        let read = unlimited(journal, &mut buffer, hash.len())?;
        if read == 0 {
            return Ok(hash.len() == mark.bytes && hash.finish() == mark.digest);
        }
        hash.update(&buffer[..read]);
    }
}

/// Shows each record of a journal of so many `bytes` to `each`: where it belongs, and what is to be written there.
pub fn records(
    journal: &File,
    bytes: u64,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut at, mut content) = (0, Vec::new());
    while at < bytes {
        let mut head = [0_u8; HEAD];
        journal.read_exact_at(&mut head, at)?;
        let number =
            |part: &[u8]| part.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        let (place, length) = (number(&head[..8]), number(&head[8..]));
        // No record is longer than a piece of the source that was read.
        let length = usize::try_from(length).ok().filter(|&length| length <= PIECE);
        let length = length.ok_or(io::Error::from(ErrorKind::InvalidData))?;
        content.resize(length, 0);
        journal.read_exact_at(&mut content, at + HEAD as u64)?;
        each(place, &content)?;
        at += (HEAD + length) as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_shown_again_and_harm_is_seen() {
        let file = tempfile::tempfile().unwrap();
        let mut journal = Journal::new(file.try_clone().unwrap());
        journal.add(4096, b"one").unwrap();
        journal.add(u64::MAX, b"").unwrap();
        journal.add(0, &[7; 5000]).unwrap();
        let (file, mark) = journal.finish().unwrap();
        assert!(is_complete(&file, &mark).unwrap());
        let mut shown = Vec::new();
        records(&file, mark.bytes, |at, bytes| {
            shown.push((at, bytes.to_vec()));
            Ok(())
        })
        .unwrap();
        assert_eq!(shown, [(4096, b"one".to_vec()), (u64::MAX, Vec::new()), (0, vec![7; 5000])]);
        file.write_all_at(b"x", 20).unwrap();
        assert!(!is_complete(&file, &mark).unwrap());
        file.set_len(10).unwrap();
        assert!(!is_complete(&file, &mark).unwrap());
    }
}
