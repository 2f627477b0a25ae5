//! Which name of an inode came first while a first run goes on: in a database of its own beside the manifest,
//! for the time of the run. There may be millions, and nobody needs them afterwards.

use super::entries::{self, COLUMNS, decode};
use super::error::{ManifestError, sqlite};
use super::file::{self, beside};
use super::open::Manifest;
use crate::model::{EntryPath, Record};
use rusqlite::params;

/// What is added to the manifest's name. It has this name for a moment only: with the name gone the file goes when it
/// is closed, however the program ends.
const SUFFIX: &str = "-names";

/// Its pages that are kept in memory, in KiB.
const CACHE_KIB: i64 = 1024;

const SET_UP: &str = "CREATE TABLE scratch.first_names (
    inode  INTEGER NOT NULL, -- of the source
    device INTEGER NOT NULL,
    path   BLOB    NOT NULL,
    PRIMARY KEY (inode, device)
) STRICT, WITHOUT ROWID";

impl Manifest {
    /// Notes under which path an inode of the source, given with its device, is in the replica.
    pub fn note_first_name(
        &self,
        (device, inode): (u64, u64),
        path: &EntryPath,
    ) -> Result<(), ManifestError> {
        self.open_scratch()?;
        let failed = || sqlite("note the names of a hard-linked file beside", &self.path);
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO scratch.first_names (inode, device, path) VALUES (?1, ?2, ?3)",
            )
            .and_then(|mut insert| {
                insert.execute(params![inode.cast_signed(), device.cast_signed(), path.as_bytes()])
            })
            .map(drop)
            .map_err(failed())
    }

    /// The row of the path that was noted for this inode of the source.
    pub fn first_name(&self, (device, inode): (u64, u64)) -> Result<Option<Record>, ManifestError> {
        if !self.has_scratch.get() {
            return Ok(None);
        }
        let failed = || sqlite("read the names of a hard-linked file beside", &self.path);
        let mut query = self
            .connection
            .prepare_cached("SELECT path FROM scratch.first_names WHERE inode = ?1 AND device = ?2")
            .map_err(failed())?;
        let mut paths = query
            .query_map([inode.cast_signed(), device.cast_signed()], |row| row.get::<_, Vec<u8>>(0))
            .map_err(failed())?;
        let Some(path) = paths.next().transpose().map_err(failed())? else { return Ok(None) };
        let path = EntryPath::from_bytes(path);
        // Written as a rule: what waits to be is not to be written sooner for each name that asks.
        match entries::find(&self.connection, &self.path, &path)? {
            Some(row) => Ok(Some(row)),
            None => self.find(&path),
        }
    }

    /// Rows of inodes that were noted, in path order: at most `count`, of paths behind `after`.
    pub fn rows_of_first_names(
        &self,
        after: Option<&EntryPath>,
        count: usize,
    ) -> Result<Vec<Record>, ManifestError> {
        if !self.has_scratch.get() {
            return Ok(Vec::new());
        }
        self.flush()?;
        let failed = || sqlite("read", &self.path);
        let sql = format!(
            "SELECT {COLUMNS} FROM entries WHERE path > ?1 AND kind <> 1 AND inode IN \
             (SELECT inode FROM scratch.first_names) ORDER BY path LIMIT {count}"
        );
        let mut query = self.connection.prepare_cached(&sql).map_err(failed())?;
        // The root is a folder: nothing is missed behind it.
        let after = after.map_or(&[] as &[u8], EntryPath::as_bytes);
        let rows = query.query_map([after], decode).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    fn open_scratch(&self) -> Result<(), ManifestError> {
        if self.has_scratch.get() {
            return Ok(());
        }
        let path = beside(&self.path, SUFFIX);
        file::create_empty(&path)?;
        let failed = || sqlite("open a file for the names of hard-linked files beside", &self.path);
        let connection = &self.connection;
        let attached =
            connection.execute("ATTACH DATABASE ?1 AS scratch", [path.as_os_str().as_encoded_bytes()]);
        attached.map_err(failed())?;
        for (name, value) in [("journal_mode", "off"), ("synchronous", "off"), ("locking_mode", "exclusive")]
        {
            connection.pragma_update(Some("scratch"), name, value).map_err(failed())?;
        }
        connection.pragma_update(Some("scratch"), "cache_size", -CACHE_KIB).map_err(failed())?;
        connection.execute_batch(SET_UP).map_err(failed())?;
        file::remove(&path)?;
        self.has_scratch.set(true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::tests::{Fixture, plain};
    use crate::model::{Change, EntryPath, Fingerprint, Record};

    fn row(path: &str, inode: u64) -> Record {
        let row = plain(path);
        Record { source: Fingerprint { inode, ..row.source }, ..row }
    }

    #[test]
    fn a_first_name_is_told_with_its_row_written_or_not() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        assert_eq!(manifest.first_name((1, 7)).unwrap(), None);
        manifest.apply(vec![Change::Put(row("a", 7))]).unwrap();
        manifest.apply_soon(vec![Change::Put(row("b", 8))]).unwrap();
        for (inode, path) in [(7, "a"), (8, "b")] {
            manifest.note_first_name((1, inode), &EntryPath::from(path)).unwrap();
            assert_eq!(manifest.first_name((1, inode)).unwrap(), Some(row(path, inode)));
            assert_eq!(manifest.first_name((2, inode)).unwrap(), None, "of another file system");
        }
    }

    #[test]
    fn rows_of_noted_inodes_come_in_pieces_and_no_others() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        assert_eq!(manifest.rows_of_first_names(None, 9).unwrap(), []);
        let rows = [("a", 1), ("b", 2), ("c", 1), ("d", 3), ("e", 2), ("f", 4)];
        manifest.apply_soon(rows.map(|(path, inode)| Change::Put(row(path, inode))).into()).unwrap();
        for inode in [1, 2] {
            manifest.note_first_name((1, inode), &EntryPath::from("a")).unwrap();
        }
        let mut after = None;
        let mut met = Vec::new();
        loop {
            let piece = manifest.rows_of_first_names(after.as_ref(), 3).unwrap();
            let Some(last) = piece.last() else { break };
            after = Some(last.path.clone());
            met.extend(piece.iter().map(|row| row.path.to_string()));
        }
        assert_eq!(met, ["a", "b", "c", "e"]);
    }

    #[test]
    fn the_file_has_no_name_that_a_kill_could_leave() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let before = fixture.names();
        for inode in 0..20_000 {
            manifest
                .note_first_name((1, inode), &EntryPath::from(format!("name-{inode:030}").as_str()))
                .unwrap();
        }
        assert_eq!(fixture.names(), before);
    }
}
