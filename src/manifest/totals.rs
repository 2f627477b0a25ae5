//! What all runs of a job did together: the manifest keeps count of it by itself (see the migration), but for the runs that
//! have no row yet.

use super::error::{ManifestError, sqlite};
use super::schema;
use rusqlite::Connection;
use std::path::Path;

/// Counters that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs that came to an end.
    pub runs: u64,
    /// Folders, links and special files made.
    pub created: u64,
    /// Files copied.
    pub copied: u64,
    /// Entries renamed.
    pub moved: u64,
    /// Names made further names of an inode.
    pub linked: u64,
    /// Metadata operations.
    pub mended: u64,
    /// Entries deleted.
    pub deleted: u64,
    /// Bytes copied.
    pub bytes: u64,
}

/// Reads them; all zero in an older manifest that no run has upgraded yet.
pub(super) fn read(connection: &Connection, file: &Path) -> Result<Totals, ManifestError> {
    if schema::version(connection, file)? < schema::TOTALS {
        return Ok(Totals::default());
    }
    let idle = super::idle::read(connection, file)?.len() as u64;
    let sql = "SELECT runs, created, copied, moved, linked, mended, deleted, bytes FROM totals";
    connection
        .query_row(sql, [], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(Totals {
                runs: count(0)? + idle,
                created: count(1)?,
                copied: count(2)?,
                moved: count(3)?,
                linked: count(4)?,
                mended: count(5)?,
                deleted: count(6)?,
                bytes: count(7)?,
            })
        })
        .map_err(sqlite("read", file))
}
