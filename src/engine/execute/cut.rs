//! Cutting operations into batches: small entries by count and bytes, large files dealt out so that every
//! worker has some and hashes them side by side.

use super::large::{is_large, lanes};
use crate::engine::content::BATCH_BYTES;
use crate::engine::deal::{Deck, Most};
use crate::model::Operation;

/// Bytes of large files that are made durable and recorded together: what a stop or a kill may have to
/// copy again.
const HAND_BYTES: u64 = 1 << 30;

/// Fewer small entries are not shared out.
const FEW: usize = 32;

/// So many batches each worker is to have, if there is work enough: who had the shorter ones takes another.
const EACH: usize = 2;

/// How much work an operation is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    bytes: u64,
    large: bool,
}

impl Size {
    pub(super) fn of(operation: &Operation) -> Self {
        Self { bytes: operation.bytes(), large: is_large(operation) }
    }
}

/// Operations that wait until a batch of them is together.
pub(super) struct Cutter<T> {
    files: usize,
    workers: usize,
    large: Deck<T>,
    small: Vec<T>,
    bytes: u64,
}

impl<T> Cutter<T> {
    /// For batches of at most so many `files`.
    pub(super) fn new(files: usize, workers: usize) -> Self {
        // Both sides of those under way are open, then the written ones until they are durable, and their folders.
        let most = Most { files: (files.saturating_sub(2 * lanes(files)) / 2).max(1), bytes: HAND_BYTES };
        let large = Deck::new(workers, most);
        Self { files: files.max(1), workers: workers.max(1), large, small: Vec::new(), bytes: 0 }
    }

    /// The same for so many operations in all: nobody is to be idle while another works through a long batch.
    fn for_all(count: usize, files: usize, workers: usize) -> Self {
        let cutter = Self::new(files, workers);
        let share = count.div_ceil(EACH * cutter.workers).max(FEW);
        Self { files: cutter.files.min(share), ..cutter }
    }

    /// One more operation of this size, which `item` stands for; returns the batches that are full with it.
    pub(super) fn add(&mut self, Size { bytes: size, large }: Size, item: T) -> Vec<Vec<T>> {
        if large {
            return self.large.add(size, item);
        }
        let is_full = self.small.len() >= self.files || self.bytes + size > BATCH_BYTES;
        let full = (is_full && !self.small.is_empty()).then(|| std::mem::take(&mut self.small));
        if full.is_some() {
            self.bytes = 0;
        }
        self.small.push(item);
        self.bytes += size;
        full.into_iter().collect()
    }

    /// What waits, shared out; what takes long comes first, so that no worker waits for it at the end.
    pub(super) fn rest(&mut self) -> Vec<Vec<T>> {
        self.bytes = 0;
        let share = self.small.len().div_ceil(self.workers).max(FEW);
        let mut rest = self.large.deal();
        while !self.small.is_empty() {
            let others = self.small.split_off(share.min(self.small.len()));
            rest.push(std::mem::replace(&mut self.small, others));
        }
        rest
    }
}

/// Batches of at most so many `files`; large ones apart from small ones, else in the order of the plan.
pub(super) fn batches<'p>(
    operations: &[&'p Operation],
    files: usize,
    workers: usize,
) -> impl Iterator<Item = Vec<&'p Operation>> {
    let mut cutter = Cutter::for_all(operations.len(), files, workers);
    let mut batches = Vec::new();
    for &operation in operations {
        batches.extend(cutter.add(Size::of(operation), operation));
    }
    batches.extend(cutter.rest());
    batches.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { bytes: 1, large: false };

    fn lengths(mut cutter: Cutter<usize>, count: usize) -> Vec<usize> {
        let mut batches: Vec<Vec<usize>> = (0..count).flat_map(|number| cutter.add(SMALL, number)).collect();
        batches.extend(cutter.rest());
        assert!(batches.iter().flatten().copied().eq(0..count), "all of them, in their order");
        batches.iter().map(Vec::len).collect()
    }

    #[test]
    fn small_entries_are_shared_by_the_workers_where_there_are_enough_of_them() {
        for (count, files, workers, cut) in [
            (0, 256, 2, vec![]),
            (20, 256, 2, vec![20]),
            (40, 256, 2, vec![32, 8]),
            (100, 256, 2, vec![32, 32, 32, 4]),
            (500, 256, 2, vec![125, 125, 125, 63, 62]),
            (1100, 256, 2, vec![256, 256, 256, 256, 38, 38]),
            (5, 2, 4, vec![2, 2, 1]),
        ] {
            let cutter = Cutter::for_all(count, files, workers);
            assert_eq!(lengths(cutter, count), cut, "{count} {files} {workers}");
        }
        // Nobody knows how many there will be: what is left at the end is shared.
        assert_eq!(lengths(Cutter::new(256, 2), 300), [256, 32, 12]);
        assert_eq!(lengths(Cutter::new(256, 2), 200), [100, 100]);
    }

    #[test]
    fn a_batch_holds_no_more_bytes_than_a_worker_may() {
        let mut cutter = Cutter::new(256, 2);
        let size = Size { bytes: BATCH_BYTES / 2, large: false };
        assert!(cutter.add(size, 0).is_empty() && cutter.add(size, 1).is_empty());
        assert_eq!(cutter.add(SMALL, 2), [[0, 1]]);
        assert_eq!(cutter.rest(), [[2]]);
    }
}
