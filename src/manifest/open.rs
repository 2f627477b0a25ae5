//! Opening a manifest for writing: creating it, checking whose it is, setting a damaged one aside.

use super::claim;
use super::confirm::confirm;
use super::entries::{self, Bounds, Rows};
use super::error::{ManifestError, sqlite};
use super::file::{self, Header};
use super::history::{self, PendingRun, RunFigures, RunRow};
use super::journal::Jottings;
use super::schema;
use super::write::Waiting;
use crate::lock::RunLock;
use crate::model::escape::escaped;
use crate::model::{EntryPath, Record, Timestamp};
use crate::plan::ages::Ages;
use rusqlite::{Connection, OpenFlags, params};
use std::cell::{Cell, RefCell};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The pair of roots a manifest belongs to, canonical and absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRoots {
    /// The tree that is mirrored.
    pub source: PathBuf,
    /// The mirror.
    pub replica: PathBuf,
}

/// A manifest open for writing. Only the thread that opened it uses it.
#[derive(Debug)]
pub struct Manifest {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) waiting: Waiting,
    pub(super) jottings: Jottings,
    pub(super) losses: super::losses::Pending,
    pub(super) ages: RefCell<Ages>,
    /// The run that began and has no row yet, because nothing was written since.
    pub(super) pending: Cell<Option<PendingRun>>,
    /// The names of hard-linked files have a database for this run.
    pub(super) has_scratch: Cell<bool>,
}

/// A manifest and how it came to be open.
#[derive(Debug)]
pub struct Opened {
    /// The manifest.
    pub manifest: Manifest,
    /// Where a damaged predecessor was put, and how the damage showed.
    pub set_aside: Option<(PathBuf, String)>,
}

/// How long whoever writes beside a run waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a job's manifest to write a row or two without the job's lock; what may be written so is said where it is done.
pub(super) fn beside_a_run(
    path: &Path,
    roots: &JobRoots,
    action: &'static str,
) -> Result<Connection, ManifestError> {
    if file::inspect(path)? == Header::Absent {
        return Err(ManifestError::Missing { path: path.to_owned() });
    }
    let failed = || sqlite(action, path);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed())?;
    connection.busy_timeout(PATIENCE).map_err(failed())?;
    check_job(&connection, path, roots)?;
    Ok(connection)
}

/// How long to wait for another program that has the database locked.
const BUSY: Duration = Duration::from_secs(5);

/// The log is cut back to this many bytes after a checkpoint.
const JOURNAL_SIZE_LIMIT: i64 = 8 << 20;

/// Pages that SQLite keeps, in KiB: rows are read and written in path order, so that more is of no use. Each page is new
/// memory to a run (with 2 MiB a sixth of all that one had to be given where nothing changed), and goes through the processor's cache.
const CACHE_KIB: i64 = 512;

impl Manifest {
    /// Opens the manifest at `path`, creating it if there is none. The lock is the right to write.
    /// `stamp` is the time for the name of a damaged one that is set aside.
    ///
    /// # Errors
    /// Refuses, untouched, a newer schema, another application's file and another job's manifest. What was never a
    /// manifest must have been refused before, by [`recognize`](super::recognize).
    pub fn open(
        lock: &RunLock,
        path: &Path,
        roots: &JobRoots,
        now: Timestamp,
        stamp: &str,
    ) -> Result<Opened, ManifestError> {
        file::undo_half_aside(path)?;
        let attempt = match file::inspect(path) {
            Ok(Header::Absent) if Self::finish_succession(path, roots)? => connect(path, roots),
            Ok(Header::Absent) => create(path, roots, now).and_then(|()| connect(path, roots)),
            Ok(Header::Manifest) => connect(path, roots),
            Err(error) => Err(error),
        };
        let opened = match attempt.map_err(confirm) {
            Ok(manifest) => Opened { manifest, set_aside: None },
            Err(ManifestError::Damaged { cause, .. }) => {
                let aside = Self::succeed(lock, path, roots, now, stamp)?;
                let manifest = connect(path, roots)?;
                Opened { manifest, set_aside: Some((aside, cause)) }
            }
            Err(error) => return Err(error),
        };
        lock.record_owner(&claim::owner(roots));
        Ok(opened)
    }

    /// Whether it has any row: after one run that went well it has at least the root's.
    pub fn knows_entries(&self) -> Result<bool, ManifestError> {
        self.flush()?;
        entries::any(&self.connection, &self.path)
    }

    /// The rows within `bounds`, in path order.
    pub fn rows(&self, bounds: Bounds) -> Rows<'_> {
        Rows::new(&self.connection, &self.path, bounds, self.flush().err())
    }

    /// The first rows below a folder, at most `count`, in path order.
    pub fn first_below(&self, folder: &EntryPath, count: usize) -> Result<Vec<Record>, ManifestError> {
        self.flush()?;
        entries::first_below(&self.connection, &self.path, folder, count)
    }

    /// The row of one path.
    pub fn find(&self, path: &EntryPath) -> Result<Option<Record>, ManifestError> {
        self.flush()?;
        entries::find(&self.connection, &self.path, path)
    }

    /// The folders whose rows have this inode of the source, in path order: more than one where one of them
    /// is gone and its inode was given to another.
    pub fn find_folder_by_inode(&self, inode: u64) -> Result<Vec<EntryPath>, ManifestError> {
        self.flush()?;
        entries::folders_of(&self.connection, &self.path, inode)
    }

    /// The figures of the last run that saw both trees to their end, as far as that is not long ago.
    pub fn last_complete(&self) -> Result<Option<RunFigures>, ManifestError> {
        history::last_complete(&self.connection, &self.path)
    }

    /// The last `count` runs, newest first.
    pub fn runs(&self, count: u32) -> Result<Vec<RunRow>, ManifestError> {
        history::runs(&self.connection, &self.path, count)
    }

    /// Notes which properties the rows are to vouch for from now on. Rows that were made when others were
    /// kept prove nothing any more: each is looked at once again.
    pub fn vouch_for(&self, switches: &str) -> Result<(), ManifestError> {
        if entries::switches(&self.connection, &self.path)?.as_deref() == Some(switches) {
            return Ok(());
        }
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            connection.execute("UPDATE entries SET racy = 1", []).map_err(failed())?;
            // They are found again.
            connection.execute("DELETE FROM losses", []).map_err(failed())?;
            connection.execute("UPDATE job SET preserve = ?1", [switches]).map_err(failed())?;
            Ok(())
        })
    }

    /// Writes the row of a run that has none yet. For what changes the replica before it records anything: a manifest that
    /// cannot be written is found out before that.
    pub fn ensure_run_row(&self) -> Result<(), ManifestError> {
        if self.pending.get().is_none() { Ok(()) } else { self.transaction(|_| Ok(())) }
    }

    /// Runs `work` in one transaction, undone if it fails. What waits to be written is written before.
    pub(super) fn transaction<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ManifestError>,
    ) -> Result<T, ManifestError> {
        self.flush()?;
        let failed = || sqlite("write to", &self.path);
        let transaction = self.connection.unchecked_transaction().map_err(failed())?;
        let is_new = self.write_pending_run(&transaction)?;
        let value = work(&transaction)?;
        transaction.commit().map_err(failed())?;
        if is_new {
            self.forget_pending_run();
        }
        Ok(value)
    }
}

/// Makes a new manifest complete under another name first, so that a kill leaves none or a whole one.
fn create(path: &Path, roots: &JobRoots, now: Timestamp) -> Result<(), ManifestError> {
    let new = build(path, roots, now, |_| Ok(()))?;
    file::remove_companions(path)?;
    file::rename_to_free(&new, path)
}

/// Where a new manifest is made before it gets its name: no name that a file of somebody else is likely to have.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    file::beside(path, ".manifest-new")
}

/// Makes a new manifest for `path` under another name, which it returns; `fill` adds what it begins with.
pub(super) fn build(
    path: &Path,
    roots: &JobRoots,
    now: Timestamp,
    fill: impl FnOnce(&Connection) -> Result<(), ManifestError>,
) -> Result<PathBuf, ManifestError> {
    let new = unfinished(path);
    file::create_empty(&new)?;
    let failed = || sqlite("create", path);
    let connection = Connection::open_with_flags(&new, flags()).map_err(failed())?;
    schema::migrate(&connection, path)?;
    connection
        .execute(
            "INSERT INTO job (id, source, replica, created, adopting) VALUES (1, ?1, ?2, ?3, 1)",
            params![
                roots.source.as_os_str().as_bytes(),
                roots.replica.as_os_str().as_bytes(),
                now.as_nanos()
            ],
        )
        .map_err(failed())?;
    fill(&connection)?;
    connection.close().map_err(|(_, error)| error).map_err(failed())?;
    Ok(new)
}

/// RACE: SQLite opens by path. It looks for links in all of it first and refuses any, but whoever owns a
/// folder above the state folder may put one there between that look and the open. Worst outcome: the rows
/// go to another database that was made to look like this one; neither tree is reached through it.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn connect(path: &Path, roots: &JobRoots) -> Result<Manifest, ManifestError> {
    let failed = || sqlite("open", path);
    file::check_writable(path)?;
    let connection = Connection::open_with_flags(path, flags()).map_err(failed())?;
    connection.busy_timeout(BUSY).map_err(failed())?;
    check_job(&connection, path, roots)?;
    schema::migrate(&connection, path)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed())?;
    connection.pragma_update(None, "synchronous", "normal").map_err(failed())?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT).map_err(failed())?;
    // What holds rows aside holds few; without this it might need a temporary folder that can be written.
    connection.pragma_update(None, "temp_store", "memory").map_err(failed())?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(failed())?;
    Ok(Manifest {
        connection,
        path: path.to_owned(),
        waiting: Waiting::default(),
        jottings: Jottings::default(),
        losses: super::losses::Pending::default(),
        ages: RefCell::default(),
        pending: Cell::default(),
        has_scratch: Cell::default(),
    })
}

/// Refuses a manifest of another pair of roots, before anything is written to it.
pub(super) fn check_job(connection: &Connection, path: &Path, roots: &JobRoots) -> Result<(), ManifestError> {
    let failed = || sqlite("read", path);
    let found: Option<(Vec<u8>, Vec<u8>)> = connection
        .prepare("SELECT source, replica FROM job")
        .and_then(|mut query| query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.next().transpose())
        .map_err(failed())?;
    match found {
        None => Err(ManifestError::damaged(path, "it does not say whose it is".to_owned())),
        Some((source, replica))
            if source == roots.source.as_os_str().as_bytes()
                && replica == roots.replica.as_os_str().as_bytes() =>
        {
            Ok(())
        }
        Some((source, replica)) => Err(ManifestError::OtherJob {
            path: path.to_owned(),
            source_root: escaped(&source),
            replica_root: escaped(&replica),
        }),
    }
}
