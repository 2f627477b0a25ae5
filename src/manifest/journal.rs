//! What runs did to the replica, entry by entry: the newest operations, so that a question like "who deleted
//! this, and when" needs no log.
//!
//! Its size is bounded three times: a run writes at most [`PER_RUN`] operations (a job's first, which makes
//! everything, [`FIRST_RUN`]), and in all the newest [`KEPT`] stay. The log has every one.

use super::entries;
use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use super::schema;
use crate::model::operation::End;
use crate::model::{Digest, Done, EntryPath, Timestamp};
use rusqlite::{Connection, params};
use std::cell::{Cell, RefCell};

/// Operations of one run.
const PER_RUN: u64 = 10_000;

/// Operations of a job's first run.
const FIRST_RUN: u64 = 1_000;

/// Operations of all runs.
const KEPT: i64 = 100_000;

/// One operation that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// The number of the run.
    pub run: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The operation's name: see [`Verb::name`](crate::model::Verb::name).
    pub verb: String,
    /// The entry.
    pub path: EntryPath,
    /// Its former path where it was moved; another name of its inode where it was linked.
    pub from: Option<EntryPath>,
    /// Bytes copied.
    pub bytes: u64,
    /// The MD5 of its content, where it is known.
    pub digest: Option<Digest>,
}

/// What waits to be written, and how much more this run may write.
#[derive(Debug, Default)]
pub(super) struct Jottings {
    rows: RefCell<Vec<JournalRow>>,
    run: Cell<i64>,
    left: Cell<u64>,
}

impl Manifest {
    /// What follows is done by `run`.
    pub(super) fn open_journal(&self, run: i64) -> Result<(), ManifestError> {
        let first = !entries::any(&self.connection, &self.path)?;
        self.jottings.run.set(run);
        self.jottings.left.set(if first { FIRST_RUN } else { PER_RUN });
        Ok(())
    }

    /// Notes what was done, to be written with the rows that follow from it.
    pub fn jot(&self, dones: &[Done], now: Timestamp) {
        let mut rows = self.jottings.rows.borrow_mut();
        for done in dones.iter().filter(|done| matches!(done.end, End::Made(_)) && !done.silent) {
            let Some(left) = self.jottings.left.get().checked_sub(1) else { return };
            self.jottings.left.set(left);
            rows.push(JournalRow {
                run: self.jottings.run.get(),
                at: now,
                verb: done.verb.name().to_owned(),
                path: done.path.clone(),
                from: done.from.clone(),
                bytes: done.bytes,
                digest: done.digest,
            });
        }
    }

    /// Writes what was noted; the caller has the transaction.
    pub(super) fn write_journal(&self, connection: &Connection) -> Result<(), ManifestError> {
        let rows = self.jottings.rows.take();
        if rows.is_empty() {
            return Ok(());
        }
        let failed = || sqlite("write to", &self.path);
        let sql = "INSERT INTO journal (run, at, verb, path, origin, bytes, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let mut put = connection.prepare_cached(sql).map_err(failed())?;
        for row in rows {
            let values = params![
                row.run,
                row.at.as_nanos(),
                row.verb,
                row.path.as_bytes(),
                row.from.as_ref().map(EntryPath::as_bytes),
                row.bytes.cast_signed(),
                row.digest.as_ref().map(|digest| digest.0.as_slice()),
            ];
            put.execute(values).map_err(failed())?;
        }
        Ok(())
    }

    /// Lets the oldest go.
    pub(super) fn trim_journal(&self, connection: &Connection) -> Result<(), ManifestError> {
        connection
            .execute("DELETE FROM journal WHERE id <= (SELECT max(id) FROM journal) - ?1", [KEPT])
            .map(drop)
            .map_err(sqlite("write to", &self.path))
    }
}

impl Reader {
    /// What was done since `since`, oldest first; nothing in an older manifest that no run has upgraded yet.
    pub fn journal(&self, since: Option<Timestamp>) -> Result<Vec<JournalRow>, ManifestError> {
        let failed = || sqlite("read", &self.path);
        if schema::version(&self.connection, &self.path)? < schema::JOURNAL {
            return Ok(Vec::new());
        }
        let sql = "SELECT run, at, verb, path, origin, bytes, digest FROM journal WHERE at >= ?1 ORDER BY id";
        let mut query = self.connection.prepare(sql).map_err(failed())?;
        let since = since.map_or(i64::MIN, Timestamp::as_nanos);
        let rows = query
            .query_map([since], |row| {
                let digest = row.get::<_, Option<Vec<u8>>>(6)?;
                Ok(JournalRow {
                    run: row.get(0)?,
                    at: Timestamp::from_nanos(row.get(1)?),
                    verb: row.get(2)?,
                    path: EntryPath::from_bytes(row.get::<_, Vec<u8>>(3)?),
                    from: row.get::<_, Option<Vec<u8>>>(4)?.map(EntryPath::from_bytes),
                    bytes: row.get::<_, i64>(5)?.cast_unsigned(),
                    digest: digest.and_then(|bytes| bytes.try_into().ok()).map(Digest),
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}
