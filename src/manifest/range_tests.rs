//! Rows of whole folders renamed and exchanged, and folders found by their inode, against a naive model.

use super::tests::{Fixture, plain};
use super::{Bounds, Manifest, Reader, RunFigures, RunKind, Shift};
use crate::model::{Change, EntryPath, Fingerprint, Kind, Record, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeMap<EntryPath, Record>;

/// Paths made of what lies just below, at and above `/` in byte order, and of bytes that are no text.
fn path() -> impl Strategy<Value = EntryPath> {
    let byte = prop::sample::select(vec![b'a', b'b', b'/', b'/', b'.', b'0', 0xff, 0x00, 0xc3]);
    prop::collection::vec(byte, 1..8).prop_map(|mut bytes| {
        if bytes[0] == b'/' {
            bytes[0] = b'a';
        }
        EntryPath::from_bytes(bytes)
    })
}

fn folder() -> impl Strategy<Value = EntryPath> {
    let names = ["a/", "b/", "a/b/", "a/a/", "b/a/", "a./", "a0/", "c/"].map(EntryPath::from);
    let mut folders = names.to_vec();
    folders.push(EntryPath::from_bytes(*b"\xff/"));
    prop::sample::select(folders)
}

fn fill(manifest: &Manifest, paths: BTreeSet<EntryPath>) -> Model {
    let model: Model = paths
        .into_iter()
        .enumerate()
        .map(|(number, path)| {
            let mut record = Record { path: path.clone(), ..plain("x") };
            record.source.inode = number as u64;
            record.replica.mode = u32::from(number % 2 == 0);
            (path, record)
        })
        .collect();
    manifest.apply(model.values().cloned().map(Change::Put).collect()).unwrap();
    model
}

fn read(manifest: &Manifest) -> Model {
    manifest.rows(Bounds::All).map(Result::unwrap).map(|record| (record.path.clone(), record)).collect()
}

fn within(path: &EntryPath, folder: &EntryPath) -> bool {
    path.as_bytes().starts_with(folder.as_bytes())
}

fn apart(one: &EntryPath, other: &EntryPath) -> bool {
    !within(one, other) && !within(other, one)
}

/// The model with the prefixes exchanged, or the one put in the place of the other.
fn renamed(model: &Model, pairs: &[(&EntryPath, &EntryPath)]) -> Model {
    let rename = |path: &EntryPath| {
        let pair = pairs.iter().find(|(from, _)| within(path, from));
        pair.map_or_else(
            || path.clone(),
            |(from, to)| {
                EntryPath::from_bytes([to.as_bytes(), &path.as_bytes()[from.as_bytes().len()..]].concat())
            },
        )
    };
    model
        .values()
        .map(|record| {
            let path = rename(&record.path);
            (path.clone(), Record { path, ..record.clone() })
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_moved_range_is_what_a_naive_rename_makes_of_it(
        paths in prop::collection::btree_set(path(), 0..40), from in folder(), to in folder()
    ) {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let model = fill(&manifest, paths);
        let moved = manifest.relocate(&[Shift::Move(from.clone(), to.clone())]);
        prop_assert!(moved.is_ok());
        let left: Model = model.iter().filter(|(path, _)| !within(path, &to) || within(path, &from)).map(|(p, r)| (p.clone(), r.clone())).collect();
        // What is in the way at the new place goes, unless it moves itself.
        let expected = if from == to { model } else { renamed(&left, &[(&from, &to)]) };
        prop_assert_eq!(read(&manifest), expected);
    }

    #[test]
    fn swapped_ranges_are_what_a_naive_exchange_makes_of_them(
        paths in prop::collection::btree_set(path(), 0..40), one in folder(), other in folder()
    ) {
        let fixture = Fixture::new();
        let manifest = fixture.open().unwrap().manifest;
        let model = fill(&manifest, paths);
        let swapped = manifest.relocate(&[Shift::Swap(one.clone(), other.clone())]);
        prop_assert_eq!(swapped.is_ok(), apart(&one, &other));
        let expected =
            if swapped.is_ok() { renamed(&model, &[(&one, &other), (&other, &one)]) } else { model };
        prop_assert_eq!(read(&manifest), expected);
    }
}

#[test]
fn ranges_of_many_pieces_move_whole_and_back() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let name = |number: usize| EntryPath::from(format!("old/{number:05}").as_str());
    let (old, new) = (EntryPath::from("old/"), EntryPath::from("a/new/"));
    for count in [2047, 2048, 2049, 7000] {
        let model = fill(&manifest, (0..count).map(name).chain(["b".into(), old.clone()]).collect());
        manifest.relocate(&[Shift::Move(old.clone(), new.clone())]).unwrap();
        assert_eq!(read(&manifest), renamed(&model, &[(&old, &new)]), "{count}");
        manifest.relocate(&[Shift::Swap(old.clone(), new.clone())]).unwrap();
        assert_eq!(read(&manifest), model, "{count}");
    }
}

#[test]
fn shifts_follow_each_other_in_one_transaction_or_none_of_them_does() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let model = fill(&manifest, ["a/", "a/x", "b/", "b/y", "c/", "c/z"].map(EntryPath::from).into());
    let moved = |from: &str, to: &str| Shift::Move(from.into(), to.into());
    assert!(manifest.relocate(&[moved("a/", "d/"), moved("b/", "")]).is_err());
    assert_eq!(read(&manifest), model);
    // A cycle by way of a temporary name; then a folder into the place that it has left.
    manifest
        .relocate(&[moved("a/", "t/"), moved("b/", "a/"), moved("t/", "b/"), moved("c/", "b/c/")])
        .unwrap();
    let there: Vec<EntryPath> = read(&manifest).into_keys().collect();
    assert_eq!(there, ["a/", "a/y", "b/", "b/c/", "b/c/z", "b/x"].map(EntryPath::from));
}

#[test]
fn neither_the_root_nor_a_file_is_a_range() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let model = fill(&manifest, ["", "a", "a/", "a/b"].map(EntryPath::from).into());
    for (from, to) in [("", "b/"), ("a/", ""), ("a", "b"), ("a/", "b")] {
        let refused = manifest.relocate(&[Shift::Move(from.into(), to.into())]).unwrap_err().to_string();
        assert!(refused.contains("cannot rename"), "{refused}");
        assert!(manifest.relocate(&[Shift::Swap(from.into(), to.into())]).is_err(), "{from} {to}");
    }
    assert_eq!(read(&manifest), model);
}

#[test]
fn remembered_mounts_follow_their_folder() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let mounts = |paths: &[&str]| -> BTreeSet<EntryPath> { paths.iter().map(|&path| path.into()).collect() };
    manifest.remember_source_mounts(&mounts(&["a/", "a/m/", "a0/m/", "b/n/"])).unwrap();
    manifest.relocate(&[Shift::Move("a/".into(), "c/".into())]).unwrap();
    assert_eq!(manifest.source_mounts().unwrap(), mounts(&["c/", "c/m/", "a0/m/", "b/n/"]));
    manifest.relocate(&[Shift::Swap("b/".into(), "c/".into())]).unwrap();
    assert_eq!(manifest.source_mounts().unwrap(), mounts(&["b/", "b/m/", "a0/m/", "c/n/"]));
}

#[test]
fn what_waits_to_be_written_is_read_moved_and_survives_a_refusal() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    manifest.apply_soon(vec![Change::Put(plain("a/")), Change::Put(plain("a/x"))]).unwrap();
    assert!(!Reader::open(&fixture.path()).unwrap().knows_entries().unwrap(), "it waits");
    assert!(manifest.relocate(&[Shift::Swap("a/".into(), "a/".into())]).is_err());
    manifest.relocate(&[Shift::Move("a/".into(), "b/".into())]).unwrap();
    manifest.apply_soon(vec![Change::Forget("b/x".into()), Change::Put(plain("c"))]).unwrap();
    assert!(manifest.find(&"b/x".into()).unwrap().is_none());
    let there: Vec<EntryPath> = read(&manifest).into_keys().collect();
    assert_eq!(there, ["b/", "c"].map(EntryPath::from));
}

#[test]
fn the_last_word_on_a_path_counts_among_what_waits() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let of_size = |path: &str, size: u64| {
        let source = Fingerprint { size, ..plain(path).source };
        Record { source, replica: source, ..plain(path) }
    };
    for (number, size) in (0..40).zip(1..) {
        let name = format!("{:02}", 39 - number);
        manifest.apply_soon(vec![Change::Put(plain(&name)), Change::Forget(name.as_str().into())]).unwrap();
        manifest.apply_soon(vec![Change::Put(plain(&name)), Change::Put(of_size(&name, size))]).unwrap();
        manifest.apply_soon(vec![Change::Put(plain("x")), Change::Forget("x".into())]).unwrap();
    }
    let sizes: Vec<u64> = read(&manifest).values().map(|record| record.source.size).collect();
    assert_eq!(sizes, (1..=40).rev().collect::<Vec<u64>>());
}

#[test]
fn what_waits_is_written_when_enough_is_together_when_it_waited_long_and_when_a_run_ends() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let written = || Reader::open(&fixture.path()).unwrap().rows(Bounds::All).count();
    for number in 0..1024 {
        manifest.apply_soon(vec![Change::Put(plain(&format!("{number:05}")))]).unwrap();
    }
    assert_eq!(written(), 1024);
    manifest.apply_soon(vec![Change::Put(plain("x"))]).unwrap();
    std::thread::sleep(Manifest::PATIENCE);
    manifest.apply_soon(Vec::new()).unwrap();
    assert_eq!(written(), 1025);
    let run = manifest.begin_run(RunKind::Sync, Timestamp::new(1, 0)).unwrap();
    manifest.apply_soon(vec![Change::Put(plain("y"))]).unwrap();
    let figures = RunFigures { result: "ok".to_owned(), moved: 7, ..RunFigures::default() };
    manifest.finish_run(run, Timestamp::new(2, 0), &figures, &[], super::Holding::Same).unwrap();
    assert_eq!(written(), 1026);
    assert_eq!(manifest.runs(1).unwrap()[0].figures, figures);
}

#[test]
fn folders_are_found_by_their_inode_through_an_index_and_in_an_older_manifest_without() {
    let fixture = Fixture::new();
    let manifest = fixture.open().unwrap().manifest;
    let row = |path: &str, kind: Kind, inode: u64| {
        let source = Fingerprint { kind, inode, ..plain(path).source };
        Change::Put(Record { source, replica: source, ..plain(path) })
    };
    let large = u64::MAX - 1;
    let rows = [
        row("", Kind::Folder, 1),
        row("a/", Kind::Folder, large),
        row("b", Kind::File, large),
        row("c/", Kind::Folder, large),
    ];
    manifest.apply(rows.to_vec()).unwrap();
    let expected = ["a/", "c/"].map(EntryPath::from);
    assert_eq!(manifest.find_folder_by_inode(large).unwrap(), expected);
    assert_eq!(manifest.find_folder_by_inode(2).unwrap(), []);
    let plan = |sql: &str| -> String {
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        manifest.connection.query_row(&sql, [], |row| row.get(3)).unwrap()
    };
    let found = plan("SELECT path FROM entries WHERE inode = 5 AND kind = 1 ORDER BY path");
    assert!(found.contains("folders_by_inode"), "{found}");
    let pieces = plan("SELECT path FROM entries WHERE path > x'61' ORDER BY path LIMIT 2048");
    assert!(pieces.contains("PRIMARY KEY") && !pieces.contains("ORDER BY"), "{pieces}");

    let older = "DROP TRIGGER run_ended; DROP TRIGGER run_noted; DROP TABLE totals; DROP TABLE trash; DROP TABLE journal; \
                 DROP TABLE rebuild; DROP TABLE damage; DROP TABLE coverage; DROP TABLE capabilities; DROP TABLE partials; \
                 DROP TABLE losses; DROP TABLE awaited; DROP TABLE patches; DROP TABLE trash_time; \
                 ALTER TABLE job DROP COLUMN adopting; ALTER TABLE job DROP COLUMN replica_had; \
                 ALTER TABLE held_deletes DROP COLUMN overwrites; ALTER TABLE runs DROP COLUMN kept; \
                 DROP INDEX folders_by_inode; ALTER TABLE runs DROP COLUMN moved; PRAGMA user_version = 5";
    manifest.connection.execute_batch(older).unwrap();
    drop(manifest);
    let reader = Reader::open(&fixture.path()).unwrap();
    assert_eq!(reader.find_folder_by_inode(large).unwrap(), expected);
    assert_eq!(reader.runs(5).unwrap(), []);
    drop(reader);
    let upgraded = fixture.open().unwrap().manifest;
    assert_eq!(upgraded.find_folder_by_inode(large).unwrap(), expected);
    upgraded.begin_run(RunKind::Sync, Timestamp::new(1, 0)).unwrap();
    upgraded.apply(vec![Change::Put(plain("x"))]).unwrap();
    assert_eq!(upgraded.runs(1).unwrap()[0].figures.moved, 0);
}
