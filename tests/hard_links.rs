//! Names of one inode in the source are names of one inode in the replica, and no others are.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::Mirror;
use common::program::finish;
use common::settle;
use common::tree::{chmod, inode, mkdir, mkfifo, remove, set_mtime, symlink, write};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn link(mirror: &Mirror, from: &str, to: &str) {
    fs::hard_link(mirror.in_source(from), mirror.in_source(to)).unwrap();
}

/// Which of the replica's names share an inode.
fn together(mirror: &Mirror, names: &[&str]) -> bool {
    let inodes: Vec<u64> = names.iter().map(|name| inode(mirror.in_replica(name))).collect();
    inodes.iter().all(|&each| each == inodes[0])
}

#[test]
fn groups_of_every_kind_are_made_in_one_run_and_an_idle_one_follows() {
    let mirror = Mirror::new();
    write(mirror.in_source("folder/a"), "content");
    symlink("anywhere", mirror.in_source("link"));
    mkfifo(mirror.in_source("fifo"));
    mkdir(mirror.in_source("other"));
    for (from, to) in
        [("folder/a", "b"), ("folder/a", "other/c"), ("link", "link2"), ("fifo", "folder/fifo2")]
    {
        link(&mirror, from, to);
    }
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["link"]), (&1.into(), &4.into()), "{summary}");
    mirror.assert_in_step();
    assert!(together(&mirror, &["folder/a", "b", "other/c"]));
    mirror.assert_idle();
}

#[test]
fn groups_grow_and_shrink_and_vanish_without_a_copy() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "content");
    settle();
    mirror.sync();
    for (step, copies) in [("grow", 0), ("more", 0), ("shrink", 0), ("alone", 0)] {
        match step {
            "grow" => link(&mirror, "a", "z"),
            "more" => link(&mirror, "z", "m"),
            // The first name goes, which the others were linked from.
            "shrink" => remove(mirror.in_source("a")),
            _ => remove(mirror.in_source("z")),
        }
        settle();
        let summary = mirror.summary(&[]);
        assert_eq!(summary["copy"], copies, "{step}: {summary}");
        mirror.assert_in_step();
        mirror.assert_idle();
    }
}

#[test]
fn a_group_that_splits_is_split_in_the_replica_whatever_the_content() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "content");
    link(&mirror, "a", "b");
    link(&mirror, "a", "c");
    settle();
    mirror.sync();
    // The same bytes, time and mode, but a file of its own.
    remove(mirror.in_source("b"));
    write(mirror.in_source("b"), "content");
    let (seconds, nanos) = common::tree::mtime(mirror.in_source("a"));
    set_mtime(mirror.in_source("b"), seconds, nanos);
    settle();
    mirror.sync();
    assert!(together(&mirror, &["a", "c"]) && !together(&mirror, &["a", "b"]));
    mirror.assert_idle();
}

#[test]
fn new_content_and_new_metadata_reach_all_names_of_a_group() {
    let mirror = Mirror::new();
    for name in ["a", "b", "c"] {
        if name == "a" {
            write(mirror.in_source(name), "content");
        } else {
            link(&mirror, "a", name);
        }
    }
    settle();
    mirror.sync();
    let before = inode(mirror.in_replica("a"));
    chmod(mirror.in_source("b"), 0o600);
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["metadata"], &summary["copy"], &summary["link"]), (&1.into(), &0.into(), &0.into()));
    assert_eq!(inode(mirror.in_replica("c")), before, "mended in place, once for all names");
    mirror.assert_in_step();
    mirror.assert_idle();
    write(mirror.in_source("c"), "other content");
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["link"]), (&1.into(), &2.into()), "{summary}");
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn a_group_that_somebody_broke_or_made_in_the_replica_is_put_right() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "content");
    link(&mirror, "a", "b");
    write(mirror.in_source("x"), "same");
    write(mirror.in_source("y"), "same");
    set_mtime(mirror.in_source("x"), 1_000, 5);
    set_mtime(mirror.in_source("y"), 1_000, 5);
    settle();
    mirror.sync();
    fs::copy(mirror.in_replica("b"), mirror.in_replica("b2")).unwrap();
    fs::rename(mirror.in_replica("b2"), mirror.in_replica("b")).unwrap();
    remove(mirror.in_replica("y"));
    fs::hard_link(mirror.in_replica("x"), mirror.in_replica("y")).unwrap();
    mirror.sync();
    assert!(together(&mirror, &["a", "b"]) && !together(&mirror, &["x", "y"]));
    mirror.assert_idle();
}

#[test]
fn an_inode_with_names_outside_the_replica_is_never_written_through() {
    let mirror = Mirror::new();
    write(mirror.in_source("alone"), "content");
    write(mirror.in_source("a"), "content");
    link(&mirror, "a", "b");
    settle();
    mirror.sync();
    for name in ["alone", "a"] {
        fs::hard_link(mirror.in_replica(name), mirror.path(format!("outside-{name}"))).unwrap();
        fs::hard_link(mirror.in_replica(name), mirror.path(format!("outside-{name}-2"))).unwrap();
    }
    let outside = |name: &str| fs::metadata(mirror.path(name)).unwrap();
    let figures = |name: &str| (outside(name).mode(), outside(name).mtime(), outside(name).mtime_nsec());
    let before = (figures("outside-alone"), figures("outside-a"));
    // As they are they may stay: a snapshot of hard links costs nothing.
    let kept = inode(mirror.in_replica("a"));
    mirror.sync();
    assert_eq!(inode(mirror.in_replica("a")), kept);
    mirror.assert_idle();
    chmod(mirror.in_source("alone"), 0o600);
    chmod(mirror.in_source("a"), 0o600);
    set_mtime(mirror.in_source("a"), 5_000, 1);
    settle();
    mirror.sync();
    assert!(together(&mirror, &["a", "b"]));
    assert_eq!((figures("outside-alone"), figures("outside-a")), before);
    for name in ["outside-alone", "outside-a"] {
        assert_eq!(outside(name).nlink(), 2, "{name} has lost the replica's names");
    }
    mirror.assert_idle();
}

#[test]
fn a_new_name_finds_its_group_though_the_others_did_not_change() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "content");
    mkdir(mirror.in_source("closed"));
    link(&mirror, "a", "closed/b");
    settle();
    mirror.sync();
    // Its row alone is lost, as after a run that was cut off.
    let manifest = rusqlite::Connection::open(mirror.manifest()).unwrap();
    manifest.execute("DELETE FROM entries WHERE path = CAST('closed/b' AS BLOB)", []).unwrap();
    drop(manifest);
    remove(mirror.in_replica("closed/b"));
    // The replica's own inode has moved on as well; both are put right without a copy.
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["link"]), (&0.into(), &1.into()), "{summary}");
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn without_hard_links_every_name_is_a_file_of_its_own() {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "[preserve]\nhard_links = false\n");
    write(mirror.in_source("a"), "content");
    link(&mirror, "a", "b");
    settle();
    mirror.run(&[]).expect(0);
    assert!(!together(&mirror, &["a", "b"]));
    mirror.assert_idle();
    // Turned on, the group is made at once.
    mirror.write_config("home/twinfold/config.toml", "");
    assert_eq!(mirror.summary(&["--dry-run"])["link"], 1);
    mirror.sync();
    assert!(together(&mirror, &["a", "b"]));
    mirror.assert_idle();
}

#[test]
fn links_are_named_with_their_other_name_in_plan_log_and_json() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "content");
    link(&mirror, "a", "b");
    let plan = mirror.run(&["--dry-run"]).expect(0);
    assert!(plan.stdout.contains("link     b  from a"), "{}", plan.stdout);
    let output = finish(mirror.once(&["--json"])).expect(0);
    let found = output.json().into_iter().find(|event| event["operation"] == "link").unwrap();
    assert_eq!((&found["path"], &found["from"]), (&"b".into(), &"a".into()));
    assert!(mirror.log().contains("link     b  from a"), "{}", mirror.log());
}

#[test]
fn a_name_whose_group_cannot_be_read_is_not_the_end_of_the_others() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("locked/a"), "content");
    link(&mirror, "locked/a", "b");
    link(&mirror, "locked/a", "c");
    mirror.give_away(&mirror.source);
    // The replica's folder does not take the first name.
    mkdir(mirror.in_replica("locked/a/in the way"));
    mirror.give_away(&mirror.path("replica"));
    chmod(mirror.in_source("locked"), 0o000);
    settle();
    mirror.run(&[]).expect(3);
    assert!(together(&mirror, &["b", "c"]));
    chmod(mirror.in_source("locked"), 0o755);
    settle();
    mirror.run(&["--max-delete", "off"]).expect(0);
    assert!(together(&mirror, &["locked/a", "b", "c"]));
    mirror.assert_idle();
}

#[test]
fn a_row_whose_name_went_away_or_was_tampered_with_is_no_first_name() {
    let mirror = Mirror::new();
    write(mirror.in_source("d/a"), "good");
    link(&mirror, "d/a", "../outside");
    settle();
    mirror.sync();
    // Other bytes under the same size and time, and then the folder gets another name, which moves
    // nothing of what the source's row knows.
    let (seconds, nanos) = common::tree::mtime(mirror.in_replica("d/a"));
    write(mirror.in_replica("d/a"), "EVIL");
    set_mtime(mirror.in_replica("d/a"), seconds, nanos);
    fs::rename(mirror.in_source("d"), mirror.in_source("e")).unwrap();
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn a_group_that_moves_while_another_file_takes_its_old_name_is_linked_right() {
    let mirror = Mirror::new();
    write(mirror.in_source("d/a"), "one");
    link(&mirror, "d/a", "z");
    settle();
    mirror.sync();
    fs::rename(mirror.in_source("d"), mirror.in_source("e")).unwrap();
    write(mirror.in_source("d/a"), "new");
    link(&mirror, "d/a", "d/q");
    mirror.sync();
    settle();
    mirror.sync();
    mirror.assert_idle();
    fs::rename(mirror.in_source("e"), mirror.in_source("f")).unwrap();
    write(mirror.in_source("e"), "a file where the folder was");
    mirror.sync();
}

#[test]
fn a_file_that_is_touched_all_the_time_still_gets_its_other_name() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "content");
    link(&mirror, "a", "b");
    let busy = mirror.in_source("a");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let toucher = std::thread::spawn(move || {
        let mut seconds = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            set_mtime(&busy, seconds, 0);
            seconds += 1;
        }
    });
    for _ in 0..3 {
        let code = mirror.run(&[]).code;
        assert!(code == 0 || code == 3, "{code}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    toucher.join().unwrap();
    assert!(together(&mirror, &["a", "b"]));
    settle();
    mirror.sync();
    settle();
    mirror.sync();
    mirror.assert_idle();
}
