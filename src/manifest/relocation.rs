//! Rows of folders that got another name.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use crate::model::EntryPath;
use rusqlite::Connection;

impl Manifest {
    /// TEMP
    pub fn find_folder_by_inode(&self, inode: u64) -> Result<Vec<EntryPath>, ManifestError> {
        by_inode(&self.connection, &self.path, inode)
    }
    /// TEMP
    pub fn relocate(&self, moves: &[(EntryPath, EntryPath)]) -> Result<(), ManifestError> {
        self.transaction(|c| {
            let failed = || sqlite("write to", &self.path);
            for (from, to) in moves {
                if from == to { continue; }
                let end = |p: &EntryPath| { let mut e = p.as_bytes().to_vec(); *e.last_mut().unwrap() = b'/' + 1; e };
                c.execute("DELETE FROM entries WHERE path >= ?1 AND path < ?2", rusqlite::params![to.as_bytes(), end(to)]).map_err(failed())?;
                c.execute("INSERT INTO entries SELECT CAST(?3 || substr(path, ?4) AS BLOB), kind, size, mode, mtime, mtime_ns, ctime, inode, replica_mode, replica_mtime, replica_mtime_ns, replica_ctime, replica_inode, md5, hashed, racy FROM entries WHERE path >= ?1 AND path < ?2", rusqlite::params![from.as_bytes(), end(from), to.as_bytes(), from.as_bytes().len() as i64 + 1]).map_err(failed())?;
                c.execute("DELETE FROM entries WHERE path >= ?1 AND path < ?2", rusqlite::params![from.as_bytes(), end(from)]).map_err(failed())?;
            }
            Ok(())
        })
    }
}
impl Reader {
    /// TEMP
    pub fn find_folder_by_inode(&self, inode: u64) -> Result<Vec<EntryPath>, ManifestError> {
        by_inode(&self.connection, &self.path, inode)
    }
}
fn by_inode(c: &Connection, file: &std::path::Path, inode: u64) -> Result<Vec<EntryPath>, ManifestError> {
    let failed = || sqlite("read", file);
    let mut q =
        c.prepare_cached("SELECT path FROM entries WHERE kind = 1 AND inode = ?1").map_err(failed())?;
    let rows = q
        .query_map([inode.cast_signed()], |row| Ok(EntryPath::from_bytes(row.get::<_, Vec<u8>>(0)?)))
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}
