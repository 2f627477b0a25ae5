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
