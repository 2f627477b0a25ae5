//! What entries of the replica are without. A row of an entry is as true with a loss as without: so the entry is
//! not read again because of it, and what it is without must be remembered here.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use super::schema;
use crate::model::{Done, EntryPath, Loss, Losses, Lost, Timestamp, operation::End};
use rusqlite::{Connection, OptionalExtension, params};
use std::cell::{Cell, RefCell};
use std::path::Path;

/// Losses on their way into the table, to be written together with the rows of their entries.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Each with all that its entry is without now.
    changed: RefCell<Vec<(EntryPath, Vec<Loss>)>>,
    /// When the last of them was met.
    met: Cell<Timestamp>,
    /// Whether the table has any; `None`: nobody has looked yet.
    any: Cell<Option<bool>>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.borrow().is_empty()
    }
}

impl Manifest {
    /// Takes in what became of entries at the moment `now`: what they are without now takes the place of what they were without.
    /// Written with the next rows.
    pub fn note_losses(&self, dones: &[Done], now: Timestamp) -> Result<(), ManifestError> {
        self.losses.met.set(now);
        let known = self.has_losses()?;
        let made = dones.iter().filter(|done| matches!(done.end, End::Made(_)));
        let changed = made.filter(|done| known || !done.losses.is_empty());
        self.losses.changed.borrow_mut().extend(changed.map(|done| (done.path.clone(), done.losses.clone())));
        Ok(())
    }

    /// Whether one of an entry's losses may pass by itself and was not met before: then the next run tries again.
    pub fn is_to_be_tried_again(&self, path: &EntryPath, losses: &[Loss]) -> Result<bool, ManifestError> {
        for loss in losses.iter().filter(|loss| loss.may_pass) {
            let failed = || sqlite("read", &self.path);
            let known = "SELECT EXISTS (SELECT 1 FROM losses WHERE path = ?1 AND lost = ?2)";
            let mut known = self.connection.prepare_cached(known).map_err(failed())?;
            let row = params![path.as_bytes(), loss.lost.name()];
            if !known.query_row(row, |row| row.get::<_, bool>(0)).map_err(failed())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes in that an entry was found to be without nothing.
    pub fn note_whole(&self, path: &EntryPath) -> Result<(), ManifestError> {
        if self.has_losses()? {
            self.losses.changed.borrow_mut().push((path.clone(), Vec::new()));
        }
        Ok(())
    }

    /// Forgets all losses and doubts the rows of their entries, so that all is tried again: another file system may
    /// hold what this one did not.
    pub fn retry_losses(&self) -> Result<(), ManifestError> {
        if !self.has_losses()? {
            return Ok(());
        }
        self.transaction(|connection| {
            let doubt = "UPDATE entries SET racy = 1 WHERE path IN (SELECT path FROM losses)";
            connection.execute(doubt, []).map_err(sqlite("write to", &self.path))?;
            connection.execute("DELETE FROM losses", []).map(drop).map_err(sqlite("write to", &self.path))
        })?;
        self.losses.any.set(Some(false));
        Ok(())
    }

    /// All losses, those of `named` entries one by one and more of one kind together. What is of an entry that has no
    /// row any more is forgotten. The root's are among them where `with_root` says so.
    pub fn losses(&self, named: u64, with_root: bool) -> Result<Vec<Losses>, ManifestError> {
        self.flush()?;
        if !self.has_losses()? {
            return Ok(Vec::new());
        }
        let orphans = "DELETE FROM losses WHERE NOT EXISTS \
                       (SELECT 1 FROM entries WHERE entries.path = losses.path)";
        self.connection.execute(orphans, []).map_err(sqlite("write to", &self.path))?;
        read(&self.connection, &self.path, (named, with_root))
    }

    /// What the replica's root is without that it was not without before `since`.
    pub fn losses_of_root(&self, since: Timestamp) -> Result<Vec<Loss>, ManifestError> {
        if !self.has_losses()? {
            return Ok(Vec::new());
        }
        let failed = || sqlite("read", &self.path);
        let sql = "SELECT lost, cause FROM losses WHERE path = x'' AND since >= ?1 ORDER BY lost";
        let mut query = self.connection.prepare_cached(sql).map_err(failed())?;
        let rows =
            query.query_map([since.as_nanos()], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed())?;
        let rows = rows.collect::<Result<Vec<(String, String)>, _>>().map_err(failed())?;
        Ok(rows
            .into_iter()
            .filter_map(|(lost, cause)| Some(Loss::new(Lost::from_name(&lost)?, &cause)))
            .collect())
    }

    fn has_losses(&self) -> Result<bool, ManifestError> {
        if let Some(any) = self.losses.any.get() {
            return Ok(any);
        }
        let any = self.connection.query_row("SELECT EXISTS (SELECT 1 FROM losses)", [], |row| row.get(0));
        let any = any.map_err(sqlite("read", &self.path))?;
        self.losses.any.set(Some(any));
        Ok(any)
    }

    /// Writes what waits; the caller has the transaction.
    pub(super) fn write_losses(&self, connection: &Connection) -> Result<(), ManifestError> {
        let changed = self.losses.changed.take();
        if changed.is_empty() {
            return Ok(());
        }
        let (failed, now) = (|| sqlite("write to", &self.path), self.losses.met.get());
        let mut known = connection
            .prepare_cached("SELECT since FROM losses WHERE path = ?1 AND lost = ?2")
            .map_err(failed())?;
        let mut clear = connection.prepare_cached("DELETE FROM losses WHERE path = ?1").map_err(failed())?;
        let mut put = connection
            .prepare_cached("INSERT OR REPLACE INTO losses VALUES (?1, ?2, ?3, ?4)")
            .map_err(failed())?;
        for (path, losses) in changed {
            let path = path.as_bytes();
            let mut since = Vec::with_capacity(losses.len());
            for loss in &losses {
                let found = known.query_row(params![path, loss.lost.name()], |row| row.get(0)).optional();
                since.push(found.map_err(failed())?.unwrap_or(now.as_nanos()));
            }
            clear.execute([path]).map_err(failed())?;
            for (loss, since) in losses.iter().zip(since) {
                put.execute(params![path, loss.lost.name(), loss.cause, since]).map_err(failed())?;
                self.losses.any.set(Some(true));
            }
        }
        Ok(())
    }
}

impl Reader {
    /// All losses, as [`Manifest::losses`] has them; none in a manifest that is older than they are.
    pub fn losses(&self, named: u64, with_root: bool) -> Result<Vec<Losses>, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::LOSSES {
            return Ok(Vec::new());
        }
        read(&self.connection, &self.path, (named, with_root))
    }

    /// The number of entries, the root among them, that are without each property.
    pub fn count_losses(&self) -> Result<Vec<(Lost, u64)>, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::LOSSES {
            return Ok(Vec::new());
        }
        let failed = || sqlite("read", &self.path);
        let sql = "SELECT lost, count(*) FROM losses \
                   WHERE EXISTS (SELECT 1 FROM entries WHERE entries.path = losses.path) GROUP BY lost";
        let mut query = self.connection.prepare(sql).map_err(failed())?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed())?;
        let rows = rows.collect::<Result<Vec<(String, i64)>, _>>().map_err(failed())?;
        let known =
            rows.iter().filter_map(|(lost, count)| Some((Lost::from_name(lost)?, count.cast_unsigned())));
        Ok(known.collect())
    }
}

/// Reads all losses, the root's only where asked for, in path order of the first of each kind.
fn read(
    connection: &Connection,
    file: &Path,
    (named, with_root): (u64, bool),
) -> Result<Vec<Losses>, ManifestError> {
    let failed = || sqlite("read", file);
    let kinds = "SELECT lost, cause, count(*), min(path) FROM losses WHERE (path <> x'' OR ?1) \
                 GROUP BY lost, cause ORDER BY min(path), lost";
    let of_kind =
        "SELECT path FROM losses WHERE (path <> x'' OR ?3) AND lost = ?1 AND cause = ?2 ORDER BY path";
    let mut kinds = connection.prepare_cached(kinds).map_err(failed())?;
    let mut of_kind = connection.prepare_cached(of_kind).map_err(failed())?;
    let rows = kinds
        .query_map([with_root], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, Vec<u8>>(3)?)))
        .map_err(failed())?;
    let mut found = Vec::new();
    for row in rows {
        let (lost, cause, count, first): (String, String, i64, Vec<u8>) = row.map_err(failed())?;
        let count = count.cast_unsigned();
        let mut paths = vec![EntryPath::from_bytes(first)];
        if count <= named {
            let all =
                of_kind.query_map(params![lost, cause, with_root], |row| row.get(0)).map_err(failed())?;
            let all = all.map(|path| path.map(|bytes: Vec<u8>| EntryPath::from_bytes(bytes)));
            paths = all.collect::<Result<_, _>>().map_err(failed())?;
        }
        let Some(lost) = Lost::from_name(&lost) else { continue };
        found.push(Losses { loss: Loss::new(lost, &cause), count, paths });
    }
    Ok(found)
}
