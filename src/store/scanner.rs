//! Does a part of a walk: opens and lists folders, looks at names, and says what is left to be done.

use super::cache_tag::has_cachedir_tag;
use super::handle::{Mounts, is_away, is_mount_refusal, open_beneath};
use super::list::{Lister, Listing};
use super::names::{Names, Told};
use super::sequence::{Piece, Work};
use super::stat::{convert, look_at, look_at_open, seen_as_no_folder};
use super::task::{Folder, Found, Merging, NAMES_PER_FOLDER, Place, Task, Unsorted};
use super::terms::Terms;
use crate::model::{Entry, EntryPath, Kind, Seen, Stat};
use crate::plan::TRASH;
use rustix::fs::{OFlags, fstat};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Said of a folder of the source that something was mounted on in an earlier run.
const UNMOUNTED: &str = "what was mounted here is gone, so its replica is left as it is. Mount it again; if it is \
                         gone for good, remove this folder from the source (and make it again after the next run)";

/// So many entries are made in one go.
const ENTRIES: usize = 512;

/// So many names are not handed to others if their folder is at hand.
const FEW: usize = 16;

/// How much is done in one go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Names looked at before the next look at the clock.
    pub(super) names: usize,
    /// After so long, what is left is handed back. `None`: there is nobody to hand it to.
    pub(super) time: Option<Duration>,
    /// So many entries may still be held back by what comes before them.
    pub(super) room: usize,
}

/// What came of a task.
pub(super) struct Outcome {
    /// Entries that are next in order.
    pub(super) entries: Vec<Entry>,
    /// What comes after them.
    pub(super) rest: Vec<Piece<Entry, Task>>,
    /// How long each name took, about, in nanoseconds.
    pub(super) nanos_per_name: Option<u64>,
    /// Names that were put aside could not be read back: nothing that comes after them is known.
    pub(super) failed: Option<io::Error>,
}

/// One thread's means to do parts of a walk. It holds at most one folder open from one to the next.
pub(super) struct Scanner<'a> {
    terms: Terms<'a>,
    lister: Lister<'a>,
    at_hand: Option<(Arc<Place>, OwnedFd)>,
    /// Room for entries: what it gave may be handed back, emptied.
    pub(super) room: Vec<Entry>,
    failed: Option<io::Error>,
}

/// Why a folder that was listed cannot be looked into any more.
enum Loss {
    /// It is gone, or another has its name.
    Away,
    Refused(String),
}

type Pieces = Vec<Piece<Entry, Task>>;
type Held = Result<OwnedFd, Loss>;

impl<'a> Scanner<'a> {
    pub(super) fn new(terms: Terms<'a>) -> Self {
        let lister = Lister::new(terms.mounts, terms.cancel);
        #[cfg(test)]
        let lister = lister.telling_kinds(!terms.untold);
        Self { terms, lister, at_hand: None, room: Vec::new(), failed: None }
    }

    /// Holds nothing open while there is nothing to do.
    pub(super) fn rest(&mut self) {
        self.at_hand = None;
    }

    /// Does as much of `task` as `pace` allows.
    pub(super) fn run(&mut self, task: Task, pace: Pace) -> Outcome {
        let began = Instant::now();
        let mut entries = std::mem::take(&mut self.room);
        let mut names = 0;
        // The next last.
        let mut left: Pieces = vec![Piece::Work(task)];
        let mut held = 0;
        while let Some(piece) = left.pop() {
            let task = match piece {
                Piece::Ready(_, more) => {
                    held -= more.len();
                    entries.extend(more);
                    continue;
                }
                Piece::Work(task) => task,
            };
            let late = || pace.time.is_some_and(|time| began.elapsed() >= time);
            let enough = entries.len() >= ENTRIES || (late() && !self.has_little_left(&task));
            if names > 0 && (enough || self.terms.cancel.requested()) {
                left.push(Piece::Work(task));
                break;
            }
            if self.failed.is_some() {
                break;
            }
            let first = left.len();
            names += self.step(task, pace.names, held >= pace.room, &mut left);
            left[first..].reverse();
            held += left[first..].iter().map(Piece::items).sum::<usize>();
        }
        left.reverse();
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let nanos_per_name = nanos.checked_div(names as u64);
        Outcome { entries, rest: left, nanos_per_name, failed: self.failed.take() }
    }

    /// Whether these are the last few names of the folder at hand: others would have to open it.
    fn has_little_left(&self, next: &Task) -> bool {
        let (Some((held, _)), Task::Names(folder, range)) = (&self.at_hand, next) else { return false };
        Arc::ptr_eq(held, &folder.place) && range.len() <= FEW
    }

    /// Does the first bit of a task, and adds to `next`, in order, what came of it and what is left. With
    /// `frugal`, nothing behind a folder is looked at before that is through. Returns about how many names
    /// that was worth.
    fn step(&mut self, task: Task, names: usize, frugal: bool, next: &mut Pieces) -> usize {
        #[cfg(test)]
        self.terms.before_step.inspect(|before| before(&task));
        match task {
            Task::Root => {
                self.enter(EntryPath::root(), None, next);
                NAMES_PER_FOLDER
            }
            Task::Folders(folder, range) => {
                self.enter(folder.child(range.start), Some(&folder.place), next);
                let rest = range.start + 1..range.end;
                if !rest.is_empty() {
                    next.push(Piece::Work(Task::Folders(folder, rest)));
                }
                NAMES_PER_FOLDER
            }
            Task::Names(folder, range) => {
                let end = range.end.min(range.start + names);
                let seen = self.look(&folder, range.start..end, frugal, next);
                if seen < range.end {
                    next.push(Piece::Work(Task::Names(folder, seen..range.end)));
                }
                seen - range.start
            }
            Task::Kinds(unsorted, range) => {
                let (first, rest) = Task::Kinds(Arc::clone(&unsorted), range).split(names);
                let Task::Kinds(_, range) = first else { return 0 };
                let length = range.len();
                self.learn(&unsorted, range, next);
                next.extend(rest.map(Piece::Work));
                length
            }
            Task::Merge(merging) => match merging.go_on() {
                Ok((names, tasks)) => {
                    next.extend(tasks.into_iter().flatten().map(Piece::Work));
                    names / NAMES_PER_FOLDER
                }
                Err(error) => {
                    self.failed = Some(error);
                    0
                }
            },
        }
    }

    /// What became of `path`, which its folder's listing says is a folder, and what is in it.
    fn enter(&mut self, path: EntryPath, parent: Option<&Place>, next: &mut Pieces) {
        self.at_hand = None;
        if self.terms.is_left_out(&path) {
            next.extend(
                self.terms
                    .left_out(path)
                    .map(|entry| Piece::Ready(entry.path.as_bytes().to_vec(), vec![entry])),
            );
            return;
        }
        let mut within = None;
        let mut opened = self.open(&path, parent, &mut within);
        if opened.as_ref().is_err_and(|error| self.terms.opens_up(&path, error)) {
            opened = self.open(&path, parent, &mut within);
        }
        let seen = match opened {
            Ok(seen) => seen,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Seen::Vanished
            }
            Err(error) => self.without_entering(&path, &error),
        };
        let entry = self.entry(path, seen);
        next.push(Piece::Ready(entry.path.as_bytes().to_vec(), vec![entry]));
        next.extend(within.map(Piece::Work));
    }

    /// Opens and lists a folder, whose parent is given.
    fn open(
        &mut self,
        path: &EntryPath,
        parent: Option<&Place>,
        within: &mut Option<Task>,
    ) -> io::Result<Seen> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let handle = open_beneath(self.terms.root, path.trimmed(), flags, self.terms.mounts)?;
        let here = parent.map_or(0, |parent| parent.device);
        let (stat, mounted) = look_at_open(handle.as_fd(), here)?;
        if !path.is_root() && self.terms.is_elsewhere(&stat, here) {
            return Ok(Seen::Foreign(stat));
        }
        let stat = self.terms.figures_to_tell(path, stat);
        let listing = match self.lister.list(&handle, &stat) {
            Ok(listing) => listing,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Seen::Vanished),
            Err(error) => return Ok(Seen::Unlisted(stat, error.to_string())),
        };
        if !path.is_root() && self.is_tagged(&handle, &listing) {
            return Ok(Seen::Excluded);
        }
        if mounted && !path.is_root() {
            self.terms.memory.note(path);
        } else if self.terms.memory.knows(path) {
            return Ok(Seen::Unlisted(stat, UNMOUNTED.to_owned()));
        }
        if !listing.aside.is_empty() {
            let mut listing = listing;
            listing.aside.put_aside(&mut listing.names);
            let place = Place::new(path.clone(), parent, &stat, 0, &self.terms.alive);
            *within = Some(Task::Merge(Box::new(Merging::new(place, listing.aside.merge()?))));
            return Ok(Seen::Present(stat));
        }
        let count = listing.names.len();
        let place = Place::new(path.clone(), parent, &stat, count, &self.terms.alive);
        if count > 0 {
            self.at_hand = Some((Arc::clone(&place), handle));
        }
        *within = if listing.unknown.is_empty() {
            let mut names = listing.names;
            names.sort();
            Folder { place, names, known: HashMap::new() }.all()
        } else {
            let unsorted = Unsorted::new(place, listing);
            let all = 0..unsorted.len();
            Some(Task::Kinds(Arc::new(unsorted), all))
        };
        // What counts is the folder that was listed, whatever its name stood for before.
        Ok(Seen::Present(stat))
    }

    /// What can be said of a folder that could not be listed.
    fn without_entering(&self, path: &EntryPath, error: &io::Error) -> Seen {
        let figures = || -> io::Result<Stat> {
            if path.is_root() {
                return Ok(convert(&fstat(self.terms.root)?));
            }
            // As a place only: that needs no right to read it, and goes for what is mounted there too.
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let handle = open_beneath(self.terms.root, path.trimmed(), flags, Mounts::Cross)?;
            Ok(look_at_open(handle.as_fd(), 0)?.0)
        };
        match figures() {
            Ok(stat) if stat.kind() != Kind::Folder => Seen::Vanished,
            // It is, or was meanwhile, mounted.
            Ok(stat) if is_mount_refusal(error) => Seen::Foreign(stat),
            Ok(stat) => Seen::Unlisted(stat, error.to_string()),
            Err(second) if is_away(&second) => Seen::Vanished,
            Err(_) => Seen::Unreadable(error.to_string()),
        }
    }

    /// Looks at the names in `range`, and adds what they are; folders are left to be entered. Returns how
    /// far it came.
    fn look(&mut self, folder: &Arc<Folder>, range: Range<usize>, frugal: bool, next: &mut Pieces) -> usize {
        let end = range.end;
        let mut number = range.start;
        let mut passed_folders = false;
        // Asked once: where nothing is to be looked at, there is no handle to look with.
        let leaves_files = self.terms.leaves_files();
        let is_left = |number| leaves_files && folder.names.told(number) == Told::File;
        let nothing = |number| folder.names.is_folder(number) || is_left(number);
        let handle = if range.clone().all(nothing) { Err(Loss::Away) } else { self.hold(&folder.place) };
        while number < end {
            let first = number;
            let is_folder = folder.names.is_folder(first);
            if is_folder {
                while number < end && folder.names.is_folder(number) {
                    number += 1;
                }
                next.push(Piece::Work(Task::Folders(Arc::clone(folder), first..number)));
                passed_folders = true;
                continue;
            }
            if passed_folders && frugal {
                break;
            }
            number = (first..end).find(|&number| folder.names.is_folder(number)).unwrap_or(end);
            let mut entries = Vec::with_capacity(number - first);
            entries.extend((first..number).filter_map(|number| {
                let handle = (!is_left(number)).then_some(&handle);
                self.look_at(folder, number, handle)
            }));
            if let Some(entry) = entries.first() {
                next.push(Piece::Ready(entry.path.as_bytes().to_vec(), entries));
            }
        }
        self.put_back(&folder.place, handle);
        number
    }

    /// What the name with this number is, which the listing says is no folder; `None`: it is gone. Without a folder to
    /// look in, others look at it.
    fn look_at(&self, folder: &Folder, number: usize, handle: Option<&Held>) -> Option<Entry> {
        // The trash, and what systems leave, have their names in a root; elsewhere only a filter leaves anything out.
        let is_special = || folder.names.name(number) == TRASH || self.terms.spared.is_some();
        if (folder.place.path.is_root() && is_special()) || self.terms.filter.is_some() {
            let path = folder.child(number);
            if self.terms.is_left_out(&path) {
                return self.terms.left_out(path);
            }
        }
        let Some(handle) = handle else {
            return Some(self.entry(folder.child(number), Seen::Listed));
        };
        let names = &folder.names;
        let known = || folder.known.get(names.name(number)).copied();
        let found = match handle {
            Ok(handle) if folder.known.is_empty() => {
                Ok(look_at(handle.as_fd(), names.key(number), folder.place.device))
            }
            Ok(handle) => {
                Ok(known().unwrap_or_else(|| look_at(handle.as_fd(), names.key(number), folder.place.device)))
            }
            Err(loss) => known().ok_or(loss),
        };
        let seen = match found {
            Ok(found) => seen_as_no_folder(found, self.terms.mounts)?,
            Err(Loss::Away) => Seen::Vanished,
            Err(Loss::Refused(cause)) => Seen::Unreadable(cause.clone()),
        };
        Some(self.entry(folder.child(number), seen))
    }

    /// Whether a folder of the source is marked as a cache, and such are left out.
    fn is_tagged(&self, handle: &OwnedFd, listing: &Listing) -> bool {
        let asked = self.terms.filter.is_some_and(|filter| filter.spec().skip_cachedir_tag);
        asked && self.terms.is_source && listing.has_tag && has_cachedir_tag(handle.as_fd())
    }

    /// Finds out of which kinds some names are.
    fn learn(&mut self, unsorted: &Unsorted, range: Range<usize>, next: &mut Pieces) {
        let handle = self.hold(&unsorted.place);
        let look = |names: &Names, number: usize| -> Option<Found> {
            let handle = handle.as_ref().ok()?;
            Some(look_at(handle.as_fd(), names.key(number), unsorted.place.device))
        };
        next.extend(unsorted.learn(range, look).and_then(Folder::all).map(Piece::Work));
        self.put_back(&unsorted.place, handle);
    }

    /// The open folder `place`, which it may have at hand already.
    fn hold(&mut self, place: &Arc<Place>) -> Held {
        match self.at_hand.take() {
            Some((held, handle)) if Arc::ptr_eq(&held, place) => return Ok(handle),
            other => drop(other),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened = open_beneath(self.terms.root, place.path.trimmed(), flags, self.terms.mounts)
            .and_then(|handle| Ok((look_at_open(handle.as_fd(), 0)?.0, handle)));
        match opened {
            Ok((stat, handle)) if (stat.device, stat.fingerprint.inode) == (place.device, place.inode) => {
                Ok(handle)
            }
            Ok(_) => Err(Loss::Away),
            Err(error) if is_away(&error) || is_mount_refusal(&error) => Err(Loss::Away),
            Err(error) => Err(Loss::Refused(error.to_string())),
        }
    }

    fn put_back(&mut self, place: &Arc<Place>, handle: Held) {
        self.at_hand = handle.ok().map(|handle| (Arc::clone(place), handle));
    }

    fn entry(&self, path: EntryPath, seen: Seen) -> Entry {
        if !matches!(seen, Seen::Present(_) | Seen::Excluded | Seen::Listed) {
            self.terms.memory.keep_below(&path);
        }
        Entry { path, seen }
    }
}
