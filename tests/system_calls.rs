//! What one small file costs in system calls, so that nobody adds one unawares.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what cannot be prepared fails the test")]

mod common;

use common::inject;
use common::program::start;
use common::tree::{remove, set_mtime, write};
use common::{Mirror, settle};
use std::collections::BTreeMap;
use std::fs;

/// The calls of one run, by name.
fn calls(mirror: &Mirror) -> BTreeMap<String, f64> {
    let output = mirror.path("trace");
    start(inject::traced(mirror, &[], output.to_str().unwrap(), &["trace=%file,%desc"])).wait().expect(0);
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(output).unwrap().lines() {
        let Some(rest) = line.split_whitespace().nth(1) else { continue };
        // Where its assertions are on, the standard library asks of each descriptor whether it is open before
        // it closes it.
        if let Some((call, _)) = rest.split_once('(').filter(|(call, _)| *call != "fcntl") {
            *calls.entry(call.to_owned()).or_default() += 1.0;
        }
    }
    calls
}

const FEW: u32 = 100;
const MANY: u32 = 300;

/// The calls for each file of a run over many, beyond those that a run over a few makes anyway.
fn calls_for_each(prepare: impl Fn(&Mirror, u32)) -> BTreeMap<String, f64> {
    let of = |files: u32| {
        let mirror = Mirror::new();
        mirror.write_config("home/twinfold/config.toml", "max_workers = 1\n");
        prepare(&mirror, files);
        let calls = calls(&mirror);
        mirror.assert_in_step();
        calls
    };
    let (few, mut many) = (of(FEW), of(MANY));
    for (call, count) in &mut many {
        *count = (*count - few.get(call).copied().unwrap_or(0.0)) / f64::from(MANY - FEW);
    }
    many
}

/// Fails where a call comes more often than it is listed for; what comes once for many files (a
/// batch's, the manifest's) is a small part of a call for each.
#[track_caller]
fn assert_within(calls: &BTreeMap<String, f64>, listed: &[(&str, f64)]) {
    for (call, count) in calls {
        let most = listed.iter().find(|(name, _)| name == call).map_or(0.0, |(_, most)| *most);
        assert!(
            *count <= most + 0.3,
            "{call}: {count:.2} for each file, {most} are listed; all: {calls:.2?}"
        );
    }
    eprintln!("{calls:.2?}");
}

fn fill(mirror: &Mirror, files: u32) {
    for number in 0..files {
        write(mirror.in_source(format!("file-{number:03}")), number.to_string().repeat(700));
    }
    settle();
}

/// What is read anyway is looked at by whoever opens it: on each side an open, a look at the handle, a read, a close;
/// an adoption asks for attributes besides.
#[test]
fn a_file_that_is_verified_is_looked_up_once_on_each_side() {
    if !inject::possible() {
        return;
    }
    let listed = [("openat", 2.0), ("statx", 2.0), ("read", 2.0), ("close", 2.0), ("flistxattr", 2.0)];
    let adopt = |mirror: &Mirror, files: u32| {
        fill(mirror, files);
        mirror.sync();
        remove(mirror.manifest());
    };
    assert_within(&calls_for_each(adopt), &listed);
}

#[test]
fn a_new_small_file_costs_no_more_than_the_calls_that_keep_the_promises() {
    if !inject::possible() {
        return;
    }
    let calls = calls_for_each(fill);
    let listed = [
        // The walk's look.
        ("statx", 1.0),
        // The source; the temporary.
        ("openat", 2.0),
        // The source as opened and after it was read; the temporary's owner and group.
        ("fstat", 3.0),
        ("read", 1.0),
        ("write", 1.0),
        // The source's attributes.
        ("flistxattr", 1.0),
        ("fchmod", 1.0),
        ("utimensat", 1.0),
        ("close", 2.0),
        ("renameat2", 1.0),
        // What is so under the final name: the row.
        ("newfstatat", 1.0),
    ];
    assert_within(&calls, &listed);
}

#[test]
fn a_small_file_of_which_only_the_time_changed_is_read_on_both_sides_and_mended_in_two_calls() {
    if !inject::possible() {
        return;
    }
    let calls = calls_for_each(|mirror, files| {
        fill(mirror, files);
        mirror.sync();
        for number in 0..files {
            set_mtime(mirror.in_source(format!("file-{number:03}")), 1_000_000 + i64::from(number), 5);
        }
        settle();
    });
    let listed = [
        ("statx", 2.0),
        ("openat", 2.0),
        // Both sides as opened; the replica's once more after it is mended, through the handle that it was read by.
        ("fstat", 3.0),
        ("read", 2.0),
        ("flistxattr", 2.0),
        ("utimensat", 1.0),
        ("close", 2.0),
    ];
    assert_within(&calls, &listed);
}

/// The walks look at files until they hear that most of them have changed; those that come after that are looked at
/// through the handles that they are read by.
#[test]
fn where_most_files_changed_they_are_looked_up_once_on_each_side() {
    if !inject::possible() {
        return;
    }
    let (mirror, files) = (Mirror::new(), 16_000);
    let path = |number: u32| mirror.in_source(format!("folder{:02}/{number}", number % 50));
    (0..files).for_each(|number| write(path(number), number.to_string()));
    settle();
    mirror.sync();
    (0..files).for_each(|number| set_mtime(path(number), 1_000_000 + i64::from(number), 5));
    settle();
    let calls = calls(&mirror);
    let for_each = |call: &str| calls[call] / f64::from(files);
    assert!(for_each("fstat") < 2.7, "{calls:.2?}");
    assert!((1.9..2.3).contains(&for_each("statx")), "{calls:.2?}");
    assert!((1.9..2.3).contains(&for_each("openat")), "{calls:.2?}");
    eprintln!("{calls:.2?}");
    mirror.assert_in_step();
    mirror.assert_idle();
}

/// Many folders are open at a time in a batch whose files lie scattered. The kernel makes whoever opens the 64th, 128th, ... wait if there
/// are other threads by then.
#[test]
fn the_table_of_descriptors_is_large_before_there_is_a_second_thread() {
    if !inject::possible() {
        return;
    }
    let mirror = Mirror::new();
    fill(&mirror, 1);
    let output = mirror.path("trace");
    start(inject::traced(&mirror, &[], output.to_str().unwrap(), &["trace=fcntl,clone,clone3"]))
        .wait()
        .expect(0);
    let trace = fs::read_to_string(output).unwrap();
    let threads = trace.find("clone").unwrap();
    let highest = trace[..threads].lines().filter(|line| line.contains("F_DUPFD")).find_map(|line| {
        let (_, number) = line.rsplit_once("= ")?;
        number.parse::<u32>().ok()
    });
    assert!(highest.is_some_and(|highest| highest >= 512), "{trace}");
}
