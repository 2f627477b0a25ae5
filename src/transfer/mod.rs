//! Bytes from one place to another, in chunks, with somebody looking on (the hash).

pub mod cache;
pub mod clone;
pub mod extents;
pub mod pace;
pub mod patch;
pub mod redo;
pub mod sparse;

use crate::cancel::Cancel;
use rustix::io::retry_on_intr;
use std::fs::File;
use std::io::{self, Write};

/// Why a transfer ended early.
#[derive(Debug)]
pub enum Interruption {
    /// The source could not be read.
    Source(io::Error),
    /// The replica could not be read (when comparing) or written.
    Replica(io::Error),
    /// Somebody asked to stop.
    Cancelled,
}

/// Reads a file that should hold one byte less than `into` has room for, `chunk` bytes at a time:
/// the spare byte shows that the end was reached. Returns how many bytes were there.
pub fn read_whole(file: &File, into: &mut [u8], chunk: usize) -> io::Result<usize> {
    let mut filled: usize = 0;
    loop {
        let end = into.len().min(filled.saturating_add(chunk));
        let asked = end - filled;
        let read = read_some(file, &mut into[filled..end])?;
        filled += read;
        // A regular file gives less than was asked for only at its end.
        let ended = read < asked && filled + 1 == into.len();
        if read == 0 || ended || filled == into.len() {
            return Ok(filled);
        }
    }
}

/// Copies the first `size` bytes of `from` to `to`, or what there is of them, showing every chunk to `each`. Returns the
/// number of bytes that were there: one more than `size` where `from` goes on. `buffer` is the chunk.
pub fn copy(
    from: &File,
    mut to: &File,
    size: u64,
    buffer: &mut [u8],
    cancel: &Cancel,
    mut each: impl FnMut(&[u8]),
) -> Result<u64, Interruption> {
    let mut total: u64 = 0;
    loop {
        if cancel.requested() {
            return Err(Interruption::Cancelled);
        }
        let left = usize::try_from(size - total).unwrap_or(usize::MAX);
        // One byte more shows that the file goes on.
        let most = buffer.len().min(left.saturating_add(1));
        let read = read_some(from, &mut buffer[..most]).map_err(Interruption::Source)?;
        let wanted = read.min(left);
        if wanted > 0 {
            to.write_all(&buffer[..wanted]).map_err(Interruption::Replica)?;
            each(&buffer[..wanted]);
        }
        total += read as u64;
        if read == 0 || total > size {
            return Ok(total);
        }
    }
}

/// Reads the next bytes of both files into two buffers of one size. `Some`: so many are there and the
/// same, none at the end of both; `None`: they differ, or one file is longer.
pub fn same_chunk(
    source: &File,
    replica: &File,
    (ours, theirs): (&mut [u8], &mut [u8]),
) -> Result<Option<usize>, Interruption> {
    let read = fill(source, ours).map_err(Interruption::Source)?;
    // At the source's end, one byte more would show that the replica goes on.
    let wanted = read.max(1);
    let filled = fill(replica, &mut theirs[..wanted]).map_err(Interruption::Replica)?;
    Ok((ours[..read] == theirs[..filled]).then_some(read))
}

/// Reads until `into` is full or the file ends; returns how many bytes were there.
pub fn fill(file: &File, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match read_some(file, &mut into[filled..])? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

/// One read (several, where there is a limit to its pace), repeated where a signal came between.
fn read_some(file: &File, into: &mut [u8]) -> io::Result<usize> {
    pace::paced(into, |into, _| read_once(file, into))
}

/// By the call itself: the C library's would open a door to the cancellation of threads before each and close it after.
fn read_once(file: &File, into: &mut [u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::read(file, &mut *into))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Seek};

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_copy_has_and_shows_all_bytes_that_it_is_to_have(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            size in 0_usize..300,
            chunk in 1_usize..70,
        ) {
            let (from, mut to) = (file(&bytes), file(b""));
            let mut seen = Vec::new();
            let mut buffer = vec![0; chunk];
            let look = |c: &[u8]| seen.extend_from_slice(c);
            let total = copy(&from, &to, size as u64, &mut buffer, &Cancel::new(), look).unwrap();
            prop_assert_eq!(total, bytes.len().min(size + 1) as u64);
            to.rewind().unwrap();
            let mut copied = Vec::new();
            to.read_to_end(&mut copied).unwrap();
            prop_assert_eq!(&copied[..], &bytes[..bytes.len().min(size)]);
            prop_assert_eq!(&seen, &copied);
        }

        #[test]
        fn sameness_is_that_of_the_bytes(
            a in prop::collection::vec(0_u8..2, 0..9),
            b in prop::collection::vec(0_u8..2, 0..9),
            chunk in 1_usize..5,
        ) {
            let (mut x, mut y) = (vec![0; chunk], vec![0; chunk]);
            let (source, replica) = (file(&a), file(&b));
            let got = loop {
                match same_chunk(&source, &replica, (&mut x, &mut y)).unwrap() {
                    Some(0) => break true,
                    Some(_) => {}
                    None => break false,
                }
            };
            prop_assert_eq!(got, a == b);
        }

        #[test]
        fn reading_whole_tells_shorter_and_longer(bytes in prop::collection::vec(any::<u8>(), 0..50), size in 0_usize..50, chunk in 1_usize..60) {
            let mut room = vec![0; size + 1];
            let read = read_whole(&file(&bytes), &mut room, chunk).unwrap();
            prop_assert_eq!(read == size, bytes.len() == size);
        }
    }

    #[test]
    fn a_request_to_stop_ends_a_copy() {
        let cancel = Cancel::new();
        cancel.request();
        let ended = copy(&file(b"x"), &file(b""), 1, &mut [0; 4], &cancel, |_| {});
        assert!(matches!(ended, Err(Interruption::Cancelled)));
    }
}
