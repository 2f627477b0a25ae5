//! New names against a naive tree of folders.

use super::relocation::{Move, Relocation, Relocations, feasible};
use crate::model::EntryPath;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn path(text: &str) -> EntryPath {
    EntryPath::from(text)
}

fn items(pairs: &[(&str, &str)]) -> Vec<Relocation> {
    pairs.iter().map(|(from, to)| Relocation { lies: path(from), rows: path(from), to: path(to) }).collect()
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
fn what_lies_in_a_folder_that_is_in_the_way_is_not_put_aside_for_it() {
    // Item 0 lies in item 1, which has the name that item 2 is to have, while none can go home yet.
    let mut tree = numbers(&[("b/", 1), ("b/in/", 2), ("a/", 3)]);
    let log = carry_out(&mut tree, items(&[("b/in/", "a/"), ("b/", "c/x/"), ("a/", "b/")]));
    assert_eq!(tree, numbers(&[("a/", 2), ("c/x/", 1), ("b/", 3)]), "{log:?}");
    // A row that lags behind below the name goes first.
    let lagging = Relocation { lies: path("z/"), rows: path("b/in/"), to: path("z/") };
    let mut all = items(&[("a/", "b/")]);
    all.push(lagging);
    assert_eq!(Relocations::of(all).next_move(), Some(Move::Home(1)));
}

#[test]
fn rows_that_lag_behind_above_or_below_the_new_name_are_brought_there_at_once() {
    for (rows, to) in [("a/", "a/b/"), ("a/b/", "a/")] {
        let there = Relocation { lies: path(to), rows: path(rows), to: path(to) };
        let mut relocations = Relocations::of(vec![there]);
        assert_eq!(relocations.next_move(), Some(Move::Home(0)), "{rows} {to}");
        relocations.done(0, &path(to));
        assert_eq!(relocations.next_move(), None);
    }
}

#[test]
fn a_name_that_stays_taken_cannot_be_had_nor_can_what_waits_for_it() {
    /// (what is there, renames, which of them can be)
    type Case<'t> = (&'t [&'t str], &'t [(&'t str, &'t str)], &'t [bool]);
    let table: [Case<'_>; 8] = [
        // Its parent is to be a folder, and is a file there.
        (&["a/", "p"], &[("a/", "p/q/")], &[false]),
        // The folder that has the name's place goes away with it, and a new one is made.
        (&["a/", "p/", "p/q/"], &[("a/", "p/q/"), ("p/", "r/")], &[true, true]),
        (&["a/", "b/"], &[("a/", "b/")], &[false]),
        (&["a/", "b"], &[("a/", "b/")], &[false]),
        (&["a/", "b/"], &[("a/", "b/"), ("b/", "c/")], &[true, true]),
        (&["a/", "b/", "c/"], &[("a/", "b/"), ("b/", "c/")], &[false, false]),
        // The folder that comes brings an entry of the name along, or takes the one that was there away.
        (&["a/", "c/", "c/x", "b/"], &[("c/", "b/"), ("b/", "z/"), ("a/", "b/x/")], &[true, true, false]),
        (&["a/", "b/", "b/x/", "c/"], &[("c/", "b/"), ("b/", "z/"), ("a/", "b/x/")], &[true, true, true]),
    ];
    for (there, renames, can) in table {
        let exists = |place: &EntryPath| there.iter().any(|name| path(name) == *place);
        assert_eq!(feasible(&items(renames), &exists), can, "{there:?} {renames:?}");
    }
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
