//! How many small contents are hashed together.

use super::content::{BATCH_BYTES, SMALL};
use crate::hash::LANES;

/// Fewer bytes are not enough, whatever they are cut into: what comes before and after each hashing would count.
const LEAST: u64 = 2 << 20;

/// Contents that wait until they are hashed side by side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gathered {
    bytes: u64,
    longest: u64,
}

impl Gathered {
    /// One more of so many bytes.
    pub fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.longest = self.longest.max(bytes);
    }

    /// What was added last is not there after all; that it was long may still count.
    pub fn take_back(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether they are to be hashed now: one MD5 cannot be split, so that the lanes are full to the end only where no
    /// content is longer than a lane's share of all. Or there might be no room for one more.
    pub fn are_enough(&self) -> bool {
        let fill_the_lanes = self.bytes >= LEAST && self.longest.saturating_mul(LANES as u64) <= self.bytes;
        fill_the_lanes || self.bytes + SMALL > BATCH_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    /// How many contents of this size, after a first one of that, are hashed together.
    fn together(first: u64, size: u64) -> u64 {
        let mut gathered = Gathered::default();
        gathered.add(first);
        let mut count = 0;
        while !gathered.are_enough() {
            gathered.add(size);
            count += 1;
        }
        assert!(first + count * size <= BATCH_BYTES, "{first} {size}");
        count
    }

    #[test]
    fn lanes_are_full_to_the_end_and_memory_is_bounded() {
        for (first, size, count) in [
            // Of small ones as many as are worth it, of longer ones as many as there are lanes, at least.
            (0, 8 * KIB, 256),
            (0, 128 * KIB, 16),
            (0, 200 * KIB, 16),
            (0, 448 * KIB, 16),
            // A long one among small ones waits for more of them.
            (256 * KIB, 8 * KIB, 480),
            // No more than there is room for.
            (0, SMALL, 8),
            (SMALL, 8 * KIB, 769),
        ] {
            assert_eq!(together(first, size), count, "{first} {size}");
        }
    }

    #[test]
    fn what_is_taken_back_does_not_count() {
        let mut gathered = Gathered::default();
        gathered.add(LEAST);
        gathered.take_back(LEAST);
        gathered.add(8 * KIB);
        assert!(!gathered.are_enough());
        // Its length does, until all are hashed.
        gathered.add(LEAST);
        assert!(!gathered.are_enough());
    }
}
