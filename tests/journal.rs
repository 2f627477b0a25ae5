//! `status --log`: what runs did, entry by entry, as the manifest remembers it.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make their own trees")]

mod common;

use common::program::finish;
use common::tree::{remove, write};
use common::{Mirror, settle};
use serde_json::Value;
use std::fs;

fn log(mirror: &Mirror, words: &[&str]) -> Vec<Value> {
    let mut command = mirror.program(&["status", "--log", "--json"]);
    command.args(mirror.roots()).args(words);
    finish(command).expect(0).json()
}

fn told(rows: &[Value]) -> Vec<(String, String, i64)> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "operation"), text(row, "path"), row["run"].as_i64().unwrap())).collect()
}

#[test]
fn what_runs_did_is_told_with_its_time_run_and_digest() {
    let mirror = Mirror::new();
    assert!(log(&mirror, &[]).is_empty(), "no run, no log");
    write(mirror.in_source("docs/a.txt"), "hello");
    write(mirror.in_source("docs/b.txt"), "a file that only moves, and is long enough for that");
    write(mirror.in_source("other"), "x");
    mirror.sync();
    settle();
    fs::rename(mirror.in_source("docs/b.txt"), mirror.in_source("c.txt")).unwrap();
    remove(mirror.in_source("other"));
    mirror.sync();
    let rows = log(&mirror, &[]);
    let expected = [
        ("copy", "docs/a.txt", 1),
        ("copy", "docs/b.txt", 1),
        ("copy", "other", 1),
        ("create", "docs/", 1),
        ("metadata", "", 1),
        ("move", "c.txt", 2),
        ("delete", "other", 2),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(verb, path, run)| ((*verb).to_owned(), (*path).to_owned(), *run)).collect();
    let mut found = told(&rows);
    found[..5].sort();
    assert_eq!(found, expected);
    let a = rows.iter().find(|row| row["path"] == "docs/a.txt").unwrap();
    assert_eq!((a["size"].as_u64(), a["md5"].as_str()), (Some(5), Some("5d41402abc4b2a76b9719d911017c592")));
    let moved = rows.iter().find(|row| row["operation"] == "move").unwrap();
    assert_eq!(moved["from"], "docs/b.txt");
    // By path: the entry, all below it, and what came from there.
    let paths =
        |words: &[&str]| told(&log(&mirror, words)).into_iter().map(|(_, path, _)| path).collect::<Vec<_>>();
    assert_eq!(paths(&["other"]), ["other", "other"]);
    let mut docs = paths(&["docs"]);
    docs.sort();
    assert_eq!(docs, ["c.txt", "docs/", "docs/a.txt", "docs/b.txt"]);
    assert_eq!(paths(&[mirror.in_source("docs/a.txt").to_str().unwrap()]), ["docs/a.txt"]);
    // By age.
    assert_eq!(log(&mirror, &["--since", "1h"]).len(), 7);
    assert!(log(&mirror, &["--since", "0"]).is_empty());
    let mut command = mirror.program(&["status", "--log"]);
    command.args(mirror.roots());
    let shown = finish(command).expect(0).stdout;
    assert!(shown.lines().any(|line| line.ends_with("run 2     move     c.txt  from docs/b.txt")), "{shown}");
}

#[test]
fn an_idle_run_adds_nothing_and_a_folder_that_is_renamed_is_one_line() {
    let mirror = Mirror::new();
    for number in 0..20 {
        write(mirror.in_source(format!("old/file{number}")), format!("{number}"));
    }
    mirror.sync();
    settle();
    fs::rename(mirror.in_source("old"), mirror.in_source("new")).unwrap();
    mirror.sync();
    settle();
    mirror.sync();
    let later = log(&mirror, &[]).into_iter().filter(|row| row["run"] != 1).collect::<Vec<_>>();
    assert_eq!(told(&later), [("move".to_owned(), "new/".to_owned(), 2)]);
}

#[test]
fn a_first_run_and_any_run_write_no_more_than_their_share() {
    let mirror = Mirror::new();
    for number in 0..1500 {
        write(mirror.in_source(format!("file{number:05}")), "");
    }
    mirror.sync();
    assert_eq!(log(&mirror, &[]).len(), 1000);
    for number in 0..1500 {
        remove(mirror.in_source(format!("file{number:05}")));
    }
    write(mirror.in_source("last"), "");
    settle();
    mirror.run(&["--max-delete", "off"]).expect(0);
    assert_eq!(log(&mirror, &[]).len(), 1000 + 1501);
}
