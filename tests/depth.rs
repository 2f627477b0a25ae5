//! Trees deeper than any path the kernel takes, with few descriptors to walk them.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

mod common;

use common::program::{Output, finish};
use common::tree::write;
use common::{Mirror, is_root, settle, skip};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, statat};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A mirror whose trees can be removed: by path nobody could.
struct Deep(Mirror);

impl Drop for Deep {
    fn drop(&mut self) {
        for root in [&self.0.source, &self.0.replica] {
            let _ = Command::new("rm").arg("-rf").arg(root).status();
        }
    }
}

fn open(folder: &OwnedFd, name: &str) -> OwnedFd {
    openat(folder, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).unwrap()
}

fn put(folder: &OwnedFd, content: &str) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let file = openat(folder, "file", flags, Mode::from_raw_mode(0o640)).unwrap();
    File::from(file).write_all(content.as_bytes()).unwrap();
}

/// A chain of folders called `name`, with a file on every fifth level; returns the deepest.
fn chain(root: &Path, levels: u32, name: &str) -> OwnedFd {
    let mut here: OwnedFd = File::open(root).unwrap().into();
    for level in 0..levels {
        if level % 5 == 0 {
            put(&here, &format!("at level {level}"));
        }
        mkdirat(&here, name, Mode::from_raw_mode(0o750)).unwrap();
        here = open(&here, name);
    }
    put(&here, "the deepest");
    here
}

/// Goes down both chains and compares what is on each level; returns how many there are.
#[track_caller]
fn compare(mirror: &Mirror, name: &str) -> u32 {
    let mut here = [&mirror.source, &mirror.replica].map(|root| OwnedFd::from(File::open(root).unwrap()));
    let mut levels = 0;
    loop {
        let [source, replica] = here.each_ref().map(|folder| {
            let figures = |name| {
                let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
                Some((
                    found.st_mode,
                    found.st_size * i64::from(name == "file"),
                    found.st_mtime,
                    found.st_mtime_nsec,
                ))
            };
            let mut content = String::new();
            if let Ok(file) = openat(folder, "file", OFlags::RDONLY, Mode::empty()) {
                File::from(file).read_to_string(&mut content).unwrap();
            }
            (figures("."), figures("file"), content)
        });
        assert_eq!(source, replica, "at level {levels}");
        if statat(&here[0], name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            assert!(statat(&here[1], name, AtFlags::SYMLINK_NOFOLLOW).is_err(), "the replica goes on");
            return levels;
        }
        here = here.each_ref().map(|folder| open(folder, name));
        levels += 1;
    }
}

/// Runs once with so many descriptors, in any time that is no hang; says how long it took.
fn run(mirror: &Mirror, descriptors: u32, more: &[&str]) -> (Output, Duration) {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")).arg(mirror.program_path());
    command.args(["sync", "--once"]).args(mirror.roots()).args(more);
    mirror.isolate(&mut command);
    let began = Instant::now();
    let output = finish(command);
    (output, began.elapsed())
}

/// First run, idle run, a change at the bottom, and all of it gone again, with 64 descriptors.
fn there_and_back(levels: u32, name: &str) {
    let deep = Deep(Mirror::new());
    let mirror = &deep.0;
    // What is measured is the walk, not the disk.
    mirror.write_config("home/twinfold/config.toml", "durability = \"none\"\n");
    let bottom = chain(&mirror.source, levels, name);
    settle();
    let (first, took) = run(mirror, 64, &[]);
    first.expect(0);
    assert_eq!(compare(mirror, name), levels);
    let (idle, idle_took) = run(mirror, 64, &[]);
    assert!(idle.expect(0).stdout.contains("nothing to do"));
    put(&bottom, "the deepest, and changed");
    drop(bottom);
    let (changed, _) = run(mirror, 64, &[]);
    assert!(changed.expect(0).stdout.contains("1 copied"));
    assert_eq!(compare(mirror, name), levels);
    assert!(Command::new("rm").arg("-rf").arg(mirror.in_source(name)).status().unwrap().success());
    let (gone, gone_took) = run(mirror, 64, &["--max-delete", "off"]);
    gone.expect(0);
    mirror.assert_in_step();
    // A few seconds when nothing else runs; four times that is a square.
    let limit = Duration::from_secs(60);
    assert!(took < limit && idle_took < limit && gone_took < limit, "{took:?} {idle_took:?} {gone_took:?}");
}

#[test]
fn three_thousand_levels_are_mirrored_changed_and_deleted_with_64_descriptors() {
    there_and_back(3000, "lv");
}

#[test]
fn paths_far_beyond_4096_bytes_are_mirrored_changed_and_deleted_with_64_descriptors() {
    there_and_back(60, &"long".repeat(62));
}

#[test]
fn files_each_in_a_folder_of_its_own_do_not_use_up_the_descriptors() {
    let mirror = Mirror::new();
    for number in 0..300 {
        write(mirror.in_source(format!("{number}/file")), number.to_string());
    }
    settle();
    run(&mirror, 64, &["--max-workers", "64"]).0.expect(0);
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn with_too_few_descriptors_nothing_breaks_and_the_next_run_makes_good() {
    let mirror = Mirror::new();
    for number in 0..40 {
        write(mirror.in_source(format!("{}/{number}", number % 7)), number.to_string());
    }
    mirror.sync();
    for descriptors in (4..40).rev() {
        let path = format!("{}/{}", descriptors % 7, descriptors);
        write(mirror.in_source(&path), format!("changed with {descriptors}"));
        let (output, _) = run(&mirror, descriptors, &[]);
        assert!([0, 1, 2, 3, 5, 127].contains(&output.code), "{descriptors}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{descriptors}: {output:?}");
        if output.code != 0 {
            assert!(!output.stderr.is_empty(), "{descriptors}: {output:?}");
        }
        let files = (0..40).filter(|number| mirror.in_replica(format!("{}/{number}", number % 7)).exists());
        assert_eq!(files.count(), 40, "{descriptors}: nothing was taken for gone");
    }
    settle();
    mirror.sync();
}

#[test]
fn without_proc_folders_are_read_from_their_handle() {
    if !is_root() {
        return skip("hiding /proc needs root");
    }
    let mirror = Mirror::new();
    // Attributes are read through links in /proc.
    mirror.write_config("home/twinfold/config.toml", "[preserve]\nxattrs = false\n");
    for name in ["a/b/file", "a/other", "gone"] {
        write(mirror.in_source(name), name);
    }
    let hidden = || {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount -t tmpfs none /proc && exec \"$0\" \"$@\""]);
        command.arg(mirror.program_path()).args(["sync", "--once"]).args(mirror.roots());
        mirror.isolate(&mut command);
        finish(command)
    };
    let first = hidden();
    if first.stderr.contains("unshare") || first.stderr.contains("mount:") {
        return skip("this machine hides no /proc");
    }
    first.expect(0);
    mirror.assert_in_step();
    common::tree::remove(mirror.in_source("gone"));
    common::tree::chmod(mirror.in_source("a"), 0o700);
    hidden().expect(0);
    mirror.assert_in_step();
}
