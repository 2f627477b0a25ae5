//! `status --check`: what a monitoring system asks, answered by an exit code.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::{Output, finish};
use common::tree::{remove, write};
use common::{Mirror, settle};
use std::fs;

fn check(mirror: &Mirror, more: &[&str]) -> Output {
    let mut command = mirror.program(&["status", "--check"]);
    command.args(mirror.roots()).args(more);
    finish(command)
}

#[test]
fn a_job_that_has_not_run_is_not_healthy_and_one_in_step_is() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    settle();
    assert!(check(&mirror, &[]).expect(7).stdout.contains("has not run yet"));
    mirror.sync();
    assert!(check(&mirror, &[]).expect(0).stdout.starts_with("healthy "));
    assert!(check(&mirror, &["--max-age", "1h"]).expect(0).stdout.starts_with("healthy "));
}

#[test]
fn a_good_run_that_is_too_long_ago_is_told_from_one_that_is_not() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    settle();
    mirror.sync();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let old = check(&mirror, &["--max-age", "1s", "--json"]).expect(7).json().remove(0);
    assert_eq!((&old["event"], &old["healthy"]), (&"check".into(), &false.into()));
    assert!(old["reasons"][0].as_str().unwrap().contains("more than 1 s"), "{old}");
    let fresh = check(&mirror, &["--max-age", "1h", "--json"]).expect(0).json().remove(0);
    assert_eq!((&fresh["healthy"], &fresh["reasons"]), (&true.into(), &serde_json::json!([])));
    assert!(fresh["last_good"].is_string() && fresh["age_seconds"].is_u64(), "{fresh}");
}

#[test]
fn held_deletes_and_a_run_that_failed_are_told() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    settle();
    mirror.sync();
    remove(mirror.in_source("file"));
    mirror.run(&[]).expect(4);
    assert!(check(&mirror, &[]).expect(7).stdout.contains("1 deletes are held"));
    write(mirror.in_source("file"), "content");
    mirror.sync();
    check(&mirror, &[]).expect(0);
    let away = mirror.source.with_extension("away");
    fs::rename(&mirror.source, &away).unwrap();
    mirror.run(&[]).expect(5);
    assert!(check(&mirror, &[]).expect(7).stdout.contains("not healthy "));
    fs::rename(&away, &mirror.source).unwrap();
}

#[test]
fn an_age_without_a_check_and_a_check_of_one_path_are_wrong_usage() {
    let mirror = Mirror::new();
    let mut command = mirror.program(&["status", "--max-age", "1h"]);
    command.args(mirror.roots());
    finish(command).expect(2);
    check(&mirror, &["file"]).expect(2);
    check(&mirror, &["--format", "md5sum"]).expect(2);
}
