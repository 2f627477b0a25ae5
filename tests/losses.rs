//! What the replica cannot hold never costs the content: it is left out where the file system as a whole cannot
//! hold it, and named where one entry is without it; in both cases nothing is read or written again.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::disk::make_image;
use common::mounts::{Mounted, does, mount, tmpfs};
use common::program::{Output, finish, start};
use common::tree::{
    attributes, chmod, mkdir, mkfifo, mode, mtime, remove, set_attribute, set_mtime, symlink, write,
};
use common::{Mirror, NOBODY, inject, is_root, settle, skip};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

/// Calls that open a file for reading or change anything.
const WORK: &str = "trace=openat,openat2,linkat,symlinkat,mkdirat,mknodat,renameat,renameat2,unlinkat,fchmod,chmod,\
                    fchownat,utimensat,fsetxattr,setxattr,fremovexattr,removexattr,read,pread64,copy_file_range,write";

/// Runs once under strace: what holds content is neither opened nor is anything changed. Returns how the run ended.
fn run_untouched(mirror: &Mirror, code: i32) -> Output {
    if !does("strace", &["-o", "/dev/null", "true"]) {
        skip("strace is not installed or may not trace: not shown that nothing is read or written");
        return mirror.run(&[]).expect(code);
    }
    let trace = mirror.path("state/trace");
    let output = start(inject::traced(mirror, &[], trace.to_str().unwrap(), &["decode-fds=path", WORK]))
        .wait()
        .expect(code);
    let text = String::from_utf8_lossy(&fs::read(trace).unwrap()).into_owned();
    let roots = [&mirror.source, &mirror.replica].map(|root| format!("{}", root.display()));
    // What comes back is another matter than what was asked for.
    let asked = |line: &str| line.rsplit_once(" = ").map_or(line, |(asked, _)| asked).to_owned();
    let in_a_tree = |line: &&str| roots.iter().any(|root| asked(line).contains(&format!("<{root}")));
    let folders_only =
        |line: &&str| ["O_DIRECTORY", "O_PATH", r#""."#].iter().any(|word| line.contains(word));
    let worked: Vec<&str> = text.lines().filter(in_a_tree).filter(|line| !folders_only(line)).collect();
    assert!(worked.is_empty(), "{}", worked.join("\n"));
    output
}

/// Mounts a program's file system, or says that it cannot be.
fn fuse(program: &str, arguments: &[&str], at: &Path) -> Option<Mounted> {
    mkdir(at);
    if is_root() && does(program, &[arguments, &[at.to_str().unwrap()]].concat()) {
        return Some(Mounted(at.to_owned()));
    }
    skip(&format!("{program} {arguments:?} needs root and the program"));
    None
}

/// A loop device, freed when the test is done with it.
struct Loop(String);

impl Loop {
    fn of(image: &Path) -> Option<Self> {
        let made = Command::new("losetup").args(["-f", "--show"]).arg(image).output().ok()?;
        made.status.success().then(|| Self(String::from_utf8_lossy(&made.stdout).trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        does("losetup", &["-d", &self.0]);
    }
}

/// A mirror whose replica lies in what bindfs shows with these options.
fn through_bindfs(options: &[&str]) -> Option<(Mirror, Mounted)> {
    let mut mirror = Mirror::new();
    mkdir(mirror.path("shown"));
    let shown = mirror.path("shown");
    let mounted = fuse("bindfs", &[options, &[shown.to_str().unwrap()]].concat(), &mirror.path("view"))?;
    mirror.replica = mirror.path("view/replica");
    mkdir(&mirror.replica);
    Some((mirror, mounted))
}

fn fill(mirror: &Mirror) {
    write(mirror.in_source("folder/file"), "content");
    write(mirror.in_source("private"), "secret");
    chmod(mirror.in_source("private"), 0o600);
    chmod(mirror.in_source("folder"), 0o750);
    set_mtime(mirror.in_source("folder/file"), 1_000_000_001, 123_456_789);
    set_mtime(mirror.in_source("folder"), 1_000_000_001, 5);
    settle();
}

fn assert_contents(mirror: &Mirror) {
    assert_eq!(fs::read(mirror.in_replica("folder/file")).unwrap(), b"content");
    assert_eq!(fs::read(mirror.in_replica("private")).unwrap(), b"secret");
}

#[test]
fn a_user_mirrors_into_a_shared_folder_of_somebody_else() {
    if !is_root() {
        return skip("a folder of somebody else needs root");
    }
    let mirror = Mirror::of_an_ordinary_user();
    fill(&mirror);
    mirror.give_away(&mirror.source);
    mkdir(&mirror.replica);
    chown(&mirror.replica, Some(0), Some(NOBODY)).unwrap();
    chmod(&mirror.replica, 0o2775);
    let first = mirror.run(&[]).expect(0).says("cannot set permissions of the replica's root");
    assert!(!first.stderr.contains("problem"), "{}", first.stderr);
    assert_contents(&mirror);
    assert_eq!(mode(mirror.in_replica("private")), 0o600);
    assert_eq!(mode(mirror.in_replica("folder")), 0o750);
    let second = run_untouched(&mirror, 0);
    assert!(!second.stderr.contains("root"), "said once: {}", second.stderr);
    // Something changes in the root again: that is no news either.
    write(mirror.in_source("new"), "new");
    settle();
    let third = mirror.run(&[]).expect(0);
    assert!(!third.stderr.contains("root"), "said once: {}", third.stderr);
    let status = finish(mirror.program(&[&["status"], &texts(&mirror.roots())[..]].concat())).expect(0);
    assert!(status.stdout.contains("without permissions"), "{}", status.stdout);
}

fn texts(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_folder_that_the_user_may_only_write_to_is_a_problem_of_its_own_and_takes_its_files() {
    if !is_root() {
        return skip("a folder of somebody else needs root");
    }
    let mirror = Mirror::of_an_ordinary_user();
    fill(&mirror);
    mkdir(mirror.in_replica("folder"));
    mirror.give_away(&mirror.source);
    mirror.give_away(&mirror.replica);
    chown(mirror.in_replica("folder"), Some(0), Some(NOBODY)).unwrap();
    chmod(mirror.in_replica("folder"), 0o775);
    let said = "cannot set permissions of folder/ (replica): Operation not permitted (os error 1); what it holds is in \
                the replica, its permissions are left as the replica has them. To stop this message set \
                preserve.permissions = false.";
    mirror.run(&[]).expect(3).says(said);
    assert_contents(&mirror);
    run_untouched(&mirror, 3).says("the same 2 problems");
    let preview = mirror.run(&["--dry-run"]);
    assert!(preview.stderr.contains(said) || preview.stdout.contains(said), "{preview:?}");
    // It is tried again once the folder is another.
    chown(mirror.in_replica("folder"), Some(NOBODY), Some(NOBODY)).unwrap();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn the_switch_that_a_message_names_stops_it() {
    if !is_root() {
        return skip("a folder of somebody else needs root");
    }
    let mirror = Mirror::of_an_ordinary_user();
    fill(&mirror);
    mkdir(mirror.in_replica("folder"));
    mirror.give_away(&mirror.source);
    mirror.give_away(&mirror.replica);
    chown(mirror.in_replica("folder"), Some(0), Some(NOBODY)).unwrap();
    chmod(mirror.in_replica("folder"), 0o775);
    mirror.run(&[]).expect(3);
    mirror.write_config(
        "home/twinfold/config.toml",
        "[preserve]\npermissions = false\ntimes = false\nowner = false\n",
    );
    mirror.give_away(&mirror.path("home"));
    mirror.run(&[]).expect(0);
    run_untouched(&mirror, 0);
}

#[test]
fn an_attribute_that_is_too_large_is_named_and_the_file_is_not_read_again() {
    let mut mirror = Mirror::new();
    let Some(_mounted) = tmpfs(&mirror.path("memory")) else { return };
    mirror.source = mirror.path("memory/source");
    fill(&mirror);
    let large = vec![b'x'; 20_000];
    let held = |path: &Path| {
        rustix::fs::lsetxattr(path, "user.large", &large, rustix::fs::XattrFlags::empty()).is_ok()
    };
    if !held(&mirror.in_source("folder/file")) || held(&mirror.path("home")) {
        return skip(
            "needs a tmpfs that holds large attributes, and a temporary folder that does not (ext4)",
        );
    }
    set_attribute(mirror.in_source("folder/file"), "user.small", "y");
    settle();
    let said = "cannot set the attributes of folder/file (replica): user.large: No space left on device";
    mirror.run(&[]).expect(3).says(said);
    assert_contents(&mirror);
    assert!(attributes(&mirror.in_replica("folder/file")).contains_key("user.small"));
    // What was made within the tick of a clock is compared once more.
    settle();
    mirror.run(&[]).expect(3).says(said);
    run_untouched(&mirror, 3).says(said);
    // Renamed with its folder it is without the same.
    rustix::fs::rename(mirror.in_source("folder"), mirror.in_source("renamed")).unwrap();
    settle();
    mirror.run(&[]).expect(3).says("of renamed/file (replica): user.large");
    // The entry changes: it is tried again, and now it fits.
    rustix::fs::lremovexattr(mirror.in_source("renamed/file"), "user.large").unwrap();
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn where_chmod_and_chown_are_refused_the_files_come_over_and_it_is_said_once() {
    let Some((mirror, _mounted)) = through_bindfs(&["--chmod-deny", "--chown-deny", "--chgrp-deny"]) else {
        return;
    };
    fill(&mirror);
    let first = mirror.run(&[]).expect(0).says("the replica holds: names, contents, times");
    assert!(first.stderr.contains("not: permissions, owners"), "{}", first.stderr);
    assert_contents(&mirror);
    assert_eq!(mtime(mirror.in_replica("folder/file")), (1_000_000_001, 123_456_789));
    let second = run_untouched(&mirror, 0);
    assert!(!second.stderr.contains("holds"), "{}", second.stderr);
    let status =
        finish(mirror.program(&[&["status", "--json"], &texts(&mirror.roots())[..]].concat())).expect(0);
    let status = status.json().pop().unwrap();
    assert_eq!(status["replica_holds"]["permissions"], false, "{status}");
    assert_eq!(status["replica_holds"]["symlinks"], true, "{status}");
    // Only what is held is compared: a change of permissions alone is nothing to do.
    chmod(mirror.in_source("private"), 0o640);
    settle();
    mirror.run(&[]).expect(0);
    run_untouched(&mirror, 0);
}

#[test]
fn times_are_kept_where_a_lone_time_of_change_is_ignored() {
    let Some((mirror, _mounted)) = through_bindfs(&[]) else { return };
    fill(&mirror);
    symlink("folder/file", mirror.in_source("link"));
    set_mtime(mirror.in_source("link"), 1_000_000_001, 1);
    settle();
    mirror.run(&[]).expect(0);
    for name in ["folder/file", "folder", "link"] {
        assert_eq!(mtime(mirror.in_replica(name)), mtime(mirror.in_source(name)), "{name}");
    }
    run_untouched(&mirror, 0);
    // A file that only needs another time gets it where it is compared, too.
    set_mtime(mirror.in_source("folder/file"), 1_000_000_009, 9);
    settle();
    mirror.run(&[]).expect(0);
    assert_eq!(mtime(mirror.in_replica("folder/file")), (1_000_000_009, 9));
    run_untouched(&mirror, 0);
}

#[test]
fn times_are_cut_to_whole_seconds_where_there_are_no_others() {
    let mut mirror = Mirror::new();
    let image = mirror.path("image");
    if !is_root() || !make_image(&image, "ext4", 16, &["-I", "128"]) {
        return skip("a disk of one's own needs root");
    }
    let Some(_mounted) = mount(&["-o", "loop", image.to_str().unwrap()], &mirror.path("disk")) else {
        return;
    };
    mirror.replica = mirror.path("disk/replica");
    mkdir(&mirror.replica);
    fill(&mirror);
    mirror.run(&[]).expect(0).says("times to 1 s");
    assert_eq!(mtime(mirror.in_replica("folder/file")), (1_000_000_001, 0));
    assert_eq!(mode(mirror.in_replica("private")), 0o600);
    let second = run_untouched(&mirror, 0);
    assert!(!second.stderr.contains("times"), "{}", second.stderr);
    // A time that differs in less than a second is the same there.
    set_mtime(mirror.in_source("folder/file"), 1_000_000_001, 7);
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["metadata"]), (&0.into(), &0.into()), "{summary}");
}

#[test]
fn an_exfat_disk_gets_what_it_can_hold() {
    let mut mirror = Mirror::new();
    let image = mirror.path("image");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let Some(disk) = Loop::of(&image).filter(|disk| does("mkfs.exfat", &[&disk.0])) else {
        return skip("an exFAT disk needs root, a loop device and mkfs.exfat");
    };
    let Some(_mounted) = fuse("mount.exfat-fuse", &[&disk.0], &mirror.path("disk")) else { return };
    if !does("mountpoint", &["-q", mirror.path("disk").to_str().unwrap()]) {
        return skip("exfat-fuse mounts no disk here");
    }
    mirror.replica = mirror.path("disk/replica");
    mkdir(&mirror.replica);
    fill(&mirror);
    symlink("folder/file", mirror.in_source("link"));
    mkfifo(mirror.in_source("fifo"));
    let first = mirror.run(&[]).expect(0).says("not: the case of names");
    assert!(first.stderr.contains("permissions, owners, symlinks, hard links"), "{}", first.stderr);
    assert_contents(&mirror);
    assert_eq!(mtime(mirror.in_replica("folder/file")).0 / 2, 1_000_000_001 / 2);
    assert!(!mirror.in_replica("link").exists() && !mirror.in_replica("fifo").exists());
    let left: Vec<_> =
        fs::read_dir(&mirror.replica).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is left of trying: {left:?}");
    run_untouched(&mirror, 0);
    assert!(fs::metadata(mirror.in_replica("private")).unwrap().size() == 6);
}

#[test]
fn a_folder_that_the_mirror_closed_to_its_own_user_is_healed_by_one_run() {
    for closed in [0o000, 0o444, 0o311, 0o555] {
        let mirror = Mirror::of_an_ordinary_user();
        write(mirror.in_source("folder/deep/file"), "content");
        write(mirror.in_source("folder/gone"), "content");
        mirror.give_away(&mirror.source);
        settle();
        mirror.sync();
        // As an earlier run left it, and then the source was opened.
        chmod(mirror.in_replica("folder/deep"), closed);
        chmod(mirror.in_replica("folder"), closed);
        remove(mirror.in_source("folder/gone"));
        write(mirror.in_source("folder/deep/new"), "new");
        mirror.give_away(&mirror.source);
        settle();
        mirror.sync();
        mirror.assert_idle();
    }
}

#[test]
fn a_folder_that_stays_closed_to_the_user_is_opened_worked_in_and_closed_again() {
    if !is_root() {
        return skip("a source of somebody else needs root");
    }
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("folder/file"), "content");
    mirror.give_away(&mirror.source);
    // The group may, the owner of the replica's folder, who is another than the source's, may not.
    chown(mirror.in_source("folder"), Some(0), Some(NOBODY)).unwrap();
    chmod(mirror.in_source("folder"), 0o070);
    settle();
    mirror.run(&[]).expect(0);
    assert_eq!(mode(mirror.in_replica("folder")), 0o070);
    let summary = mirror.summary(&[]);
    for count in ["create", "copy", "metadata", "delete", "problems"] {
        assert_eq!(summary[count], 0, "{count} in {summary}");
    }
    assert_eq!(mode(mirror.in_replica("folder")), 0o070, "closed again");
    write(mirror.in_source("folder/new"), "new");
    chown(mirror.in_source("folder/new"), Some(NOBODY), Some(NOBODY)).unwrap();
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["problems"]), (&1.into(), &0.into()), "{summary}");
    assert_eq!(fs::read(mirror.in_replica("folder/new")).unwrap(), b"new");
    assert_eq!(mode(mirror.in_replica("folder")), 0o070, "closed again");
}
