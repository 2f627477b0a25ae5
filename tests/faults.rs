//! A replica's file system that is full, becomes read-only, or has another one mounted inside.
//! Needs root and loop mounts; says so where it has not.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

mod common;

use common::mounts::{Mounted, does, mount};
use common::tree::{mkdir, remove, write};
use common::{Mirror, settle, skip};
use std::fs;

/// A mirror whose replica lies on an ext4 file system of 16 MiB.
fn on_a_small_disk() -> Option<(Mirror, Mounted)> {
    let mut mirror = Mirror::new();
    let (image, disk) = (mirror.path("disk.img"), mirror.path("disk"));
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    mkdir(&disk);
    let image = image.to_str().unwrap();
    if !does("mkfs.ext4", &["-q", "-F", image]) {
        skip("there is no mkfs.ext4 here");
        return None;
    }
    let mounted = mount(&["-o", "loop", image], &disk)?;
    mirror.replica = disk.join("replica");
    Some((mirror, mounted))
}

fn fill(mirror: &Mirror, folder: &str, files: usize) {
    for number in 0..files {
        write(mirror.in_source(format!("{folder}/{number:03}")), vec![b'x'; 100_000]);
    }
}

#[test]
fn a_full_disk_is_one_problem_and_leaves_nothing_half_done() {
    let Some((mirror, _disk)) = on_a_small_disk() else { return };
    fill(&mirror, "a", 100);
    fill(&mirror, "b", 100);
    let run = mirror.run(&[]).expect(3).says("no room left");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let mut copied = 0;
    for folder in ["a", "b"] {
        for entry in fs::read_dir(mirror.in_replica(folder)).unwrap() {
            let entry = entry.unwrap();
            assert!(!entry.file_name().to_string_lossy().starts_with(".twinfold"), "litter is left");
            assert_eq!(entry.metadata().unwrap().len(), 100_000);
            copied += 1;
        }
    }
    assert!((50..200).contains(&copied), "{copied} files fitted");
}

#[test]
fn what_the_deletes_free_is_used_in_the_same_run() {
    let Some((mirror, _disk)) = on_a_small_disk() else { return };
    fill(&mirror, "a", 100);
    mirror.sync();
    remove(mirror.in_source("a"));
    fill(&mirror, "b", 100);
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn a_large_file_that_does_not_fit_keeps_no_small_one_from_being_copied() {
    let Some((mirror, _disk)) = on_a_small_disk() else { return };
    write(mirror.in_source("a-large-one"), vec![b'x'; 30 << 20]);
    write(mirror.in_source("b-small-one"), "small");
    mirror.run(&[]).expect(3).says("a-large-one");
    assert_eq!(fs::read(mirror.in_replica("b-small-one")).unwrap(), b"small");
    assert!(!mirror.in_replica("a-large-one").exists());
}

#[test]
fn what_would_be_displaced_stays_while_there_is_no_room_for_its_successor() {
    let mut mirror = Mirror::new();
    let disk = mirror.path("disk");
    mkdir(&disk);
    let Some(_disk) = mount(&["-t", "tmpfs", "-o", "size=1m", "none"], &disk) else { return };
    mirror.replica = disk.join("replica");
    for name in ["one", "two"] {
        write(mirror.in_source(format!("z/{name}")), name);
    }
    mirror.sync();
    remove(mirror.in_source("z"));
    write(mirror.in_source("z"), "a file now");
    for number in 0..30 {
        write(mirror.in_source(format!("a{number}")), vec![b'x'; 100_000]);
    }
    mirror.write_config(
        "home/twinfold/config.toml",
        "file_copy_batch_size = 1\nmax_workers = 1\nmax_delete = \"off\"\n",
    );
    mirror.run(&[]).expect(3).says("no room left");
    assert_eq!(fs::read(mirror.in_replica("z/one")).unwrap(), b"one");
    for number in 0..30 {
        remove(mirror.in_source(format!("a{number}")));
    }
    mirror.sync();
    assert_eq!(fs::read(mirror.in_replica("z")).unwrap(), b"a file now");
}

#[test]
fn a_replica_that_became_read_only_is_reported_and_healed_later() {
    let Some((mirror, disk)) = on_a_small_disk() else { return };
    fill(&mirror, "a", 5);
    mirror.sync();
    let remount = |how: &str| assert!(does("mount", &["-o", how, disk.0.to_str().unwrap()]));
    remount("remount,ro");
    fill(&mirror, "b", 30);
    remove(mirror.in_source("a/001"));
    let run = mirror.run(&[]).expect(3).says("Read-only file system");
    assert!(run.stderr.lines().count() <= 3, "{}", run.stderr);
    remount("remount,rw");
    mirror.sync();
}

#[test]
fn what_is_mounted_inside_the_replica_is_left_alone() {
    let mirror = Mirror::new();
    write(mirror.in_source("folder/file"), "mirrored");
    mirror.sync();
    let Some(_mounted) = mount(&["-t", "tmpfs", "none"], &mirror.in_replica("folder")) else { return };
    write(mirror.in_replica("folder/foreign"), "of another file system");
    let before = fs::metadata(mirror.in_replica("folder")).unwrap();
    mirror.run(&[]).expect(3).says("something is mounted here");
    remove(mirror.in_source("folder"));
    mirror.run(&[]).expect(3).says("something is mounted here");
    assert_eq!(fs::read(mirror.in_replica("folder/foreign")).unwrap(), b"of another file system");
    let after = fs::metadata(mirror.in_replica("folder")).unwrap();
    assert_eq!(before.permissions(), after.permissions());
}

#[test]
fn what_is_mounted_inside_the_source_is_mirrored() {
    let mirror = Mirror::new();
    mkdir(mirror.in_source("mounted"));
    let Some(_mounted) = mount(&["-t", "tmpfs", "none"], &mirror.in_source("mounted")) else { return };
    write(mirror.in_source("mounted/file"), "on another file system");
    mirror.sync();
    assert_eq!(fs::read(mirror.in_replica("mounted/file")).unwrap(), b"on another file system");
}

#[test]
fn a_replica_without_attributes_gets_the_rest_and_says_so_once() {
    let mut mirror = Mirror::new();
    let disk = mirror.path("disk");
    mkdir(&disk);
    let Some(_mounted) = mount(&["-t", "ramfs", "ramfs"], &disk) else { return };
    mirror.replica = disk.join("replica");
    for name in ["a", "b", "folder/c", "plain"] {
        write(mirror.in_source(name), "content");
    }
    for name in ["a", "b", "folder/c", "folder"] {
        common::tree::set_attribute(mirror.in_source(name), "user.a", "1");
    }
    settle();
    mirror.run(&[]).expect(0).says("not: extended attributes");
    assert_eq!(fs::read(mirror.in_replica("folder/c")).unwrap(), b"content");
    settle();
    let output = mirror.run(&[]).expect(0);
    assert!(!output.stderr.contains("attributes"), "{}", output.stderr);
    mirror.assert_idle();
    mirror.write_config("home/twinfold/config.toml", "[preserve]\nxattrs = false\n");
    mirror.run(&[]).expect(0);
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
}
