//! The manifest on a real file: rows survive, refusals leave no trace, damage is set aside.

use super::{Bounds, JobRoots, Manifest, ManifestError, Opened, Reader};
use crate::lock::RunLock;
use crate::model::{Change, Digest, EntryPath, Fingerprint, Kind, Record, Timestamp};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

pub(crate) struct Fixture {
    dir: tempfile::TempDir,
    lock: RunLock,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lock = RunLock::acquire(&dir.path().join("m.db"), "now").unwrap();
        Self { dir, lock }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("m.db")
    }

    pub(crate) fn open(&self) -> Result<Opened, ManifestError> {
        Manifest::open(&self.lock, &self.path(), &roots("/s"), Timestamp::new(1, 0), "T")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let listing = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            listing.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn roots(source: &str) -> JobRoots {
    JobRoots { source: PathBuf::from(source), replica: PathBuf::from("/r") }
}

fn fingerprint() -> impl Strategy<Value = Fingerprint> {
    let time = (any::<i64>(), 0_u32..1_000_000_000).prop_map(|(s, n)| Timestamp::new(s, n));
    let ctime = any::<i64>().prop_map(Timestamp::from_nanos);
    (0_u8..7, 0_u32..0o10000, any::<u64>(), time, ctime, any::<u64>()).prop_map(
        |(kind, mode, size, mtime, ctime, inode)| {
            let kind = Kind::from_code(kind).unwrap();
            Fingerprint { kind, mode, size, mtime, ctime, inode }
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let path = prop::collection::vec(any::<u8>(), 0..12);
    let digest = prop::option::of(any::<[u8; 16]>());
    (path, fingerprint(), fingerprint(), digest, prop::option::of(any::<i64>()), any::<bool>()).prop_map(
        |(path, source, replica, digest, hashed, racy)| Record {
            path: EntryPath::from_bytes(path),
            source,
            replica: Fingerprint { kind: source.kind, size: source.size, ..replica },
            digest: digest.map(Digest),
            hashed: hashed.map(|seconds| Timestamp::new(seconds, 0)),
            racy,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn rows_come_back_as_written_in_path_order(records in prop::collection::vec(record(), 0..40)) {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        manifest.apply(records.iter().cloned().map(Change::Put).collect()).unwrap();
        let naive: std::collections::BTreeMap<EntryPath, Record> =
            records.into_iter().map(|record| (record.path.clone(), record)).collect();
        let read: Vec<Record> = manifest.rows(Bounds::All).map(Result::unwrap).collect();
        prop_assert_eq!(read, naive.into_values().collect::<Vec<_>>());
    }
}

pub(crate) fn plain(path: &str) -> Record {
    let zero = Timestamp::default();
    let fingerprint = Fingerprint { kind: Kind::File, mode: 0, size: 0, mtime: zero, ctime: zero, inode: 1 };
    let path = EntryPath::from(path);
    Record { path, source: fingerprint, replica: fingerprint, digest: None, hashed: None, racy: false }
}

#[test]
fn more_rows_than_a_piece_are_all_read_while_others_are_written() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let put = |n: u32| Change::Put(plain(&format!("{n:05}")));
    manifest.apply((0..5000).map(put).collect()).unwrap();
    let mut read = 0;
    for row in manifest.rows(Bounds::All) {
        let row = row.unwrap();
        if read < 5000 {
            manifest.apply(vec![Change::Forget(row.path)]).unwrap();
        }
        read += 1;
    }
    assert_eq!(read, 5000);
    assert!(!manifest.knows_entries().unwrap());
}

#[test]
fn the_last_word_on_a_path_counts_whether_it_had_a_row_or_not() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    // New ones; then some that are there among new ones; then a path twice, and one that is forgotten in between.
    for (paths, inode) in [(0..40, 1), (30..70, 2), (10..30, 3), (70..120, 4)] {
        let put = |number: u32| {
            let mut row = plain(&format!("{number:03}"));
            (row.source.inode, row.replica.inode) = (inode, u64::from(number));
            Change::Put(row)
        };
        let again = paths.clone().map(put);
        let mut changes: Vec<Change> =
            paths.clone().map(|number| Change::Put(plain(&format!("{number:03}")))).collect();
        changes.push(Change::Forget(EntryPath::from(format!("{:03}", paths.start).as_str())));
        changes.extend(again);
        manifest.apply(changes).unwrap();
    }
    let rows: Vec<Record> = manifest.rows(Bounds::All).map(Result::unwrap).collect();
    assert_eq!(rows.len(), 120);
    for (number, row) in (0..).zip(rows) {
        let inode = match number {
            0..10 => 1,
            10..30 => 3,
            30..70 => 2,
            _ => 4,
        };
        assert_eq!((row.source.inode, row.replica.inode), (inode, number), "{}", row.path);
    }
}

#[test]
fn bounds_take_a_folder_and_what_is_below_it() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let paths = ["a", "a.txt", "a/", "a/x", "a/y/z", "a0"];
    manifest.apply(paths.iter().map(|path| Change::Put(plain(path))).collect()).unwrap();
    let under = |path: &str| -> Vec<String> {
        let rows = manifest.rows(Bounds::Under(EntryPath::from(path)));
        rows.map(|row| row.unwrap().path.to_string()).collect()
    };
    assert_eq!(under("a/"), ["a/", "a/x", "a/y/z"]);
    assert_eq!(under("a.txt"), ["a.txt"]);
    assert_eq!(under("").len(), 6);
}

#[test]
fn looking_into_a_quiet_manifest_leaves_no_trace() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    manifest.apply(vec![Change::Put(plain("x"))]).unwrap();
    drop(manifest);
    let before = (fixture.names(), std::fs::read(fixture.path()).unwrap());
    let reader = Reader::open(&fixture.path()).unwrap();
    assert_eq!(reader.rows(Bounds::All).count(), 1);
    assert_eq!(reader.job().unwrap(), roots("/s"));
    drop(reader);
    assert_eq!((fixture.names(), std::fs::read(fixture.path()).unwrap()), before);
}

#[test]
fn a_manifest_of_other_roots_a_newer_schema_and_a_foreign_database_are_refused_untouched() {
    let change = |path: &Path, sql: &str| {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.execute_batch(sql).unwrap();
        // So that the bytes below are those of a closed, checkpointed file.
        connection.execute_batch("PRAGMA journal_mode = delete").unwrap();
    };
    for (sql, expected) in [
        ("UPDATE job SET source = x'2f6f74686572'", "another job"),
        ("PRAGMA user_version = 99", "newer"),
        ("PRAGMA application_id = 7", "another application"),
    ] {
        let fixture = Fixture::new();
        drop(fixture.open().unwrap());
        change(&fixture.path(), sql);
        let before = (fixture.names(), std::fs::read(fixture.path()).unwrap());
        let refused = fixture.open().unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert_eq!((fixture.names(), std::fs::read(fixture.path()).unwrap()), before, "{sql}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test damages its own file")]
fn what_is_no_manifest_any_more_is_set_aside_and_a_new_one_made() {
    for damage in [&b""[..], b"garbage", &[0; 4096]] {
        let fixture = Fixture::new();
        drop(fixture.open().unwrap());
        std::fs::write(fixture.path(), damage).unwrap();
        let opened = fixture.open().unwrap();
        let (aside, _) = opened.set_aside.unwrap();
        assert_eq!(std::fs::read(&aside).unwrap(), damage);
        assert!(aside.to_string_lossy().ends_with("m.db.damaged-T"));
        assert!(!opened.manifest.knows_entries().unwrap());
    }
}
