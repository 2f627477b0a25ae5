//! Walks by one and by several threads, slow ones, broken ones, and of trees that change meanwhile.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

use super::*;
use crate::cancel::Cancel;
use crate::model::{EntryPath, Kind, Seen};
use crate::store::memory::MountMemory;
use crate::store::task::Task;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::Duration;

type Step<'a> = Option<&'a (dyn Fn(&Task) + Sync)>;

/// Walks `root` and gives `body` its entries, with something happening before each step. The file system
/// tells kinds (or not: `untold`), and files are looked at (or not: `leaves_files`).
fn walk_of<T>(
    root: &Path,
    threads: usize,
    cancel: &Cancel,
    before_step: Step<'_>,
    (untold, leaves_files): (bool, bool),
    body: impl FnOnce(&mut Walk<'_, '_>) -> T,
) -> T {
    let root = File::open(root).unwrap();
    let memory = MountMemory::default();
    let leaves = AtomicBool::new(leaves_files);
    let terms = Terms { before_step, untold, ..Terms::of_a_source(root.as_fd(), &memory, cancel, &leaves) };
    walk(&terms, threads, body)
}

fn walk_with<T>(
    root: &Path,
    threads: usize,
    cancel: &Cancel,
    before_step: Step<'_>,
    body: impl FnOnce(&mut Walk<'_, '_>) -> T,
) -> T {
    walk_of(root, threads, cancel, before_step, (false, false), body)
}

/// The same where listings tell no kinds.
fn all_untold(root: &Path, threads: usize, before_step: Step<'_>) -> Vec<Entry> {
    walk_of(root, threads, &Cancel::new(), before_step, (true, false), |walk| walk.collect())
}

fn all(root: &Path, threads: usize, before_step: Step<'_>) -> Vec<Entry> {
    walk_with(root, threads, &Cancel::new(), before_step, |walk| walk.collect())
}

/// What is there, found in the simplest way: path, inode and kind.
fn naive(folder: &Path, prefix: &[u8], found: &mut BTreeSet<(Vec<u8>, u64, bool)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let stat = fs::symlink_metadata(entry.path()).unwrap();
        let mut path = [prefix, entry.file_name().as_bytes()].concat();
        if stat.is_dir() {
            path.push(b'/');
            naive(&entry.path(), &path, found);
        }
        found.insert((path, stat.ino(), stat.is_dir()));
    }
}

fn expected(root: &Path) -> Vec<(Vec<u8>, u64, bool)> {
    let mut found = BTreeSet::from([(Vec::new(), fs::metadata(root).unwrap().ino(), true)]);
    naive(root, b"", &mut found);
    found.into_iter().collect()
}

fn brief(entries: &[Entry]) -> Vec<(Vec<u8>, u64, bool)> {
    let brief = |entry: &Entry| {
        let stat = entry.stat().unwrap_or_else(|| panic!("{entry:?}"));
        (entry.path.as_bytes().to_vec(), stat.fingerprint.inode, stat.kind() == Kind::Folder)
    };
    entries.iter().map(brief).collect()
}

fn make(root: &Path, paths: &BTreeSet<String>) {
    for path in paths {
        let path = root.join(path);
        // A name that is a file already stays one.
        let _ = fs::create_dir_all(path.parent().unwrap());
        if path.to_str().unwrap().ends_with('l') {
            let _ = symlink("a", &path);
        } else if path.to_str().unwrap().ends_with('d') {
            let _ = fs::create_dir(&path);
        } else {
            let _ = File::create(&path);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn many_threads_find_what_one_finds_in_the_same_order_however_slow_each_is(
        paths in prop::collection::btree_set("[a-d.]{1,2}[0-9ld](/[a-d]{1,2}[0-9ld]){0,4}", 0..120),
        seed in any::<u64>(),
        threads in 1_usize..9,
    ) {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &paths);
        let counter = AtomicU64::new(seed);
        let jitter = |_: &Task| {
            let number = counter.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            sleep(Duration::from_micros((number >> 32) % 600));
        };
        prop_assert_eq!(brief(&all(dir.path(), threads, Some(&jitter))), expected(dir.path()));
        prop_assert_eq!(all(dir.path(), threads, None), all(dir.path(), 1, None));
        prop_assert_eq!(brief(&all_untold(dir.path(), threads, Some(&jitter))), expected(dir.path()));
    }
}

#[test]
fn a_folder_of_many_names_is_looked_at_by_all_threads_and_stays_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..3000 {
        File::create(dir.path().join(format!("{number:05}"))).unwrap();
        if number % 500 == 250 {
            fs::create_dir(dir.path().join(format!("{number:05}0"))).unwrap();
        }
    }
    let threads = std::sync::Mutex::new(BTreeSet::new());
    let slow = |task: &Task| {
        if matches!(task, Task::Names(..)) {
            threads.lock().unwrap().insert(format!("{:?}", std::thread::current().id()));
            sleep(Duration::from_millis(1));
        }
    };
    assert_eq!(brief(&all(dir.path(), 4, Some(&slow))), expected(dir.path()));
    assert_eq!(threads.into_inner().unwrap().len(), 4);
}

#[test]
fn files_are_left_to_others_only_where_the_listing_says_that_they_are_files() {
    let dir = tempfile::tempdir().unwrap();
    make(
        dir.path(),
        &(0..90).map(|number| format!("d{}/{number:02}{}", number % 4, ["", "d", "l"][number % 3])).collect(),
    );
    let walked = |threads, untold| -> Vec<Entry> {
        let cancel = Cancel::new();
        walk_of(dir.path(), threads, &cancel, None, (untold, true), |walk| walk.collect())
    };
    let looked = all(dir.path(), 1, None);
    for threads in [1, 4] {
        assert_eq!(walked(threads, true), looked, "where no kinds are told, all are looked at");
        let listed = walked(threads, false);
        assert_eq!(listed.len(), looked.len());
        for (listed, looked) in listed.iter().zip(&looked) {
            assert_eq!(listed.path, looked.path);
            let is_file = looked.stat().unwrap().kind() == Kind::File;
            assert_eq!(listed.seen, if is_file { Seen::Listed } else { looked.seen.clone() });
        }
    }
}

#[test]
fn kinds_that_the_file_system_does_not_tell_are_found_by_one_look_at_each_name() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &(0..700).map(|number| format!("{number:03}{}", ["", "d", ".x"][number % 3])).collect());
    for threads in [1, 4] {
        assert_eq!(brief(&all_untold(dir.path(), threads, None)), expected(dir.path()));
    }
    let gone = dir.path().join("000");
    let once = std::sync::Once::new();
    let before = |task: &Task| {
        if matches!(task, Task::Kinds(..)) {
            once.call_once(|| fs::remove_file(&gone).unwrap());
        }
        if matches!(task, Task::Names(..)) {
            // They were looked at: what becomes of them now does not show.
            let _ = fs::remove_file(dir.path().join("003"));
        }
    };
    let seen = brief(&all_untold(dir.path(), 1, Some(&before)));
    let has = |name: &str| seen.iter().any(|(path, ..)| path == name.as_bytes());
    assert_eq!((seen.len(), has("000"), has("003")), (700, false, true));
}

#[test]
fn a_folder_of_very_many_names_comes_out_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let number = |number: usize| format!("many/{number:04}");
    let names = (0..3000).map(|each| number(each) + if each % 300 == 7 { "d/in/it" } else { "" });
    make(dir.path(), &names.collect());
    const { assert!(3000 > 2 * crate::store::runs::RUN, "else it is sorted in memory") };
    for threads in [1, 4] {
        assert_eq!(brief(&all(dir.path(), threads, None)), expected(dir.path()), "{threads} threads");
        // Kinds must be known before anything is put aside, or there and then.
        assert_eq!(brief(&all_untold(dir.path(), threads, None)), expected(dir.path()), "{threads} threads");
    }
}

#[test]
fn a_walk_whose_names_cannot_be_read_back_says_so_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &(0..3000).map(|each| format!("many/{each:04}{}", "n".repeat(40))).collect());
    for threads in [1, 4] {
        let lose = |task: &Task| {
            if let Task::Merge(merging) = task {
                merging.lose_file();
            }
        };
        walk_with(dir.path(), threads, &Cancel::new(), Some(&lose), |walk| {
            let seen = walk.by_ref().count();
            assert!(seen < 3002, "{threads}: {seen}");
            assert!(walk.failure().is_some(), "{threads}: it looks like the end");
        });
    }
}

#[test]
fn helpers_are_only_so_far_ahead_of_whoever_takes_the_entries() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..12_000 {
        let folder = dir.path().join(format!("{:02}", number / 200));
        if number % 200 == 0 {
            fs::create_dir(&folder).unwrap();
        }
        File::create(folder.join(number.to_string())).unwrap();
    }
    walk_with(dir.path(), 4, &Cancel::new(), None, |walk| {
        for _ in 0..500 {
            walk.next().unwrap();
        }
        sleep(Duration::from_millis(300));
        // Each of three helpers may have been at something when it was enough.
        let ahead = walk.ahead.held();
        assert!(ahead < 9000, "{ahead} entries wait to be taken after 500");
        assert_eq!(walk.count(), 12_000 + 60 + 1 - 500);
    });
}

#[test]
fn a_panic_of_a_helper_comes_out_and_hangs_nobody() {
    let (told, hear) = channel();
    std::thread::spawn(move || {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &(0..300).map(|number| format!("{number}d/{number}")).collect());
        for drained in [true, false] {
            let panicking = |_: &Task| {
                sleep(Duration::from_micros(300));
                let thread = std::thread::current();
                assert!(thread.name() != Some("look-ahead"), "the helper was told to panic");
            };
            let result = catch_unwind(AssertUnwindSafe(|| {
                walk_with(dir.path(), 3, &Cancel::new(), Some(&panicking), |walk| {
                    if drained {
                        walk.count();
                    } else {
                        // Enough for a helper to be there, whose panic nobody hears of before the end.
                        walk.take(20).count();
                        sleep(Duration::from_millis(50));
                    }
                });
            }));
            told.send(result.is_err()).unwrap();
        }
    });
    for _ in 0..2 {
        assert!(hear.recv_timeout(Duration::from_secs(20)).expect("it hangs"), "the panic was lost");
    }
}

#[test]
fn a_walk_that_is_cancelled_or_left_ends_with_all_its_helpers() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &(0..400).map(|number| format!("{number}d/{number}")).collect());
    let slow = |_: &Task| sleep(Duration::from_micros(200));
    for threads in [1, 4] {
        let cancel = Cancel::new();
        let seen = walk_with(dir.path(), threads, &cancel, Some(&slow), |walk| {
            walk.inspect(|entry| {
                if entry.path.as_bytes().starts_with(b"2") {
                    cancel.request();
                }
            })
            .count()
        });
        // What was made already may still come.
        assert!((2..801).contains(&seen), "{threads}: {seen}");
        let left = walk_with(dir.path(), threads, &Cancel::new(), Some(&slow), |walk| walk.take(30).count());
        assert_eq!(left, 30);
    }
}

/// What the walk says of a tree in which `change` happens when the names of its root have been listed.
fn changed_after_the_listing(root: &Path, change: impl Fn() + Sync) -> Vec<(String, Seen)> {
    let once = std::sync::Once::new();
    let before = |task: &Task| {
        if !matches!(task, Task::Root) {
            once.call_once(&change);
        }
    };
    let entries = all(root, 1, Some(&before));
    assert!(entries.is_sorted_by(|a, b| a.path < b.path), "{entries:?}");
    entries
        .into_iter()
        .map(|entry| (String::from_utf8_lossy(entry.path.as_bytes()).into(), entry.seen))
        .collect()
}

#[test]
fn what_another_kind_took_the_place_of_vanished_under_its_old_key_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    make(dir.path(), &["file", "file.x", "folded/in", "gone", "linked/in", "rest"].map(String::from).into());
    let seen = changed_after_the_listing(dir.path(), || {
        for name in ["file", "gone"] {
            fs::remove_file(at(name)).unwrap();
        }
        fs::create_dir(at("file")).unwrap();
        for name in ["folded", "linked"] {
            fs::rename(at(name), at(&format!("{name}-away"))).unwrap();
        }
        File::create(at("folded")).unwrap();
        symlink("linked-away", at("linked")).unwrap();
    });
    let vanished: Vec<&str> =
        seen.iter().filter(|(_, seen)| *seen == Seen::Vanished).map(|(path, _)| path.as_str()).collect();
    assert_eq!(vanished, ["file", "folded/", "linked/"]);
    let present: Vec<&str> = seen
        .iter()
        .filter(|(_, seen)| matches!(seen, Seen::Present(_)))
        .map(|(path, _)| path.as_str())
        .collect();
    // "gone" is.
    assert_eq!(present, ["", "file.x", "rest"]);
}

#[test]
fn what_is_left_of_a_folder_that_another_took_the_place_of_is_not_taken_for_gone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // Folders between the names, so that the walk comes back to their folder and opens it again.
    let names =
        (0..2000).map(|number| format!("many/{number:04}{}", if number % 50 == 7 { "d" } else { "" }));
    make(dir.path(), &names.collect());
    let swapped = std::sync::Once::new();
    let before = |task: &Task| {
        if let Task::Folders(_, range) = task
            && range.start > 100
        {
            swapped.call_once(|| {
                fs::rename(at("many"), at("moved")).unwrap();
                fs::create_dir(at("many")).unwrap();
            });
        }
    };
    let entries = all(dir.path(), 1, Some(&before));
    assert_eq!(entries.len(), 2 + 2000, "no name is left out");
    let vanished = entries.iter().filter(|entry| entry.seen == Seen::Vanished).count();
    assert!(vanished > 1000, "{vanished}");
    assert!(entries.is_sorted_by(|a, b| a.path < b.path));
    assert!(!entries.iter().any(|entry| entry.path == EntryPath::from("moved/")));
}

#[test]
fn a_thread_that_the_system_refuses_is_the_last_that_is_asked_for() {
    for (most, wanted, refused, started) in [
        (3, usize::MAX, 9, 3),
        (3, 1, 9, 1),
        (3, usize::MAX, 0, 0),
        // The one after it could be had again.
        (7, usize::MAX, 5, 5),
        (0, 1, 9, 0),
    ] {
        let mut helpers = Helpers { started: 0, spare: most };
        let mut asked = 0;
        let mut spawn = || {
            asked += 1;
            asked - 1 != refused
        };
        helpers.start(wanted, &mut spawn);
        assert_eq!(helpers.started, started);
        assert_eq!(helpers.are_none(), most == 0 || refused == 0, "{most} {refused}");
        let then = helpers.started + helpers.spare;
        helpers.start(usize::MAX, &mut spawn);
        assert_eq!((helpers.started, helpers.spare), (then, 0), "{most} {refused}");
        assert_eq!(asked, then + usize::from(refused < most), "{most} {refused}");
    }
}
