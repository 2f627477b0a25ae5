//! `-n` says what a run would do, and writes nothing anywhere.

mod common;

use common::program::{finish, start, wait_until};
use common::tree::{Tree, assert_same, chmod, mkdir, remove, stamps, symlink, write};
use common::{Mirror, settle};
use rustix::process::Signal;
use std::collections::BTreeSet;

/// The plan's lines as words: verb and path.
fn plan(stdout: &str) -> BTreeSet<(String, String)> {
    let words = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    let verbs = ["create", "copy", "metadata", "delete", "held"];
    stdout.lines().filter_map(words).filter(|(verb, _)| verbs.contains(&verb.as_str())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    expected.iter().map(|&(verb, path)| (verb.to_owned(), path.to_owned())).collect()
}

#[test]
fn before_the_first_run_nothing_is_made() {
    let mirror = Mirror::new();
    write(mirror.in_source("d/file"), "content");
    symlink("d", mirror.in_source("link"));
    let before = stamps(&mirror.path("."));
    let output = mirror.run(&["-n"]).expect(0);
    let expected = pairs(&[("create", "d/"), ("copy", "d/file"), ("create", "link")]);
    let planned = plan(&output.stdout);
    assert!(planned.is_superset(&expected), "{}", output.stdout);
    assert!(stamps(&mirror.path(".")) == before, "something was written");
    assert!(!mirror.replica.exists());
}

#[test]
fn the_plan_is_what_the_run_then_does() {
    let mirror = Mirror::new();
    for path in ["gone", "changed", "mode", "d/x", "becomes-folder", "touched", "same"] {
        write(mirror.in_source(path), "old");
    }
    settle();
    mirror.sync();
    remove(mirror.in_source("gone"));
    write(mirror.in_source("changed"), "new content");
    chmod(mirror.in_source("mode"), 0o600);
    common::tree::set_mtime(mirror.in_source("touched"), 5, 5);
    write(mirror.in_source("new/file"), "new");
    remove(mirror.in_source("becomes-folder"));
    mkdir(mirror.in_source("becomes-folder"));
    write(mirror.in_replica("extra"), "extra");
    settle();
    let before = stamps(&mirror.path("."));
    let output = mirror.run(&["--dry-run"]).expect(0);
    assert!(stamps(&mirror.path(".")) == before, "something was written");
    let expected = pairs(&[
        ("delete", "gone"),
        ("copy", "changed"),
        ("metadata", "mode"),
        ("metadata", "touched"),
        ("create", "new/"),
        ("copy", "new/file"),
        ("delete", "becomes-folder"),
        ("create", "becomes-folder/"),
        ("delete", "extra"),
    ]);
    assert_eq!(plan(&output.stdout), expected);
    let planned = finish(mirror.once(&["-n", "--json"])).expect(0);
    let (planned, done) = (planned.summary(), mirror.summary(&[]));
    for count in ["create", "copy", "metadata", "delete", "bytes", "problems", "held", "exit_code", "result"]
    {
        assert_eq!(planned[count], done[count], "{count}");
    }
    mirror.assert_in_step();
}

#[test]
fn a_plan_in_json_is_one_object_an_operation() {
    let mirror = Mirror::new();
    write(mirror.in_source("d/file"), "content");
    let events = mirror.run(&["-n", "--json"]).expect(0).json();
    let planned: Vec<_> = events.iter().filter(|event| event["event"] == "plan").collect();
    let copy = planned.iter().find(|event| event["operation"] == "copy").unwrap();
    assert_eq!((&copy["path"], &copy["size"]), (&"d/file".into(), &7.into()));
    for event in &events {
        for field in ["event", "time", "job", "run"] {
            assert!(event.get(field).is_some(), "{field} in {event}");
        }
    }
}

#[test]
fn the_exit_code_is_that_of_the_run() {
    let mirror = Mirror::new();
    for number in 0..4 {
        write(mirror.in_source(number.to_string()), "x");
    }
    settle();
    mirror.sync();
    for number in 0..3 {
        remove(mirror.in_source(number.to_string()));
    }
    let before = stamps(&mirror.path("."));
    let output = mirror.run(&["-n", "--max-delete", "2"]).expect(4).says("held");
    assert_eq!(plan(&output.stdout), pairs(&[("held", "0"), ("held", "1"), ("held", "2")]));
    remove(mirror.in_source("3"));
    mirror.run(&["-n", "--max-delete", "off"]).expect(4);
    assert!(
        stamps(&mirror.replica) == {
            let mut before = before;
            before.retain(|path, _| path.starts_with("replica"));
            before
                .into_iter()
                .map(|(path, stamp)| (path.strip_prefix("replica").unwrap().to_owned(), stamp))
                .collect()
        }
    );
    remove(&mirror.source);
    mirror.run(&["-n"]).expect(5);
    let mut overlap = mirror.program(&["-n", "--source", "replica", "--replica", "replica"]);
    overlap.env("TWINFOLD_MAX_DELETE", "off");
    finish(overlap).expect(2);
}

#[test]
fn an_unreadable_folder_gives_3_as_in_a_run() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("closed/file"), "x");
    mirror.give_away(&mirror.source);
    mirror.sync();
    chmod(mirror.in_source("closed"), 0);
    mirror.run(&["-n"]).expect(3).says("closed/");
    chmod(mirror.in_source("closed"), 0o755);
}

#[test]
fn a_dry_run_beside_a_running_daemon_needs_no_lock_and_disturbs_nothing() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let mut daemon = mirror.program(&["--interval", "1h"]);
    daemon.args(mirror.roots());
    let daemon = start(daemon);
    wait_until("the first run is through", || {
        mirror.state.join("twinfold.log").exists() && mirror.log().contains("run 1 ")
    });
    write(mirror.in_source("second"), "y");
    let replica = Tree::of(&mirror.replica);
    let output = mirror.run(&["-n"]).expect(0);
    assert!(plan(&output.stdout).contains(&("copy".to_owned(), "second".to_owned())), "{}", output.stdout);
    assert_same(&replica, &Tree::of(&mirror.replica));
    daemon.signal(Signal::TERM);
    daemon.wait().expect(0);
}

#[test]
fn a_killed_run_leaves_a_write_ahead_log_that_a_dry_run_does_not_touch() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let mut daemon = mirror.program(&["--interval", "1h"]);
    daemon.args(mirror.roots());
    let daemon = start(daemon);
    wait_until("the first run is through", || {
        mirror.state.join("twinfold.log").exists() && mirror.log().contains("run 1 ")
    });
    daemon.signal(Signal::KILL);
    daemon.wait();
    let contents = || {
        let mut tree = Tree::of(&mirror.state);
        // Readers map the index of the write-ahead log; only its content counts here.
        tree.0.retain(|path, _| !path.to_str().unwrap().ends_with("-shm"));
        tree
    };
    let (before, replica) = (contents(), stamps(&mirror.replica));
    let output = mirror.run(&["-n"]).expect(0);
    assert_eq!(plan(&output.stdout), BTreeSet::new(), "{}", output.stdout);
    assert_same(&before, &contents());
    assert!(stamps(&mirror.replica) == replica);
}
