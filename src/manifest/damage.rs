//! Damage that was found and is not settled: named by every run until somebody decides.

use super::error::{ManifestError, sqlite};
use super::open::{JobRoots, Manifest, beside_a_run};
use super::reader::Reader;
use super::schema;
use crate::model::{Digest, EntryPath, Record, Timestamp};
use rusqlite::{Connection, Row, params};
use std::path::Path;

/// One entry whose content is not what its unchanged metadata promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamageRow {
    /// The entry.
    pub path: EntryPath,
    /// `source`, `replica`, `both` or `unknown`.
    pub side: String,
    /// How it showed, in words.
    pub detail: String,
    /// When it was first found.
    pub found: Timestamp,
    /// The entry's row then.
    pub known: Known,
}

/// What tells whether a row is still the one that the damage was found under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    ctime: i64,
    inode: u64,
    replica_ctime: i64,
    replica_inode: u64,
    digest: Option<Digest>,
}

impl Known {
    /// That of a row.
    pub fn of(row: &Record) -> Self {
        Self {
            ctime: row.source.ctime.as_nanos(),
            inode: row.source.inode,
            replica_ctime: row.replica.ctime.as_nanos(),
            replica_inode: row.replica.inode,
            digest: row.digest,
        }
    }
}

impl Manifest {
    /// The damage that is not settled, in path order.
    pub fn damage(&self) -> Result<Vec<DamageRow>, ManifestError> {
        read(&self.connection, &self.path)
    }

    /// Notes damage, and that other damage is settled. What was known before keeps the moment it was found.
    pub fn note_damage(&self, found: &[DamageRow], settled: &[EntryPath]) -> Result<(), ManifestError> {
        if found.is_empty() && settled.is_empty() {
            return Ok(());
        }
        self.transaction(|connection| {
            let failed = || sqlite("write to", &self.path);
            let mut settle = connection.prepare_cached("DELETE FROM damage WHERE path = ?1").map_err(failed())?;
            for path in settled {
                settle.execute([path.as_bytes()]).map_err(failed())?;
            }
            let mut put = connection
                .prepare_cached(
                    "INSERT INTO damage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (path) DO UPDATE SET \
                     side = ?2, detail = ?3, ctime = ?5, inode = ?6, replica_ctime = ?7, replica_inode = ?8, md5 = ?9",
                )
                .map_err(failed())?;
            for DamageRow { path, side, detail, found, known } in found {
                put.execute(params![
                    path.as_bytes(),
                    side,
                    detail,
                    found.as_nanos(),
                    known.ctime,
                    known.inode.cast_signed(),
                    known.replica_ctime,
                    known.replica_inode.cast_signed(),
                    known.digest.as_ref().map(|digest| digest.0.as_slice()),
                ])
                .map_err(failed())?;
            }
            Ok(())
        })
    }
}

impl Reader {
    /// The damage that is not settled, in path order; none in a manifest that is older than it.
    pub fn damage(&self) -> Result<Vec<DamageRow>, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::VERIFICATION {
            return Ok(Vec::new());
        }
        read(&self.connection, &self.path)
    }
}

fn read(connection: &Connection, file: &Path) -> Result<Vec<DamageRow>, ManifestError> {
    let failed = || sqlite("read", file);
    let sql = "SELECT path, side, detail, found, ctime, inode, replica_ctime, replica_inode, md5 FROM damage \
               ORDER BY path";
    let mut query = connection.prepare_cached(sql).map_err(failed())?;
    let rows = query.query_map([], decode).map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

fn decode(row: &Row<'_>) -> rusqlite::Result<DamageRow> {
    let digest: Option<Vec<u8>> = row.get(8)?;
    let known = Known {
        ctime: row.get(4)?,
        inode: row.get::<_, i64>(5)?.cast_unsigned(),
        replica_ctime: row.get(6)?,
        replica_inode: row.get::<_, i64>(7)?.cast_unsigned(),
        digest: digest.and_then(|bytes| bytes.try_into().ok()).map(Digest),
    };
    Ok(DamageRow {
        path: EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?),
        side: row.get(1)?,
        detail: row.get(2)?,
        found: Timestamp::from_nanos(row.get(3)?),
        known,
    })
}

/// Forgets what an entry's content was, so that the next run takes the source's for right: it compares both
/// sides, and brings the source's over where they differ. Needs no lock: what a run writes to this row meanwhile comes
/// from a look at both sides, too. `false`: the manifest does not know the entry.
pub fn accept(path: &Path, roots: &JobRoots, entry: &EntryPath) -> Result<bool, ManifestError> {
    const ACTION: &str = "write to";
    let failed = || sqlite(ACTION, path);
    let connection = beside_a_run(path, roots, ACTION)?;
    if schema::version(&connection, path)? < schema::VERIFICATION {
        return Err(ManifestError::Older { path: path.to_owned() });
    }
    let transaction = connection.unchecked_transaction().map_err(failed())?;
    let sql = "UPDATE entries SET md5 = NULL, hashed = NULL, racy = 1 WHERE path = ?1";
    let known = transaction.execute(sql, [entry.as_bytes()]).map_err(failed())?;
    transaction.execute("DELETE FROM damage WHERE path = ?1", [entry.as_bytes()]).map_err(failed())?;
    transaction.commit().map_err(failed())?;
    Ok(known > 0)
}
