//! The manifest may be lost or damaged at any time: that costs a re-hash, never data.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::tree::{inode, remove, stamps, write};
use common::{Mirror, settle};
use rusqlite::Connection;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

/// A mirror with enough rows for several pages, in step.
fn mirrored() -> Mirror {
    let mirror = Mirror::new();
    for number in 0..400 {
        write(mirror.in_source(format!("folder{}/file-{number:05}", number % 5)), number.to_string());
    }
    settle();
    mirror.sync();
    mirror
}

/// What lies in the state folder under a damaged one's name.
fn set_aside(mirror: &Mirror) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(&mirror.state).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.to_str().unwrap().contains(".db.damaged-"));
    found
}

/// Runs over a manifest whose damage shows when it is opened: it is kept exactly as it was.
fn expect_adoption(mirror: &Mirror) {
    let damaged = std::fs::read(mirror.manifest()).unwrap();
    let aside = expect_adoption_in_use(mirror);
    assert!(std::fs::read(aside).unwrap() == damaged, "it is kept as it was");
}

/// Runs over a damaged manifest: said aloud, set aside, nothing copied, in step. Returns where it
/// was put.
fn expect_adoption_in_use(mirror: &Mirror) -> PathBuf {
    let before = stamps(&mirror.replica);
    let output = mirror.run(&["--json"]).expect(0).says("set aside");
    assert_eq!((&output.summary()["copy"], &output.summary()["delete"]), (&0.into(), &0.into()));
    let aside = set_aside(mirror);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(output.stderr.contains(aside[0].to_str().unwrap()), "{}", output.stderr);
    assert!(stamps(&mirror.replica) == before, "the replica was right and stays untouched");
    mirror.assert_in_step();
    mirror.assert_idle();
    aside[0].clone()
}

#[test]
fn without_a_manifest_the_next_run_copies_nothing() {
    let mirror = mirrored();
    let before = stamps(&mirror.replica);
    remove(mirror.manifest());
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["confirmed"]), (&0.into(), &406.into()), "{summary}");
    assert!(stamps(&mirror.replica) == before);
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn garbage_is_set_aside() {
    let mirror = mirrored();
    write(mirror.manifest(), vec![0x5a; 20_000]);
    expect_adoption(&mirror);
}

#[test]
fn an_empty_file_is_set_aside() {
    let mirror = mirrored();
    write(mirror.manifest(), "");
    expect_adoption(&mirror);
}

#[test]
fn a_truncated_manifest_is_set_aside() {
    for keep in [50, 4096, 20_000] {
        let mirror = mirrored();
        let all = std::fs::read(mirror.manifest()).unwrap();
        assert!(all.len() > keep);
        write(mirror.manifest(), &all[..keep]);
        expect_adoption(&mirror);
    }
}

#[test]
fn a_page_of_rubbish_anywhere_is_set_aside_or_harmless() {
    let pages = std::fs::metadata(mirrored().manifest()).unwrap().len() / 4096;
    assert!(pages > 10, "{pages}");
    for page in [1, pages / 2, pages - 1] {
        let mirror = mirrored();
        let file = std::fs::OpenOptions::new().write(true).open(mirror.manifest()).unwrap();
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
        drop(file);
        let before = stamps(&mirror.replica);
        assert_eq!(mirror.summary(&[])["copy"], 0);
        assert!(stamps(&mirror.replica) == before);
        mirror.assert_in_step();
        mirror.assert_idle();
    }
}

/// Replaces every occurrence of some bytes in the manifest by others of that length.
fn forge(mirror: &Mirror, from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let mut all = std::fs::read(mirror.manifest()).unwrap();
    let places: Vec<usize> =
        all.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        all[at..at + to.len()].copy_from_slice(to);
    }
    write(mirror.manifest(), all);
}

#[test]
fn flipped_bits_that_put_rows_out_of_order_are_damage() {
    let mirror = mirrored();
    forge(&mirror, b"folder2/file-00102", b"zolder2/file-00102");
    let aside = std::fs::read(expect_adoption_in_use(&mirror)).unwrap();
    assert!(aside.windows(18).any(|window| window == b"zolder2/file-00102"));
}

#[test]
fn flipped_bits_that_keep_the_order_cost_one_look() {
    let mirror = mirrored();
    forge(&mirror, b"folder2/file-00102", b"folder2/file-00103");
    let before = inode(mirror.in_replica("folder2/file-00102"));
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["confirmed"]), (&0.into(), &1.into()), "{summary}");
    assert_eq!(inode(mirror.in_replica("folder2/file-00102")), before);
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn a_missing_table_is_damage() {
    let mirror = mirrored();
    let connection = Connection::open(mirror.manifest()).unwrap();
    connection.execute_batch("DROP TABLE entries").unwrap();
    connection.close().unwrap();
    expect_adoption(&mirror);
}

/// Runs, in every way, over a file that must be refused and stay as it is.
fn expect_refusal(mirror: &Mirror, code: i32, said: &str) {
    let manifest = mirror.manifest();
    let before = std::fs::read(&manifest).unwrap();
    let files = || std::fs::read_dir(&mirror.state).unwrap().count();
    let (count, replica) = (files(), stamps(&mirror.replica));
    write(mirror.in_source("new"), "not copied");
    for more in [&[][..], &["-n"]] {
        mirror.run(more).expect(code).says(said);
        assert!(std::fs::read(&manifest).unwrap() == before, "it is untouched");
    }
    assert_eq!(files(), count, "nothing was put beside it");
    assert!(stamps(&mirror.replica) == replica);
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let mirror = mirrored();
    let connection = Connection::open(mirror.manifest()).unwrap();
    connection.pragma_update(None, "user_version", 1000).unwrap();
    connection.close().unwrap();
    expect_refusal(&mirror, 1, "schema 1000");
}

#[test]
fn another_applications_database_is_refused_untouched() {
    let mirror = mirrored();
    let connection = Connection::open(mirror.manifest()).unwrap();
    connection.pragma_update(None, "application_id", 0x1234_5678).unwrap();
    connection.close().unwrap();
    expect_refusal(&mirror, 2, "another application");

    let mirror = mirrored();
    remove(mirror.manifest());
    let path = mirror.state.join("precious.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)").unwrap();
    connection.close().unwrap();
    let before = std::fs::read(&path).unwrap();
    mirror.run(&["--manifest", "state/precious.db"]).expect(2).says("another application");
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn state_is_for_its_owner_only() {
    let mirror = mirrored();
    for entry in std::fs::read_dir(&mirror.state).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    // A state folder that is missing is made likewise.
    remove(&mirror.state);
    mirror.sync();
    assert_eq!(std::fs::metadata(&mirror.state).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_manifest_at_the_end_of_a_link_is_not_followed_to_other_places() {
    let mirror = mirrored();
    let manifest = mirror.manifest();
    let elsewhere = mirror.path("elsewhere.db");
    std::fs::hard_link(&manifest, &elsewhere).unwrap();
    remove(&manifest);
    common::tree::symlink(&elsewhere, &manifest);
    let before = std::fs::read(&elsewhere).unwrap();
    let output = mirror.run(&[]);
    assert_ne!(output.code, 0, "{output:?}");
    assert!(std::fs::read(&elsewhere).unwrap() == before);
}

#[test]
fn every_file_has_its_md5_in_the_manifest() {
    use md5::Digest;
    let mirror = mirrored();
    write(mirror.in_source("large"), vec![3; 3 << 20]);
    write(mirror.in_source("folder1/file-00001"), "changed");
    settle();
    mirror.sync();
    let connection = Connection::open(mirror.manifest()).unwrap();
    let mut query = connection.prepare("SELECT path, md5 FROM entries WHERE kind = 0").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut seen = 0;
    for row in rows {
        let (path, digest): (Vec<u8>, Vec<u8>) = row.unwrap();
        let content = std::fs::read(mirror.in_replica(common::tree::name(&path))).unwrap();
        assert_eq!(digest, md5::Md5::digest(content).to_vec(), "{path:?}");
        seen += 1;
    }
    assert_eq!(seen, 401);
}

#[test]
fn every_run_is_in_the_history_with_its_figures() {
    let mirror = mirrored();
    remove(mirror.in_source("folder1/file-00001"));
    mirror.run(&["--max-delete", "0"]).expect(4);
    let connection = Connection::open(mirror.manifest()).unwrap();
    let row = |sql: &str| -> (String, i64, i64, i64) {
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap()
    };
    let columns = "SELECT result, exit_code, copied, held FROM runs ORDER BY id";
    assert_eq!(row(&format!("{columns} LIMIT 1")), ("ok".to_owned(), 0, 400, 0));
    assert_eq!(row(&format!("{columns} DESC LIMIT 1")), ("held".to_owned(), 4, 0, 1));
    let held: Vec<u8> = connection.query_row("SELECT path FROM held_deletes", [], |row| row.get(0)).unwrap();
    assert_eq!(held, b"folder1/file-00001");
}

#[test]
fn a_dry_run_over_a_damaged_manifest_says_what_the_run_would_do() {
    let garbage = |mirror: &Mirror| write(mirror.manifest(), vec![0x5a; 20_000]);
    let disorder = |mirror: &Mirror| forge(mirror, b"folder2/file-00102", b"zolder2/file-00102");
    let forgeries: [&dyn Fn(&Mirror); 2] = [&garbage, &disorder];
    for harm in forgeries {
        let mirror = mirrored();
        harm(&mirror);
        let before = std::fs::read(mirror.manifest()).unwrap();
        let output = mirror.run(&["-n", "--json"]).expect(0);
        assert_eq!(output.summary()["copy"], 0);
        assert!(std::fs::read(mirror.manifest()).unwrap() == before);
        assert!(set_aside(&mirror).is_empty());
        expect_adoption_in_use(&mirror);
    }
}
