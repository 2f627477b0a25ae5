//! A file that never was a manifest is refused and stays as it is, whatever command it is named to.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::program::{Output, finish};
use common::tree::{chmod, mkdir, remove, stamps, write};
use common::{Mirror, settle};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// A mirror with one file, in step, and a folder of the user's own.
fn mirrored() -> (Mirror, PathBuf) {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    settle();
    mirror.sync();
    let own = mirror.path("own");
    mkdir(&own);
    (mirror, own)
}

/// Runs every command with `manifest`, which each must refuse.
fn try_all(mirror: &Mirror, manifest: &Path) -> Vec<(String, Output)> {
    let commands: [&[&str]; 8] = [
        &["sync", "--once"],
        &["sync", "-n"],
        &["status"],
        &["status", "--pending"],
        &["rebuild-index"],
        &["rebuild-index", "--report-only"],
        &["approve"],
        &["accept", "file"],
    ];
    let run = |words: &&[&str]| {
        let mut command = mirror.program(words);
        command.args(mirror.roots()).arg("--manifest").arg(manifest);
        (words.join(" "), finish(command))
    };
    commands.iter().map(run).collect()
}

#[track_caller]
fn expect_refused(mirror: &Mirror, manifest: &Path) {
    let folder = manifest.parent().unwrap();
    let (all, replica) = (stamps(folder), stamps(&mirror.replica));
    let content = fs::read(manifest).ok();
    // Twice: the first attempt must leave nothing that makes the second believe it.
    for _ in 0..2 {
        for (what, output) in try_all(mirror, manifest) {
            assert_eq!(output.code, 2, "{what} {}: {output:?}", manifest.display());
            assert!(output.stderr.contains(manifest.to_str().unwrap()), "{what}: {output:?}");
        }
    }
    assert!(stamps(folder) == all, "nothing came, went or changed in {}", folder.display());
    assert_eq!(fs::read(manifest).ok(), content);
    assert!(stamps(&mirror.replica) == replica, "the replica was touched");
}

#[test]
fn what_never_was_a_manifest_is_refused_with_2_and_left_as_it_is() {
    let (mirror, own) = mirrored();
    let whole = fs::read(mirror.manifest()).unwrap();
    let contents: [(&str, &[u8]); 7] = [
        ("notes.txt", b"precious notes\n"),
        ("config.toml", b"[[job]]\nname = \"x\"\n"),
        ("empty", b""),
        ("zeros", &[0; 8192]),
        ("cut", &whole[..60]),
        ("magic", b"SQLite format 3\0"),
        ("torn", &[&[7; 60][..], &whole[60..]].concat()),
    ];
    for (name, content) in contents {
        let path = own.join(name);
        write(&path, content);
        chmod(&path, 0o600);
        expect_refused(&mirror, &path);
    }
    let foreign = own.join("foreign.db");
    let connection = Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)").unwrap();
    connection.close().unwrap();
    expect_refused(&mirror, &foreign);
    let folder = own.join("folder");
    mkdir(&folder);
    expect_refused(&mirror, &folder);
}

#[test]
fn system_files_and_devices_are_refused_untouched() {
    let (mirror, _) = mirrored();
    let before = fs::metadata("/etc/passwd").unwrap().modified().unwrap();
    for path in ["/etc/passwd", "/dev/null"] {
        for (what, output) in try_all(&mirror, Path::new(path)) {
            // An ordinary user is not even let into the folder.
            let refused = output.code == 2 || (!common::is_root() && output.code == 1);
            assert!(refused, "{what} {path}: {output:?}");
        }
    }
    assert_eq!(fs::metadata("/etc/passwd").unwrap().modified().unwrap(), before);
    for litter in ["/etc/passwd.lock", "/etc/passwd-wal", "/etc/passwd.manifest-new", "/dev/null.lock"] {
        assert!(!Path::new(litter).exists(), "{litter}");
    }
}

#[test]
fn a_manifest_of_a_persons_choice_that_is_damaged_later_heals_by_what_its_lock_file_records() {
    let (mirror, own) = mirrored();
    chmod(&own, 0o700);
    let path = own.join("chosen.db");
    let option = ["--manifest", path.to_str().unwrap()];
    mirror.run(&option).expect(0);
    for damage in [&b""[..], &[0x5a; 5000], b"SQLite"] {
        write(&path, damage);
        let before = stamps(&mirror.replica);
        mirror.run(&[&option[..], &["-n"]].concat()).expect(0);
        mirror.run(&option).expect(0).says("set aside");
        assert!(stamps(&mirror.replica) == before);
        mirror.run(&option).expect(0);
    }
    // Another job's record proves nothing for this one.
    write(&path, "garbage");
    let mut other = mirror.program(&["sync", "--once", "--replica", "second"]);
    other.arg("--source").arg(&mirror.source).args(option);
    finish(other).expect(2).says("not a twinfold manifest");
    assert_eq!(fs::read(&path).unwrap(), b"garbage");
}

#[test]
fn a_named_jobs_place_in_the_state_folder_proves_what_looks_like_a_torn_manifest_only() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    let config =
        format!("[[job]]\nname = \"main\"\nsource = {:?}\nreplica = {:?}\n", mirror.source, mirror.replica);
    mirror.write_config("home/twinfold/config.toml", config);
    mkdir(&mirror.replica);
    let path = mirror.state.join("main.db");
    let run = || finish(mirror.program(&["sync", "--once"]));
    for (content, code) in [(&b"my own file\n"[..], 2), (b"", 0), (&[0; 4096], 0)] {
        for litter in fs::read_dir(&mirror.state).unwrap() {
            remove(litter.unwrap().path());
        }
        write(&path, content);
        chmod(&path, 0o600);
        let output = run();
        assert_eq!(output.code, code, "{content:?}: {output:?}");
        assert_eq!(fs::read(&path).unwrap() == content, code == 2);
    }
}

#[test]
fn a_foreign_file_that_has_the_name_of_the_lock_is_refused_untouched() {
    let (mirror, own) = mirrored();
    chmod(&own, 0o700);
    let (path, lock) = (own.join("poetry"), own.join("poetry.lock"));
    write(&lock, "[[package]]\n");
    chmod(&lock, 0o600);
    mirror.run(&["--manifest", path.to_str().unwrap()]).expect(2).says("poetry.lock");
    assert_eq!(fs::read(&lock).unwrap(), b"[[package]]\n");
    assert!(!path.exists());
}
