//! The gates' truth tables: what is held, what an approval lets go, what waits.

use super::census::Census;
use super::gate::{Approved, FirstRun, Gate, Held, MaxDelete};
use super::{Plan, release};
use crate::model::{
    EntryPath, Fingerprint, HeldOperation, HeldPlan, Kind, Operation, Stat, Timestamp, Unsteady, Verb,
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
        loses: false,
    }
}

fn approve(plan: Plan, census: &Census, limit: MaxDelete, before: Option<&HeldPlan>) -> Approved {
    let unsteady = Unsteady::default();
    super::gate::approve(plan, &Gate { census, limit, before, unsteady, first: None })
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
        let approved = approve(plan(deletes), &census, limit, None);
        let got = approved.held();
        assert_eq!(got.is_some(), held, "{deletes} {source_entries} {rows} {limit}: {got:?}");
        assert_eq!(approved.held_operations().len(), if held { deletes } else { 0 });
    }
}

#[test]
fn what_only_got_another_name_is_not_counted_as_lost() {
    let census = Census { source_entries: 40, rows: 100, ..Census::default() };
    let half = MaxDelete::Percent(50.0);
    let held = |plan| approve(plan, &census, half, None).held();
    assert!(held(plan(60)).is_some());
    assert!(held(Plan { moved: 10, ..plan(60) }).is_none());
}

#[test]
fn what_a_held_delete_blocks_waits_and_the_rest_goes_on() {
    let mut plan = Plan { deletes: vec![delete("a/"), delete("a/x")], ..Plan::default() };
    let copy = |path: &str, displaces| Operation { verb: Verb::Copy, displaces, ..delete(path) };
    plan.entries = vec![copy("a", true), copy("b", false)];
    let approved = approve(plan, &EMPTY, MaxDelete::Off, None);
    assert_eq!(paths(&approved.plan().entries), ["b"]);
    assert!(approved.plan().deletes.is_empty());
    assert_eq!(paths(approved.held_operations()), ["a/", "a/x"]);
}

/// A source without an entry: whatever would be deleted is held.
const EMPTY: Census = Census {
    source_entries: 0,
    source_bytes: 0,
    rows: 0,
    replica_entries: 0,
    furniture: 0,
    nodes_left_out: 0,
};

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
        HeldOperation { path: EntryPath::from(path), overwrites: false, replica: fingerprint }
    };
    let approved = approved.then(Timestamp::default);
    HeldPlan { run: 7, approved, operations: deletes.iter().map(held).collect() }
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
        let approved = approve(plan, &EMPTY, MaxDelete::Off, Some(&before));
        assert_eq!(paths(&approved.plan().deletes), deleted, "{planned:?}");
        assert_eq!(paths(approved.held_operations()), held, "{planned:?}");
        let release = approved.release().unwrap();
        assert_eq!((release.released, release.changed, release.gone), counts, "{planned:?}");
    }
}

#[test]
fn what_is_held_but_not_approved_stays_held_and_is_known_again() {
    let plan = || Plan { deletes: vec![delete_of("a", 1)], ..Plan::default() };
    let before = held_before(false, &[("a", 1)]);
    let unsteady = Unsteady::default();
    let approved = approve(plan(), &EMPTY, MaxDelete::Off, Some(&before));
    assert_eq!(paths(approved.held_operations()), ["a"]);
    assert_eq!(approved.release(), None);
    assert!(release::is_same(approved.held_operations(), &before, unsteady));
    let other = held_before(false, &[("a", 2)]);
    assert!(!release::is_same(approved.held_operations(), &other, unsteady));
    assert!(release::is_same(approved.held_operations(), &other, Unsteady { inode: true, ctime: false }));
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
    let approved = approve(plan, &EMPTY, MaxDelete::Off, Some(&before));
    assert_eq!(paths(&approved.plan().entries), ["a"]);
    assert_eq!(paths(approved.held_operations()), ["b/"]);
}

#[test]
fn no_released_delete_hides_another_one_as_moved() {
    let before = held_before(true, &[("a", 1)]);
    let plan = Plan { deletes: vec![delete_of("a", 1), delete_of("b", 2)], moved: 1, ..Plan::default() };
    let census = Census { source_entries: 5, rows: 7, ..Census::default() };
    let approved = approve(plan, &census, MaxDelete::Count(0), Some(&before));
    assert_eq!(paths(&approved.plan().deletes), ["a"]);
    assert_eq!(paths(approved.held_operations()), ["b"]);
}

/// A first run over a replica that had so many entries.
fn first_run(plan: Plan, had: u64, limit: MaxDelete, before: Option<&HeldPlan>) -> Approved {
    let census = Census { source_entries: 1, ..Census::default() };
    let first = Some(FirstRun { replica_had: had, successor: false });
    super::gate::approve(plan, &Gate { census: &census, limit, before, unsteady: Unsteady::default(), first })
}

fn stray(path: &str) -> Operation {
    Operation { loses: true, ..delete_of(path, 1) }
}

fn newer(path: &str) -> Operation {
    Operation { verb: Verb::Copy, ..stray(path) }
}

#[test]
fn a_first_run_holds_more_than_the_share_of_what_the_replica_had() {
    let (half, count) = (MaxDelete::Percent(50.0), MaxDelete::Count);
    // (strays, newer ones, entries that the replica had, limit, held)
    let table = [
        (0, 0, 0, half, false),
        (1, 0, 1, half, true),
        (0, 1, 1, half, true),
        (1, 0, 2, half, false),
        (1, 1, 2, half, true),
        (1, 0, 10, half, false),
        (5, 0, 10, half, false),
        (3, 3, 10, half, true),
        (500, 0, 1000, half, false),
        (501, 0, 1000, half, true),
        (3, 0, 1000, count(3), false),
        (2, 2, 1000, count(3), true),
        (1, 0, 1000, count(0), true),
        (100, 100, 100, MaxDelete::Off, false),
    ];
    for (strays, overwrites, had, limit, held) in table {
        let deletes = (0..strays).map(|n| stray(&format!("s{n:04}"))).collect();
        let entries = (0..overwrites).map(|n| newer(&format!("n{n:04}"))).collect();
        let approved = first_run(Plan { entries, deletes, ..Plan::default() }, had, limit, None);
        let what = format!("{strays} {overwrites} {had} {limit}: {:?}", approved.held());
        assert_eq!(matches!(approved.held(), Some(Held::FirstRun { .. })), held, "{what}");
        assert_eq!(approved.held_operations().len(), if held { strays + overwrites } else { 0 }, "{what}");
        assert_eq!(approved.plan().entries.len(), if held { 0 } else { overwrites }, "{what}");
    }
}

#[test]
fn what_is_linked_to_a_held_overwrite_waits_with_it_and_an_approval_releases_the_same_only() {
    let plan = || {
        let link = |path: &str, from: &str| Operation {
            verb: Verb::Link,
            from: Some(EntryPath::from(from)),
            replica: None,
            ..delete(path)
        };
        let free = Operation { replica: None, loses: false, ..newer("c") };
        Plan {
            entries: vec![newer("a"), free],
            links: vec![link("b", "a"), link("d", "c")],
            deletes: vec![stray("z")],
            ..Plan::default()
        }
    };
    let half = MaxDelete::Percent(50.0);
    let held = first_run(plan(), 2, half, None);
    assert_eq!(paths(held.held_operations()), ["a", "z"]);
    assert_eq!(
        (paths(&held.plan().entries), paths(&held.plan().links)),
        (vec!["c".into()], vec!["d".into()])
    );
    let operations: Vec<HeldOperation> = held.held_operations().iter().filter_map(release::as_held).collect();
    let before = HeldPlan { run: 1, approved: Some(Timestamp::default()), operations };
    let released = first_run(plan(), 2, half, Some(&before));
    assert_eq!((released.held(), released.plan().entries.len(), released.plan().links.len()), (None, 2, 2));
    // What was to be overwritten would be deleted now: that was not approved.
    let other = Plan { deletes: vec![stray("a"), stray("z")], ..Plan::default() };
    let other = first_run(other, 1, half, Some(&before));
    assert_eq!(
        (paths(&other.plan().deletes), paths(other.held_operations())),
        (vec!["z".into()], vec!["a".into()])
    );
}
