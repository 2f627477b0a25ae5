//! Three sorted streams become one: for each path what source, replica and manifest say of it.

use super::order::{OrderBreach, Rising, Stream};
use crate::model::{Entry, EntryPath, Record, Seen};
use std::cmp::Ordering;

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
    source: Stream<S, Entry>,
    replica: Stream<R, Entry>,
    rows: Stream<M, Record>,
    order: Rising,
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
            source: Stream::new("source", source)?,
            replica: Stream::new("replica", replica)?,
            rows: Stream::new("manifest", rows)?,
            order: Rising::default(),
        })
    }

    fn step(&mut self) -> Result<Option<Joined>, E> {
        let heads = [
            (self.source.peek(), self.source.name()),
            (self.replica.peek(), self.replica.name()),
            (self.rows.peek(), self.rows.name()),
        ];
        let mut least: Option<(&EntryPath, &'static str)> = None;
        let mut have_it = [false; 3];
        for (number, (head, name)) in heads.into_iter().enumerate() {
            let Some(head) = head else { continue };
            match least.map_or(Ordering::Less, |(least, _)| head.cmp(least)) {
                Ordering::Less => {
                    least = Some((head, name));
                    have_it = [false; 3];
                    have_it[number] = true;
                }
                Ordering::Equal => have_it[number] = true,
                Ordering::Greater => {}
            }
        }
        let Some((least, name)) = least else { return Ok(None) };
        self.order.pass(least, name)?;
        let [source, replica, row] = have_it;
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
        for (ours, theirs) in [
            (vec!["b", "a"], vec![]),
            (vec!["a", "a"], vec![]),
            (vec!["a", "a"], vec!["a", "b"]),
            (vec!["a", "c", "b"], vec!["a", "b", "c"]),
            (vec!["c"], vec!["b", "d", "a"]),
            (vec!["", "a"], vec!["a", ""]),
        ] {
            for (source, replica) in [(&ours, &theirs), (&theirs, &ours)] {
                let of =
                    |paths: &Vec<&str>| paths.iter().map(|path| entry(path)).collect::<Vec<_>>().into_iter();
                let rows = std::iter::empty::<Result<Record, OrderBreach>>();
                let mut join = Join::new(of(source), of(replica), rows).unwrap();
                assert!(join.any(|item| item.is_err()), "{source:?} {replica:?}");
            }
        }
    }
}
