//! A folder that got another name in the source gets it in the replica by one rename, whatever it holds.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::finish;
use common::sweep::witness;
use common::tree::{chmod, mkdir, remove, set_mtime, write};
use common::{Mirror, is_root, settle, skip};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A mirror in step of a tree with some folders of some files each.
fn planted(folders: &[&str]) -> Mirror {
    let mirror = Mirror::new();
    for folder in folders {
        for number in 0..5 {
            write(mirror.in_source(format!("{folder}/file{number}")), format!("{folder} {number}"));
            write(mirror.in_source(format!("{folder}/deep/er/{number}")), format!("{folder} deep {number}"));
        }
    }
    settle();
    mirror.sync();
    mirror
}

fn rename(mirror: &Mirror, from: &str, to: &str) {
    fs::create_dir_all(mirror.in_source(to).parent().unwrap()).unwrap();
    fs::rename(mirror.in_source(from), mirror.in_source(to)).unwrap();
}

/// Runs once with `--json`; what is done must be what a dry run said, and all of it right afterwards.
/// Returns the operations as `verb path from`.
fn sync(mirror: &Mirror) -> Vec<String> {
    let lines = |events: Vec<Value>, name: &str| -> Vec<String> {
        let text = |event: &Value| {
            let from = event["from"].as_str().map(|from| format!(" {from}")).unwrap_or_default();
            format!("{} {}{from}", event["operation"].as_str().unwrap(), event["path"].as_str().unwrap())
        };
        events.iter().filter(|event| event["event"] == name).map(text).collect()
    };
    settle();
    let mut planned = lines(mirror.run(&["-n", "--json"]).expect(0).json(), "plan");
    let mut done = lines(mirror.run(&["--json"]).expect(0).json(), "operation");
    mirror.assert_in_step();
    witness(&mirror.source, &mirror.replica, "after a rename");
    planned.sort();
    done.sort();
    assert_eq!(planned, done, "a dry run says what a run does");
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
    done
}

fn inode(path: impl AsRef<Path>) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn a_renamed_folder_is_one_move_that_touches_nothing_in_it() {
    let mirror = planted(&["old", "other"]);
    let (folder, file) =
        (inode(mirror.in_replica("old")), fs::metadata(mirror.in_replica("old/file1")).unwrap());
    rename(&mirror, "old", "new name");
    assert_eq!(sync(&mirror), ["move new name/ old/"]);
    assert_eq!(inode(mirror.in_replica("new name")), folder);
    let now = fs::metadata(mirror.in_replica("new name/file1")).unwrap();
    assert_eq!((now.ino(), now.ctime(), now.ctime_nsec()), (file.ino(), file.ctime(), file.ctime_nsec()));
    assert!(mirror.log().contains("move     new name/  from old/"), "{}", mirror.log());
}

#[test]
fn a_rename_opens_no_file_of_either_tree() {
    let probe = std::process::Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip("strace is not installed or may not trace: not shown that renames open no files");
    }
    let mirror = planted(&["old"]);
    rename(&mirror, "old", "new");
    settle();
    let trace = mirror.path("trace");
    let mut command = std::process::Command::new("strace");
    command
        .args(["-f", "-s", "200", "-e", "trace=openat,openat2,renameat2,renameat,rename", "-o"])
        .arg(&trace);
    command.arg(mirror.program_path()).arg("--once").args(mirror.roots());
    mirror.isolate(&mut command);
    finish(command).expect(0);
    let trace = fs::read_to_string(trace).unwrap();
    let renames =
        trace.lines().filter(|line| line.contains("renameat2(") && line.contains("\"new\"")).count();
    assert_eq!(renames, 1, "{trace}");
    assert!(!trace.contains("\"file1\"") && !trace.contains("O_NOATIME"), "{trace}");
    mirror.assert_in_step();
}

#[test]
fn a_folder_that_moves_below_a_new_one_or_above_its_parent_is_one_move() {
    let mirror = planted(&["a/b", "c"]);
    rename(&mirror, "a/b", "new/er/b");
    assert_eq!(sync(&mirror), ["create new/", "create new/er/", "move new/er/b/ a/b/"]);
    rename(&mirror, "new/er/b", "b");
    assert_eq!(sync(&mirror), ["move b/ new/er/b/"]);
    rename(&mirror, "b/deep", "a/deep");
    rename(&mirror, "b", "bb");
    assert_eq!(sync(&mirror), ["move a/deep/ b/deep/", "move bb/ b/"]);
}

#[test]
fn changes_inside_a_renamed_folder_are_found_in_the_same_run() {
    let mirror = planted(&["old"]);
    rename(&mirror, "old", "new");
    write(mirror.in_source("new/file0"), "other content");
    write(mirror.in_source("new/added"), "added");
    remove(mirror.in_source("new/file3"));
    chmod(mirror.in_source("new/file4"), 0o600);
    rename(&mirror, "new/deep/er", "new/deep/est");
    assert_eq!(
        sync(&mirror),
        [
            "copy new/added",
            "copy new/file0",
            "delete new/file3",
            "metadata new/file4",
            "move new/ old/",
            "move new/deep/est/ old/deep/er/",
        ]
    );
}

#[test]
fn chains_swaps_and_cycles_of_renames_come_right() {
    let mirror = planted(&["a", "b", "c"]);
    // A chain.
    rename(&mirror, "c", "d");
    rename(&mirror, "b", "c");
    rename(&mirror, "a", "b");
    assert_eq!(sync(&mirror), ["move b/ a/", "move c/ b/", "move d/ c/"]);
    // A swap: at no moment is either name free.
    let before = [inode(mirror.in_replica("b")), inode(mirror.in_replica("c"))];
    rename(&mirror, "b", "t");
    rename(&mirror, "c", "b");
    rename(&mirror, "t", "c");
    assert_eq!(sync(&mirror), ["move b/ c/", "move c/ b/"]);
    assert_eq!([inode(mirror.in_replica("c")), inode(mirror.in_replica("b"))], before);
    // A cycle.
    rename(&mirror, "b", "t");
    rename(&mirror, "d", "b");
    rename(&mirror, "c", "d");
    rename(&mirror, "t", "c");
    assert_eq!(sync(&mirror), ["move b/ d/", "move c/ b/", "move d/ c/"]);
}

#[test]
fn a_folder_that_goes_into_itself_and_one_that_takes_its_childs_place_come_right() {
    let mirror = planted(&["a", "a/child"]);
    rename(&mirror, "a", "t");
    rename(&mirror, "t", "a/inner");
    assert_eq!(sync(&mirror), ["create a/", "move a/inner/ a/"]);
    // Into the place of its own former child, which goes elsewhere.
    rename(&mirror, "a/inner/child", "child");
    rename(&mirror, "a/inner", "t");
    rename(&mirror, "t", "a/inner/child");
    assert_eq!(
        sync(&mirror),
        ["create a/inner/", "move a/inner/child/ a/inner/", "move child/ a/inner/child/"]
    );
    // A child that takes its parent's place, which is gone: its files are moved one by one.
    rename(&mirror, "a/inner/child", "t");
    remove(mirror.in_source("a"));
    rename(&mirror, "t", "a");
    let done = sync(&mirror);
    assert!(done.iter().all(|line| !line.starts_with("copy")), "{done:?}");
}

#[test]
fn a_name_that_is_taken_in_the_replica_is_not_moved_over() {
    let mirror = planted(&["old"]);
    rename(&mirror, "old", "new");
    write(mirror.in_replica("new/stray"), "somebody put it there");
    let summary = mirror.summary(&["--max-delete", "off"]);
    assert_eq!(summary["result"], "ok", "{summary}");
    mirror.assert_in_step();
    // A file has the name.
    rename(&mirror, "new", "newer");
    write(mirror.in_replica("newer"), "a file");
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
}

#[test]
fn moves_count_for_no_gate_and_what_is_really_gone_still_does() {
    let mirror = Mirror::new();
    for number in 0..150 {
        write(mirror.in_source(format!("big/{number}")), number.to_string());
        write(mirror.in_source(format!("rest/{number}")), number.to_string());
    }
    settle();
    mirror.sync();
    rename(&mirror, "big", "renamed");
    rename(&mirror, "rest", "elsewhere/rest");
    let summary = mirror.summary(&["--max-delete", "0"]);
    assert_eq!((&summary["result"], &summary["move"]), (&"ok".into(), &2.into()), "{summary}");
    mirror.assert_in_step();
    rename(&mirror, "renamed", "again");
    for number in 0..140 {
        remove(mirror.in_source(format!("again/{number}")));
        remove(mirror.in_source(format!("elsewhere/rest/{number}")));
    }
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["result"], &summary["held"]), (&"held".into(), &280.into()), "{summary}");
    assert!(mirror.in_replica("again/3").exists() && !mirror.in_replica("renamed").exists());
}

#[test]
fn an_inode_that_was_given_out_again_is_no_rename() {
    let mirror = planted(&["old", "stays"]);
    let before = inode(mirror.in_source("old"));
    remove(mirror.in_source("old"));
    // Some file systems give the number out again at once.
    let mut others = Vec::new();
    for number in 0..200 {
        let folder = mirror.in_source(format!("n{number}"));
        mkdir(&folder);
        if inode(&folder) == before {
            break;
        }
        others.push(folder);
    }
    others.iter().for_each(remove);
    write(mirror.in_source("new/file"), "new");
    let done = sync(&mirror);
    assert!(done.iter().all(|line| !line.starts_with("move")), "{done:?}");
}

#[test]
fn what_is_closed_to_others_stays_closed_while_a_folder_moves_into_it() {
    let mirror = planted(&["secret/inner"]);
    mkdir(mirror.in_source("open"));
    chmod(mirror.in_source("open"), 0o755);
    settle();
    mirror.sync();
    rename(&mirror, "secret/inner", "open/inner");
    chmod(mirror.in_source("open"), 0o700);
    set_mtime(mirror.in_source("open"), 1_000_000_000, 5);
    assert_eq!(sync(&mirror), ["metadata open/", "move open/inner/ secret/inner/"]);
}

#[test]
fn a_folder_with_a_mount_in_it_stays_where_it_is() {
    if !is_root() {
        return skip("not root: no mount can be made in the replica");
    }
    let mirror = planted(&["old"]);
    mkdir(mirror.in_replica("old/deep/mounted"));
    let point = mirror.in_replica("old/deep/mounted");
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&point).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("a tmpfs cannot be mounted");
    }
    rename(&mirror, "old", "new");
    let output = mirror.run(&[]);
    let there = point.exists() && mirror.in_replica("new/file1").exists();
    assert!(std::process::Command::new("umount").arg(&point).status().unwrap().success());
    assert!(there, "{output:?}");
    output.expect(3).says("something is mounted");
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn a_run_killed_anywhere_in_a_cycle_of_renames_is_finished_by_the_next() {
    if !common::inject::possible() {
        return;
    }
    for call in ["renameat2", "syncfs", "pwrite64", "write"] {
        for number in 1..=12 {
            let mirror = planted(&["a", "b", "c", "x"]);
            rename(&mirror, "a", "t");
            rename(&mirror, "c", "a");
            rename(&mirror, "b", "c");
            rename(&mirror, "t", "b");
            rename(&mirror, "x", "b/x");
            settle();
            let fault = common::inject::Fault::Kill;
            let output = common::inject::run(&mirror, &[], call, number, fault)
                .wait_for(std::time::Duration::from_secs(30))
                .0;
            let summary = mirror.summary(&["--max-delete", "0"]);
            assert_eq!(summary["result"], "ok", "{call} {number}: {summary}");
            mirror.assert_in_step();
            settle();
            mirror.run(&[]).expect(0);
            mirror.assert_idle();
            if output.code == 0 {
                break;
            }
        }
    }
}

#[test]
fn a_run_killed_while_a_folder_goes_into_or_out_of_itself_is_finished_by_the_next() {
    if !common::inject::possible() {
        return;
    }
    for call in ["renameat2", "syncfs", "pwrite64"] {
        for number in 1..=4 {
            let mirror = planted(&["a", "b/child"]);
            rename(&mirror, "a", "t");
            rename(&mirror, "t", "a/inner");
            rename(&mirror, "b/child", "t");
            rename(&mirror, "b", "z");
            rename(&mirror, "t", "b");
            settle();
            let fault = common::inject::Fault::Kill;
            let run = common::inject::run(&mirror, &[], call, number, fault);
            run.wait_for(std::time::Duration::from_secs(30));
            remove(mirror.in_source("z"));
            mirror.run(&["--max-delete", "off"]).expect(0);
            mirror.assert_in_step();
            settle();
            mirror.run(&[]).expect(0);
            mirror.assert_idle();
        }
    }
}

#[test]
fn a_name_that_an_arriving_folder_brings_along_is_as_taken_to_a_dry_run_as_to_a_run() {
    let mirror = planted(&["a", "c/x"]);
    write(mirror.in_source("c/other"), "keeps c from being empty");
    settle();
    mirror.sync();
    rename(&mirror, "c", "b");
    remove(mirror.in_source("b/x"));
    rename(&mirror, "a", "b/x");
    let done = sync(&mirror);
    assert!(done.iter().all(|line| !line.starts_with("copy")), "{done:?}");
    // A file had the name.
    write(mirror.in_source("name"), "a file");
    settle();
    mirror.sync();
    remove(mirror.in_source("name"));
    rename(&mirror, "b", "name");
    sync(&mirror);
}

#[test]
fn an_ordinary_user_can_rename_folders_that_nobody_may_write_to() {
    let mirror = Mirror::of_an_ordinary_user();
    for folder in ["from/read-only", "to"] {
        write(mirror.in_source(format!("{folder}/file")), folder);
    }
    chmod(mirror.in_source("from/read-only"), 0o555);
    mirror.give_away(&mirror.in_source(""));
    settle();
    mirror.sync();
    chmod(mirror.in_source("from/read-only"), 0o755);
    rename(&mirror, "from/read-only", "to/read-only");
    chmod(mirror.in_source("to/read-only"), 0o555);
    chmod(mirror.in_source("from"), 0o555);
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["move"], &summary["copy"]), (&1.into(), &0.into()), "{summary}");
    mirror.assert_in_step();
    for folder in ["from", "to/read-only"] {
        for root in [&mirror.source, &mirror.replica] {
            chmod(root.join(folder), 0o755);
        }
    }
}

#[test]
fn what_leaves_a_closed_folder_is_closed_before_it_has_its_new_name() {
    if !common::inject::possible() {
        return;
    }
    let mirror = planted(&["private/inner", "private/plain"]);
    write(mirror.in_source("private/file"), "secret");
    mkdir(mirror.in_source("open"));
    chmod(mirror.in_source("private"), 0o700);
    settle();
    mirror.sync();
    rename(&mirror, "private/inner", "open/inner");
    rename(&mirror, "private/file", "open/file");
    chmod(mirror.in_source("open/inner"), 0o700);
    chmod(mirror.in_source("open/file"), 0o600);
    settle();
    let trace = mirror.path("trace");
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-e", "trace=fchmod,chmod,fchmodat,renameat2,renameat", "-o"]).arg(&trace);
    command.arg(mirror.program_path()).arg("--once").args(mirror.roots());
    mirror.isolate(&mut command);
    finish(command).expect(0);
    let trace = fs::read_to_string(trace).unwrap();
    for (name, mode) in [("\"inner\"", "0700"), ("\"file\"", "0600")] {
        let renamed = trace.lines().position(|line| line.contains("rename") && line.contains(name)).unwrap();
        let before: Vec<&str> = trace.lines().take(renamed).filter(|line| line.contains(mode)).collect();
        assert!(!before.is_empty(), "{name} is renamed before it is closed: {trace}");
    }
    mirror.assert_in_step();
}
