//! How many bytes of contents were read, counted by each thread at a place of its own: one that all of them write to
//! would go from processor to processor with each read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// So many threads have a place of their own; more of them share.
const PLACES: usize = 16;

/// As much as processors take from one another at a time (two lines of their caches).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(AtomicU64);

/// A count of bytes that goes on.
#[derive(Debug, Default)]
pub struct BytesRead {
    places: [Place; PLACES],
    taken: AtomicUsize,
}

impl BytesRead {
    /// A place to count at, for one thread.
    pub fn take_place(&self) -> usize {
        self.taken.fetch_add(1, Ordering::Relaxed) % PLACES
    }

    /// Adds bytes at a place that was taken.
    pub fn add(&self, place: usize, bytes: u64) {
        self.places[place % PLACES].0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All so far.
    pub fn total(&self) -> u64 {
        self.places.iter().map(|place| place.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_any_thread_counts_is_in_the_total() {
        let count = BytesRead::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * PLACES {
                scope.spawn(|| {
                    let place = count.take_place();
                    (0..1000).for_each(|_| count.add(place, 3));
                });
            }
        });
        assert_eq!(count.total(), 2 * PLACES as u64 * 3000);
    }
}
