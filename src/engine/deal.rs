//! Large files dealt out to the workers: to each several of about the same number of bytes in all, so
//! that its hash lanes are full and no worker is idle at the end.

use super::abreast::ABREAST;

/// So many times as many as there are lanes wait at most where they differ so much in length that lanes would run dry.
const UNEVEN: usize = 8;

/// No more wait than are so many bytes for each worker: what a kill may have to be read again.
const PLENTY: u64 = 1 << 30;

/// Large files that wait until there are enough of them for all workers.
#[derive(Debug)]
pub struct Deck<T> {
    workers: usize,
    most: Most,
    held: Vec<(u64, T)>,
    bytes: u64,
    longest: u64,
}

/// What one worker takes at a time.
pub type Hand<T> = Vec<T>;

/// What a hand of more than one file may hold.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Files.
    pub files: usize,
    /// Bytes, all together.
    pub bytes: u64,
}

impl Most {
    /// Nothing limits it.
    pub const ANY: Self = Self { files: usize::MAX, bytes: u64::MAX };
}

impl<T> Deck<T> {
    /// Nothing waits yet.
    pub fn new(workers: usize, most: Most) -> Self {
        Self { workers: workers.max(1), most, held: Vec::new(), bytes: 0, longest: 0 }
    }

    /// One more file of so many bytes; returns what is dealt, nothing as long as there are too few.
    pub fn add(&mut self, bytes: u64, file: T) -> Vec<Hand<T>> {
        self.held.push((bytes, file));
        self.bytes = self.bytes.saturating_add(bytes);
        self.longest = self.longest.max(bytes);
        if self.are_enough() { self.deal() } else { Vec::new() }
    }

    /// Whether there is one for each lane, and none is so long that the others' lanes would run dry long before it ends.
    fn are_enough(&self) -> bool {
        let lanes = self.workers * ABREAST;
        let are_even = self.longest.saturating_mul(lanes as u64) <= self.bytes;
        let plenty = self.bytes / self.workers as u64 >= PLENTY || self.held.len() >= UNEVEN * lanes;
        self.held.len() >= lanes && (are_even || plenty)
    }

    /// Deals out what waits, the largest first, each to the hand that has the least.
    pub fn deal(&mut self) -> Vec<Hand<T>> {
        let mut files = std::mem::take(&mut self.held);
        (self.bytes, self.longest) = (0, 0);
        files.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let count = files.len().min(self.workers);
        let mut open: Vec<(u64, Hand<T>)> = (0..count).map(|_| (0, Vec::new())).collect();
        // What each worker got so far, closed hands included.
        let mut given = vec![0_u64; count];
        let mut hands = Vec::new();
        for (bytes, file) in files {
            let Some(least) = (0..count).min_by_key(|&worker| given[worker]) else { break };
            let (held, hand) = &mut open[least];
            let full = hand.len() >= self.most.files || held.saturating_add(bytes) > self.most.bytes;
            if full && !hand.is_empty() {
                hands.push(std::mem::take(hand));
                *held = 0;
            }
            hand.push(file);
            *held = held.saturating_add(bytes);
            given[least] = given[least].saturating_add(bytes);
        }
        hands.extend(open.into_iter().map(|(_, hand)| hand).filter(|hand| !hand.is_empty()));
        hands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn dealt(workers: usize, files: usize, bytes: u64, sizes: &[u64]) -> Vec<Hand<u64>> {
        let mut deck = Deck::new(workers, Most { files, bytes });
        let mut hands: Vec<Hand<u64>> = sizes.iter().flat_map(|&size| deck.add(size, size)).collect();
        hands.extend(deck.deal());
        hands
    }

    #[test]
    fn a_few_huge_files_are_shared_by_the_workers_and_many_fill_the_lanes_of_each() {
        let huge = 256 * MIB;
        assert_eq!(dealt(2, 99, 1 << 40, &[huge; 4]), [[huge; 2], [huge; 2]]);
        assert_eq!(dealt(2, 99, 1 << 40, &[huge; 1]), [[huge]]);
        assert_eq!(dealt(2, 99, 1 << 40, &[2 * MIB; 16]), [[2 * MIB; 8], [2 * MIB; 8]]);
        // One that outweighs all others has a worker to itself.
        let hands = dealt(2, 99, 1 << 40, &[MIB, MIB, MIB, huge]);
        assert_eq!(hands, [vec![huge], vec![MIB; 3]]);
        assert_eq!(dealt(2, 99, 100 * MIB, &[huge; 4]), [[huge]; 4]);
        assert_eq!(dealt(1, 3, 1 << 40, &[2; 7]), [vec![2; 3], vec![2; 3], vec![2; 1]]);
    }

    #[test]
    fn files_of_very_different_lengths_wait_for_more_of_them_but_not_for_ever() {
        let dealt_at = |size: &dyn Fn(usize) -> u64| {
            let mut deck = Deck::new(2, Most::ANY);
            (1..1000).find(|&number| !deck.add(size(number), number).is_empty()).unwrap()
        };
        assert_eq!(dealt_at(&|_| 4 * MIB), 32);
        // One of twice the length: as soon as the others are a lane's share each.
        assert_eq!(dealt_at(&|number| if number == 1 { 8 * MIB } else { 4 * MIB }), 63);
        assert_eq!(dealt_at(&|number| if number == 1 { 256 * MIB } else { 2 * MIB }), 256);
        assert_eq!(dealt_at(&|number| if number == 1 { 1024 * MIB } else { 16 * MIB }), 65);
        assert_eq!(dealt_at(&|_| 4096 * MIB), 32);
    }

    proptest! {
        #[test]
        fn every_file_is_dealt_once_and_no_hand_is_too_large(
            workers in 1_usize..5,
            files in 1_usize..9,
            hand_bytes in 1_u64..100,
            sizes in prop::collection::vec(0_u64..80, 0..100),
        ) {
            let hands = dealt(workers, files, hand_bytes, &sizes);
            let mut got: Vec<u64> = hands.iter().flatten().copied().collect();
            let mut wanted = sizes;
            got.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(got, wanted);
            for hand in hands {
                prop_assert!(hand.len() == 1 || hand.iter().sum::<u64>() <= hand_bytes);
                prop_assert!((1..=files).contains(&hand.len()));
            }
        }
    }
}
