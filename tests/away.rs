//! A root that is away: said, noted for `status`, and no reason to keep other jobs from running.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::Mirror;
use common::jobs::wait_for_log;
use common::program::{Output, finish, start, wait_until};
use common::tree::{mkdir, write};
use rustix::process::Signal;
use std::fs;
use std::process::Command;

/// Two jobs, of which the first has no source.
fn two_jobs(mirror: &Mirror, arguments: &[&str]) -> Command {
    let text = "[[job]]\nname = \"away\"\nsource = \"sa\"\nreplica = \"ra\"\ninterval = \"1s\"\n\
                [[job]]\nname = \"here\"\nsource = \"sb\"\nreplica = \"rb\"\ninterval = \"1s\"\n";
    let config = mirror.write_config("config.toml", text);
    let mut command = mirror.program(arguments);
    command.arg("--config").arg(config);
    command
}

/// What `status` tells of the runs, newest first: result, exit code, message.
fn history(mut status: Command) -> Vec<(String, i64, String)> {
    status.arg("--json");
    let told = finish(status).expect(0);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let runs =
        told.json().iter().flat_map(|job| job["runs"].as_array().cloned().unwrap_or_default()).collect();
    let runs: Vec<serde_json::Value> = runs;
    runs.iter()
        .map(|run| (text(&run["result"]), run["exit_code"].as_i64().unwrap_or(-1), text(&run["message"])))
        .collect()
}

fn status_of(mirror: &Mirror) -> Command {
    let mut command = mirror.program(&["status"]);
    command.args(mirror.roots());
    command
}

#[test]
fn a_source_that_is_away_is_noted_once_for_status_where_there_is_a_history() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let elsewhere = mirror.path("elsewhere");
    fs::rename(&mirror.source, &elsewhere).unwrap();
    mirror.run(&[]).expect(5).says("cannot be used");
    assert_eq!(fs::read_dir(&mirror.state).unwrap().count(), 0, "no manifest is made for it");
    fs::rename(&elsewhere, &mirror.source).unwrap();
    mirror.sync();
    fs::rename(&mirror.source, &elsewhere).unwrap();
    mirror.run(&["-n"]).expect(5);
    assert_eq!(history(status_of(&mirror)).len(), 1, "a dry run notes nothing");
    for _ in 0..2 {
        mirror.run(&[]).expect(5);
        let runs = history(status_of(&mirror));
        let [(result, code, message), _] = &runs[..] else { panic!("two runs: {runs:?}") };
        assert_eq!((result.as_str(), *code), ("failed", 5), "{message}");
        assert!(message.contains("the source") && message.contains("cannot be used"), "{message}");
    }
    fs::rename(&elsewhere, &mirror.source).unwrap();
    mirror.sync();
    assert_eq!(history(status_of(&mirror)).len(), 3);
}

#[test]
fn one_source_that_is_away_does_not_keep_the_other_jobs_from_running_once() {
    let mirror = Mirror::new();
    write(mirror.path("sb/file"), "x");
    let says_away = |output: Output| output.expect(5).says("sa cannot be used");
    let planned = says_away(finish(two_jobs(&mirror, &["sync", "-n"])));
    assert!(planned.stdout.contains("file"), "{planned:?}");
    assert!(!mirror.path("rb").exists());
    let ran = says_away(finish(two_jobs(&mirror, &["sync", "--once", "--json"])));
    assert!(mirror.path("rb/file").exists() && !mirror.path("ra").exists());
    let codes: Vec<_> = ran
        .json()
        .iter()
        .filter(|event| event["event"] == "summary")
        .map(|event| (event["job"].clone(), event["exit_code"].clone()))
        .collect();
    assert_eq!(codes, [("away".into(), 5.into()), ("here".into(), 0.into())]);
    let log = mirror.log();
    assert!(log.contains("ERROR away: ") && log.contains("sa cannot be used"), "{log}");
    assert!(!mirror.state.join("away.db").exists() && mirror.state.join("here.db").exists());
    // With a history, it is noted there.
    mkdir(mirror.path("sa"));
    finish(two_jobs(&mirror, &["sync", "--once"])).expect(0);
    fs::remove_dir(mirror.path("sa")).unwrap();
    says_away(finish(two_jobs(&mirror, &["sync", "--once"])));
    let runs = history(two_jobs(&mirror, &["status", "--job", "away"]));
    assert_eq!((runs.len(), runs[0].1), (2, 5), "{runs:?}");
}

#[test]
fn a_daemon_starts_without_a_source_that_is_away_and_mirrors_it_when_it_comes() {
    let mirror = Mirror::new();
    write(mirror.path("sb/file"), "x");
    let daemon = start(two_jobs(&mirror, &["sync"]));
    wait_until("the job that can run has run", || mirror.path("rb/file").exists());
    wait_until("the other one was tried", || mirror.log().contains("sa cannot be used"));
    assert!(!mirror.state.join("away.db").exists(), "no manifest is made for it");
    write(mirror.path("new/file"), "x");
    fs::rename(mirror.path("new"), mirror.path("sa")).unwrap();
    wait_until("it is mirrored when it is there", || mirror.path("ra/file").exists());
    wait_until("its run is in the log", || mirror.log().contains("of away"));
    fs::rename(mirror.path("sa"), mirror.path("new")).unwrap();
    let noted =
        || history(two_jobs(&mirror, &["status", "--job", "away"])).first().is_some_and(|run| run.1 == 5);
    wait_until("that it went is noted", noted);
    daemon.signal(Signal::TERM);
    daemon.wait().expect(0);
}

#[test]
fn where_no_job_can_run_no_daemon_starts_either() {
    let mirror = Mirror::new();
    let mut command = two_jobs(&mirror, &["sync"]);
    command.args(["--job", "away"]);
    finish(command).expect(5).says("sa cannot be used");
}

/// A job whose source comes and goes.
fn comes_and_goes(mirror: &Mirror, arguments: &[&str]) -> Command {
    let text =
        "[[job]]\nname = \"disk\"\nsource = \"sa\"\nreplica = \"ra\"\ninterval = \"1s\"\nabsent = \"ok\"\n";
    let config = mirror.write_config("config.toml", text);
    let mut command = mirror.program(arguments);
    command.arg("--config").arg(config);
    command
}

#[test]
fn a_disk_that_comes_and_goes_is_no_failure_and_has_a_state_of_its_own() {
    let mirror = Mirror::new();
    let once = |words: &[&str]| finish(comes_and_goes(&mirror, words));
    // Before it was ever there.
    let said = once(&["sync", "--once"]).expect(0);
    assert!(said.stdout.starts_with("absent: the source ") && said.stderr.is_empty(), "{said:?}");
    assert!(once(&["sync", "-n"]).expect(0).stdout.starts_with("absent: "));
    assert!(!mirror.path("ra").exists());
    write(mirror.path("sa/file"), "x");
    once(&["sync", "--once"]).expect(0);
    fs::rename(mirror.path("sa"), mirror.path("gone")).unwrap();
    for _ in 0..3 {
        let summary = once(&["sync", "--once", "--json"]).expect(0).summary();
        assert_eq!((&summary["result"], &summary["exit_code"]), (&"absent".into(), &0.into()), "{summary}");
    }
    let runs = history(comes_and_goes(&mirror, &["status"]));
    assert_eq!(runs.len(), 2, "that it is away is noted once: {runs:?}");
    assert_eq!((runs[0].0.as_str(), runs[0].1), ("absent", 0));
    let noted = mirror.log().lines().filter(|line| line.contains(" disk: absent: ")).count();
    assert_eq!(noted, 2, "once before it was there, and once after: {}", mirror.log());
    assert!(once(&["status"]).expect(0).stdout.contains("absent"));
    assert!(once(&["status", "--check"]).expect(0).stdout.contains("healthy disk"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    once(&["status", "--check", "--max-age", "1s"]).expect(7);
    assert!(mirror.path("ra/file").exists());
    // What is there and cannot be used is a failure still.
    write(mirror.path("sa"), "a file");
    once(&["sync", "--once"]).expect(5).says("is not a folder");
    fs::remove_file(mirror.path("sa")).unwrap();
    fs::rename(mirror.path("gone"), mirror.path("sa")).unwrap();
    assert_eq!(once(&["sync", "--once", "--json"]).expect(0).summary()["result"], "ok");
}

#[test]
fn a_daemon_whose_only_disk_is_away_starts_and_says_that_once() {
    let mirror = Mirror::new();
    let daemon = start(comes_and_goes(&mirror, &["sync"]));
    wait_for_log(&mirror, "disk: absent: ", 1);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    write(mirror.path("new/file"), "x");
    fs::rename(mirror.path("new"), mirror.path("sa")).unwrap();
    wait_until("it is mirrored when it is there", || mirror.path("ra/file").exists());
    daemon.signal(Signal::TERM);
    let output = daemon.wait().expect(0);
    assert_eq!(mirror.log().matches("disk: absent: ").count(), 1, "{}", mirror.log());
    assert_eq!(output.stdout.matches("absent: ").count(), 1, "{output:?}");
}
