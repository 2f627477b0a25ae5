//! How far the verification of contents has come.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use crate::model::Timestamp;
use rusqlite::{OptionalExtension, params};

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
