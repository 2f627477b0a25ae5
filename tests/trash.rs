//! What a run deletes or overwrites goes into the trash, and can be brought back.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make their own trees")]

mod common;

use common::program::{Output, finish};
use common::tree::{remove, write};
use common::{Mirror, settle};
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A config with one job for this mirror and a trash.
fn config(mirror: &Mirror, keys: &str) -> String {
    let (source, replica) = (mirror.source.display(), mirror.replica.display());
    let text = format!(
        "[trash]\nenabled = true\n{keys}\n[[job]]\nname = \"one\"\nsource = '{source}'\nreplica = '{replica}'\nmax_delete = \"off\"\n"
    );
    mirror.write_config("config.toml", text).to_str().unwrap().to_owned()
}

fn command(mirror: &Mirror, config: &str, words: &[&str]) -> Command {
    let mut command = mirror.program(words);
    command.args(["--config", config]);
    command
}

fn run(mirror: &Mirror, config: &str) -> Value {
    settle();
    finish(command(mirror, config, &["sync", "--once", "--json"])).expect(0).summary()
}

#[track_caller]
fn is_idle(mirror: &Mirror, config: &str) {
    let summary = run(mirror, config);
    for field in ["create", "copy", "move", "link", "metadata", "delete", "problems", "held"] {
        assert_eq!(summary[field], 0, "{summary}");
    }
}

fn restore(mirror: &Mirror, config: &str, words: &[&str]) -> Output {
    finish(command(mirror, config, &[&["restore"], words].concat()))
}

/// The folders of the runs in the trash.
fn runs(trash: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(trash) else { return Vec::new() };
    let mut runs: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs
}

fn trash(mirror: &Mirror) -> PathBuf {
    mirror.in_replica(".twinfold-trash")
}

/// What the only run's folder holds under this path.
fn kept(mirror: &Mirror, path: &str) -> PathBuf {
    let runs = runs(&trash(mirror));
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].join(path)
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

#[test]
fn what_is_deleted_and_what_is_overwritten_can_be_brought_back_with_all_its_metadata() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    write(mirror.in_source("gone/deep/file"), "precious");
    fs::set_permissions(mirror.in_source("gone/deep/file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(mirror.in_source("gone/deep"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("nowhere", mirror.in_source("gone/link")).unwrap();
    write(mirror.in_source("changed"), "version 1");
    write(mirror.in_source("stays"), "here");
    run(&mirror, &config);
    let before = fs::metadata(mirror.in_replica("gone/deep/file")).unwrap();
    let folder = fs::metadata(mirror.in_replica("gone/deep")).unwrap();
    remove(mirror.in_source("gone"));
    write(mirror.in_source("changed"), "and version 2");
    let summary = run(&mirror, &config);
    assert_eq!((summary["delete"].as_u64(), summary["copy"].as_u64()), (Some(4), Some(1)), "{summary}");
    assert!(!mirror.in_replica("gone").exists());
    assert_eq!(text(kept(&mirror, "gone/deep/file")), "precious");
    assert_eq!(text(kept(&mirror, "changed")), "version 1");
    assert!(!kept(&mirror, "stays").exists());
    let after = fs::metadata(kept(&mirror, "gone/deep/file")).unwrap();
    assert_eq!(
        (after.ino(), after.mode(), after.mtime_nsec()),
        (before.ino(), before.mode(), before.mtime_nsec())
    );
    let after = fs::metadata(kept(&mirror, "gone/deep")).unwrap();
    assert_eq!(
        (after.mode(), after.mtime(), after.mtime_nsec()),
        (folder.mode(), folder.mtime(), folder.mtime_nsec())
    );
    assert_eq!(fs::metadata(trash(&mirror)).unwrap().mode() & 0o777, 0o700);
    is_idle(&mirror, &config);
    // Deleted: back into the source, from where the next run brings it over again.
    let output = restore(&mirror, &config, &["gone"]).expect(0);
    assert!(output.stdout.contains("versions of gone"), "{}", output.stdout);
    assert_eq!(text(mirror.in_source("gone/deep/file")), "precious");
    let back = fs::metadata(mirror.in_source("gone/deep/file")).unwrap();
    assert_eq!(
        (back.mode(), back.mtime(), back.mtime_nsec()),
        (before.mode(), before.mtime(), before.mtime_nsec())
    );
    let back = fs::metadata(mirror.in_source("gone/deep")).unwrap();
    assert_eq!((back.mode(), back.mtime_nsec()), (folder.mode(), folder.mtime_nsec()));
    assert_eq!(fs::read_link(mirror.in_source("gone/link")).unwrap(), Path::new("nowhere"));
    // Overwritten: what is there stays, unless another place is named.
    let refused = restore(&mirror, &config, &["changed"]).expect(3);
    assert!(refused.stderr.contains("something of this name already"), "{}", refused.stderr);
    assert_eq!(text(mirror.in_source("changed")), "and version 2");
    let out = mirror.path("out");
    restore(&mirror, &config, &["changed", "--to", out.to_str().unwrap()]).expect(0);
    assert_eq!(text(out.join("changed")), "version 1");
    restore(&mirror, &config, &["gone/deep/file", "--to", out.to_str().unwrap()]).expect(0);
    assert_eq!(text(out.join("gone/deep/file")), "precious");
    run(&mirror, &config);
    assert_eq!(text(mirror.in_replica("gone/deep/file")), "precious");
}

#[test]
fn the_version_of_any_time_can_be_asked_for() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    for version in ["1", "22", "333"] {
        write(mirror.in_source("file"), version);
        run(&mirror, &config);
        // Runs of one second have names with numbers.
        settle();
    }
    let listed = restore(&mirror, &config, &["file", "--list", "--json"]).expect(0).json();
    let sizes: Vec<u64> = listed.iter().map(|version| version["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [1, 2], "{listed:?}");
    let first = listed[0]["version"].as_str().unwrap();
    let out = mirror.path("out");
    restore(&mirror, &config, &["file", "--at", first, "--to", out.to_str().unwrap()]).expect(0);
    assert_eq!(text(out.join("file")), "1");
    let other = mirror.path("other");
    restore(&mirror, &config, &["file", "--to", other.to_str().unwrap()]).expect(0);
    assert_eq!(text(other.join("file")), "22", "the newest where no time is named");
    restore(&mirror, &config, &["file", "--at", "2001-01-01", "--to", mirror.path("old").to_str().unwrap()])
        .expect(0);
    assert_eq!(text(mirror.path("old/file")), "1", "then it was what the first run overwrote");
    let late = restore(&mirror, &config, &["file", "--at", "2999-01-01"]).expect(1);
    assert!(late.stderr.contains("no run has deleted or overwritten it since then"), "{}", late.stderr);
    restore(&mirror, &config, &["file", "--at", "soon"]).expect(2);
    let never = restore(&mirror, &config, &["never"]).expect(1);
    assert!(never.stderr.contains("has no version of it"), "{}", never.stderr);
}

#[test]
fn a_name_in_use_by_the_other_kind_of_entry_is_kept_too() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    write(mirror.in_source("file-then-folder"), "a file");
    write(mirror.in_source("folder-then-file/inside"), "inside");
    run(&mirror, &config);
    remove(mirror.in_source("file-then-folder"));
    write(mirror.in_source("file-then-folder/inside"), "new");
    remove(mirror.in_source("folder-then-file"));
    write(mirror.in_source("folder-then-file"), "new");
    run(&mirror, &config);
    assert_eq!(text(kept(&mirror, "file-then-folder")), "a file");
    assert_eq!(text(kept(&mirror, "folder-then-file/inside")), "inside");
    is_idle(&mirror, &config);
}

#[test]
fn names_of_one_inode_stay_in_step_when_some_of_them_go() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    write(mirror.in_source("a"), "shared");
    for name in ["b", "c", "d"] {
        fs::hard_link(mirror.in_source("a"), mirror.in_source(name)).unwrap();
    }
    run(&mirror, &config);
    remove(mirror.in_source("c"));
    remove(mirror.in_source("d"));
    write(mirror.in_source("new"), "b is another file now");
    fs::rename(mirror.in_source("new"), mirror.in_source("b")).unwrap();
    run(&mirror, &config);
    for name in ["b", "c", "d"] {
        assert_eq!(text(kept(&mirror, name)), "shared", "{name}");
    }
    assert_eq!(fs::metadata(mirror.in_replica("a")).unwrap().nlink(), 1);
    let shared = fs::metadata(kept(&mirror, "c")).unwrap();
    assert_eq!((shared.nlink(), shared.ino()), (3, fs::metadata(kept(&mirror, "d")).unwrap().ino()));
    is_idle(&mirror, &config);
}

#[test]
fn a_file_that_a_move_overwrites_is_kept_and_one_that_moves_is_not() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    for name in ["a", "b", "c"] {
        write(mirror.in_source(name), format!("{name} {}", "x".repeat(5000)));
    }
    run(&mirror, &config);
    // c is lost, a and b only get other names.
    fs::rename(mirror.in_source("b"), mirror.in_source("c")).unwrap();
    fs::rename(mirror.in_source("a"), mirror.in_source("b")).unwrap();
    let summary = run(&mirror, &config);
    assert_eq!(summary["move"], 2, "{summary}");
    assert!(text(kept(&mirror, "c")).starts_with("c x"));
    assert!(!kept(&mirror, "b").exists() && !kept(&mirror, "a").exists());
    is_idle(&mirror, &config);
}

#[test]
fn what_is_old_enough_leaves_and_status_counts_the_rest() {
    let mirror = Mirror::new();
    let config = config(&mirror, "keep = \"1d\"");
    write(mirror.in_source("zero"), "old");
    write(mirror.in_source("one"), "12345");
    write(mirror.in_source("two"), "123");
    write(mirror.in_source("stays"), "1");
    run(&mirror, &config);
    remove(mirror.in_source("zero"));
    run(&mirror, &config);
    let old = runs(&trash(&mirror)).remove(0);
    remove(mirror.in_source("one"));
    run(&mirror, &config);
    passes(&mirror, &old, 86_390);
    run(&mirror, &config);
    assert_eq!(text(old.join("zero")), "old", "it is not a day yet");
    passes(&mirror, &old, 86_500);
    write(trash(&mirror).join("notes"), "not ours");
    remove(mirror.in_source("two"));
    run(&mirror, &config);
    assert!(!old.exists(), "it was there for more than a day");
    let name = old.file_name().unwrap().to_str().unwrap();
    let expired = format!("trash: {name} expired: 1 entries, 3 bytes, which had been there for 1 d 0 h");
    assert!(mirror.log().contains(&expired), "{}", mirror.log());
    assert_eq!(text(trash(&mirror).join("notes")), "not ours");
    let status = finish(command(&mirror, &config, &["status", "--json"])).expect(0).json();
    assert_eq!(status[0]["trash"]["entries"], 2, "{status:?}");
    assert_eq!(status[0]["trash"]["bytes"], 8, "{status:?}");
    let shown = finish(command(&mirror, &config, &["status"])).expect(0).stdout;
    assert!(shown.contains("trash     2 put aside, 8 B, since"), "{shown}");
}

/// Has the manifest know that a run's folder has been in the trash for so many seconds.
fn passes(mirror: &Mirror, folder: &Path, seconds: i64) {
    let connection = Connection::open(mirror.state.join("one.db")).unwrap();
    let now: i64 =
        connection.query_row("SELECT passed + uptime - first FROM trash_time", [], |row| row.get(0)).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    let sql = "UPDATE trash SET since = ?1 WHERE name = ?2";
    assert_eq!(connection.execute(sql, rusqlite::params![now - seconds, name]).unwrap(), 1);
}

#[test]
fn a_clock_that_jumps_does_not_empty_the_trash() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    write(mirror.in_source("thesis"), "precious");
    write(mirror.in_source("stays"), "1");
    run(&mirror, &config);
    remove(mirror.in_source("thesis"));
    run(&mirror, &config);
    // As if it had been put aside by a board whose clock starts in 2020.
    let named = runs(&trash(&mirror)).remove(0);
    let wrong = trash(&mirror).join("20200101T000010Z");
    fs::rename(&named, &wrong).unwrap();
    run(&mirror, &config);
    assert_eq!(text(wrong.join("thesis")), "precious");
    // As if the machine had been started again since, and the clock had stood years back.
    let connection = Connection::open(mirror.state.join("one.db")).unwrap();
    let elsewhere =
        "UPDATE trash_time SET boot = 'another', wall = wall - 200000000, latest = latest - 200000000";
    for _ in 0..2 {
        connection.execute(elsewhere, []).unwrap();
        run(&mirror, &config);
        assert_eq!(text(wrong.join("thesis")), "precious");
    }
    // A manifest that is lost knows nothing of how long it was there.
    drop(connection);
    for file in ["one.db", "one.db-wal", "one.db-shm"] {
        let _ = fs::remove_file(mirror.state.join(file));
    }
    run(&mirror, &config);
    assert_eq!(text(wrong.join("thesis")), "precious");
    let listed = restore(&mirror, &config, &["thesis", "--list"]).expect(0).stdout;
    assert!(listed.contains("20200101T000010Z"), "{listed}");
}

#[test]
fn the_trash_is_no_entry_of_the_mirror_on_either_side() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    write(mirror.in_source("file"), "x");
    write(mirror.in_source(".twinfold-trash/20200101T000000Z/secret"), "the trash of another mirror");
    write(mirror.in_source("deep/.twinfold-trash"), "only a name");
    write(mirror.in_source("stays"), "1");
    run(&mirror, &config);
    assert!(!trash(&mirror).join("20200101T000000Z").exists());
    assert_eq!(text(mirror.in_replica("deep/.twinfold-trash")), "only a name");
    remove(mirror.in_source("file"));
    run(&mirror, &config);
    // Without a trash, too, what lies there stays.
    mirror.run(&["--max-delete", "off"]).expect(0);
    assert_eq!(text(kept(&mirror, "file")), "x");
    let told = finish(command(&mirror, &config, &["status", ".twinfold-trash"])).expect(0).stdout;
    assert!(told.contains("excluded"), "{told}");
}

#[test]
fn a_trash_may_lie_beside_the_replica_but_not_on_another_file_system_or_in_a_root() {
    let mirror = Mirror::new();
    let beside = mirror.path("trash");
    let named = config(&mirror, &format!("dir = '{}'", beside.display()));
    write(mirror.in_source("file"), "x");
    write(mirror.in_source("stays"), "1");
    run(&mirror, &named);
    remove(mirror.in_source("file"));
    run(&mirror, &named);
    assert_eq!(text(runs(&beside)[0].join("file")), "x");
    assert!(!trash(&mirror).exists());
    restore(&mirror, &named, &["file"]).expect(0);
    assert_eq!(text(mirror.in_source("file")), "x");
    for (dir, why) in [
        (mirror.in_source("t"), "lies inside the source"),
        (mirror.in_replica("t"), "lies inside the replica"),
        (PathBuf::from("/proc/self/t"), "cannot use the trash"),
    ] {
        let config = config(&mirror, &format!("dir = '{}'", dir.display()));
        let refused = finish(command(&mirror, &config, &["sync", "--once"])).expect(2);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
}

#[test]
fn a_trash_that_somebody_else_may_write_to_or_planted_is_refused() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    write(mirror.in_source("file"), "x");
    run(&mirror, &config);
    fs::set_permissions(trash(&mirror), fs::Permissions::from_mode(0o777)).unwrap();
    remove(mirror.in_source("file"));
    let once = || finish(command(&mirror, &config, &["sync", "--once"]));
    assert!(once().expect(2).stderr.contains("can be written to by others"));
    assert!(mirror.in_replica("file").exists(), "nothing was touched");
    fs::remove_dir(trash(&mirror)).unwrap();
    let elsewhere = mirror.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, trash(&mirror)).unwrap();
    assert!(once().expect(2).stderr.contains("cannot use the trash"));
    assert!(mirror.in_replica("file").exists(), "nothing was touched");
    assert!(runs(&elsewhere).is_empty());
}

#[test]
fn what_a_killed_run_had_put_aside_is_kept_and_what_was_half_made_is_not() {
    let mirror = Mirror::new();
    let config = config(&mirror, "");
    write(mirror.in_source("file"), "x");
    run(&mirror, &config);
    write(mirror.in_replica(".twinfold-00ff.tmp"), "half a file");
    write(mirror.in_replica(".twinfold-00fe.tmp/inside"), "of a folder that had to make way");
    run(&mirror, &config);
    assert!(!kept(&mirror, ".twinfold-00ff.tmp").exists());
    assert_eq!(text(kept(&mirror, ".twinfold-00fe.tmp/inside")), "of a folder that had to make way");
    is_idle(&mirror, &config);
}
