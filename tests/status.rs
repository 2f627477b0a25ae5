//! `status` tells what the manifest knows, writes nothing, and needs no lock.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::{Output, finish, start};
use common::tree::{chmod, mkdir, name, remove, symlink, write};
use common::{Mirror, settle, skip, tree};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn status(mirror: &Mirror, more: &[&str]) -> Output {
    let mut command = mirror.program(&["status"]);
    command.args(mirror.roots()).args(more);
    finish(command)
}

fn mirrored() -> Mirror {
    let mirror = Mirror::new();
    write(mirror.in_source("folder/one.txt"), "one");
    write(mirror.in_source("folder/two.txt"), "two two");
    write(mirror.in_source("three"), "");
    mkdir(mirror.in_source("empty"));
    symlink("three", mirror.in_source("link"));
    settle();
    mirror.sync();
    mirror
}

#[test]
fn the_overview_names_the_roots_the_entries_and_the_last_runs() {
    let mirror = mirrored();
    mirror.sync();
    let shown = status(&mirror, &[]).expect(0).stdout;
    for part in
        [mirror.source.to_str().unwrap(), mirror.replica.to_str().unwrap(), "running   no", "problems  none"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(shown.contains("entries   6, 15 B"), "{shown}");
    let runs: Vec<&str> = shown.lines().filter(|line| line.contains(" sync ")).collect();
    assert_eq!(runs.len(), 2, "{shown}");
    let one = status(&mirror, &["--runs", "1"]).expect(0).stdout;
    assert_eq!(one.lines().filter(|line| line.contains(" sync ")).count(), 1, "{one}");
}

#[test]
fn json_has_the_same_with_stable_names() {
    let mirror = mirrored();
    let shown = status(&mirror, &["--json"]).expect(0).json().remove(0);
    assert_eq!(shown["event"], "status");
    assert_eq!(shown["entries"], 6);
    assert_eq!(shown["bytes"], 15);
    assert_eq!(shown["holder"], serde_json::Value::Null);
    assert_eq!(shown["runs"][0]["result"], "ok");
    assert_eq!(shown["runs"][0]["copy"], 3);
    assert_eq!(shown["problems"], serde_json::json!([]));
    let entry = status(&mirror, &["--json", "folder/one.txt"]).expect(0).json().remove(0);
    assert_eq!(entry["event"], "entry");
    assert_eq!(entry["path"], "folder/one.txt");
    assert_eq!(entry["kind"], "file");
    assert_eq!(entry["md5"], "f97c5d29941bfb1b2fdab0874906ab82");
    assert_eq!(entry["size"], 3);
    assert!(entry["replica"]["inode"].is_u64() && entry["source"]["mtime"].is_string());
}

#[test]
fn an_entry_is_found_by_its_path_under_the_roots_or_in_one_of_them() {
    let mirror = mirrored();
    let in_source = mirror.in_source("folder/one.txt");
    let in_replica = mirror.in_replica("folder/one.txt");
    let named =
        ["folder/one.txt", "./folder//one.txt", in_source.to_str().unwrap(), in_replica.to_str().unwrap()];
    for path in named {
        let shown = status(&mirror, &[path]).expect(0).stdout;
        assert!(shown.contains("md5       f97c5d29941bfb1b2fdab0874906ab82"), "{path}: {shown}");
        assert!(shown.contains("hashed    20"), "{path}: {shown}");
    }
    for path in ["folder", "folder/"] {
        assert!(status(&mirror, &[path]).expect(0).stdout.contains("kind      folder"));
    }
    status(&mirror, &["no/such/path"]).expect(0).says("not in the manifest");
}

#[test]
fn files_lists_all_entries_or_those_below_a_path() {
    let mirror = mirrored();
    let lines = |more: &[&str]| status(&mirror, more).expect(0).stdout.lines().count();
    assert_eq!(lines(&["--files"]), 7, "six entries and the root");
    assert_eq!(lines(&["--files", "folder"]), 3);
    assert_eq!(lines(&["--files", "--format", "json"]), 7);
}

#[test]
fn md5sum_takes_the_list_whatever_the_names() {
    let mirror = mirrored();
    let odd: [&[u8]; 7] = [b"-", b"new\nline", b"back\\slash", b" lead", b"caf\xe9", b"\x1b[31m", b"\\"];
    for bytes in odd {
        write(mirror.in_source(Path::new(name(bytes))), bytes);
    }
    settle();
    mirror.sync();
    let mut command = mirror.program(&["status", "--format", "md5sum"]);
    command.args(mirror.roots());
    let sums = command.output().unwrap().stdout;
    assert_eq!(sums.split(|&byte| byte == b'\n').count() - 1, 3 + odd.len());
    fs::write(mirror.path("sums"), sums).unwrap();
    let check = || {
        let sums = mirror.path("sums");
        Command::new("md5sum").arg("--quiet").arg("-c").arg(sums).current_dir(&mirror.replica).output()
    };
    let Ok(checked) = check() else { return skip("there is no md5sum here") };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    write(mirror.in_replica("three"), "not empty any more");
    assert!(!check().unwrap().status.success(), "md5sum must see a difference");
}

#[test]
fn problems_and_held_deletes_are_told_until_they_are_gone() {
    let mirror = Mirror::of_an_ordinary_user();
    for number in 0..3 {
        write(mirror.in_source(format!("closed/{number}")), "x");
    }
    mirror.give_away(&mirror.source);
    mirror.run(&[]).expect(0);
    chmod(mirror.in_source("closed"), 0o000);
    mirror.run(&[]).expect(3);
    mirror.run(&[]).expect(3);
    let told = status(&mirror, &["--problems"]).expect(0).stdout;
    assert!(told.contains("closed/") && told.contains("met by 2 runs"), "{told}");
    chmod(mirror.in_source("closed"), 0o755);
    remove(mirror.in_source("closed"));
    mirror.run(&[]).expect(4);
    let told = status(&mirror, &[]).expect(0).stdout;
    assert!(told.contains("problems  none") && told.contains("held      4 deletes since run 4"), "{told}");
    write(mirror.in_source("new"), "x");
    mirror.give_away(&mirror.source);
    mirror.run(&[]).expect(0);
    assert!(status(&mirror, &[]).expect(0).stdout.contains("no deletes are held"));
}

#[test]
fn pending_is_the_next_runs_plan() {
    let mirror = mirrored();
    write(mirror.in_source("new"), "12345");
    remove(mirror.in_source("three"));
    let plan = status(&mirror, &["--pending"]).expect(0).stdout;
    assert!(plan.contains("copy     new  5 B") && plan.contains("delete   three"), "{plan}");
    assert!(!mirror.in_replica("new").exists() && mirror.in_replica("three").exists());
}

#[test]
fn looking_writes_nothing() {
    let mirror = mirrored();
    let look = || (tree::stamps(&mirror.state), tree::stamps(&mirror.replica), tree::stamps(&mirror.source));
    let before = look();
    let ways: [&[&str]; 7] = [
        &[],
        &["--files"],
        &["--problems"],
        &["--runs", "9"],
        &["three"],
        &["--format", "md5sum"],
        &["--pending"],
    ];
    for way in ways {
        status(&mirror, way).expect(0);
        assert!(look() == before, "{way:?} wrote something");
    }
}

#[test]
fn a_job_that_has_not_run_yet_says_so() {
    let mirror = Mirror::new();
    let shown = status(&mirror, &[]).expect(0).stdout;
    assert!(shown.contains("has not run yet"), "{shown}");
    status(&mirror, &["some/path"]).expect(1).says("no manifest");
    assert_eq!(fs::read_dir(&mirror.state).unwrap().count(), 0);
}

#[test]
fn without_any_option_every_job_with_state_here_is_told_of() {
    let mirror = mirrored();
    let shown = finish(mirror.program(&["status"])).expect(0).stdout;
    assert!(shown.contains(mirror.source.to_str().unwrap()), "{shown}");
}

#[test]
fn beside_a_daemon_it_names_the_holder_and_disturbs_nothing() {
    let mirror = mirrored();
    let mut command = mirror.program(&["sync", "--interval", "1"]);
    command.args(mirror.roots()).stdout(Stdio::null());
    let daemon = start(command);
    let began = Instant::now();
    let held = loop {
        let shown = status(&mirror, &["--json"]).expect(0).json().remove(0);
        if shown["holder"].is_string() || began.elapsed() > Duration::from_secs(20) {
            break shown["holder"].as_str().unwrap_or_default().to_owned();
        }
        sleep(Duration::from_millis(20));
    };
    assert!(held.starts_with("pid "), "{held}");
    write(mirror.in_source("while-it-runs"), "x");
    while !mirror.in_replica("while-it-runs").exists() {
        assert!(began.elapsed() < Duration::from_secs(40), "the daemon stands still");
        status(&mirror, &["--files"]).expect(0);
        sleep(Duration::from_millis(50));
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code, 0);
    assert!(status(&mirror, &[]).expect(0).stdout.contains("running   no"));
}
