//! Files of the replica that are being made another version in place.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use crate::model::{Digest, EntryPath, Mark, UnfinishedPatch};
use rusqlite::{Row, params};

impl Manifest {
    /// The files that a run was in the middle of when it ended.
    pub fn patches(&self) -> Result<Vec<UnfinishedPatch>, ManifestError> {
        let failed = || sqlite("read", &self.path);
        let sql = "SELECT path, temporary, journal, journal_md5, inode, size FROM patches ORDER BY path";
        let mut query = self.connection.prepare_cached(sql).map_err(failed())?;
        let rows = query.query_map([], decode).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Notes that a file is about to be patched. The row survives a power cut when this returns.
    pub fn note_patch(&self, patch: &UnfinishedPatch) -> Result<(), ManifestError> {
        self.lasting(|connection| {
            let UnfinishedPatch { path, temporary, journal, inode, size } = patch;
            let (bytes, digest) = (journal.bytes.cast_signed(), journal.digest.0);
            let values =
                params![path.as_bytes(), temporary, bytes, digest, inode.cast_signed(), size.cast_signed()];
            connection
                .execute("INSERT OR REPLACE INTO patches VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values)
                .map_err(sqlite("write to", &self.path))
        })?;
        Ok(())
    }

    /// The file is patched, or nothing will come of it.
    pub fn forget_patch(&self, path: &EntryPath) -> Result<(), ManifestError> {
        self.transaction(|connection| {
            connection
                .execute("DELETE FROM patches WHERE path = ?1", [path.as_bytes()])
                .map_err(sqlite("write to", &self.path))
        })?;
        Ok(())
    }
}

fn decode(row: &Row<'_>) -> rusqlite::Result<UnfinishedPatch> {
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(UnfinishedPatch {
        path: EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?),
        temporary: row.get(1)?,
        journal: Mark { bytes: number(2)?, digest: Digest(row.get(3)?) },
        inode: number(4)?,
        size: number(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::Fixture;

    #[test]
    fn a_patch_is_known_until_it_is_forgotten() {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let patch = UnfinishedPatch {
            path: EntryPath::from("a/b"),
            temporary: b".twinfold-1.tmp".to_vec(),
            journal: Mark { bytes: 99, digest: Digest([3; 16]) },
            inode: u64::MAX,
            size: 1 << 40,
        };
        manifest.note_patch(&patch).unwrap();
        assert_eq!(manifest.patches().unwrap(), std::slice::from_ref(&patch));
        manifest.forget_patch(&patch.path).unwrap();
        assert_eq!(manifest.patches().unwrap(), []);
    }
}
