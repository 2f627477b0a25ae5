//! One job made ready: its roots checked, its files found, nothing written yet.

use crate::clock;
use crate::config::settings::Settings;
use crate::config::{ConfigError, paths, state};
use crate::error::Error;
use crate::lock::{RunLock, claim_replica};
use crate::manifest::{JobRoots, Manifest};
use crate::model::Timestamp;
use crate::model::escape::escaped;
use crate::monitor::Monitor;
use crate::plan::decide::Rules;
use crate::plan::desired::Rights;
use crate::roots::{self, RootPaths};
use crate::store::Mounts;
use crate::store::local::LocalStore;
use crate::umask;
use rustix::process::{getegid, geteuid, getgroups};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A job whose settings hold together.
#[derive(Clone, Debug)]
pub struct Job {
    /// What was asked for.
    pub settings: Settings,
    /// Its roots, canonical.
    pub paths: RootPaths,
    /// Where its manifest is or will be.
    pub manifest: PathBuf,
}

/// Both trees, open.
#[derive(Debug)]
pub struct Trees {
    /// The tree that is mirrored.
    pub source: LocalStore,
    /// The mirror.
    pub replica: LocalStore,
}

impl Job {
    /// Checks roots and paths; writes nothing.
    pub fn prepare(settings: Settings) -> Result<Self, Error> {
        let paths = roots::check(&settings.source, &settings.replica)?;
        let job = Self::located(settings, paths)?;
        roots::check_outside(&job.paths, "manifest", &job.manifest)?;
        Ok(job)
    }

    /// Finds the job's manifest without looking at the roots, which may be away: for `status`.
    pub fn locate(settings: Settings) -> Result<Self, Error> {
        let paths = RootPaths {
            source: paths::resolve(&settings.source).map_err(ConfigError::from)?,
            replica: paths::resolve(&settings.replica).map_err(ConfigError::from)?,
        };
        Self::located(settings, paths)
    }

    fn located(settings: Settings, paths: RootPaths) -> Result<Self, Error> {
        let manifest = match &settings.manifest {
            Some(file) => paths::resolve(file).map_err(ConfigError::from)?,
            None => state::folder()?.join(state::manifest_name(
                settings.name.as_deref(),
                &paths.source,
                &paths.replica,
            )),
        };
        Ok(Self { settings, paths, manifest })
    }

    /// What people call it: its name, or its two roots.
    pub fn label(&self) -> String {
        self.settings.name.clone().unwrap_or_else(|| {
            let text = |path: &Path| escaped(path.as_os_str().as_bytes());
            format!("{} -> {}", text(&self.settings.source), text(&self.settings.replica))
        })
    }

    /// The roots as the manifest has them.
    pub fn roots(&self) -> JobRoots {
        JobRoots { source: self.paths.source.clone(), replica: self.paths.replica.clone() }
    }

    /// Takes the job's lock, making the state folder if it is the default one and missing.
    pub fn lock(&self) -> Result<RunLock, Error> {
        let folder = self.manifest.parent().unwrap_or(Path::new("/"));
        if self.settings.manifest.is_none() {
            state::create(folder)?;
        }
        state::check(folder)?;
        Ok(RunLock::acquire(&self.manifest, &clock::readable(clock::now()))?)
    }

    /// Opens the job's manifest for writing. One that is damaged is set aside, and that is said.
    pub fn open_manifest(
        &self,
        lock: &RunLock,
        now: Timestamp,
        monitor: &dyn Monitor,
    ) -> Result<Manifest, Error> {
        let stamp = clock::file_stamp(now);
        let opened = Manifest::open(lock, &self.manifest, &self.roots(), now, &stamp)?;
        if let Some((aside, cause)) = &opened.set_aside {
            self.say_set_aside(aside, cause, monitor);
        }
        Ok(opened.manifest)
    }

    /// Sets aside a manifest whose damage showed in use, and says so. It must have been closed.
    pub fn set_manifest_aside(
        &self,
        lock: &RunLock,
        cause: &str,
        monitor: &dyn Monitor,
    ) -> Result<(), Error> {
        let aside = Manifest::set_aside(lock, &self.manifest, &clock::file_stamp(clock::now()))?;
        self.say_set_aside(&aside, cause, monitor);
        Ok(())
    }

    fn say_set_aside(&self, aside: &Path, cause: &str, monitor: &dyn Monitor) {
        monitor.warning(&format!(
            "the manifest {} is damaged ({cause}); it was set aside as {} and is being rebuilt from both trees",
            self.manifest.display(),
            aside.display()
        ));
    }

    /// Opens both trees for a run that may write; a missing replica is made on the job's first run.
    pub fn open_trees(&self, first_run: bool) -> Result<Trees, Error> {
        let source = roots::open_source(&self.paths)?;
        let mut replica = roots::open_replica(&self.paths)?;
        if replica.is_none() && first_run {
            roots::make_replica(&self.paths)?;
            replica = roots::open_replica(&self.paths)?;
        }
        let replica = replica.ok_or_else(|| self.replica_gone())?;
        claim_replica(replica.as_fd(), &self.paths.replica)?;
        Ok(Trees {
            source: LocalStore::new(source, Mounts::Cross),
            replica: LocalStore::new(replica, Mounts::Stay),
        })
    }

    /// The error for a replica that was there on an earlier run.
    pub fn replica_gone(&self) -> Error {
        Error::Root(roots::RootError::Unavailable(format!(
            "the replica {} is gone; nothing was touched. Mount it, or make the folder again to have it filled",
            self.paths.replica.display()
        )))
    }

    /// Opens both trees for looking only; no replica where it is missing.
    pub fn look_at_trees(&self) -> Result<(LocalStore, Option<LocalStore>), Error> {
        let source = LocalStore::new(roots::open_source(&self.paths)?, Mounts::Cross);
        let replica = roots::open_replica(&self.paths)?;
        Ok((source, replica.map(|root| LocalStore::new(root, Mounts::Stay))))
    }

    /// The rules of a run that begins now.
    pub fn rules(&self, source: &LocalStore, began: Timestamp) -> Rules {
        let mut groups: Vec<u32> =
            getgroups().unwrap_or_default().into_iter().map(rustix::fs::Gid::as_raw).collect();
        groups.push(getegid().as_raw());
        let mistrusted = source.mistrusted();
        Rules {
            rights: Rights {
                uid: geteuid().as_raw(),
                gid: getegid().as_raw(),
                groups,
                umask: umask::inherited(),
                nosuid: mistrusted.nosuid,
                preserve: self.settings.preserve,
            },
            nodev: mistrusted.nodev,
            ignore_ctime: self.settings.ignore_ctime,
            ignore_inode: self.settings.ignore_inode,
            began,
            tick_nanos: source.granularity_nanos(clock::tick_nanos()),
        }
    }
}
