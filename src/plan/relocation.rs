//! In which order entries of the replica get their new names.
//!
//! New names form chains (`a` became `b`, `b` became `c`), cycles, and may lie in each other (`a` became
//! `a/b`). One rule unties all of them: an entry gets its name as soon as nothing that is still to move lies
//! in the way; where everything waits, what is in the way of the first one is put aside under a temporary
//! name. Each entry is put aside at most once, so that this comes to an end. Two that take each other's name
//! exchange them: then neither name is free for an instant.

use crate::model::EntryPath;

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
    /// Numbers of those that are not where they are to be, by their final names.
    pending: Vec<usize>,
    /// The file system can exchange two names.
    exchanges: bool,
}

impl Relocations {
    /// None of `items` moved yet; no two have one final name.
    pub fn of(items: Vec<Relocation>) -> Self {
        let mut pending: Vec<usize> = (0..items.len()).collect();
        pending.sort_by(|&one, &other| items[one].to.cmp(&items[other].to));
        Self { items, pending, exchanges: true }
    }

    /// Where an entry is now.
    pub fn get(&self, item: usize) -> &Relocation {
        &self.items[item]
    }

    /// What is to be done next; `None` at the end. It must be answered by [`Relocations::done`] or
    /// [`Relocations::give_up`].
    pub fn next(&self) -> Option<Move> {
        let first = *self.pending.first()?;
        let free = self.pending.iter().copied().find(|&item| self.in_the_way_of(item).is_none());
        if let Some(free) = free {
            return Some(Move::Home(free));
        }
        // The first one waits for no other's final name, so that something of what it waits for lies in its way.
        let other = self.in_the_way_of(first).unwrap_or(first);
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
        for item in &mut self.items {
            item.lies = turn(&item.lies).unwrap_or_else(|| item.lies.clone());
            item.rows = turn(&item.rows).unwrap_or_else(|| item.rows.clone());
        }
        self.give_up(one);
        self.give_up(other);
    }

    /// The entry has its (final or temporary) name, and so have its rows.
    pub fn done(&mut self, item: usize, name: &EntryPath) {
        let Relocation { lies, rows, .. } = self.items[item].clone();
        for other in &mut self.items {
            if let Some(lies) = other.lies.rebased(&lies, name) {
                other.lies = lies;
            }
            if let Some(rows) = other.rows.rebased(&rows, name) {
                other.rows = rows;
            }
        }
        if self.items[item].to == *name {
            self.give_up(item);
        }
    }

    /// The entry stays where it is.
    pub fn give_up(&mut self, item: usize) {
        self.pending.retain(|&other| other != item);
    }

    /// An entry, perhaps itself, that has to go away before `item` can get its final name.
    fn in_the_way_of(&self, item: usize) -> Option<usize> {
        let to = &self.items[item].to;
        // Within itself it can have no place.
        let holds = |place: &EntryPath| to.is_below(place);
        self.pending.iter().copied().find(|&other| {
            let Relocation { lies, rows, to: goal } = &self.items[other];
            if other == item {
                return holds(lies) || holds(rows);
            }
            let occupies = |place: &EntryPath| place.trimmed() == to.trimmed() || holds(place);
            occupies(lies) || occupies(rows) || to.is_below(goal)
        })
    }
}

/// Which of `items` can get their names: those whose name is free (`occupied` says whether the replica has
/// something there) or becomes free because what is there moves as well. Returns one flag an item.
pub fn feasible(items: &[Relocation], occupied: &[bool]) -> Vec<bool> {
    let mut can = vec![true; items.len()];
    loop {
        let blocked = (0..items.len()).find(|&item| {
            let to = &items[item].to;
            let leaves = |other: usize| {
                let lies = &items[other].lies;
                can[other] && other != item && (lies.trimmed() == to.trimmed() || to.is_below(lies))
            };
            can[item] && occupied[item] && items[item].lies != *to && !(0..items.len()).any(leaves)
        });
        match blocked {
            Some(item) => can[item] = false,
            None => return can,
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
        while let Some(next) = relocations.next() {
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
        let relocations = Relocations::of(all);
        assert_eq!(relocations.next(), Some(Move::Home(1)));
        let there = Relocation { lies: path("b/"), rows: path("a/"), to: path("b/") };
        assert_eq!(Relocations::of(vec![there]).next(), Some(Move::Home(0)));
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
                for number in 0..count {
                    let above = parents[number].index(number + 1);
                    let parent = above.checked_sub(1).map_or_else(EntryPath::root, |at| places[at].clone());
                    places.push(parent.child(names(number).as_bytes(), true));
                }
                places
            };
            let before = place(&parents, &|number| format!("n{number}"));
            // New names collide with old ones of other folders, but not with each other.
            let after = place(&news, &|number| format!("n{}", (number + usize::from(names[number] == "a")) % 7));
            let unique: std::collections::BTreeSet<_> = after.iter().collect();
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
                .filter(|&number| before[number] != after[number] && !implied(number))
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
