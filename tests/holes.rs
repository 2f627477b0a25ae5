//! Holes stay holes, cost nothing, and are no reason to read or write what nobody wrote.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::{finish, start};
use common::tree::{inode, set_mtime, write};
use common::{Mirror, settle, skip};
use rustix::fs::{SeekFrom, seek};
use rustix::process::Signal;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Makes a file of `size` bytes with data in these places and holes in all others.
fn make_sparse(path: &Path, size: u64, data: &[(u64, &[u8])]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (at, bytes) in data {
        file.write_all_at(bytes, *at).unwrap();
    }
}

/// Where a file has data, as its file system tells.
fn data_of(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(start)).unwrap();
        found.push((start, at));
    }
    found
}

/// Whether the file system under `mirror` makes holes and tells where they are.
fn makes_holes(mirror: &Mirror) -> bool {
    let probe = mirror.path("probe");
    make_sparse(&probe, MIB, &[(512 * KIB, b"x")]);
    let made = data_of(&probe).first().is_some_and(|(start, _)| *start > 0);
    if !made {
        skip("the temporary folder's file system makes no holes: nothing is shown of them");
    }
    made
}

#[track_caller]
fn assert_same_holes(mirror: &Mirror, name: &str) {
    let (source, replica) = (data_of(&mirror.in_source(name)), data_of(&mirror.in_replica(name)));
    assert_eq!(source, replica, "the data of {name} lies where it lies in the source");
}

fn status(mirror: &Mirror, more: &[&str]) -> common::program::Output {
    let mut command = mirror.program(&["status"]);
    command.args(mirror.roots()).args(more);
    finish(command).expect(0)
}

fn rebuild(mirror: &Mirror) -> common::program::Output {
    let mut command = mirror.program(&["rebuild-index"]);
    command.args(mirror.roots());
    finish(command).expect(0)
}

/// A file too large to be hashed: more than 1 GiB of hole around a little data.
fn make_giant(mirror: &Mirror) {
    let data = [(GIB / 2, &b"in the middle"[..]), (GIB, &vec![7; 70_000])];
    make_sparse(&mirror.in_source("giant"), GIB + GIB / 4, &data);
    settle();
}

#[test]
fn holes_of_every_size_and_place_are_where_they_were() {
    let mirror = Mirror::new();
    if !makes_holes(&mirror) {
        return;
    }
    let block = [b'd'; 4096];
    for (name, size, data) in [
        ("small, hole first", 8 * KIB, &[(4 * KIB, &block[..])][..]),
        ("small, hole last", 8 * KIB, &[(0, &block[..])]),
        ("small, all hole", 8 * KIB, &[]),
        ("small, odd end", 9_001, &[(0, &block[..])]),
        ("a hundred bytes of hole", 100, &[]),
        ("small, between", 900 * KIB, &[(0, &block[..]), (400 * KIB, &block[..]), (896 * KIB, &block[..])]),
        ("large, all hole", 3 * MIB, &[]),
        ("large, hole last", 3 * MIB, &[(0, &block[..])]),
        ("large, hole first", 3 * MIB, &[(3 * MIB - 4 * KIB, &block[..])]),
        ("zeros are data", 3 * MIB, &[(MIB, &[0; 8192][..])]),
        ("two GB with one block", 2 * GIB, &[(500 * MIB, &block[..])]),
    ] {
        make_sparse(&mirror.in_source(name), size, data);
    }
    write(mirror.in_source("no holes"), vec![1; 3 << 20]);
    settle();
    mirror.run(&[]).expect(0);
    for entry in fs::read_dir(&mirror.source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert_same_holes(&mirror, &name);
        if name != "two GB with one block" {
            let read = |path| fs::read(path).unwrap();
            assert!(read(mirror.in_source(&name)) == read(mirror.in_replica(&name)), "the bytes of {name}");
        }
        let (source, replica) =
            (fs::metadata(mirror.in_source(&name)), fs::metadata(mirror.in_replica(&name)));
        assert_eq!(source.unwrap().len(), replica.unwrap().len(), "{name}");
    }
    mirror.assert_idle();
}

#[test]
fn the_md5_of_a_file_with_holes_is_that_of_its_bytes() {
    let mirror = Mirror::new();
    make_sparse(&mirror.in_source("holed"), 5 * MIB + 11, &[(2 * MIB, b"data"), (4 * MIB, &[3; 9000])]);
    make_sparse(&mirror.in_source("small"), 300_000, &[(70_000, b"data")]);
    settle();
    mirror.sync();
    let listed = status(&mirror, &["--format", "md5sum"]);
    let sums = mirror.path("sums");
    fs::write(&sums, &listed.stdout).unwrap();
    assert_eq!(listed.stdout.lines().count(), 2, "{}", listed.stdout);
    let mut check = Command::new("md5sum");
    check.arg("--quiet").arg("-c").arg(&sums).current_dir(&mirror.replica);
    match check.output() {
        Ok(checked) => assert!(checked.status.success(), "{checked:?}"),
        Err(_) => skip("there is no md5sum here: not shown that MD5s of files with holes are right"),
    }
    // A second look, by comparing, comes to the same digests.
    set_mtime(mirror.in_source("holed"), 1_000, 5);
    set_mtime(mirror.in_source("small"), 1_000, 5);
    assert_eq!(mirror.summary(&[])["metadata"], 2);
    assert_eq!(status(&mirror, &["--format", "md5sum"]).stdout, listed.stdout);
}

#[test]
fn a_file_of_a_hundred_gigabytes_of_hole_takes_no_time() {
    let mirror = Mirror::new();
    if !makes_holes(&mirror) {
        return;
    }
    let giant = mirror.in_source("giant");
    make_sparse(&giant, 100 * GIB, &[(0, b"head"), (50 * GIB, &vec![1; 100_000]), (99 * GIB, b"tail")]);
    settle();
    let began = Instant::now();
    mirror.run(&[]).expect(0);
    assert_same_holes(&mirror, "giant");
    mirror.assert_idle();

    set_mtime(&giant, 2_000, 7);
    let copy = inode(mirror.in_replica("giant"));
    assert_eq!(mirror.summary(&[])["metadata"], 1, "touched: compared, not copied");
    assert_eq!(inode(mirror.in_replica("giant")), copy);

    OpenOptions::new().write(true).open(&giant).unwrap().write_all_at(b"x", 70 * GIB).unwrap();
    settle();
    assert_eq!(mirror.summary(&[])["copy"], 1);
    assert_same_holes(&mirror, "giant");
    let mut byte = [0];
    File::open(mirror.in_replica("giant")).unwrap().read_exact_at(&mut byte, 70 * GIB).unwrap();
    assert_eq!(&byte, b"x");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// The digest that the manifest has for an entry, as `status` shows it.
fn md5_of(mirror: &Mirror, name: &str) -> String {
    let shown = status(mirror, &[name]).stdout;
    shown.lines().find_map(|line| line.strip_prefix("md5 ")).unwrap().trim().to_owned()
}

fn change_row(mirror: &Mirror, name: &str, change: &str) {
    let connection = rusqlite::Connection::open(mirror.manifest()).unwrap();
    let query = format!("UPDATE entries SET {change} WHERE path = CAST(?1 AS BLOB)");
    assert_eq!(connection.execute(&query, [name]).unwrap(), 1);
}

#[test]
fn a_giant_is_shown_as_not_hashed_and_left_out_of_the_list_for_md5sum() {
    let mirror = Mirror::new();
    if !makes_holes(&mirror) {
        return;
    }
    make_giant(&mirror);
    write(mirror.in_source("plain"), "plain");
    settle();
    mirror.run(&[]).expect(0);
    assert!(md5_of(&mirror, "giant").starts_with("not hashed"));
    let listed = status(&mirror, &["--format", "md5sum"]).says("not hashed and not in this list: 1");
    assert!(listed.stdout.contains("  plain") && !listed.stdout.contains("giant"), "{}", listed.stdout);
}

#[test]
fn a_giants_digest_from_rebuild_index_stays_while_its_bytes_do() {
    let mirror = Mirror::new();
    if !makes_holes(&mirror) {
        return;
    }
    make_giant(&mirror);
    mirror.run(&[]).expect(0);
    let known = "0123456789abcdef0123456789abcdef";
    change_row(&mirror, "giant", &format!("md5 = x'{known}', hashed = 1000"));
    mirror.assert_idle();

    set_mtime(mirror.in_source("giant"), 3_000, 1);
    settle();
    assert_eq!(mirror.summary(&[])["metadata"], 1);
    assert_eq!(md5_of(&mirror, "giant"), known, "after a touch");
    fs::remove_file(mirror.in_replica("giant")).unwrap();
    assert_eq!(mirror.summary(&[])["copy"], 1);
    assert_eq!(md5_of(&mirror, "giant"), known, "after it was lost in the replica");
    set_mtime(mirror.in_replica("giant"), 4_000, 1);
    assert_eq!(mirror.summary(&[])["metadata"], 1);
    assert_eq!(md5_of(&mirror, "giant"), known, "after somebody touched the replica");

    let giant = OpenOptions::new().write(true).open(mirror.in_source("giant")).unwrap();
    giant.write_all_at(b"new", 5 * MIB).unwrap();
    settle();
    assert_eq!(mirror.summary(&[])["copy"], 1);
    assert!(md5_of(&mirror, "giant").starts_with("not hashed"), "other bytes, no digest");
}

#[test]
fn rebuild_index_fills_in_a_digest_that_is_missing_and_takes_nothing_for_damage() {
    let mirror = Mirror::new();
    make_sparse(&mirror.in_source("holed"), 7 * MIB + 3, &[(3 * MIB, b"data"), (5 * MIB, &[9; 5000])]);
    settle();
    mirror.run(&[]).expect(0);
    let known = md5_of(&mirror, "holed");
    change_row(&mirror, "holed", "md5 = NULL, hashed = NULL");
    assert!(md5_of(&mirror, "holed").starts_with("not hashed"));
    rebuild(&mirror);
    assert_eq!(md5_of(&mirror, "holed"), known);
    mirror.assert_idle();
    // And where one side has its holes filled in, the bytes are the same all the same.
    fs::write(mirror.in_replica("holed"), fs::read(mirror.in_replica("holed")).unwrap()).unwrap();
    rebuild(&mirror);
}

#[test]
fn rebuild_index_hashes_a_giant_without_reading_its_holes() {
    let mirror = Mirror::new();
    if !makes_holes(&mirror) {
        return;
    }
    make_giant(&mirror);
    mirror.run(&[]).expect(0);
    rebuild(&mirror);
    match Command::new("md5sum").arg(mirror.in_source("giant")).output() {
        Ok(sum) => assert!(sum.stdout.starts_with(md5_of(&mirror, "giant").as_bytes()), "{sum:?}"),
        Err(_) => skip("there is no md5sum here: not shown that a giant's MD5 is right"),
    }
    mirror.assert_idle();
}

#[test]
fn a_replica_that_lost_its_holes_gets_them_back_and_then_stays_as_it_is() {
    let mirror = Mirror::new();
    if !makes_holes(&mirror) {
        return;
    }
    make_sparse(&mirror.in_source("large"), 6 * MIB, &[(3 * MIB, b"data")]);
    make_sparse(&mirror.in_source("small"), 64 * KIB, &[(32 * KIB, b"data")]);
    settle();
    mirror.run(&[]).expect(0);
    for name in ["large", "small"] {
        let filled = fs::read(mirror.in_replica(name)).unwrap();
        fs::write(mirror.in_replica(name), filled).unwrap();
    }
    assert_eq!(mirror.summary(&[])["copy"], 2);
    for name in ["large", "small"] {
        assert_same_holes(&mirror, name);
    }
    mirror.assert_idle();
    // Adopted by its bytes and its holes.
    fs::remove_file(mirror.manifest()).unwrap();
    let adopted = mirror.summary(&[]);
    assert_eq!(adopted["copy"], 0, "{adopted}");
}

#[test]
fn a_replica_with_more_holes_than_the_source_is_left_alone() {
    let mirror = Mirror::new();
    if !makes_holes(&mirror) {
        return;
    }
    write(mirror.in_source("zeros"), vec![0; 4 << 20]);
    settle();
    mirror.run(&[]).expect(0);
    make_sparse(&mirror.in_replica("zeros"), 4 * MIB, &[]);
    assert_eq!(mirror.summary(&[])["copy"], 0);
    assert_eq!(fs::metadata(mirror.in_replica("zeros")).unwrap().blocks(), 0);
    mirror.assert_idle();
}

#[test]
fn data_that_differs_in_a_hole_of_the_other_side_is_found() {
    let mirror = Mirror::new();
    for (number, size) in [64 * KIB, 6 * MIB, 3 * GIB].into_iter().enumerate() {
        let name = format!("file{number}");
        make_sparse(&mirror.in_source(&name), size, &[(8 * KIB, b"data")]);
        settle();
        mirror.run(&[]).expect(0);
        for (side, at) in [(mirror.in_replica(&name), size - 2 * KIB), (mirror.in_source(&name), 40 * KIB)] {
            OpenOptions::new().write(true).open(side).unwrap().write_all_at(b"other", at).unwrap();
            set_mtime(mirror.in_source(&name), 1_000_000 + i64::try_from(at).unwrap(), 0);
            settle();
            assert_eq!(mirror.summary(&[])["copy"], 1, "{name} at {at}");
            assert_same_holes(&mirror, &name);
            let read = |path, at| {
                let mut bytes = [9; 5];
                File::open(path).unwrap().read_exact_at(&mut bytes, at).unwrap();
                bytes
            };
            assert_eq!(
                read(mirror.in_replica(&name), at),
                read(mirror.in_source(&name), at),
                "{name} at {at}"
            );
        }
    }
}

#[test]
fn without_preserve_sparse_holes_are_written_as_zeros_once() {
    let mirror = Mirror::new();
    if !makes_holes(&mirror) {
        return;
    }
    mirror.write_config("home/twinfold/config.toml", "[preserve]\nsparse = false\n");
    make_sparse(&mirror.in_source("small"), 64 * KIB, &[(32 * KIB, b"data")]);
    make_sparse(&mirror.in_source("large"), 3 * MIB + 5, &[(MIB, b"data")]);
    settle();
    mirror.sync();
    for (name, size) in [("small", 64 * KIB), ("large", 3 * MIB + 5)] {
        assert_eq!(data_of(&mirror.in_replica(name)), [(0, size)], "{name}");
    }
    mirror.assert_idle();
    set_mtime(mirror.in_source("large"), 5_000, 0);
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["metadata"]), (&0.into(), &1.into()), "{summary}");
}

#[test]
fn a_term_signal_ends_a_copy_of_zeros_within_two_seconds() {
    let mirror = Mirror::new();
    // Just below what gets no MD5, so that hashing alone takes its time; and several of them.
    for number in 0..8 {
        make_sparse(&mirror.in_source(format!("{number}")), GIB, &[(7 * MIB, b"data")]);
    }
    settle();
    let mut run = start(mirror.once(&["--max-workers", "2"]));
    let began = Instant::now();
    while fs::read_dir(&mirror.replica).map_or(0, Iterator::count) == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing was begun");
        sleep(Duration::from_millis(2));
    }
    sleep(Duration::from_millis(300));
    if !run.is_running() {
        return skip("the copies were over before they could be interrupted");
    }
    run.signal(Signal::TERM);
    let (output, took) = run.wait_for(Duration::from_secs(20));
    assert!(took < Duration::from_secs(2), "{took:?}");
    output.expect(130);
    let whole = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.starts_with('.'), "{name} was left behind");
        assert_eq!(entry.metadata().unwrap().len(), GIB, "{name}");
    };
    fs::read_dir(&mirror.replica).unwrap().map(Result::unwrap).for_each(whole);
}

#[test]
fn a_sparse_file_that_grows_while_it_is_copied_is_never_torn() {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "hashing_file_chunk_size = \"4KiB\"\n");
    let path = mirror.in_source("file");
    make_sparse(&path, 12 * MIB, &[(0, &vec![b'A'; 6 << 20])]);
    settle();
    let old = fs::read(&path).unwrap();
    let run = start(mirror.once(&[]));
    let began = Instant::now();
    let staged = || fs::read_dir(&mirror.replica).map_or(0, Iterator::count) > 0;
    while !staged() {
        assert!(began.elapsed() < Duration::from_secs(60), "no copy was caught half way");
        sleep(Duration::from_millis(1));
    }
    run.freeze();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"BB", 0).unwrap();
    file.write_all_at(b"BB", 13 * MIB).unwrap();
    run.signal(Signal::CONT);
    run.wait().expect(0);
    let published = fs::read(mirror.in_replica("file")).unwrap();
    assert!(published == old || published == fs::read(path).unwrap(), "old and new were mixed");
    mirror.sync();
}
