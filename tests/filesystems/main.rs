//! One tree of every kind of entry, mirrored to every file system that can be had here, as root and as an
//! ordinary user: contents right, losses as declared, the second run idle, and so the one after a remount.
//!
//! What each file system holds is declared in `targets.rs`. What cannot be mounted here is said.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

#[path = "../common/mod.rs"]
mod common;
mod reference;
mod targets;

use common::{Mirror, NOBODY, is_root, skip};
use reference::{Reference, differences};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use targets::{Place, Target};

/// Calls that change something, whatever they are called with.
const CHANGES: [&str; 22] = [
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "linkat",
    "fchmod",
    "fchmodat",
    "chmod",
    "fchown",
    "fchownat",
    "utimensat",
    "ftruncate",
    "fallocate",
    "setxattr",
    "fsetxattr",
    "copy_file_range",
];

/// Calls that read or write contents.
const CONTENTS: [&str; 8] = ["read", "pread64", "preadv", "preadv2", "readv", "write", "pwrite64", "pwritev"];

/// Runs with strace and returns the lines that tell of a change or of contents in one of the two trees.
fn touched(mirror: &Mirror) -> (common::program::Output, Vec<String>) {
    let trace = mirror.path("trace");
    let calls = format!("trace={},{}", CHANGES.join(","), CONTENTS.join(","));
    let program = mirror.once(&[]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-s", "32", "-e", &calls, "-o"]).arg(&trace);
    traced.arg(program.get_program()).args(program.get_args());
    mirror.isolate(&mut traced);
    let output = common::program::finish(traced);
    let text = std::fs::read(&trace).unwrap_or_default();
    let below = |root: &Path| format!("<{}", root.display());
    let roots = [below(&mirror.source), below(&mirror.replica)];
    let lines = String::from_utf8_lossy(&text);
    let found = lines.lines().filter(|line| roots.iter().any(|root| line.contains(root.as_str())));
    (output, found.map(str::to_owned).collect())
}

fn mirrored_to(target: &Target, user: Option<u32>) {
    let who = if user.is_some() { "an ordinary user" } else { "root" };
    let what = format!("{} as {who}", target.name);
    if !is_root() {
        return skip(&format!("{what}: mounting needs root"));
    }
    let mut mirror = if user.is_some() { Mirror::of_an_ordinary_user() } else { Mirror::new() };
    let place = Place::new(mirror.path("target"), user);
    let mounted = match target.ready(&place) {
        Ok(mounted) => mounted,
        Err(reason) => return skip(&format!("{what}: {reason}")),
    };
    mirror.replica = place.at.join("replica");
    let tree = Reference::plant(&mirror.source, user.is_some(), target.holds.holes);
    let holds = target.holds_for(user.is_some());
    let expected = i32::from(tree.names().any(|name| (holds.refuses)(name))) * 3;
    std::thread::sleep(Duration::from_millis(60));
    let first = mirror.run(&[]);
    assert_eq!(first.code, expected, "{what}: {first:?}");
    let check = |run: &str, mounted_again: bool| {
        let found = differences(&tree, &mirror.replica, &holds, mounted_again);
        assert!(found.is_empty(), "{what}, {run}:\n{}", found.join("\n"));
    };
    check("the first run", false);
    if target.name.starts_with("bindfs") {
        // It remembers the figures of each name for a second, those of a file's other names among them: idle after two.
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(mirror.run(&[]).code, expected, "{what}");
    }
    std::thread::sleep(Duration::from_millis(60));
    let idle = |run: &str| {
        let (output, lines) = touched(&mirror);
        assert_eq!(output.code, expected, "{what}, {run}: {output:?}");
        assert!(lines.is_empty(), "{what}, {run} touched:\n{}", lines.join("\n"));
    };
    idle("the second run");
    let _mounted = target.mounted_again(&place, mounted).unwrap();
    idle("the third run, after a remount,");
    check("the third run", true);
}

/// Both for one file system.
fn mirrored(name: &str) {
    let target = targets::all().into_iter().find(|target| target.name == name).unwrap();
    mirrored_to(&target, None);
    mirrored_to(&target, Some(NOBODY));
}

macro_rules! each {
    ($($(#[$attribute:meta])* $test:ident: $name:literal,)*) => {
        $(#[test] $(#[$attribute])* fn $test() { mirrored($name); })*
        /// No file system is declared and left out.
        #[test]
        fn every_declared_file_system_is_tried() {
            let declared: Vec<&str> = targets::all().iter().map(|target| target.name).collect();
            assert_eq!(declared, [$($name),*]);
        }
    };
}

each! {
    ext4_holds_what_is_declared: "ext4",
    xfs_holds_what_is_declared: "xfs",
    btrfs_holds_what_is_declared: "btrfs",
    tmpfs_holds_what_is_declared: "tmpfs",
    overlay_holds_what_is_declared: "overlay",
    #[ignore = "a time before 1980 is another one after a remount, and is set once more"]
    exfat_fuse_holds_what_is_declared: "exfat-fuse",
    ntfs_3g_holds_what_is_declared: "ntfs-3g",
    sshfs_holds_what_is_declared: "sshfs",
    bindfs_holds_what_is_declared: "bindfs",
    bindfs_that_denies_chmod_holds_what_is_declared: "bindfs --chmod-deny",
    bindfs_that_denies_chown_holds_what_is_declared: "bindfs --chown-deny",
    #[ignore = "a link gets the time of its making"]
    encfs_holds_what_is_declared: "encfs",
    gocryptfs_holds_what_is_declared: "gocryptfs",
    mergerfs_holds_what_is_declared: "mergerfs",
    #[ignore = "names with control characters are read again after a remount"]
    rclone_mount_holds_what_is_declared: "rclone mount",
}
