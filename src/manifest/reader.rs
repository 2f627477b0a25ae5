//! Looking into a manifest without a lock and without writing: for `status` and dry runs.

use super::entries::{self, Bounds, Rows};
use super::error::{ManifestError, sqlite};
use super::file::{self, Header, beside};
use super::held::{self, HeldRow};
use super::history::{self, RunFigures, RunRow, side_from_code};
use super::open::{JobRoots, check_job};
use super::root_mounts;
use super::totals::{self, Totals};
use crate::model::{EntryPath, HeldPlan, Record, RootMounts, Timestamp};
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A manifest open for reading.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    /// Nobody was writing when it was opened, so that the file was taken to stand still.
    quiet: bool,
}

/// A problem that the last run met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemRow {
    /// The problem; its action as the manifest has it.
    pub path: EntryPath,
    /// Which tree, as a word.
    pub side: String,
    /// What was being done.
    pub action: String,
    /// Why it failed.
    pub cause: String,
    /// When it was first met.
    pub since: Timestamp,
    /// How many runs met it.
    pub times: u64,
}

impl Reader {
    /// Opens the manifest at `path`. A daemon may be writing to it meanwhile.
    pub fn open(path: &Path) -> Result<Self, ManifestError> {
        if file::inspect(path)? == Header::Absent {
            return Err(ManifestError::Missing { path: path.to_owned() });
        }
        let failed = || sqlite("open", path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // Without a write-ahead log nobody is writing, and SQLite would make one just to read.
        let quiet = !beside(path, "-wal").exists();
        let connection = Connection::open_with_flags(uri(path, quiet), flags).map_err(failed())?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed())?;
        let reader = Self { connection, path: path.to_owned(), quiet };
        let found = super::schema::version(&reader.connection, path)?;
        let known = super::schema::CURRENT;
        if found > known {
            return Err(ManifestError::Newer { path: path.to_owned(), found, known });
        }
        Ok(reader)
    }

    /// Whether somebody began to write to a file that was taken to stand still: what was read since
    /// may not fit together, and should be read again.
    pub fn is_disturbed(&self) -> bool {
        self.quiet && beside(&self.path, "-wal").exists()
    }

    /// Refuses a manifest of another pair of roots.
    pub fn check_job(&self, roots: &JobRoots) -> Result<(), ManifestError> {
        check_job(&self.connection, &self.path, roots)
    }

    /// Whether it has any row.
    pub fn knows_entries(&self) -> Result<bool, ManifestError> {
        entries::any(&self.connection, &self.path)
    }

    /// Whether the rows vouch for what these switches keep; see [`super::Manifest::vouch_for`].
    pub fn vouches_for(&self, switches: &str) -> Result<bool, ManifestError> {
        Ok(entries::switches(&self.connection, &self.path)?.as_deref() == Some(switches))
    }

    /// The pair of roots it belongs to.
    pub fn job(&self) -> Result<JobRoots, ManifestError> {
        let root = |bytes: Vec<u8>| PathBuf::from(std::ffi::OsString::from_vec(bytes));
        self.connection
            .query_row("SELECT source, replica FROM job", [], |row| {
                Ok(JobRoots { source: root(row.get(0)?), replica: root(row.get(1)?) })
            })
            .map_err(sqlite("read", &self.path))
    }

    /// The rows within `bounds`, in path order.
    pub fn rows(&self, bounds: Bounds) -> Rows<'_> {
        Rows::new(&self.connection, &self.path, bounds, None)
    }

    /// The first rows below a folder, at most `count`, in path order.
    pub fn first_below(&self, folder: &EntryPath, count: usize) -> Result<Vec<Record>, ManifestError> {
        entries::first_below(&self.connection, &self.path, folder, count)
    }

    /// The row of one path.
    pub fn find(&self, path: &EntryPath) -> Result<Option<Record>, ManifestError> {
        entries::find(&self.connection, &self.path, path)
    }

    /// The folders whose rows have this inode of the source; see [`super::Manifest::find_folder_by_inode`].
    pub fn find_folder_by_inode(&self, inode: u64) -> Result<Vec<EntryPath>, ManifestError> {
        entries::folders_of(&self.connection, &self.path, inode)
    }

    /// See [`super::Manifest::last_complete`].
    pub fn last_complete(&self) -> Result<Option<RunFigures>, ManifestError> {
        history::last_complete(&self.connection, &self.path)
    }

    /// The last `count` runs, newest first.
    pub fn runs(&self, count: u32) -> Result<Vec<RunRow>, ManifestError> {
        history::runs(&self.connection, &self.path, count)
    }

    /// What is wrong now, in path order.
    pub fn problems(&self) -> Result<Vec<ProblemRow>, ManifestError> {
        let failed = || sqlite("read", &self.path);
        let sql = "SELECT path, side, action, cause, since, times FROM problems ORDER BY path, side, action";
        let mut query = self.connection.prepare(sql).map_err(failed())?;
        let rows = query
            .query_map([], |row| {
                Ok(ProblemRow {
                    path: EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?),
                    side: side_from_code(row.get(1)?).to_string(),
                    action: row.get(2)?,
                    cause: row.get(3)?,
                    since: Timestamp::from_nanos(row.get(4)?),
                    times: row.get::<_, i64>(5)?.cast_unsigned(),
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// What all runs did together.
    pub fn totals(&self) -> Result<Totals, ManifestError> {
        totals::read(&self.connection, &self.path)
    }

    /// The deletes that are held, if any are.
    pub fn held(&self) -> Result<Option<HeldRow>, ManifestError> {
        held::glance(&self.connection, &self.path)
    }

    /// The deletes that are held, with what it takes to know them again.
    pub fn held_plan(&self) -> Result<Option<HeldPlan>, ManifestError> {
        held::plan(&self.connection, &self.path)
    }

    /// On what the roots lay when they were last seen or accepted.
    pub fn root_mounts(&self) -> Result<RootMounts, ManifestError> {
        root_mounts::read(&self.connection, &self.path)
    }
}

/// The path as an SQLite URI: every byte that might mean something there is percent-encoded.
pub(super) fn uri(path: &Path, immutable: bool) -> PathBuf {
    let mut text = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text.push_str(if immutable { "?mode=ro&immutable=1" } else { "?mode=ro" });
    PathBuf::from(OsStr::from_bytes(text.as_bytes()))
}
