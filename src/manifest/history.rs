//! Runs, problems and held deletes: what `status` tells of the past and the present.

use super::error::{ManifestError, sqlite};
use super::held::{self, Holding};
use super::idle::{self, IdleRun};
use super::open::Manifest;
use super::schema;
use crate::model::{EntryPath, PastProblem, Problem, Side, Timestamp};
use rusqlite::{Connection, Row, params};
use std::path::Path;

/// What a run was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Bringing the replica into step.
    Sync,
    /// `rebuild-index`.
    Rebuild,
}

impl RunKind {
    /// The name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            RunKind::Sync => "sync",
            RunKind::Rebuild => "rebuild",
        }
    }
}

/// What a run did, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFigures {
    /// `ok`, `problems`, `held`, `interrupted`, `failed`, `damage` or [`ABSENT`].
    pub result: String,
    /// The exit code it had, or would have had in a daemon.
    pub exit_code: u8,
    /// Entries in the source.
    pub entries: u64,
    /// Bytes in them.
    pub entry_bytes: u64,
    /// Folders, links and special files made.
    pub created: u64,
    /// Files copied.
    pub copied: u64,
    /// Names made further names of an inode.
    pub linked: u64,
    /// Entries renamed; a folder with all in it counts as one.
    pub moved: u64,
    /// Metadata operations.
    pub mended: u64,
    /// Entries deleted.
    pub deleted: u64,
    /// Rows confirmed without a change to the replica.
    pub adopted: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// Entries with problems.
    pub problems: u64,
    /// Deletes held.
    pub held: u64,
    /// Entries that only the replica has and that stayed, with `deletes = "never"`.
    pub kept: u64,
    /// Why deletes were held, or why the run failed.
    pub message: Option<String>,
}

/// One row of the runs table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its number.
    pub id: i64,
    /// `sync` or `rebuild`.
    pub kind: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None`: it is running, or was killed.
    pub ended: Option<Timestamp>,
    /// What it did.
    pub figures: RunFigures,
}

impl RunRow {
    /// Whether it saw both trees to their end.
    pub fn is_complete(&self) -> bool {
        self.ended.is_some() && is_complete(&self.figures.result)
    }

    /// Returns true if it brought both sides into sync.
    pub fn is_good(&self) -> bool {
        self.kind == RunKind::Sync.name() && self.is_complete() && self.figures.exit_code == 0
    }

    /// How long it took, in seconds; `None` while it runs, or where it was killed.
    pub fn took_seconds(&self) -> Option<f64> {
        let nanos = self.ended?.as_nanos().saturating_sub(self.started.as_nanos());
        #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
        let seconds = nanos as f64 / 1e9;
        Some(seconds)
    }
}

/// The result of a run that did not begin because a root was not there that comes and goes.
pub const ABSENT: &str = "absent";

fn is_complete(result: &str) -> bool {
    !matches!(result, "failed" | "interrupted" | ABSENT)
}

/// A run that began and has no row yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingRun {
    id: i64,
    kind: RunKind,
    started: Timestamp,
}

/// So many runs are remembered.
const RUNS_KEPT: i64 = 1000;

impl Manifest {
    /// Begins a run and returns its number. Its row is written with the first thing that the run writes, so that one that
    /// has nothing to write costs no transaction; a run that is killed before that leaves no row.
    pub fn begin_run(&self, kind: RunKind, now: Timestamp) -> Result<i64, ManifestError> {
        let given: i64 = self
            .connection
            .query_row(
                "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0)",
                [],
                |row| row.get(0),
            )
            .map_err(sqlite("read", &self.path))?;
        let idle = idle::read(&self.connection, &self.path)?;
        let id = idle.last().map_or(given, |run| run.id.max(given)) + 1;
        self.pending.set(Some(PendingRun { id, kind, started: now }));
        self.open_journal(id)?;
        Ok(id)
    }

    /// Writes the row of a run that has none yet, after those of the idle runs before it; the caller has the transaction, and
    /// calls [`Manifest::forget_pending_run`] once that is committed, where this returns `true`.
    pub(super) fn write_pending_run(&self, connection: &Connection) -> Result<bool, ManifestError> {
        let Some(PendingRun { id, kind, started }) = self.pending.get() else { return Ok(false) };
        let failed = || sqlite("write to", &self.path);
        idle::write(connection, &idle::read(connection, &self.path)?).map_err(failed())?;
        connection
            .prepare_cached("INSERT INTO runs (id, kind, started) VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| insert.execute(params![id, kind.name(), started.as_nanos()]))
            .map_err(failed())?;
        Ok(true)
    }

    /// The run that began has its row now, and so have the idle ones before it.
    pub(super) fn forget_pending_run(&self) {
        self.pending.set(None);
        idle::clear(&self.path);
    }

    /// Notes run `id` beside the manifest, where nothing was written since it began, its end writes nothing either, and all
    /// that it has to tell is that nothing had to be done. `false`: it needs a row.
    fn note_idle(
        &self,
        id: i64,
        now: Timestamp,
        figures: &RunFigures,
        problems: &[Problem],
        holding: Holding<'_>,
    ) -> Result<bool, ManifestError> {
        self.flush()?;
        let Some(pending) = self.pending.get().filter(|run| run.id == id && run.kind == RunKind::Sync) else {
            return Ok(false);
        };
        let (entries, entry_bytes) = (figures.entries, figures.entry_bytes);
        let is_idle = *figures == IdleRun::figures(entries, entry_bytes)
            && problems.is_empty()
            && matches!(holding, Holding::Anew([]));
        if !is_idle
            || !self.has_nothing_open()?
            || idle::read(&self.connection, &self.path)?.len() >= idle::KEPT
        {
            return Ok(false);
        }
        let run = IdleRun { id, started: pending.started, ended: now, entries, entry_bytes };
        // Where no file can be made beside it, the manifest may still have room.
        let noted = idle::append(&self.connection, &self.path, &run).is_ok();
        if noted {
            self.pending.set(None);
        }
        Ok(noted)
    }

    /// Returns true if no run left problems or held deletes.
    fn has_nothing_open(&self) -> Result<bool, ManifestError> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM problems) AND NOT EXISTS (SELECT 1 FROM held) \
                   AND NOT EXISTS (SELECT 1 FROM held_deletes)";
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(sqlite("read", &self.path))
    }

    /// Notes how run `id` ended, with the problems that are left and the deletes that are held. Returns
    /// the number of a held plan that had been approved and is not stored any more.
    pub fn finish_run(
        &self,
        id: i64,
        now: Timestamp,
        figures: &RunFigures,
        problems: &[Problem],
        holding: Holding<'_>,
    ) -> Result<Option<i64>, ManifestError> {
        if self.note_idle(id, now, figures, problems, holding)? {
            return Ok(None);
        }
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            write_figures(connection, id, now, figures).map_err(failed())?;
            write_problems(connection, id, now, problems).map_err(failed())?;
            self.write_journal(connection)?;
            self.trim_journal(connection)?;
            // A run that did not see both trees to their end knows of no problem's end, and nothing
            // of what may be deleted.
            let mut dropped = None;
            if is_complete(&figures.result) {
                connection.execute("DELETE FROM problems WHERE run <> ?1", [id]).map_err(failed())?;
                let reason = figures.message.as_deref().unwrap_or_default();
                dropped = held::write(connection, id, reason, holding).map_err(failed())?;
            }
            connection.execute("DELETE FROM runs WHERE id <= ?1", [id - RUNS_KEPT]).map_err(failed())?;
            Ok(dropped)
        })
    }

    /// Notes how a rebuild ended, and the problems that it met. It tried to write nothing, so it
    /// can say neither that older problems are gone nor that held deletes are not held any more.
    pub fn finish_rebuild(
        &self,
        id: i64,
        now: Timestamp,
        figures: &RunFigures,
        problems: &[Problem],
    ) -> Result<(), ManifestError> {
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            write_figures(connection, id, now, figures).map_err(failed())?;
            write_problems(connection, id, now, problems).map_err(failed())?;
            connection.execute("DELETE FROM runs WHERE id <= ?1", [id - RUNS_KEPT]).map_err(failed())?;
            Ok(())
        })
    }
}

impl Manifest {
    /// Returns the problems that earlier runs left.
    pub fn problems(&self) -> Result<Vec<PastProblem>, ManifestError> {
        let failed = || sqlite("read", &self.path);
        let mut query =
            self.connection.prepare("SELECT path, side, action, cause FROM problems").map_err(failed())?;
        let rows = query
            .query_map([], |row| {
                Ok(PastProblem {
                    path: EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?),
                    side: side_from_code(row.get(1)?),
                    action: row.get(2)?,
                    cause: row.get(3)?,
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

fn write_figures(
    connection: &Connection,
    id: i64,
    now: Timestamp,
    figures: &RunFigures,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE runs SET ended = ?2, result = ?3, exit_code = ?4, entries = ?5, entry_bytes = ?6, \
         created = ?7, copied = ?8, mended = ?9, deleted = ?10, adopted = ?11, bytes = ?12, \
         problems = ?13, held = ?14, message = ?15, linked = ?16, moved = ?17, kept = ?18 WHERE id = ?1",
        params![
            id,
            now.as_nanos(),
            figures.result,
            figures.exit_code,
            figures.entries.cast_signed(),
            figures.entry_bytes.cast_signed(),
            figures.created.cast_signed(),
            figures.copied.cast_signed(),
            figures.mended.cast_signed(),
            figures.deleted.cast_signed(),
            figures.adopted.cast_signed(),
            figures.bytes.cast_signed(),
            figures.problems.cast_signed(),
            figures.held.cast_signed(),
            figures.message,
            figures.linked.cast_signed(),
            figures.moved.cast_signed(),
            figures.kept.cast_signed(),
        ],
    )?;
    Ok(())
}

fn write_problems(
    connection: &Connection,
    id: i64,
    now: Timestamp,
    problems: &[Problem],
) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO problems (path, side, action, cause, since, run, times) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1) ON CONFLICT (path, side, action) \
         DO UPDATE SET cause = excluded.cause, run = excluded.run, times = times + (run <> excluded.run)",
    )?;
    for problem in problems {
        put.execute(params![
            problem.path.as_bytes(),
            side_code(problem.side),
            problem.action,
            problem.cause,
            now.as_nanos(),
            id
        ])?;
    }
    Ok(())
}

pub(super) fn side_code(side: Side) -> u8 {
    match side {
        Side::Source => 0,
        Side::Replica => 1,
    }
}

pub(super) fn side_from_code(code: u8) -> Side {
    if code == 0 { Side::Source } else { Side::Replica }
}

/// The last `count` runs, newest first.
/// The figures of the last run that saw both trees to their end.
pub(super) fn last_complete(
    connection: &Connection,
    file: &Path,
) -> Result<Option<RunFigures>, ManifestError> {
    const LOOKED_THROUGH: u32 = 20;
    let runs = runs(connection, file, LOOKED_THROUGH)?;
    Ok(runs.into_iter().find(RunRow::is_complete).map(|run| run.figures))
}

pub(super) fn runs(connection: &Connection, file: &Path, count: u32) -> Result<Vec<RunRow>, ManifestError> {
    let failed = || sqlite("read", file);
    // One that is only looked into is not upgraded.
    let version = schema::version(connection, file)?;
    let linked = if version < schema::LINKS { "0" } else { "linked" };
    let moved = if version < schema::MOVES { "0" } else { "moved" };
    let kept = if version < schema::KEPT { "0" } else { "kept" };
    let sql = format!(
        "SELECT id, kind, started, ended, result, exit_code, entries, entry_bytes, created, copied, \
         mended, deleted, adopted, bytes, problems, held, message, {linked}, {moved}, {kept} \
         FROM runs ORDER BY id DESC LIMIT ?1"
    );
    // Those that have no row yet are the newest.
    let mut found: Vec<RunRow> = idle::read(connection, file)?.iter().rev().map(IdleRun::row).collect();
    found.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    let mut query = connection.prepare(&sql).map_err(failed())?;
    let left = i64::from(count) - i64::try_from(found.len()).unwrap_or(0);
    let rows = query.query_map([left], decode_run).map_err(failed())?;
    for row in rows {
        found.push(row.map_err(failed())?);
    }
    Ok(found)
}

fn decode_run(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(RunRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        started: Timestamp::from_nanos(row.get(2)?),
        ended: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_nanos),
        figures: RunFigures {
            result: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            exit_code: row.get::<_, Option<u8>>(5)?.unwrap_or_default(),
            entries: count(6)?,
            entry_bytes: count(7)?,
            created: count(8)?,
            copied: count(9)?,
            mended: count(10)?,
            deleted: count(11)?,
            adopted: count(12)?,
            bytes: count(13)?,
            problems: count(14)?,
            held: count(15)?,
            message: row.get(16)?,
            linked: count(17)?,
            moved: count(18)?,
            kept: count(19)?,
        },
    })
}
