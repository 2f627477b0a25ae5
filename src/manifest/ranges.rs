//! The rows of a whole folder get another prefix: its entry was renamed, or exchanged with another.
//!
//! Rows are moved in pieces, each an `INSERT ... SELECT` and a `DELETE` of one key range, all in one
//! transaction: SQLite holds aside what a statement both reads and writes, and a piece is little of that.

use super::entries::COLUMNS;
use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use crate::model::EntryPath;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// Rows moved by one statement.
const PIECE: usize = 2048;

/// A prefix under which no entry lies, since no path begins with `/`. Rows wait there within a transaction.
const NOWHERE: &[u8] = b"/";

/// What becomes of the rows of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Those at and below the first get the second as their prefix, in the place of any that have it; one may
    /// lie in the other.
    Move(EntryPath, EntryPath),
    /// Those at and below one and the other exchange their prefixes.
    Swap(EntryPath, EntryPath),
}

impl Manifest {
    /// Has rows follow their folders, one shift after the other, and the remembered mounts of the source
    /// likewise, all in one transaction.
    ///
    /// # Errors
    /// Where one of two paths is no folder or is the root, or lies in the one that it is exchanged with,
    /// nothing is changed.
    pub fn relocate(&self, shifts: &[Shift]) -> Result<(), ManifestError> {
        self.transaction(|connection| {
            if any_within(connection, &self.path, NOWHERE)? {
                let cause = "it has rows of paths that begin with a slash".to_owned();
                return Err(ManifestError::damaged(&self.path, cause));
            }
            shifts.iter().try_for_each(|shift| self.shift(connection, shift))
        })
    }

    fn shift(&self, connection: &Connection, shift: &Shift) -> Result<(), ManifestError> {
        let rename = |from: &[u8], to: &[u8]| rename(connection, &self.path, from, to);
        match shift {
            Shift::Move(from, to) => {
                self.check_folders(from, to)?;
                if from == to {
                    return Ok(());
                }
                if nested(from, to) {
                    rename(from.as_bytes(), NOWHERE)?;
                    forget(connection, &self.path, to.as_bytes())?;
                    return rename(NOWHERE, to.as_bytes());
                }
                forget(connection, &self.path, to.as_bytes())?;
                rename(from.as_bytes(), to.as_bytes())
            }
            Shift::Swap(one, other) => {
                self.check_folders(one, other)?;
                if one == other || nested(one, other) {
                    return Err(self.refused(one, other, "one lies in the other"));
                }
                rename(one.as_bytes(), NOWHERE)?;
                rename(other.as_bytes(), one.as_bytes())?;
                rename(NOWHERE, other.as_bytes())
            }
        }
    }

    /// That both are folders, and none of them the root.
    fn check_folders(&self, from: &EntryPath, to: &EntryPath) -> Result<(), ManifestError> {
        let fits = |path: &EntryPath| path.is_folder() && !path.is_root();
        if fits(from) && fits(to) {
            return Ok(());
        }
        Err(self.refused(from, to, "both must be folders below the root"))
    }

    fn refused(&self, from: &EntryPath, to: &EntryPath, cause: &'static str) -> ManifestError {
        ManifestError::Range { path: self.path.clone(), from: from.clone(), to: to.clone(), cause }
    }
}

fn nested(one: &EntryPath, other: &EntryPath) -> bool {
    one.is_below(other) || other.is_below(one)
}

/// The first key after all that begin with `prefix`, which ends in `/`: that byte plus one is `0`.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn any_within(connection: &Connection, file: &Path, prefix: &[u8]) -> Result<bool, ManifestError> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE path >= ?1 AND path < ?2)")
        .and_then(|mut query| query.query_row(params![prefix, end_of(prefix)], |row| row.get(0)))
        .map_err(sqlite("read", file))
}

/// Forgets the rows at and below a folder: nothing of them is there any more.
fn forget(connection: &Connection, file: &Path, prefix: &[u8]) -> Result<(), ManifestError> {
    connection
        .prepare_cached("DELETE FROM entries WHERE path >= ?1 AND path < ?2")
        .and_then(|mut delete| delete.execute(params![prefix, end_of(prefix)]))
        .map(drop)
        .map_err(sqlite("write to", file))
}

/// Puts `to` in the place of the prefix `from`; the caller has the transaction, and knows that no row
/// begins with `to`.
fn rename(connection: &Connection, file: &Path, from: &[u8], to: &[u8]) -> Result<(), ManifestError> {
    rename_rows(connection, from, to)
        .and_then(|()| rename_mounts(connection, from, to))
        .and_then(|()| rename_losses(connection, from, to))
        .map_err(sqlite("write to", file))
}

fn rename_rows(connection: &Connection, from: &[u8], to: &[u8]) -> rusqlite::Result<()> {
    let figures = COLUMNS.strip_prefix("path, ").unwrap_or(COLUMNS);
    // `||` makes text of its bytes, whatever they are; the cast takes them back unchanged.
    let insert = format!(
        "INSERT INTO entries ({COLUMNS}) SELECT CAST(?1 || substr(path, ?2) AS BLOB), {figures} \
         FROM entries WHERE path >= ?3 AND path < ?4"
    );
    let mut edge = connection.prepare_cached(&format!(
        "SELECT path FROM entries WHERE path >= ?1 AND path < ?2 ORDER BY path LIMIT 1 OFFSET {PIECE}"
    ))?;
    let mut insert = connection.prepare_cached(&insert)?;
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE path >= ?1 AND path < ?2")?;
    let (rest, end) = (rest_at(from), end_of(from));
    loop {
        // What was moved is deleted, so that the next piece begins where this one did.
        let next: Option<Vec<u8>> = edge.query_row(params![from, end], |row| row.get(0)).optional()?;
        let until = next.as_ref().unwrap_or(&end);
        insert.execute(params![to, rest, from, until])?;
        delete.execute(params![from, until])?;
        if next.is_none() {
            return Ok(());
        }
    }
}

fn rename_mounts(connection: &Connection, from: &[u8], to: &[u8]) -> rusqlite::Result<()> {
    let end = end_of(from);
    // A mount that is remembered at the new place already is the same fact.
    connection.execute(
        "INSERT OR IGNORE INTO source_mounts (path) \
         SELECT CAST(?1 || substr(path, ?2) AS BLOB) FROM source_mounts WHERE path >= ?3 AND path < ?4",
        params![to, rest_at(from), from, end],
    )?;
    connection.execute("DELETE FROM source_mounts WHERE path >= ?1 AND path < ?2", params![from, end])?;
    Ok(())
}

fn rename_losses(connection: &Connection, from: &[u8], to: &[u8]) -> rusqlite::Result<()> {
    let sql = "UPDATE OR REPLACE losses SET path = CAST(?1 || substr(path, ?2) AS BLOB) \
               WHERE path >= ?3 AND path < ?4";
    connection.execute(sql, params![to, rest_at(from), from, end_of(from)]).map(drop)
}

/// Where, for SQL, that begins which follows a prefix.
fn rest_at(prefix: &[u8]) -> i64 {
    // A slice has at most isize::MAX bytes.
    prefix.len().cast_signed() as i64 + 1
}
