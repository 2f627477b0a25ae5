//! Roots are known by the mount they lie on: what is mounted elsewhere, or not at all, is not mirrored to
//! or from. Needs root and a machine that lets it mount; says so where it has not.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

mod common;

use common::mounts::{Mounted, does, mount};
use common::program::{Output, finish, start, wait_until};
use common::tree::{mkdir, remove, write};
use common::{Mirror, is_root, settle, skip};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;

const TMPFS: [&str; 3] = ["-t", "tmpfs", "none"];

fn tmpfs(at: &Path) -> Option<Mounted> {
    mount(&TMPFS, at)
}

/// An image with an empty ext4.
fn ext4_image(mirror: &Mirror) -> Option<String> {
    let image = mirror.path("disk.img");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let image = image.to_str().unwrap().to_owned();
    if !does("mkfs.ext4", &["-q", "-F", &image]) {
        skip("there is no mkfs.ext4 here");
        return None;
    }
    Some(image)
}

fn bind(from: &Path, at: &Path) -> Option<Mounted> {
    mount(&["--bind", from.to_str().unwrap()], at)
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn subcommand(mirror: &Mirror, arguments: &[&str]) -> Output {
    let mut command = mirror.program(arguments);
    command.args(mirror.roots());
    finish(command)
}

/// What the manifest has recorded: mount point and type of the source, then of the replica.
fn recorded(mirror: &Mirror) -> Vec<(String, String)> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(mirror.manifest(), flags).unwrap();
    let sql = "SELECT CAST(point AS TEXT), filesystem FROM root_mounts ORDER BY side";
    let mut query = connection.prepare(sql).unwrap();
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_source_that_is_not_mounted_any_more_is_refused_and_nothing_is_touched() {
    let mirror = Mirror::new();
    let Some(disk) = tmpfs(&mirror.source) else { return };
    write(mirror.in_source("file"), "content");
    mirror.sync();
    assert_eq!(recorded(&mirror)[0], (text(&mirror.source), "tmpfs".to_owned()));
    disk.unmount();
    // Also where the mount point is not empty.
    write(mirror.in_source("README"), "mount me");
    let before = common::tree::stamps(&mirror.replica);
    let point = text(&mirror.source);
    for arguments in [
        &["sync", "--once"][..],
        &["sync", "--once", "--max-delete", "off"],
        &["sync", "-n"],
        &["status", "--pending"],
        &["rebuild-index"],
        &["rebuild-index", "--report-only"],
    ] {
        let output = subcommand(&mirror, arguments).expect(5);
        output
            .says("the source")
            .says(&format!("expected the tmpfs mounted at {point}, found the "))
            .says("nothing was touched")
            .says("--accept-root");
        assert_eq!(common::tree::stamps(&mirror.replica), before, "{arguments:?}");
    }
    assert_eq!(recorded(&mirror)[0].0, point, "the refused place is not recorded");
    // The history tells of it, once.
    let history = subcommand(&mirror, &["status", "--json"]).json().pop().unwrap();
    let runs = history["runs"].as_array().unwrap();
    assert_eq!((&runs[0]["result"], &runs[0]["exit_code"]), (&"failed".into(), &5.into()));
    assert_eq!((runs.len(), &history["entries"]), (2, &1.into()));
    // It is back, with its content.
    let _disk = tmpfs(&mirror.source).unwrap();
    write(mirror.in_source("file"), "content");
    mirror.sync();
}

#[test]
fn a_replica_that_is_not_mounted_does_not_fill_the_disk_below() {
    for folder in ["", "deep/replica"] {
        let mut mirror = Mirror::new();
        let point = mirror.path("disk");
        mirror.replica = point.join(folder);
        let Some(disk) = tmpfs(&point) else { return };
        mkdir(mirror.replica.parent().unwrap());
        write(mirror.in_source("file"), "content");
        settle();
        mirror.sync();
        disk.unmount();
        // An earlier run, or somebody, left the folder below the mount point.
        mkdir(&mirror.replica);
        write(mirror.in_source("new"), "content");
        mirror.run(&[]).expect(5).says("the replica").says("nothing was touched");
        assert!(listing(&mirror.replica).is_empty());
        // What is meant is said.
        mirror.run(&["--accept-root"]).expect(0);
        mirror.assert_in_step();
        mirror.assert_idle();
    }
}

#[test]
fn a_replica_whose_first_run_was_cut_short_is_not_made_below_its_mount_point() {
    let mut mirror = Mirror::new();
    let point = mirror.path("disk");
    mirror.replica = point.join("replica");
    let Some(disk) = tmpfs(&point) else { return };
    write(mirror.in_source("file"), "content");
    mirror.sync();
    // As if it had been killed before it recorded an entry.
    let connection = rusqlite::Connection::open(mirror.manifest()).unwrap();
    connection.execute_batch("DELETE FROM entries").unwrap();
    drop(connection);
    disk.unmount();
    mirror.run(&[]).expect(5).says("expected the tmpfs");
    mirror.run(&["-n"]).expect(5);
    assert!(listing(&point).is_empty());
}

#[test]
fn another_type_of_file_system_at_the_same_point_is_refused_until_accepted() {
    let mirror = Mirror::new();
    let Some(image) = ext4_image(&mirror) else { return };
    let Some(disk) = tmpfs(&mirror.source) else { return };
    write(mirror.in_source("file"), "content");
    mirror.sync();
    disk.unmount();
    let Some(_disk) = mount(&["-o", "loop", &image], &mirror.source) else { return };
    remove(mirror.in_source("lost+found"));
    write(mirror.in_source("file"), "content of another disk");
    mirror.run(&[]).expect(5).says("expected the tmpfs").says("found the ext4");
    assert_eq!(fs::read(mirror.in_replica("file")).unwrap(), b"content");
    // The environment accepts as well; a dry run records nothing.
    mirror.run(&["-n", "--accept-root"]).expect(0);
    mirror.run(&[]).expect(5);
    let mut command = mirror.once(&[]);
    command.env("TWINFOLD_ACCEPT_ROOT", "1");
    finish(command).expect(0);
    assert_eq!(recorded(&mirror)[0].1, "ext4");
    assert!(mirror.log().contains("that was accepted"));
    mirror.sync();
}

#[test]
fn the_same_type_at_the_same_point_is_the_same_place_whatever_its_device() {
    let mirror = Mirror::new();
    for _ in 0..2 {
        let Some(disk) = tmpfs(&mirror.source) else { return };
        write(mirror.in_source("file"), "content");
        mirror.sync();
        disk.unmount();
    }
}

#[test]
fn mount_points_with_blanks_and_newlines_are_known_again() {
    let mut mirror = Mirror::new();
    mirror.source = mirror.path("a b\n\\040c");
    let Some(disk) = tmpfs(&mirror.source) else { return };
    write(mirror.in_source("file"), "content");
    settle();
    mirror.sync();
    mirror.assert_idle();
    assert_eq!(recorded(&mirror)[0].0, text(&mirror.source));
    disk.unmount();
    mirror.run(&[]).expect(5).says("\\n");
}

#[test]
fn a_manifest_without_a_record_gets_one_on_the_next_run() {
    let mirror = Mirror::new();
    let Some(disk) = tmpfs(&mirror.source) else { return };
    write(mirror.in_source("file"), "content");
    mirror.sync();
    let connection = rusqlite::Connection::open(mirror.manifest()).unwrap();
    connection.execute_batch("DELETE FROM root_mounts").unwrap();
    drop(connection);
    assert!(recorded(&mirror).is_empty());
    subcommand(&mirror, &["rebuild-index"]).expect(0);
    assert_eq!(recorded(&mirror).len(), 2);
    mirror.sync();
    disk.unmount();
    mirror.run(&[]).expect(5);
}

/// A source on a file system of its own with so much that a run can be stopped in the middle.
fn large_on(disk: &Path, mirror: &Mirror) -> Option<Mounted> {
    let mounted = tmpfs(disk)?;
    for number in 0..40 {
        write(mirror.in_source(format!("old/{number}")), vec![b'x'; 1000]);
    }
    settle();
    mirror.sync();
    for number in 0..2000 {
        write(mirror.in_source(format!("new/{number}")), number.to_string());
    }
    for number in 0..10 {
        remove(mirror.in_source(format!("old/{number}")));
    }
    mirror.write_config("home/twinfold/config.toml", "file_copy_batch_size = 4\nmax_workers = 1\n");
    Some(mounted)
}

#[test]
fn a_source_that_is_unmounted_during_a_run_costs_no_delete() {
    let mirror = Mirror::new();
    let Some(disk) = large_on(&mirror.source, &mirror) else { return };
    let run = start(mirror.once(&[]));
    wait_until("some are copied", || mirror.in_replica("new/100").exists());
    run.freeze();
    disk.detach();
    run.signal(Signal::CONT);
    let output = run.wait().expect(5);
    output.says("the source").says("changed during the run").says("nothing more was touched");
    assert_eq!(listing(&mirror.in_replica("old")).len(), 40, "nothing is deleted");
    mirror.run(&[]).expect(5);
    // What was done is recorded.
    assert!(mirror.rows().len() > 42 + 100);
    let _disk = tmpfs(&mirror.source).unwrap();
    write(mirror.in_source("file"), "content");
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn a_replica_that_is_unmounted_during_a_run_is_left_and_the_folder_below_stays_empty() {
    let mut mirror = Mirror::new();
    let point = mirror.path("disk");
    mirror.replica = point.clone();
    let Some(disk) = large_on(&point, &mirror) else { return };
    let run = start(mirror.once(&[]));
    wait_until("some are copied", || mirror.in_replica("new/100").exists());
    run.freeze();
    disk.detach();
    run.signal(Signal::CONT);
    run.wait().expect(5).says("the replica").says("changed during the run");
    assert!(listing(&point).is_empty());
    mirror.run(&[]).expect(5);
    assert!(listing(&point).is_empty());
}

#[test]
fn something_mounted_over_a_root_during_a_run_ends_it() {
    let mirror = Mirror::new();
    let Some(_disk) = large_on(&mirror.source, &mirror) else { return };
    let run = start(mirror.once(&[]));
    wait_until("some are copied", || mirror.in_replica("new/100").exists());
    run.freeze();
    let over = tmpfs(&mirror.source).unwrap();
    run.signal(Signal::CONT);
    run.wait().expect(5).says("changed during the run");
    assert_eq!(listing(&mirror.in_replica("old")).len(), 40);
    over.unmount();
    mirror.sync();
}

#[test]
fn a_daemon_tries_again_at_the_next_tick() {
    let mirror = Mirror::new();
    let Some(disk) = tmpfs(&mirror.source) else { return };
    write(mirror.in_source("file"), "content");
    // Accepting at the start accepts nothing that comes later.
    let mut command = mirror.program(&["sync", "--interval", "1s", "--accept-root"]);
    command.args(mirror.roots());
    let mut daemon = start(command);
    wait_until("the first run is through", || mirror.in_replica("file").exists());
    wait_until("the disk is idle", || does("umount", &[disk.0.to_str().unwrap()]));
    std::mem::forget(disk);
    wait_until("it complains", || mirror.log().contains("is not on the file system it was on"));
    assert!(daemon.is_running());
    assert!(mirror.in_replica("file").exists());
    let _disk = tmpfs(&mirror.source).unwrap();
    write(mirror.in_source("file"), "content");
    write(mirror.in_source("new"), "content");
    wait_until("it goes on", || mirror.in_replica("new").exists());
    daemon.signal(Signal::TERM);
    daemon.wait().expect(0);
}

#[test]
fn a_bind_mount_that_shows_one_root_in_the_other_is_refused_before_anything_is_written() {
    let mut mirror = Mirror::new();
    // One file system for all of it, with a folder above both roots.
    let disk = mirror.path("disk");
    let Some(_disk) = tmpfs(&disk) else { return };
    (mirror.source, mirror.replica) = (disk.join("source"), disk.join("replica"));
    write(mirror.in_source("file"), "content");
    mkdir(mirror.in_replica("sub"));
    let refused = |mirror: &Mirror, what: &str| {
        let before = (common::tree::stamps(&mirror.source), common::tree::stamps(&mirror.replica));
        for more in [&[][..], &["-n"]] {
            mirror.run(more).expect(2).says("overlap").says(what);
        }
        let after = (common::tree::stamps(&mirror.source), common::tree::stamps(&mirror.replica));
        assert!(before == after, "something was written");
    };
    for (shown, at) in [
        (mirror.replica.clone(), mirror.in_source("x")),
        (mirror.in_replica("sub"), mirror.in_source("x")),
        (mirror.source.clone(), mirror.in_replica("sub")),
    ] {
        let Some(bound) = bind(&shown, &at) else { return };
        refused(&mirror, at.to_str().unwrap());
        bound.unmount();
    }
    // Roots whose own mounts hide that one lies in the other.
    let inner = mirror.in_source("inner");
    mkdir(&inner);
    let bound = bind(&inner, &disk.join("bound")).unwrap();
    mirror.replica = disk.join("bound/new");
    mirror.run(&[]).expect(2).says("bind mount");
    assert!(!mirror.replica.exists());
    bound.unmount();
    // A neighbour of the replica is no part of it.
    mirror.replica = disk.join("replica");
    mkdir(disk.join("neighbour"));
    let _bound = bind(&disk.join("neighbour"), &mirror.in_source("x")).unwrap();
    mirror.run(&["--max-delete", "off"]).expect(0);
}

#[test]
fn an_alias_that_only_a_file_can_show_is_found_and_the_probe_is_removed() {
    let mut mirror = Mirror::new();
    // On a tmpfs, because an overlay cannot lie on an overlay.
    let disk = mirror.path("disk");
    let Some(_disk) = tmpfs(&disk) else { return };
    for folder in ["lower/inner", "upper", "work", "merged"] {
        mkdir(disk.join(folder));
    }
    write(disk.join("upper/file"), "content");
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        disk.join("lower").display(),
        disk.join("upper").display(),
        disk.join("work").display()
    );
    let merged = disk.join("merged");
    let Some(_overlay) = mount(&["-t", "overlay", "-o", &layers, "none"], &merged) else { return };
    for (source, replica) in [
        // The same folder, the source below the replica, the replica below the source.
        (merged.clone(), disk.join("upper")),
        (disk.join("merged/inner"), disk.join("upper")),
        (merged.clone(), disk.join("upper/replica")),
    ] {
        mkdir(&source);
        mkdir(&replica);
        // What the overlay copies up it does before the run.
        drop(fs::File::open(&source).unwrap());
        (mirror.source, mirror.replica) = (source, replica);
        let contents = || [listing(&mirror.source), listing(&mirror.replica)];
        let (before, stamp) = (contents(), common::tree::mtime(&mirror.replica));
        mirror.run(&[]).expect(2).says("overlap");
        assert_eq!(contents(), before);
        assert_eq!(common::tree::mtime(&mirror.replica), stamp);
    }
    // A replica that had to be made for it is no entry of the source afterwards.
    (mirror.source, mirror.replica) = (merged.clone(), disk.join("upper/made"));
    mirror.run(&[]).expect(2).says("overlap");
    assert!(!mirror.replica.exists());
}

#[test]
fn a_source_without_its_marker_is_refused_and_nothing_is_touched() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    mirror.write_config("home/twinfold/config.toml", "marker = \".here it is\"\n");
    let refused = |mirror: &Mirror| {
        for arguments in
            [&["sync", "--once"][..], &["sync", "-n"], &["status", "--pending"], &["rebuild-index"]]
        {
            subcommand(mirror, arguments).expect(5).says(".here it is").says("nothing was touched");
        }
    };
    refused(&mirror);
    assert!(!mirror.replica.exists(), "not even the replica is made");
    write(mirror.in_source(".here it is"), "");
    mirror.sync();
    remove(mirror.in_source(".here it is"));
    remove(mirror.in_source("file"));
    refused(&mirror);
    assert!(mirror.in_replica("file").exists() && mirror.in_replica(".here it is").exists());
    // Of any kind, and a job's own goes before the one for all.
    common::tree::symlink("nowhere", mirror.in_source(".here it is"));
    mirror.run(&[]).expect(0);
    let text = format!(
        "marker = \"absent\"\n[[job]]\nname = \"j\"\nmarker = \".here it is\"\nsource = {:?}\nreplica = {:?}\n",
        mirror.source, mirror.replica
    );
    mirror.write_config("home/twinfold/config.toml", text);
    finish(mirror.program(&["sync", "--once", "--job", "j"])).expect(0);
}

#[test]
fn a_marker_is_one_name() {
    let mirror = Mirror::new();
    for wrong in ["", ".", "..", "a/b", "/", "a\\u0000b", &"n".repeat(256)] {
        mirror.write_config("home/twinfold/config.toml", format!("marker = \"{wrong}\"\n"));
        mirror.run(&[]).expect(2).says("marker");
    }
    mirror.write_config("home/twinfold/config.toml", "marker = 3\n");
    mirror.run(&[]).expect(2).says("line 1");
}

#[test]
fn without_proc_it_says_once_that_mounts_are_not_checked_and_goes_on() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "umount -l /proc && exec \"$0\" \"$@\""]).arg(mirror.program_path());
    command.args(["sync", "--once"]).args(mirror.roots());
    mirror.isolate(&mut command);
    if !is_root() || !does("unshare", &["-m", "umount", "-l", "/proc"]) {
        return skip("hiding /proc needs root and unshare");
    }
    let output = finish(command).says("on which mount the source lies cannot be told");
    assert_eq!(output.stderr.matches("on which mount").count(), 2, "{output:?}");
    assert_eq!(fs::read(mirror.in_replica("file")).unwrap(), b"content");
    assert!(recorded(&mirror).is_empty());
    mirror.sync();
    assert_eq!(recorded(&mirror).len(), 2);
}

#[test]
fn accepting_where_nothing_changed_changes_nothing() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    mirror.run(&["--accept-root"]).expect(0);
    settle();
    mirror.sync();
    let rows = mirror.rows();
    mirror.run(&["--accept-root"]).expect(0).says("");
    assert_eq!(mirror.rows(), rows);
    assert!(!mirror.log().contains("accepted"));
}

#[test]
fn an_overlay_whose_layers_lie_in_the_replica_or_hold_it_is_refused_as_source_and_below_it() {
    let mut mirror = Mirror::new();
    // On a tmpfs, because an overlay cannot lie on an overlay.
    let disk = mirror.path("disk");
    let Some(_disk) = tmpfs(&disk) else { return };
    for folder in ["r/sub", "r/a:b", "r/up", "r/work", "other", "elsewhere", "s"] {
        mkdir(disk.join(folder));
    }
    write(disk.join("r/sub/precious"), "content");
    let at = |name: &str| disk.join(name).to_str().unwrap().to_owned();
    let table = [
        (format!("lowerdir={}:{}", at("other"), at("r/sub")), true),
        (format!("lowerdir={}:{}", at("r/a\\:b"), at("other")), true),
        (format!("lowerdir={},upperdir={},workdir={}", at("other"), at("r/up"), at("r/work")), true),
        (format!("lowerdir={}:{}", at("r"), at("other")), true),
        (format!("lowerdir={}:{}", at("elsewhere"), at("other")), false),
    ];
    mirror.replica = disk.join("r");
    for (layers, refused) in table {
        for (source, point) in [("s", "s"), ("s", "s/below")] {
            let Some(_overlay) = mount(&["-t", "overlay", "-o", &layers, "none"], &disk.join(point)) else {
                return;
            };
            mirror.source = disk.join(source);
            let output = mirror.run(&["-n"]);
            assert_eq!(output.code == 2 && output.stderr.contains("overlap"), refused, "{layers} {output:?}");
        }
    }
    assert!(disk.join("r/sub/precious").exists());
}
