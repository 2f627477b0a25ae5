//! Streams of what has a path, and the guard on their order: it rises strictly, or the run stops.

use super::rebased::Rebase;
use crate::model::{Entry, EntryPath, Record};

/// A stream broke its order. Joining it would invent and lose entries, so nothing more may be done.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {stream} listed {after} after {before}, which is out of order: nothing more is done, and what was done \
     so far is whole"
)]
pub struct OrderBreach {
    stream: &'static str,
    before: EntryPath,
    after: EntryPath,
}

/// What has a path to be ordered by.
pub trait Keyed {
    /// That path.
    fn key(&self) -> &EntryPath;
}

impl Keyed for Entry {
    fn key(&self) -> &EntryPath {
        &self.path
    }
}

impl Keyed for Record {
    fn key(&self) -> &EntryPath {
        &self.path
    }
}

impl Rebase for Entry {
    fn at(self, path: EntryPath) -> Self {
        Self { path, ..self }
    }
}

impl Rebase for Record {
    fn at(self, path: EntryPath) -> Self {
        Self { path, ..self }
    }
}

/// An iterator with one item in hand.
pub struct Stream<I, T> {
    name: &'static str,
    rest: I,
    head: Option<T>,
}

impl<I, T, E> Stream<I, T>
where
    I: Iterator<Item = Result<T, E>>,
    T: Keyed,
{
    /// Takes the first item in hand; `name` is the iterator's in messages.
    pub fn new(name: &'static str, mut rest: I) -> Result<Self, E> {
        let head = rest.next().transpose()?;
        Ok(Self { name, rest, head })
    }

    /// The path of the item in hand.
    pub fn peek(&self) -> Option<&EntryPath> {
        self.head.as_ref().map(Keyed::key)
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Gives away the item in hand, and takes the next one.
    pub fn take(&mut self) -> Result<Option<T>, E> {
        let next = if self.head.is_some() { self.rest.next().transpose()? } else { None };
        Ok(std::mem::replace(&mut self.head, next))
    }
}

/// The order of what leaves a merge, which always takes the least that its streams have in hand: where one of them steps
/// back, or stays where it was, the next to leave is no greater than the last.
#[derive(Debug, Default)]
pub struct Rising {
    /// The last path; the memory is used again and again.
    last: Vec<u8>,
    begun: bool,
}

impl Rising {
    /// Takes the next path that leaves, which comes from `stream`.
    pub fn pass(&mut self, path: &EntryPath, stream: &'static str) -> Result<(), OrderBreach> {
        let next = path.as_bytes();
        if self.begun && next <= self.last.as_slice() {
            return Err(OrderBreach {
                stream,
                before: EntryPath::from_bytes(self.last.as_slice()),
                after: path.clone(),
            });
        }
        self.begun = true;
        self.last.clear();
        self.last.extend_from_slice(next);
        Ok(())
    }
}
