//! Files that hold what they should and need other times or permissions only: mended where they are, whatever else
//! is to be done, and whatever stops the run.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::start;
use common::tree::{Tree, chmod, inode, mtime, remove, set_attribute, set_mtime, write};
use common::{Mirror, is_root, settle, skip};
use rusqlite::types::Value;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const FILES: i64 = 2000;

/// So many that the walks, which are some thousand files ahead, hear of it that most have changed, and leave those that
/// come then to whoever opens them.
const VERY_MANY: i64 = 16_000;

fn path(number: i64) -> String {
    format!("folder{:02}/file{number:04}", number % 40)
}

/// A mirror of so many small files, past the clock tick.
fn mirrored(files: i64) -> Mirror {
    let mirror = Mirror::new();
    for number in 0..files {
        write(mirror.in_source(path(number)), format!("the content of file {number}"));
    }
    settle();
    mirror.sync();
    mirror
}

fn touch_all(mirror: &Mirror, files: i64, version: i64) {
    for number in 0..files {
        set_mtime(mirror.in_source(path(number)), 1_000_000 * version + number, 7);
    }
    settle();
}

/// The counts of a summary that say what was done.
fn counts(summary: &serde_json::Value) -> Vec<(&'static str, u64)> {
    ["create", "copy", "move", "link", "metadata", "delete", "problems"]
        .map(|count| (count, summary[count].as_u64().unwrap()))
        .to_vec()
}

/// Touches all files, changes some of them otherwise, and looks at what one run makes of that.
#[track_caller]
fn check_that_each_is_mended_once(files: i64) {
    let mirror = mirrored(files);
    touch_all(&mirror, files, 1);
    for number in 0..files {
        let path = mirror.in_source(path(number));
        match number % 100 {
            // Mended, with other permissions as well.
            10 => chmod(&path, 0o400 + u32::try_from(number % 8).unwrap()),
            // Other bytes of the same size are copied, and so is what is new.
            20 => write(&path, format!("the CONTENT of file {number}")),
            30 => write(path.with_extension("new"), "new"),
            40 => remove(&path),
            // What has several names is mended once.
            50 => fs::hard_link(&path, path.with_extension("name")).unwrap(),
            // Attributes are brought over with the rest.
            60 => set_attribute(&path, "user.colour", "red"),
            70 => fs::rename(&path, path.with_extension("renamed")).unwrap(),
            80 if is_root() => std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap(),
            90 => write(&path, vec![b'x'; 2 << 20]),
            _ => {}
        }
    }
    settle();
    let mended: Vec<String> = (0..files)
        .filter(|number| number % 10 != 0 || [10, 30].contains(&(number % 100)))
        .map(path)
        .collect();
    let before: Vec<u64> = mended.iter().map(|path| inode(mirror.in_replica(path))).collect();
    let preview = mirror.summary(&["--dry-run"]);
    let summary = mirror.summary(&[]);
    assert_eq!(counts(&preview), counts(&summary));
    let each = u64::try_from(files / 100).unwrap();
    assert_eq!(
        counts(&summary),
        [
            ("create", 0),
            ("copy", 3 * each),
            ("move", each),
            ("link", each),
            ("metadata", 96 * each),
            ("delete", each),
            ("problems", 0)
        ]
    );
    mirror.assert_in_step();
    let after: Vec<u64> = mended.iter().map(|path| inode(mirror.in_replica(path))).collect();
    assert!(before == after, "a file was written anew that held what it should");
    let log = mirror.log();
    let told: BTreeSet<&str> =
        log.lines().filter(|line| line.contains("metadata")).flat_map(str::split_whitespace).collect();
    assert!(mended.iter().all(|path| told.contains(path.as_str())), "the log names each");
    mirror.assert_idle();
}

#[test]
fn each_file_is_mended_once_beside_everything_else_that_changed() {
    check_that_each_is_mended_once(FILES);
}

#[test]
fn each_of_very_many_files_is_mended_once_beside_everything_else_that_changed() {
    check_that_each_is_mended_once(VERY_MANY);
}

/// Stops a run over touched files after each of these times, in milliseconds, by this signal.
#[track_caller]
fn check_that_all_are_whole(files: i64, stops: impl Iterator<Item = (u64, Signal)>) {
    let mirror = mirrored(files);
    let names = Tree::of(&mirror.replica).names();
    for (version, (after, signal)) in (1..).zip(stops) {
        touch_all(&mirror, files, version);
        let running = start(mirror.once(&[]));
        sleep(Duration::from_millis(after));
        running.signal(signal);
        running.wait();
        assert_eq!(Tree::of(&mirror.replica).names(), names);
        let mut mended = 0;
        for number in 0..files {
            let replica = mirror.in_replica(path(number));
            assert_eq!(fs::read(&replica).unwrap(), format!("the content of file {number}").into_bytes());
            let (seconds, _) = mtime(&replica);
            let is_known =
                version == 1 || [version - 1, version].map(|v| 1_000_000 * v + number).contains(&seconds);
            assert!(is_known, "{} has the time {seconds}", replica.display());
            mended += usize::from(seconds == 1_000_000 * version + number);
        }
        if signal == Signal::TERM {
            let times = 1_000_000 * version..1_000_000 * (version + 1);
            let recorded = |row: &Vec<Value>| matches!(row[4], Value::Integer(time) if times.contains(&time));
            let rows = mirror.rows().iter().filter(|row| recorded(row)).count();
            assert_eq!(rows, mended, "who is asked to stop records what was done");
        }
        mirror.sync();
        mirror.assert_idle();
    }
}

#[test]
fn a_run_that_is_killed_while_it_mends_leaves_every_file_whole_and_with_one_of_two_times() {
    let signal = |number: u64| if number.is_multiple_of(3) { Signal::TERM } else { Signal::KILL };
    check_that_all_are_whole(FILES, (1..=12).map(|number| (number * 4, signal(number))));
}

#[test]
fn a_run_that_is_killed_while_it_mends_very_many_leaves_them_whole_as_well() {
    let stops = [
        (150, Signal::KILL),
        (200, Signal::TERM),
        (250, Signal::TERM),
        (300, Signal::KILL),
        (350, Signal::TERM),
    ];
    check_that_all_are_whole(VERY_MANY, stops.into_iter());
}

#[test]
fn a_file_that_cannot_be_mended_is_a_problem_of_that_file_only() {
    if !is_root() {
        return skip("only root makes a file immutable: not shown what a file that cannot be mended does");
    }
    let mirror = mirrored(FILES);
    let held = mirror.in_replica(path(77));
    let change = |flag: &str| Command::new("chattr").arg(flag).arg(&held).status();
    if !change("+i").is_ok_and(|status| status.success()) {
        return skip("no file can be made immutable here: not shown what a file that cannot be mended does");
    }
    touch_all(&mirror, FILES, 1);
    let run = mirror.run(&["--json"]).expect(3);
    change("-i").unwrap();
    assert!(run.stderr.contains(&path(77)), "{}", run.stderr);
    let summary = run.summary();
    assert_eq!((&summary["metadata"], &summary["problems"]), (&(FILES - 1).into(), &1.into()));
    assert_eq!(mirror.summary(&[])["metadata"], 1);
    mirror.assert_in_step();
    mirror.assert_idle();
}
