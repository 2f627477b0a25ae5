//! Where a job's trash lies, and opening it.

use super::{Trash, make};
use crate::clock;
use crate::config::{ConfigError, paths};
use crate::engine::job::Job;
use crate::error::Error;
use crate::model::{Attributes, EntryPath, Kind, Stat, Timestamp};
use crate::plan::TRASH;
use crate::plan::desired::Desired;
use crate::resolved;
use crate::store::local::LocalStore;
use crate::store::{Fault, Folder, Mounts, Store, stat_of};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A job's trash, with all versions in it.
#[derive(Debug)]
pub struct Opened {
    /// The folder that the runs' folders lie in.
    pub store: LocalStore,
    /// Its path, for people.
    pub path: PathBuf,
}

/// What may be done to a folder by others than its owner.
const OTHERS_WRITE: u32 = 0o022;

impl Opened {
    /// Opens the trash of `job`, whose replica is `replica`; `None`: there is none. It is made where it is missing
    /// and `make_it` says so.
    ///
    /// # Errors
    /// Where it is not what it should be: another user's, open to others, on another file system.
    pub fn open(job: &Job, replica: &LocalStore, make_it: bool) -> Result<Option<Self>, Error> {
        let opened = match &job.settings.trash.dir {
            Some(dir) => {
                let path = paths::resolve(dir).map_err(ConfigError::from)?;
                job.check_outside("trash", &path)?;
                elsewhere(&path, replica, make_it)?.map(|store| Self { store, path })
            }
            None => within(replica, make_it)
                .map_err(|fault| refused(&job.paths.replica.join(".twinfold-trash"), &fault))?
                .map(|store| Self { store, path: job.paths.replica.join(".twinfold-trash") }),
        };
        if let Some(opened) = &opened {
            let own = opened.store.folder(&EntryPath::root()).and_then(|folder| folder.own_stat());
            let own = own.map_err(|fault| refused(&opened.path, &fault))?;
            check(&opened.path, &own, &opened.store)?;
        }
        Ok(opened)
    }

    /// The trash of a run of `job` that began at `began`; `None`: what it deletes or overwrites goes nowhere.
    pub fn for_run(
        job: &Job,
        replica: &LocalStore,
        began: Timestamp,
    ) -> Result<Option<Trash<LocalStore>>, Error> {
        if !job.settings.trash.enabled {
            return Ok(None);
        }
        Self::open(job, replica, true)?.map(|opened| opened.of_run(began)).transpose()
    }

    fn of_run(self, began: Timestamp) -> Result<Trash<LocalStore>, Error> {
        let stamp = clock::file_stamp(began);
        let named = |number: u32| {
            let name = if number == 1 { stamp.clone() } else { format!("{stamp}-{number}") };
            EntryPath::root().child(name.as_bytes(), true)
        };
        let root = self.store.folder(&EntryPath::root()).map_err(|fault| refused(&self.path, &fault))?;
        let is_free = |run: &EntryPath| matches!(root.stat(run.name()), Ok(None));
        // Another run in the same second is rare, and a third rarer.
        let run = (1..10_000).map(named).find(is_free).ok_or_else(|| {
            let error = io::Error::other("there is no free name for this run's folder in it");
            refused(&self.path, &Fault { action: "use", error })
        })?;
        Ok(Trash::new(self.store, run))
    }
}

/// The trash in the replica itself.
fn within(replica: &LocalStore, make_it: bool) -> Result<Option<LocalStore>, Fault> {
    let path = EntryPath::root().child(TRASH, true);
    let root = replica.folder(&EntryPath::root())?;
    if root.stat(TRASH)?.is_none() {
        if !make_it {
            return Ok(None);
        }
        let before = root.own_stat()?;
        make(replica, &path)?;
        // The root is mirrored, its time included; what it got just now is ours.
        let time = Desired { mtime: Some(before.fingerprint.mtime), ..Desired::default() };
        root.set_own(&time, &Attributes::default())?;
    }
    replica.within(&path).map(Some)
}

/// A trash that lies somewhere else on the replica's file system.
fn elsewhere(path: &Path, replica: &LocalStore, make_it: bool) -> Result<Option<LocalStore>, Error> {
    let failed = |error: io::Error| refused(path, &Fault { action: "open", error });
    let open = || resolved::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    let root = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !make_it => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            resolved::make_folders(path).map_err(failed)?;
            open().map_err(failed)?
        }
        result => result.map_err(failed)?,
    };
    let root = File::from(root);
    if stat_of(&root).map_err(failed)?.device != replica.device() {
        return Err(ConfigError::Invalid(format!(
            "the trash {} lies on another file system than the replica: nothing can be renamed to there. Name a folder \
             on the same one, or leave trash.dir out",
            path.display()
        ))
        .into());
    }
    let store = LocalStore::replica(root.into(), Mounts::Stay);
    store.map(Some).map_err(|fault| refused(path, &fault))
}

/// Refuses a folder in which others could plant or take away what is kept.
///
/// Where the mount gives every folder the same owner and permissions, they say nothing of this one: who may write to the
/// trash may write to the replica as well, and whoever mounted it so wants that.
fn check(path: &Path, own: &Stat, store: &LocalStore) -> Result<(), Error> {
    let user = rustix::process::geteuid().as_raw();
    let refused = |cause: String| {
        Err(ConfigError::Invalid(format!(
            "the trash {} {cause}; look what it is and move it away, name another with trash.dir, or set \
             trash.enabled = false. Nothing was touched",
            path.display()
        ))
        .into())
    };
    if own.kind() != Kind::Folder {
        return refused("is no folder".to_owned());
    }
    let is_foreign = own.uid != user && own.uid != 0;
    let is_open = own.fingerprint.mode & OTHERS_WRITE != 0;
    if !is_foreign && !is_open {
        return Ok(());
    }
    let fresh = store.try_folder().map_err(|fault| self::refused(path, &fault))?;
    if is_foreign && fresh.uid != own.uid {
        return refused(format!("belongs to user {}", own.uid));
    }
    if is_open && fresh.fingerprint.mode & OTHERS_WRITE == 0 {
        return refused("can be written to by others".to_owned());
    }
    Ok(())
}

fn refused(path: &Path, fault: &Fault) -> Error {
    ConfigError::Invalid(format!(
        "cannot use the trash {}: {fault}; name another with trash.dir, or set trash.enabled = false. Nothing was touched",
        path.display()
    ))
    .into()
}
