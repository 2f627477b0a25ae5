//! Held deletes are a numbered plan; `approve` lets exactly that plan go ahead, as far as it still fits.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own files")]

mod common;

use common::program::{Output, Running, finish, start, wait_until};
use common::tree::{remove, set_mtime, write};
use common::{Mirror, settle};
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mirror of so many files in a folder, in step; then the source is emptied and the deletes held.
fn emptied(files: usize) -> Mirror {
    let mirror = Mirror::new();
    for number in 0..files {
        write(mirror.in_source(format!("folder/{number}")), number.to_string());
    }
    settle();
    mirror.sync();
    remove(mirror.in_source("folder"));
    mirror.run(&[]).expect(4);
    mirror
}

fn approve(mirror: &Mirror, more: &[&str]) -> Output {
    let mut command = mirror.program(&["approve"]);
    command.args(mirror.roots()).args(more);
    finish(command)
}

fn status(mirror: &Mirror) -> Value {
    let mut command = mirror.program(&["status", "--json"]);
    command.args(mirror.roots());
    finish(command).expect(0).json().pop().unwrap()
}

fn status_text(mirror: &Mirror, more: &[&str]) -> String {
    let mut command = mirror.program(&["status"]);
    command.args(mirror.roots()).args(more);
    finish(command).expect(0).stdout
}

/// What the next run would hold, with these options.
fn held_paths(mirror: &Mirror, more: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = status_text(mirror, &[&["--pending"], more].concat())
        .lines()
        .filter_map(|line| line.strip_prefix("held "))
        .map(|path| PathBuf::from(path.trim()))
        .collect();
    found.sort();
    found
}

#[test]
fn a_held_plan_is_shown_approved_released_and_gone() {
    let mirror = emptied(3);
    let held = &status(&mirror)["held"];
    assert_eq!((&held["run"], &held["deletes"], &held["approved"]), (&2.into(), &4.into(), &Value::Null));
    let text = status_text(&mirror, &[]);
    assert!(text.contains("4 deletes since run 2") && text.contains("is the source mounted?"), "{text}");
    // What status says to do is what does it.
    let advice = text.split_once("let them go: ").unwrap().1.lines().next().unwrap();
    let words: Vec<&str> = advice.split(' ').collect();
    assert_eq!(words[..2], ["twinfold", "approve"]);
    let said = finish(mirror.program(&words[1..])).expect(0).stdout;
    assert!(said.contains("plan 2") && said.contains("4 deletes"), "{said}");
    assert!(mirror.in_replica("folder/0").exists(), "approve itself deletes nothing");
    assert!(status_text(&mirror, &[]).contains("goes ahead on the next run"));
    assert!(status(&mirror)["held"]["approved"].is_string());
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["delete"], &summary["exit_code"]), (&4.into(), &0.into()));
    mirror.assert_in_step();
    assert_eq!(status(&mirror)["held"], Value::Null);
    approve(&mirror, &[]).expect(1).says("no deletes");
}

#[test]
fn a_plan_keeps_its_number_while_the_same_deletes_are_held() {
    let mirror = emptied(3);
    for _ in 0..3 {
        mirror.run(&["--max-delete", "off"]).expect(4).says("plan 2");
    }
    approve(&mirror, &["2"]).expect(0);
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn approving_twice_is_fine_and_another_number_is_not() {
    let mirror = emptied(3);
    approve(&mirror, &["1"]).expect(1).says("has the number 2");
    assert_eq!(status(&mirror)["held"]["approved"], Value::Null);
    for wrong in ["0", "-1", "x"] {
        approve(&mirror, &[wrong]).expect(2);
    }
    approve(&mirror, &["2"]).expect(0);
    let again = approve(&mirror, &["--json"]).expect(0).json().pop().unwrap();
    assert_eq!(
        (&again["event"], &again["run"], &again["again"]),
        (&"approve".into(), &2.into(), &true.into())
    );
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn with_nothing_held_it_fails_and_says_so() {
    let mirror = Mirror::new();
    approve(&mirror, &[]).expect(1).says("no deletes");
    approve(&mirror, &["7"]).expect(1).says("no deletes");
    assert!(!mirror.state.join("twinfold.log").exists(), "nothing is written for a job that never ran");
    mirror.sync();
    approve(&mirror, &[]).expect(1).says("no deletes");
}

#[test]
fn what_would_go_beyond_the_approved_plan_is_held_under_a_number_of_its_own() {
    let mirror = emptied(3);
    approve(&mirror, &[]).expect(0);
    write(mirror.in_replica("stranger"), "not in the plan");
    write(mirror.in_replica("folder/stranger"), "nor is this");
    mirror.run(&["--max-delete", "off"]).expect(4).says("held as plan 3");
    assert!(mirror.in_replica("stranger").exists() && mirror.in_replica("folder/stranger").exists());
    for number in 0..3 {
        assert!(!mirror.in_replica(format!("folder/{number}")).exists(), "{number} was approved");
    }
    let held = [Path::new("folder/"), Path::new("folder/stranger"), Path::new("stranger")];
    assert_eq!(held_paths(&mirror, &[]), held);
    approve(&mirror, &["3"]).expect(0);
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn what_came_back_or_changed_in_the_replica_meanwhile_is_not_deleted() {
    let mirror = emptied(4);
    approve(&mirror, &[]).expect(0);
    // Same size, same time: only ctime and inode tell that somebody put another file there.
    let changed = mirror.in_replica("folder/1");
    let (seconds, nanos) = common::tree::mtime(&changed);
    remove(&changed);
    write(&changed, "X");
    set_mtime(&changed, seconds, nanos);
    write(mirror.in_source("folder/2"), "2");
    // There is a source again, so only the limit can hold what is left.
    mirror.run(&["--max-delete", "0"]).expect(4).says("2 deletes go ahead; 1 are not covered");
    assert!(!mirror.in_replica("folder/0").exists() && !mirror.in_replica("folder/3").exists());
    assert_eq!(std::fs::read(&changed).unwrap(), b"X");
    assert!(mirror.in_replica("folder/2").exists());
    assert_eq!(held_paths(&mirror, &["--max-delete", "0"]), [Path::new("folder/1")]);
}

#[test]
fn a_plan_that_does_not_fit_any_more_is_dropped_and_that_is_said() {
    let mirror = emptied(3);
    approve(&mirror, &[]).expect(0);
    for number in 0..3 {
        write(mirror.in_source(format!("folder/{number}")), number.to_string());
    }
    mirror.run(&[]).expect(0).says("plan 2 is dropped");
    mirror.assert_in_step();
    assert_eq!(status(&mirror)["held"], Value::Null);
    // An emptied source is held anew: the old approval is spent.
    remove(mirror.in_source("folder"));
    mirror.run(&[]).expect(4);
    assert!(mirror.in_replica("folder/0").exists());
}

#[test]
fn only_approve_lifts_the_guard_against_an_emptied_source() {
    let mirror = emptied(2);
    for more in [["--max-delete", "off"], ["--max-delete", "100%"], ["--max-delete", "9"]] {
        mirror.run(&more).expect(4);
    }
    assert!(mirror.in_replica("folder/1").exists());
    approve(&mirror, &[]).expect(0);
    mirror.run(&["--max-delete", "0"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn a_dry_run_shows_what_an_approval_lets_go_and_spends_nothing() {
    let mirror = emptied(2);
    mirror.run(&["-n"]).expect(4);
    approve(&mirror, &[]).expect(0);
    let output = mirror.run(&["-n"]).expect(0);
    assert_eq!(output.stdout.lines().filter(|line| line.starts_with("delete ")).count(), 3, "{output:?}");
    assert!(mirror.in_replica("folder/0").exists());
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn what_waits_for_a_held_delete_goes_ahead_with_its_approval() {
    let mirror = Mirror::new();
    for number in 0..10 {
        write(mirror.in_source(format!("folder/{number}")), "x");
    }
    mirror.sync();
    remove(mirror.in_source("folder"));
    write(mirror.in_source("folder"), "a file now");
    mirror.run(&["--max-delete", "3"]).expect(4);
    assert!(mirror.in_replica("folder/9").is_file());
    approve(&mirror, &[]).expect(0);
    mirror.run(&["--max-delete", "3"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn it_works_beside_a_running_daemon() {
    let mirror = emptied(5);
    let mut command = mirror.program(&["sync", "--interval", "1s"]);
    command.args(mirror.roots());
    let daemon = start(command);
    wait_until("the daemon has held the deletes, too", || mirror.log().contains("run 4 "));
    assert!(mirror.in_replica("folder/4").exists());
    // The run that held them first has reported it, none of the daemon's.
    assert_eq!(mirror.log().matches("deletes are held as plan").count(), 1, "{}", mirror.log());
    approve(&mirror, &[]).expect(0);
    wait_until("the daemon let them go", || mirror.log().contains("ok: 6 deleted"));
    daemon.signal(Signal::TERM);
    daemon.wait().expect(0);
    mirror.assert_in_step();
    assert_eq!(status(&mirror)["held"], Value::Null);
}

/// A run that has planned its deletes, holds the job's lock, and is stopped in the middle of a copy.
fn frozen_run(mirror: &Mirror) -> Running {
    write(mirror.in_source("large"), vec![42; 24 << 20]);
    let run = start(mirror.once(&["--max-delete", "0"]));
    wait_until("the copy is on its way", || {
        let listing = std::fs::read_dir(&mirror.replica).unwrap();
        listing.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(".twinfold-"))
    });
    run.freeze();
    run
}

#[test]
fn it_waits_for_nobody_who_holds_the_lock() {
    let mirror = emptied(3);
    let run = frozen_run(&mirror);
    approve(&mirror, &["2"]).expect(0);
    run.signal(Signal::CONT);
    // That run had planned before; it holds the same deletes, and leaves the approval to the next one.
    run.wait().expect(4);
    mirror.run(&["--max-delete", "0"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn an_approval_of_a_plan_that_a_run_is_just_replacing_is_not_lost_in_silence() {
    let mirror = emptied(3);
    write(mirror.in_replica("stranger"), "more to delete than plan 2 has");
    let run = frozen_run(&mirror);
    approve(&mirror, &["2"]).expect(0);
    run.signal(Signal::CONT);
    run.wait().expect(4).says("plan 2 was approved while this run went on, and is dropped");
    let held = &status(&mirror)["held"];
    assert_eq!((&held["run"], &held["approved"]), (&3.into(), &Value::Null));
    mirror.run(&["--max-delete", "0"]).expect(4);
    assert!(mirror.in_replica("folder/0").exists() && mirror.in_replica("stranger").exists());
}

#[test]
fn a_killed_release_goes_on_where_it_was() {
    let mirror = emptied(3000);
    approve(&mirror, &[]).expect(0);
    let run = start(mirror.once(&[]));
    wait_until("some are deleted", || {
        std::fs::read_dir(mirror.in_replica("folder")).map_or(0, Iterator::count) < 2900
    });
    run.signal(Signal::KILL);
    run.wait();
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
    assert_eq!(status(&mirror)["held"], Value::Null);
}

#[test]
fn all_jobs_of_a_config_are_approved_unless_one_is_named() {
    let mirror = Mirror::new();
    let job = |name: &str| {
        let (source, replica) = (mirror.path(format!("{name}-s")), mirror.path(format!("{name}-r")));
        write(source.join("file"), name);
        format!("[[job]]\nname = \"{name}\"\nsource = {source:?}\nreplica = {replica:?}\n")
    };
    let text = ["one", "two", "three"].map(job).concat();
    mirror.write_config("home/twinfold/config.toml", text);
    let run = |arguments: &[&str]| finish(mirror.program(arguments));
    run(&["sync", "--once"]).expect(0);
    for name in ["one", "two"] {
        remove(mirror.path(format!("{name}-s/file")));
    }
    run(&["sync", "--once"]).expect(4).says("twinfold approve --job one 2");
    run(&["approve", "2"]).expect(2).says("--job");
    run(&["approve", "--job", "three"]).expect(1);
    run(&["approve", "--job", "one", "2"]).expect(0);
    run(&["sync", "--once"]).expect(4);
    assert!(!mirror.path("one-r/file").exists() && mirror.path("two-r/file").exists());
    run(&["approve"]).expect(0);
    run(&["sync", "--once"]).expect(0);
    assert!(!mirror.path("two-r/file").exists() && mirror.path("three-r/file").exists());
}

#[test]
fn a_manifest_of_version_1_is_upgraded_and_holds_anew_what_it_held() {
    let mirror = emptied(3);
    make_version_1(&mirror);
    assert_eq!(status(&mirror)["held"]["deletes"], 4, "an older manifest can be looked into");
    let dry = mirror.run(&["-n"]).expect(4);
    assert!(!dry.stderr.contains("damaged"), "{dry:?}");
    approve(&mirror, &[]).expect(1).says("older twinfold");
    mirror.run(&[]).expect(4);
    assert!(mirror.in_replica("folder/0").exists());
    approve(&mirror, &[]).expect(0);
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["delete"], &summary["copy"]), (&4.into(), &0.into()));
    mirror.assert_in_step();
}

/// Turns the manifest into the one that version 1 would have left: the same entries, held deletes without
/// figures, nothing of mounts.
fn make_version_1(mirror: &Mirror) {
    let path = mirror.manifest();
    let old = path.with_extension("v1");
    let schema = include_str!("../migrations/0001_initial.sql");
    let connection = rusqlite::Connection::open(&old).unwrap();
    connection.execute_batch(schema).unwrap();
    connection
        .execute_batch(&format!(
            "ATTACH '{}' AS new; INSERT INTO job SELECT id, source, replica, created FROM new.job; \
             INSERT INTO entries SELECT * FROM new.entries; \
             INSERT INTO runs (id, kind, started) SELECT id, kind, started FROM new.runs; \
             INSERT INTO held SELECT run, reason FROM new.held; \
             INSERT INTO held_deletes SELECT run, path FROM new.held_deletes; \
             DETACH new; PRAGMA application_id = 0x74776664; PRAGMA user_version = 1;",
            path.display()
        ))
        .unwrap();
    drop(connection);
    std::fs::rename(&old, &path).unwrap();
}

#[test]
fn without_its_program_s_options_it_takes_the_one_mirror_that_has_state_here() {
    let mirror = emptied(2);
    let mut command: Command = mirror.program(&["approve"]);
    command.args(["--quiet"]);
    let output = finish(command).expect(0);
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
}
