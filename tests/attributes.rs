//! Extended attributes, POSIX ACLs and file capabilities are mirrored, and nothing leaks in.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::program::finish;
use common::tree::{
    attributes, chmod, mkdir, mkfifo, mode, remove, set_attribute, set_mtime, symlink, write,
};
use common::{Mirror, is_root, settle, skip};
use rustix::fs::{lremovexattr, lsetxattr};
use std::path::Path;
use std::process::Command;

/// One entry of an ACL as the kernel keeps it: tag, permissions, id.
type AclEntry = (u16, u16, u32);

const USER_OBJECT: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJECT: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NOBODY_IN_PARTICULAR: u32 = u32::MAX;

/// Version 2 of the kernel's format (`linux/posix_acl_xattr.h`), little endian.
fn acl(entries: &[AclEntry]) -> Vec<u8> {
    let entry = |&(tag, permissions, id): &AclEntry| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    bytes.extend(entries.iter().flat_map(entry));
    bytes
}

/// Lets user 12 read and write, as far as the mask goes.
fn for_user_12(mask: u16) -> Vec<u8> {
    acl(&[
        (USER_OBJECT, 7, NOBODY_IN_PARTICULAR),
        (USER, 6, 12),
        (GROUP_OBJECT, 4, NOBODY_IN_PARTICULAR),
        (MASK, mask, NOBODY_IN_PARTICULAR),
        (OTHER, 0, NOBODY_IN_PARTICULAR),
    ])
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// Whether ACLs can be had where the tests run.
fn has_acls(path: &Path) -> bool {
    let has = lsetxattr(path, DEFAULT, &for_user_12(7), rustix::fs::XattrFlags::empty()).is_ok();
    if has {
        lremovexattr(path, DEFAULT).unwrap();
    } else {
        skip("no ACLs on the file system of the temporary folder");
    }
    has
}

#[test]
fn attributes_of_files_and_folders_come_change_and_go() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    write(mirror.in_source("read-only"), "content");
    mkdir(mirror.in_source("folder"));
    for name in ["file", "folder", "read-only", ""] {
        set_attribute(mirror.in_source(name), "user.colour", "red");
        set_attribute(mirror.in_source(name), "user.empty", "");
        set_attribute(mirror.in_source(name), "user.bytes", [0, 255, b'\n']);
    }
    chmod(mirror.in_source("read-only"), 0o444);
    settle();
    mirror.sync();
    mirror.assert_idle();
    for name in ["file", "folder", "read-only", ""] {
        set_attribute(mirror.in_source(name), "user.colour", "blue");
        lremovexattr(mirror.in_source(name), "user.empty").unwrap();
    }
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["metadata"], &summary["copy"]), (&4.into(), &0.into()), "{summary}");
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn attributes_that_somebody_gave_the_replica_are_put_right() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    mkdir(mirror.in_source("folder"));
    set_attribute(mirror.in_source("file"), "user.right", "1");
    settle();
    mirror.sync();
    for name in ["file", "folder"] {
        set_attribute(mirror.in_replica(name), "user.wrong", "1");
    }
    lremovexattr(mirror.in_replica("file"), "user.right").unwrap();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn an_ordinary_user_keeps_attributes_of_read_only_files_and_folders() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("folder/file"), "content");
    for name in ["folder/file", "folder"] {
        set_attribute(mirror.in_source(name), "user.a", "1");
    }
    chmod(mirror.in_source("folder/file"), 0o444);
    chmod(mirror.in_source("folder"), 0o555);
    mirror.give_away(&mirror.source);
    settle();
    mirror.sync();
    for name in ["folder/file", "folder"] {
        set_attribute(mirror.in_source(name), "user.a", "2");
    }
    settle();
    mirror.sync();
    mirror.assert_idle();
    chmod(mirror.in_source("folder"), 0o755);
    chmod(mirror.in_replica("folder"), 0o755);
}

#[test]
fn acls_of_every_kind_of_entry_come_change_and_go() {
    let mirror = Mirror::new();
    if !has_acls(&mirror.source) {
        return;
    }
    write(mirror.in_source("folder/file"), "content");
    mkfifo(mirror.in_source("fifo"));
    for name in ["folder", "folder/file", "fifo"] {
        set_attribute(mirror.in_source(name), ACCESS, for_user_12(7));
    }
    set_attribute(mirror.in_source("folder"), DEFAULT, for_user_12(5));
    // Made now, it inherits.
    write(mirror.in_source("folder/heir"), "content");
    settle();
    mirror.sync();
    mirror.assert_idle();
    set_attribute(mirror.in_source("folder/file"), ACCESS, for_user_12(4));
    lremovexattr(mirror.in_source("folder"), DEFAULT).unwrap();
    lremovexattr(mirror.in_source("fifo"), ACCESS).unwrap();
    settle();
    mirror.sync();
    mirror.assert_idle();
    lremovexattr(mirror.in_source("folder/file"), ACCESS).unwrap();
    chmod(mirror.in_source("folder"), 0o700);
    settle();
    mirror.sync();
    assert!(attributes(&mirror.in_replica("folder/file")).is_empty());
    mirror.assert_idle();
}

#[test]
fn the_default_acl_of_the_replicas_parent_and_its_group_do_not_leak_in() {
    let mirror = Mirror::new();
    if !has_acls(&mirror.source) {
        return;
    }
    let parent = mirror.path("parent");
    mkdir(&parent);
    if is_root() {
        std::os::unix::fs::chown(&parent, None, Some(77)).unwrap();
    }
    chmod(&parent, 0o2775);
    set_attribute(&parent, DEFAULT, for_user_12(7));
    write(mirror.in_source("folder/deep/file"), "content");
    symlink("folder", mirror.in_source("link"));
    mkfifo(mirror.in_source("folder/fifo"));
    let roots = ["--source", mirror.source.to_str().unwrap(), "--replica"];
    let replica = parent.join("replica");
    let mut command = mirror.program(&["sync", "--once"]);
    command.args(roots).arg(&replica);
    finish(command).expect(0);
    common::tree::assert_same(&common::tree::Tree::of(&mirror.source), &common::tree::Tree::of(&replica));
    // A default ACL that somebody gives a folder of the replica goes, and what is made in it is clean.
    set_attribute(replica.join("folder"), DEFAULT, for_user_12(7));
    write(mirror.in_source("folder/new"), "content");
    let mut command = mirror.program(&["sync", "--once"]);
    command.args(roots).arg(&replica);
    finish(command).expect(0);
    common::tree::assert_same(&common::tree::Tree::of(&mirror.source), &common::tree::Tree::of(&replica));
}

#[test]
fn nothing_is_inherited_where_acls_are_not_kept_either() {
    let mirror = Mirror::new();
    if !has_acls(&mirror.source) {
        return;
    }
    mirror.write_config("home/twinfold/config.toml", "[preserve]\nxattrs = false\n");
    let parent = mirror.path("parent");
    mkdir(&parent);
    set_attribute(&parent, DEFAULT, for_user_12(7));
    write(mirror.in_source("folder/file"), "content");
    mkfifo(mirror.in_source("fifo"));
    let replica = parent.join("replica");
    let mut command =
        mirror.program(&["sync", "--once", "--source", mirror.source.to_str().unwrap(), "--replica"]);
    command.arg(&replica);
    finish(command).expect(0);
    for name in ["folder", "folder/file", "fifo"] {
        assert!(attributes(&replica.join(name)).is_empty(), "{name}");
    }
}

/// `cap_net_raw=ep` as the kernel keeps it: version 2, effective.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn file_capabilities_are_kept_through_a_change_of_owner_and_dropped_without_one() {
    if !is_root() {
        return skip("file capabilities need root");
    }
    let mirror = Mirror::new();
    write(mirror.in_source("tool"), "program");
    std::os::unix::fs::chown(mirror.in_source("tool"), Some(5), Some(6)).unwrap();
    set_attribute(mirror.in_source("tool"), "security.capability", CAPABILITY);
    settle();
    mirror.sync();
    assert!(attributes(&mirror.in_replica("tool")).contains_key("security.capability"));
    // Giving the replica's file away takes its capability; both come back.
    std::os::unix::fs::chown(mirror.in_replica("tool"), Some(7), Some(7)).unwrap();
    mirror.sync();
    assert!(attributes(&mirror.in_replica("tool")).contains_key("security.capability"));
    mirror.assert_idle();
    // Any chown takes it away, also one to the same owner.
    for touched in [mirror.in_source("tool"), mirror.in_replica("tool")] {
        set_mtime(&touched, 1_000, 1);
        chmod(&touched, 0o755);
        settle();
        mirror.sync();
        assert!(attributes(&mirror.in_replica("tool")).contains_key("security.capability"));
    }
    mirror.write_config("home/twinfold/config.toml", "[preserve]\nowner = false\n");
    remove(mirror.in_replica("tool"));
    mirror.run(&[]).expect(0);
    assert!(attributes(&mirror.in_replica("tool")).is_empty());
}

#[test]
fn switches_turned_off_leave_the_replica_as_it_is() {
    let mirror = Mirror::new();
    mirror.write_config(
        "home/twinfold/config.toml",
        "[preserve]\npermissions = false\ntimes = false\nxattrs = false\nspecials = false\n",
    );
    write(mirror.in_source("file"), "content");
    set_attribute(mirror.in_source("file"), "user.a", "1");
    chmod(mirror.in_source("file"), 0o6755);
    set_mtime(mirror.in_source("file"), 1_000, 5);
    mkfifo(mirror.in_source("fifo"));
    settle();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 027; exec \"$@\"", "sh"]).arg(mirror.program_path()).args(["sync", "--once"]);
    command.args(mirror.roots());
    mirror.isolate(&mut command);
    finish(command).expect(0);
    let file = mirror.in_replica("file");
    assert_eq!(mode(&file), 0o750, "as far as the umask lets it, without set-id bits");
    assert_ne!(common::tree::mtime(&file).0, 1_000);
    assert!(attributes(&file).is_empty() && !mirror.in_replica("fifo").exists());
    mirror.assert_idle();
    chmod(&file, 0o604);
    set_attribute(&file, "user.own", "1");
    write(mirror.in_source("file"), "other content");
    mirror.run(&[]).expect(0);
    assert_eq!(std::fs::read(&file).unwrap(), b"other content");
    assert_eq!(mode(&file), 0o604, "what is not kept stays as it was");
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
}

#[test]
fn a_job_overrides_the_switches_one_by_one() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    set_attribute(mirror.in_source("file"), "user.a", "1");
    let [_, source, _, replica] = mirror.roots().try_into().unwrap();
    let text = format!(
        "[preserve]\nxattrs = false\ntimes = false\n[[job]]\nname = \"one\"\nsource = \"{source}\"\n\
         replica = \"{replica}\"\n[job.preserve]\nxattrs = true\n"
    );
    mirror.write_config("home/twinfold/config.toml", text);
    set_mtime(mirror.in_source("file"), 1_000, 5);
    finish(mirror.program(&["sync", "--once", "--job", "one"])).expect(0);
    assert_eq!(attributes(&mirror.in_replica("file"))["user.a"], b"1");
    assert_ne!(common::tree::mtime(mirror.in_replica("file")).0, 1_000);
}

#[test]
fn a_rebuild_does_not_vouch_for_attributes_or_links_that_are_wrong() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    mkdir(mirror.in_source("folder"));
    write(mirror.in_source("a"), "linked");
    std::fs::hard_link(mirror.in_source("a"), mirror.in_source("b")).unwrap();
    settle();
    mirror.sync();
    for name in ["file", "folder"] {
        set_attribute(mirror.in_replica(name), "user.wrong", "1");
    }
    remove(mirror.in_replica("b"));
    write(mirror.in_replica("b"), "linked");
    let (seconds, nanos) = common::tree::mtime(mirror.in_source("b"));
    set_mtime(mirror.in_replica("b"), seconds, nanos);
    let rebuild = |mirror: &Mirror| {
        let mut command = mirror.program(&["rebuild-index"]);
        command.args(mirror.roots());
        finish(command).expect(0)
    };
    rebuild(&mirror);
    mirror.sync();
    mirror.assert_idle();
    // Sound as all of it is, nothing is left for the next run.
    rebuild(&mirror);
    mirror.assert_idle();
}
