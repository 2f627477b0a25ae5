//! Entries whose deletes wait for the next run, and the folders by which is found out where they may be.

use super::entries::{COLUMNS, decode};
use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use crate::model::{EntryPath, Record};
use std::collections::BTreeSet;

/// Rows of folders read at a time: no read transaction is held while their folders are looked up.
const PIECE: usize = 1024;

impl Manifest {
    /// The entries that the last run missed in the source, and whose replica it left.
    pub fn awaited(&self) -> Result<BTreeSet<EntryPath>, ManifestError> {
        let failed = || sqlite("read", &self.path);
        let mut query = self.connection.prepare_cached("SELECT path FROM awaited").map_err(failed())?;
        let rows = query.query_map([], |row| Ok(EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?)));
        rows.map_err(failed())?.collect::<Result<_, _>>().map_err(failed())
    }

    /// Puts `paths` in the place of those.
    pub fn note_awaited(&self, paths: &BTreeSet<EntryPath>) -> Result<(), ManifestError> {
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            connection.execute("DELETE FROM awaited", []).map_err(failed())?;
            let mut put = connection.prepare("INSERT INTO awaited (path) VALUES (?1)").map_err(failed())?;
            for path in paths {
                put.execute([path.as_bytes()]).map_err(failed())?;
            }
            Ok(())
        })
    }

    /// Shows the rows of all folders to `each`, in the order of their inodes; no others are read.
    pub fn for_each_folder<E: From<ManifestError>>(
        &self,
        mut each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        self.flush()?;
        let failed = || sqlite("read", &self.path);
        // The partial index over folders has the order.
        let sql = format!(
            "SELECT {COLUMNS} FROM entries INDEXED BY folders_by_inode WHERE kind = 1 AND (inode, path) > (?1, ?2) \
             ORDER BY inode, path LIMIT {PIECE}"
        );
        let mut last = (i64::MIN, Vec::new());
        loop {
            let mut query = self.connection.prepare_cached(&sql).map_err(failed())?;
            let rows = query.query_map(rusqlite::params![last.0, last.1], decode).map_err(failed())?;
            let piece: Vec<Record> = rows.collect::<Result<_, _>>().map_err(failed())?;
            drop(query);
            let Some(end) = piece.last() else { return Ok(()) };
            last = (end.source.inode.cast_signed(), end.path.as_bytes().to_vec());
            let is_last = piece.len() < PIECE;
            piece.into_iter().try_for_each(&mut each)?;
            if is_last {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, plain};
    use super::*;
    use crate::model::{Change, Fingerprint, Kind};

    #[test]
    fn what_waits_is_remembered_until_other_entries_do() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        assert!(manifest.awaited().unwrap().is_empty());
        for paths in [vec!["a", "b/c"], vec!["b/c"], vec![]] {
            let paths = paths.into_iter().map(EntryPath::from).collect();
            manifest.note_awaited(&paths).unwrap();
            assert_eq!(manifest.awaited().unwrap(), paths);
        }
    }

    #[test]
    fn all_folders_come_once_and_nothing_else_does() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let row = |path: &str, kind: Kind, inode: u64| {
            let source = Fingerprint { kind, inode, ..plain(path).source };
            Change::Put(Record { source, replica: source, ..plain(path) })
        };
        // Pieces end within rows of one inode, too.
        let folders = 2 * PIECE + 10;
        let mut rows: Vec<Change> = (0..folders)
            .map(|number| row(&format!("{number:05}/"), Kind::Folder, u64::MAX - (number / 700) as u64))
            .collect();
        rows.push(row("", Kind::Folder, 2));
        rows.push(row("file", Kind::File, 7));
        manifest.apply(rows).unwrap();
        let mut found = Vec::new();
        let each = |row: Record| -> Result<(), ManifestError> {
            found.push(row.path);
            Ok(())
        };
        manifest.for_each_folder(each).unwrap();
        found.sort();
        let mut wanted: Vec<EntryPath> =
            (0..folders).map(|number| EntryPath::from(format!("{number:05}/").as_str())).collect();
        wanted.insert(0, EntryPath::root());
        assert_eq!(found, wanted);
    }
}
