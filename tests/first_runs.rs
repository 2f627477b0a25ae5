//! What is new goes ahead while the trees are still being looked at: memory stays flat, and the same things
//! come out as if it had waited.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::disk::{does, mount};
use common::sweep::witness;
use common::tree::{chmod, mkdir, remove, symlink, write};
use common::{Mirror, is_root, settle, skip};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// `inodes` files, each with a name in each of these folders.
fn linked(mirror: &Mirror, inodes: usize, folders: &[&str], content: impl Fn(usize) -> Vec<u8>) {
    for folder in folders {
        mkdir(mirror.in_source(folder));
    }
    for number in 0..inodes {
        let first = mirror.in_source(format!("{}/{number:05}", folders[0]));
        write(&first, content(number));
        for folder in &folders[1..] {
            fs::hard_link(&first, mirror.in_source(format!("{folder}/{number:05}"))).unwrap();
        }
    }
}

/// The peak memory of a run, in KiB, as GNU time tells.
fn peak(mirror: &Mirror) -> Option<u64> {
    let figures = mirror.path("figures");
    let mut command = Command::new("/usr/bin/time");
    command.args(["-q", "-f", "%M", "-o"]).arg(&figures).arg(mirror.program_path());
    command.args(["--once", "--quiet", "--log-file"]).arg(mirror.path("run.log")).args(mirror.roots());
    mirror.isolate(&mut command);
    if !command.status().ok()?.success() {
        return None;
    }
    fs::read_to_string(figures).ok()?.trim().parse().ok()
}

fn many(mirror: &Mirror, folders: usize, files: usize) {
    for folder in 0..folders {
        mkdir(mirror.in_source(format!("{folder:05}")));
        for file in 0..files {
            fs::File::create(mirror.in_source(format!("{folder:05}/file-{file:05}"))).unwrap();
        }
    }
}

#[test]
fn the_memory_of_a_first_run_does_not_grow_with_the_tree() {
    if !std::path::Path::new("/usr/bin/time").exists() {
        return skip("GNU time is not installed: the memory of first runs is not measured");
    }
    // (folders, files in each): a few, more in the same shape, the same in one folder, and folders only.
    let mut peaks = Vec::new();
    for (folders, files) in [(20, 50), (200, 50), (1, 12_000), (6_000, 1)] {
        let mirror = Mirror::new();
        many(&mirror, folders, files);
        let peak = peak(&mirror).expect("the run ends well");
        mirror.assert_in_step();
        peaks.push(peak);
    }
    // Names of one inode, far apart.
    let mirror = Mirror::new();
    linked(&mirror, 8_000, &["a", "z"], |_| Vec::new());
    peaks.push(peak(&mirror).expect("the run ends well"));
    mirror.assert_in_step();
    let most = peaks[0] + 6 * 1024;
    assert!(peaks.iter().all(|peak| *peak < most), "KiB: {peaks:?}, but at most {most}");
}

#[test]
fn a_first_run_brings_over_every_kind_and_the_next_one_is_idle() {
    let mirror = Mirror::new();
    many(&mirror, 5, 30);
    mkdir(mirror.in_source("empty/chain/of/folders"));
    symlink("nowhere", mirror.in_source("empty/chain/link"));
    write(mirror.in_source("00001/linked"), "one of two names");
    fs::hard_link(mirror.in_source("00001/linked"), mirror.in_source("00003/linked")).unwrap();
    write(mirror.in_source("closed/file"), "content");
    chmod(mirror.in_source("closed"), 0o500);
    chmod(mirror.in_source("00002"), 0o2775);
    settle();
    mirror.sync();
    witness(&mirror.source, &mirror.replica, "after a first run");
    settle();
    mirror.run(&[]).expect(0);
    mirror.assert_idle();
    chmod(mirror.in_source("closed"), 0o700);
}

#[test]
fn names_of_one_inode_go_ahead_and_end_as_one() {
    let mirror = Mirror::new();
    linked(&mirror, 1_500, &["a", "m", "z"], |number| format!("content {number}").into());
    // Large ones wait for each other, and names for them.
    linked(&mirror, 5, &["b", "y"], |number| vec![b'x'; (2 << 20) + number]);
    symlink("nowhere", mirror.in_source("a/link"));
    fs::hard_link(mirror.in_source("a/link"), mirror.in_source("z/link")).unwrap();
    fs::hard_link(mirror.in_source("a/00007"), mirror.path("outside")).unwrap();
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["link"]), (&1_505.into(), &3_006.into()), "{summary}");
    witness(&mirror.source, &mirror.replica, "after a first run with hard links");
    // Also the rows of first names, whose ctime moved with each further one.
    mirror.assert_idle();
    fs::hard_link(mirror.in_source("m/00003"), mirror.in_source("new")).unwrap();
    remove(mirror.in_source("a/00004"));
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["link"]), (&0.into(), &1.into()), "{summary}");
    witness(&mirror.source, &mirror.replica, "after a change");
    mirror.assert_idle();
}

#[test]
fn a_first_run_that_is_stopped_leaves_rows_that_hold_for_names_of_one_inode_too() {
    let mirror = Mirror::new();
    for folder in 0..100 {
        for file in 0..60 {
            let first = mirror.in_source(format!("{folder:05}/file-{file:05}"));
            write(&first, "content");
            fs::hard_link(&first, mirror.in_source(format!("{folder:05}/name-{file:05}"))).unwrap();
        }
    }
    settle();
    let run = common::program::start(mirror.once(&[]));
    common::program::wait_until("something is there", || {
        fs::read_dir(&mirror.replica).is_ok_and(|found| found.count() > 30)
    });
    run.signal(rustix::process::Signal::TERM);
    run.wait();
    let linked = fs::read_dir(&mirror.replica).unwrap().count() * 60;
    assert!(linked < 6_000, "it was stopped too late: {linked}");
    let summary = mirror.summary(&[]);
    let confirmed = summary["confirmed"].as_u64().unwrap();
    assert!(confirmed < 200, "names that were there already were read again: {summary}");
    witness(&mirror.source, &mirror.replica, "after a run that was stopped");
    mirror.assert_idle();
}

#[test]
fn names_that_find_no_room_go_together_in_the_next_run() {
    let mut mirror = Mirror::new();
    let disk = mirror.path("disk");
    let Some(_disk) = mount(&["-t", "tmpfs", "-o", "size=1500k", "none"], &disk) else { return };
    mirror.replica = disk.join("replica");
    linked(&mirror, 40, &["a", "z"], |number| vec![b'x'; 60_000 + number]);
    settle();
    mirror.run(&[]).expect(3).says("no room left");
    let inode = |path: &str| fs::metadata(mirror.in_replica(path)).ok().map(|found| found.ino());
    let both = |number: usize| [inode(&format!("a/{number:05}")), inode(&format!("z/{number:05}"))];
    let there = (0..40).filter(|number| both(*number)[0].is_some()).count();
    assert!(there > 5 && there < 40, "{there}");
    for number in 0..40 {
        let [first, further] = both(number);
        assert!(further.is_none() || first == further, "{number}: {first:?} {further:?}");
    }
    assert!(does("mount", &["-o", "remount,size=8m", disk.to_str().unwrap()]));
    mirror.sync();
    witness(&mirror.source, &mirror.replica, "once there is room");
    mirror.assert_idle();
}

#[test]
fn a_first_run_into_a_replica_that_is_not_empty_takes_no_name_from_anything() {
    let mirror = Mirror::new();
    write(mirror.in_source("a"), "a file in the source");
    write(mirror.in_source("b/file"), "a folder in the source");
    write(mirror.in_source("c/file"), "there already");
    write(mirror.in_source("c/new"), "new");
    write(mirror.in_source("z"), "new");
    write(mirror.in_replica("a/file"), "a folder in the replica");
    write(mirror.in_replica("b"), "a file in the replica");
    write(mirror.in_replica("c/file"), "there already");
    write(mirror.in_replica("stray"), "to be deleted");
    settle();
    // Too much of the replica would go for a first run that is not told so.
    let summary = mirror.summary(&["--max-delete", "off"]);
    assert_eq!(summary["result"], "ok", "{summary}");
    mirror.assert_in_step();
    witness(&mirror.source, &mirror.replica, "after adopting");
}

#[test]
fn a_folder_that_is_to_be_closed_is_closed_before_new_content_comes_into_it() {
    if !common::inject::possible() || !is_root() {
        return;
    }
    let mirror = Mirror::new();
    write(mirror.in_source("private/secret"), "secret");
    chmod(mirror.in_source("private"), 0o700);
    mkdir(mirror.in_replica("private"));
    chmod(mirror.in_replica("private"), 0o777);
    let trace = mirror.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=fchmod,chmod,renameat2", "-o"]).arg(&trace).arg(mirror.program_path());
    command.arg("--once").args(mirror.roots());
    mirror.isolate(&mut command);
    assert!(command.status().unwrap().success());
    let trace = fs::read_to_string(trace).unwrap();
    let place = |what: &str| trace.lines().position(|line| line.contains(what)).expect(what);
    assert!(place("0700") < place("\"secret\""), "{trace}");
    mirror.assert_in_step();
}

#[test]
fn a_first_run_that_is_killed_goes_on_where_it_was() {
    let mirror = Mirror::new();
    many(&mirror, 100, 100);
    let run = common::program::start(mirror.once(&[]));
    common::program::wait_until("something is there", || {
        fs::read_dir(&mirror.replica).is_ok_and(|found| found.count() > 40)
    });
    run.signal(rustix::process::Signal::KILL);
    run.wait();
    let there = mirror.rows().len();
    assert!(there > 100, "rows are written as it goes: {there}");
    let summary = mirror.summary(&[]);
    let copied = summary["copy"].as_u64().unwrap();
    assert!(copied > 0 && copied < 10_000, "{summary}");
    mirror.assert_in_step();
    remove(mirror.in_source("00000"));
    mirror.sync();
}
