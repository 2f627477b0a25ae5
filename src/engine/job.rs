//! One job made ready: its roots checked, its files found, nothing written yet.

use super::descriptors;
use super::gates;
use crate::clock;
use crate::config::file::ReplicaMounts;
use crate::config::settings::Settings;
use crate::config::verification::Adopt;
use crate::config::{ConfigError, paths, state};
use crate::error::Error;
use crate::lock::{RunLock, claim_replica};
use crate::manifest::{self, JobRoots, Manifest, Place};
use crate::model::escape::escaped;
use crate::model::{Capabilities, DeviceSet, RootMounts, Side, Timestamp, Unsteady};
use crate::monitor::Monitor;
use crate::plan::decide::Rules;
use crate::plan::desired::Rights;
use crate::plan::early::PLANNED_MOST;
use crate::resolved;
use crate::roots::{self, Anchor, Anchors, Boundaries, RootPaths};
use crate::store::Mounts;
use crate::store::local::LocalStore;
use crate::umask;
use rustix::fs::{Mode, OFlags};
use rustix::process::{getegid, geteuid, getgroups};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A job whose settings hold together.
#[derive(Clone, Debug)]
pub struct Job {
    /// What was asked for.
    pub settings: Settings,
    /// Its roots, canonical.
    pub paths: RootPaths,
    /// Where its manifest is or will be.
    pub manifest: PathBuf,
    /// Accept where the roots are now, wherever they were.
    pub accept_root: bool,
    /// Large files that one worker may have open on both sides at a time.
    pub abreast: usize,
    /// So long verification may go on along with a run, so that the next one is not late; `None`: as long as it takes.
    pub verify_for: Option<Duration>,
    /// New entries, or deletes, that a look at both trees plans at most before it leaves planning to a second one.
    pub planned_most: usize,
}

/// Both trees, open.
#[derive(Debug)]
pub struct Trees {
    /// The tree that is mirrored.
    pub source: LocalStore,
    /// The mirror.
    pub replica: LocalStore,
    /// What the roots were when they were opened.
    pub anchors: Anchors,
    /// The replica was missing and has just been made.
    pub made: bool,
}

/// Both trees, open for looking only.
#[derive(Debug)]
pub struct View {
    /// The tree that is mirrored.
    pub source: LocalStore,
    /// The mirror; `None` where it is missing.
    pub replica: Option<LocalStore>,
}

impl Job {
    /// Checks roots and paths; writes nothing.
    pub fn prepare(mut settings: Settings) -> Result<Self, Error> {
        let abreast = descriptors::fit(&mut settings);
        let paths = roots::check(&settings.source, &settings.replica, boundaries(&settings))?;
        let job = Self { abreast, ..Self::located(settings, paths)? };
        job.check_outside("manifest", &job.manifest)?;
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

    /// Takes the roots as they stand in the config, without asking the file systems they lie on: for one that does not
    /// answer.
    pub fn unresolved(settings: Settings) -> Result<Self, Error> {
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|error| Error::System { action: "find the working folder", error })
        };
        let paths = RootPaths { source: absolute(&settings.source)?, replica: absolute(&settings.replica)? };
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
        Ok(Self {
            settings,
            paths,
            manifest,
            accept_root: false,
            abreast: 1,
            verify_for: None,
            planned_most: PLANNED_MOST,
        })
    }

    /// Refuses a file of this program that would lie inside one of the roots and not be left out of the mirror.
    pub fn check_outside(&self, what: &str, file: &Path) -> Result<(), Error> {
        Ok(roots::check_outside(&self.paths, self.boundaries(), what, file)?)
    }

    /// What the walk of the source leaves out by its path alone.
    pub fn boundaries(&self) -> Boundaries<'_> {
        boundaries(&self.settings)
    }

    /// What people call it: its name, or its two roots.
    pub fn label(&self) -> String {
        self.settings.label()
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
        self.check_state()?;
        self.recognize_manifest()?;
        Ok(RunLock::acquire(&self.manifest, &clock::readable(clock::now()))?)
    }

    /// Refuses a manifest that somebody else may have planted or could swap, with all that lies beside it.
    pub fn check_state(&self) -> Result<(), Error> {
        state::check(self.manifest.parent().unwrap_or(Path::new("/")))?;
        for suffix in ["", "-wal", "-shm", "-journal", ".idle", ".lock"] {
            let mut file = self.manifest.clone().into_os_string();
            file.push(suffix);
            let file = Path::new(&file);
            let may_have_two_names = || suffix.is_empty() && manifest::is_half_aside(file);
            state::check_file(file, may_have_two_names)?;
        }
        Ok(())
    }

    /// Refuses a file at the manifest's place that was never a manifest of this job. Writes nothing, not even a lock.
    pub fn recognize_manifest(&self) -> Result<(), Error> {
        let name =
            state::manifest_name(self.settings.name.as_deref(), &self.paths.source, &self.paths.replica);
        let at_home = || state::folder().is_ok_and(|folder| folder.join(name) == self.manifest);
        let place = match (&self.settings.name, self.settings.manifest.is_none() || at_home()) {
            (_, false) => Place::Chosen,
            (Some(_), true) => Place::NamedAfterJob,
            (None, true) => Place::NamedAfterRoots,
        };
        Ok(manifest::recognize(&self.manifest, Some(&self.roots()), place)?)
    }

    /// Whether there is a manifest: whether the job has ever run.
    pub fn has_manifest(&self) -> bool {
        resolved::open(&self.manifest, OFlags::PATH, Mode::empty()).is_ok()
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

    /// Sets aside a manifest whose damage showed in use, puts a new one in its place, and says so. It must
    /// have been closed.
    pub fn set_manifest_aside(
        &self,
        lock: &RunLock,
        cause: &str,
        monitor: &dyn Monitor,
    ) -> Result<(), Error> {
        let now = clock::now();
        let aside = Manifest::succeed(lock, &self.manifest, &self.roots(), now, &clock::file_stamp(now))?;
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

    /// Opens both trees for a run that may write, if they lie where they are recorded to lie; a
    /// missing replica is made on the job's first run.
    pub fn open_trees(&self, first_run: bool, recorded: &RootMounts) -> Result<Trees, Error> {
        let (source, source_anchor) = self.open_source()?;
        gates::expect(self, recorded, &source_anchor, None)?;
        let mut replica = roots::open_replica(&self.paths)?;
        let made = replica.is_none() && first_run;
        if made {
            if !self.accept_root {
                roots::check_cradle(&self.paths, recorded.replica.as_ref())?;
            }
            roots::make_replica(&self.paths)?;
            replica = roots::open_replica(&self.paths)?;
        }
        let replica = replica.ok_or_else(|| self.replica_gone())?;
        let replica_anchor = Anchor::of(Side::Replica, &self.paths.replica, replica.as_fd())?;
        let expected = gates::expect(self, recorded, &source_anchor, Some(&replica_anchor));
        if expected.is_err() && made {
            roots::unmake_replica(&self.paths);
        }
        expected?;
        claim_replica(replica.as_fd(), &self.paths.replica)?;
        let source = self.source(source);
        let replica = self.sparing(self.replica(replica)?, &source)?;
        Ok(Trees {
            source,
            replica,
            anchors: Anchors { source: source_anchor, replica: replica_anchor },
            made,
        })
    }

    /// Opens the source, which must hold its marker.
    fn open_source(&self) -> Result<(OwnedFd, Anchor), Error> {
        let source = roots::open_source(&self.paths)?;
        if let Some(marker) = &self.settings.marker {
            roots::check_marker(source.as_fd(), &self.paths.source, marker.as_ref())?;
        }
        let anchor = Anchor::of(Side::Source, &self.paths.source, source.as_fd())?;
        Ok((source, anchor))
    }

    /// The error for a replica that was there on an earlier run.
    pub fn replica_gone(&self) -> Error {
        Error::Root(roots::RootError::Absent(format!(
            "the replica {} is gone; nothing was touched. Mount it, or make the folder again to have it filled",
            self.paths.replica.display()
        )))
    }

    /// Opens both trees for looking only, if they lie where they are recorded to lie; no replica
    /// where it is missing. Writes nothing, not even a probe.
    pub fn look_at_trees(&self, recorded: &RootMounts) -> Result<View, Error> {
        let (source, source_anchor) = self.open_source()?;
        let replica = roots::open_replica(&self.paths)?;
        let open = replica.as_ref().map(|root| Anchor::of(Side::Replica, &self.paths.replica, root.as_fd()));
        gates::expect(self, recorded, &source_anchor, open.transpose()?.as_ref())?;
        if replica.is_none() && !self.accept_root {
            roots::check_cradle(&self.paths, recorded.replica.as_ref())?;
        }
        let source = self.source(source);
        let spared = |root| self.sparing(self.replica(root)?, &source);
        let replica = replica.map(spared).transpose()?;
        Ok(View { source, replica })
    }

    /// The command that lets the deletes held by `run` go ahead.
    pub fn approve_command(&self, run: i64) -> String {
        let quoted = |path: &Path| {
            let text = escaped(path.as_os_str().as_bytes());
            let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
            if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
        };
        let job = match &self.settings.name {
            Some(name) => format!("--job {}", quoted(Path::new(name))),
            None => {
                format!("--source {} --replica {}", quoted(&self.paths.source), quoted(&self.paths.replica))
            }
        };
        let manifest = self.settings.manifest.as_ref().filter(|_| self.settings.name.is_none());
        let manifest = manifest.map(|file| format!("--manifest {} ", quoted(file))).unwrap_or_default();
        format!("twinfold approve {job} {manifest}{run}")
    }

    /// What says nothing on the replica's file system, by the user's word.
    pub fn unsteady(&self) -> Unsteady {
        Unsteady { ctime: self.settings.ignore_ctime, inode: self.settings.ignore_inode }
    }

    fn source(&self, root: OwnedFd) -> LocalStore {
        let mounts = if self.settings.one_file_system { Mounts::Stay } else { Mounts::Cross };
        LocalStore::source(root, mounts).filtered(Arc::clone(&self.settings.filter))
    }

    fn replica(&self, root: OwnedFd) -> Result<LocalStore, Error> {
        let mounts = match self.settings.replica_mounts {
            ReplicaMounts::Leave => Mounts::Stay,
            ReplicaMounts::Mirror => Mounts::Cross,
        };
        LocalStore::replica(root, mounts)
            .map(|store| store.filtered(Arc::clone(&self.settings.filter)))
            .map_err(|fault| Error::System { action: fault.action, error: fault.error })
    }

    fn sparing(&self, replica: LocalStore, source: &LocalStore) -> Result<LocalStore, Error> {
        replica
            .sparing(&self.settings.leave_at_root, source)
            .map_err(|fault| Error::System { action: fault.action, error: fault.error })
    }

    /// The user that this process runs as.
    pub fn uid(&self) -> u32 {
        geteuid().as_raw()
    }

    /// The groups of this process.
    pub fn groups(&self) -> Vec<u32> {
        let mut groups: Vec<u32> =
            getgroups().unwrap_or_default().into_iter().map(rustix::fs::Gid::as_raw).collect();
        groups.push(getegid().as_raw());
        groups
    }

    /// What this process may do with owners, and what it is to keep of what is `held` where it goes; `nosuid` are the
    /// devices whose set-id bits mean nothing.
    pub fn rights(&self, nosuid: DeviceSet, held: Arc<Capabilities>) -> Rights {
        Rights {
            uid: self.uid(),
            gid: getegid().as_raw(),
            groups: self.groups(),
            umask: umask::inherited(),
            nosuid,
            preserve: self.settings.preserve.within(&held),
            held,
        }
    }

    /// The replica, open for looking, wherever it lies; an error where it is missing.
    pub fn find_replica(&self) -> Result<LocalStore, Error> {
        let root = roots::open_replica(&self.paths)?.ok_or_else(|| self.replica_gone())?;
        self.replica(root)
    }

    /// The rules of a run that begins now, into a replica that holds what `held` says.
    pub fn rules(&self, source: &LocalStore, held: Arc<Capabilities>, began: Timestamp) -> Rules {
        let trust = source.trust(&self.paths.source, clock::tick_nanos());
        Rules {
            rights: self.rights(trust.nosuid, held),
            nodev: trust.nodev,
            ignore_ctime: self.settings.ignore_ctime,
            ignore_inode: self.settings.ignore_inode,
            rotten: Arc::default(),
            trust_metadata: self.settings.adopt == Adopt::TrustMetadata,
            began,
            tick_nanos: trust.granularity_nanos,
        }
    }
}

fn boundaries(settings: &Settings) -> Boundaries<'_> {
    Boundaries { filter: &settings.filter, one_file_system: settings.one_file_system }
}
