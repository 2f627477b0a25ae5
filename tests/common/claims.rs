//! Whether the manifest claims more than is true.

use super::Mirror;
use md5::{Digest, Md5};
use rusqlite::Connection;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// Checks a copy of the manifest, so that the look changes nothing: it opens and is sound, and where
/// a row's figures are those of source and replica, so that the next run would not look at their
/// contents, the contents are the same, and are what the row says.
#[track_caller]
pub fn check(mirror: &Mirror, what: &str) {
    let Some(copy) = copy(mirror) else { return };
    let connection = Connection::open(&copy).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "{what}: the manifest");
    let mut query = connection
        .prepare(
            "SELECT path, kind, size, ctime, inode, replica_ctime, replica_inode, md5, racy FROM entries",
        )
        .unwrap();
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let path: Vec<u8> = row.get(0).unwrap();
        let (kind, size, racy): (i64, i64, bool) =
            (row.get(1).unwrap(), row.get(2).unwrap(), row.get(8).unwrap());
        if racy || !(kind == 0 || kind == 2) {
            continue;
        }
        let name = OsStr::from_bytes(&path);
        let figures = |root: &std::path::Path| {
            let found = fs::symlink_metadata(root.join(name)).ok()?;
            let ctime = found.ctime() * 1_000_000_000 + found.ctime_nsec();
            Some((found.len().cast_signed(), ctime, found.ino().cast_signed()))
        };
        let known = |ctime, inode| Some((size, row.get(ctime).unwrap(), row.get(inode).unwrap()));
        if figures(&mirror.source) != known(3, 4) || figures(&mirror.replica) != known(5, 6) {
            continue;
        }
        let content = |root: &std::path::Path| match kind {
            0 => fs::read(root.join(name)).unwrap(),
            _ => fs::read_link(root.join(name)).unwrap().into_os_string().as_bytes().to_vec(),
        };
        let (ours, theirs) = (content(&mirror.source), content(&mirror.replica));
        assert!(ours == theirs, "{what}: the manifest claims that {} is in step", name.display());
        // A giant with holes has no digest.
        if let Some(digest) = row.get::<_, Option<Vec<u8>>>(7).unwrap() {
            assert!(Md5::digest(&theirs).to_vec() == digest, "{what}: the digest of {}", name.display());
        }
    }
}

fn copy(mirror: &Mirror) -> Option<std::path::PathBuf> {
    let to = mirror.path("look");
    super::tree::remove(&to);
    fs::create_dir(&to).unwrap();
    let mut manifest = None;
    for entry in fs::read_dir(&mirror.state).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let rest = name.split_once(".db").map(|(_, rest)| rest);
        if matches!(rest, Some("" | "-wal" | "-journal")) {
            fs::copy(entry.path(), to.join(&name)).unwrap();
        }
        if rest == Some("") {
            manifest = Some(to.join(&name));
        }
    }
    manifest
}
