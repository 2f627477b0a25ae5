//! What changed on either side is seen and put right, with no more than that being done.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::tree::{chmod, inode, mkdir, mkfifo, mtime, remove, set_mtime, symlink, write};
use common::{Mirror, settle};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// A mirror in step, past the clock tick.
fn mirrored(files: &[(&str, &str)]) -> Mirror {
    let mirror = Mirror::new();
    for (path, content) in files {
        write(mirror.in_source(path), content);
    }
    settle();
    mirror.sync();
    mirror
}

#[test]
fn other_content_of_the_same_size_with_its_time_put_back_is_seen() {
    let mirror = mirrored(&[("file", "before"), ("other", "stays!")]);
    let (seconds, nanos) = mtime(mirror.in_source("file"));
    write(mirror.in_source("file"), "after!");
    set_mtime(mirror.in_source("file"), seconds, nanos);
    settle();
    assert_eq!(mirror.summary(&[])["copy"], 1);
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn a_write_in_the_same_tick_as_the_run_is_not_missed() {
    let mirror = Mirror::new();
    for round in 0..20 {
        write(mirror.in_source("file"), format!("{round:04}"));
        set_mtime(mirror.in_source("file"), 1_000_000_000, 0);
        mirror.sync();
    }
}

#[test]
fn touch_copies_nothing() {
    let mirror = mirrored(&[("file", "content"), ("large", &"x".repeat(2 << 20))]);
    let before = inode(mirror.in_replica("large"));
    for path in ["file", "large"] {
        set_mtime(mirror.in_source(path), 1_500_000_000, 123);
    }
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!(
        (&summary["copy"], &summary["metadata"], &summary["bytes"]),
        (&0.into(), &2.into(), &0.into())
    );
    assert_eq!(inode(mirror.in_replica("large")), before);
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn new_permissions_alone_write_no_content() {
    let mirror = mirrored(&[("d/file", "content")]);
    let before = inode(mirror.in_replica("d/file"));
    chmod(mirror.in_source("d/file"), 0o604);
    chmod(mirror.in_source("d"), 0o705);
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["metadata"]), (&0.into(), &2.into()));
    assert_eq!(inode(mirror.in_replica("d/file")), before);
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn a_time_that_goes_backwards_is_a_change() {
    let mirror = mirrored(&[("same", "content"), ("other", "older.")]);
    set_mtime(mirror.in_source("same"), 1, 1);
    write(mirror.in_source("other"), "newer.");
    set_mtime(mirror.in_source("other"), -5, 1);
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["metadata"]), (&1.into(), &1.into()));
    mirror.assert_in_step();
}

#[test]
fn another_file_moved_over_a_name_with_the_same_size_and_time_is_seen() {
    let mirror = mirrored(&[("a", "first!"), ("b", "second")]);
    for path in ["a", "b"] {
        set_mtime(mirror.in_source(path), 1_400_000_000, 9);
    }
    settle();
    mirror.sync();
    fs::rename(mirror.in_source("b"), mirror.in_source("a")).unwrap();
    mirror.sync();
    assert_eq!(fs::read(mirror.in_replica("a")).unwrap(), b"second");
    assert!(!mirror.in_replica("b").exists());
}

#[test]
fn an_editors_atomic_save_is_brought_over() {
    let mirror = mirrored(&[("notes.txt", "draft"), ("notes", "x")]);
    write(mirror.in_source(".notes.txt.swp"), "final");
    fs::rename(mirror.in_source("notes.txt"), mirror.in_source("notes.txt~")).unwrap();
    fs::rename(mirror.in_source(".notes.txt.swp"), mirror.in_source("notes.txt")).unwrap();
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn files_grow_shrink_and_become_empty() {
    let mirror = mirrored(&[("grows", ""), ("shrinks", "much content"), ("empties", "x")]);
    write(mirror.in_source("grows"), "now some");
    write(mirror.in_source("shrinks"), "m");
    write(mirror.in_source("empties"), "");
    mirror.sync();
}

#[test]
fn a_change_through_another_hard_link_reaches_both_names() {
    let mirror = mirrored(&[("one", "before")]);
    fs::hard_link(mirror.in_source("one"), mirror.in_source("two")).unwrap();
    mirror.sync();
    write(mirror.in_source("two"), "after!");
    mirror.sync();
    assert_eq!(fs::read(mirror.in_replica("one")).unwrap(), b"after!");
}

#[test]
fn a_link_that_leads_elsewhere_is_replaced() {
    let mirror = mirrored(&[("a", "a"), ("b", "b")]);
    symlink("a", mirror.in_source("link"));
    mirror.sync();
    remove(mirror.in_source("link"));
    symlink("b", mirror.in_source("link"));
    mirror.sync();
    remove(mirror.in_replica("link"));
    symlink("c", mirror.in_replica("link"));
    mirror.sync();
}

#[test]
fn whatever_was_done_to_the_replica_is_put_right() {
    let files = [("d/keep", "kept"), ("d/same", "before"), ("d/mode", "m"), ("kind", "file"), ("e/f", "f")];
    let mirror = mirrored(&files);
    let drift: [(&str, &dyn Fn()); 10] = [
        ("an extra file", &|| write(mirror.in_replica("d/extra"), "mine")),
        ("an extra tree", &|| write(mirror.in_replica("x/y/z"), "mine")),
        ("a missing file", &|| remove(mirror.in_replica("d/keep"))),
        ("a missing folder", &|| remove(mirror.in_replica("e"))),
        ("other content", &|| write(mirror.in_replica("d/same"), "longer than before")),
        ("other content of the same size and time", &|| {
            let (seconds, nanos) = mtime(mirror.in_replica("d/same"));
            write(mirror.in_replica("d/same"), "forged");
            set_mtime(mirror.in_replica("d/same"), seconds, nanos);
        }),
        ("other permissions", &|| {
            chmod(mirror.in_replica("d/mode"), 0o777);
            chmod(mirror.in_replica("d"), 0o700);
        }),
        ("other times", &|| {
            set_mtime(mirror.in_replica("d/mode"), 5, 5);
            set_mtime(mirror.in_replica("e"), 5, 5);
        }),
        ("a folder for a file", &|| {
            remove(mirror.in_replica("kind"));
            write(mirror.in_replica("kind/inside"), "");
        }),
        ("a pipe for a file and a file for a folder", &|| {
            remove(mirror.in_replica("kind"));
            mkfifo(mirror.in_replica("kind"));
            remove(mirror.in_replica("e"));
            write(mirror.in_replica("e"), "");
        }),
    ];
    for (what, harm) in drift {
        harm();
        settle();
        eprintln_on_failure(what, || {
            mirror.sync();
            mirror.assert_idle();
        });
    }
}

/// Names the case when `body` fails.
fn eprintln_on_failure(what: &str, body: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        panic!("{what}: {:?}", panic.downcast_ref::<String>());
    }
}

#[test]
fn an_emptied_replica_is_filled_again() {
    let mirror = Mirror::new();
    for number in 0..300 {
        write(mirror.in_source(format!("{}/{number}", number % 7)), number.to_string());
    }
    settle();
    mirror.sync();
    for entry in fs::read_dir(&mirror.replica).unwrap() {
        remove(entry.unwrap().path());
    }
    assert_eq!(mirror.summary(&[])["copy"], 300);
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn a_replica_that_is_right_already_is_adopted_without_copying() {
    let mirror = Mirror::new();
    for root in [&mirror.source, &mirror.replica] {
        for (path, content) in [("d/file", "content"), ("d/empty", ""), ("large", &"y".repeat(2 << 20))] {
            write(root.join(path), content);
            set_mtime(root.join(path), 1_234_567_890, 42);
        }
        mkdir(root.join("hollow"));
        symlink("d", root.join("link"));
    }
    // One whose time differs needs its time only, one whose bytes differ must be copied.
    write(mirror.in_source("wrong"), "source.");
    write(mirror.in_replica("wrong"), "replica");
    set_mtime(mirror.in_replica("d/file"), 1, 1);
    let kept = ["d/file", "d/empty", "large", "link"].map(|path| inode(mirror.in_replica(path)));
    settle();
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["delete"]), (&1.into(), &0.into()), "{summary}");
    assert_eq!(kept, ["d/file", "d/empty", "large", "link"].map(|path| inode(mirror.in_replica(path))));
    mirror.assert_in_step();
    mirror.assert_idle();
}

#[test]
fn a_foreign_hard_link_of_a_replica_file_is_left_as_it_is() {
    let mirror = mirrored(&[("content", "before"), ("mode", "stays")]);
    for path in ["content", "mode"] {
        fs::hard_link(mirror.in_replica(path), mirror.path(path)).unwrap();
    }
    settle();
    mirror.sync();
    let before = fs::metadata(mirror.path("mode")).unwrap();
    write(mirror.in_source("content"), "after!");
    chmod(mirror.in_source("mode"), 0o600 ^ (before.mode() & 0o077));
    set_mtime(mirror.in_source("mode"), 77, 7);
    mirror.sync();
    assert_eq!(fs::read(mirror.path("content")).unwrap(), b"before");
    let after = fs::metadata(mirror.path("mode")).unwrap();
    assert_eq!((after.mode(), after.mtime()), (before.mode(), before.mtime()));
}

#[test]
fn a_replica_folder_closed_by_somebody_is_opened_and_what_it_hid_is_put_right() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("d/file"), "right");
    mirror.give_away(&mirror.source);
    mirror.sync();
    write(mirror.in_replica("d/file"), "wrong!");
    write(mirror.in_replica("d/extra"), "extra");
    mirror.give_away(&mirror.replica);
    chmod(mirror.in_replica("d"), 0);
    // A run that ends with 0 says that both trees are identical.
    let first = mirror.run(&[]);
    if first.code == 0 {
        mirror.assert_in_step();
    } else {
        assert_eq!(first.code, 3, "{first:?}");
        mirror.sync();
    }
}

#[test]
fn the_source_is_never_touched() {
    let mirror = Mirror::new();
    for path in ["a", "d/b", "d/c"] {
        write(mirror.in_source(path), path);
    }
    symlink("a", mirror.in_source("link"));
    let before = common::tree::stamps(&mirror.source);
    mirror.sync();
    write(mirror.in_replica("d/b"), "drift");
    remove(mirror.in_replica("d/c"));
    mirror.sync();
    assert!(common::tree::stamps(&mirror.source) == before);
}
