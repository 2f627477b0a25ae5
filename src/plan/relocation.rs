//! In which order entries of the replica get their new names.
//!
//! New names form chains (`a` became `b`, `b` became `c`), cycles, and may lie in each other (`a` became
//! `a/b`). One rule unties all of them: an entry gets its name as soon as nothing that is still to move lies
//! in the way; where everything waits, what is in the way of the first one is put aside under a temporary
//! name. Each entry is put aside at most once, so that this comes to an end. Two that take each other's name
//! exchange them: then neither name is free for an instant.

use crate::model::EntryPath;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

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
    /// Those that were put aside: once is enough.
    aside: HashSet<usize>,
}

impl Relocations {
    /// None of `items` moved yet; no two have one final name.
    pub fn of(items: Vec<Relocation>) -> Self {
        let pending: BTreeMap<EntryPath, usize> =
            items.iter().enumerate().map(|(item, relocation)| (relocation.to.clone(), item)).collect();
        let queue = pending.values().copied().collect();
        let (places, waiting) = (BTreeMap::new(), HashMap::new());
        let aside = HashSet::new();
        let mut relocations = Self { items, pending, places, queue, waiting, exchanges: true, aside };
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
        if swap {
            return Some(Move::Swap(first, other));
        }
        // That it must go aside twice cannot be; if it could, the first one would be given up in vain.
        Some(if self.aside.insert(other) { Move::Aside(other) } else { Move::Home(first) })
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
        let Relocation { lies, to, .. } = &self.items[item];
        let at = |place: &EntryPath| self.places.get(place).into_iter().flatten().copied();
        // The name itself, whatever kind of entry has it.
        if let Some(other) = at(to).chain(at(&to.other_kind())).find(|&other| other != item) {
            return Some(other);
        }
        // Rows below it of what lies elsewhere would be lost.
        let lags = |&other: &usize| other != item && !self.items[other].lies.is_below(to);
        if let Some(other) = self.at_or_below(to).into_iter().find(lags) {
            return Some(other);
        }
        // Within something that is still to move, or within itself, it can have no place. Its own rows are
        // in nobody's way.
        to.folders_above().find_map(|folder| {
            let here = at(&folder).find(|&other| other != item || *lies == folder);
            here.or_else(|| self.pending.get(&folder).copied().filter(|&other| other != item))
        })
    }
}

/// Which of `items` can get their names: those whose name is free once all that can have moved, where `exists`
/// says what is there now. Returns one flag an item.
pub fn feasible(items: &[Relocation], exists: &dyn Fn(&EntryPath) -> bool) -> Vec<bool> {
    let by_name: HashMap<&EntryPath, usize> =
        items.iter().enumerate().map(|(item, relocation)| (&relocation.to, item)).collect();
    let lying: HashMap<&EntryPath, usize> =
        items.iter().enumerate().map(|(item, relocation)| (&relocation.lies, item)).collect();
    let mut can = vec![true; items.len()];
    loop {
        // Whether what would have a name if nothing came to it stays there.
        let stays = |name: &EntryPath, itself: bool| {
            // What would have the name if this one did not take it: what the folder that it then lies in brings.
            let holder = name.folders_above().find_map(|folder| {
                let holder = by_name.get(&folder).copied().filter(|&holder| can[holder])?;
                Some((holder, name.rebased(&folder, &items[holder].lies)?))
            });
            let (holder, now) = holder.map_or_else(|| (None, name.clone()), |(item, now)| (Some(item), now));
            let other = now.other_kind();
            std::iter::once(&other).chain(itself.then_some(&now)).any(|place| {
                let movers = std::iter::once(place.clone()).chain(place.folders_above());
                let taker = movers.filter_map(|folder| lying.get(&folder).copied()).find(|&other| can[other]);
                // It stays under that name if nothing else takes it along.
                taker == holder && exists(place)
            })
        };
        let is_blocked = |item: usize| {
            let to = &items[item].to;
            // A folder that it is to lie in may be something else there.
            stays(to, true) || to.folders_above().any(|folder| stays(&folder, false))
        };
        let blocked: Vec<usize> = (0..items.len()).filter(|&item| can[item] && is_blocked(item)).collect();
        if blocked.is_empty() {
            return can;
        }
        for item in blocked {
            can[item] = false;
        }
    }
}
