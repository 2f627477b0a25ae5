//! File systems mounted inside the source or the replica. Needs root; says so where it has not.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::mounts::{Mounted, bind, mount, tmpfs};
use common::tree::{Tree, assert_same, chmod, mkdir, remove, write};
use common::{Mirror, settle, skip};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn configure(mirror: &Mirror, text: &str) {
    mirror.write_config("home/twinfold/config.toml", text);
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Two mounts in the source, of another file system and of the same one, mirrored.
fn with_mounts_in_the_source() -> Option<(Mirror, Mounted, Mounted)> {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "of the source itself");
    for folder in ["disk", "bound"] {
        mkdir(mirror.in_source(folder));
    }
    write(mirror.path("elsewhere/file"), "bound");
    let disk = tmpfs(&mirror.in_source("disk"))?;
    let bound = bind(&mirror.path("elsewhere"), &mirror.in_source("bound"))?;
    write(mirror.in_source("disk/deep/file"), "on a disk");
    settle();
    mirror.sync();
    mirror.assert_idle();
    Some((mirror, disk, bound))
}

#[test]
fn a_mount_that_is_gone_from_the_source_shields_its_replica_until_it_is_back() {
    let Some((mirror, disk, bound)) = with_mounts_in_the_source() else { return };
    assert_eq!(read(mirror.in_replica("disk/deep/file")), "on a disk");
    assert_eq!(read(mirror.in_replica("bound/file")), "bound");
    let before = Tree::of(&mirror.replica);
    disk.unmount();
    bound.unmount();
    write(mirror.in_source("a"), "something new");
    mirror.run(&["-n"]).expect(3);
    let run = mirror.run(&[]).expect(3).says("disk/").says("bound/").says("Mount it again");
    assert_eq!(run.stderr.lines().count(), 2, "one problem a mount: {}", run.stderr);
    mirror.run(&[]).expect(3).says("the same 2 problems");
    assert_eq!(read(mirror.in_replica("a")), "something new");
    let mut after = Tree::of(&mirror.replica);
    for path in ["a", ""] {
        after.0.insert(path.into(), before.0[Path::new(path)].clone());
    }
    assert_same(&before, &after);
    let _bound = bind(&mirror.path("elsewhere"), &mirror.in_source("bound")).unwrap();
    let _disk = tmpfs(&mirror.in_source("disk")).unwrap();
    // A disk that is back and holds other things is mirrored like any folder.
    write(mirror.in_source("disk/new"), "new");
    mirror.sync();
    assert!(!mirror.in_replica("disk/deep").exists());
}

#[test]
fn removing_the_mount_point_accepts_that_the_mount_is_gone() {
    let Some((mirror, disk, _bound)) = with_mounts_in_the_source() else { return };
    disk.unmount();
    mirror.run(&[]).expect(3);
    fs::remove_dir(mirror.in_source("disk")).unwrap();
    mirror.sync();
    assert!(!mirror.in_replica("disk").exists());
    mkdir(mirror.in_source("disk/ordinary"));
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn a_mount_inside_a_mount_that_is_gone_stays_remembered() {
    let mirror = Mirror::new();
    mkdir(mirror.in_source("outer"));
    write(mirror.path("elsewhere/inner/under"), "hidden by the inner mount");
    let Some(outer) = bind(&mirror.path("elsewhere"), &mirror.in_source("outer")) else { return };
    let inner = tmpfs(&mirror.in_source("outer/inner")).unwrap();
    write(mirror.in_source("outer/inner/file"), "x");
    mirror.sync();
    inner.unmount();
    outer.unmount();
    mirror.run(&[]).expect(3).says("outer/");
    let _outer = bind(&mirror.path("elsewhere"), &mirror.in_source("outer")).unwrap();
    mirror.run(&[]).expect(3).says("outer/inner/");
    assert_eq!(read(mirror.in_replica("outer/inner/file")), "x");
    assert!(!mirror.in_replica("outer/inner/under").exists());
}

#[test]
fn rebuild_index_takes_a_gone_mount_for_a_problem_and_forgets_nothing() {
    let Some((mirror, disk, _bound)) = with_mounts_in_the_source() else { return };
    disk.unmount();
    let rows = mirror.rows().len();
    let mut rebuild = mirror.program(&["rebuild-index"]);
    rebuild.args(mirror.roots());
    common::program::finish(rebuild).expect(3);
    assert_eq!(mirror.rows().len(), rows);
    mirror.run(&[]).expect(3).says("disk/");
    assert!(mirror.in_replica("disk/deep/file").exists());
}

#[test]
fn one_file_system_mirrors_mount_points_as_empty_folders() {
    let mirror = Mirror::new();
    configure(&mirror, "one_file_system = true\n");
    for folder in ["disk", "bound"] {
        mkdir(mirror.in_source(folder));
    }
    write(mirror.in_source("file-below"), "hidden");
    write(mirror.in_source("other"), "other");
    write(mirror.path("elsewhere/file"), "bound");
    let Some(_disk) = tmpfs(&mirror.in_source("disk")) else { return };
    let _bound = bind(&mirror.path("elsewhere"), &mirror.in_source("bound")).unwrap();
    let _file = bind(&mirror.path("elsewhere/file"), &mirror.in_source("file-below")).unwrap();
    write(mirror.in_source("disk/file"), "on a disk");
    chmod(mirror.in_source("disk"), 0o710);
    settle();
    mirror.run(&[]).expect(0);
    let names: Vec<String> =
        Tree::of(&mirror.replica).names().iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["", "bound", "disk", "other"]);
    assert_eq!(mode(mirror.in_replica("disk")), 0o710);
    mirror.assert_idle();
}

#[test]
fn what_was_mirrored_before_one_file_system_was_set_is_left_as_it_is() {
    let Some((mirror, _disk, _bound)) = with_mounts_in_the_source() else { return };
    configure(&mirror, "one_file_system = true\n");
    write(mirror.in_source("disk/new"), "new");
    settle();
    mirror.run(&[]).expect(0);
    assert_eq!(read(mirror.in_replica("disk/deep/file")), "on a disk");
    assert!(!mirror.in_replica("disk/new").exists());
    mirror.assert_idle();
    let job = "[[job]]\nname = \"x\"\nsource = \"source\"\nreplica = \"other\"\none_file_system = false\n";
    configure(&mirror, &format!("one_file_system = true\n{job}"));
    common::program::finish(mirror.program(&["--once", "--job", "x"])).expect(0);
    assert_eq!(read(mirror.path("other/disk/new")), "new", "a job's own key goes before the one above it");
}

#[test]
fn whatever_is_mounted_in_the_replica_is_left_alone_in_every_way() {
    let mirror = Mirror::new();
    for path in ["disk/file", "bound/file", "file"] {
        write(mirror.in_source(path), "mirrored");
    }
    mirror.sync();
    write(mirror.path("elsewhere/file"), "of somebody else");
    let Some(_disk) = tmpfs(&mirror.in_replica("disk")) else { return };
    let _bound = bind(&mirror.path("elsewhere"), &mirror.in_replica("bound")).unwrap();
    let _file = bind(&mirror.path("elsewhere/file"), &mirror.in_replica("file")).unwrap();
    write(mirror.in_replica("disk/foreign"), "of another file system");
    let all = || ["disk", "bound", "file"].map(|name| Tree::of(&mirror.in_replica(name)));
    let stamps = || ["disk", "bound", "file"].map(|name| common::tree::stamps(&mirror.in_replica(name)));
    let before = (all(), stamps());
    let left_alone = |what: &str| {
        let run = mirror.run(&[]).expect(3);
        let lines = run.stderr.lines().count();
        let in_full = lines == 3 && run.stderr.contains("mounted") && run.stderr.contains("replica_mounts");
        let is_known = lines == 1 && run.stderr.contains("the same 3 problems");
        assert!(in_full || is_known, "one problem a mount after {what}: {}", run.stderr);
        assert!((all(), stamps()) == before, "{what}");
    };
    left_alone("nothing");
    remove(mirror.manifest());
    left_alone("an adoption");
    let mut rebuild = mirror.program(&["rebuild-index"]);
    rebuild.args(mirror.roots());
    common::program::finish(rebuild).expect(3).says("mounted");
    assert!((all(), stamps()) == before, "a rebuild");
    for path in ["disk", "bound", "file"] {
        chmod(mirror.in_source(path), 0o700);
    }
    left_alone("a change of permissions");
    for path in ["disk/file", "bound/file", "file"] {
        write(mirror.in_source(path), "mirrored and changed");
    }
    left_alone("a change of content");
    for path in ["disk", "bound", "file"] {
        remove(mirror.in_source(path));
    }
    left_alone("removal");
    for path in ["disk", "bound"] {
        write(mirror.in_source(path), "a file now");
    }
    write(mirror.in_source("file/below"), "a folder now");
    let run = mirror.run(&[]);
    assert_eq!(run.code, 3, "{run:?}");
    assert!((all(), stamps()) == before, "a change of kind");
}

#[test]
fn folders_that_hold_a_mount_of_the_replica_stay_where_they_are() {
    let mirror = Mirror::new();
    for path in ["a/m/file", "a/file", "b/m/file", "b/sub/file", "c"] {
        write(mirror.in_source(path), path);
    }
    mirror.sync();
    let Some(one) = tmpfs(&mirror.in_replica("a/m")) else { return };
    let other = tmpfs(&mirror.in_replica("b/m")).unwrap();
    for folder in ["a", "b"] {
        write(mirror.in_replica(folder).join("m/precious"), "of another file system");
    }
    // One becomes a file, one goes.
    fs::rename(mirror.in_source("a"), mirror.path("old")).unwrap();
    write(mirror.in_source("a"), "a file now");
    remove(mirror.in_source("b"));
    let said = |run: &common::program::Output| {
        let mut paths: Vec<String> = run
            .json()
            .iter()
            .filter(|event| event["event"] == "problem")
            .map(|event| event["path"].as_str().unwrap().to_owned())
            .collect();
        paths.sort();
        paths
    };
    for (turn, deletes) in [(1, 2), (2, 0)] {
        let dry = mirror.run(&["-n", "--json"]).expect(3);
        let run = mirror.run(&["--json"]).expect(3);
        for run in [&dry, &run] {
            assert_eq!(said(run), ["a", "a/m/", "b/m/"], "turn {turn}: {run:?}");
            assert_eq!(run.summary()["delete"], deletes, "turn {turn}: {run:?}");
        }
        for (folder, left) in [("a", 2), ("b", 1)] {
            assert_eq!(read(mirror.in_replica(folder).join("m/precious")), "of another file system");
            assert_eq!(fs::read_dir(mirror.in_replica(folder)).unwrap().count(), left);
        }
    }
    drop((one, other));
    mirror.run(&["--max-delete", "off"]).expect(0);
}

#[test]
fn replica_mounts_mirror_goes_on_into_what_is_mounted_there() {
    let mirror = Mirror::new();
    configure(&mirror, "replica_mounts = \"mirror\"\nfile_copy_batch_size = 1000\n");
    write(mirror.in_source("disk/file"), "one");
    mkdir(mirror.in_replica("disk"));
    let Some(_disk) = tmpfs(&mirror.in_replica("disk")) else { return };
    write(mirror.in_replica("disk/extra"), "extra");
    mirror.sync();
    write(mirror.in_source("disk/file"), "one and two");
    write(mirror.in_source("root"), "on the root's file system");
    settle();
    let trace = mirror.path("trace");
    let mut traced = std::process::Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-e", "trace=syncfs", "-o"]).arg(&trace).arg(mirror.program_path());
    traced.args(["sync", "--once"]).args(mirror.roots());
    mirror.isolate(&mut traced);
    match common::program::start_if_there(traced) {
        None => skip("there is no strace here"),
        Some(running) => {
            running.wait().expect(0);
            let synced = read(&trace);
            assert!(synced.contains("/replica>") && synced.contains("/replica/disk>"), "{synced}");
        }
    }
    mirror.sync();
    mirror.assert_idle();
    remove(mirror.in_source("disk"));
    mirror.run(&[]).expect(3).says("mounted on it");
    assert!(fs::read_dir(mirror.in_replica("disk")).unwrap().next().is_none());
}

#[test]
fn set_id_bits_and_nodes_are_judged_by_the_mount_they_lie_on() {
    let mirror = Mirror::new();
    for folder in ["trusted", "not"] {
        mkdir(mirror.in_source(folder));
    }
    let Some(_trusted) = mount(&["-t", "tmpfs", "none"], &mirror.in_source("trusted")) else { return };
    let _not = mount(&["-t", "tmpfs", "-o", "nosuid,nodev", "none"], &mirror.in_source("not")).unwrap();
    for folder in ["trusted", "not", "."] {
        write(mirror.in_source(folder).join("program"), "x");
        chmod(mirror.in_source(folder).join("program"), 0o4755);
        let node = mirror.in_source(folder).join("node");
        assert!(common::mounts::does("mknod", &[node.to_str().unwrap(), "c", "1", "3"]));
    }
    settle();
    mirror.run(&[]).expect(0).says("device nodes were left out");
    for (folder, bits, node) in [("trusted", 0o4755, true), (".", 0o4755, true), ("not", 0o755, false)] {
        assert_eq!(mode(mirror.in_replica(folder).join("program")), bits, "{folder}");
        assert_eq!(mirror.in_replica(folder).join("node").exists(), node, "{folder}");
    }
    mirror.run(&[]).expect(0);
}

#[test]
fn a_word_that_is_no_choice_for_replica_mounts_is_refused() {
    let mirror = Mirror::new();
    configure(&mirror, "replica_mounts = \"enter\"\n");
    mirror.run(&[]).expect(2).says("line 1").says("mirror");
    assert!(!mirror.replica.exists());
}

#[test]
fn a_mount_point_is_remembered_under_the_new_name_of_the_folder_that_it_lies_in() {
    let mirror = Mirror::new();
    write(mirror.in_source("old/file"), "of the source itself");
    mkdir(mirror.in_source("old/disk"));
    let Some(disk) = tmpfs(&mirror.in_source("old/disk")) else { return };
    write(mirror.in_source("old/disk/deep/file"), "on a disk");
    settle();
    mirror.sync();
    disk.unmount();
    fs::rename(mirror.in_source("old"), mirror.in_source("new")).unwrap();
    settle();
    let dry = mirror.run(&["-n", "--json"]).expect(3);
    let planned = dry.json().into_iter().filter(|event| event["event"] == "plan");
    let deletes: Vec<_> = planned.filter(|event| event["operation"] == "delete").collect();
    assert!(deletes.is_empty(), "a dry run recalls it under the new name as well: {deletes:?}");
    assert!(dry.stdout.contains("new/disk/"), "{dry:?}");
    for _ in 0..2 {
        mirror.run(&[]).expect(3).says("new/disk/").says("Mount it again");
        assert_eq!(read(mirror.in_replica("new/disk/deep/file")), "on a disk");
    }
    assert!(!mirror.in_replica("old").exists());
}
