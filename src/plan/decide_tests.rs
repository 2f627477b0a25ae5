//! The truth table of [`decide`], over tiny named fixtures.

use super::decide::{Decision, Knowledge, Rules, decide};
use super::desired::Rights;
use super::join::Joined;
use crate::model::{
    Difference, Digest, EntryPath, Fingerprint, Kind, Operation, Preserve, Problem, Record, Seen, Stat,
    Timestamp, Verb,
};
use std::sync::Arc;

const OLD: Timestamp = Timestamp::new(1_000, 5);
const NOW: Timestamp = Timestamp::new(2_000, 5);
const KNOWN: Digest = Digest([7; 16]);

fn rules() -> Rules {
    let rights = Rights {
        uid: 0,
        gid: 0,
        groups: vec![0],
        umask: 0,
        nosuid: false.into(),
        preserve: Preserve::default(),
        held: Arc::default(),
    };
    Rules {
        rights,
        ignore_ctime: false,
        ignore_inode: false,
        trust_metadata: false,
        rotten: Arc::default(),
        nodev: false.into(),
        began: NOW,
        tick_nanos: 4_000_000,
    }
}

fn stat(kind: Kind) -> Stat {
    let size = if kind.has_content() { 10 } else { 0 };
    let fingerprint = Fingerprint { kind, mode: 0o644, size, mtime: OLD, ctime: OLD, inode: 1 };
    Stat { fingerprint, uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: 0 }
}

/// The replica's counterpart: an inode and a ctime of its own.
fn twin(source: Stat) -> Stat {
    let fingerprint = Fingerprint { inode: 900, ctime: Timestamp::new(1_500, 5), ..source.fingerprint };
    Stat { fingerprint, device: 2, ..source }
}

fn with(mut stat: Stat, change: impl FnOnce(&mut Stat)) -> Stat {
    change(&mut stat);
    stat
}

fn row(source: &Stat) -> Record {
    let content = source.kind().has_content().then_some((KNOWN, OLD));
    Record::new(path(source.kind()), source, &twin(*source), content, false)
}

fn path(kind: Kind) -> EntryPath {
    EntryPath::from(if kind == Kind::Folder { "d/x/" } else { "d/x" })
}

fn joined(source: Option<Stat>, replica: Option<Stat>, row: Option<Record>) -> Joined {
    let kind = source.or(replica).map_or(Kind::File, |stat| stat.kind());
    Joined { path: path(kind), source: source.map(Seen::Present), replica: replica.map(Seen::Present), row }
}

/// A decision without its figures, so that tables stay readable.
fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Unchanged => "unchanged",
        Decision::Ask => "ask",
        Decision::Confirm(_) => "confirm",
        Decision::Operate(Operation { verb, .. }) => verb.name(),
        Decision::Folder(Some(Verb::Create), _) => "make folder",
        Decision::Folder(Some(_), _) => "mend folder",
        Decision::Folder(None, _) => "put time back",
        Decision::Forget(_) => "forget",
        Decision::Problem(_) => "problem",
    }
}

#[test]
fn who_is_there_decides_between_bringing_over_deleting_and_forgetting() {
    for (kind, new, gone) in [
        (Kind::File, "copy", "delete"),
        (Kind::Symlink, "create", "delete"),
        (Kind::Fifo, "create", "delete"),
        (Kind::Folder, "make folder", "delete"),
    ] {
        let source = stat(kind);
        for row in [None, Some(row(&source))] {
            let decide = |s, r| decide(&joined(s, r, row.clone()), None, &rules());
            assert_eq!(word(&decide(Some(source), None)), new, "{kind:?}");
            assert_eq!(word(&decide(None, Some(twin(source)))), gone, "{kind:?}");
            assert_eq!(word(&decide(None, None)), "forget", "{kind:?}");
        }
    }
}

#[test]
fn an_unchanged_entry_of_any_kind_is_left_alone() {
    for kind in [Kind::File, Kind::Symlink, Kind::Fifo, Kind::Folder] {
        let source = stat(kind);
        let joined = joined(Some(source), Some(twin(source)), Some(row(&source)));
        assert_eq!(decide(&joined, None, &rules()), Decision::Unchanged, "{kind:?}");
    }
}

#[test]
fn any_moved_figure_on_either_side_of_a_file_leads_to_a_look_or_a_copy() {
    let file = stat(Kind::File);
    let later = |t: Timestamp| Timestamp::new(t.seconds + 1, t.nanos);
    type Change = fn(&mut Stat, fn(Timestamp) -> Timestamp);
    let table: [(&str, Change, &str, &str); 6] = [
        ("size", |s, _| s.fingerprint.size += 1, "copy", "copy"),
        ("mtime", |s, t| s.fingerprint.mtime = t(s.fingerprint.mtime), "ask", "ask"),
        ("mtime backwards", |s, _| s.fingerprint.mtime.seconds -= 500, "ask", "ask"),
        ("ctime", |s, t| s.fingerprint.ctime = t(s.fingerprint.ctime), "ask", "ask"),
        ("inode", |s, _| s.fingerprint.inode += 1, "ask", "ask"),
        ("mode", |s, _| s.fingerprint.mode = 0o600, "ask", "ask"),
    ];
    for (what, change, at_source, at_replica) in table {
        let changed_source = with(file, |s| change(s, later));
        let changed_replica = with(twin(file), |s| change(s, later));
        let known = Some(row(&file));
        let got = decide(&joined(Some(changed_source), Some(twin(file)), known.clone()), None, &rules());
        assert_eq!(word(&got), at_source, "source's {what}");
        let got = decide(&joined(Some(file), Some(changed_replica), known), None, &rules());
        assert_eq!(word(&got), at_replica, "replica's {what}");
    }
}

#[test]
fn ctime_and_inode_can_be_ignored_but_nothing_else() {
    let file = stat(Kind::File);
    let lenient = Rules { ignore_ctime: true, ignore_inode: true, ..rules() };
    for (change, verdict) in [
        ((|s| s.fingerprint.ctime.seconds += 9) as fn(&mut Stat), "unchanged"),
        (|s| s.fingerprint.inode += 9, "unchanged"),
        (|s| s.fingerprint.mtime.seconds += 9, "ask"),
        (|s| s.fingerprint.mode = 0o600, "ask"),
    ] {
        let joined = joined(Some(with(file, change)), Some(twin(file)), Some(row(&file)));
        assert_eq!(word(&decide(&joined, None, &lenient)), verdict);
    }
}

#[test]
fn a_racy_row_is_never_taken_for_unchanged() {
    let file = stat(Kind::File);
    let racy = Record { racy: true, ..row(&file) };
    assert_eq!(word(&decide(&joined(Some(file), Some(twin(file)), Some(racy)), None, &rules())), "ask");
    let folder = stat(Kind::Folder);
    let racy = Record { racy: true, ..row(&folder) };
    assert_eq!(word(&decide(&joined(Some(folder), Some(twin(folder)), Some(racy)), None, &rules())), "ask");
}

#[test]
fn what_was_learned_decides_between_confirming_mending_and_copying() {
    let file = stat(Kind::File);
    let differing = |replica: Stat, attributes: Difference| {
        let (source, digest) = (with(file, |_| {}), Some(KNOWN));
        Knowledge::Same { source, replica, digest, attributes, began: NOW }
    };
    let same = |replica: Stat| differing(replica, Difference::None);
    let failed = Knowledge::Failed(Problem::source(&path(Kind::File), "read", "no"));
    let other_mode = with(twin(file), |s| s.fingerprint.mode = 0o600);
    let other_time = with(twin(file), |s| s.fingerprint.mtime.seconds += 1);
    let other_owner = with(twin(file), |s| s.uid = 5);
    let linked = with(other_mode, |s| s.links = 2);
    for (knowledge, verdict) in [
        (same(twin(file)), "confirm"),
        (same(other_mode), "metadata"),
        (same(other_time), "metadata"),
        (same(other_owner), "metadata"),
        (differing(twin(file), Difference::Plain), "metadata"),
        (differing(twin(file), Difference::Access), "metadata"),
        // The other names have a word in it.
        (same(linked), "metadata"),
        (Knowledge::Different, "copy"),
        (Knowledge::Vanished, "unchanged"),
        (failed, "problem"),
    ] {
        let got = decide(&joined(Some(file), Some(twin(file)), None), Some(&knowledge), &rules());
        assert_eq!(word(&got), verdict, "{knowledge:?}");
    }
}

#[test]
fn equal_contents_that_nobody_hashed_keep_the_digest_while_either_side_says_that_it_stood() {
    let file = stat(Kind::File);
    let later = |stat: Stat| with(stat, |s| s.fingerprint.ctime.seconds += 1);
    let unhashed = Record { digest: None, hashed: None, ..row(&file) };
    for (source, replica, row, digest) in [
        (later(file), twin(file), row(&file), Some(KNOWN)),
        (file, later(twin(file)), row(&file), Some(KNOWN)),
        (later(file), later(twin(file)), row(&file), None),
        (later(file), twin(file), unhashed, None),
    ] {
        let attributes = Difference::None;
        let knowledge = Knowledge::Same { source, replica, digest: None, attributes, began: NOW };
        let joined = joined(Some(source), Some(replica), Some(row));
        let Decision::Confirm(now) = decide(&joined, Some(&knowledge), &rules()) else {
            panic!("it is to be confirmed")
        };
        assert_eq!((now.digest, now.hashed), (digest, digest.map(|_| OLD)));
    }
}

#[test]
fn where_names_do_not_matter_a_mend_never_writes_through_to_another() {
    let file = stat(Kind::File);
    let replica = with(twin(file), |s| (s.fingerprint.mode, s.links) = (0o600, 2));
    let (digest, attributes) = (Some(KNOWN), Difference::None);
    let same = Knowledge::Same { source: file, replica, digest, attributes, began: NOW };
    let mut separate = rules();
    separate.rights.preserve.hard_links = false;
    let joined = joined(Some(file), Some(replica), None);
    assert_eq!(word(&decide(&joined, Some(&same), &separate)), "copy");
}

#[test]
fn a_copy_expects_the_known_digest_only_where_the_source_says_that_it_did_not_change() {
    let file = stat(Kind::File);
    let expected =
        |source: Stat, row: Record| match decide(&joined(Some(source), None, Some(row)), None, &rules()) {
            Decision::Operate(copy) => copy.content.map(|(digest, _)| digest),
            other => panic!("{other:?}"),
        };
    assert_eq!(expected(file, row(&file)), Some(KNOWN));
    assert_eq!(expected(with(file, |s| s.fingerprint.ctime.seconds += 1), row(&file)), None);
    assert_eq!(expected(file, Record { racy: true, ..row(&file) }), None);
}

#[test]
fn another_kind_under_the_same_name_is_replaced() {
    let file = stat(Kind::File);
    for (source, replica, verb) in [
        (Kind::File, Kind::Symlink, "copy"),
        (Kind::Symlink, Kind::File, "create"),
        (Kind::Fifo, Kind::Socket, "create"),
        (Kind::File, Kind::Fifo, "copy"),
    ] {
        let replica = with(twin(file), |s| s.fingerprint.kind = replica);
        let source = with(file, |s| s.fingerprint.kind = source);
        assert_eq!(word(&decide(&joined(Some(source), Some(replica), None), None, &rules())), verb);
    }
}

#[test]
fn folders_are_compared_by_their_metadata_and_asked_about_where_attributes_are_kept() {
    let folder = stat(Kind::Folder);
    let mut plain = rules();
    plain.rights.preserve.xattrs = false;
    for (replica, attributes, verdict) in [
        (twin(folder), Difference::None, "confirm"),
        (twin(folder), Difference::Plain, "mend folder"),
        (twin(folder), Difference::Access, "mend folder"),
        (with(twin(folder), |s| s.fingerprint.mtime.seconds += 1), Difference::None, "put time back"),
        (with(twin(folder), |s| s.fingerprint.mode = 0o700), Difference::None, "mend folder"),
        (with(twin(folder), |s| s.gid = 5), Difference::None, "mend folder"),
    ] {
        let joined = joined(Some(folder), Some(replica), None);
        assert_eq!(word(&decide(&joined, None, &rules())), "ask");
        let known = Knowledge::Same { source: folder, replica, digest: None, attributes, began: NOW };
        assert_eq!(word(&decide(&joined, Some(&known), &rules())), verdict, "{known:?}");
        if attributes == Difference::None {
            assert_eq!(word(&decide(&joined, None, &plain)), verdict);
        }
    }
}

#[test]
fn what_could_not_be_looked_at_is_a_problem_and_never_a_reason_to_delete() {
    let unreadable = || Some(Seen::Unreadable("no".to_owned()));
    let unlisted = |stat: Stat| Some(Seen::Unlisted(stat, "no".to_owned()));
    let folder = stat(Kind::Folder);
    let closed = with(twin(folder), |s| s.fingerprint.mode = 0);
    for (source, replica, verdict) in [
        (unreadable(), None, "problem"),
        (unreadable(), Some(Seen::Present(twin(folder))), "problem"),
        (Some(Seen::Vanished), None, "unchanged"),
        (Some(Seen::Vanished), Some(Seen::Present(twin(folder))), "unchanged"),
        (Some(Seen::Present(folder)), Some(Seen::Vanished), "unchanged"),
        (None, Some(Seen::Vanished), "unchanged"),
        (unlisted(folder), None, "problem"),
        (unlisted(folder), Some(Seen::Present(twin(folder))), "problem"),
        (None, unlisted(twin(folder)), "problem"),
        (None, unreadable(), "problem"),
        (Some(Seen::Present(folder)), unreadable(), "problem"),
        (Some(Seen::Present(folder)), unlisted(twin(folder)), "problem"),
        (Some(Seen::Present(folder)), unlisted(closed), "mend folder"),
    ] {
        let joined = Joined { path: path(Kind::Folder), source, replica, row: Some(row(&folder)) };
        assert_eq!(word(&decide(&joined, None, &rules())), verdict, "{joined:?}");
    }
}

#[test]
fn metadata_is_trusted_only_where_that_is_asked_for_and_only_of_single_files_of_one_size_and_time() {
    let trusting = Rules { trust_metadata: true, ..rules() };
    let file = stat(Kind::File);
    let decide =
        |source, replica, row, rules: &Rules| decide(&joined(Some(source), Some(replica), row), None, rules);
    let Decision::Confirm(record) = decide(file, twin(file), None, &trusting) else {
        panic!("it is not trusted")
    };
    assert!(record.is_unverified() && record.digest.is_none());
    assert_eq!(word(&decide(file, twin(file), None, &rules())), "ask");
    assert_eq!(word(&decide(file, with(twin(file), |s| s.fingerprint.mtime = NOW), None, &trusting)), "ask");
    assert_eq!(word(&decide(file, with(twin(file), |s| s.fingerprint.size += 1), None, &trusting)), "copy");
    assert_eq!(word(&decide(file, with(twin(file), |s| s.links = 2), None, &trusting)), "ask");
    let moved = with(file, |s| s.fingerprint.ctime = NOW);
    assert_eq!(word(&decide(moved, twin(file), Some(row(&file)), &trusting)), "ask", "a row knows better");
    let link = stat(Kind::Symlink);
    assert_eq!(word(&decide(link, twin(link), None, &trusting)), "ask");
}
