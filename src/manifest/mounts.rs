//! The source's mount points, remembered from run to run.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use crate::model::EntryPath;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;

impl Manifest {
    /// The mount points that the last run met in the source.
    pub fn source_mounts(&self) -> Result<BTreeSet<EntryPath>, ManifestError> {
        read(&self.connection, &self.path)
    }

    /// Remembers `mounts` for the next runs, where they are not what is remembered already.
    pub fn remember_source_mounts(&self, mounts: &BTreeSet<EntryPath>) -> Result<(), ManifestError> {
        if self.source_mounts()? == *mounts {
            return Ok(());
        }
        self.transaction(|connection| write(connection, &self.path, mounts))
    }
}

/// Puts `mounts` in the place of what is remembered.
pub(super) fn write(
    connection: &Connection,
    file: &Path,
    mounts: &BTreeSet<EntryPath>,
) -> Result<(), ManifestError> {
    let failed = || sqlite("write to", file);
    connection.execute("DELETE FROM source_mounts", []).map_err(failed())?;
    let mut put = connection.prepare("INSERT INTO source_mounts (path) VALUES (?1)").map_err(failed())?;
    for mount in mounts {
        put.execute([mount.as_bytes()]).map_err(failed())?;
    }
    Ok(())
}

impl Reader {
    /// The mount points that the last run met in the source.
    pub fn source_mounts(&self) -> Result<BTreeSet<EntryPath>, ManifestError> {
        let failed = || sqlite("read", &self.path);
        // An older program wrote it, and nobody has upgraded it yet.
        let known: bool = self
            .connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'source_mounts'", [], |row| {
                row.get(0)
            })
            .map_err(failed())?;
        if known { read(&self.connection, &self.path) } else { Ok(BTreeSet::new()) }
    }
}

pub(super) fn read(connection: &Connection, file: &Path) -> Result<BTreeSet<EntryPath>, ManifestError> {
    let failed = || sqlite("read", file);
    let mut query = connection.prepare("SELECT path FROM source_mounts").map_err(failed())?;
    let rows =
        query.query_map([], |row| Ok(EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?))).map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}
