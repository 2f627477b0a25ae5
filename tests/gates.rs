//! Never a mass delete by accident, and never one because something could not be read.

mod common;

use common::tree::{chmod, mkdir, remove, write};
use common::{Mirror, settle};

/// A mirror of so many files, in step.
fn of_files(count: usize) -> Mirror {
    let mirror = Mirror::new();
    fill(&mirror, 0..count);
    settle();
    mirror.sync();
    mirror
}

fn fill(mirror: &Mirror, numbers: std::ops::Range<usize>) {
    for number in numbers {
        write(mirror.in_source(format!("{number:04}")), number.to_string());
    }
}

fn empty(mirror: &Mirror, numbers: std::ops::Range<usize>) {
    for number in numbers {
        remove(mirror.in_source(format!("{number:04}")));
    }
}

fn files_in_replica(mirror: &Mirror) -> usize {
    std::fs::read_dir(&mirror.replica).map_or(0, Iterator::count)
}

#[test]
fn an_emptied_source_is_held_and_stays_held() {
    let mirror = of_files(5);
    empty(&mirror, 0..5);
    chmod(&mirror.source, 0o711);
    mirror.run(&[]).expect(4).says("held").says("empty");
    assert_eq!(files_in_replica(&mirror), 5);
    // The rest is done: here, the root's own permissions.
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(&mirror.replica).unwrap().mode() & 0o7777, 0o711);
    // Neither a second run nor lifting the limit releases this one.
    for more in [&[][..], &["--max-delete", "off"], &["--max-delete", "100%"], &["--max-delete", "1000"]] {
        mirror.run(more).expect(4);
        assert_eq!(files_in_replica(&mirror), 5, "{more:?}");
    }
    assert_eq!(mirror.summary(&[])["held"], 5);
    // It comes back.
    fill(&mirror, 0..5);
    mirror.sync();
}

#[test]
fn an_empty_source_over_a_filled_replica_without_a_manifest_is_held() {
    let mirror = Mirror::new();
    write(mirror.in_replica("precious/file"), "content");
    mirror.run(&[]).expect(4);
    mirror.run(&["--max-delete", "off"]).expect(4);
    assert!(mirror.in_replica("precious/file").exists());
}

#[test]
fn more_deletes_than_the_number_are_held_and_the_rest_is_done() {
    let mirror = of_files(20);
    empty(&mirror, 0..6);
    write(mirror.in_source("new/file"), "new");
    write(mirror.in_source("0019"), "changed");
    let output = mirror.run(&["--max-delete", "5"]).expect(4);
    output.says("6 entries would be deleted");
    assert_eq!(files_in_replica(&mirror), 21);
    assert_eq!(std::fs::read(mirror.in_replica("0019")).unwrap(), b"changed");
    assert!(mirror.in_replica("new/file").exists());
    // As many as the number are let through.
    mirror.run(&["--max-delete", "6"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn no_deletes_at_all_are_let_through_at_zero() {
    let mirror = of_files(3);
    empty(&mirror, 0..1);
    mirror.run(&["--max-delete", "0"]).expect(4);
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn the_default_share_is_half_and_a_small_mirror_may_always_lose_a_handful() {
    let mirror = of_files(100);
    empty(&mirror, 0..51);
    mirror.run(&[]).expect(4).says("50%");
    assert_eq!(files_in_replica(&mirror), 100);
    // 50 of 100 are not more than half.
    fill(&mirror, 0..1);
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();

    let small = of_files(20);
    empty(&small, 0..15);
    small.run(&[]).expect(4).says("more than the 10 that max_delete = 50%");
    assert_eq!(files_in_replica(&small), 20);
    fill(&small, 0..5);
    small.run(&[]).expect(0);
    small.assert_in_step();

    let handful = of_files(3);
    empty(&handful, 0..2);
    handful.run(&[]).expect(0);
    handful.assert_in_step();
}

#[test]
fn a_plan_that_is_held_is_told_at_length_once() {
    let mirror = of_files(20);
    empty(&mirror, 0..15);
    mirror.run(&[]).expect(4).says("deletes are held as plan 2");
    for _ in 0..2 {
        let output = mirror.run(&[]).expect(4).says("plan 2 is still held (to let it go: twinfold approve ");
        assert!(output.stdout.contains("15 deletes held as plan 2"), "{}", output.stdout);
        assert!(!output.stderr.contains("max_delete"), "{}", output.stderr);
    }
    let warnings = |mirror: &Mirror| mirror.log().matches("deletes are held as plan").count();
    assert_eq!(warnings(&mirror), 1, "{}", mirror.log());
    // Others are held: that is news.
    empty(&mirror, 15..16);
    mirror.run(&[]).expect(4).says("deletes are held as plan 5");
    assert_eq!(warnings(&mirror), 2, "{}", mirror.log());
}

#[test]
fn held_deletes_go_ahead_when_the_limit_is_lifted() {
    let mirror = of_files(150);
    empty(&mirror, 0..140);
    for _ in 0..2 {
        mirror.run(&[]).expect(4);
        assert_eq!(files_in_replica(&mirror), 150);
    }
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn what_needs_the_place_of_something_held_waits() {
    let mirror = Mirror::new();
    for number in 0..10 {
        write(mirror.in_source(format!("folder/{number}")), "x");
    }
    write(mirror.in_source("file"), "x");
    mirror.sync();
    remove(mirror.in_source("folder"));
    write(mirror.in_source("folder"), "a file now");
    remove(mirror.in_source("file"));
    write(mirror.in_source("file/inside"), "a folder now");
    write(mirror.in_source("other"), "done at once");
    mirror.run(&["--max-delete", "3"]).expect(4);
    assert!(mirror.in_replica("folder/9").is_file() && mirror.in_replica("file").is_file());
    assert!(mirror.in_replica("other").is_file());
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn guards_do_not_misfire_on_small_and_strange_trees() {
    // A first run over a replica that holds other things.
    let mirror = Mirror::new();
    write(mirror.in_source("mine"), "x");
    for number in 0..300 {
        write(mirror.in_replica(format!("other{number}")), "x");
    }
    mirror.run(&["--max-delete", "off"]).expect(0);

    // A tree of one file, which is renamed and then replaced by another.
    let mirror = of_files(1);
    empty(&mirror, 0..1);
    fill(&mirror, 1..2);
    mirror.sync();

    // Only empty folders.
    let mirror = Mirror::new();
    for path in ["a", "b/c", "d/e/f"] {
        mkdir(mirror.in_source(path));
    }
    mirror.sync();
    remove(mirror.in_source("b"));
    remove(mirror.in_source("d"));
    mirror.sync();

    // An empty source over an empty or missing replica.
    let mirror = Mirror::new();
    mirror.sync();
    mirror.sync();
}

#[test]
fn a_manifest_with_more_rows_than_there_is_does_not_raise_what_may_be_deleted() {
    let mirror = of_files(120);
    let connection = rusqlite::Connection::open(mirror.manifest()).unwrap();
    connection
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
             INSERT INTO entries SELECT CAST('x' || i AS BLOB), e.kind, e.size, e.mode, e.mtime, e.mtime_ns, e.ctime, \
             e.inode, e.replica_mode, e.replica_mtime, e.replica_mtime_ns, e.replica_ctime, e.replica_inode, e.md5, \
             e.hashed, e.racy FROM n, entries e WHERE e.path = CAST('0000' AS BLOB)",
        )
        .unwrap();
    drop(connection);
    empty(&mirror, 0..110);
    mirror.run(&[]).expect(4).says("50%");
    assert_eq!(files_in_replica(&mirror), 120);
}

#[test]
fn one_name_that_came_back_accounts_for_one_that_went() {
    let mirror = of_files(2);
    for number in 0..6 {
        std::fs::hard_link(mirror.in_source("0000"), mirror.in_source(format!("link{number}"))).unwrap();
    }
    settle();
    mirror.run(&[]).expect(0);
    for number in 0..6 {
        remove(mirror.in_source(format!("link{number}")));
    }
    std::fs::hard_link(mirror.in_source("0000"), mirror.in_source("new")).unwrap();
    mirror.run(&["--max-delete", "4"]).expect(4).says("5 entries would be deleted");
}

#[test]
fn leftover_temporaries_are_removed_without_counting() {
    let mirror = of_files(3);
    for number in 0..200 {
        write(mirror.in_replica(format!(".twinfold-{number:016x}.tmp")), "litter");
    }
    write(mirror.in_replica(".twinfold-00ff.tmp/inside/a/folder"), "litter");
    mirror.run(&["--max-delete", "0"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn nothing_is_deleted_below_a_folder_that_could_not_be_listed() {
    let mirror = Mirror::of_an_ordinary_user();
    for path in ["closed/a", "closed/sub/b", "closed.txt", "open/c", "gone"] {
        write(mirror.in_source(path), path);
    }
    mirror.give_away(&mirror.source);
    mirror.sync();
    chmod(mirror.in_source("closed"), 0);
    remove(mirror.in_source("gone"));
    write(mirror.in_source("open/new"), "new");
    mirror.give_away(&mirror.in_source("open"));
    for _ in 0..2 {
        let output = mirror.run(&[]).expect(3);
        output.says("closed/");
        for kept in ["closed/a", "closed/sub/b", "closed.txt"] {
            assert!(mirror.in_replica(kept).exists(), "{kept}");
        }
    }
    // The others went on.
    assert!(mirror.in_replica("open/new").exists() && !mirror.in_replica("gone").exists());
    // What was deleted below it meanwhile goes once it can be listed again.
    chmod(mirror.in_source("closed"), 0o755);
    remove(mirror.in_source("closed/sub"));
    mirror.sync();
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_and_keeps_its_replica() {
    let mirror = Mirror::of_an_ordinary_user();
    for path in ["locked", "other"] {
        write(mirror.in_source(path), "before");
    }
    mirror.give_away(&mirror.source);
    settle();
    mirror.sync();
    write(mirror.in_source("locked"), "after, but nobody may read it");
    write(mirror.in_source("other"), "after");
    mirror.give_away(&mirror.source);
    chmod(mirror.in_source("locked"), 0);
    mirror.run(&[]).expect(3).says("locked");
    assert_eq!(std::fs::read(mirror.in_replica("locked")).unwrap(), b"before");
    assert_eq!(std::fs::read(mirror.in_replica("other")).unwrap(), b"after");
    // Problems are retried by every run.
    chmod(mirror.in_source("locked"), 0o644);
    mirror.sync();
}

#[test]
fn an_unlistable_source_root_touches_nothing() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("file"), "x");
    mirror.give_away(&mirror.source);
    mirror.sync();
    chmod(&mirror.source, 0);
    mirror.run(&[]).expect(5);
    chmod(&mirror.source, 0o755);
    assert!(mirror.in_replica("file").exists());
    mirror.sync();
}

#[test]
fn a_problem_goes_before_held_deletes() {
    let mirror = Mirror::of_an_ordinary_user();
    for path in ["closed/a", "b", "c"] {
        write(mirror.in_source(path), path);
    }
    mirror.give_away(&mirror.source);
    mirror.sync();
    chmod(mirror.in_source("closed"), 0);
    remove(mirror.in_source("b"));
    mirror.run(&["--max-delete", "0"]).expect(3).says("held");
    assert!(mirror.in_replica("b").exists());
    chmod(mirror.in_source("closed"), 0o755);
}

#[test]
fn a_source_with_nothing_but_an_empty_lost_and_found_counts_as_emptied() {
    let mirror = of_files(5);
    empty(&mirror, 0..5);
    mkdir(mirror.in_source("lost+found"));
    mirror.run(&[]).expect(4).says("empty");
    assert_eq!(files_in_replica(&mirror), 6);
    // What was found again is content.
    write(mirror.in_source("lost+found/#12"), "found");
    mirror.sync();
}
