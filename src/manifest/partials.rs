//! Copies that were begun and not finished.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use super::schema;
use crate::model::{Digest, EntryPath, Fingerprint, Kind, Mark, Partial, StagedObject, Timestamp};
use rusqlite::{Connection, Row, params};
use std::path::Path;

/// What becomes of the row of an entry: it is replaced, or removed.
pub type PartialChange = (EntryPath, Option<Partial>);

impl Manifest {
    /// The copies that were not finished, in path order.
    pub fn partials(&self) -> Result<Vec<Partial>, ManifestError> {
        read(&self.connection, &self.path)
    }

    /// Notes how far copies have come, and which are finished or given up. If `lasting`, the rows survive a power cut
    /// when this returns.
    pub fn note_partials(&self, changes: &[PartialChange], lasting: bool) -> Result<(), ManifestError> {
        if changes.is_empty() {
            return Ok(());
        }
        let write = |connection: &Connection| write(connection, &self.path, changes);
        if lasting { self.lasting(write) } else { self.transaction(write) }
    }

    /// Runs `work` in a transaction that survives a power cut when this returns.
    pub(super) fn lasting<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ManifestError>,
    ) -> Result<T, ManifestError> {
        // How a commit is synced cannot be changed within a transaction.
        self.flush()?;
        let failed = || sqlite("write to", &self.path);
        let sync = |how: &str| self.connection.pragma_update(None, "synchronous", how).map_err(failed());
        sync("FULL")?;
        let done = self.transaction(work);
        sync("NORMAL")?;
        done
    }
}

impl Reader {
    /// The copies that were not finished, in path order; none in a manifest that is older than them.
    pub fn partials(&self) -> Result<Vec<Partial>, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::PARTIALS {
            return Ok(Vec::new());
        }
        read(&self.connection, &self.path)
    }
}

fn write(connection: &Connection, file: &Path, changes: &[PartialChange]) -> Result<(), ManifestError> {
    let failed = || sqlite("write to", file);
    let mut forget = connection.prepare_cached("DELETE FROM partials WHERE path = ?1").map_err(failed())?;
    let sql = "INSERT OR REPLACE INTO partials \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let mut put = connection.prepare_cached(sql).map_err(failed())?;
    for (path, partial) in changes {
        let Some(Partial { temporary, object, began, source, durable, written, .. }) = partial else {
            forget.execute([path.as_bytes()]).map_err(failed())?;
            continue;
        };
        put.execute(params![
            path.as_bytes(),
            temporary,
            object.inode.cast_signed(),
            object.mode,
            object.uid,
            began.as_nanos(),
            source.size.cast_signed(),
            source.mtime.as_nanos(),
            source.ctime.as_nanos(),
            source.inode.cast_signed(),
            durable.map(|mark| mark.bytes.cast_signed()),
            durable.map(|mark| mark.digest.0),
            written.bytes.cast_signed(),
            written.digest.0,
        ])
        .map_err(failed())?;
    }
    Ok(())
}

fn read(connection: &Connection, file: &Path) -> Result<Vec<Partial>, ManifestError> {
    let failed = || sqlite("read", file);
    let sql = "SELECT path, temporary, inode, mode, uid, began, size, mtime, ctime, source_inode, durable, durable_md5, \
               written, written_md5 FROM partials ORDER BY path";
    let mut query = connection.prepare_cached(sql).map_err(failed())?;
    let rows = query.query_map([], decode).map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

fn decode(row: &Row<'_>) -> rusqlite::Result<Partial> {
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let moment = |column| row.get::<_, i64>(column).map(Timestamp::from_nanos);
    let durable = match (row.get::<_, Option<i64>>(10)?, row.get::<_, Option<[u8; 16]>>(11)?) {
        (Some(bytes), Some(digest)) => Some(Mark { bytes: bytes.cast_unsigned(), digest: Digest(digest) }),
        _ => None,
    };
    Ok(Partial {
        path: EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?),
        temporary: row.get(1)?,
        object: StagedObject { inode: number(2)?, mode: row.get(3)?, uid: row.get(4)? },
        began: moment(5)?,
        source: Fingerprint {
            kind: Kind::File,
            mode: 0,
            size: number(6)?,
            mtime: moment(7)?,
            ctime: moment(8)?,
            inode: number(9)?,
        },
        durable,
        written: Mark { bytes: number(12)?, digest: Digest(row.get(13)?) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::Fixture;

    #[test]
    fn what_is_noted_is_read_again_replaced_and_forgotten() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        assert_eq!(manifest.partials().unwrap(), []);
        let mark = |bytes, fill| Mark { bytes, digest: Digest([fill; 16]) };
        let one = Partial {
            path: EntryPath::from_bytes(b"a/\xff".to_vec()),
            temporary: b".twinfold-12.tmp".to_vec(),
            object: StagedObject { inode: u64::MAX, mode: 0o600, uid: 7 },
            began: Timestamp::new(5, 6),
            source: Fingerprint {
                kind: Kind::File,
                mode: 0,
                size: 1 << 40,
                mtime: Timestamp::new(-1, 7),
                ctime: Timestamp::new(2, 8),
                inode: 9,
            },
            durable: None,
            written: mark(77, 1),
        };
        let other = Partial { path: EntryPath::from("b"), ..one.clone() };
        let put = |partial: &Partial| (partial.path.clone(), Some(partial.clone()));
        manifest.note_partials(&[put(&one), put(&other)], false).unwrap();
        assert_eq!(manifest.partials().unwrap(), [one.clone(), other.clone()]);
        let further = Partial { durable: Some(mark(77, 1)), written: mark(99, 2), ..one };
        manifest.note_partials(&[put(&further), (other.path, None)], true).unwrap();
        assert_eq!(manifest.partials().unwrap(), [further]);
    }
}
