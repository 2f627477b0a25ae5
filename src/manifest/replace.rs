//! A whole new set of rows, made beside the old one and put in its place in one transaction.

use super::error::{ManifestError, sqlite};
use super::file;
use super::open::Manifest;
use super::schema;
use super::write;
use crate::model::Change;
use rusqlite::{Connection, OpenFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Rows that are to replace all rows of a manifest, in a file of their own (`NAME.rebuild`).
/// The old rows stay in force until [`Manifest::replace_entries`].
#[derive(Debug)]
pub struct Fresh {
    connection: Connection,
    path: PathBuf,
}

impl Fresh {
    /// An empty set beside `manifest`; what an interrupted rebuild left there is discarded.
    pub fn create(manifest: &Manifest) -> Result<Self, ManifestError> {
        let path = file::beside(&manifest.path, ".rebuild");
        file::create_empty(&path)?;
        let failed = || sqlite("create", &path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(failed())?;
        schema::migrate(&connection, &path)?;
        // Nothing to protect: a crash throws this file away.
        connection.pragma_update(None, "synchronous", "off").map_err(failed())?;
        connection.pragma_update(None, "journal_mode", "off").map_err(failed())?;
        connection.pragma_update(None, "locking_mode", "exclusive").map_err(failed())?;
        Ok(Self { connection, path })
    }

    /// Adds rows.
    pub fn add(&self, rows: Vec<Change>) -> Result<(), ManifestError> {
        let failed = || sqlite("write to", &self.path);
        self.connection.execute_batch("BEGIN").map_err(failed())?;
        write::write(&self.connection, &self.path, rows)?;
        self.connection.execute_batch("COMMIT").map_err(failed())
    }

    /// Throws the rows away.
    pub fn discard(self) -> Result<(), ManifestError> {
        drop(self.connection);
        file::remove(&self.path)
    }
}

impl Manifest {
    /// Puts the rows of `fresh` in the place of all rows, atomically.
    pub fn replace_entries(&self, fresh: Fresh) -> Result<(), ManifestError> {
        let Fresh { connection, path } = fresh;
        drop(connection);
        let failed = || sqlite("write to", &self.path);
        self.connection
            .execute("ATTACH DATABASE CAST(?1 AS TEXT) AS fresh", [path.as_os_str().as_bytes()])
            .map_err(failed())?;
        let replaced = self.transaction(|connection| {
            connection
                // Without any other clause SQLite moves the rows over as they lie, without decoding
                // them; and what undoes all needs no journal of its own in a temporary folder.
                .execute_batch(
                    "DELETE FROM main.entries; \
                     INSERT OR ROLLBACK INTO main.entries SELECT * FROM fresh.entries;",
                )
                .map_err(failed())
        });
        self.connection.execute_batch("DETACH DATABASE fresh").map_err(failed())?;
        replaced?;
        file::remove(&path)
    }
}
