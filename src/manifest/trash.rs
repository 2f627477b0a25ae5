//! What the trash holds, by the runs that put it there.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use super::schema;
use crate::plan::elapsed::{Elapsed, Reading};
use rusqlite::{Connection, OptionalExtension, Row, params};
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
    /// The [`Elapsed::seconds`] at which a run first met it; `None` where an older program noted it.
    pub since: Option<i64>,
}

impl Manifest {
    /// What is noted of the trash, oldest first.
    pub fn trash(&self) -> Result<Vec<TrashRow>, ManifestError> {
        read(&self.connection, &self.path, "since")
    }

    /// Returns how time has been counted for the trash.
    pub fn trash_time(&self) -> Result<Option<Elapsed>, ManifestError> {
        let failed = || sqlite("read", &self.path);
        let sql = "SELECT passed, latest, first, boot, uptime, wall FROM trash_time";
        let mut query = self.connection.prepare(sql).map_err(failed())?;
        let read = |row: &Row<'_>| {
            let last = Reading { boot: row.get(3)?, uptime: row.get(4)?, wall: row.get(5)? };
            Ok(Elapsed { passed: row.get(0)?, latest: row.get(1)?, first: row.get(2)?, last })
        };
        query.query_row([], read).optional().map_err(failed())
    }

    /// Notes what the trash holds now and how time has been counted for it, where that is news.
    pub fn note_trash(&self, rows: &[TrashRow], elapsed: &Elapsed) -> Result<(), ManifestError> {
        let are_known = self.trash()? == rows;
        // Time that nothing waits for need not be recorded: what comes later begins with a new reading.
        let is_recorded = match self.trash_time()? {
            Some(recorded) => !elapsed.outdates(&recorded),
            None => rows.is_empty(),
        };
        if are_known && (is_recorded || rows.is_empty()) {
            return Ok(());
        }
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            connection.execute("DELETE FROM trash", []).map_err(failed())?;
            let sql = "INSERT INTO trash (name, entries, bytes, since) VALUES (?1, ?2, ?3, ?4)";
            let mut put = connection.prepare(sql).map_err(failed())?;
            for TrashRow { name, entries, bytes, since } in rows {
                put.execute(params![name, entries.cast_signed(), bytes.cast_signed(), since])
                    .map_err(failed())?;
            }
            let Elapsed { passed, latest, first, last } = elapsed;
            let Reading { boot, uptime, wall } = last;
            connection
                .execute(
                    "INSERT OR REPLACE INTO trash_time (id, passed, latest, first, boot, uptime, wall) \
                     VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
                    params![passed, latest, first, boot, uptime, wall],
                )
                .map_err(failed())?;
            Ok(())
        })
    }
}

impl Reader {
    /// What is noted of the trash, oldest first; nothing in an older manifest that no run has upgraded yet.
    pub fn trash(&self) -> Result<Vec<TrashRow>, ManifestError> {
        let version = schema::version(&self.connection, &self.path)?;
        if version < schema::JOURNAL {
            return Ok(Vec::new());
        }
        read(&self.connection, &self.path, if version < schema::TRASH_TIME { "NULL" } else { "since" })
    }
}

fn read(connection: &Connection, file: &Path, since: &str) -> Result<Vec<TrashRow>, ManifestError> {
    let failed = || sqlite("read", file);
    let sql = format!(
        "SELECT name, entries, bytes, {since} FROM trash ORDER BY substr(name, 1, 16), length(name), name"
    );
    let mut query = connection.prepare(&sql).map_err(failed())?;
    let rows = query
        .query_map([], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(TrashRow { name: row.get(0)?, entries: count(1)?, bytes: count(2)?, since: row.get(3)? })
        })
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}
