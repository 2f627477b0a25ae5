//! What a long transfer does to the page cache: it leaves nothing there that was not there before.
//!
//! Files above [`FLOOD`] are read and written in windows. A window of a file that is read is let go
//! behind the reader if it had to be fetched for it; what somebody else had in the cache already
//! stays (asked a window ahead, by a read that must not wait). What is written belongs to nobody else
//! yet: the system is told to begin writing it back, and a few windows later to let it go.
//!
//! All of this is advice. Where the file system does not take it, nothing is lost but memory.

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
use std::io::IoSliceMut;
use std::num::NonZeroU64;

/// Files up to so many bytes pass through the cache like those of any other program.
pub const FLOOD: u64 = 8 << 20;

/// Bytes let go at a time: more than any file system reads ahead.
const WINDOW: u64 = 8 << 20;

/// So many windows what was written has to be on its way to the disk before it is let go.
const WRITEBACK_WINDOWS: u64 = 2;

/// A file that is read from start to end.
#[derive(Debug)]
pub struct Passage {
    size: u64,
    /// The window that is being read, and whether it and the next had to be fetched.
    window: u64,
    cold: [bool; 2],
}

impl Passage {
    /// Of a file that has `size` bytes, of which nothing was read yet.
    pub fn of(file: &File, size: u64) -> Self {
        Self::from(file, size, 0)
    }

    /// The same where reading begins at `at`.
    pub fn from(file: &File, size: u64, at: u64) -> Self {
        let window = at / WINDOW;
        let cold = [is_cold(file, window, size), is_cold(file, window + 1, size)];
        // Advice: where it is not taken, the file is read as any other.
        let _ = fadvise(file, 0, None, Advice::Sequential);
        Self { size, window, cold }
    }

    /// It was read up to `at`.
    pub fn was_read(&mut self, file: &File, at: u64) {
        while at >= self.end() || at >= self.size && self.window * WINDOW < self.size {
            if self.cold[0] {
                let_go(file, self.window);
            }
            self.window += 1;
            self.cold = [self.cold[1], is_cold(file, self.window + 1, self.size)];
        }
    }

    fn end(&self) -> u64 {
        (self.window + 1) * WINDOW
    }
}

/// A file that is written from start to end.
#[derive(Debug, Default)]
pub struct Written {
    window: u64,
}

impl Written {
    /// Where writing begins at `at`.
    pub fn from(at: u64) -> Self {
        Self { window: at / WINDOW }
    }

    /// It was written up to `at`.
    pub fn was_written(&mut self, file: &File, at: u64) {
        while at >= (self.window + 1) * WINDOW {
            // What is dirty begins to be written back, and stays; what is clean goes.
            let_go(file, self.window);
            if let Some(window) = self.window.checked_sub(WRITEBACK_WINDOWS) {
                let_go(file, window);
            }
            self.window += 1;
        }
    }
}

/// Lets go of all of a file that is on the disk.
pub fn let_all_go(file: &File) {
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

fn let_go(file: &File, window: u64) {
    let _ = fadvise(file, window * WINDOW, NonZeroU64::new(WINDOW), Advice::DontNeed);
}

/// Whether a window (its middle, which is beyond what is read ahead from the one before the last) is
/// not in the cache yet. What cannot be told counts as somebody else's.
fn is_cold(file: &File, window: u64, size: u64) -> bool {
    let start = window * WINDOW;
    if start >= size {
        return false;
    }
    let at = (start + WINDOW / 2).min(size - 1);
    let mut byte = [0];
    preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) == Err(Errno::AGAIN)
}
