//! Held deletes: the plan that the last complete run left, and its approval.
//!
//! A plan keeps the number of the run that held it first for as long as the same deletes are held, so
//! that what a person read in `status` is what `approve` lets go, however many runs a daemon made since.
//!
//! # Locking
//! A run writes the plan with the job's lock held. An approval is one statement on one row and needs
//! no lock: where a run replaces the plan meanwhile, the row is not there any more, and nothing is approved.

use super::entries::wrong;
use super::error::{ManifestError, sqlite};
use super::open::{JobRoots, Manifest, beside_a_run};
use super::schema;
use crate::model::{EntryPath, Fingerprint, HeldOperation, HeldPlan, Kind, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use std::path::Path;

/// Deletes that are held, at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// The plan's number: the run that held them first.
    pub run: i64,
    /// Why.
    pub reason: String,
    /// How many deletes.
    pub deletes: u64,
    /// How many overwrites, in a first run.
    pub overwrites: u64,
    /// When somebody let them go ahead on the next run.
    pub approved: Option<Timestamp>,
}

/// What a run leaves held that saw both trees to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding<'h> {
    /// The very deletes of the plan that is stored.
    Same,
    /// These, in path order, in place of what was stored; maybe none.
    Anew(&'h [HeldOperation]),
}

/// What came of an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// The plan goes ahead on the next run.
    Given(HeldRow),
    /// It had been approved before.
    Again(HeldRow),
    /// No deletes are held.
    NothingHeld,
    /// The plan that is held has another number.
    OtherHeld(HeldRow),
    /// An older program held them, without the figures that a release is checked against.
    Outdated,
}

/// Approves the plan held by `run` (or whichever is held) in the manifest at `path`. Needs no lock.
pub fn approve(
    path: &Path,
    roots: &JobRoots,
    run: Option<i64>,
    now: Timestamp,
) -> Result<Approval, ManifestError> {
    const ACTION: &str = "approve deletes in";
    let failed = || sqlite(ACTION, path);
    let connection = beside_a_run(path, roots, ACTION)?;
    let Some(held) = glance(&connection, path)? else { return Ok(Approval::NothingHeld) };
    if schema::version(&connection, path)? < schema::GATES {
        return Ok(Approval::Outdated);
    }
    if run.is_some_and(|run| run != held.run) {
        return Ok(Approval::OtherHeld(held));
    }
    if held.approved.is_some() {
        return Ok(Approval::Again(held));
    }
    let sql = "UPDATE held SET approved = ?2 WHERE run = ?1 AND approved IS NULL";
    match connection.execute(sql, params![held.run, now.as_nanos()]).map_err(failed())? {
        // A run replaced the plan between the two statements.
        0 => Ok(glance(&connection, path)?.map_or(Approval::NothingHeld, |held| {
            if held.approved.is_some() { Approval::Again(held) } else { Approval::OtherHeld(held) }
        })),
        _ => Ok(Approval::Given(HeldRow { approved: Some(now), ..held })),
    }
}

/// The held deletes as `status` shows them.
pub(super) fn glance(connection: &Connection, file: &Path) -> Result<Option<HeldRow>, ManifestError> {
    let failed = || sqlite("read", file);
    let approved = if schema::version(connection, file)? < schema::GATES { "NULL" } else { "approved" };
    let overwrites =
        if schema::version(connection, file)? < schema::ADOPTION { "0" } else { "sum(d.overwrites)" };
    let sql = format!(
        "SELECT run, reason, (SELECT count(*) FROM held_deletes d WHERE d.run = held.run), {approved}, \
         (SELECT {overwrites} FROM held_deletes d WHERE d.run = held.run) FROM held ORDER BY run DESC"
    );
    let mut query = connection.prepare(&sql).map_err(failed())?;
    let mut rows = query
        .query_map([], |row| {
            let operations = row.get::<_, i64>(2)?.cast_unsigned();
            let overwrites = row.get::<_, Option<i64>>(4)?.unwrap_or_default().cast_unsigned();
            Ok(HeldRow {
                run: row.get(0)?,
                reason: row.get(1)?,
                deletes: operations.saturating_sub(overwrites),
                overwrites,
                approved: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_nanos),
            })
        })
        .map_err(failed())?;
    rows.next().transpose().map_err(failed())
}

/// The held plan with all its deletes.
pub(super) fn plan(connection: &Connection, file: &Path) -> Result<Option<HeldPlan>, ManifestError> {
    if schema::version(connection, file)? < schema::GATES {
        return Ok(None);
    }
    let Some(HeldRow { run, approved, .. }) = glance(connection, file)? else { return Ok(None) };
    let failed = || sqlite("read", file);
    let overwrites = if schema::version(connection, file)? < schema::ADOPTION { "0" } else { "overwrites" };
    let sql = format!(
        "SELECT path, kind, mode, size, mtime, mtime_ns, ctime, inode, {overwrites} FROM held_deletes \
         WHERE run = ?1 ORDER BY path"
    );
    let mut query = connection.prepare(&sql).map_err(failed())?;
    let rows = query.query_map([run], decode).map_err(failed())?;
    let operations = rows.collect::<Result<_, _>>().map_err(failed())?;
    Ok(Some(HeldPlan { run, approved, operations }))
}

fn decode(row: &Row<'_>) -> rusqlite::Result<HeldOperation> {
    Ok(HeldOperation {
        path: EntryPath::from_bytes(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?),
        overwrites: row.get(8)?,
        replica: Fingerprint {
            kind: Kind::from_code(row.get(1)?).ok_or_else(|| wrong(1, Type::Integer, "unknown kind"))?,
            mode: row.get(2)?,
            size: row.get::<_, i64>(3)?.cast_unsigned(),
            mtime: Timestamp::new(row.get(4)?, row.get(5)?),
            ctime: Timestamp::from_nanos(row.get(6)?),
            inode: row.get::<_, i64>(7)?.cast_unsigned(),
        },
    })
}

/// Writes what run `id` holds; the caller has the transaction. Returns the number of a plan that had
/// been approved and is not held any more.
pub(super) fn write(
    connection: &Connection,
    id: i64,
    reason: &str,
    holding: Holding<'_>,
) -> rusqlite::Result<Option<i64>> {
    let Holding::Anew(operations) = holding else { return Ok(None) };
    let dropped = connection
        .prepare("SELECT run FROM held WHERE approved IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .next()
        .transpose()?;
    connection.execute("DELETE FROM held", [])?;
    connection.execute("DELETE FROM held_deletes", [])?;
    if operations.is_empty() {
        return Ok(dropped);
    }
    connection.execute("INSERT INTO held (run, reason) VALUES (?1, ?2)", params![id, reason])?;
    let mut put = connection.prepare_cached(
        "INSERT INTO held_deletes (run, path, kind, mode, size, mtime, mtime_ns, ctime, inode, overwrites) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for HeldOperation { path, overwrites, replica } in operations {
        put.execute(params![
            id,
            path.as_bytes(),
            replica.kind.code(),
            replica.mode,
            replica.size.cast_signed(),
            replica.mtime.seconds,
            replica.mtime.nanos,
            replica.ctime.as_nanos(),
            replica.inode.cast_signed(),
            overwrites,
        ])?;
    }
    Ok(dropped)
}

impl HeldRow {
    /// Returns what is held in words: `12 deletes`, `3 overwrites`, `12 deletes and 3 overwrites`.
    pub fn counts(&self) -> String {
        match (self.deletes, self.overwrites) {
            (deletes, 0) => format!("{deletes} deletes"),
            (0, overwrites) => format!("{overwrites} overwrites"),
            (deletes, overwrites) => format!("{deletes} deletes and {overwrites} overwrites"),
        }
    }
}

impl Manifest {
    /// The deletes that are held, with what it takes to know them again.
    pub fn held_plan(&self) -> Result<Option<HeldPlan>, ManifestError> {
        plan(&self.connection, &self.path)
    }
}
