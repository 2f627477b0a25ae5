//! How far the verification of contents has come.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use super::schema;
use crate::model::Timestamp;
use crate::plan::ages::Extent;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::path::Path;

/// A rebuild that was interrupted or killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// When it began: what was verified since then need not be read again by the one that goes on with it.
    pub began: Timestamp,
    /// The manifest knew nothing when it began.
    pub anew: bool,
}

impl Manifest {
    /// The rebuild that was not finished, if there is one.
    pub fn unfinished_rebuild(&self) -> Result<Option<Unfinished>, ManifestError> {
        self.connection
            .query_row("SELECT began, anew FROM rebuild", [], |row| {
                Ok(Unfinished { began: Timestamp::from_nanos(row.get(0)?), anew: row.get(1)? })
            })
            .optional()
            .map_err(sqlite("read", &self.path))
    }

    /// Notes that a rebuild begins, or with `None` that it is finished.
    pub fn note_rebuild(&self, rebuild: Option<Unfinished>) -> Result<(), ManifestError> {
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            connection.execute("DELETE FROM rebuild", []).map_err(failed())?;
            if let Some(Unfinished { began, anew }) = rebuild {
                let sql = "INSERT INTO rebuild (id, began, anew) VALUES (1, ?1, ?2)";
                connection.execute(sql, params![began.as_nanos(), anew]).map_err(failed())?;
            }
            Ok(())
        })
    }
}

impl Manifest {
    /// Notes how much was verified when, by the day since 1970.
    pub fn note_coverage(&self, days: &BTreeMap<i64, Extent>) -> Result<(), ManifestError> {
        if read_coverage(&self.connection, &self.path)? == *days {
            return Ok(());
        }
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            connection.execute("DELETE FROM coverage", []).map_err(failed())?;
            let mut put =
                connection.prepare_cached("INSERT INTO coverage VALUES (?1, ?2, ?3)").map_err(failed())?;
            for (day, extent) in days {
                let values = params![day, extent.files.cast_signed(), extent.bytes.cast_signed()];
                put.execute(values).map_err(failed())?;
            }
            Ok(())
        })
    }
}

impl Reader {
    /// How much was verified when, as of the last run; nothing in a manifest that is older than that.
    pub fn coverage(&self) -> Result<BTreeMap<i64, Extent>, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::VERIFICATION {
            return Ok(BTreeMap::new());
        }
        read_coverage(&self.connection, &self.path)
    }
}

fn read_coverage(connection: &Connection, file: &Path) -> Result<BTreeMap<i64, Extent>, ManifestError> {
    let failed = || sqlite("read", file);
    let mut query = connection.prepare_cached("SELECT day, files, bytes FROM coverage").map_err(failed())?;
    let rows = query
        .query_map([], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok((row.get(0)?, Extent { files: count(1)?, bytes: count(2)? }))
        })
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

impl Manifest {
    /// Has SQLite look over all of the file, which takes as long as reading it.
    ///
    /// # Errors
    /// [`ManifestError::Damaged`] with what is wrong.
    pub fn check_integrity(&self) -> Result<(), ManifestError> {
        check_integrity(&self.connection, &self.path)
    }
}

impl Reader {
    /// See [`Manifest::check_integrity`].
    pub fn check_integrity(&self) -> Result<(), ManifestError> {
        check_integrity(&self.connection, &self.path)
    }
}

fn check_integrity(connection: &Connection, file: &Path) -> Result<(), ManifestError> {
    let failed = || sqlite("check", file);
    let mut query = connection.prepare("PRAGMA integrity_check(1)").map_err(failed())?;
    let said: String = query.query_row([], |row| row.get(0)).map_err(failed())?;
    if said == "ok" { Ok(()) } else { Err(ManifestError::damaged(file, said)) }
}
