//! The gates' truth tables: what is held, what an approval lets go, what waits.

use super::census::Census;
use super::gate::{MaxDelete, approve};
use super::{Plan, release};
use crate::model::{
    EntryPath, Fingerprint, HeldDelete, HeldPlan, Kind, Operation, Stat, Timestamp, Unsteady, Verb,
};

fn delete(path: &str) -> Operation {
    Operation {
        path: EntryPath::from(path),
        verb: Verb::Delete,
        source: None,
        replica: None,
        content: None,
        attributes: true,
        origin: None,
        from: None,
        displaces: false,
    }
}

fn plan(deletes: usize) -> Plan {
    let deletes = (0..deletes).map(|n| delete(&format!("{n:04}"))).collect();
    Plan { deletes, ..Plan::default() }
}

#[test]
fn deletes_are_held_exactly_where_the_table_says() {
    let half = MaxDelete::Percent(50.0);
    // (deletes, entries in the source, rows in the manifest, limit, held)
    let table = [
        (0, 0, 0, half, false),
        (1, 0, 1, half, true),
        (1, 0, 1, MaxDelete::Off, true),
        (1, 0, 0, MaxDelete::Count(10), true),
        // A small mirror: the share counts, but a handful may always go.
        (98, 1, 99, half, true),
        (50, 49, 99, half, true),
        (49, 50, 99, half, false),
        (15, 5, 20, half, true),
        (11, 9, 20, half, true),
        (10, 10, 20, half, false),
        (6, 1, 7, half, true),
        (5, 1, 6, half, false),
        (2, 1, 3, half, false),
        (5, 15, 20, MaxDelete::Percent(1.0), false),
        (6, 14, 20, MaxDelete::Percent(1.0), true),
        (1, 19, 20, MaxDelete::Percent(0.0), true),
        // From 100 entries up it is the share alone.
        (2, 98, 100, MaxDelete::Percent(1.0), true),
        (1, 99, 100, MaxDelete::Percent(1.0), false),
        (50, 50, 100, half, false),
        (51, 49, 100, half, true),
        (51, 49, 100, MaxDelete::Off, false),
        (5, 1, 6, MaxDelete::Count(5), false),
        (6, 1, 7, MaxDelete::Count(5), true),
        (1, 99, 100, MaxDelete::Percent(0.0), true),
        (500, 10, 0, half, true),
        (500, 10, 0, MaxDelete::Off, false),
    ];
    for (deletes, source_entries, rows, limit, held) in table {
        let census = Census { source_entries, rows, ..Census::default() };
        let approved = approve(plan(deletes), &census, limit, None, Unsteady::default(), false);
        let got = approved.held();
        assert_eq!(got.is_some(), held, "{deletes} {source_entries} {rows} {limit}: {got:?}");
        assert_eq!(approved.held_deletes().len(), if held { deletes } else { 0 });
    }
}

#[test]
fn what_only_got_another_name_is_not_counted_as_lost() {
    let census = Census { source_entries: 40, rows: 100, ..Census::default() };
    let half = MaxDelete::Percent(50.0);
    let held = |plan| approve(plan, &census, half, None, Unsteady::default(), false).held();
    assert!(held(plan(60)).is_some());
    assert!(held(Plan { moved: 10, ..plan(60) }).is_none());
}

#[test]
fn what_a_held_delete_blocks_waits_and_the_rest_goes_on() {
    let mut plan = Plan { deletes: vec![delete("a/"), delete("a/x")], ..Plan::default() };
    let copy = |path: &str, displaces| Operation { verb: Verb::Copy, displaces, ..delete(path) };
    plan.entries = vec![copy("a", true), copy("b", false)];
    let approved = approve(plan, &EMPTY, MaxDelete::Off, None, Unsteady::default(), false);
    assert_eq!(paths(&approved.plan().entries), ["b"]);
    assert!(approved.plan().deletes.is_empty());
    assert_eq!(paths(approved.held_deletes()), ["a/", "a/x"]);
}

/// A source without an entry: whatever would be deleted is held.
const EMPTY: Census = Census { source_entries: 0, source_bytes: 0, rows: 0, furniture: 0, nodes_left_out: 0 };

fn paths(operations: &[Operation]) -> Vec<String> {
    operations.iter().map(|operation| operation.path.to_string()).collect()
}

/// A delete of what has this inode in the replica.
fn delete_of(path: &str, inode: u64) -> Operation {
    let kind = if path.ends_with('/') { Kind::Folder } else { Kind::File };
    let zero = Timestamp::default();
    let fingerprint = Fingerprint { kind, mode: 0, size: 0, mtime: zero, ctime: zero, inode };
    let stat = Stat { fingerprint, uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: 0 };
    Operation { replica: Some(stat), ..delete(path) }
}

fn held_before(approved: bool, deletes: &[(&str, u64)]) -> HeldPlan {
    let held = |&(path, inode): &(&str, u64)| {
        let fingerprint = delete_of(path, inode).replica.unwrap().fingerprint;
        HeldDelete { path: EntryPath::from(path), replica: fingerprint }
    };
    let approved = approved.then(Timestamp::default);
    HeldPlan { run: 7, approved, deletes: deletes.iter().map(held).collect() }
}

#[test]
fn an_approval_releases_exactly_what_was_held_and_is_still_the_same() {
    let before = [("a", 1), ("b", 2), ("f/", 3), ("f/x", 4)];
    /// (planned, deleted, held, (released, changed, gone))
    type Case<'t> = (&'t [(&'t str, u64)], &'t [&'t str], &'t [&'t str], (u64, u64, u64));
    let table: [Case<'_>; 7] = [
        (&before, &["a", "b", "f/", "f/x"], &[], (4, 0, 0)),
        // Something came back to the source.
        (&[("a", 1), ("f/", 3), ("f/x", 4)], &["a", "f/", "f/x"], &[], (3, 0, 1)),
        // Something was replaced in the replica.
        (&[("a", 1), ("b", 20)], &["a"], &["b"], (1, 1, 2)),
        // Something else would go as well.
        (&[("a", 1), ("c", 9)], &["a"], &["c"], (1, 0, 3)),
        // The folder stays, because of what came into it.
        (&[("f/", 3), ("f/new", 9), ("f/x", 4)], &["f/x"], &["f/", "f/new"], (2, 0, 2)),
        // A file where a folder was is another path.
        (&[("f", 3)], &[], &["f"], (0, 0, 4)),
        (&[], &[], &[], (0, 0, 4)),
    ];
    for (planned, deleted, held, counts) in table {
        let deletes = planned.iter().map(|&(path, inode)| delete_of(path, inode)).collect();
        let plan = Plan { deletes, ..Plan::default() };
        let before = held_before(true, &before);
        let approved = approve(plan, &EMPTY, MaxDelete::Off, Some(&before), Unsteady::default(), false);
        assert_eq!(paths(&approved.plan().deletes), deleted, "{planned:?}");
        assert_eq!(paths(approved.held_deletes()), held, "{planned:?}");
        let release = approved.release().unwrap();
        assert_eq!((release.released, release.changed, release.gone), counts, "{planned:?}");
    }
}

#[test]
fn what_is_held_but_not_approved_stays_held_and_is_known_again() {
    let plan = || Plan { deletes: vec![delete_of("a", 1)], ..Plan::default() };
    let before = held_before(false, &[("a", 1)]);
    let unsteady = Unsteady::default();
    let approved = approve(plan(), &EMPTY, MaxDelete::Off, Some(&before), unsteady, false);
    assert_eq!(paths(approved.held_deletes()), ["a"]);
    assert_eq!(approved.release(), None);
    assert!(release::is_same(approved.held_deletes(), &before, unsteady));
    let other = held_before(false, &[("a", 2)]);
    assert!(!release::is_same(approved.held_deletes(), &other, unsteady));
    assert!(release::is_same(approved.held_deletes(), &other, Unsteady { inode: true, ctime: false }));
    assert!(!release::is_same(&[], &before, unsteady));
}

#[test]
fn what_waits_only_for_released_deletes_goes_ahead_with_them() {
    let copy = |path: &str| Operation { verb: Verb::Copy, displaces: true, ..delete(path) };
    let plan = Plan {
        deletes: vec![delete_of("a/", 1), delete_of("b/", 2)],
        entries: vec![copy("a"), copy("b")],
        ..Plan::default()
    };
    let before = held_before(true, &[("a/", 1)]);
    let approved = approve(plan, &EMPTY, MaxDelete::Off, Some(&before), Unsteady::default(), false);
    assert_eq!(paths(&approved.plan().entries), ["a"]);
    assert_eq!(paths(approved.held_deletes()), ["b/"]);
}

#[test]
fn no_released_delete_hides_another_one_as_moved() {
    let before = held_before(true, &[("a", 1)]);
    let plan = Plan { deletes: vec![delete_of("a", 1), delete_of("b", 2)], moved: 1, ..Plan::default() };
    let census = Census { source_entries: 5, rows: 7, ..Census::default() };
    let approved = approve(plan, &census, MaxDelete::Count(0), Some(&before), Unsteady::default(), false);
    assert_eq!(paths(&approved.plan().deletes), ["a"]);
    assert_eq!(paths(approved.held_deletes()), ["b"]);
}
