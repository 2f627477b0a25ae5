//! Runs that changed nothing: a line each in a small file beside the manifest.
//!
//! A row in the manifest would cost such a run 45 KB and four syncs, again and again: that keeps a disk awake and wears
//! a memory card. The next run that has anything to write puts these runs into the table with what it writes, and so does one
//! that finds [`KEPT`] of them. Until then the history is read from both.
//!
//! # Durability
//! Nothing is synced: a power cut may cost the newest lines, and with them no more than the memory that nothing had to be done.
//! A line that is torn is no line. Lines are of the manifest that their first line names, and count only while the table has no
//! run of that number or a later one: a kill between the table and the removal of the file counts none twice.

use super::error::{ManifestError, sqlite};
use super::file::{beside, remove_one};
use super::history::{RunFigures, RunKind, RunRow};
use crate::model::Timestamp;
use crate::resolved;
use rusqlite::{Connection, params};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The number of lines at which a run writes them to the manifest, though it has nothing else to write.
pub(super) const KEPT: usize = 250;

/// No file of ours is larger.
const MAX_BYTES: u64 = 1 << 20;

/// A run that found nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdleRun {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Entries in the source.
    pub entries: u64,
    /// Bytes in them.
    pub entry_bytes: u64,
}

impl IdleRun {
    /// The figures of a run that found nothing to do.
    pub(super) fn figures(entries: u64, entry_bytes: u64) -> RunFigures {
        RunFigures { result: "ok".to_owned(), entries, entry_bytes, ..RunFigures::default() }
    }

    fn line(&self) -> String {
        let Self { id, started, ended, entries, entry_bytes } = self;
        format!("run {id} {} {} {entries} {entry_bytes}\n", started.as_nanos(), ended.as_nanos())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.strip_prefix("run ")?.split(' ');
        let run = Self {
            id: words.next()?.parse().ok()?,
            started: Timestamp::from_nanos(words.next()?.parse().ok()?),
            ended: Timestamp::from_nanos(words.next()?.parse().ok()?),
            entries: words.next()?.parse().ok()?,
            entry_bytes: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(run)
    }

    /// The run as the history has it.
    pub(super) fn row(&self) -> RunRow {
        RunRow {
            id: self.id,
            kind: RunKind::Sync.name().to_owned(),
            started: self.started,
            ended: Some(self.ended),
            figures: Self::figures(self.entries, self.entry_bytes),
        }
    }
}

/// The runs that the manifest behind `connection` has no row of yet, oldest first.
pub(super) fn read(connection: &Connection, file: &Path) -> Result<Vec<IdleRun>, ManifestError> {
    let failed = |error| ManifestError::io("read the last runs of", file, error);
    let handle = match resolved::open(&place(file), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    File::from(handle).take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    let Some(lines) = text.strip_prefix(&title(connection, file)?) else { return Ok(Vec::new()) };
    let mut last = connection
        .query_row("SELECT coalesce(max(id), 0) FROM runs", [], |row| row.get(0))
        .map_err(sqlite("read", file))?;
    let mut runs: Vec<IdleRun> = lines.split_inclusive('\n').filter_map(IdleRun::parse).collect();
    runs.retain(|run| {
        let is_later = run.id > last;
        last = last.max(run.id);
        is_later
    });
    Ok(runs)
}

/// Adds a run to those that the manifest has no row of.
pub(super) fn append(connection: &Connection, file: &Path, run: &IdleRun) -> Result<(), ManifestError> {
    let failed = |error| ManifestError::io("note a run of", file, error);
    let title = title(connection, file)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK;
    let handle = resolved::open(&place(file), flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    let mut notes = File::from(handle);
    let mut begins = Vec::new();
    Read::by_ref(&mut notes).take(title.len() as u64).read_to_end(&mut begins).map_err(failed)?;
    if begins == title.as_bytes() {
        return notes.write_all(run.line().as_bytes()).map_err(failed);
    }
    // Of a manifest that was there before this one, or torn.
    notes.set_len(0).and_then(|()| notes.write_all((title + &run.line()).as_bytes())).map_err(failed)
}

/// Writes rows of `runs` into the table; the caller has the transaction.
pub(super) fn write(connection: &Connection, runs: &[IdleRun]) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO runs (id, kind, started, ended, result, exit_code, entries, entry_bytes) \
         VALUES (?1, ?2, ?3, ?4, 'ok', 0, ?5, ?6)",
    )?;
    for run in runs {
        put.execute(params![
            run.id,
            RunKind::Sync.name(),
            run.started.as_nanos(),
            run.ended.as_nanos(),
            run.entries.cast_signed(),
            run.entry_bytes.cast_signed(),
        ])?;
    }
    Ok(())
}

/// Removes the file when its runs are in the table. Where that fails the lines count no more all the same.
pub(super) fn clear(file: &Path) {
    let _ = remove_one(&place(file));
}

fn place(file: &Path) -> PathBuf {
    beside(file, ".idle")
}

/// The first line: it names the manifest by the moment when it was made.
fn title(connection: &Connection, file: &Path) -> Result<String, ManifestError> {
    let created: i64 = connection
        .query_row("SELECT created FROM job", [], |row| row.get(0))
        .map_err(sqlite("read", file))?;
    Ok(format!("idle runs of the twinfold manifest of {created}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_as_it_was_written_and_a_torn_one_does_not() {
        let time = Timestamp::from_nanos;
        let run =
            IdleRun { id: 7, started: time(-1), ended: time(1 << 60), entries: 3, entry_bytes: u64::MAX };
        let line = run.line();
        assert_eq!(IdleRun::parse(&line), Some(run));
        for end in 0..line.len() {
            assert_eq!(IdleRun::parse(&line[..end]), None, "{end}");
        }
        assert_eq!(IdleRun::parse(&line.replace('\n', " 1\n")), None);
        assert_eq!(IdleRun::parse("\0\0\0\n"), None);
    }
}
