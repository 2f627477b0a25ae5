//! Names of one inode that go ahead: the first is brought over like any new entry, and the others are linked
//! to it once it is there.

use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::{EntryPath, Record, Stat};
use crate::plan::links::{Object, object};
use std::collections::{HashMap, VecDeque};

/// So many first names that came last are kept at hand; the others are asked for.
const AT_HAND: usize = 1024;

/// After so many first names that could not be brought over, each name of the inode is brought over by itself.
const ATTEMPTS: u32 = 3;

/// Inodes whose first name is on its way or there. `T` is a name that waits.
pub(super) struct Groups<'m, T> {
    manifest: &'m Manifest,
    on_way: HashMap<Object, Group<T>>,
    waiting: usize,
    at_hand: HashMap<Object, Record>,
    /// Those at hand, the oldest first.
    order: VecDeque<Object>,
    any: bool,
}

struct Group<T> {
    attempts: u32,
    waiting: VecDeque<T>,
}

/// What one more name of an inode is.
pub(super) enum Turn {
    /// The first one.
    First,
    /// One that waits for the first.
    Waits,
    /// One to be linked to the first, whose row this is.
    Further(Box<Record>),
}

/// What becomes of names that waited.
pub(super) enum Released<T> {
    /// This one is the first now; others may still wait.
    Heir(T),
    /// All that waited are linked to the first, whose row this is.
    Further(Vec<T>, Box<Record>),
    /// Each is brought over by itself.
    Alone(Vec<T>),
    /// There are none.
    Nobody,
}

impl<'m, T> Groups<'m, T> {
    /// None yet.
    pub(super) fn new(manifest: &'m Manifest) -> Self {
        Self {
            manifest,
            on_way: HashMap::new(),
            waiting: 0,
            at_hand: HashMap::new(),
            order: VecDeque::new(),
            any: false,
        }
    }

    /// What the next name of an inode of the source with these figures is. Who is first must [`Groups::came`].
    pub(super) fn turn(&mut self, source: &Stat) -> Result<Turn, Error> {
        let object = object(source);
        if self.on_way.contains_key(&object) {
            return Ok(Turn::Waits);
        }
        let first = match self.at_hand.get(&object) {
            Some(row) => Some(row.clone()),
            None => self.manifest.first_name(object)?,
        };
        // The inode may be another file's by now, or have other content: a new first name for those that follow.
        let now = &source.fingerprint;
        let is_same = |row: &Record| {
            (row.source.kind, row.source.size, row.source.mtime) == (now.kind, now.size, now.mtime)
        };
        if let Some(first) = first.filter(is_same) {
            self.any = true;
            return Ok(Turn::Further(Box::new(first)));
        }
        self.on_way.insert(object, Group { attempts: 0, waiting: VecDeque::new() });
        Ok(Turn::First)
    }

    /// A name waits for the first one of `object`, which is on its way.
    pub(super) fn wait(&mut self, object: Object, name: T) {
        if let Some(group) = self.on_way.get_mut(&object) {
            group.waiting.push_back(name);
            self.waiting += 1;
        }
    }

    /// How many names wait for first ones.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether any name was linked, or is to be.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// The first name of `object` has come to an end: `path`, with its row if it is there now.
    pub(super) fn came(
        &mut self,
        object: Object,
        path: &EntryPath,
        row: Option<&Record>,
    ) -> Result<Released<T>, Error> {
        if let Some(row) = row {
            self.manifest.note_first_name(object, path)?;
            self.keep_at_hand(object, row);
            let names: Vec<T> = self.give_up(object).into();
            self.any |= !names.is_empty();
            return Ok(Released::Further(names, Box::new(row.clone())));
        }
        let Some(group) = self.on_way.get_mut(&object) else { return Ok(Released::Nobody) };
        group.attempts += 1;
        if group.attempts >= ATTEMPTS || group.waiting.is_empty() {
            return Ok(Released::Alone(self.give_up(object).into()));
        }
        self.waiting -= 1;
        Ok(group.waiting.pop_front().map_or(Released::Nobody, Released::Heir))
    }

    /// Nothing is on its way that a name of `object` could be linked to: what waited for it.
    pub(super) fn give_up(&mut self, object: Object) -> VecDeque<T> {
        let names = self.on_way.remove(&object).map(|group| group.waiting).unwrap_or_default();
        self.waiting -= names.len();
        names
    }

    fn keep_at_hand(&mut self, object: Object, row: &Record) {
        if self.order.len() == AT_HAND
            && let Some(oldest) = self.order.pop_front()
        {
            self.at_hand.remove(&oldest);
        }
        if self.at_hand.insert(object, row.clone()).is_none() {
            self.order.push_back(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::{Fixture, plain};
    use crate::model::Fingerprint;

    const INODE: Object = (1, 7);

    /// The figures of an inode as a row has them.
    fn stat((device, inode): Object, row: &Record) -> Stat {
        let fingerprint = Fingerprint { inode, ..row.source };
        Stat { fingerprint, uid: 0, gid: 0, links: 9, device, rdev: 0, allocated: 0 }
    }

    /// What a name is, in a word.
    fn turn(groups: &mut Groups<'_, u32>) -> &'static str {
        match groups.turn(&stat(INODE, &plain("a"))).unwrap() {
            Turn::First => "first",
            Turn::Waits => "waits",
            Turn::Further(_) => "further",
        }
    }

    #[test]
    fn a_file_that_has_the_inode_of_another_by_now_is_no_name_of_it() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let mut groups: Groups<'_, u32> = Groups::new(&manifest);
        let row = plain("a");
        assert_eq!(turn(&mut groups), "first");
        groups.came(INODE, &row.path, Some(&row)).unwrap();
        let mut other = plain("b");
        other.source.mtime.seconds += 1;
        assert!(matches!(groups.turn(&stat(INODE, &other)).unwrap(), Turn::First));
        groups.came(INODE, &other.path, Some(&other)).unwrap();
        let further = groups.turn(&stat(INODE, &other)).unwrap();
        assert!(matches!(further, Turn::Further(first) if *first == other));
    }

    #[test]
    fn names_wait_for_the_first_and_are_linked_to_it_once_it_is_there() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let mut groups = Groups::new(&manifest);
        assert_eq!(turn(&mut groups), "first");
        for name in [2, 3] {
            assert_eq!(turn(&mut groups), "waits");
            groups.wait(INODE, name);
        }
        assert_eq!((groups.waiting(), groups.any()), (2, false));
        let row = plain("a");
        let released = groups.came(INODE, &row.path, Some(&row)).unwrap();
        assert!(matches!(released, Released::Further(names, first) if names == [2, 3] && *first == row));
        assert_eq!((groups.waiting(), groups.any()), (0, true));
        assert_eq!(turn(&mut groups), "further");
    }

    #[test]
    fn a_first_name_that_is_no_longer_at_hand_is_asked_for() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let mut groups: Groups<'_, u32> = Groups::new(&manifest);
        let row = plain("a");
        manifest.apply_soon(vec![crate::model::Change::Put(row.clone())]).unwrap();
        assert_eq!(turn(&mut groups), "first");
        groups.came(INODE, &row.path, Some(&row)).unwrap();
        for inode in 100..100 + AT_HAND as u64 {
            groups.turn(&stat((1, inode), &row)).unwrap();
            groups.came((1, inode), &row.path, Some(&plain("b"))).unwrap();
        }
        assert!(!groups.at_hand.contains_key(&INODE) && groups.at_hand.len() == AT_HAND);
        assert!(matches!(groups.turn(&stat(INODE, &row)).unwrap(), Turn::Further(first) if *first == row));
    }

    #[test]
    fn a_first_name_that_cannot_be_brought_over_has_heirs_and_at_last_each_goes_alone() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let mut groups = Groups::new(&manifest);
        assert_eq!(turn(&mut groups), "first");
        (2..=6).for_each(|name| groups.wait(INODE, name));
        let path = plain("a").path;
        for heir in [2, 3] {
            assert!(matches!(groups.came(INODE, &path, None).unwrap(), Released::Heir(name) if name == heir));
        }
        let released = groups.came(INODE, &path, None).unwrap();
        assert!(matches!(released, Released::Alone(names) if names == [4, 5, 6]));
        assert_eq!(groups.waiting(), 0);
        // Whoever comes later may be more fortunate.
        assert_eq!(turn(&mut groups), "first");
        groups.wait(INODE, 8);
        assert_eq!(groups.give_up(INODE), [8]);
        assert_eq!(turn(&mut groups), "first");
    }
}
