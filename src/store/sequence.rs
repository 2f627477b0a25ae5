//! A stream that several threads make and one takes: what is ready, what is still to be done and what is
//! being done, in the one order.

use std::collections::{BTreeMap, BTreeSet};

/// Where in the stream something belongs: no key is that of two pieces.
pub(super) type Key = Vec<u8>;

/// Something that is still to be turned into items of the stream.
pub(super) trait Work: Sized {
    /// Where what comes of it begins.
    fn key(&self) -> Key;
    /// The first part, of so many units (at least one), and the rest if there is any.
    fn split(self, units: usize) -> (Self, Option<Self>);
}

/// A piece of the stream.
#[derive(Debug)]
pub(super) enum Piece<T, W> {
    /// Items, and the first one's key.
    Ready(Key, Vec<T>),
    /// Work that more items and more work come of.
    Work(W),
}

impl<T, W> Piece<T, W> {
    /// How many items it holds.
    pub(super) fn items(&self) -> usize {
        match self {
            Self::Ready(_, items) => items.len(),
            Self::Work(_) => 0,
        }
    }
}

/// What is so at the stream's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// Items can be taken.
    Ready,
    /// The next items are to be made by whoever claims the work.
    Work,
    /// Somebody makes them.
    Busy,
    /// There are no more.
    End,
}

/// The pieces of a stream between what was taken of it and its end.
#[derive(Debug)]
pub(super) struct Sequence<T, W> {
    ready: BTreeMap<Key, Vec<T>>,
    work: BTreeMap<Key, W>,
    busy: BTreeSet<Key>,
    /// Items in `ready`.
    held: usize,
}

impl<T, W: Work> Sequence<T, W> {
    /// A stream that comes of one piece of work.
    pub(super) fn of(work: W) -> Self {
        let work = BTreeMap::from([(work.key(), work)]);
        Self { ready: BTreeMap::new(), work, busy: BTreeSet::new(), held: 0 }
    }

    /// What is so at the beginning.
    pub(super) fn front(&self) -> Front {
        let ready = self.ready.first_key_value().map(|(key, _)| (key, Front::Ready));
        let work = self.work.first_key_value().map(|(key, _)| (key, Front::Work));
        let busy = self.busy.first().map(|key| (key, Front::Busy));
        let first = [ready, work, busy].into_iter().flatten().min_by_key(|(key, _)| *key);
        first.map_or(Front::End, |(_, front)| front)
    }

    /// Whether what was claimed as `key` comes before all else.
    pub(super) fn begins_with(&self, key: &Key) -> bool {
        self.front() == Front::Busy && self.busy.first() == Some(key)
    }

    /// The next items, where the front is ready.
    pub(super) fn take(&mut self) -> Option<Vec<T>> {
        if self.front() != Front::Ready {
            return None;
        }
        let (_, items) = self.ready.pop_first()?;
        self.held -= items.len();
        Some(items)
    }

    /// How many items wait to be taken.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The work that is nearest to the beginning.
    pub(super) fn nearest(&self) -> Option<&W> {
        self.work.first_key_value().map(|(_, work)| work)
    }

    /// Takes so many units of the nearest work, to be answered with [`Sequence::publish`] under the key
    /// that comes with it.
    pub(super) fn claim(&mut self, units: usize) -> Option<(Key, W)> {
        let (key, work) = self.work.pop_first()?;
        let (first, rest) = work.split(units);
        if let Some(rest) = rest {
            self.work.insert(rest.key(), rest);
        }
        self.busy.insert(key.clone());
        Some((key, first))
    }

    /// Puts what came of the work that was claimed as `key` in its place.
    pub(super) fn publish(&mut self, key: &Key, pieces: impl IntoIterator<Item = Piece<T, W>>) {
        self.busy.remove(key);
        for piece in pieces {
            match piece {
                Piece::Ready(key, items) => {
                    self.held += items.len();
                    self.ready.insert(key, items);
                }
                Piece::Work(work) => {
                    self.work.insert(work.key(), work);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::Range;

    /// Numbers that are to come out in order.
    impl Work for Range<u32> {
        fn key(&self) -> Key {
            self.start.to_be_bytes().to_vec()
        }
        fn split(self, units: usize) -> (Self, Option<Self>) {
            let middle = (self.start + u32::try_from(units).unwrap().max(1)).min(self.end);
            (self.start..middle, (middle < self.end).then_some(middle..self.end))
        }
    }

    fn ready(range: Range<u32>) -> Piece<u32, Range<u32>> {
        Piece::Ready(range.key(), range.collect())
    }

    proptest! {
        /// Whoever claims what, how much of it is done, and in which order it is handed in.
        #[test]
        fn the_stream_is_the_same_whoever_does_what_when(
            total in 1_u32..200,
            moves in prop::collection::vec((0_u8..3, 1_usize..20, any::<prop::sample::Index>()), 0..400),
        ) {
            let mut sequence: Sequence<u32, Range<u32>> = Sequence::of(0..total);
            let (mut out, mut taken) = (Vec::new(), Vec::new());
            for (what, units, which) in moves {
                match what {
                    0 => out.extend(sequence.claim(units)),
                    1 if !out.is_empty() => {
                        let (key, range): (Key, Range<u32>) = out.swap_remove(which.index(out.len()));
                        // All of it, or only its first half.
                        let middle = if units % 2 == 0 { range.end } else { range.start + (range.end - range.start) / 2 };
                        let mut pieces = Vec::new();
                        if range.start < middle {
                            pieces.push(ready(range.start..middle));
                        }
                        if middle < range.end {
                            pieces.push(Piece::Work(middle..range.end));
                        }
                        sequence.publish(&key, pieces);
                    }
                    _ => taken.extend(sequence.take().into_iter().flatten()),
                }
                let waiting: usize = sequence.ready.values().map(Vec::len).sum();
                prop_assert_eq!(sequence.held(), waiting);
            }
            for (key, range) in out {
                sequence.publish(&key, [ready(range)]);
            }
            loop {
                match sequence.front() {
                    Front::Ready => taken.extend(sequence.take().unwrap()),
                    Front::Work => {
                        let (key, range) = sequence.claim(7).unwrap();
                        sequence.publish(&key, [ready(range)]);
                    }
                    Front::Busy => prop_assert!(false, "all was handed in"),
                    Front::End => break,
                }
            }
            prop_assert_eq!(taken, (0..total).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_somebody_is_at_keeps_back_what_comes_after_it() {
        let mut sequence: Sequence<u32, Range<u32>> = Sequence::of(0..3);
        let first = sequence.claim(1).unwrap();
        let second = sequence.claim(1).unwrap();
        sequence.publish(&second.0, [ready(second.1)]);
        assert_eq!((sequence.front(), sequence.take(), sequence.held()), (Front::Busy, None, 1));
        sequence.publish(&first.0, [ready(first.1)]);
        assert_eq!(sequence.take(), Some(vec![0]));
        assert_eq!(sequence.take(), Some(vec![1]));
        assert_eq!(sequence.front(), Front::Work);
        // Work that nothing came of.
        let last = sequence.claim(1).unwrap();
        sequence.publish(&last.0, []);
        assert_eq!(sequence.front(), Front::End);
    }
}
