//! Without `--once` it keeps running: at once, at its interval, and until it is told to stop.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::{Output, Running, finish, start, wait_until};
use common::tree::{mkdir, remove, write};
use common::{Mirror, settle, skip};
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Duration;

/// How soon it must have ended when told to.
const SOON: Duration = Duration::from_secs(2);

/// Patience with a machine that is busy otherwise, before a test fails with a message of its own.
const LIMIT: Duration = Duration::from_secs(20);

fn daemon(mirror: &Mirror, interval: &str) -> Running {
    let mut command = mirror.program(&["sync", "--interval", interval]);
    command.args(mirror.roots());
    start(command)
}

/// Tells it to stop and fails unless it does so soon.
#[track_caller]
fn stop(running: Running, signal: Signal, code: i32) -> Output {
    running.signal(signal);
    let (output, took) = running.wait_for(LIMIT);
    assert!(took < SOON, "it took {took:?} to stop");
    output.expect(code)
}

/// When the runs began, in seconds, as the manifest's history has it.
fn runs(mirror: &Mirror) -> Vec<f64> {
    let mut command = mirror.program(&["status", "--runs", "1000", "--format", "json"]);
    command.args(mirror.roots());
    let told = finish(command).expect(0).json().remove(0);
    let began = |run: &serde_json::Value| {
        let time = chrono::DateTime::parse_from_rfc3339(run["started"].as_str().unwrap()).unwrap();
        f64::from(u32::try_from(time.timestamp_millis() % 1_000_000_000).unwrap()) / 1e3
    };
    told["runs"].as_array().unwrap().iter().rev().map(began).collect()
}

/// The temporaries in the replica's root with their sizes.
fn temporaries(mirror: &Mirror) -> Vec<(PathBuf, u64)> {
    let Ok(listing) = std::fs::read_dir(&mirror.replica) else { return Vec::new() };
    listing
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(".twinfold-")))
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
        .collect()
}

/// A source with one file that takes long to copy.
fn with_a_large_file() -> Mirror {
    let mirror = Mirror::new();
    write(mirror.in_source("a-small"), "small");
    write(mirror.in_source("large"), vec![42; 300 << 20]);
    mirror
}

fn wait_for_the_middle_of_the_copy(mirror: &Mirror) {
    wait_until("the copy is on its way", || temporaries(mirror).iter().any(|(_, size)| *size > 4 << 20));
}

#[test]
fn the_first_run_is_at_once_and_the_next_at_the_interval() {
    let mirror = Mirror::new();
    write(mirror.in_source("first"), "1");
    let running = daemon(&mirror, "1s");
    wait_until("the first run copied", || mirror.in_replica("first").exists());
    write(mirror.in_source("second"), "2");
    wait_until("a later run copied", || mirror.in_replica("second").exists());
    remove(mirror.in_source("first"));
    wait_until("a later run deleted", || !mirror.in_replica("first").exists());
    wait_until("four runs were made", || runs(&mirror).len() >= 4);
    stop(running, Signal::TERM, 0);
    mirror.assert_in_step();
    let runs = runs(&mirror);
    let intervals = f64::from(u32::try_from(runs.len() - 1).unwrap());
    let mean = (runs[runs.len() - 1] - runs[0]) / intervals;
    assert!((0.8..2.5).contains(&mean), "{runs:?}");
}

#[test]
fn it_waits_for_its_interval() {
    let mirror = Mirror::new();
    let running = daemon(&mirror, "1h");
    wait_until("the first run is through", || {
        mirror.state.join("twinfold.log").exists() && mirror.log().contains("run 1 ")
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(runs(&mirror).len(), 1);
    let output = stop(running, Signal::INT, 0);
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(mirror.log().contains("stopped"));
}

#[test]
fn idle_runs_print_nothing() {
    let mirror = Mirror::new();
    let running = daemon(&mirror, "1s");
    wait_until("two runs were made", || {
        mirror.state.join("twinfold.log").exists() && mirror.log().contains("run 2 ")
    });
    let output = stop(running, Signal::TERM, 0);
    // The first run may tell of the replica's root.
    assert!(output.stdout.lines().count() <= 1, "{output:?}");
}

#[test]
fn both_signals_end_it_with_0_in_the_middle_of_a_large_copy() {
    for signal in [Signal::TERM, Signal::INT] {
        let mirror = with_a_large_file();
        let running = daemon(&mirror, "1h");
        wait_for_the_middle_of_the_copy(&mirror);
        stop(running, signal, 0);
        assert!(!mirror.in_replica("large").exists(), "nothing unfinished has a final name");
        assert_eq!(temporaries(&mirror), [], "what was unfinished is dropped");
        write(mirror.in_source("large"), "small now");
        mirror.sync();
    }
}

#[test]
fn once_interrupted_it_ends_with_130_and_the_next_run_finishes() {
    for signal in [Signal::TERM, Signal::INT] {
        let mirror = with_a_large_file();
        let running = start(mirror.once(&["--json"]));
        wait_for_the_middle_of_the_copy(&mirror);
        let output = stop(running, signal, 130);
        let summary = output.summary();
        assert_eq!((&summary["result"], &summary["exit_code"]), (&"interrupted".into(), &130.into()));
        assert!(!mirror.in_replica("large").exists());
        write(mirror.in_source("large"), "small now");
        settle();
        mirror.sync();
        assert_eq!(temporaries(&mirror), []);
        mirror.assert_idle();
    }
}

#[test]
fn an_interrupted_comparison_of_a_large_file_ends_soon_and_changes_nothing() {
    let mirror = with_a_large_file();
    write(mirror.in_replica("large"), vec![42; 300 << 20]);
    let before = common::tree::inode(mirror.in_replica("large"));
    let running = start(mirror.once(&[]));
    // Both files are open for reading while they are compared.
    let folder = format!("/proc/{}/fd", running.id());
    wait_until("the comparison is on its way", || {
        let large = mirror.in_replica("large");
        std::fs::read_dir(&folder).is_ok_and(|listing| {
            listing.flatten().any(|handle| std::fs::read_link(handle.path()).is_ok_and(|path| path == large))
        })
    });
    stop(running, Signal::INT, 130);
    assert_eq!(common::tree::inode(mirror.in_replica("large")), before);
}

#[test]
fn interrupted_among_many_small_files_it_keeps_what_it_has_done() {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "file_copy_batch_size = 4\nmax_workers = 1\n");
    for number in 0..3000 {
        write(mirror.in_source(format!("{}/{number}", number % 10)), number.to_string());
    }
    let running = start(mirror.once(&[]));
    wait_until("some are copied", || mirror.in_replica("0/100").exists());
    running.signal(Signal::TERM);
    let (output, took) = running.wait_for(LIMIT);
    assert!(took < SOON, "{took:?}");
    output.expect(130);
    let summary = mirror.summary(&[]);
    let copied = summary["copy"].as_u64().unwrap();
    assert!(copied > 0 && copied < 3000, "what was recorded is not copied again: {summary}");
    mirror.assert_in_step();
}

#[test]
fn a_second_signal_ends_it_whatever_it_is_doing() {
    let mirror = with_a_large_file();
    let running = start(mirror.once(&[]));
    wait_for_the_middle_of_the_copy(&mirror);
    running.signal(Signal::INT);
    running.signal(Signal::INT);
    let (output, took) = running.wait_for(LIMIT);
    assert!(took < SOON, "{took:?}");
    output.expect(130);
    write(mirror.in_source("large"), "small now");
    mirror.sync();
}

#[test]
fn a_second_signal_ends_a_daemon_at_once_with_0() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    // It does not heed the request to end, so that a clean end takes a while.
    let hook = "on_success = [\"/bin/sh\", \"-c\", \"trap '' TERM; touch hook; sleep 3\"]";
    mirror.write_config("home/twinfold/config.toml", hook);
    let running = daemon(&mirror, "1h");
    wait_until("the hook runs", || mirror.path("hook").exists());
    // Two of one kind may be taken for one.
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    let (output, took) = running.wait_for(LIMIT);
    assert!(took < SOON, "{took:?}");
    output.expect(0);
    assert!(!mirror.log().contains("daemon stopped"), "that was a clean end: {}", mirror.log());
}

#[test]
fn a_run_once_is_no_daemon_to_be_told_to_read_its_config_again() {
    // Under nohup every program ignores the signal, as it should.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    if u64::from_str_radix(ignored, 16).unwrap() & 1 != 0 {
        return skip("SIGHUP is ignored here (nohup?)");
    }
    let mirror = with_a_large_file();
    let running = loop {
        let running = start(mirror.once(&[]));
        wait_for_the_middle_of_the_copy(&mirror);
        running.freeze();
        if !temporaries(&mirror).is_empty() {
            break running;
        }
        // It was through before it stood still.
        running.signal(Signal::CONT);
        running.wait().expect(0);
        remove(mirror.in_replica("large"));
    };
    running.signal(Signal::HUP);
    running.signal(Signal::CONT);
    let (output, _) = running.wait_for(LIMIT);
    // 128 and the signal's number: a terminal that closes ends it, as it ends any program.
    output.expect(129);
    write(mirror.in_source("large"), "small now");
    mirror.sync();
}

#[test]
fn it_outlives_a_source_that_goes_away_and_comes_back() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let running = daemon(&mirror, "1s");
    wait_until("the first run copied", || mirror.in_replica("file").exists());
    std::fs::rename(&mirror.source, mirror.path("away")).unwrap();
    wait_until("it complains", || mirror.log().contains("ERROR"));
    assert!(mirror.in_replica("file").exists());
    write(mirror.path("away/new"), "y");
    std::fs::rename(mirror.path("away"), &mirror.source).unwrap();
    wait_until("it goes on", || mirror.in_replica("new").exists());
    stop(running, Signal::TERM, 0);
}

#[test]
fn it_ends_with_0_whatever_its_runs_met() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mirror.sync();
    remove(mirror.in_source("file"));
    let running = daemon(&mirror, "1h");
    wait_until("it holds the deletes", || mirror.log().contains("held"));
    let output = stop(running, Signal::TERM, 0);
    assert!(output.stderr.contains("held"), "{output:?}");
    assert!(mirror.in_replica("file").exists());
}

#[test]
fn it_does_not_fill_a_replica_that_went_away() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let running = daemon(&mirror, "1s");
    wait_until("the first run copied", || mirror.in_replica("file").exists());
    std::fs::rename(&mirror.replica, mirror.path("unmounted")).unwrap();
    wait_until("it complains", || mirror.log().contains("is gone"));
    assert!(!mirror.replica.exists());
    mkdir(&mirror.replica);
    wait_until("it fills the folder that was made", || mirror.in_replica("file").exists());
    stop(running, Signal::TERM, 0);
}
