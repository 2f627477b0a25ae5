//! Cutting a plan into batches: small entries by count and bytes, large files dealt out so that every
//! worker has some and hashes them side by side.

use super::large::{is_large, lanes};
use crate::engine::content::BATCH_BYTES;
use crate::engine::deal::{Deck, Most};
use crate::model::Operation;

/// Bytes of large files that are made durable and recorded together: what a stop or a kill may have to
/// copy again.
const HAND_BYTES: u64 = 1 << 30;

/// Batches of at most so many `files`; large ones apart from small ones, else in the order of the plan.
pub(super) fn batches<'p>(
    operations: &[&'p Operation],
    files: usize,
    workers: usize,
) -> impl Iterator<Item = Vec<&'p Operation>> {
    // Both sides of those under way are open, then the written ones until they are durable, and their folders.
    let most = Most { files: (files.saturating_sub(2 * lanes(files)) / 2).max(1), bytes: HAND_BYTES };
    let mut large = Deck::new(workers, most);
    let mut batches = Vec::new();
    let mut small: Vec<&Operation> = Vec::new();
    let mut bytes = 0;
    for &operation in operations {
        let size = operation.bytes();
        if is_large(operation) {
            batches.extend(large.add(size, operation));
            continue;
        }
        if small.len() >= files.max(1) || (!small.is_empty() && bytes + size > BATCH_BYTES) {
            batches.push(std::mem::take(&mut small));
            bytes = 0;
        }
        small.push(operation);
        bytes += size;
    }
    // What takes long comes before the last small ones, so that no worker waits for it at the end.
    batches.extend(large.deal());
    batches.extend((!small.is_empty()).then_some(small));
    batches.into_iter()
}
