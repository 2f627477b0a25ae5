//! The truth table. `1` is the content that the manifest knows, `2` and `3` are others, `?` was
//! not read; `=` stands for metadata as the row has it, `~` for a ctime that moved.

use super::*;
use crate::model::{EntryPath, Kind, Preserve};
use crate::plan::desired::Rights;
use std::sync::Arc;

fn time(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 1)
}

fn digest(content: char) -> Digest {
    Digest([content as u8; 16])
}

fn rules() -> Rules {
    Rules {
        rights: Rights {
            uid: 0,
            gid: 0,
            groups: vec![0],
            umask: 0,
            nosuid: false.into(),
            preserve: Preserve::default(),
            held: Arc::default(),
        },
        ignore_ctime: false,
        ignore_inode: false,
        trust_metadata: false,
        rotten: Arc::default(),
        nodev: false.into(),
        began: time(1000),
        tick_nanos: 1,
    }
}

fn stat(kind: Kind, inode: u64, ctime: i64) -> Stat {
    let mtime = time(10);
    let fingerprint = Fingerprint { kind, mode: 0o644, size: 7, mtime, ctime: time(ctime), inode };
    Stat { fingerprint, uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: 0 }
}

/// `word` is `-` for nothing there, else metadata and content.
fn side(word: &str, kind: Kind, inode: u64) -> (Option<Seen>, Content) {
    let mut letters = word.chars();
    let ctime = match letters.next() {
        Some('=') => 20,
        Some('~') => 30,
        _ => return (None, Content::Unread),
    };
    let stat = stat(kind, inode, ctime);
    let content = match letters.next() {
        Some('?') | None => Content::Unread,
        Some('!') => Content::Failed(Problem::source(&EntryPath::from("f"), "read", "rot")),
        Some('%') => Content::Broken(Problem::source(&EntryPath::from("f"), "read", "rot")),
        Some('0') => Content::Vanished,
        Some(content) => Content::Read { stat, digest: digest(content), began: time(2000) },
    };
    (Some(Seen::Present(stat)), content)
}

fn row(content: Option<char>) -> Record {
    Record {
        path: EntryPath::from("f"),
        source: stat(Kind::File, 1, 20).fingerprint,
        replica: stat(Kind::File, 2, 20).fingerprint,
        digest: content.map(digest),
        hashed: content.map(|_| time(500)),
        racy: false,
    }
}

fn case(source: &str, replica: &str, row: Option<Record>) -> (Joined, Contents) {
    let same = source.get(1..) == replica.get(1..) && source.len() == 2;
    let (source, ours) = side(source, Kind::File, 1);
    let (replica, theirs) = side(replica, Kind::File, 2);
    let joined = Joined { path: EntryPath::from("f"), source, replica, row };
    (joined, Contents { source: ours, replica: theirs, same })
}

fn judge(joined: &Joined, contents: &Contents, rules: &Rules, anew: bool) -> (Verdict, &'static str) {
    let case = Case { joined, contents, rules, anew };
    let verdict = case.verdict();
    let row = match case.row_for(verdict) {
        None => "none",
        row if row == joined.row => "old",
        Some(row) if row.racy => "doubted",
        Some(_) => "new",
    };
    (verdict, row)
}

use Damage::{Both, Either, Replica, Source};
use Drift::{
    BothTouched, ContentDiffers, ExtraInReplica, GoneOnBothSides, MissingInReplica, NotInManifest,
    ReplicaTouched, SourceChanged, SourceTouched,
};
use Verdict::{Damaged, Drift as Drifted, Sound, Unreadable};

#[test]
fn every_pair_of_contents_and_metadata_has_its_verdict_and_its_row() {
    let table = [
        // Both read; the source as the manifest knows it.
        ("=1", "=1", Sound, "new"),
        ("=1", "=2", Damaged(Replica), "doubted"),
        ("=1", "~1", Drifted(ReplicaTouched), "new"),
        ("=1", "~2", Damaged(Replica), "doubted"),
        // The source rotten.
        ("=2", "=1", Damaged(Source), "old"),
        ("=2", "=2", Damaged(Both), "new"),
        ("=2", "=3", Damaged(Both), "old"),
        ("=2", "~1", Damaged(Source), "old"),
        ("=2", "~2", Damaged(Source), "old"),
        ("=2", "~3", Damaged(Both), "old"),
        // The source touched, its bytes as they were.
        ("~1", "=1", Drifted(SourceTouched), "new"),
        ("~1", "=2", Damaged(Replica), "doubted"),
        ("~1", "~1", Drifted(BothTouched), "new"),
        ("~1", "~2", Damaged(Replica), "doubted"),
        // The source changed: never taken for damage.
        ("~2", "=1", Drifted(SourceChanged), "doubted"),
        ("~2", "=2", Drifted(SourceChanged), "new"),
        ("~2", "=3", Damaged(Replica), "doubted"),
        ("~2", "~1", Drifted(SourceChanged), "doubted"),
        ("~2", "~2", Drifted(SourceChanged), "new"),
        ("~2", "~3", Damaged(Replica), "doubted"),
        // Only the source is read.
        ("=1", "=?", Sound, "new"),
        ("=2", "=?", Damaged(Source), "old"),
        ("~1", "=?", Drifted(SourceTouched), "new"),
        ("~2", "=?", Drifted(SourceChanged), "old"),
        ("=1", "~?", Drifted(ReplicaTouched), "old"),
        ("=2", "~?", Damaged(Source), "old"),
        ("~1", "~?", Drifted(SourceTouched), "old"),
        ("~2", "~?", Drifted(SourceChanged), "old"),
        // Only the replica is read: its damage is kept from being "restored" out of an unread source.
        ("=?", "=1", Sound, "new"),
        ("=?", "=2", Damaged(Replica), "old"),
        ("=?", "~1", Drifted(ReplicaTouched), "new"),
        ("=?", "~2", Damaged(Replica), "old"),
        ("~?", "=1", Drifted(SourceChanged), "old"),
        ("~?", "=2", Damaged(Replica), "old"),
        ("~?", "~1", Drifted(SourceChanged), "old"),
        ("~?", "~2", Drifted(SourceChanged), "old"),
        // One side is not there, or went away.
        ("=1", "-", Drifted(MissingInReplica), "old"),
        ("=2", "-", Damaged(Source), "old"),
        ("~2", "-", Drifted(MissingInReplica), "old"),
        ("=1", "=0", Drifted(MissingInReplica), "old"),
        ("-", "=1", Drifted(ExtraInReplica), "old"),
        ("-", "=2", Damaged(Replica), "old"),
        ("-", "~1", Drifted(ExtraInReplica), "old"),
        ("-", "~2", Damaged(Replica), "old"),
        ("=0", "=1", Drifted(ExtraInReplica), "old"),
        ("-", "-", Drifted(GoneOnBothSides), "none"),
        ("=0", "=0", Drifted(GoneOnBothSides), "none"),
        // One side could not be read: damage on the other is told all the same.
        ("=!", "=1", Unreadable, "old"),
        ("=!", "=2", Damaged(Replica), "old"),
        ("=!", "~2", Unreadable, "old"),
        ("=1", "=!", Unreadable, "old"),
        ("=2", "=!", Damaged(Source), "old"),
        ("~2", "=!", Unreadable, "old"),
        ("=!", "=!", Unreadable, "old"),
        ("=!", "-", Unreadable, "old"),
        // The disk does not give it back: the replica's is made again from a source that is as it was.
        ("=1", "=%", Unreadable, "doubted"),
        ("~1", "=%", Unreadable, "doubted"),
        ("~2", "=%", Unreadable, "old"),
        ("=2", "=%", Damaged(Source), "old"),
        ("=%", "=1", Unreadable, "old"),
        ("=%", "=%", Unreadable, "old"),
    ];
    for (source, replica, verdict, kept) in table {
        let (joined, contents) = case(source, replica, Some(row(Some('1'))));
        assert_eq!(judge(&joined, &contents, &rules(), false), (verdict, kept), "{source} {replica}");
    }
}

#[test]
fn without_a_row_or_an_md5_nobody_can_say_which_side_is_right() {
    let table = [
        // No row, in a manifest that knows others; in one that knows nothing.
        (None, "=1", "=1", false, Drifted(NotInManifest), "new"),
        (None, "=1", "=1", true, Sound, "new"),
        (None, "=1", "=2", false, Damaged(Either), "old"),
        (None, "=1", "=2", true, Damaged(Either), "old"),
        (None, "=?", "=1", false, Drifted(NotInManifest), "old"),
        (None, "=?", "-", false, Drifted(MissingInReplica), "old"),
        (None, "-", "=?", false, Drifted(ExtraInReplica), "old"),
        (None, "=0", "-", false, Sound, "old"),
        // A row that was never hashed.
        (Some(row(None)), "=1", "=1", false, Sound, "new"),
        (Some(row(None)), "=1", "=2", false, Damaged(Either), "old"),
        (Some(row(None)), "~1", "=2", false, Drifted(SourceChanged), "doubted"),
    ];
    for (row, source, replica, anew, verdict, kept) in table {
        let (joined, contents) = case(source, replica, row);
        let kept = if kept == "old" && joined.row.is_none() { "none" } else { kept };
        assert_eq!(judge(&joined, &contents, &rules(), anew), (verdict, kept), "{source} {replica}");
    }
}

#[test]
fn files_of_other_sizes_that_the_manifest_does_not_know_are_no_damage() {
    let (mut joined, mut contents) = case("=1", "=2", None);
    for stat in [&mut joined.replica].into_iter().flatten() {
        if let Seen::Present(stat) = stat {
            stat.fingerprint.size = 8;
            contents.replica = Content::Read { stat: *stat, digest: digest('2'), began: time(2000) };
        }
    }
    assert_eq!(judge(&joined, &contents, &rules(), true), (Drifted(ContentDiffers), "none"));
}

#[test]
fn a_racy_row_makes_other_bytes_a_change_of_the_source_but_still_damage_in_the_replica() {
    let racy = || Some(Record { racy: true, ..row(Some('1')) });
    for (source, replica, verdict) in [
        ("=1", "=1", Sound),
        ("=2", "=1", Drifted(SourceChanged)),
        ("=2", "=2", Drifted(SourceChanged)),
        ("=1", "=2", Damaged(Replica)),
    ] {
        let (joined, contents) = case(source, replica, racy());
        assert_eq!(judge(&joined, &contents, &rules(), false).0, verdict, "{source} {replica}");
    }
    let (joined, contents) = case("=1", "=1", racy());
    let case = Case { joined: &joined, contents: &contents, rules: &rules(), anew: false };
    assert!(case.row_for(Sound).is_some_and(|row| !row.racy), "long past, it is racy no more");
}

#[test]
fn equal_md5s_of_different_bytes_are_no_proof() {
    let (joined, mut contents) = case("=1", "~1", Some(row(Some('1'))));
    contents.same = false;
    assert_eq!(judge(&joined, &contents, &rules(), false), (Damaged(Replica), "doubted"));
}

#[test]
fn a_job_that_ignores_ctimes_still_brings_over_what_a_rebuild_found_changed() {
    let rules = Rules { ignore_ctime: true, ..rules() };
    let (joined, contents) = case("~2", "=1", Some(row(Some('1'))));
    assert_eq!(judge(&joined, &contents, &rules, false), (Drifted(SourceChanged), "doubted"));
}

#[test]
fn a_fresh_row_has_the_new_figures_and_the_time_of_reading() {
    let (joined, contents) = case("~2", "~2", Some(row(Some('1'))));
    let case = Case { joined: &joined, contents: &contents, rules: &rules(), anew: false };
    let fresh = case.row_for(case.verdict()).unwrap();
    assert_eq!((fresh.digest, fresh.hashed), (Some(digest('2')), Some(time(2000))));
    assert_eq!((fresh.source.ctime, fresh.replica.ctime), (time(30), time(30)));
}

#[test]
fn what_has_no_content_is_judged_by_its_metadata() {
    for (source, replica, verdict, kept) in [
        ("=", "=", Sound, "new"),
        ("~", "=", Drifted(SourceTouched), "new"),
        ("=", "~", Drifted(ReplicaTouched), "new"),
        ("~", "~", Drifted(BothTouched), "new"),
    ] {
        let (source_seen, ours) = side(source, Kind::Folder, 1);
        let (replica_seen, theirs) = side(replica, Kind::Folder, 2);
        let mut row = row(None);
        row.path = EntryPath::from("f/");
        (row.source.kind, row.replica.kind) = (Kind::Folder, Kind::Folder);
        let joined = Joined {
            path: row.path.clone(),
            source: source_seen,
            replica: replica_seen,
            // So that a new row can be told from the old one.
            row: Some(Record { hashed: Some(time(1)), ..row }),
        };
        let contents = Contents { source: ours, replica: theirs, same: false };
        assert_eq!(wanted(&joined, Sides::Both), (false, false));
        assert_eq!(judge(&joined, &contents, &rules(), false), (verdict, kept), "{source} {replica}");
    }
}

#[test]
fn what_could_not_be_looked_at_is_a_problem_and_keeps_its_row() {
    let there = Seen::Present(stat(Kind::Folder, 1, 20));
    let unlisted = Seen::Unlisted(stat(Kind::Folder, 1, 20), "denied".to_owned());
    let unreadable = Seen::Unreadable("denied".to_owned());
    for (source, replica, problems) in [
        (Some(unlisted.clone()), Some(there.clone()), 1),
        (Some(unreadable.clone()), None, 1),
        (None, Some(unreadable.clone()), 1),
        (Some(there), Some(unlisted.clone()), 1),
        (Some(unreadable), Some(unlisted), 2),
    ] {
        let path = EntryPath::from("f");
        let joined = Joined { path, source, replica, row: Some(row(Some('1'))) };
        let contents = Contents::UNREAD;
        let case = Case { joined: &joined, contents: &contents, rules: &rules(), anew: false };
        assert_eq!(case.problems().len(), problems);
        assert_eq!(judge(&joined, &contents, &rules(), false), (Unreadable, "old"));
    }
}

#[test]
fn only_what_can_be_compared_is_read() {
    let (both, replica) = (Sides::Both, Sides::Replica);
    for (source, replica_word, row, sides, reads) in [
        ("=?", "=?", Some(row(Some('1'))), both, (true, true)),
        ("=?", "=?", Some(row(Some('1'))), replica, (false, true)),
        ("=?", "-", Some(row(Some('1'))), both, (true, false)),
        ("=?", "=?", None, both, (true, true)),
        ("=?", "=?", None, replica, (false, false)),
        ("=?", "-", None, both, (false, false)),
        ("-", "=?", Some(row(None)), both, (false, false)),
    ] {
        let (joined, _) = case(source, replica_word, row);
        assert_eq!(wanted(&joined, sides), reads, "{source} {replica_word} {sides:?}");
    }
}
