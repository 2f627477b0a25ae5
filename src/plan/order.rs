//! The guard on every stream: entries come in strictly rising path order, or the run stops.

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

/// An iterator with one item in hand, whose order is checked as it goes.
pub struct Ordered<I, T> {
    stream: &'static str,
    rest: I,
    head: Option<T>,
}

impl<I, T, E> Ordered<I, T>
where
    I: Iterator<Item = Result<T, E>>,
    T: Keyed,
    E: From<OrderBreach>,
{
    /// Takes the first item in hand; `stream` names the iterator in messages.
    pub fn new(stream: &'static str, mut rest: I) -> Result<Self, E> {
        let head = rest.next().transpose()?;
        Ok(Self { stream, rest, head })
    }

    /// The path of the item in hand.
    pub fn peek(&self) -> Option<&EntryPath> {
        self.head.as_ref().map(Keyed::key)
    }

    /// Gives away the item in hand, and takes the next one.
    pub fn take(&mut self) -> Result<Option<T>, E> {
        let Some(head) = self.head.take() else { return Ok(None) };
        self.head = self.rest.next().transpose()?;
        match &self.head {
            Some(next) if next.key() <= head.key() => Err(OrderBreach {
                stream: self.stream,
                before: head.key().clone(),
                after: next.key().clone(),
            }
            .into()),
            _ => Ok(Some(head)),
        }
    }
}
