//! What the manifest costs: bytes an entry, reads of a pass over all rows.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::skip;
use std::path::{Path, PathBuf};
use twinfold::lock::RunLock;
use twinfold::manifest::{Bounds, JobRoots, Manifest, Reader, Shift};
use twinfold::model::{Change, Digest, EntryPath, Fingerprint, Kind, Record, Timestamp};

const ENTRIES: u64 = 20_000;

/// What an entry may take beyond its path.
const BYTES_AN_ENTRY: u64 = 150;

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    /// A manifest with rows as large as they get on a large file system, written by batches as a run does.
    fn filled() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        fixture.with(|manifest| {
            let rows: Vec<Change> = (0..ENTRIES).map(|number| Change::Put(row(number, 0))).collect();
            // Two workers end their batches in no order.
            for pair in rows.chunks(128) {
                for batch in pair.chunks(64).rev() {
                    manifest.apply_soon(batch.to_vec()).unwrap();
                }
            }
            manifest.apply(Vec::new()).unwrap();
        });
        fixture
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("m.db")
    }

    /// Opens, has written, and closes, which checkpoints.
    fn with(&self, work: impl FnOnce(&Manifest)) {
        let roots = JobRoots { source: PathBuf::from("/s"), replica: PathBuf::from("/r") };
        let lock = RunLock::acquire(&self.path(), "now").unwrap();
        let opened = Manifest::open(&lock, &self.path(), &roots, Timestamp::new(1, 0), "T").unwrap();
        work(&opened.manifest);
    }

    fn bytes(&self) -> u64 {
        let wal = self.dir.path().join("m.db-wal");
        assert!(!wal.exists(), "it was closed, so that the main file is all of it");
        std::fs::metadata(self.path()).unwrap().len()
    }
}

fn path(number: u64) -> EntryPath {
    EntryPath::from(format!("area/project-{:03}/module/file-{number:06}.dat", number / 100).as_str())
}

/// Large inodes and sizes, times with nanoseconds, another mode on the replica for every eighth.
fn row(number: u64, version: u64) -> Record {
    let seconds = 1_780_000_000 + number.cast_signed();
    let nanos = 123_456_789 + u32::try_from(number).unwrap();
    let source = Fingerprint {
        kind: Kind::File,
        mode: 0o644,
        size: 5_000_000_000 + number,
        mtime: Timestamp::new(seconds, nanos),
        ctime: Timestamp::new(seconds + version.cast_signed(), nanos),
        inode: (1 << 40) + number,
    };
    let mode = if number.is_multiple_of(8) { 0o600 } else { 0o644 };
    let replica = Fingerprint { mode, inode: (1 << 41) + number, ..source };
    let (digest, hashed) = (Some(Digest([0xab; 16])), Some(Timestamp::new(seconds, 0)));
    Record { path: path(number), source, replica, digest, hashed, racy: number.is_multiple_of(5) }
}

fn beyond_paths(fixture: &Fixture) -> u64 {
    let paths: u64 = (0..ENTRIES).map(|number| path(number).as_bytes().len() as u64).sum();
    (fixture.bytes() - paths) / ENTRIES
}

#[test]
fn an_entry_takes_less_than_150_bytes_beyond_its_path_also_after_many_changes() {
    let fixture = Fixture::filled();
    let first = beyond_paths(&fixture);
    assert!(first < BYTES_AN_ENTRY * 3 / 4, "{first} after a first run");
    for version in 1..=10 {
        fixture.with(|manifest| {
            let touched = (0..ENTRIES).filter(|number| number % 10 == version % 10);
            let changes = touched.map(|number| Change::Put(row(number, version * 3_000_000)));
            manifest.apply(changes.collect()).unwrap();
        });
    }
    let later = beyond_paths(&fixture);
    assert!(later < BYTES_AN_ENTRY, "{later} after ten runs that changed a tenth each");
    fixture.with(|manifest| {
        for (from, to) in [("area/project-007/", "area/renamed/"), ("area/", "other/"), ("other/", "area/")] {
            manifest.relocate(&[Shift::Move(from.into(), to.into())]).unwrap();
        }
    });
    let renamed = beyond_paths(&fixture);
    assert!(renamed < BYTES_AN_ENTRY, "{renamed} after folders were renamed");
}

/// Bytes that this thread has read so far.
fn bytes_read() -> Option<u64> {
    let figures = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    figures.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

fn bytes_read_by(work: impl FnOnce(), manifest: &Path) -> Option<f64> {
    let whole = std::fs::metadata(manifest).unwrap().len();
    let before = bytes_read()?;
    work();
    #[expect(clippy::cast_precision_loss, reason = "a share of a small file")]
    let share = (bytes_read()? - before) as f64 / whole as f64;
    Some(share)
}

#[test]
fn all_rows_are_one_pass_over_the_file_and_one_row_a_few_pages() {
    let fixture = Fixture::filled();
    let all = || {
        let reader = Reader::open(&fixture.path()).unwrap();
        assert_eq!(reader.rows(Bounds::All).map(Result::unwrap).count() as u64, ENTRIES);
    };
    let Some(share) = bytes_read_by(all, &fixture.path()) else {
        return skip("there is no /proc/thread-self/io: not shown how much of the manifest is read");
    };
    assert!((0.9..1.1).contains(&share), "{share} of the file was read");
    let one = || {
        let reader = Reader::open(&fixture.path()).unwrap();
        assert!(reader.find(&path(7777)).unwrap().is_some());
        assert!(reader.find_folder_by_inode(1 << 40).unwrap().is_empty());
        assert!(reader.runs(5).unwrap().is_empty() && reader.problems().unwrap().is_empty());
    };
    let share = bytes_read_by(one, &fixture.path()).unwrap();
    assert!(share < 0.05, "{share} of the file was read for a glance");
}
