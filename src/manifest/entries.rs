//! The rows of the entries table, read in path order in key-range pieces.

use super::error::{ManifestError, sqlite};
use super::schema;
use crate::model::{Digest, EntryPath, Fingerprint, Kind, Record, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use std::path::Path;

pub(super) const COLUMNS: &str = "path, kind, size, mode, mtime, mtime_ns, ctime, inode, replica_mode, \
     replica_mtime, replica_mtime_ns, replica_ctime, replica_inode, md5, hashed, racy";

/// Rows read at a time: enough to make the query's own cost small, little enough to stay in a processor's cache.
const PIECE: usize = 256;

/// Which rows to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// All of them.
    All,
    /// This path and, where it is a folder, all below it.
    Under(EntryPath),
    /// Files that were verified before this moment, in seconds since 1970.
    VerifiedBefore(i64),
}

/// The rows in path order. Each piece is a query of its own, so that no read transaction is held
/// between two of them and the same connection may write meanwhile.
pub struct Rows<'a> {
    connection: &'a Connection,
    file: &'a Path,
    bounds: Bounds,
    /// Where the next piece begins; `None` at the end.
    next: Option<From>,
    piece: std::vec::IntoIter<Record>,
    /// What kept rows that were handed over before from being there to be read; said first.
    failed: Option<ManifestError>,
}

enum From {
    At(EntryPath),
    After(EntryPath),
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        file: &'a Path,
        bounds: Bounds,
        failed: Option<ManifestError>,
    ) -> Self {
        let first = match &bounds {
            Bounds::All | Bounds::VerifiedBefore(_) => EntryPath::root(),
            Bounds::Under(path) => path.clone(),
        };
        Self { connection, file, bounds, next: Some(From::At(first)), piece: Vec::new().into_iter(), failed }
    }

    fn fetch(&self, from: &From) -> Result<Vec<Record>, ManifestError> {
        let (end, which) = match &self.bounds {
            Bounds::All => (None, String::new()),
            Bounds::Under(path) => (end_of(path), String::new()),
            Bounds::VerifiedBefore(moment) => (None, format!("AND kind = 0 AND hashed < {moment} ")),
        };
        read(self.connection, self.file, from, end.as_deref(), (&which, PIECE))
    }

    fn step(&mut self) -> Result<Option<Record>, ManifestError> {
        if let Some(error) = self.failed.take() {
            self.next = None;
            return Err(error);
        }
        if self.piece.as_slice().is_empty()
            && let Some(from) = self.next.take()
        {
            let piece = self.fetch(&from)?;
            if piece.len() == PIECE {
                self.next = piece.last().map(|record| From::After(record.path.clone()));
            }
            self.piece = piece.into_iter();
        }
        Ok(self.piece.next())
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Record, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// The first key after a path and, where it is a folder, all below it; `None`: there is no end.
fn end_of(path: &EntryPath) -> Option<Vec<u8>> {
    if path.is_root() {
        return None;
    }
    let (mut end, after) = if path.is_folder() {
        (path.trimmed().to_vec(), b'/' + 1)
    } else {
        // Nothing sorts between a name and the same with the least byte added.
        (path.as_bytes().to_vec(), 0)
    };
    end.push(after);
    Some(end)
}

/// At most `count` rows before `end`, in path order.
fn read(
    connection: &Connection,
    file: &Path,
    from: &From,
    end: Option<&[u8]>,
    (which, count): (&str, usize),
) -> Result<Vec<Record>, ManifestError> {
    let (comparison, key) = match from {
        From::At(path) => (">=", path),
        From::After(path) => (">", path),
    };
    // Without an end the statement has no second parameter that could be bound.
    let before = end.map_or("", |_| "AND path < ?2 ");
    let sql = format!(
        "SELECT {COLUMNS} FROM entries WHERE path {comparison} ?1 {before}{which}ORDER BY path LIMIT {count}"
    );
    let failed = || sqlite("read", file);
    let mut query = connection.prepare_cached(&sql).map_err(failed())?;
    let keys = std::iter::once(key.as_bytes()).chain(end);
    let mut rows = query.query(rusqlite::params_from_iter(keys)).map_err(failed())?;
    let mut piece = Vec::with_capacity(count);
    while let Some(row) = rows.next().map_err(failed())? {
        piece.push(decode(row).map_err(failed())?);
    }
    // SQLite does not check the order that it walks in: a flipped bit in a key shows here first.
    let begins_well = piece.first().is_none_or(|first| match from {
        From::At(path) => first.path >= *path,
        From::After(path) => first.path > *path,
    });
    if begins_well && piece.is_sorted_by(|one, next| one.path < next.path) {
        return Ok(piece);
    }
    let cause = "its rows are out of order".to_owned();
    Err(ManifestError::damaged(file, cause))
}

/// The first rows below a folder, at most `count`: no others are read.
pub(super) fn first_below(
    connection: &Connection,
    file: &Path,
    folder: &EntryPath,
    count: usize,
) -> Result<Vec<Record>, ManifestError> {
    read(connection, file, &From::After(folder.clone()), end_of(folder).as_deref(), ("", count))
}

/// The row of one path.
pub(super) fn find(
    connection: &Connection,
    file: &Path,
    path: &EntryPath,
) -> Result<Option<Record>, ManifestError> {
    let failed = || sqlite("read", file);
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE path = ?1");
    let mut query = connection.prepare_cached(&sql).map_err(failed())?;
    let mut rows = query.query_map([path.as_bytes()], decode).map_err(failed())?;
    rows.next().transpose().map_err(failed())
}

/// The paths of the folders that had this inode in the source, in path order.
pub(super) fn folders_of(
    connection: &Connection,
    file: &Path,
    inode: u64,
) -> Result<Vec<EntryPath>, ManifestError> {
    let failed = || sqlite("read", file);
    // In these very words the partial index answers; without it, in an older manifest, a scan does.
    let sql = "SELECT path FROM entries WHERE inode = ?1 AND kind = 1 ORDER BY path";
    let mut query = connection.prepare_cached(sql).map_err(failed())?;
    let rows = query
        .query_map([inode.cast_signed()], |row| Ok(EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?)))
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

/// Whether there is any row.
pub(super) fn any(connection: &Connection, file: &Path) -> Result<bool, ManifestError> {
    connection
        .query_row("SELECT EXISTS (SELECT 1 FROM entries)", [], |row| row.get(0))
        .map_err(sqlite("read", file))
}

/// The switches that the rows were made under, if they were noted.
pub(super) fn switches(connection: &Connection, file: &Path) -> Result<Option<String>, ManifestError> {
    // One that is only looked into is not upgraded.
    if schema::version(connection, file)? < schema::LINKS {
        return Ok(None);
    }
    connection.query_row("SELECT preserve FROM job", [], |row| row.get(0)).map_err(sqlite("read", file))
}

pub(super) fn decode(row: &Row<'_>) -> rusqlite::Result<Record> {
    let kind = Kind::from_code(row.get(1)?).ok_or_else(|| wrong(1, Type::Integer, "unknown kind"))?;
    let size = row.get::<_, i64>(2)?.cast_unsigned();
    let source = Fingerprint {
        kind,
        size,
        mode: row.get(3)?,
        mtime: Timestamp::new(row.get(4)?, row.get(5)?),
        ctime: Timestamp::from_nanos(row.get(6)?),
        inode: row.get::<_, i64>(7)?.cast_unsigned(),
    };
    let replica = Fingerprint {
        kind,
        size,
        mode: row.get::<_, Option<u32>>(8)?.unwrap_or(source.mode),
        // Most have the source's, and none of their own.
        mtime: match row.get(9)? {
            Some(seconds) => {
                row.get::<_, Option<u32>>(10)?.map_or(source.mtime, |nanos| Timestamp::new(seconds, nanos))
            }
            None => source.mtime,
        },
        ctime: Timestamp::from_nanos(row.get(11)?),
        inode: row.get::<_, i64>(12)?.cast_unsigned(),
    };
    let digest = match row.get_ref(13)?.as_blob_or_null().map_err(rusqlite::Error::from)? {
        None => None,
        Some(bytes) => {
            Some(Digest(bytes.try_into().map_err(|_| wrong(13, Type::Blob, "an MD5 has 16 bytes"))?))
        }
    };
    Ok(Record {
        path: EntryPath::from_bytes(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?),
        source,
        replica,
        digest,
        hashed: row.get::<_, Option<i64>>(14)?.map(|seconds| Timestamp::new(seconds, 0)),
        racy: row.get(15)?,
    })
}

pub(super) fn wrong(column: usize, kind: Type, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Reader;
    use crate::manifest::tests::{Fixture, plain};
    use crate::model::Change;

    /// What of `paths` is read at and below `path`, and the first `count` below it, by both ways to read.
    fn read_under(paths: &[&str], path: &str, count: usize) -> [Vec<EntryPath>; 2] {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        manifest.apply(paths.iter().map(|path| Change::Put(plain(path))).collect()).unwrap();
        let folder = EntryPath::from(path);
        let names = |rows: Vec<Record>| rows.into_iter().map(|row| row.path).collect::<Vec<_>>();
        let under: Result<_, _> = manifest.rows(Bounds::Under(folder.clone())).collect();
        let all = [names(under.unwrap()), names(manifest.first_below(&folder, count).unwrap())];
        drop(manifest);
        let reader = Reader::open(&fixture.path()).unwrap();
        let under: Result<_, _> = reader.rows(Bounds::Under(folder.clone())).collect();
        assert_eq!(names(under.unwrap()), all[0]);
        assert_eq!(names(reader.first_below(&folder, count).unwrap()), all[1]);
        all
    }

    #[test]
    fn what_is_read_under_a_path_ends_where_its_folder_does() {
        let paths = ["", "a", "a.txt", "a/", "a/b", "a/b/", "a/b/c", "a/\u{ff}", "a0", "a\0", "b"];
        let table: [(&str, usize, &[&str], &[&str]); 5] = [
            ("a/", 2, &["a/", "a/b", "a/b/", "a/b/c", "a/\u{ff}"], &["a/b", "a/b/"]),
            ("a/b/", 64, &["a/b/", "a/b/c"], &["a/b/c"]),
            ("a", 64, &["a"], &[]),
            ("missing/", 64, &[], &[]),
            (
                "",
                3,
                &["", "a", "a\0", "a.txt", "a/", "a/b", "a/b/", "a/b/c", "a/\u{ff}", "a0", "b"],
                &["a", "a\0", "a.txt"],
            ),
        ];
        for (path, count, under, below) in table {
            let expected =
                [under, below].map(|names| names.iter().copied().map(EntryPath::from).collect::<Vec<_>>());
            assert_eq!(read_under(&paths, path, count), expected, "{path:?}");
        }
    }
}
