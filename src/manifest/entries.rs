//! The rows of the entries table, read in path order in key-range pieces.

use super::error::{ManifestError, sqlite};
use super::schema;
use crate::model::{Digest, EntryPath, Fingerprint, Kind, Record, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use std::path::Path;

pub(super) const COLUMNS: &str = "path, kind, size, mode, mtime, mtime_ns, ctime, inode, replica_mode, \
     replica_mtime, replica_mtime_ns, replica_ctime, replica_inode, md5, hashed, racy";

/// Rows read at a time: enough to make the query's own cost small, little enough to hold.
pub(super) const PIECE: usize = 2048;

/// Which rows to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// All of them.
    All,
    /// This path and, where it is a folder, all below it.
    Under(EntryPath),
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
            Bounds::All => EntryPath::root(),
            Bounds::Under(path) => path.clone(),
        };
        Self { connection, file, bounds, next: Some(From::At(first)), piece: Vec::new().into_iter(), failed }
    }

    fn fetch(&mut self, from: &From) -> Result<Vec<Record>, ManifestError> {
        let (comparison, key) = match from {
            From::At(path) => (">=", path),
            From::After(path) => (">", path),
        };
        let sql =
            format!("SELECT {COLUMNS} FROM entries WHERE path {comparison} ?1 ORDER BY path LIMIT {PIECE}");
        let failed = || sqlite("read", self.file);
        let mut query = self.connection.prepare_cached(&sql).map_err(failed())?;
        let rows = query.query_map([key.as_bytes()], decode).map_err(failed())?;
        let piece: Vec<Record> = rows.collect::<Result<_, _>>().map_err(failed())?;
        // SQLite does not check the order that it walks in: a flipped bit in a key shows here first.
        let begins_well = piece.first().is_none_or(|first| match from {
            From::At(path) => first.path >= *path,
            From::After(path) => first.path > *path,
        });
        if begins_well && piece.is_sorted_by(|one, next| one.path < next.path) {
            return Ok(piece);
        }
        let cause = "its rows are out of order".to_owned();
        Err(ManifestError::Damaged { path: self.file.to_owned(), cause })
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
        let record = self.piece.next();
        Ok(record.filter(|record| match &self.bounds {
            Bounds::All => true,
            Bounds::Under(path) => record.path == *path || record.path.is_below(path),
        }))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Record, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
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

fn decode(row: &Row<'_>) -> rusqlite::Result<Record> {
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
        mtime: match (row.get(9)?, row.get(10)?) {
            (Some(seconds), Some(nanos)) => Timestamp::new(seconds, nanos),
            _ => source.mtime,
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
