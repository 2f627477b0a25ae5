//! An idle run costs a look at each entry and opens no file of either tree.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::program::finish;
use common::tree::{mkfifo, symlink, write};
use common::{Mirror, settle, skip};
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether `strace` is there and may trace.
fn can_trace() -> bool {
    let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

/// The lines of a traced run that open something, but for failed opens.
fn opens_of_a_run(mirror: &Mirror, more: &[&str]) -> Vec<String> {
    let trace = mirror.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "300", "-e", "trace=open,openat,openat2,creat", "-o"]).arg(&trace);
    command.arg(mirror.program_path()).arg("--once").args(mirror.roots()).args(more);
    mirror.isolate(&mut command);
    finish(command).expect(0);
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
    text.lines().filter(|line| line.contains(" = ") && !line.contains(" = -1 ")).map(str::to_owned).collect()
}

/// Which of the opens gave a file below `root` that is no folder.
fn files_opened<'l>(opens: &'l [String], root: &Path) -> Vec<&'l String> {
    // With -y the result reads `= 5</path/of/what/was/opened>`.
    let below = format!("<{}/", root.display());
    opens
        .iter()
        .filter(|line| {
            let result = line.rsplit(" = ").next().unwrap_or_default();
            let path = result.split_once('<').map(|(_, path)| path.trim_end_matches('>'));
            result.contains(&below) && path.is_some_and(|path| !Path::new(path).is_dir())
        })
        .collect()
}

#[test]
fn an_idle_run_opens_no_file_of_either_tree() {
    if !can_trace() {
        return skip("strace is not installed or may not trace: not shown that idle runs open no files");
    }
    let mirror = Mirror::new();
    for number in 0..200 {
        write(mirror.in_source(format!("{}/file{number}", number % 9)), number.to_string());
    }
    symlink("0/file0", mirror.in_source("link"));
    mkfifo(mirror.in_source("pipe"));
    settle();
    let first = opens_of_a_run(&mirror, &[]);
    let copied = files_opened(&first, &mirror.source);
    assert!(copied.len() >= 200, "the witness sees what a first run opens: {}", copied.len());
    mirror.assert_in_step();

    let idle = opens_of_a_run(&mirror, &[]);
    let (source, replica) = (files_opened(&idle, &mirror.source), files_opened(&idle, &mirror.replica));
    assert!(source.is_empty() && replica.is_empty(), "{source:?}\n{replica:?}");
    let inside = format!("<{}", mirror.source.display());
    assert!(idle.iter().any(|line| line.contains(&inside)), "its folders are listed");

    let dry = opens_of_a_run(&mirror, &["-n"]);
    assert!(files_opened(&dry, &mirror.source).is_empty() && files_opened(&dry, &mirror.replica).is_empty());
}

#[test]
fn a_run_after_one_change_opens_that_file_only() {
    if !can_trace() {
        return skip(
            "strace is not installed or may not trace: not shown that only changed files are opened",
        );
    }
    let mirror = Mirror::new();
    for name in ["a", "b", "c", "d/e"] {
        write(mirror.in_source(name), name);
    }
    settle();
    mirror.sync();
    write(mirror.in_source("b"), "changed");
    settle();
    let opens = opens_of_a_run(&mirror, &[]);
    let opened = files_opened(&opens, &mirror.source);
    assert!(!opened.is_empty() && opened.iter().all(|line| line.contains("source/b>")), "{opened:?}");
    mirror.assert_in_step();
}

#[test]
fn an_idle_run_leaves_replica_and_rows_as_they_are() {
    let mirror = Mirror::new();
    for number in 0..50 {
        write(mirror.in_source(format!("{number}")), "");
    }
    settle();
    mirror.sync();
    for _ in 0..3 {
        mirror.assert_idle();
    }
}

/// The bytes that a run writes, wherever to, and the calls that force a disk.
fn cost_of_a_run(mirror: &Mirror) -> (u64, usize) {
    let trace = mirror.path("trace");
    let mut command = Command::new("strace");
    let calls =
        "trace=fsync,fdatasync,syncfs,sync,sync_file_range,write,writev,pwrite64,pwritev,copy_file_range";
    command.args(["-f", "-e", calls, "-o"]).arg(&trace);
    command.arg(mirror.program_path()).arg("--once").args(mirror.roots());
    mirror.isolate(&mut command);
    finish(command).expect(0);
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
    let syncs = text.lines().filter(|line| line.contains("sync") && !line.contains("resumed")).count();
    let written = |line: &str| line.rsplit_once(" = ")?.1.split(' ').next()?.parse::<u64>().ok();
    (text.lines().filter(|line| !line.contains("sync")).filter_map(written).sum(), syncs)
}

/// The numbers of the runs that `status` tells of, oldest first, and how many there were in all.
fn history(mirror: &Mirror) -> Vec<i64> {
    let mut command = mirror.program(&["status", "--runs", "1000", "--format", "json"]);
    command.args(mirror.roots());
    let told = finish(command).expect(0).json().remove(0);
    let runs = told["runs"].as_array().unwrap();
    assert!(runs.iter().all(|run| run["result"] == "ok" && run["ended"].is_string()), "{told}");
    runs.iter().rev().map(|run| run["run"].as_i64().unwrap()).collect()
}

#[test]
fn an_idle_run_writes_at_most_8_kb_and_syncs_at_most_once() {
    if !can_trace() {
        return skip("strace is not installed or may not trace: not shown that idle runs write little");
    }
    let mirror = Mirror::new();
    (0..50).for_each(|number| write(mirror.in_source(number.to_string()), number.to_string()));
    settle();
    mirror.sync();
    mirror.sync();
    for _ in 0..2 {
        let (bytes, syncs) = cost_of_a_run(&mirror);
        assert!(bytes <= 8000 && syncs <= 1, "{bytes} bytes and {syncs} syncs");
    }
    let (bytes, syncs) = {
        write(mirror.in_source("new"), "new");
        cost_of_a_run(&mirror)
    };
    assert!(bytes > 8000 && syncs > 1, "the witness sees what a run with work does: {bytes}, {syncs}");
}

#[test]
fn idle_runs_are_in_the_history_before_and_after_a_run_that_had_work() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    settle();
    (0..4).for_each(|_| drop(mirror.sync()));
    assert_eq!(history(&mirror), [1, 2, 3, 4]);
    write(mirror.in_source("file"), "other content");
    settle();
    assert_eq!(mirror.summary(&[])["run"], 5);
    // The first of these counts when the new content was verified, which the run itself cannot.
    (0..3).for_each(|_| drop(mirror.sync()));
    assert_eq!(history(&mirror), [1, 2, 3, 4, 5, 6, 7, 8]);
    let notes = format!("{}.idle", mirror.manifest().display());
    let text = std::fs::read_to_string(&notes).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("run ")).count(), 2, "{text}");
    // What is torn, or of another manifest, tells nothing and costs nothing.
    for (torn, runs) in
        [(&text[..text.len() - 3], 7), (&text.replace("manifest of ", "manifest of 1"), 6), ("\0\0", 6)]
    {
        write(&notes, torn);
        assert_eq!(history(&mirror).len(), runs, "{torn:?}");
    }
    mirror.sync();
    assert_eq!(history(&mirror), [1, 2, 3, 4, 5, 6, 7]);
    // It goes with the manifest that it belongs to.
    common::tree::remove(mirror.manifest());
    mirror.sync();
    assert_eq!(history(&mirror), [1]);
}
