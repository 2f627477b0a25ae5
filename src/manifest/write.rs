//! Rows on their way into the entries table: collected, and written together.
//!
//! A commit costs as much as the writing of many rows, and batches come in by a few dozen rows. So what is
//! handed over with [`Manifest::apply_soon`] waits for more. A kill takes what waits, never more than
//! [`TOGETHER`] rows: the next run finds the entries done and adopts them. The manifest lags, as it may.

use super::entries::COLUMNS;
use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use crate::model::{Change, EntryPath, Record};
use crate::plan::ages::Ages;
use rusqlite::types::ToSql;
use rusqlite::{CachedStatement, Connection, ErrorCode};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

/// So many rows are written at once, however soon they came together.
const TOGETHER: usize = 1024;

/// Rows of one statement: within one, SQLite knows where the last row went, and appends without a search.
const GROUP: usize = 16;

/// Columns of a row.
const VALUES: usize = 16;

/// Changes that wait for others.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    changes: RefCell<Vec<Change>>,
    since: RefCell<Option<Instant>>,
    /// A row was written that was there before.
    rewrites: Cell<bool>,
}

impl Manifest {
    /// So long a change waits for others, as long as somebody calls [`Manifest::apply_soon`].
    pub const PATIENCE: Duration = Duration::from_millis(100);

    /// Writes a batch of changes in one transaction, with those that wait.
    pub fn apply(&self, changes: Vec<Change>) -> Result<(), ManifestError> {
        self.waiting.changes.borrow_mut().extend(changes);
        self.flush()
    }

    /// Takes changes that are written when enough of them are together or the first has waited for
    /// [`Manifest::PATIENCE`], whichever a call like this finds first, so that who waits for more calls it with
    /// none now and then; also before anything else is written or rows are read through this manifest.
    pub fn apply_soon(&self, changes: Vec<Change>) -> Result<(), ManifestError> {
        let waiting = &self.waiting;
        waiting.changes.borrow_mut().extend(changes);
        let count = waiting.changes.borrow().len();
        if count == 0 {
            return Ok(());
        }
        let since = *waiting.since.borrow_mut().get_or_insert_with(Instant::now);
        if count >= TOGETHER || since.elapsed() >= Self::PATIENCE { self.flush() } else { Ok(()) }
    }

    /// When the contents of the rows were verified that were written through this manifest.
    pub fn ages_written(&self) -> Result<Ages, ManifestError> {
        self.flush()?;
        Ok(self.ages.borrow().clone())
    }

    /// Writes what waits, in a transaction of its own.
    pub(super) fn flush(&self) -> Result<(), ManifestError> {
        self.waiting.since.take();
        let mut changes = self.waiting.changes.take();
        if changes.is_empty() && self.losses.is_empty() {
            return Ok(());
        }
        // Batches come in as workers end them; pages that are filled in order are full. Changes of one path
        // stay in their order: the sort is stable.
        changes.sort_by(|one, other| path(one).cmp(path(other)));
        let mut ages = self.ages.borrow_mut();
        for change in &changes {
            if let Change::Put(row) = change {
                ages.note(row);
            }
        }
        drop(ages);
        let failed = || sqlite("write to", &self.path);
        let transaction = self.connection.unchecked_transaction().map_err(failed())?;
        let is_new = self.write_pending_run(&transaction)?;
        write(&transaction, &self.path, changes, &self.waiting.rewrites)?;
        self.write_losses(&transaction)?;
        self.write_journal(&transaction)?;
        transaction.commit().map_err(failed())?;
        if is_new {
            self.forget_pending_run();
        }
        Ok(())
    }
}

fn path(change: &Change) -> &EntryPath {
    match change {
        Change::Put(record) => &record.path,
        Change::Forget(path) | Change::Verified(path, _) => path,
    }
}

/// Writes changes; the caller has the transaction. While nothing `rewrites` what is there, rows go in as new ones.
fn write(
    connection: &Connection,
    file: &Path,
    changes: Vec<Change>,
    rewrites: &Cell<bool>,
) -> Result<(), ManifestError> {
    let failed = || sqlite("write to", file);
    let mut forget = connection.prepare_cached("DELETE FROM entries WHERE path = ?1").map_err(failed())?;
    let mut verify =
        connection.prepare_cached("UPDATE entries SET hashed = ?2 WHERE path = ?1").map_err(failed())?;
    let mut one = connection.prepare_cached(&insert(REPLACE, 1)).map_err(failed())?;
    let mut group = connection.prepare_cached(&insert(REPLACE, GROUP)).map_err(failed())?;
    let mut new = connection.prepare_cached(&insert(NEW, GROUP)).map_err(failed())?;
    let mut puts: Vec<Record> = Vec::with_capacity(GROUP);
    for change in changes {
        match change {
            Change::Put(record) => {
                puts.push(record);
                if puts.len() == GROUP {
                    rewrites.set(rewrites.get() || !put_new(&mut new, &puts).map_err(failed())?);
                    if rewrites.get() {
                        put(&mut group, &puts).map_err(failed())?;
                    }
                    puts.clear();
                }
            }
            Change::Forget(path) => {
                // In their order: the last word on a path counts.
                put_each(&mut one, &puts).map_err(failed())?;
                puts.clear();
                forget.execute([path.as_bytes()]).map_err(failed())?;
            }
            Change::Verified(path, when) => {
                put_each(&mut one, &puts).map_err(failed())?;
                puts.clear();
                verify.execute(rusqlite::params![path.as_bytes(), when.seconds]).map_err(failed())?;
            }
        }
    }
    put_each(&mut one, &puts).map_err(failed())
}

/// How a row is written whose path may have one.
const REPLACE: &str = "REPLACE";

/// And how where it has none. If one has, the statement ends there and leaves the rows before it: it can be undone with
/// its transaction only, so that SQLite need not copy aside what each statement changes, a tenth of its cost.
const NEW: &str = "FAIL";

/// The statement that writes so many rows.
fn insert(how: &str, rows: usize) -> String {
    let row = format!("({})", ["?"; VALUES].join(", "));
    format!("INSERT OR {how} INTO entries ({COLUMNS}) VALUES {}", vec![row; rows].join(", "))
}

/// Writes as many new rows as the statement takes; `false`: one of them is there already, and they are to be written again.
fn put_new(statement: &mut CachedStatement<'_>, records: &[Record]) -> rusqlite::Result<bool> {
    match put(statement, records) {
        Ok(()) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(false),
        Err(error) => Err(error),
    }
}

fn put_each(one: &mut CachedStatement<'_>, records: &[Record]) -> rusqlite::Result<()> {
    records.iter().try_for_each(|record| put(one, std::slice::from_ref(record)))
}

/// Writes as many rows as the statement takes.
fn put(statement: &mut CachedStatement<'_>, records: &[Record]) -> rusqlite::Result<()> {
    for (number, record) in records.iter().enumerate() {
        bind(statement, number * VALUES, record)?;
    }
    statement.raw_execute().map(drop)
}

fn bind(statement: &mut CachedStatement<'_>, before: usize, record: &Record) -> rusqlite::Result<()> {
    let (source, replica) = (&record.source, &record.replica);
    let same_time = source.mtime == replica.mtime;
    let values: [&dyn ToSql; VALUES] = [
        &record.path.as_bytes(),
        &source.kind.code(),
        &source.size.cast_signed(),
        &source.mode,
        &source.mtime.seconds,
        &source.mtime.nanos,
        &source.ctime.as_nanos(),
        &source.inode.cast_signed(),
        &(source.mode != replica.mode).then_some(replica.mode),
        &(!same_time).then_some(replica.mtime.seconds),
        &(!same_time).then_some(replica.mtime.nanos),
        &replica.ctime.as_nanos(),
        &replica.inode.cast_signed(),
        &record.digest.as_ref().map(|digest| digest.0.as_slice()),
        &record.hashed.map(|when| when.seconds),
        &record.racy,
    ];
    for (number, value) in values.into_iter().enumerate() {
        statement.raw_bind_parameter(before + number + 1, value)?;
    }
    Ok(())
}
