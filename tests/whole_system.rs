//! A replica, or the state, below the source: taken where the walk of the source leaves it out, and refused
//! otherwise. What is another file system for `one_file_system`. Needs root; says so where it has not.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

mod common;

use common::disk::make_image;
use common::mounts::{Mounted, bind, does, mount, tmpfs};
use common::tree::{Tree, chmod, mkdir, write};
use common::{Mirror, is_root, settle, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn configure(mirror: &Mirror, text: &str) {
    mirror.write_config("home/twinfold/config.toml", text);
}

fn names(folder: &Path) -> Vec<String> {
    Tree::of(folder).names().iter().map(|name| name.to_str().unwrap().to_owned()).collect()
}

/// A source with a disk mounted at `mnt/disk` in it, on which the replica is to lie.
fn with_disk_below_the_source() -> Option<(Mirror, Mounted)> {
    let mut mirror = Mirror::new();
    write(mirror.in_source("etc/a"), "a");
    mkdir(mirror.in_source("mnt/disk"));
    mirror.replica = mirror.in_source("mnt/disk/backup");
    let disk = tmpfs(&mirror.in_source("mnt/disk"))?;
    settle();
    Some((mirror, disk))
}

#[test]
fn a_replica_below_the_source_is_refused_and_the_message_names_both_ways_out() {
    let Some((mirror, _disk)) = with_disk_below_the_source() else { return };
    let refused = |text: &str| {
        configure(&mirror, text);
        mirror
            .run(&[])
            .expect(2)
            .says("overlap")
            .says("exclude = [\"/mnt/disk/backup/\"]")
            .says("one_file_system = true");
        assert!(!mirror.replica.exists(), "{text}");
    };
    refused("");
    refused("exclude = [\"/mnt/other/\", \"/mnt/disk/backup/x\", \"*.bak\"]\n");
    refused("exclude = [\"/mnt/*\", \"!/mnt/disk/\"]\n");
}

#[test]
fn a_replica_whose_path_is_excluded_is_mirrored_into_and_never_from() {
    for pattern in ["/mnt/disk/backup/", "/mnt/disk/", "mnt", "/mnt/*"] {
        let Some((mirror, _disk)) = with_disk_below_the_source() else { return };
        configure(&mirror, &format!("exclude = [\"{pattern}\"]\n"));
        for _ in 0..2 {
            mirror.run(&[]).expect(0);
            let names = names(&mirror.replica);
            assert!(names.contains(&"etc/a".to_owned()), "{pattern}: {names:?}");
            assert!(!names.iter().any(|name| name.contains("backup")), "{pattern}: {names:?}");
        }
        settle();
        mirror.assert_idle();
    }
    // Also where it lies on no disk of its own.
    let mut mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mirror.replica = mirror.in_source("backup");
    configure(&mirror, "exclude = [\"/backup/\"]\n");
    mirror.run(&[]).expect(0);
    assert_eq!(names(&mirror.replica), ["", "file"]);
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
}

#[test]
fn a_replica_on_another_file_system_below_the_source_is_left_out_by_one_file_system_while_it_is_mounted() {
    for recorded in [false, true] {
        let Some((mirror, disk)) = with_disk_below_the_source() else { return };
        configure(&mirror, "one_file_system = true\n");
        if recorded {
            mirror.run(&[]).expect(0);
            assert_eq!(names(&mirror.replica), ["", "etc", "etc/a", "mnt", "mnt/disk"]);
            mirror.run(&[]).expect(0);
            settle();
            mirror.assert_idle();
        }
        disk.unmount();
        for made in [false, true] {
            if made {
                mkdir(&mirror.replica);
            }
            for more in [&[][..], &["-n"], &["--accept-root"]] {
                mirror.run(more).expect(5).says("Is its disk mounted?");
                assert_eq!(mirror.replica.exists(), made);
            }
            assert!(!made || fs::read_dir(&mirror.replica).unwrap().next().is_none());
        }
    }
}

#[test]
fn a_replica_that_shows_at_a_second_place_in_the_source_must_be_left_out_there_as_well() {
    let Some((mirror, _disk)) = with_disk_below_the_source() else { return };
    mkdir(mirror.in_source("media"));
    let _bound = bind(&mirror.in_source("mnt/disk"), &mirror.in_source("media")).unwrap();
    configure(&mirror, "exclude = [\"/mnt/disk/\"]\n");
    mirror.run(&[]).expect(2).says("overlap").says("/media/backup/");
    configure(&mirror, "exclude = [\"/mnt/disk/\", \"/media/\"]\n");
    mirror.run(&[]).expect(0);
    configure(&mirror, "exclude = [\"/mnt/disk/\"]\none_file_system = true\n");
    mirror.run(&[]).expect(0);
}

#[test]
fn a_part_of_the_source_that_is_bound_as_the_replicas_folder_is_no_disk_of_its_own() {
    let mut mirror = Mirror::new();
    write(mirror.in_source("srv/backup/old"), "old");
    mkdir(mirror.in_source("mnt"));
    let Some(_bound) = bind(&mirror.in_source("srv/backup"), &mirror.in_source("mnt")) else { return };
    mirror.replica = mirror.in_source("mnt/replica");
    configure(&mirror, "one_file_system = true\n");
    mirror.run(&[]).expect(2).says("overlap").says("/srv/backup/replica/");
    configure(&mirror, "one_file_system = true\nexclude = [\"/srv/backup/\"]\n");
    mirror.run(&[]).expect(0);
    assert_eq!(names(&mirror.replica), ["", "mnt", "srv"]);
}

#[test]
fn the_state_below_the_source_is_taken_where_it_is_excluded_and_the_message_says_how() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mkdir(mirror.in_source("var/state"));
    chmod(mirror.in_source("var/state"), 0o700);
    let run = |text: &str| {
        configure(&mirror, text);
        let mut command = mirror.once(&[]);
        command.env("STATE_DIRECTORY", mirror.in_source("var/state"));
        common::program::finish(command)
    };
    run("").expect(2).says("lies inside the source").says("exclude = [\"/var/state/\"]");
    run("exclude = [\"/var/state/*.db\"]\n").expect(2).says("lies inside the source");
    for pattern in ["/var/state/", "/var/state/*", "var"] {
        run(&format!("exclude = [\"{pattern}\"]\n")).expect(0);
        assert!(!mirror.in_replica("var/state/twinfold.log").exists(), "{pattern}");
    }
    let manifest = mirror.in_source("m.db").display().to_string();
    configure(&mirror, "");
    mirror.run(&["--manifest", &manifest]).expect(2).says("exclude = [\"/m.db*\"]");
    configure(&mirror, "exclude = [\"/m.db*\"]\n");
    mirror.run(&["--manifest", &manifest]).expect(0);
    assert!(mirror.in_source("m.db").exists() && !mirror.in_replica("m.db").exists());
    // In the replica it stays refused, whatever is excluded.
    configure(&mirror, "exclude = [\"/in/\"]\n");
    mkdir(mirror.in_replica("in"));
    mirror.run(&["--manifest", "replica/in/m.db"]).expect(2).says("lies inside the replica");
}

#[test]
fn jobs_may_have_their_replicas_on_one_disk_below_the_source_of_one_of_them() {
    let Some((mirror, _disk)) = with_disk_below_the_source() else { return };
    write(mirror.path("other/file"), "other");
    let text = |keys: &str| {
        format!(
            "{keys}[[job]]\nname = \"all\"\nsource = \"source\"\nreplica = \"source/mnt/disk/all\"\n\
             [[job]]\nname = \"other\"\nsource = \"other\"\nreplica = \"source/mnt/disk/other\"\n"
        )
    };
    configure(&mirror, &text("exclude = [\"/mnt/disk/all/\"]\n"));
    common::program::finish(mirror.program(&["--once"])).expect(2).says("overlap");
    configure(&mirror, &text("one_file_system = true\n"));
    common::program::finish(mirror.program(&["--once"])).expect(0);
    assert!(mirror.in_source("mnt/disk/other/file").exists());
    assert!(mirror.in_source("mnt/disk/all/etc/a").exists());
    assert!(!mirror.in_source("mnt/disk/all/mnt/disk/other").exists());
}

/// An empty btrfs, mounted.
fn btrfs(mirror: &Mirror) -> Option<(PathBuf, Mounted)> {
    let (image, at) = (mirror.path("btrfs.img"), mirror.path("btrfs"));
    if !is_root() || !does("btrfs", &["--version"]) || !make_image(&image, "btrfs", 128, &[]) {
        skip("btrfs subvolumes need root, mkfs.btrfs and btrfs");
        return None;
    }
    let mounted = mount(&["-o", "loop", image.to_str().unwrap()], &at)?;
    Some((at, mounted))
}

#[test]
fn btrfs_subvolumes_and_snapshots_are_file_systems_of_their_own_for_one_file_system() {
    let mut mirror = Mirror::new();
    let Some((disk, _mounted)) = btrfs(&mirror) else { return };
    let make = |arguments: &[&str], path: &Path| {
        let mut command = Command::new("btrfs");
        command.args(["-q", "subvolume"]).args(arguments).arg(path);
        assert!(command.status().unwrap().success());
    };
    mirror.source = disk.join("s");
    make(&["create"], &mirror.source);
    write(mirror.in_source("a"), "a");
    mkdir(mirror.in_source(".snapshots"));
    let source = mirror.source.to_str().unwrap().to_owned();
    make(&["snapshot", "-r", &source], &mirror.in_source(".snapshots/1"));
    make(&["create"], &mirror.in_source("sub"));
    write(mirror.in_source("sub/b"), "b");
    settle();
    configure(&mirror, "one_file_system = true\n");
    mirror.run(&[]).expect(0);
    assert_eq!(names(&mirror.replica), ["", ".snapshots", ".snapshots/1", "a", "sub"]);
    mirror.run(&[]).expect(0);
    settle();
    mirror.assert_idle();
    // A replica in a subvolume below the source is left out like one on a disk of its own.
    make(&["create"], &mirror.in_source("backup"));
    mirror.replica = mirror.in_source("backup/r");
    mirror.run(&[]).expect(0);
    assert!(names(&mirror.replica).contains(&"backup".to_owned()));
    assert!(!mirror.in_replica("backup/r").exists());
    // Without the key they are folders like others.
    configure(&mirror, "");
    mirror.replica = mirror.path("all");
    mirror.run(&[]).expect(0);
    assert!(mirror.in_replica(".snapshots/1/a").exists() && mirror.in_replica("sub/b").exists());
}

#[test]
fn marks_of_an_overlays_layer_are_said_once_and_not_copied() {
    let mirror = Mirror::new();
    for folder in ["one", "two", "plain"] {
        mkdir(mirror.in_source(folder));
    }
    let mark = |folder: &str, name: &str| {
        let path = mirror.in_source(folder);
        does("setfattr", &["-n", name, "-v", "y", path.to_str().unwrap()])
    };
    if !is_root() || !mark("one", "trusted.overlay.opaque") || !mark("two", "trusted.overlay.redirect") {
        return skip("trusted attributes need root, setfattr and a file system that takes them");
    }
    mark("plain", "user.plain");
    settle();
    let run = mirror.run(&[]).expect(0).says("2 entries, one/ for one, have trusted.overlay attributes");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let listed = Command::new("getfattr").args(["-m", "-", "-d"]).arg(mirror.in_replica("one")).output();
    assert!(!String::from_utf8_lossy(&listed.unwrap().stdout).contains("overlay"));
    let again = mirror.run(&[]).expect(0);
    assert!(again.stderr.is_empty(), "{}", again.stderr);
}
