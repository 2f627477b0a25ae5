//! Limits of the process and of what it writes to: descriptors, file size, memory, inodes, its log,
//! its manifest, its standard output.

#![expect(clippy::print_stderr, clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::disk::{Mounted, mount};
use common::program::{Output, start};
use common::tree::{Tree, chmod, mkdir, remove, stamps, write};
use common::versions::{Allowed, is_temporary, plant};
use common::{Mirror, claims, settle};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The shell runs this before the program takes its place, or with the program's call in it as `"$@"`.
fn by_shell(mirror: &Mirror, script: &str, more: &[&str]) -> Output {
    let program = mirror.once(more);
    let mut command = Command::new("bash");
    command.args(["-c", script, "sh"]).arg(program.get_program()).args(program.get_args());
    mirror.isolate(&mut command);
    start(command).wait_for(Duration::from_secs(60)).0
}

/// A mirror in step whose source went on to its next version.
fn with_an_update() -> (Mirror, Allowed) {
    let mirror = Mirror::new();
    plant(&mirror.source, 1);
    let old = Tree::of(&mirror.source);
    mirror.sync();
    plant(&mirror.source, 2);
    settle();
    let allowed = Allowed::between(&old, &Tree::of(&mirror.source));
    (mirror, allowed)
}

/// Fails where a run under a limit left anything torn, or the next run does not put it right.
#[track_caller]
fn check(mirror: &Mirror, allowed: &Allowed, output: &Output, what: &str) {
    assert!(!output.stderr.contains("panicked"), "{what}: {output:?}");
    allowed.check(&mirror.replica, what);
    claims::check(mirror, what);
    if output.code == 0 {
        mirror.assert_in_step();
    } else {
        assert!(!output.stderr.is_empty(), "{what}: code {} without a word", output.code);
    }
    mirror.sync();
}

#[test]
fn few_descriptors_are_enough_or_a_clear_error() {
    for limit in [8, 12, 16, 24] {
        let (mirror, allowed) = with_an_update();
        let run = by_shell(&mirror, &format!("ulimit -n {limit}; exec \"$@\""), &[]);
        let what = format!("{limit} descriptors");
        assert!([0, 1, 2, 3, 5, 127].contains(&run.code), "{what}: {run:?}");
        check(&mirror, &allowed, &run, &what);
    }
    let (mirror, _) = with_an_update();
    by_shell(&mirror, "ulimit -n 64; exec \"$@\"", &["--max-workers", "8"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn a_file_beyond_the_size_limit_is_a_problem_of_that_file_only() {
    let mirror = Mirror::new();
    for (name, size) in [("a-large", 3 << 20), ("b-small", 100), ("c-large", 2 << 20), ("d-small", 9000)] {
        write(mirror.in_source(name), vec![b'x'; size]);
    }
    // In KiB; the large ones end in the middle of a write.
    let run = by_shell(&mirror, "ulimit -f 1500; exec \"$@\"", &[]).expect(3);
    let run = run.says("a-large").says("c-large").says("File too large");
    assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
    let names = Tree::of(&mirror.replica).names();
    assert_eq!(names, ["", "b-small", "d-small"].map(std::path::PathBuf::from));
    mirror.sync();
}

#[test]
fn a_manifest_beyond_the_size_limit_ends_the_run_with_a_word() {
    let (mirror, allowed) = with_an_update();
    let run = by_shell(&mirror, "ulimit -f 8; exec \"$@\"", &[]).expect(1).says("the manifest");
    check(&mirror, &allowed, &run, "a limit of 8 KiB");
}

#[test]
fn lack_of_memory_is_a_clear_end_and_never_corruption() {
    let mut ended = BTreeMap::new();
    for mebibytes in [20, 40, 80, 120, 220, 400] {
        let (mirror, allowed) = with_an_update();
        let script = format!("ulimit -v {}; exec \"$@\"", mebibytes * 1024);
        let run = by_shell(&mirror, &script, &["--max-workers", "4"]);
        let what = format!("{mebibytes} MiB");
        // 134: an allocation that failed ends the program at once, with a message of its own.
        assert!([0, 1, 2, 3, 126, 127, 134, 139].contains(&run.code), "{what}: {run:?}");
        *ended.entry(run.code).or_insert(0) += 1;
        // 139: there was not even room to load the program (the one of the tests is large).
        if run.code != 139 || mebibytes > 60 {
            check(&mirror, &allowed, &run, &what);
        }
    }
    assert!(ended.contains_key(&0) && ended.len() > 1, "nothing was too little or nothing enough: {ended:?}");
}

#[test]
fn without_inodes_what_fits_is_there_and_one_message_says_the_rest() {
    let mut mirror = Mirror::new();
    let disk = mirror.path("disk");
    let Some(_disk) = mount(&["-t", "tmpfs", "-o", "nr_inodes=20", "none"], &disk) else { return };
    mirror.replica = disk.join("replica");
    for number in 0..40 {
        write(mirror.in_source(format!("{number:02}")), "small");
    }
    let run = mirror.run(&[]).expect(3).says("no room left");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let names = Tree::of(&mirror.replica).names();
    assert!(names.len() > 10 && !names.iter().any(|name| is_temporary(name)), "{names:?}");
}

#[test]
fn many_large_files_that_find_no_room_are_one_message() {
    let mut mirror = Mirror::new();
    let disk = mirror.path("disk");
    let Some(_disk) = mount(&["-t", "tmpfs", "-o", "size=1m", "none"], &disk) else { return };
    mirror.replica = disk.join("replica");
    for number in 0..30 {
        write(mirror.in_source(format!("large-{number:02}")), vec![1; (1 << 20) + 500]);
    }
    write(mirror.in_source("small"), "small");
    let run = mirror.run(&[]).expect(3).says("30 entries were not brought over");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert_eq!(fs::read(mirror.in_replica("small")).unwrap(), b"small");
    assert_eq!(fs::read_dir(&mirror.replica).unwrap().count(), 1);
}

#[test]
fn the_mirror_is_made_whoever_listens() {
    for script in [
        "exec \"$@\" >&-",
        "exec \"$@\" >/dev/full",
        "set -o pipefail; \"$@\" | true",
        "exec \"$@\" >/dev/full 2>&1",
        "exec \"$@\" >&- 2>&- <&-",
    ] {
        for more in [&[][..], &["--json"], &["-v"]] {
            let mirror = Mirror::new();
            plant(&mirror.source, 1);
            let run = by_shell(&mirror, script, more);
            assert_eq!(run.code, 0, "{script} {more:?}: {run:?}");
            mirror.assert_in_step();
        }
    }
}

/// A folder of one's own on a file system that has no room.
fn full_disk(mirror: &Mirror, name: &str, size: &str) -> Option<Mounted> {
    let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "none"], &mirror.path(name))?;
    chmod(&mounted.0, 0o700);
    let filler = fs::File::create(mounted.0.join("filler")).unwrap().write_all(&vec![0; 10 << 20]);
    assert!(filler.is_err(), "it has room for the filler");
    Some(mounted)
}

#[test]
fn a_log_that_cannot_be_written_is_said_once_and_the_mirror_is_made() {
    let mirror = Mirror::new();
    plant(&mirror.source, 1);
    let Some(_disk) = full_disk(&mirror, "full", "64k") else { return };
    let run = mirror.run(&["--log-file", "full/log"]).expect(0).says("cannot write to the log");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    mirror.assert_in_step();
}

#[test]
fn a_manifest_that_finds_no_room_ends_the_run_before_it_does_anything() {
    let mut mirror = Mirror::new();
    plant(&mirror.source, 1);
    let Some(disk) = full_disk(&mirror, "full", "64k") else { return };
    mirror.state = disk.0.clone();
    let source = stamps(&mirror.source);
    mirror.run(&["--log-file", "home/log"]).expect(1).says("full");
    assert!(!mirror.replica.exists(), "nothing was done that nobody could remember");
    assert!(stamps(&mirror.source) == source);
    remove(disk.0.join("filler"));
}

#[test]
fn a_manifest_that_grows_beyond_its_disk_stops_the_run_and_what_was_done_counts() {
    let mut mirror = Mirror::new();
    for number in 0..1500 {
        write(mirror.in_source(format!("folder{}/{}{number}", number % 7, "n".repeat(150))), "content");
    }
    let Some(disk) = mount(&["-t", "tmpfs", "-o", "size=600k", "none"], &mirror.path("small")) else {
        return;
    };
    chmod(&disk.0, 0o700);
    mirror.state = disk.0.clone();
    let log = ["--log-file", "home/log"];
    let run = mirror.run(&log).expect(1).says("cannot write to the manifest");
    assert!(!run.stderr.contains("panicked"), "{run:?}");
    let done = Tree::of(&mirror.replica).names().len();
    assert!(done > 50, "{done}");
    let at: &Path = &disk.0;
    assert!(common::disk::does("mount", &["-o", "remount,size=20m", at.to_str().unwrap()]));
    let summary = mirror.summary(&log);
    assert_eq!(summary["exit_code"], 0, "{summary}");
    assert!(summary["copy"].as_u64().unwrap() < 1500, "{summary}");
    mirror.assert_in_step();
    eprintln!("{done} were there when the manifest's disk was full");
    mkdir(&mirror.state);
}

#[test]
fn a_log_that_cannot_be_rolled_is_no_end_of_the_run() {
    for script in ["exec \"$@\"", "exec \"$@\" >/dev/full", "exec \"$@\" >&-"] {
        let mirror = Mirror::new();
        plant(&mirror.source, 1);
        mirror.write_config("home/twinfold/config.toml", "[log]\nmax_size = \"100B\"\nkeep = 1\n");
        write(mirror.path("home/log"), "2026-12-01T02:13:37.000+00:00 INFO  told\n".repeat(100));
        chmod(mirror.path("home/log"), 0o600);
        // In the way of the rolled log's name, where nothing can be renamed to.
        write(mirror.path("home/log.1/inside"), "");
        let run = by_shell(&mirror, script, &["--log-file", "home/log"]);
        assert_eq!(run.code, 0, "{script}: {run:?}");
        assert!(!run.stderr.contains("panicked") && run.stderr.contains("the log"), "{script}: {run:?}");
        mirror.assert_in_step();
    }
}
