//! What a walk has still to do, and where that belongs in its stream.

use super::list::Listing;
use super::names::{Names, Told};
use super::runs::Merge;
use super::sequence::{Key, Work};
use crate::model::{EntryPath, Kind, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What one lstat said: the figures, and whether it is something mounted.
pub(super) type Found = Result<(Stat, bool), Errno>;

/// How many names the folders hold that a walk has listed and is not through with.
pub(super) type NamesAlive = Arc<AtomicUsize>;

/// A folder that was listed.
#[derive(Debug)]
pub(super) struct Place {
    /// Its path.
    pub(super) path: EntryPath,
    /// Its own device and inode, by which it is known when it is opened again.
    pub(super) device: u64,
    pub(super) inode: u64,
    /// The names in it and in the folders above it.
    pub(super) names_above: usize,
    names: usize,
    alive: NamesAlive,
}

impl Place {
    /// The folder at `path` in `parent` (the root has none), with its figures and so many names in it.
    pub(super) fn new(
        path: EntryPath,
        parent: Option<&Place>,
        stat: &Stat,
        names: usize,
        alive: &NamesAlive,
    ) -> Arc<Self> {
        alive.fetch_add(names, Ordering::Relaxed);
        Arc::new(Self {
            path,
            device: stat.device,
            inode: stat.fingerprint.inode,
            names_above: names + parent.map_or(0, |parent| parent.names_above),
            names,
            alive: Arc::clone(alive),
        })
    }
}

impl Place {
    /// The same folder with so many of its names at hand.
    fn with_names(&self, names: usize) -> Arc<Self> {
        self.alive.fetch_add(names, Ordering::Relaxed);
        let path = self.path.clone();
        let (names_above, alive) = (self.names_above + names, Arc::clone(&self.alive));
        Arc::new(Self { path, names_above, names, alive, ..*self })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.names, Ordering::Relaxed);
    }
}

/// A folder whose names are sorted.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) place: Arc<Place>,
    pub(super) names: Names,
    /// What was looked at already, to know its kind, by name.
    pub(super) known: HashMap<Vec<u8>, Found>,
}

impl Folder {
    /// All names in it as a task, if there are any.
    pub(super) fn all(self) -> Option<Task> {
        let all = 0..self.names.len();
        (!all.is_empty()).then(|| Task::Names(Arc::new(self), all))
    }

    /// The path of the entry with this number.
    pub(super) fn child(&self, number: usize) -> EntryPath {
        self.place.path.child(self.names.name(number), self.names.is_folder(number))
    }
}

/// A folder that holds so many names that they were put aside.
#[derive(Debug)]
pub(super) struct Merging {
    /// The folder, with none of its names at hand.
    place: Arc<Place>,
    merge: Merge,
}

impl Merging {
    pub(super) fn new(place: Arc<Place>, merge: Merge) -> Self {
        Self { place, merge }
    }

    #[cfg(test)]
    pub(super) fn lose_file(&self) {
        self.merge.lose_file();
    }

    /// Takes the next names. Returns how many, and what is to be done for them and for the others.
    pub(super) fn go_on(mut self: Box<Self>) -> io::Result<(usize, [Option<Task>; 2])> {
        let names = self.merge.next_block()?;
        let count = names.len();
        let place = self.place.with_names(count);
        let part = Folder { place, names, known: HashMap::new() }.all();
        let has_more = self.merge.next_key().is_some();
        Ok((count, [part, has_more.then_some(Task::Merge(self))]))
    }
}

/// A folder whose file system did not tell the kinds of (all) names in it: they cannot be sorted yet.
#[derive(Debug)]
pub(super) struct Unsorted {
    pub(super) place: Arc<Place>,
    listing: Listing,
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    /// By its number: whether it is a folder; `None`: it is gone.
    kinds: Vec<(u32, Option<bool>)>,
    known: HashMap<Vec<u8>, Found>,
}

/// So many figures are kept from finding out kinds; the rest is looked at again.
const KEPT: usize = 4096;

impl Unsorted {
    pub(super) fn new(place: Arc<Place>, listing: Listing) -> Self {
        Self { place, listing, learned: Mutex::default() }
    }

    /// Names of unknown kind.
    pub(super) fn len(&self) -> usize {
        self.listing.unknown.len()
    }

    /// Has `look` look at the names of unknown kind in `range`, and notes what they are. (Where it cannot
    /// look, they count as no folders.) Returns the folder, sorted, once nothing is unknown any more.
    pub(super) fn learn(
        &self,
        range: Range<usize>,
        mut look: impl FnMut(&Names, usize) -> Option<Found>,
    ) -> Option<Folder> {
        let unknown = &self.listing.unknown[range];
        let found: Vec<_> =
            unknown.iter().map(|&number| (number, look(&self.listing.names, number as usize))).collect();
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, found) in found {
            let kind = match &found {
                Some(Ok((stat, _))) => Some(stat.kind() == Kind::Folder),
                Some(Err(Errno::NOENT)) => None,
                Some(Err(_)) | None => Some(false),
            };
            learned.kinds.push((number, kind));
            if let (Some(false), Some(found)) = (kind, found)
                && learned.known.len() < KEPT
            {
                learned.known.insert(self.listing.names.name(number as usize).to_vec(), found);
            }
        }
        (learned.kinds.len() == self.len()).then(|| self.sorted(&mut learned))
    }

    #[expect(
        clippy::expect_used,
        reason = "what is listed has room for the `/` of each name of unknown kind"
    )]
    fn sorted(&self, learned: &mut Learned) -> Folder {
        learned.kinds.sort_unstable();
        let mut kinds = learned.kinds.iter().peekable();
        let mut names = Names::default();
        for number in 0..self.listing.names.len() {
            let told = self.listing.names.told(number);
            let found = |is_folder| if is_folder { Told::Folder } else { Told::Other };
            let learned = kinds.next_if(|(of, _)| *of as usize == number);
            if let Some(told) = learned.map_or(Some(told), |(_, kind)| kind.map(found)) {
                names.push(self.listing.names.name(number), told).expect("it had room before");
            }
        }
        names.sort();
        Folder { place: Arc::clone(&self.place), names, known: std::mem::take(&mut learned.known) }
    }
}

/// A part of a walk.
#[derive(Debug)]
pub(super) enum Task {
    /// All of it.
    Root,
    /// What the names in this range are, and all below them.
    Names(Arc<Folder>, Range<usize>),
    /// The folders in this range, all of whose names are folders, and all below them.
    Folders(Arc<Folder>, Range<usize>),
    /// Of which kind the names in this range of those of unknown kind are. Who finds out about the last
    /// of them goes on with all.
    Kinds(Arc<Unsorted>, Range<usize>),
    /// What the names are that were put aside and did not come yet, and all below them.
    Merge(Box<Merging>),
}

impl Task {
    /// Whether names come to hand with it first of all.
    pub(super) fn lists_folders(&self) -> bool {
        matches!(self, Self::Root | Self::Folders(..) | Self::Merge(_))
    }

    /// The names in the folders that lead to it.
    pub(super) fn names_above(&self) -> usize {
        match self {
            Self::Root => 0,
            Self::Names(folder, _) | Self::Folders(folder, _) => folder.place.names_above,
            Self::Kinds(unsorted, _) => unsorted.place.names_above,
            Self::Merge(merging) => merging.place.names_above,
        }
    }
}

/// To list a folder costs as much as to look at so many names.
pub(super) const NAMES_PER_FOLDER: usize = 16;

impl Work for Task {
    fn key(&self) -> Key {
        match self {
            Self::Root => Key::new(),
            Self::Names(folder, range) | Self::Folders(folder, range) => {
                [folder.place.path.as_bytes(), folder.names.key(range.start).to_bytes()].concat()
            }
            Self::Merge(merging) => {
                [merging.place.path.as_bytes(), merging.merge.next_key().unwrap_or_default()].concat()
            }
            // After the folder, before all names in it: they hold no NUL.
            Self::Kinds(unsorted, range) => {
                [unsorted.place.path.as_bytes(), b"\0", &(range.start as u64).to_be_bytes()].concat()
            }
        }
    }

    fn split(self, names: usize) -> (Self, Option<Self>) {
        let cut = |range: Range<usize>, length: usize| {
            let length = length.max(1);
            // A rest that is smaller is not worth a part of its own.
            let whole = range.len() < length.saturating_mul(2);
            let middle = if whole { range.end } else { range.start + length };
            (range.start..middle, (middle < range.end).then_some(middle..range.end))
        };
        match self {
            Self::Root | Self::Merge(_) => (self, None),
            Self::Names(folder, range) => {
                let (first, rest) = cut(range, names);
                (Self::Names(Arc::clone(&folder), first), rest.map(|rest| Self::Names(folder, rest)))
            }
            Self::Folders(folder, range) => {
                let (first, rest) = cut(range, names / NAMES_PER_FOLDER);
                (Self::Folders(Arc::clone(&folder), first), rest.map(|rest| Self::Folders(folder, rest)))
            }
            Self::Kinds(folder, range) => {
                let (first, rest) = cut(range, names);
                (Self::Kinds(Arc::clone(&folder), first), rest.map(|rest| Self::Kinds(folder, rest)))
            }
        }
    }
}
