//! In which order entries of the replica get their new names.
//!
//! New names form chains (`a` became `b`, `b` became `c`), cycles, and may lie in each other (`a` became
//! `a/b`). One rule unties all of them: an entry gets its name as soon as nothing that is still to move lies
//! in the way; where everything waits, what is in the way of the first one is put aside under a temporary
//! name. Each entry is put aside at most once, so that this comes to an end. Two that take each other's name
//! exchange them: then neither name is free for an instant.

use crate::model::EntryPath;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// An entry that is to get another name, with all that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Where it lies in the replica.
    pub lies: EntryPath,
    /// Where the manifest has its rows: elsewhere after a run that was killed between the two.
    pub rows: EntryPath,
    /// The name that it is to have. Whether this is a folder's path or not, so are the others.
    pub to: EntryPath,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Entry number `item` gets its final name; it may lie there already, while its rows do not.
    Home(usize),
    /// Entry number `item` gets a temporary name in the folder that it lies in.
    Aside(usize),
    /// Two entries exchange their names, at once.
    Swap(usize, usize),
}

/// Entries on their way.
#[derive(Debug)]
pub struct Relocations {
    items: Vec<Relocation>,
    /// Those that are not where they are to be, by their final names.
    pending: BTreeMap<EntryPath, usize>,
    /// Where pending entries and their rows lie.
    places: BTreeMap<EntryPath, BTreeSet<usize>>,
    /// Those to be looked at next.
    queue: VecDeque<usize>,
    /// Who waits for whom.
    waiting: HashMap<usize, Vec<usize>>,
    /// The file system can exchange two names.
    exchanges: bool,
}

impl Relocations {
    /// None of `items` moved yet; no two have one final name.
    pub fn of(items: Vec<Relocation>) -> Self {
        let pending: BTreeMap<EntryPath, usize> =
            items.iter().enumerate().map(|(item, relocation)| (relocation.to.clone(), item)).collect();
        let queue = pending.values().copied().collect();
        let (places, waiting) = (BTreeMap::new(), HashMap::new());
        let mut relocations = Self { items, pending, places, queue, waiting, exchanges: true };
        for item in 0..relocations.items.len() {
            relocations.settle(item);
        }
        relocations
    }

    /// Where an entry is now.
    pub fn get(&self, item: usize) -> &Relocation {
        &self.items[item]
    }

    /// What is to be done next; `None` at the end. It must be answered by [`Relocations::done`],
    /// [`Relocations::swapped`], [`Relocations::give_up`] or [`Relocations::without_exchange`].
    pub fn next_move(&mut self) -> Option<Move> {
        while let Some(item) = self.queue.pop_front() {
            if !self.is_pending(item) {
                continue;
            }
            match self.in_the_way_of(item) {
                None => return Some(Move::Home(item)),
                Some(other) => self.waiting.entry(other).or_default().push(item),
            }
        }
        // All wait. The first one waits for no other's final name, so that something lies in its way.
        let first = *self.pending.values().next()?;
        let Some(other) = self.in_the_way_of(first) else { return Some(Move::Home(first)) };
        let (one, two) = (&self.items[first], &self.items[other]);
        let opposite =
            one.to == two.lies && two.to == one.lies && one.rows == one.lies && two.rows == two.lies;
        let swap = self.exchanges && opposite && first != other;
        Some(if swap { Move::Swap(first, other) } else { Move::Aside(other) })
    }

    /// The file system cannot exchange names: temporary ones are used instead.
    pub fn without_exchange(&mut self) {
        self.exchanges = false;
    }

    /// Two entries have exchanged their names, and so have their rows.
    pub fn swapped(&mut self, one: usize, other: usize) {
        let (first, second) = (self.items[one].lies.clone(), self.items[other].lies.clone());
        let turn = |path: &EntryPath| path.rebased(&first, &second).or_else(|| path.rebased(&second, &first));
        let mut moved = self.at_or_below(&first);
        moved.extend(self.at_or_below(&second));
        for item in moved {
            self.place(item, &turn, &turn);
        }
        self.give_up(one);
        self.give_up(other);
    }

    /// The entry has its (final or temporary) name, and so have its rows.
    pub fn done(&mut self, item: usize, name: &EntryPath) {
        let Relocation { lies, rows, to } = self.items[item].clone();
        let mut moved = self.at_or_below(&lies);
        moved.extend(self.at_or_below(&rows));
        for other in moved {
            self.place(other, &|path| path.rebased(&lies, name), &|path| path.rebased(&rows, name));
        }
        if to == *name {
            self.give_up(item);
        } else {
            self.free(item);
        }
    }

    /// The entry stays where it is.
    pub fn give_up(&mut self, item: usize) {
        self.lift(item);
        self.pending.remove(&self.items[item].to);
        self.free(item);
    }

    fn is_pending(&self, item: usize) -> bool {
        self.pending.contains_key(&self.items[item].to)
    }

    /// Those that waited for an entry look again.
    fn free(&mut self, item: usize) {
        self.queue.extend(self.waiting.remove(&item).unwrap_or_default());
        self.queue.push_back(item);
    }

    /// Pending entries that lie, or have their rows, at or below `place`.
    fn at_or_below(&self, place: &EntryPath) -> BTreeSet<usize> {
        let here = self.places.range(place.clone()..);
        let below = here.take_while(|(path, _)| *path == place || path.is_below(place));
        below.flat_map(|(_, items)| items.iter().copied()).collect()
    }

    /// Gives an entry other places.
    fn place(
        &mut self,
        item: usize,
        lies: &dyn Fn(&EntryPath) -> Option<EntryPath>,
        rows: &dyn Fn(&EntryPath) -> Option<EntryPath>,
    ) {
        self.lift(item);
        let relocation = &mut self.items[item];
        relocation.lies = lies(&relocation.lies).unwrap_or_else(|| relocation.lies.clone());
        relocation.rows = rows(&relocation.rows).unwrap_or_else(|| relocation.rows.clone());
        self.settle(item);
    }

    fn settle(&mut self, item: usize) {
        let Relocation { lies, rows, .. } = &self.items[item];
        for place in [lies, rows] {
            self.places.entry(place.clone()).or_default().insert(item);
        }
    }

    fn lift(&mut self, item: usize) {
        let Relocation { lies, rows, .. } = &self.items[item];
        for place in [lies, rows] {
            if let Some(items) = self.places.get_mut(place) {
                items.remove(&item);
                if items.is_empty() {
                    self.places.remove(place);
                }
            }
        }
    }

    /// An entry, perhaps itself, that has to go away before `item` can get its final name.
    fn in_the_way_of(&self, item: usize) -> Option<usize> {
        let to = &self.items[item].to;
        let at = |place: &EntryPath| self.places.get(place).into_iter().flatten().copied();
        // The name itself, whatever kind of entry has it.
        if let Some(other) = at(to).chain(at(&to.other_kind())).find(|&other| other != item) {
            return Some(other);
        }
        // Within something that is still to move, or within itself, it can have no place.
        to.folders_above().find_map(|folder| {
            let here = at(&folder).next();
            here.or_else(|| self.pending.get(&folder).copied().filter(|&other| other != item))
        })
    }
}

/// Which of `items` can get their names: those whose name is free (`occupied` says whether the replica has
/// something there) or becomes free because what is there moves as well. Returns one flag an item.
pub fn feasible(items: &[Relocation], occupied: &[bool]) -> Vec<bool> {
    let lying: HashMap<&EntryPath, usize> =
        items.iter().enumerate().map(|(item, relocation)| (&relocation.lies, item)).collect();
    let mut can = vec![true; items.len()];
    loop {
        let leaves =
            |path: &EntryPath, item: usize| lying.get(path).is_some_and(|&other| other != item && can[other]);
        let blocked: Vec<usize> = (0..items.len())
            .filter(|&item| {
                let to = &items[item].to;
                let freed = || {
                    leaves(to, item)
                        || leaves(&to.other_kind(), item)
                        || to.folders_above().any(|folder| leaves(&folder, item))
                };
                can[item] && occupied[item] && items[item].lies != *to && !freed()
            })
            .collect();
        if blocked.is_empty() {
            return can;
        }
        for item in blocked {
            can[item] = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn path(text: &str) -> EntryPath {
        EntryPath::from(text)
    }

    fn items(pairs: &[(&str, &str)]) -> Vec<Relocation> {
        pairs
            .iter()
            .map(|(from, to)| Relocation { lies: path(from), rows: path(from), to: path(to) })
            .collect()
    }

    /// Carries all out on a naive tree, folder by folder name to a number, as a file system would: a
    /// rename needs its target to be free and not to lie in what is renamed. Returns what moved.
    fn carry_out(tree: &mut BTreeMap<EntryPath, u32>, items: Vec<Relocation>) -> Vec<(EntryPath, EntryPath)> {
        let mut relocations = Relocations::of(items);
        let mut log = Vec::new();
        while let Some(next) = relocations.next_move() {
            assert!(log.len() < 100, "it does not come to an end: {log:?}");
            let (item, to) = match next {
                Move::Swap(one, other) => {
                    let (first, second) =
                        (relocations.get(one).lies.clone(), relocations.get(other).lies.clone());
                    assert!(!first.is_below(&second) && !second.is_below(&first));
                    let turn = |key: &EntryPath| {
                        let turned = key.rebased(&first, &second).or_else(|| key.rebased(&second, &first));
                        turned.unwrap_or_else(|| key.clone())
                    };
                    *tree = tree.iter().map(|(key, number)| (turn(key), *number)).collect();
                    log.push((first, second));
                    relocations.swapped(one, other);
                    continue;
                }
                Move::Home(item) => (item, relocations.get(item).to.clone()),
                Move::Aside(item) => {
                    let lies = &relocations.get(item).lies;
                    (item, lies.parent().child(format!(".t{item}").as_bytes(), lies.is_folder()))
                }
            };
            let from = relocations.get(item).lies.clone();
            if from == to {
                relocations.done(item, &to);
                continue;
            }
            assert!(!to.is_below(&from), "{from} into itself: {to}");
            assert!(!tree.contains_key(&to), "{to} is taken: {tree:?}");
            let moving: Vec<EntryPath> =
                tree.keys().filter(|key| **key == from || key.is_below(&from)).cloned().collect();
            assert!(!moving.is_empty(), "{from} is not there");
            for key in moving {
                let number = tree.remove(&key).unwrap();
                tree.insert(key.rebased(&from, &to).unwrap(), number);
            }
            log.push((from, to.clone()));
            relocations.done(item, &to);
        }
        log
    }

    fn numbers(names: &[(&str, u32)]) -> BTreeMap<EntryPath, u32> {
        names.iter().map(|(name, number)| (path(name), *number)).collect()
    }

    #[test]
    fn chains_cycles_and_nested_names_come_right_in_few_renames() {
        /// (tree before, renames, tree after, renames needed)
        type Case<'t> = (&'t [(&'t str, u32)], &'t [(&'t str, &'t str)], &'t [(&'t str, u32)], usize);
        let table: [Case<'_>; 7] = [
            (&[("a/", 1), ("a/x", 2)], &[("a/", "b/")], &[("b/", 1), ("b/x", 2)], 1),
            (&[("a/", 1), ("b/", 2)], &[("a/", "b/"), ("b/", "c/")], &[("b/", 1), ("c/", 2)], 2),
            (&[("a/", 1), ("b/", 2)], &[("a/", "b/"), ("b/", "a/")], &[("b/", 1), ("a/", 2)], 1),
            (
                &[("a/", 1), ("b/", 2), ("c/", 3)],
                &[("a/", "b/"), ("b/", "c/"), ("c/", "a/")],
                &[("b/", 1), ("c/", 2), ("a/", 3)],
                4,
            ),
            // A folder that goes into the place of its own former child, which leaves.
            (&[("a/", 1), ("a/b/", 2)], &[("a/", "a/b/"), ("a/b/", "z/")], &[("a/b/", 1), ("z/", 2)], 3),
            // A child that takes its parent's place, which goes elsewhere.
            (&[("a/", 1), ("a/b/", 2)], &[("a/b/", "a/"), ("a/", "z/")], &[("a/", 2), ("z/", 1)], 3),
            (&[("f", 1), ("g", 2)], &[("f", "g"), ("g", "f")], &[("f", 2), ("g", 1)], 1),
        ];
        for (before, renames, after, needed) in table {
            let mut tree = numbers(before);
            let log = carry_out(&mut tree, items(renames));
            assert_eq!(tree, numbers(after), "{renames:?}: {log:?}");
            assert!(log.len() <= needed, "{renames:?} took {log:?}");
        }
    }

    #[test]
    fn rows_that_lag_behind_are_in_the_way_like_the_entry_itself() {
        let lagging = Relocation { lies: path(".t/"), rows: path("b/"), to: path("c/") };
        let mut all = items(&[("a/", "b/")]);
        all.push(lagging);
        assert_eq!(Relocations::of(all).next_move(), Some(Move::Home(1)));
        let there = Relocation { lies: path("b/"), rows: path("a/"), to: path("b/") };
        assert_eq!(Relocations::of(vec![there]).next_move(), Some(Move::Home(0)));
    }

    #[test]
    fn a_name_that_stays_taken_cannot_be_had_nor_can_what_waits_for_it() {
        let all = items(&[("a/", "b/"), ("b/", "c/"), ("d/", "e/"), ("x/", "c/y/")]);
        assert_eq!(feasible(&all, &[true, true, false, false]), [false, false, true, true]);
        assert_eq!(feasible(&all, &[true, false, true, true]), [true, true, false, false]);
    }

    proptest! {
        #[test]
        fn any_new_arrangement_of_folders_is_reached(
            parents in prop::collection::vec(any::<prop::sample::Index>(), 1..7),
            news in prop::collection::vec(any::<prop::sample::Index>(), 1..7),
            names in prop::collection::vec("[abc]", 7),
        ) {
            // Two trees of the same folders: each hangs below an earlier one, or below the root.
            let count = parents.len().min(news.len());
            let place = |parents: &[prop::sample::Index], names: &dyn Fn(usize) -> String| {
                let mut places: Vec<EntryPath> = Vec::new();
                for (number, parent) in parents.iter().enumerate().take(count) {
                    let above = parent.index(number + 1);
                    let parent = above.checked_sub(1).map_or_else(EntryPath::root, |at| places[at].clone());
                    places.push(parent.child(names(number).as_bytes(), true));
                }
                places
            };
            let before = place(&parents, &|number| format!("n{number}"));
            // New names collide with old ones of other folders, but not with each other.
            let after = place(&news, &|number| format!("n{}", (number + usize::from(names[number] == "a")) % 7));
            let unique: BTreeSet<_> = after.iter().collect();
            prop_assume!(unique.len() == count);
            let mut tree: BTreeMap<EntryPath, u32> = BTreeMap::new();
            for (number, place) in before.iter().enumerate() {
                tree.insert(place.clone(), u32::try_from(number).unwrap());
            }
            let implied = |number: usize| {
                // What moves along with the folder that it lies in needs no rename of its own.
                let parent = before[number].parent();
                before.iter().position(|place| *place == parent).is_some_and(|at| {
                    before[number].rebased(&before[at], &after[at]).is_some_and(|along| along == after[number])
                })
            };
            let moving: Vec<Relocation> = (0..count)
                .filter(|&number| {
                    // One that keeps its path must be left behind by the folders that it lies in.
                    let left = (0..count).any(|above| {
                        before[number].is_below(&before[above]) && before[above] != after[above]
                    });
                    (before[number] != after[number] || left) && !implied(number)
                })
                .map(|number| Relocation {
                    lies: before[number].clone(),
                    rows: before[number].clone(),
                    to: after[number].clone(),
                })
                .collect();
            carry_out(&mut tree, moving);
            for (number, place) in after.iter().enumerate() {
                prop_assert_eq!(tree.get(place), Some(&u32::try_from(number).unwrap()), "{:?} -> {:?}", before, after);
            }
        }
    }
}
