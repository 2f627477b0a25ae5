//! What is excluded is invisible on both sides: neither copied nor deleted.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make their own trees")]

mod common;

use common::inject::traced;
use common::program::{Output, finish, start_if_there};
use common::tree::{remove, write};
use common::{Mirror, settle, skip};
use std::fs;

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n";

fn run(mirror: &Mirror, more: &[&str]) -> Output {
    settle();
    mirror.run(more)
}

/// A run that must find nothing to do any more.
#[track_caller]
fn is_idle(mirror: &Mirror, more: &[&str]) {
    let summary = run(mirror, &[more, &["--json"]].concat()).expect(0).summary();
    for field in ["create", "copy", "move", "link", "metadata", "delete", "problems", "held"] {
        assert_eq!(summary[field], 0, "{summary}");
    }
}

/// A config with one job for this mirror.
fn config(mirror: &Mirror, keys: &str) -> String {
    let (source, replica) = (mirror.source.display(), mirror.replica.display());
    let text = format!("[[job]]\nname = \"one\"\nsource = '{source}'\nreplica = '{replica}'\n{keys}");
    mirror.write_config("config.toml", text).to_str().unwrap().to_owned()
}

fn rows(mirror: &Mirror) -> Vec<String> {
    let mut command = mirror.program(&["status", "--files", "--json"]);
    command.args(mirror.roots());
    let rows = finish(command).expect(0).json();
    rows.iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_pattern_excludes_is_not_copied_and_the_rest_is() {
    let mirror = Mirror::new();
    write(mirror.in_source("a.tmp"), "no");
    write(mirror.in_source("deep/b.tmp"), "no");
    write(mirror.in_source("deep/keep.tmp"), "yes");
    write(mirror.in_source("build/x"), "no");
    write(mirror.in_source("deep/build/x"), "yes");
    let patterns = ["--exclude", "*.tmp", "--exclude", "!keep.tmp", "--exclude", "/build/"];
    run(&mirror, &patterns).expect(0);
    for (path, there) in [
        ("a.tmp", false),
        ("deep/b.tmp", false),
        ("deep/keep.tmp", true),
        ("build", false),
        ("deep/build/x", true),
    ] {
        assert_eq!(mirror.in_replica(path).exists(), there, "{path}");
    }
    is_idle(&mirror, &patterns);
}

#[test]
fn what_becomes_excluded_stays_in_the_replica_and_is_forgotten_and_what_no_longer_is_comes_back() {
    let mirror = Mirror::new();
    write(mirror.in_source("a.log"), "old");
    write(mirror.in_source("logs/b"), "old");
    write(mirror.in_source("c"), "old");
    run(&mirror, &[]).expect(0);
    let patterns = ["--exclude", "*.log", "--exclude", "logs/"];
    remove(mirror.in_source("a.log"));
    write(mirror.in_source("logs/b"), "newer");
    run(&mirror, &patterns).expect(0);
    assert_eq!(fs::read_to_string(mirror.in_replica("a.log")).unwrap(), "old");
    assert_eq!(fs::read_to_string(mirror.in_replica("logs/b")).unwrap(), "old");
    assert_eq!(rows(&mirror), ["", "c"]);
    is_idle(&mirror, &patterns);
    run(&mirror, &[]).expect(0);
    assert!(!mirror.in_replica("a.log").exists());
    assert_eq!(fs::read_to_string(mirror.in_replica("logs/b")).unwrap(), "newer");
    mirror.assert_in_step();
}

#[test]
fn an_excluded_entry_keeps_the_folder_it_lies_in_when_the_source_has_that_no_longer() {
    let mirror = Mirror::new();
    write(mirror.in_source("gone/deep/file"), "content");
    write(mirror.in_source("stays"), "content");
    run(&mirror, &[]).expect(0);
    write(mirror.in_replica("gone/deep/mine.keep"), "the replica's own");
    remove(mirror.in_source("gone"));
    let patterns = ["--exclude", "*.keep", "--max-delete", "off"];
    run(&mirror, &patterns).expect(0);
    assert!(!mirror.in_replica("gone/deep/file").exists());
    assert_eq!(fs::read_to_string(mirror.in_replica("gone/deep/mine.keep")).unwrap(), "the replica's own");
    is_idle(&mirror, &patterns);
}

#[test]
fn a_file_that_takes_the_place_of_a_folder_with_something_excluded_is_a_problem_and_loses_nothing() {
    let mirror = Mirror::new();
    write(mirror.in_source("thing/file"), "content");
    run(&mirror, &[]).expect(0);
    write(mirror.in_replica("thing/mine.keep"), "the replica's own");
    remove(mirror.in_source("thing"));
    write(mirror.in_source("thing"), "a file now");
    let out = run(&mirror, &["--exclude", "*.keep", "--max-delete", "off"]).expect(3);
    assert!(out.stderr.contains("excluded"), "{}", out.stderr);
    assert_eq!(fs::read_to_string(mirror.in_replica("thing/mine.keep")).unwrap(), "the replica's own");
    assert_eq!(fs::read_to_string(mirror.in_replica("thing/file")).unwrap(), "content");
}

#[test]
fn deletes_of_what_is_excluded_are_asked_for_and_pass_the_gate() {
    let mirror = Mirror::new();
    for number in 0..4 {
        write(mirror.in_source(format!("{number}.tmp")), "x");
    }
    write(mirror.in_source("kept"), "x");
    run(&mirror, &[]).expect(0);
    let config = config(&mirror, "exclude = [\"*.tmp\"]\ndelete_excluded = true\nmax_delete = 3\n");
    let with_config = |more: &[&str]| {
        settle();
        let mut command = mirror.program(&["sync", "--once", "--config", &config]);
        command.args(["--manifest".as_ref(), mirror.manifest().as_os_str()]).args(more);
        finish(command)
    };
    with_config(&[]).expect(4);
    assert!(mirror.in_replica("0.tmp").exists());
    with_config(&["--max-delete", "4"]).expect(0);
    assert!(!mirror.in_replica("0.tmp").exists() && mirror.in_replica("kept").exists());
    assert!(mirror.in_source("0.tmp").exists());
}

#[test]
fn files_are_excluded_by_size_and_a_copy_of_one_that_grew_stays() {
    let mirror = Mirror::new();
    write(mirror.in_source("small"), "1");
    write(mirror.in_source("right"), "12345");
    write(mirror.in_source("large"), "1234567890");
    write(mirror.in_source("other"), "12");
    let config = config(&mirror, "min_size = \"2B\"\nmax_size = \"9B\"\n");
    let go = || {
        settle();
        finish(mirror.program(&["sync", "--once", "--config", &config, "--json"])).expect(0).summary()
    };
    go();
    let there = ["small", "right", "large"].map(|name| mirror.in_replica(name).exists());
    assert_eq!(there, [false, true, false]);
    write(mirror.in_source("right"), "123456789012");
    assert_eq!(go()["copy"], 0);
    assert_eq!(fs::read_to_string(mirror.in_replica("right")).unwrap(), "12345");
    remove(mirror.in_source("right"));
    write(mirror.in_replica("mine"), "1234567890");
    assert_eq!(go()["delete"], 1, "what the replica has of a size that is mirrored goes");
    assert!(mirror.in_replica("mine").exists());
}

#[test]
fn a_folder_that_is_marked_as_a_cache_is_skipped_with_all_that_is_in_it() {
    let mirror = Mirror::new();
    write(mirror.in_source("cache/CACHEDIR.TAG"), TAG);
    write(mirror.in_source("cache/deep/file"), "x");
    write(mirror.in_source("fake/CACHEDIR.TAG"), "no signature");
    write(mirror.in_source("later/file"), "x");
    let config = config(&mirror, "skip_cachedir_tag = true\n");
    let go = || {
        settle();
        finish(mirror.program(&["sync", "--once", "--config", &config, "--json"])).expect(0).summary()
    };
    go();
    assert!(!mirror.in_replica("cache").exists());
    assert!(mirror.in_replica("fake/CACHEDIR.TAG").exists());
    write(mirror.in_source("later/CACHEDIR.TAG"), TAG);
    remove(mirror.in_source("later/file"));
    go();
    assert!(mirror.in_replica("later/file").exists(), "what became excluded stays");
    assert_eq!((go()["delete"].clone(), go()["copy"].clone()), (0.into(), 0.into()));
    let mut command = mirror.program(&["status", "--config", &config, "cache/deep/file"]);
    command.args(["--job", "one"]);
    assert!(finish(command).expect(0).stdout.contains("skip_cachedir_tag"));
}

#[test]
fn status_says_which_rule_excludes_a_path() {
    let mirror = Mirror::new();
    write(mirror.in_source("deep/build/file"), "x");
    let list = mirror.source.with_extension("list");
    write(&list, "# a comment\n\nbuild/\n");
    let config = config(&mirror, &format!("exclude_from = '{}'\n", list.display()));
    let ask = |path: &str| finish(mirror.program(&["status", "--config", &config, path])).expect(0).stdout;
    let told = ask("deep/build/file");
    assert!(told.contains("`build/`") && told.contains("line 3"), "{told}");
    let mut command = mirror.program(&["status", "--exclude", "*.o", "--json", "x/a.o"]);
    command.args(mirror.roots());
    assert_eq!(finish(command).expect(0).json()[0]["excluded_by"], "the pattern `*.o`");
}

#[test]
fn patterns_and_lists_that_are_wrong_end_the_program_before_anything_happens() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mirror.run(&["--exclude", "a[z-a]"]).expect(2).says("`a[z-a]`");
    let missing = config(&mirror, "exclude_from = \"/nowhere/list\"\n");
    finish(mirror.program(&["sync", "--once", "--config", &missing])).expect(2).says("/nowhere/list");
    let sizes = config(&mirror, "min_size = \"5B\"\nmax_size = \"4B\"\n");
    finish(mirror.program(&["sync", "--once", "--config", &sizes])).expect(2).says("min_size");
    assert!(!mirror.in_replica("file").exists());
}

#[test]
fn rebuild_index_leaves_out_what_is_excluded() {
    let mirror = Mirror::new();
    write(mirror.in_source("a.tmp"), "x");
    write(mirror.in_source("b"), "x");
    run(&mirror, &[]).expect(0);
    write(mirror.in_replica("a.tmp"), "y");
    settle();
    let mut command = mirror.program(&["rebuild-index", "--exclude", "*.tmp"]);
    command.args(mirror.roots());
    finish(command).expect(0);
    assert_eq!(rows(&mirror), ["", "b"]);
}

#[test]
fn a_folder_is_renamed_as_a_whole_only_where_its_place_matters_to_no_pattern() {
    for (pattern, moved) in [("*.tmp", true), ("old/secret", false)] {
        let mirror = Mirror::new();
        for name in ["one", "two"] {
            write(mirror.in_source(format!("old/{name}")), name);
        }
        run(&mirror, &["--exclude", pattern]).expect(0);
        write(mirror.in_replica("old/secret"), "the replica's own");
        fs::rename(mirror.in_source("old"), mirror.in_source("new")).unwrap();
        let summary =
            run(&mirror, &["--exclude", pattern, "--json", "--max-delete", "off"]).expect(0).summary();
        assert_eq!(summary["move"], if moved { 1 } else { 2 }, "{pattern}: {summary}");
        assert_eq!(mirror.in_replica("old/secret").exists(), !moved, "{pattern}");
        is_idle(&mirror, &["--exclude", pattern]);
    }
}

#[test]
fn a_dry_run_plans_what_a_run_does() {
    let mirror = Mirror::new();
    for name in ["a.tmp", "b", "sub/c.tmp", "sub/d"] {
        write(mirror.in_source(name), name);
    }
    settle();
    let plan = mirror.run(&["-n", "--exclude", "*.tmp", "--json"]).expect(0).summary();
    let done = mirror.run(&["--exclude", "*.tmp", "--json"]).expect(0).summary();
    for field in ["create", "copy", "metadata", "delete"] {
        assert_eq!(plan[field], done[field], "{field}");
    }
}

#[test]
fn an_excluded_folder_is_not_entered_and_an_excluded_file_not_looked_at() {
    let mirror = Mirror::new();
    write(mirror.in_source("hidden/file"), "x");
    write(mirror.in_source("quiet.tmp"), "x");
    write(mirror.in_source("seen/file"), "x");
    run(&mirror, &[]).expect(0);
    write(mirror.in_replica("hidden/mine"), "x");
    settle();
    let calls = mirror.path("calls");
    let arguments = ["--exclude", "hidden/", "--exclude", "*.tmp"];
    let command = traced(&mirror, &arguments, calls.to_str().unwrap(), &["trace=%file,getdents64"]);
    let Some(running) = start_if_there(command) else { return skip("strace is not installed") };
    running.wait().expect(0);
    let calls = fs::read_to_string(&calls).unwrap();
    assert!(calls.contains("\"seen\""), "{calls}");
    for name in ["hidden", "quiet.tmp", "mine"] {
        assert!(!calls.contains(&format!("\"{name}\"")), "{name} was asked for");
    }
    assert!(mirror.in_replica("hidden/mine").exists());
}
