//! Where a file has data and where it has holes, as the file system tells (`SEEK_DATA`, `SEEK_HOLE`).
//!
//! Asking moves the handle's offset: who goes by extents reads and writes at positions. What the file
//! system cannot or will not tell counts as data, which is always right: a hole reads as zeros.

use super::pace::paced;
use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A part of a file that is all data or all hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first byte.
    pub start: u64,
    /// The first byte after it.
    pub end: u64,
    /// Whether there is data; it may be zeros.
    pub data: bool,
}

/// Goes through the stretches of a file's first `size` bytes, in order and without gaps.
#[derive(Clone, Debug)]
pub struct Extents {
    size: u64,
    at: u64,
    /// Data is known to begin at `at`.
    at_data: bool,
}

impl Extents {
    /// Those of a file that has `size` bytes.
    pub fn of(size: u64) -> Self {
        Self { size, at: 0, at_data: false }
    }

    /// The next stretch of `file`; `None` at its end.
    pub fn next(&mut self, file: &File) -> Option<Stretch> {
        if self.at >= self.size {
            return None;
        }
        let start = self.at;
        let asked = if self.at_data { Ok(start) } else { seek(file, SeekFrom::Data(start)) };
        let data_at = match asked {
            Ok(found) => found.clamp(start, self.size),
            Err(Errno::NXIO) => self.size,
            Err(_) => return Some(self.stretch(self.size, true)),
        };
        if data_at > start {
            self.at_data = data_at < self.size;
            return Some(self.stretch(data_at, false));
        }
        self.at_data = false;
        let end = match seek(file, SeekFrom::Hole(start)) {
            // Somebody made a hole here since: one byte of it is read as data, and the rest asked for again.
            Ok(found) => found.clamp(start + 1, self.size),
            Err(_) => self.size,
        };
        Some(self.stretch(end, true))
    }

    fn stretch(&mut self, end: u64, data: bool) -> Stretch {
        let stretch = Stretch { start: self.at, end, data };
        self.at = end;
        stretch
    }
}

/// Whether a file of `size` bytes has a hole. Leaves the handle at the file's start.
pub fn has_holes(file: &File, size: u64) -> bool {
    let Ok(first) = seek(file, SeekFrom::Hole(0)) else { return false };
    // Whoever reads it as a stream begins at its start. No file system refuses this; one that did
    // would show a file that is shorter than it should be.
    let _ = seek(file, SeekFrom::Start(0));
    first < size
}

/// Whether the holes of a file of `size` bytes amount to more than `limit`.
pub fn holes_exceed(file: &File, size: u64, limit: u64) -> bool {
    if size <= limit {
        return false;
    }
    let mut extents = Extents::of(size);
    let mut total = 0;
    while let Some(stretch) = extents.next(file) {
        if !stretch.data {
            total += stretch.end - stretch.start;
            if total > limit {
                return true;
            }
        }
    }
    false
}

/// The unit in which a file's file system allocates, as far as it tells.
pub fn block_size(file: &File) -> io::Result<u64> {
    Ok(u64::try_from(fstat(file)?.st_blksize).unwrap_or(0).max(1))
}

/// Reads a file from start to end like a stream, without reading its holes.
#[derive(Clone, Debug)]
pub struct HoleReader {
    extents: Extents,
    stretch: Stretch,
    at: u64,
}

impl HoleReader {
    /// At the start of a file that has `size` bytes.
    pub fn of(size: u64) -> Self {
        Self { extents: Extents::of(size), stretch: Stretch { start: 0, end: 0, data: false }, at: 0 }
    }

    /// Reads until `into` is full or the file ends; returns how many bytes were there.
    pub fn fill(&mut self, file: &File, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            if self.at >= self.stretch.end {
                match self.extents.next(file) {
                    Some(next) => self.stretch = next,
                    None => break,
                }
            }
            let left = usize::try_from(self.stretch.end - self.at).unwrap_or(usize::MAX);
            let end = into.len().min(filled.saturating_add(left));
            let room = &mut into[filled..end];
            let read = if self.stretch.data {
                read_some_at(file, room, self.at)?
            } else {
                room.fill(0);
                room.len()
            };
            if read == 0 {
                break;
            }
            filled += read;
            self.at += read as u64;
        }
        Ok(filled)
    }
}

/// One read at a position (several, where there is a limit to its pace), repeated where a signal came between.
pub(super) fn read_some_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    paced(into, |into, filled| read_once_at(file, into, at + filled as u64))
}

fn read_once_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
