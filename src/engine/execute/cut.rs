//! Cutting operations into batches: small entries by count and bytes, large files dealt out so that every
//! worker has some and hashes them side by side.

use super::large::{is_large, lanes};
use crate::engine::content::BATCH_BYTES;
use crate::engine::deal::{Deck, Most};
use crate::model::Operation;

/// Bytes of large files that are made durable and recorded together: what a stop or a kill may have to
/// copy again.
const HAND_BYTES: u64 = 1 << 30;

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
    large: Deck<T>,
    small: Vec<T>,
    bytes: u64,
}

impl<T> Cutter<T> {
    /// For batches of at most so many `files`.
    pub(super) fn new(files: usize, workers: usize) -> Self {
        // Both sides of those under way are open, then the written ones until they are durable, and their folders.
        let most = Most { files: (files.saturating_sub(2 * lanes(files)) / 2).max(1), bytes: HAND_BYTES };
        Self { files: files.max(1), large: Deck::new(workers, most), small: Vec::new(), bytes: 0 }
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

    /// What waits; what takes long comes first, so that no worker waits for it at the end.
    pub(super) fn rest(&mut self) -> Vec<Vec<T>> {
        self.bytes = 0;
        let small = std::mem::take(&mut self.small);
        let mut rest = self.large.deal();
        rest.extend((!small.is_empty()).then_some(small));
        rest
    }
}

/// Batches of at most so many `files`; large ones apart from small ones, else in the order of the plan.
pub(super) fn batches<'p>(
    operations: &[&'p Operation],
    files: usize,
    workers: usize,
) -> impl Iterator<Item = Vec<&'p Operation>> {
    let mut cutter = Cutter::new(files, workers);
    let mut batches = Vec::new();
    for &operation in operations {
        batches.extend(cutter.add(Size::of(operation), operation));
    }
    batches.extend(cutter.rest());
    batches.into_iter()
}
