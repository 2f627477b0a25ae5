//! Memory for the contents of small files, which are read whole, compared and hashed together.

use super::gathered::Gathered;
use crate::transfer;
use std::cell::RefCell;
use std::fs::File;
use std::ops::Range;

/// Contents begin at lines of the processor's caches: copied to anywhere else a page takes the kernel longer.
const LINE: usize = 64;

/// Enough for what is mostly hashed together, in bytes.
const FIRST_ROOM: usize = 4 << 20;

/// Room for the contents of a batch's small files, used again from batch to batch.
#[derive(Default)]
pub struct Arena {
    bytes: Vec<u8>,
    used: usize,
    gathered: Gathered,
    /// Bytes read at a time.
    chunk: usize,
}

thread_local! {
    /// Kept from batch to batch: fresh memory costs a page fault every 4 KiB.
    static ARENA: RefCell<Arena> = RefCell::default();
}

impl Arena {
    /// Lends this worker's arena, empty; it reads `chunk` bytes at a time.
    pub fn with<T>(chunk: usize, work: impl FnOnce(&mut Arena) -> T) -> T {
        ARENA.with_borrow_mut(|arena| {
            arena.clear();
            arena.chunk = chunk;
            work(arena)
        })
    }

    /// Reads a file that should hold `size` bytes; `None`: it holds more or fewer.
    pub fn read(&mut self, file: &File, size: u64) -> std::io::Result<Option<Range<usize>>> {
        let (range, read) = self.read_first(file, size)?;
        if read == size {
            return Ok(Some(range));
        }
        self.release(&range);
        Ok(None)
    }

    /// Reads the first `size` bytes of a file, or what there is of them. Returns also the number of bytes that were
    /// there: one more than `size` where the file goes on.
    pub fn read_first(&mut self, file: &File, size: u64) -> std::io::Result<(Range<usize>, u64)> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.hold(self.used + LINE + size + 1);
        let start = self.used + self.bytes[self.used..].as_ptr().align_offset(LINE);
        let read = transfer::read_whole(file, &mut self.bytes[start..=start + size], self.chunk)?;
        let range = start..start + read.min(size);
        self.used = range.end;
        self.gathered.add(range.len() as u64);
        Ok((range, read as u64))
    }

    /// Takes in what was read elsewhere.
    pub fn put(&mut self, content: &[u8]) -> Range<usize> {
        let range = self.used..self.used + content.len();
        self.hold(range.end);
        self.bytes[range.clone()].copy_from_slice(content);
        self.used = range.end;
        self.gathered.add(content.len() as u64);
        range
    }

    /// Has room for so many bytes from its beginning. New room is memory that the system gives as zeroes, nothing of
    /// which is there before it is written to.
    fn hold(&mut self, bytes: usize) {
        if self.bytes.len() >= bytes {
            return;
        }
        let mut larger = vec![0; bytes.next_power_of_two().max(FIRST_ROOM)];
        larger[..self.used].copy_from_slice(&self.bytes[..self.used]);
        self.bytes = larger;
    }

    /// What was read there.
    pub fn get(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// Whether it holds enough to be hashed, or so much that it should be.
    pub fn holds_enough(&self) -> bool {
        self.gathered.are_enough()
    }

    /// Forgets all that was read.
    pub fn clear(&mut self) {
        self.used = 0;
        self.gathered = Gathered::default();
    }

    /// Forgets what was read last.
    pub fn release(&mut self, range: &Range<usize>) {
        self.used = range.start;
        self.gathered.take_back(range.len() as u64);
    }
}
