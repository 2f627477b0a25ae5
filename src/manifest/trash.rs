//! What the trash holds, by the runs that put it there.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use super::schema;
use rusqlite::{Connection, params};
use std::path::Path;

/// What one run put into the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashRow {
    /// The name of its folder there.
    pub name: String,
    /// Entries, folders not counted.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Manifest {
    /// What is noted of the trash, oldest first.
    pub fn trash(&self) -> Result<Vec<TrashRow>, ManifestError> {
        read(&self.connection, &self.path)
    }

    /// Notes what the trash holds now, where that is not noted already.
    pub fn note_trash(&self, rows: &[TrashRow]) -> Result<(), ManifestError> {
        if self.trash()? == rows {
            return Ok(());
        }
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            connection.execute("DELETE FROM trash", []).map_err(failed())?;
            let sql = "INSERT INTO trash (name, entries, bytes) VALUES (?1, ?2, ?3)";
            let mut put = connection.prepare(sql).map_err(failed())?;
            for TrashRow { name, entries, bytes } in rows {
                put.execute(params![name, entries.cast_signed(), bytes.cast_signed()]).map_err(failed())?;
            }
            Ok(())
        })
    }
}

impl Reader {
    /// What is noted of the trash, oldest first; nothing in an older manifest that no run has upgraded yet.
    pub fn trash(&self) -> Result<Vec<TrashRow>, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::JOURNAL {
            return Ok(Vec::new());
        }
        read(&self.connection, &self.path)
    }
}

fn read(connection: &Connection, file: &Path) -> Result<Vec<TrashRow>, ManifestError> {
    let failed = || sqlite("read", file);
    let sql = "SELECT name, entries, bytes FROM trash ORDER BY substr(name, 1, 16), length(name), name";
    let mut query = connection.prepare(sql).map_err(failed())?;
    let rows = query
        .query_map([], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(TrashRow { name: row.get(0)?, entries: count(1)?, bytes: count(2)? })
        })
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}
