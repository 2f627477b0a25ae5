//! A damaged manifest is set aside, and a new one takes its place in one step.
//!
//! The new one says that it is a successor: entries of the replica that it has no row of may have come
//! from the source, so that their absence there says nothing. Their deletes are held until a person
//! approves them; the mark goes with the first run that ends with nothing held and no problem.
//!
//! The successor is complete before the damaged one is touched. Then the damaged one gets a second name, and the
//! successor is renamed over the first. After a kill in between the damaged one has two names; the next run takes the
//! second away and begins again.

use super::error::{ManifestError, sqlite};
use super::file::{self, Header};
use super::mounts;
use super::open::{JobRoots, Manifest, build, unfinished};
use super::reader::{Reader, uri};
use super::root_mounts;
use super::schema;
use crate::lock::RunLock;
use crate::model::{EntryPath, RootMount, RootMounts, Timestamp};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a damaged manifest still tells of the mounts, so that its successor knows an unmounted source.
#[derive(Debug, Default)]
pub struct Salvage {
    /// On what the roots lay.
    pub root_mounts: RootMounts,
    /// The mount points met in the source.
    pub source_mounts: BTreeSet<EntryPath>,
}

impl Salvage {
    /// What can be read of the damaged manifest at `path`; what cannot be is left out.
    pub fn of(path: &Path, roots: &JobRoots) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let Ok(connection) = Connection::open_with_flags(uri(path, true), flags) else {
            return Self::default();
        };
        let mut found = root_mounts::read(&connection, path).unwrap_or_default();
        // What is plainly wrong must not refuse the roots for ever after.
        let fits = |mount: &Option<RootMount>, root: &Path| {
            mount
                .as_ref()
                .is_none_or(|mount| root.starts_with(Path::new(std::ffi::OsStr::from_bytes(&mount.point))))
        };
        if !fits(&found.source, &roots.source) || !fits(&found.replica, &roots.replica) {
            found = RootMounts::default();
        }
        let mut source_mounts = mounts::read(&connection, path).unwrap_or_default();
        source_mounts.retain(|mount| mount.is_folder() && !mount.is_root());
        Self { root_mounts: found, source_mounts }
    }
}

impl Manifest {
    /// Sets the damaged manifest at `path` aside, puts a successor in its place and returns where the
    /// damaged one is now. It must have been closed. A kill leaves the damaged one or the successor, never
    /// none: without any, the next run would take itself for the first. Where the file system has no hard links there is
    /// an instant without any, but then the successor lies ready beside it: see [`Manifest::open`].
    pub fn succeed(
        _lock: &RunLock,
        path: &Path,
        roots: &JobRoots,
        now: Timestamp,
        stamp: &str,
    ) -> Result<PathBuf, ManifestError> {
        let salvage = Salvage::of(path, roots);
        let new = build(path, roots, now, |connection| {
            connection.execute("UPDATE job SET successor = 1", []).map_err(sqlite("create", path))?;
            root_mounts::write(connection, path, &salvage.root_mounts)?;
            mounts::write(connection, path, &salvage.source_mounts)
        })?;
        let aside = file::name_aside(path, stamp);
        file::keep_aside(path, &aside)?;
        file::rename(&new, path)?;
        Ok(aside)
    }

    /// Puts a successor into its place that a kill left ready beside it. `false`: none is there.
    pub(super) fn finish_succession(path: &Path, roots: &JobRoots) -> Result<bool, ManifestError> {
        let new = unfinished(path);
        if !matches!(file::inspect(&new), Ok(Header::Manifest)) {
            return Ok(false);
        }
        let is_successor = Reader::open(&new).is_ok_and(|reader| {
            reader.check_job(roots).is_ok() && reader.is_successor().is_ok_and(|successor| successor)
        });
        if is_successor {
            file::rename_to_free(&new, path)?;
        }
        Ok(is_successor)
    }

    /// Whether it stands in the place of a damaged one that nobody has got over yet.
    pub fn is_successor(&self) -> Result<bool, ManifestError> {
        read(&self.connection, &self.path)
    }

    /// Notes that a run has ended which had nothing to hold or to complain of.
    pub fn settle_succession(&self) -> Result<(), ManifestError> {
        self.connection
            .execute("UPDATE job SET successor = 0 WHERE successor <> 0", [])
            .map(drop)
            .map_err(sqlite("write to", &self.path))
    }
}

impl Reader {
    /// Whether it stands in the place of a damaged one that nobody has got over yet.
    pub fn is_successor(&self) -> Result<bool, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::SUCCESSION {
            return Ok(false);
        }
        read(&self.connection, &self.path)
    }
}

fn read(connection: &Connection, file: &Path) -> Result<bool, ManifestError> {
    connection.query_row("SELECT successor FROM job", [], |row| row.get(0)).map_err(sqlite("read", file))
}
