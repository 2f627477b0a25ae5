//! Copies that were not finished, by an earlier run or this one: which temporary of the replica holds what there is.
//!
//! Workers note how far they have come; the thread that leads the run writes it to the manifest, which lags behind.

use crate::error::Error;
use crate::manifest::{Manifest, PartialChange};
use crate::model::escape::size_text;
use crate::model::{EntryPath, Fingerprint, Mark, Operation, Partial, Verb};
use crate::monitor::Monitor;
use crate::plan::Plan;
use crate::store::{Folder, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The copies of a job that are not finished.
#[derive(Debug, Default)]
pub struct Partials {
    state: Mutex<State>,
    /// Something is to be written to the manifest.
    changed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    all: BTreeMap<EntryPath, Known>,
    /// Whose rows are not as they should be.
    changed: BTreeSet<EntryPath>,
    /// More is on the disk for certain than when the manifest was last written to.
    lasting: bool,
}

#[derive(Debug)]
struct Known {
    partial: Partial,
    /// This run has worked on it.
    touched: bool,
    /// This run stopped in the middle of it.
    stopped: bool,
}

/// How much of a file is kept for the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The file.
    pub path: EntryPath,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes that it has.
    pub of: u64,
}

impl Partials {
    /// Those that the manifest remembers.
    pub fn of(rows: Vec<Partial>) -> Self {
        let known =
            |partial: Partial| (partial.path.clone(), Known { partial, touched: false, stopped: false });
        let all = rows.into_iter().map(known).collect();
        Self { state: Mutex::new(State { all, ..State::default() }), changed: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an earlier run left of a copy of `path`, if the source still has the figures `source`.
    pub fn find(&self, path: &EntryPath, source: &Fingerprint) -> Option<Partial> {
        let state = self.lock();
        let known = state.all.get(path).filter(|known| known.partial.is_of(source));
        known.map(|known| known.partial.clone())
    }

    /// Notes how far a copy has come; if it `stopped`, the rest is left to the next run.
    pub fn note(&self, partial: Partial, stopped: bool) {
        let mut state = self.lock();
        let path = partial.path.clone();
        let durable = |partial: &Partial| partial.durable.map_or(0, |mark: Mark| mark.bytes);
        let before = state.all.get(&path).map_or(0, |known| durable(&known.partial));
        state.lasting |= durable(&partial) > before;
        state.all.insert(path.clone(), Known { partial, touched: true, stopped });
        state.changed.insert(path);
        self.changed.store(true, Ordering::Release);
    }

    /// This run stopped before it added anything to what an earlier one left of a copy of `path`. `false`: there is nothing.
    pub fn leave(&self, path: &EntryPath) -> bool {
        let mut state = self.lock();
        let known = state.all.get_mut(path);
        known.map(|known| (known.touched, known.stopped) = (true, true)).is_some()
    }

    /// The copy of `path` is finished, or what there was of it is of no use.
    pub fn forget(&self, path: &EntryPath) {
        let mut state = self.lock();
        if state.all.remove(path).is_some() {
            state.changed.insert(path.clone());
            self.changed.store(true, Ordering::Release);
        }
    }

    /// Returns true if an entry of the replica is what there is of a copy, and is to stay.
    pub fn keep(&self, entry: &EntryPath) -> bool {
        let state = self.lock();
        state.all.values().any(|known| known.partial.lies_at() == *entry)
    }

    /// Forgets copies of earlier runs that nothing will come of: their temporaries are litter of this plan, and it does
    /// not copy the same source any more.
    pub fn drop_unwanted(&self, plan: &Plan) {
        let mut unwanted = Vec::new();
        for (path, Known { partial, .. }) in self.lock().all.iter().filter(|(_, known)| !known.touched) {
            let lies_at = partial.lies_at();
            let goes_on = |operation: &Operation| {
                let source = operation.source.filter(|source| partial.is_of(&source.fingerprint));
                operation.verb == Verb::Copy && operation.path == *path && source.is_some()
            };
            if plan.litter.iter().any(|litter| litter.path == lies_at) && !plan.entries.iter().any(goes_on) {
                unwanted.push(path.clone());
            }
        }
        for path in &unwanted {
            self.forget(path);
        }
    }

    /// At the end of a run says what it stopped in the middle of, and writes what is not written yet. If it came to its end,
    /// what it did not find in `replica` is forgotten.
    pub fn conclude<R: Store>(
        &self,
        replica: Option<&R>,
        manifest: &Manifest,
        monitor: &dyn Monitor,
    ) -> Result<(), Error> {
        if let Some(replica) = replica {
            self.drop_missing(replica);
        }
        self.tell(monitor);
        self.write(manifest)
    }

    /// Forgets copies of earlier runs whose temporaries are gone.
    fn drop_missing<R: Store>(&self, replica: &R) {
        let untouched: Vec<(EntryPath, EntryPath)> = {
            let state = self.lock();
            let untouched = state.all.iter().filter(|(_, known)| !known.touched);
            untouched.map(|(path, known)| (path.clone(), known.partial.lies_at())).collect()
        };
        for (path, lies_at) in untouched {
            let gone = match replica.folder(&lies_at.parent()) {
                Ok(folder) => matches!(folder.stat(lies_at.name()), Ok(None)),
                Err(fault) => fault.is_absence(),
            };
            if gone {
                self.forget(&path);
            }
        }
    }

    /// Writes to the manifest what has changed since it was last written to.
    pub fn write(&self, manifest: &Manifest) -> Result<(), Error> {
        if !self.changed.swap(false, Ordering::Acquire) {
            return Ok(());
        }
        let (changes, lasting) = {
            let mut state = self.lock();
            let changed = std::mem::take(&mut state.changed);
            let change = |path: EntryPath| -> PartialChange {
                let partial = state.all.get(&path).map(|known| known.partial.clone());
                (path, partial)
            };
            let changes: Vec<PartialChange> = changed.into_iter().map(change).collect();
            (changes, std::mem::take(&mut state.lasting))
        };
        Ok(manifest.note_partials(&changes, lasting)?)
    }

    /// Returns true if something is to be written to the manifest.
    pub fn have_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Says what this run stopped in the middle of.
    fn tell(&self, monitor: &dyn Monitor) {
        for Kept { path, bytes, of } in self.kept() {
            let (bytes, of) = (size_text(bytes), size_text(of));
            monitor.warning(&format!("{path}: {bytes} of {of} are kept; the next run goes on there"));
        }
    }

    /// What this run stopped in the middle of, in path order.
    pub fn kept(&self) -> Vec<Kept> {
        let state = self.lock();
        let stopped = state.all.values().filter(|known| known.stopped).map(|known| &known.partial);
        let kept = |partial: &Partial| Kept {
            path: partial.path.clone(),
            bytes: partial.written.bytes,
            of: partial.source.size,
        };
        stopped.map(kept).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::Fixture;
    use crate::model::{Digest, Kind, StagedObject, Stat, Timestamp};

    fn source(size: u64) -> Fingerprint {
        let moment = Timestamp::new(1, 0);
        Fingerprint { kind: Kind::File, mode: 0, size, mtime: moment, ctime: moment, inode: 3 }
    }

    fn partial(path: &str, written: u64, durable: Option<u64>) -> Partial {
        let mark = |bytes| Mark { bytes, digest: Digest([0; 16]) };
        Partial {
            path: EntryPath::from(path),
            temporary: format!(".twinfold-{written:x}.tmp").into_bytes(),
            object: StagedObject { inode: 1, mode: 0o600, uid: 0 },
            began: Timestamp::new(2, 0),
            source: source(1000),
            durable: durable.map(mark),
            written: mark(written),
        }
    }

    fn operation(verb: Verb, path: &str, size: u64) -> Operation {
        let source =
            Stat { fingerprint: source(size), uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: 0 };
        Operation {
            path: EntryPath::from(path),
            verb,
            source: Some(source),
            replica: None,
            content: None,
            attributes: true,
            origin: None,
            from: None,
            displaces: false,
            loses: false,
        }
    }

    #[test]
    fn what_is_noted_reaches_the_manifest_and_what_is_finished_leaves_it() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let partials = Partials::of(Vec::new());
        partials.note(partial("a", 10, None), false);
        partials.note(partial("b", 10, None), false);
        partials.write(&manifest).unwrap();
        partials.note(partial("b", 20, Some(15)), true);
        partials.forget(&EntryPath::from("a"));
        partials.write(&manifest).unwrap();
        assert_eq!(manifest.partials().unwrap(), [partial("b", 20, Some(15))]);
        let kept = Kept { path: EntryPath::from("b"), bytes: 20, of: 1000 };
        assert_eq!(partials.kept(), [kept]);
        let again = Partials::of(manifest.partials().unwrap());
        assert_eq!(again.kept(), []);
        assert!(again.find(&EntryPath::from("b"), &source(1000)).is_some());
        assert!(again.find(&EntryPath::from("b"), &source(1001)).is_none());
    }

    #[test]
    fn what_the_plan_does_not_go_on_with_is_litter() {
        let all = ["gone", "changed", "wanted", "elsewhere", "touched"];
        let rows = all.iter().zip(1..).map(|(path, number)| partial(path, number, None)).collect();
        let partials = Partials::of(rows);
        partials.note(partial("touched", 5, None), false);
        let litter = |number: u64| operation(Verb::Delete, &format!(".twinfold-{number:x}.tmp"), 0);
        let plan = Plan {
            // The folder of the fourth could not be listed.
            litter: [1, 2, 3, 5].map(litter).into(),
            entries: vec![operation(Verb::Copy, "changed", 999), operation(Verb::Copy, "wanted", 1000)],
            ..Plan::default()
        };
        partials.drop_unwanted(&plan);
        for (number, stays) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
            let entry = EntryPath::from(&*format!(".twinfold-{number:x}.tmp"));
            assert_eq!(partials.keep(&entry), stays, "{number}");
        }
    }
}
