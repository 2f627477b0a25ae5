//! A first run over a replica that holds what never came from the source: nothing of it goes unasked.

#![expect(clippy::disallowed_methods, reason = "tests remove their own manifests")]

mod common;

use common::program::finish;
use common::tree::{Tree, mkdir, remove, set_mtime, symlink, write};
use common::{Mirror, settle};
use std::path::Path;

/// Files in a folder.
fn fill(folder: &Path, name: &str, count: usize) {
    for number in 0..count {
        write(folder.join(format!("{name}{number:05}")), number.to_string());
    }
}

fn approve(mirror: &Mirror) {
    let mut command = mirror.program(&["approve"]);
    command.args(mirror.roots());
    finish(command).expect(0);
}

#[test]
fn from_one_foreign_entry_to_ten_thousand_they_are_held_and_go_when_approved() {
    for count in [1, 2, 99, 10_000] {
        let mirror = Mirror::new();
        fill(&mirror.source, "mine", 3);
        fill(&mirror.replica, "other", count);
        let planned = finish(mirror.once(&["-n"])).expect(4).says("would be held");
        assert_eq!(planned.stdout.matches("held     other").count(), count);
        for _ in 0..2 {
            mirror.run(&[]).expect(4);
            assert!(mirror.in_replica("mine00002").exists(), "what is new does not wait");
            assert_eq!(std::fs::read_dir(&mirror.replica).unwrap().count(), count + 3, "{count}");
        }
        assert!(mirror.log().contains("right way round"));
        assert_eq!(mirror.summary(&["-n"])["held"], count);
        approve(&mirror);
        mirror.run(&[]).expect(0);
        mirror.assert_in_step();
    }
}

#[test]
fn a_number_and_a_share_count_from_the_first_entry_up() {
    // (right ones, foreign ones, limit, code)
    for (right, foreign, limit, code) in [
        (9, 1, "50%", 0),
        (1, 1, "50%", 0),
        (1, 2, "50%", 4),
        (9, 1, "5%", 4),
        (9, 2, "2", 0),
        (9, 3, "2", 4),
        (9, 1, "0", 4),
        (0, 5, "off", 0),
    ] {
        let mirror = Mirror::new();
        fill(&mirror.source, "right", right);
        fill(&mirror.source, "new", 20);
        fill(&mirror.replica, "right", right);
        for number in 0..right {
            let name = format!("right{number:05}");
            set_mtime(mirror.in_source(&name), 5, 0);
            set_mtime(mirror.in_replica(&name), 5, 0);
        }
        fill(&mirror.replica, "foreign", foreign);
        mirror.run(&["--max-delete", limit]).expect(code);
        // Neither what was brought over meanwhile nor a second run changes what is a share of it.
        mirror.run(&["--max-delete", limit]).expect(code);
        if code == 0 {
            mirror.assert_in_step();
        }
    }
}

/// The replica is what somebody works in, the source an old copy of it.
fn swapped() -> Mirror {
    let mirror = Mirror::new();
    for number in 0..8 {
        let name = format!("{number}");
        write(mirror.in_source(&name), "old");
        set_mtime(mirror.in_source(&name), 1000, 0);
        write(mirror.in_replica(&name), if number < 6 { "much newer" } else { "old" });
        set_mtime(mirror.in_replica(&name), if number < 6 { 2000 } else { 1000 }, 0);
    }
    mirror
}

#[test]
fn newer_files_of_swapped_roots_are_held_and_overwritten_only_when_approved() {
    let mirror = swapped();
    write(mirror.in_source("new"), "new");
    let before = Tree::of(&mirror.replica);
    finish(mirror.once(&["-n"])).expect(4).says("changes would be held").says("right way round");
    mirror.run(&[]).expect(4).says("changes are held as plan 1").says("6 entries that are newer");
    for number in 0..6 {
        assert_eq!(std::fs::read(mirror.in_replica(format!("{number}"))).unwrap(), b"much newer");
    }
    assert!(before.names().len() + 1 == Tree::of(&mirror.replica).names().len());
    let mut status = mirror.program(&["status", "--json"]);
    status.args(mirror.roots());
    let status = finish(status).expect(0).json().remove(0);
    assert_eq!((&status["held"]["overwrites"], &status["held"]["deletes"]), (&6.into(), &0.into()));
    // One that somebody changes after it was read is not covered by the approval.
    approve(&mirror);
    write(mirror.in_replica("0"), "newest of all");
    mirror.run(&["--max-delete", "0"]).expect(4);
    assert_eq!(std::fs::read(mirror.in_replica("0")).unwrap(), b"newest of all");
    assert_eq!(std::fs::read(mirror.in_replica("1")).unwrap(), b"old");
    approve(&mirror);
    mirror.run(&["--max-delete", "0"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn older_files_and_a_few_newer_ones_are_updated_as_ever() {
    let mirror = swapped();
    for number in 0..5 {
        set_mtime(mirror.in_replica(format!("{number}")), 500, 0);
    }
    mirror.sync();
}

#[test]
fn what_has_another_kind_in_the_replica_counts_too_whatever_its_time() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "file");
    symlink("elsewhere", mirror.in_source("b"));
    mkdir(&mirror.replica);
    symlink("target", mirror.in_replica("a"));
    write(mirror.in_replica("b"), "content");
    set_mtime(mirror.in_replica("b"), 5, 0);
    mirror.run(&[]).expect(4).says("of another kind");
    assert_eq!(std::fs::read(mirror.in_replica("b")).unwrap(), b"content");
    approve(&mirror);
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn names_of_one_inode_are_not_linked_to_what_is_held() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "old");
    set_mtime(mirror.in_source("a"), 1000, 0);
    std::fs::hard_link(mirror.in_source("a"), mirror.in_source("b")).unwrap();
    write(mirror.in_replica("a"), "newer");
    mirror.run(&[]).expect(4);
    assert_eq!(std::fs::read(mirror.in_replica("a")).unwrap(), b"newer");
    assert!(!mirror.in_replica("b").exists());
    approve(&mirror);
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn a_lost_manifest_and_a_killed_first_run_have_the_gate_as_well() {
    let mirror = Mirror::new();
    fill(&mirror.source, "mine", 4);
    mirror.sync();
    // It is lost, and somebody has put other things into the replica.
    let manifest = mirror.manifest();
    for suffix in ["", "-wal", "-shm"] {
        let mut file = manifest.clone().into_os_string();
        file.push(suffix);
        let _ = std::fs::remove_file(file);
    }
    fill(&mirror.replica, "other", 10);
    mirror.run(&[]).expect(4).says("right way round");
    // Removed by hand: nothing is open any more, and what comes later is a matter of the other gates.
    for number in 0..10 {
        remove(mirror.in_replica(format!("other{number:05}")));
    }
    mirror.sync();
    fill(&mirror.replica, "stray", 4);
    mirror.sync();
}

#[test]
fn what_systems_put_at_the_root_of_a_disk_counts_for_nothing_and_stays() {
    let names = [
        "lost+found",
        "System Volume Information",
        "$RECYCLE.BIN",
        ".Trash-1000",
        ".fseventsd",
        ".Spotlight-V100",
        "@eaDir",
    ];
    let mirror = Mirror::new();
    for name in names {
        write(mirror.in_replica(name).join("inside"), "theirs");
    }
    fill(&mirror.source, "mine", 2);
    assert_eq!(mirror.summary(&["-n"])["delete"], 0);
    for limit in ["50%", "0", "off"] {
        mirror.run(&["--max-delete", limit]).expect(0);
    }
    for name in names {
        assert!(mirror.in_replica(name).join("inside").exists(), "{name}");
    }
    // In the root only, and only where the source has none.
    settle();
    write(mirror.in_source("folder/x"), "x");
    write(mirror.in_replica("folder/lost+found/x"), "x");
    mkdir(mirror.in_source("@eaDir"));
    mirror.run(&[]).expect(0);
    assert!(!mirror.in_replica("folder/lost+found").exists());
    assert!(mirror.in_replica("@eaDir").exists() && !mirror.in_replica("@eaDir/inside").exists());
    // A key lists them.
    let config = mirror.write_config("c.toml", "leave_at_root = [\"lost*\"]\n");
    mirror.run(&["--config", config.to_str().unwrap(), "--max-delete", "off"]).expect(0);
    assert!(mirror.in_replica("lost+found/inside").exists() && !mirror.in_replica(".fseventsd").exists());
}
