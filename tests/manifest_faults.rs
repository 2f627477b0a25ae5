//! Damage of every kind at every place of the manifest, and a manifest that cannot be written: nothing
//! is lost, nothing is copied that is there already, and what is refused stays as it is.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::sweep::is_full;
use common::tree::{chmod, mkdir, remove, stamps, write};
use common::{Mirror, settle};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const PAGE: u64 = 4096;

/// A mirror with enough rows for several pages, in step, and its manifest's bytes.
fn mirrored() -> (Mirror, Vec<u8>) {
    let mirror = Mirror::new();
    for number in 0..150 {
        write(mirror.in_source(format!("folder{}/file-{number:05}", number % 5)), number.to_string());
    }
    settle();
    mirror.sync();
    let manifest = fs::read(mirror.manifest()).unwrap();
    (mirror, manifest)
}

/// Removes what lies in the state folder but the log, and puts this manifest there.
fn restore(mirror: &Mirror, path: &Path, manifest: &[u8]) {
    for entry in fs::read_dir(&mirror.state).unwrap() {
        let entry = entry.unwrap().path();
        if entry.to_str().unwrap().contains(".db") {
            remove(entry);
        }
    }
    write(path, manifest);
    chmod(path, 0o600);
}

/// Runs over a manifest that was tampered with: in step, nothing copied or deleted, no panic.
#[track_caller]
fn expect_no_loss(mirror: &Mirror, what: &str) {
    let before = stamps(&mirror.replica);
    let output = mirror.run(&["--json"]);
    assert!(output.code == 0 && !output.stderr.contains("panicked"), "{what}: {output:?}");
    let summary = output.summary();
    assert_eq!((&summary["copy"], &summary["delete"]), (&0.into(), &0.into()), "{what}: {summary}");
    assert!(stamps(&mirror.replica) == before, "{what}: the replica was right and was touched");
    mirror.assert_in_step();
}

#[test]
fn a_manifest_cut_at_any_length_costs_a_look_only() {
    let (mirror, manifest) = mirrored();
    let path = mirror.manifest();
    let whole = manifest.len();
    for length in [0, 1, 15, 16, 60, 99, 100, 512, 4095, 4096, 4097, 8192, 20_000, whole - 4096, whole - 1] {
        restore(&mirror, &path, &manifest[..length]);
        expect_no_loss(&mirror, &format!("cut to {length}"));
    }
}

/// A flipped byte that SQLite cannot see is a row with a wrong figure: what that costs is a look, or,
/// where a digest is hit, a digest that only a full verification finds.
#[test]
fn a_flipped_byte_in_any_page_loses_nothing() {
    let (mirror, manifest) = mirrored();
    let path = mirror.manifest();
    let pages = manifest.len() as u64 / PAGE;
    let mut refused = 0;
    let places: &[u64] =
        if is_full() { &[0, 1, 3, 5, 8, 12, 100, 2000, 3000, 3990, 4090] } else { &[3, 2000] };
    for page in 0..pages {
        for &within in places {
            let at = usize::try_from(page * PAGE + within).unwrap();
            let mut flipped = manifest.clone();
            flipped[at] ^= 0x15;
            restore(&mirror, &path, &flipped);
            let what = format!("byte {within} of page {page} flipped");
            // A changed schema version or application id is another program's file.
            if page == 0 && (60..72).contains(&within) {
                refused += 1;
                continue;
            }
            let before = stamps(&mirror.replica);
            let output = mirror.run(&[]);
            assert!(!output.stderr.contains("panicked"), "{what}: {output:?}");
            if output.code == 0 {
                mirror.assert_in_step();
                assert!(stamps(&mirror.replica) == before, "{what}: the replica was touched");
            } else {
                // A flipped root path in the job's row: it belongs to somebody else.
                assert!(output.stderr.contains("belongs to another job"), "{what}: {output:?}");
                assert!(stamps(&mirror.replica) == before, "{what}: the replica was touched");
                refused += 1;
            }
        }
    }
    assert!(refused <= 2, "{refused} were refused");
}

#[test]
fn a_log_without_its_database_and_a_database_without_its_log_are_harmless() {
    let (mirror, manifest) = mirrored();
    let path = mirror.manifest();
    let log = PathBuf::from(format!("{}-wal", path.display()));
    // A log with rows in it, as a kill leaves it: written by somebody who does not close.
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("PRAGMA wal_autocheckpoint = 0; UPDATE entries SET replica_inode = 1;").unwrap();
    let left = fs::read(&log).unwrap();
    assert!(left.len() > 4096);
    let written = fs::read(&path).unwrap();
    drop(writer);

    restore(&mirror, &path, &manifest);
    remove(&path);
    write(&log, &left);
    expect_no_loss(&mirror, "a log without its database");

    restore(&mirror, &path, &written);
    expect_no_loss(&mirror, "a database without its log");

    // The log of another time is no part of this database.
    restore(&mirror, &path, &manifest);
    write(&log, [&left[..left.len() / 2], &[0x5a; 5000]].concat());
    expect_no_loss(&mirror, "a torn log");
    restore(&mirror, &path, &manifest);
    write(&log, vec![0x5a; 50_000]);
    expect_no_loss(&mirror, "a log of garbage");
    restore(&mirror, &path, &manifest);
    write(PathBuf::from(format!("{}-shm", path.display())), vec![0x5a; 32_768]);
    expect_no_loss(&mirror, "an index of garbage");
    restore(&mirror, &path, &manifest);
    write(PathBuf::from(format!("{}-journal", path.display())), vec![0x5a; 5000]);
    expect_no_loss(&mirror, "a journal of garbage");
}

/// Runs over a manifest that cannot be written: it says so, and changes nothing.
#[track_caller]
fn expect_refusal(mirror: &Mirror) {
    write(mirror.in_source("new"), "not yet");
    let before = stamps(&mirror.replica);
    let manifest = fs::read(mirror.manifest()).unwrap();
    mirror.run(&["--log-file", "home/log"]).expect(1).says("the manifest");
    assert!(stamps(&mirror.replica) == before, "the replica was touched");
    assert!(fs::read(mirror.manifest()).unwrap() == manifest, "the manifest was touched");
}

#[test]
fn a_manifest_that_may_not_be_written_ends_the_run_before_it_does_anything() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("file"), "content");
    mirror.give_away(&mirror.source);
    mirror.sync();
    chmod(mirror.manifest(), 0o400);
    expect_refusal(&mirror);
    chmod(mirror.manifest(), 0o600);
    mirror.sync();
}

#[test]
fn a_state_folder_on_a_read_only_file_system_ends_the_run_with_a_word() {
    let mut mirror = Mirror::new();
    let Some(disk) = common::disk::mount(&["-t", "tmpfs", "none"], &mirror.path("readonly")) else { return };
    chmod(&disk.0, 0o700);
    mirror.state = disk.0.clone();
    write(mirror.in_source("file"), "content");
    mirror.sync();
    let before = stamps(&mirror.replica);
    let remount = |how: &str| assert!(common::disk::does("mount", &["-o", how, disk.0.to_str().unwrap()]));
    remount("remount,ro");
    write(mirror.in_source("new"), "not yet");
    mirror.run(&["--log-file", "home/log"]).expect(1).says("Read-only file system");
    assert!(stamps(&mirror.replica) == before);
    remount("remount,rw");
    mirror.sync();
}

#[test]
fn a_manifest_that_another_program_has_locked_is_waited_for_and_then_said() {
    let (mirror, _) = mirrored();
    let other = Connection::open(mirror.manifest()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    write(mirror.in_source("new"), "not yet");
    let before = stamps(&mirror.replica);
    mirror.run(&[]).expect(1).says("locked");
    assert!(stamps(&mirror.replica) == before, "nothing is done that nobody could remember");
    // Whoever lets go in time is waited for.
    thread::scope(|scope| {
        let run = scope.spawn(|| mirror.run(&[]));
        thread::sleep(Duration::from_millis(1500));
        other.execute_batch("COMMIT").unwrap();
        run.join().unwrap().expect(0);
    });
    mirror.assert_in_step();
}

#[test]
fn a_manifest_that_is_a_folder_is_refused() {
    let (mirror, _) = mirrored();
    let path = mirror.manifest();
    remove(&path);
    mkdir(path.join("inside"));
    let before = stamps(&mirror.replica);
    let output = mirror.run(&[]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(stamps(&mirror.replica) == before && path.join("inside").is_dir());
}

#[test]
fn a_manifest_that_breaks_while_it_is_used_is_set_aside_in_the_same_run() {
    let (mirror, manifest) = mirrored();
    let path = mirror.manifest();
    // A leaf in the middle of the rows: opening does not see it. It begins with 10, for it has keys only; the journal
    // has paths, too, but in leaves of the other sort.
    let starts = (0_u64..).zip(manifest.chunks(usize::try_from(PAGE).unwrap()));
    let leaves: Vec<u64> = starts
        .filter(|(_, page)| page[0] == 10 && page.windows(7).any(|name| name == b"file-00"))
        .map(|(number, _)| number)
        .collect();
    let page = leaves[leaves.len() / 2];
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 64], page * PAGE).unwrap();
    drop(file);
    expect_no_loss(&mirror, "a broken leaf");
    let names = fs::read_dir(&mirror.state).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().contains(".damaged-")).count(), 1);
}
