//! A tree in a local folder.

use super::folder::LocalFolder;
use super::handle::{Mounts, open_beneath};
use super::memory::MountMemory;
use super::opened::Opener;
use super::spared::Spared;
use super::task::NamesAlive;
use super::terms::Terms;
use super::walk::{Walk, walk};
use super::{During, Fault, Store, Writes};
use crate::cancel::Cancel;
use crate::filter::{Filter, RootNames};
use crate::model::EntryPath;
use crate::plan::rebased::View;
use rustix::fs::{Dir, Mode, OFlags, fstat, openat, syncfs};
use rustix::io::retry_on_intr;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// What a walk looks at.
#[derive(Clone, Copy, Debug)]
pub enum Look<'w> {
    /// All that is there.
    AtAll,
    /// All but what a listing says is a file: whoever opens it anyway looks at it
    /// ([`Seen::Listed`](crate::model::Seen::Listed)).
    NotAtFiles,
    /// The same while this is set, which may change as the walk goes on.
    NotAtFilesWhile(&'w AtomicBool),
}

/// For walks that never look at files.
static ALWAYS: AtomicBool = AtomicBool::new(true);

impl<'w> Look<'w> {
    fn leaves_files(self) -> Option<&'w AtomicBool> {
        match self {
            Look::AtAll => None,
            Look::NotAtFiles => Some(&ALWAYS),
            Look::NotAtFilesWhile(leaves) => Some(leaves),
        }
    }
}

/// A local root, held open: whatever its path leads to later, this is the folder that was checked.
#[derive(Debug)]
pub struct LocalStore {
    pub(super) root: OwnedFd,
    mounts: Mounts,
    is_source: bool,
    memory: MountMemory,
    /// Folders are looked up under names that they will have.
    view: View,
    /// What a walk leaves out.
    filter: Arc<Filter>,
    /// What is left alone at the root of a replica.
    spared: Option<Spared>,
    /// The root's device, and a folder on each other device that this replica goes on to: all that
    /// must be told to make their files durable. `None` for a source.
    devices: Option<(u64, Devices)>,
    /// Who opens folders that are closed to their owner; `None`: nobody.
    pub(super) opener: Option<Opener>,
}

impl LocalStore {
    /// The tree below `root`, an open folder (readable, not `O_PATH`), as a source.
    pub fn source(root: OwnedFd, mounts: Mounts) -> Self {
        Self {
            root,
            mounts,
            is_source: true,
            memory: MountMemory::default(),
            view: View::default(),
            filter: Arc::default(),
            spared: None,
            devices: None,
            opener: None,
        }
    }

    /// The tree below `root`, an open folder (readable, not `O_PATH`), as a replica.
    pub fn replica(root: OwnedFd, mounts: Mounts) -> Result<Self, Fault> {
        let device = fstat(&root).during("look at")?.st_dev;
        let devices = (mounts == Mounts::Cross).then(|| (device, Devices::default()));
        Ok(Self {
            root,
            mounts,
            is_source: false,
            memory: MountMemory::default(),
            view: View::default(),
            filter: Arc::default(),
            spared: None,
            devices,
            opener: None,
        })
    }

    /// Walks the whole tree with so many threads, the calling one included, and gives `body` what is found.
    pub fn walk<T>(
        &self,
        look: Look<'_>,
        threads: usize,
        cancel: &Cancel,
        body: impl FnOnce(&mut Walk<'_, '_>) -> T,
    ) -> T {
        // What is excluded and in the replica is deleted like anything that the source does not have.
        let deletes = !self.is_source && self.filter.spec().delete_excluded;
        let terms = Terms {
            filter: Some(&*self.filter).filter(|filter| !filter.is_empty() && !deletes),
            spared: self.spared.as_ref(),
            is_source: self.is_source,
            root: self.root.as_fd(),
            mounts: self.mounts,
            memory: &self.memory,
            cancel,
            // What is mounted on a file of a source is told by a walk only: others go on into it.
            leaves_files: look.leaves_files().filter(|_| !self.is_source || self.mounts == Mounts::Cross),
            alive: NamesAlive::default(),
            opener: self.opener.as_ref(),
            #[cfg(test)]
            before_step: None,
            #[cfg(test)]
            untold: false,
        };
        walk(&terms, threads, body)
    }

    /// The tree below one of its folders, as a replica of its own that goes on into no mount.
    pub fn within(&self, path: &EntryPath) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = open_beneath(self.root.as_fd(), path.trimmed(), flags, self.beneath());
        Self::replica(root.during("open the folder of")?, Mounts::Stay)
    }

    /// Returns true if there is anything in its root but what is left alone; assumed where it cannot be listed.
    pub fn holds_anything(&self) -> bool {
        let is_spared = |name: Vec<u8>| {
            self.spared.as_ref().is_some_and(|spared| spared.covers(&EntryPath::from_bytes(name)))
        };
        self.names().map_or(true, |names| !names.into_iter().all(is_spared))
    }

    /// The names in its root, in no order.
    pub fn names(&self) -> Result<Vec<Vec<u8>>, Fault> {
        let names = || -> io::Result<Vec<Vec<u8>>> {
            let mut names = Vec::new();
            for entry in Dir::read_from(&self.root)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.push(name);
                }
            }
            Ok(names)
        };
        names().during("list")
    }

    /// From now on walks leave out what is excluded.
    #[must_use]
    pub fn filtered(self, filter: Arc<Filter>) -> Self {
        Self { filter, ..self }
    }

    /// From now on walks of this replica leave `names` at its root alone where `source` has none of them.
    pub fn sparing(self, names: &Arc<RootNames>, source: &Self) -> Result<Self, Fault> {
        let source = source.root.try_clone().during("open the root of")?;
        Ok(Self { spared: Some(Spared { names: Arc::clone(names), source }), ..self })
    }

    /// From now on folders are looked up under the names that they will have: for a dry run.
    pub fn look_through(&mut self, view: View) {
        self.view = view;
    }

    /// The mount points that earlier runs met: where one is gone, its replica is left alone.
    pub fn recall_mounts(&self, known: BTreeSet<EntryPath>) {
        self.memory.recall(known);
    }

    /// The mount points for the next runs to recall, once a walk has come to its end.
    pub fn mounts(&self) -> BTreeSet<EntryPath> {
        self.memory.kept()
    }

    /// The device of its root; 0 where that cannot be told.
    pub fn device(&self) -> u64 {
        fstat(&self.root).map_or(0, |found| found.st_dev)
    }

    /// Its root.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether what is mounted in it belongs to it.
    pub(super) fn crosses_mounts(&self) -> bool {
        self.mounts == Mounts::Cross
    }

    /// Where the walk of a source did not go on, nobody else does either; but the mount point itself is
    /// looked at.
    pub(super) fn beneath(&self) -> Mounts {
        if self.is_source { Mounts::Cross } else { self.mounts }
    }

    /// Remembers the device of a folder that may be written to.
    fn note_device(&self, folder: BorrowedFd<'_>) -> Result<(), Fault> {
        let Some((own, others)) = &self.devices else { return Ok(()) };
        let device = fstat(folder).during("look at")?.st_dev;
        if device == *own {
            return Ok(());
        }
        let mut others = others.lock().unwrap_or_else(PoisonError::into_inner);
        if let std::collections::btree_map::Entry::Vacant(vacant) = others.entry(device) {
            // What a batch is synced through must be open for more than looking.
            vacant.insert(reopen(folder)?);
        }
        Ok(())
    }
}

impl Store for LocalStore {
    type Folder = LocalFolder;

    fn folder(&self, path: &EntryPath) -> Result<LocalFolder, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let path = &self.view.actual(path);
        let handle = open_beneath(self.root.as_fd(), path.trimmed(), flags, self.beneath())
            .during("open the folder of")?;
        self.note_device(handle.as_fd())?;
        Ok(LocalFolder::new(handle, self.beneath()))
    }

    type Writes = LocalWrites;

    fn begin_writes(&self) -> Result<LocalWrites, Fault> {
        let others = self.devices.as_ref().map(|(_, others)| Arc::clone(others));
        let mut own = BTreeMap::new();
        if let Some(others) = &others {
            for (&device, folder) in others.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                own.insert(device, reopen(folder.as_fd())?);
            }
        }
        Ok(LocalWrites { root: reopen(self.root.as_fd())?, own, others })
    }
}

/// A folder on each device besides the root's.
type Devices = Arc<Mutex<BTreeMap<u64, OwnedFd>>>;

/// Handles that were opened before the first write. The kernel tells each open handle once of what
/// could not be written back since it was opened. Through one handle for all, the `syncfs` of one
/// batch would be told of, and take away, the error that met another batch's files.
#[derive(Debug)]
pub struct LocalWrites {
    root: OwnedFd,
    own: BTreeMap<u64, OwnedFd>,
    others: Option<Devices>,
}

fn reopen(folder: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| openat(folder, ".", flags, Mode::empty())).during("open the folder to write below")
}

impl Writes for LocalWrites {
    fn make_durable(self) -> Result<(), Fault> {
        syncfs(&self.root).during("make durable (syncfs)")?;
        let Some(others) = &self.others else { return Ok(()) };
        for (device, folder) in others.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // RACE: a device that nobody had written to when these writes began has the one handle.
            // Worst outcome: of two batches that both began before, one does not hear of the other's error.
            syncfs(self.own.get(device).unwrap_or(folder)).during("make durable (syncfs)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
mod tests {
    use super::*;
    use crate::model::{Kind, Seen};
    use std::fs::{self, File};
    use std::sync::atomic::Ordering;

    #[test]
    fn nothing_is_lost_where_files_are_left_to_others_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..4000 {
            let folder = dir.path().join(format!("{:02}", number % 40));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{number}")), "").unwrap();
        }
        let store = LocalStore::source(File::open(dir.path()).unwrap().into(), Mounts::Cross);
        let (leaves, cancel) = (AtomicBool::new(false), Cancel::new());
        let (mut looked_at, mut listed) = (0, 0);
        for threads in [1, 2, 4, 4] {
            let turn = AtomicBool::new(true);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while turn.load(Ordering::Relaxed) {
                        leaves.fetch_xor(true, Ordering::Relaxed);
                        std::thread::yield_now();
                    }
                });
                let (mut files, mut odd) = (0, Vec::new());
                store.walk(Look::NotAtFilesWhile(&leaves), threads, &cancel, |walk| {
                    for entry in walk.filter(|entry| !entry.path.is_folder() && !entry.path.is_root()) {
                        files += 1;
                        match entry.seen {
                            Seen::Present(stat) if stat.kind() == Kind::File => looked_at += 1,
                            Seen::Listed => listed += 1,
                            seen => odd.push((entry.path, seen)),
                        }
                    }
                });
                turn.store(false, Ordering::Relaxed);
                assert!(odd.is_empty(), "{odd:?}");
                assert_eq!(files, 4000);
            });
        }
        assert!(looked_at > 0 && listed > 0, "{looked_at} {listed}");
    }
}
