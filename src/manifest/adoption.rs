//! The first run of a pair, from the making of the manifest to the first run that ends well: until then the replica may
//! hold what never came from the source.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use super::schema;
use rusqlite::Connection;
use std::path::Path;

/// A pair of which no run has ended well yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Entries that the replica had before anything was brought over; `None`: not counted yet.
    pub replica_had: Option<u64>,
}

impl Manifest {
    /// Returns how far the first run of this pair has come; `None`: it has ended well.
    pub fn adoption(&self) -> Result<Option<Adoption>, ManifestError> {
        read(&self.connection, &self.path)
    }

    /// Notes how much the replica had before anything was brought over.
    pub fn note_replica_had(&self, entries: u64) -> Result<(), ManifestError> {
        self.connection
            .execute("UPDATE job SET replica_had = ?1", [entries.cast_signed()])
            .map(drop)
            .map_err(sqlite("write to", &self.path))
    }

    /// Notes that a run has ended which left nothing open that the replica had before.
    pub fn settle_adoption(&self) -> Result<(), ManifestError> {
        self.connection
            .execute("UPDATE job SET adopting = 0, replica_had = NULL WHERE adopting <> 0", [])
            .map(drop)
            .map_err(sqlite("write to", &self.path))
    }
}

impl Reader {
    /// Returns how far the first run of this pair has come; `None`: it has ended well, or an older program made the
    /// manifest.
    pub fn adoption(&self) -> Result<Option<Adoption>, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::ADOPTION {
            return Ok(None);
        }
        read(&self.connection, &self.path)
    }
}

fn read(connection: &Connection, file: &Path) -> Result<Option<Adoption>, ManifestError> {
    let sql = "SELECT adopting, replica_had FROM job";
    let (is_open, had): (bool, Option<i64>) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sqlite("read", file))?;
    Ok(is_open.then_some(Adoption { replica_had: had.map(i64::cast_unsigned) }))
}
