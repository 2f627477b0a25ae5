//! A sorted stream as it will be once folders have got other names.

use super::order::Keyed;
use super::relocation::Relocation;
use crate::model::EntryPath;
use std::collections::HashMap;

/// What has a path that can become another one.
pub trait Rebase: Keyed + Sized {
    /// The same under another path.
    #[must_use]
    fn at(self, path: EntryPath) -> Self;
}

/// Names as they are and as they are to be.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Where it lies, and what it is to be called; by the latter.
    names: Vec<(EntryPath, EntryPath)>,
    /// Their places in that list, by where they lie.
    by_old: HashMap<EntryPath, usize>,
    /// Likewise by what they are to be called.
    by_new: HashMap<EntryPath, usize>,
}

impl View {
    /// As it will be after `relocations`, going by where the entries lie or (`rows`) by where their rows are.
    pub fn of(relocations: &[Relocation], rows: bool) -> Self {
        let old = |way: &Relocation| if rows { way.rows.clone() } else { way.lies.clone() };
        let mut names: Vec<_> = relocations.iter().map(|way| (old(way), way.to.clone())).collect();
        names.sort_by(|one, other| one.1.cmp(&other.1));
        let numbered = || names.iter().enumerate();
        let by_old = numbered().map(|(number, (lies, _))| (lies.clone(), number)).collect();
        let by_new = numbered().map(|(number, (_, to))| (to.clone(), number)).collect();
        Self { names, by_old, by_new }
    }

    /// Where what will be called `path` lies now.
    pub fn actual(&self, path: &EntryPath) -> EntryPath {
        let along = innermost(&self.by_new, path).and_then(|&number| {
            let (lies, to) = &self.names[number];
            path.rebased(to, lies)
        });
        along.unwrap_or_else(|| path.clone())
    }

    /// What `actual`, which lies there now, will be called.
    pub fn renamed(&self, actual: &EntryPath) -> EntryPath {
        let along = self.taken_by(actual).and_then(|number| {
            let (lies, to) = &self.names[number];
            actual.rebased(lies, to)
        });
        along.unwrap_or_else(|| actual.clone())
    }

    /// The folder by whose rename `actual` goes along: the innermost that it is or lies in.
    pub fn folder_of(&self, actual: &EntryPath) -> Option<&EntryPath> {
        self.taken_by(actual).map(|number| &self.names[number].0)
    }

    /// Which of the renames brings what will be called `path`: the innermost.
    fn comes_with(&self, path: &EntryPath) -> Option<usize> {
        innermost(&self.by_new, path).copied()
    }

    /// Which of the renames takes `actual` along: the innermost.
    fn taken_by(&self, actual: &EntryPath) -> Option<usize> {
        innermost(&self.by_old, actual).copied()
    }
}

/// What is kept for `path` itself, or else for the innermost of the folders that it lies in.
fn innermost<'m, T>(by_path: &'m HashMap<EntryPath, T>, path: &EntryPath) -> Option<&'m T> {
    if by_path.is_empty() {
        return None;
    }
    by_path.get(path).or_else(|| path.folders_above().find_map(|folder| by_path.get(&folder)))
}

/// One stretch of the stream: what lies at and below a folder, or everything.
struct Frame<'a, T, E> {
    items: Box<dyn Iterator<Item = Result<T, E>> + 'a>,
    head: Option<(EntryPath, T)>,
    /// The rename that this is the stretch of.
    own: Option<usize>,
}

/// The stream through a [`View`].
pub struct Rebased<'a, T, E> {
    view: View,
    frames: Vec<Frame<'a, T, E>>,
    /// The next rename whose stretch is to come.
    next: usize,
    /// Opens the stretch of a folder by its actual name.
    #[expect(clippy::type_complexity, reason = "one boxed stream for each folder")]
    open: Box<dyn FnMut(&EntryPath) -> Box<dyn Iterator<Item = Result<T, E>> + 'a> + 'a>,
    failed: Option<E>,
}

impl<'a, T: Rebase, E> Rebased<'a, T, E> {
    /// `all` in path order, and `open` for what lies at and below a folder.
    pub fn new(
        view: View,
        all: impl Iterator<Item = Result<T, E>> + 'a,
        open: impl FnMut(&EntryPath) -> Box<dyn Iterator<Item = Result<T, E>> + 'a> + 'a,
    ) -> Self {
        let first = Frame { items: Box::new(all), head: None, own: None };
        let mut rebased = Self { view, frames: Vec::new(), next: 0, open: Box::new(open), failed: None };
        rebased.enter(first);
        rebased
    }

    fn enter(&mut self, mut frame: Frame<'a, T, E>) {
        self.fill(&mut frame);
        self.frames.push(frame);
    }

    /// Takes the next item of a stretch in hand that no other rename takes away.
    fn fill(&mut self, frame: &mut Frame<'a, T, E>) {
        frame.head = None;
        for item in frame.items.by_ref() {
            match item {
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
                Ok(item) => {
                    let path = item.key();
                    if self.view.taken_by(path) != frame.own {
                        continue;
                    }
                    let path = match frame.own {
                        None => path.clone(),
                        Some(own) => {
                            let (lies, to) = &self.view.names[own];
                            let Some(path) = path.rebased(lies, to) else { continue };
                            path
                        }
                    };
                    // What has a name that something else is to have is no more: a row that nothing belongs to.
                    if self.view.comes_with(&path) != frame.own {
                        continue;
                    }
                    frame.head = Some((path, item));
                    return;
                }
            }
        }
    }

    /// Whether the next rename's stretch comes before what is in hand.
    fn descends(&self) -> bool {
        let Some((_, to)) = self.view.names.get(self.next) else { return false };
        let Some(frame) = self.frames.last() else { return false };
        let within = frame.own.is_none_or(|own| to.is_below(&self.view.names[own].1));
        within && frame.head.as_ref().is_none_or(|(path, _)| to <= path)
    }
}

impl<T: Rebase, E> Iterator for Rebased<'_, T, E> {
    type Item = Result<T, E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.failed.take() {
                self.frames.clear();
                return Some(Err(error));
            }
            if self.descends() {
                let items = (self.open)(&self.view.names[self.next].0.clone());
                let own = Some(self.next);
                self.next += 1;
                self.enter(Frame { items, head: None, own });
                continue;
            }
            let mut frame = self.frames.pop()?;
            if let Some((path, item)) = frame.head.take() {
                self.fill(&mut frame);
                self.frames.push(frame);
                return Some(Ok(item.at(path)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entry, Seen};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn entry(path: &EntryPath) -> Entry {
        Entry { path: path.clone(), seen: Seen::Unreadable(String::new()) }
    }

    fn seen_through(view: &View, all: &BTreeSet<EntryPath>) -> Vec<EntryPath> {
        let open = |folder: &EntryPath| -> Box<dyn Iterator<Item = Result<Entry, ()>>> {
            let at_or_below = |path: &&EntryPath| *path == folder || path.is_below(folder);
            let some: Vec<_> = all.iter().filter(at_or_below).map(|path| Ok(entry(path))).collect();
            Box::new(some.into_iter())
        };
        Rebased::new(view.clone(), all.iter().map(|path| Ok(entry(path))), open)
            .map(|item| item.unwrap().path)
            .collect()
    }

    proptest! {
        #[test]
        fn the_stream_is_that_of_the_tree_after_the_renames(
            paths in prop::collection::btree_set("([ab]/){0,3}[abc]?", 1..30),
            moves in prop::collection::btree_map("([ab]/){1,2}", "([abx]/){1,2}", 0..4),
        ) {
            let all: BTreeSet<EntryPath> = paths.iter().map(|path| EntryPath::from(path.as_str())).collect();
            let ways: Vec<Relocation> = moves
                .iter()
                .map(|(from, to)| (EntryPath::from(from.as_str()), EntryPath::from(to.as_str())))
                .filter(|(from, to)| from != to)
                .map(|(from, to)| Relocation { lies: from.clone(), rows: from, to })
                .collect();
            let targets: BTreeSet<&EntryPath> = ways.iter().map(|way| &way.to).collect();
            prop_assume!(targets.len() == ways.len());
            let view = View::of(&ways, false);
            // Naively: each path goes where the innermost rename that holds it takes it.
            let goes = |path: &EntryPath| {
                let holders = ways.iter().filter(|way| *path == way.lies || path.is_below(&way.lies));
                let innermost = holders.max_by_key(|way| way.lies.as_bytes().len());
                innermost.map_or_else(|| path.clone(), |way| path.rebased(&way.lies, &way.to).unwrap())
            };
            let naive: Vec<EntryPath> = all.iter().map(goes).collect();
            let unique: BTreeSet<EntryPath> = naive.iter().cloned().collect();
            // Where a name stays taken nothing is renamed to it.
            prop_assume!(unique.len() == naive.len());
            let taker = |path: &EntryPath| {
                let holders = ways.iter().filter(|way| *path == way.lies || path.is_below(&way.lies));
                holders.max_by_key(|way| way.lies.as_bytes().len())
            };
            let taken = |way: &Relocation| all.iter().any(|path| {
                let (goal, taker) = (goes(path), taker(path));
                let comes_after = taker.is_some_and(|taker| taker == way || taker.to.is_below(&way.to));
                (goal == way.to || goal.is_below(&way.to)) && !comes_after
            });
            prop_assume!(!ways.iter().any(taken));
            prop_assert_eq!(seen_through(&view, &all), unique.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_will_be_there_is_found_where_it_lies_now() {
        let way = |from: &str, to: &str| {
            let from = EntryPath::from(from);
            Relocation { lies: from.clone(), rows: from, to: EntryPath::from(to) }
        };
        let view = View::of(&[way("a/", "b/"), way("x/", "b/c/")], false);
        for (path, lies) in [("b/f", "a/f"), ("b/c/f", "x/f"), ("b/", "a/"), ("z", "z"), ("b", "b")] {
            assert_eq!(view.actual(&EntryPath::from(path)), EntryPath::from(lies));
            assert_eq!(view.renamed(&EntryPath::from(lies)), EntryPath::from(path));
        }
    }
}
