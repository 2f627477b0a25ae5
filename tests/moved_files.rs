//! A file that got another name in the source gets it in the replica, if its bytes are what they were.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::sweep::witness;
use common::tree::{chmod, remove, set_attribute, set_mtime, write};
use common::{Mirror, settle};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn planted(files: &[(&str, &str)]) -> Mirror {
    let mirror = Mirror::new();
    for (name, content) in files {
        write(mirror.in_source(name), content);
    }
    settle();
    mirror.sync();
    mirror
}

fn rename(mirror: &Mirror, from: &str, to: &str) {
    fs::create_dir_all(mirror.in_source(to).parent().unwrap()).unwrap();
    fs::rename(mirror.in_source(from), mirror.in_source(to)).unwrap();
}

/// Runs once; returns the operations as `verb path from`, which a dry run must have foreseen.
fn sync(mirror: &Mirror) -> Vec<String> {
    let lines = |output: common::program::Output, name: &str| -> Vec<String> {
        let events = output.expect(0).json().into_iter().filter(|event| event["event"] == name);
        let text = |event: serde_json::Value| {
            let from = event["from"].as_str().map(|from| format!(" {from}")).unwrap_or_default();
            format!("{} {}{from}", event["operation"].as_str().unwrap(), event["path"].as_str().unwrap())
        };
        let mut lines: Vec<String> = events.map(text).collect();
        lines.sort();
        lines
    };
    settle();
    let planned = lines(mirror.run(&["-n", "--json"]), "plan");
    let done = lines(mirror.run(&["--json"]), "operation");
    assert_eq!(planned, done, "a dry run says what a run does");
    mirror.assert_in_step();
    witness(&mirror.source, &mirror.replica, "after a move");
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
    done
}

#[test]
fn a_renamed_file_keeps_its_inode_in_the_replica() {
    let mirror = planted(&[("a/one", "content of one"), ("b/two", "two")]);
    let inode = fs::metadata(mirror.in_replica("a/one")).unwrap().ino();
    rename(&mirror, "a/one", "b/uno");
    assert_eq!(sync(&mirror), ["move b/uno a/one"]);
    assert_eq!(fs::metadata(mirror.in_replica("b/uno")).unwrap().ino(), inode);
}

#[test]
fn a_renamed_file_brings_its_new_metadata_along() {
    let mirror = planted(&[("one", "content")]);
    rename(&mirror, "one", "sub/uno");
    chmod(mirror.in_source("sub/uno"), 0o600);
    set_attribute(mirror.in_source("sub/uno"), "user.colour", "red");
    set_mtime(mirror.in_source("sub/uno"), 1_000_000_000, 42);
    assert_eq!(sync(&mirror), ["create sub/", "move sub/uno one"]);
}

#[test]
fn a_renamed_file_with_other_bytes_under_the_same_size_and_time_is_copied() {
    let mirror = planted(&[("one", "content")]);
    set_mtime(mirror.in_source("one"), 1_000_000_000, 0);
    settle();
    mirror.sync();
    rename(&mirror, "one", "uno");
    write(mirror.in_source("uno"), "CONTENT");
    set_mtime(mirror.in_source("uno"), 1_000_000_000, 0);
    assert_eq!(sync(&mirror), ["copy uno", "delete one"]);
}

#[test]
fn a_file_that_was_copied_elsewhere_and_removed_is_found_by_its_content() {
    let mirror = planted(&[("old/one", "the same content"), ("old/two", "other content!!!"), ("z", "z")]);
    // As cp -p does, and as cp does.
    for (name, keep) in [("one", true), ("two", false)] {
        let (from, to) = (mirror.in_source(format!("old/{name}")), mirror.in_source(format!("new-{name}")));
        let mtime = common::tree::mtime(&from);
        fs::copy(&from, &to).unwrap();
        if keep {
            set_mtime(&to, mtime.0, mtime.1);
        }
        remove(&from);
    }
    assert_eq!(sync(&mirror), ["move new-one old/one", "move new-two old/two"]);
}

#[test]
fn chains_swaps_and_rotations_of_files_come_right() {
    let mirror =
        planted(&[("log", "newest"), ("log.1", "the one before"), ("log.2", "and an older one still")]);
    rename(&mirror, "log.2", "log.3");
    rename(&mirror, "log.1", "log.2");
    rename(&mirror, "log", "log.1");
    write(mirror.in_source("log"), "begun anew");
    assert_eq!(sync(&mirror), ["copy log", "move log.1 log", "move log.2 log.1", "move log.3 log.2"]);
    rename(&mirror, "log.1", "t");
    rename(&mirror, "log.2", "log.1");
    rename(&mirror, "t", "log.2");
    assert_eq!(sync(&mirror), ["move log.1 log.2", "move log.2 log.1"]);
    rename(&mirror, "log.1", "t");
    rename(&mirror, "log.3", "log.1");
    rename(&mirror, "log.2", "log.3");
    rename(&mirror, "t", "log.2");
    assert_eq!(sync(&mirror), ["move log.1 log.3", "move log.2 log.1", "move log.3 log.2"]);
    // Over another one, which is lost.
    rename(&mirror, "log.3", "log.1");
    assert_eq!(sync(&mirror), ["move log.1 log.3"]);
}

#[test]
fn hard_links_and_duplicates_end_right_whatever_is_saved() {
    let mirror = planted(&[("a/x", "same"), ("a/y", "same"), ("b/z", "other")]);
    fs::hard_link(mirror.in_source("b/z"), mirror.in_source("b/zz")).unwrap();
    settle();
    mirror.sync();
    rename(&mirror, "b/zz", "c/zz");
    rename(&mirror, "a/x", "c/x");
    write(mirror.in_source("c/copy"), "same");
    remove(mirror.in_source("a/y"));
    settle();
    mirror.sync();
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
    rename(&mirror, "b/z", "d");
    rename(&mirror, "c/zz", "dd");
    settle();
    mirror.sync();
}

#[test]
fn what_somebody_changed_in_the_replica_is_never_moved_into_place() {
    let mirror = planted(&[("one", "content"), ("two", "another")]);
    rename(&mirror, "one", "uno");
    write(mirror.in_replica("one"), "CONTENT");
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!(
        (&summary["copy"], &summary["move"], &summary["delete"]),
        (&1.into(), &0.into(), &1.into()),
        "{summary}"
    );
    mirror.assert_in_step();
}

#[test]
fn a_move_and_a_copy_that_the_replica_refuses_leave_the_old_name_as_it_is() {
    if !common::inject::possible() {
        return;
    }
    let mirror = planted(&[("one", "content"), ("two", "another")]);
    rename(&mirror, "one", "uno");
    settle();
    // The first rename of every thread: that of the move, and that of the copy that is tried instead.
    let fault = common::inject::Fault::Once("EXDEV");
    let run = common::inject::run(&mirror, &[], "renameat2", 1, fault);
    run.wait_for(std::time::Duration::from_secs(30)).0.expect(3);
    assert_eq!(fs::read(mirror.in_replica("one")).unwrap(), b"content");
    assert_eq!(sync(&mirror), ["move uno one"]);
}

#[test]
fn a_move_that_finds_no_room_and_whose_copy_finds_it_later_leaves_no_old_name() {
    if !common::inject::possible() {
        return;
    }
    // What is deleted gives room; the folder of the old name is to go as well.
    let mirror = planted(&[("old/deep/one", "content"), ("two", "another"), ("gone", "gone")]);
    rename(&mirror, "old/deep/one", "uno");
    remove(mirror.in_source("old"));
    remove(mirror.in_source("gone"));
    settle();
    let fault = common::inject::Fault::Once("ENOSPC");
    // One worker, whose first rename is that of the copy; the second finds room.
    let more = ["--max-delete", "off", "--max-workers", "1"];
    let run = common::inject::run(&mirror, &more, "renameat2", 1, fault);
    run.wait_for(std::time::Duration::from_secs(30)).0.expect(0);
    mirror.assert_in_step();
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
}

#[test]
fn in_a_rotation_of_files_no_name_is_ever_missing_or_wrong() {
    if !common::inject::possible() {
        return;
    }
    for call in ["renameat2", "renameat", "linkat", "unlinkat"] {
        for number in 1..=8 {
            let mirror = planted(&[
                ("log", "newest"),
                ("log.1", "the one before"),
                ("log.2", "an older one still"),
                ("x", "x"),
            ]);
            rename(&mirror, "log.2", "log.3");
            rename(&mirror, "log.1", "log.2");
            rename(&mirror, "log", "log.1");
            write(mirror.in_source("log"), "begun anew");
            rename(&mirror, "x", "y");
            settle();
            let (old, new) = (
                ["newest", "the one before", "an older one still"],
                ["begun anew", "newest", "the one before"],
            );
            let run = common::inject::run(&mirror, &[], call, number, common::inject::Fault::Kill);
            run.wait_for(std::time::Duration::from_secs(30));
            for (name, (old, new)) in ["log", "log.1", "log.2"].into_iter().zip(old.into_iter().zip(new)) {
                let found = fs::read_to_string(mirror.in_replica(name)).unwrap_or_default();
                assert!(found == old || found == new, "{call} {number}: {name} holds {found:?}");
            }
            mirror.sync();
            settle();
            mirror.run(&[]).expect(0);
            mirror.assert_idle();
        }
    }
}

#[test]
fn a_renamed_file_that_cannot_be_read_stays_in_the_replica_under_its_old_name() {
    let mirror = Mirror::of_an_ordinary_user();
    for name in ["one", "d/e/two"] {
        write(mirror.in_source(name), name);
    }
    mirror.give_away(&mirror.source);
    settle();
    mirror.sync();
    rename(&mirror, "one", "uno");
    rename(&mirror, "d/e/two", "due");
    remove(mirror.in_source("d"));
    for name in ["uno", "due"] {
        chmod(mirror.in_source(name), 0);
    }
    mirror.give_away(&mirror.source);
    settle();
    for dry in [true, false, true, false] {
        let run = if dry { mirror.run(&["-n", "--json"]) } else { mirror.run(&["--json"]) };
        let run = run.expect(3);
        let operations = run.json().into_iter().filter(|event| event["operation"].is_string());
        assert_eq!(operations.filter(|event| event["operation"] == "delete").count(), 0, "{run:?}");
        let problems = run.json().into_iter().filter(|event| event["event"] == "problem");
        let problems: Vec<String> =
            problems.map(|event| event["path"].as_str().unwrap().to_owned()).collect();
        assert_eq!(problems, ["due", "uno"], "each is said once: {run:?}");
        for name in ["one", "d/e/two"] {
            assert_eq!(fs::read(mirror.in_replica(name)).unwrap(), name.as_bytes());
        }
    }
    for name in ["uno", "due"] {
        chmod(mirror.in_source(name), 0o644);
    }
    assert_eq!(sync(&mirror), ["delete d/", "delete d/e/", "move due d/e/two", "move uno one"]);
}
