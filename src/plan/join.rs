//! Three sorted streams become one: for each path what source, replica and manifest say of it.

use super::order::{OrderBreach, Ordered};
use crate::model::{Entry, EntryPath, Record, Seen};

/// What the three witnesses say of one path; at least one of them knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The path.
    pub path: EntryPath,
    /// What the source's walk saw there.
    pub source: Option<Seen>,
    /// What the replica's walk saw there.
    pub replica: Option<Seen>,
    /// The manifest's row.
    pub row: Option<Record>,
}

/// The merge of the three streams, in path order.
pub struct Join<S, R, M> {
    source: Ordered<S, Entry>,
    replica: Ordered<R, Entry>,
    rows: Ordered<M, Record>,
}

impl<S, R, M, E> Join<S, R, M>
where
    S: Iterator<Item = Result<Entry, E>>,
    R: Iterator<Item = Result<Entry, E>>,
    M: Iterator<Item = Result<Record, E>>,
    E: From<OrderBreach>,
{
    /// Joins the streams; each must be in strictly rising path order.
    pub fn new(source: S, replica: R, rows: M) -> Result<Self, E> {
        Ok(Self {
            source: Ordered::new("source", source)?,
            replica: Ordered::new("replica", replica)?,
            rows: Ordered::new("manifest", rows)?,
        })
    }

    fn step(&mut self) -> Result<Option<Joined>, E> {
        let heads = [self.source.peek(), self.replica.peek(), self.rows.peek()];
        let Some(least) = heads.into_iter().flatten().min() else { return Ok(None) };
        let [source, replica, row] = heads.map(|head| head == Some(least));
        let source = if source { self.source.take()? } else { None };
        let replica = if replica { self.replica.take()? } else { None };
        let row = if row { self.rows.take()? } else { None };
        let (source, first) = source.map_or((None, None), |entry| (Some(entry.seen), Some(entry.path)));
        let (replica, second) = replica.map_or((None, None), |entry| (Some(entry.seen), Some(entry.path)));
        // One of the three has it: they were looked for by the least of their paths.
        let path = first.or(second).or_else(|| row.as_ref().map(|row| row.path.clone()));
        Ok(path.map(|path| Joined { path, source, replica, row }))
    }
}

impl<S, R, M, E> Iterator for Join<S, R, M>
where
    S: Iterator<Item = Result<Entry, E>>,
    R: Iterator<Item = Result<Entry, E>>,
    M: Iterator<Item = Result<Record, E>>,
    E: From<OrderBreach>,
{
    type Item = Result<Joined, E>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn entries(paths: &BTreeSet<String>) -> Vec<Result<Entry, OrderBreach>> {
        let seen = || Seen::Unreadable(String::new());
        paths.iter().map(|p| Ok(Entry { path: EntryPath::from(p.as_str()), seen: seen() })).collect()
    }

    proptest! {
        #[test]
        fn every_path_comes_once_with_all_who_know_it(
            a in prop::collection::btree_set("[ab/.]{0,4}", 0..20),
            b in prop::collection::btree_set("[ab/.]{0,4}", 0..20),
        ) {
            let none = std::iter::empty::<Result<Record, OrderBreach>>();
            let join = Join::new(entries(&a).into_iter(), entries(&b).into_iter(), none).unwrap();
            let joined: Vec<Joined> = join.map(Result::unwrap).collect();
            let naive: Vec<&String> = a.union(&b).collect();
            prop_assert_eq!(joined.len(), naive.len());
            for (got, path) in joined.iter().zip(naive) {
                prop_assert_eq!(got.path.as_bytes(), path.as_bytes());
                prop_assert_eq!(got.source.is_some(), a.contains(path));
                prop_assert_eq!(got.replica.is_some(), b.contains(path));
            }
        }
    }

    #[test]
    fn a_stream_out_of_order_stops_the_join() {
        let entry = |p: &str| -> Result<Entry, OrderBreach> {
            Ok(Entry { path: EntryPath::from(p), seen: Seen::Unreadable(String::new()) })
        };
        for pair in [["b", "a"], ["a", "a"]] {
            let none = || std::iter::empty::<Result<Entry, OrderBreach>>();
            let rows = std::iter::empty::<Result<Record, OrderBreach>>();
            let mut join = Join::new(pair.map(entry).into_iter(), none(), rows).unwrap();
            assert!(join.any(|item| item.is_err()), "{pair:?}");
        }
    }
}
