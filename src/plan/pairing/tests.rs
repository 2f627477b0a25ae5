//! Pairs of new and old files against a naive search, and how long they take.

use super::*;
use crate::model::{Preserve, Timestamp};
use crate::plan::FolderTask;
use crate::plan::desired::Rights;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEVICE: u64 = 1;

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
    let began = Timestamp::new(2_000, 0);
    Rules {
        rights,
        ignore_ctime: false,
        ignore_inode: false,
        trust_metadata: false,
        rotten: Arc::default(),
        nodev: false.into(),
        began,
        tick_nanos: 1,
    }
}

/// A file with what it holds.
#[derive(Clone, Copy, Debug)]
struct Made {
    inode: u64,
    mtime: i64,
    ctime: i64,
    content: u8,
}

impl Made {
    fn stat(self, device: u64) -> Stat {
        let fingerprint = Fingerprint {
            kind: Kind::File,
            mode: 0o644,
            size: 1 + u64::from(self.content % 2),
            mtime: Timestamp::new(self.mtime, 0),
            ctime: Timestamp::new(self.ctime, 0),
            inode: self.inode,
        };
        Stat { fingerprint, uid: 0, gid: 0, links: 1, device, rdev: 0, allocated: 0 }
    }

    fn digest(self) -> Digest {
        Digest([self.content; 16])
    }
}

fn operation(path: &str, verb: Verb) -> Operation {
    Operation {
        path: EntryPath::from(path),
        verb,
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

/// What the replica has under a name of the source that is gone, or that another file has now.
fn old(path: &str, made: Made) -> Operation {
    let (source, replica) = (made.stat(DEVICE), Made { inode: made.inode + 1_000, ..made }.stat(DEVICE + 1));
    let content = Some((made.digest(), Timestamp::new(100, 0)));
    let row = Record::new(EntryPath::from(path), &source, &replica, content, false);
    Operation { replica: Some(replica), origin: Some(Box::new(row)), ..operation(path, Verb::Delete) }
}

fn new(path: &str, made: Made) -> Operation {
    Operation { source: Some(made.stat(DEVICE)), ..operation(path, Verb::Copy) }
}

/// A plan that deletes `olds` and copies `news`; where both have a name, it copies onto it.
fn plan_of(olds: &[(String, Made)], news: &[(String, Made)]) -> Plan {
    let mut plan = Plan::default();
    for (path, made) in news {
        let onto = olds.iter().find(|(name, _)| name == path).map(|(path, made)| old(path, *made));
        let (replica, origin) = onto.map_or((None, None), |old| (old.replica, old.origin));
        plan.entries.push(Operation { replica, origin, ..new(path, *made) });
    }
    let gone = olds.iter().filter(|(path, _)| !news.iter().any(|(name, _)| name == path));
    plan.deletes.extend(gone.map(|(path, made)| old(path, *made)));
    plan.entries.sort_by(|one, other| one.path.cmp(&other.path));
    plan.deletes.sort_by(|one, other| one.path.cmp(&other.path));
    plan
}

/// For each open new file the first open old one of the same key and name, or else of the same key.
fn naive<K: PartialEq>(
    pairing: &Pairing<'_>,
    key_of: impl Fn(&EntryPath, &Fingerprint) -> K,
    old_key_of: impl Fn(&Fingerprint, &EntryPath) -> K,
) -> Vec<(EntryPath, EntryPath)> {
    let mut left: Vec<&Old> = pairing.old.iter().filter(|old| !old.taken).collect();
    let mut pairs = Vec::new();
    for new in pairing.new.iter().filter(|new| !new.settled) {
        let operation = &pairing.plan.entries[new.entry];
        let key = key_of(&operation.path, &operation.source.unwrap().fingerprint);
        let fits = |old: &&Old| old.path != operation.path && old_key_of(&old.row.source, &old.path) == key;
        let same_name = left.iter().position(|old| fits(old) && old.path.name() == operation.path.name());
        if let Some(at) = same_name.or_else(|| left.iter().position(fits)) {
            pairs.push((operation.path.clone(), left.remove(at).path.clone()));
        }
    }
    pairs
}

fn names(pairs: &[Pair]) -> Vec<(EntryPath, EntryPath)> {
    pairs.iter().map(|pair| (pair.to.clone(), pair.from.clone())).collect()
}

fn same(pair: &Pair, digest: Digest) -> Knowledge {
    Knowledge::Same {
        source: pair.source,
        replica: pair.replica,
        digest: Some(digest),
        attributes: Difference::None,
        began: Timestamp::new(2_000, 0),
    }
}

fn failed(path: &EntryPath, side: Side) -> Knowledge {
    Knowledge::Failed(Problem { path: path.clone(), side, action: "open", cause: "no permission".into() })
}

fn files(most: usize) -> impl Strategy<Value = Vec<(String, Made)>> {
    let made = (1_u64..6, 0_i64..2, 0_i64..2, 0_u8..4);
    let made = made.prop_map(|(inode, mtime, ctime, content)| {
        // Whoever writes to a file moves its ctime.
        Made { inode, mtime, ctime: ctime + 10 * i64::from(content), content }
    });
    prop::collection::btree_map("([abc]/)?[xyz]", made, 0..most).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn each_round_pairs_as_a_naive_search_does_and_what_differs_is_never_moved(
        olds in files(9),
        news in files(9),
    ) {
        let (mut plan, rules) = (plan_of(&olds, &news), rules());
        let before = plan_of(&olds, &news);
        let content = |of: &[(String, Made)], path: &EntryPath| {
            of.iter().find(|(name, _)| EntryPath::from(name.as_str()) == *path).map(|(_, made)| made.content)
        };
        let mut pairing = Pairing::of(&before, &rules, DEVICE);
        let compare = |pairing: &mut Pairing<'_>, pairs: Vec<Pair>| {
            for pair in pairs {
                let (ours, theirs) = (content(&news, &pair.to), content(&olds, &pair.from));
                let knowledge = match ours {
                    Some(ours) if Some(ours) == theirs => same(&pair, Digest([ours; 16])),
                    _ => Knowledge::Different,
                };
                pairing.learn(pair, &knowledge);
            }
        };
        let by_inode = |file: &Fingerprint| (file.inode, file.size, file.mtime);
        let mut expected = naive(&pairing, |_, file| by_inode(file), |file, _| by_inode(file));
        let open = pairing.by_inode();
        let mut found = names(&open);
        found.extend(pairing.found.iter().map(|(_, _, moving)| (moving.to.clone(), moving.from.clone())));
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
        compare(&mut pairing, open);
        let by_time = |file: &Fingerprint| (file.size, file.mtime);
        let expected = naive(&pairing, |_, file| by_time(file), |file, _| by_time(file));
        let pairs = pairing.by_time();
        prop_assert_eq!(names(&pairs), expected);
        compare(&mut pairing, pairs);
        let expected = naive(&pairing, |path, _| content(&news, path), |_, path| content(&olds, path));
        let digest = |file: &Unnamed| Digest([content(&news, &file.path).unwrap(); 16]);
        let named: Vec<(Unnamed, Digest)> =
            pairing.unnamed().into_iter().map(|file| { let digest = digest(&file); (file, digest) }).collect();
        let pairs = pairing.by_digest(&named);
        prop_assert_eq!(names(&pairs), expected);
        compare(&mut pairing, pairs);
        pairing.finish().apply(&mut plan);
        let mut from: Vec<&EntryPath> = plan.moves.iter().map(|moving| &moving.from).collect();
        from.sort();
        from.dedup();
        prop_assert_eq!(from.len(), plan.moves.len(), "no old file is moved twice");
        for moving in &plan.moves {
            prop_assert_eq!(content(&news, &moving.to), content(&olds, &moving.from), "{:?}", moving);
            prop_assert!(moving.to != moving.from);
        }
        // Each new file comes once, and each old name goes with a delete, a move, or what comes onto it.
        let mut come: Vec<&EntryPath> = plan.entries.iter().map(|copy| &copy.path).collect();
        come.extend(plan.moves.iter().map(|moving| &moving.to));
        come.sort();
        prop_assert_eq!(come, before.entries.iter().map(|copy| &copy.path).collect::<Vec<_>>());
        let mut go: Vec<&EntryPath> = plan.deletes.iter().map(|delete| &delete.path).collect();
        go.extend(plan.moves.iter().filter_map(|moving| moving.old.as_ref()).map(|delete| &delete.path));
        go.sort();
        prop_assert_eq!(go, before.deletes.iter().map(|delete| &delete.path).collect::<Vec<_>>());
    }
}

#[test]
fn many_files_of_one_size_time_and_content_are_paired_without_a_search_for_each() {
    let count = 20_000;
    let made = |inode| Made { inode, mtime: 0, ctime: 0, content: 1 };
    let all = |prefix: &str, first: u64| -> Plan {
        let mut plan = Plan::default();
        for number in 0..count {
            plan.deletes.push(old(&format!("a/{number:05}"), made(number)));
            plan.entries.push(new(&format!("b/{prefix}{number:05}"), made(first + number)));
        }
        plan
    };
    let rules = rules();
    let began = Instant::now();
    // Of other names, and of names whose old files are those that would be taken last.
    for prefix in ["x", ""] {
        let plan = all(prefix, 100_000);
        let mut pairing = Pairing::of(&plan, &rules, DEVICE);
        assert!(pairing.by_inode().is_empty());
        for pairs in [pairing.by_time(), {
            let named: Vec<_> = pairing.unnamed().into_iter().map(|file| (file, made(0).digest())).collect();
            pairing.by_digest(&named)
        }] {
            assert_eq!(pairs.len() as u64, count);
            let in_order = |pair: &Pair| pair.to.as_bytes().ends_with(pair.from.name());
            assert!(pairs.iter().all(in_order), "of several each takes the one of its name, or the first");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_renamed_file_that_cannot_be_read_keeps_its_old_name_and_all_that_this_name_needs() {
    let made = |inode| Made { inode, mtime: 0, ctime: 0, content: 1 };
    let folder = |path: &str| {
        let task = FolderTask {
            path: EntryPath::from(path),
            source: made(90).stat(DEVICE),
            replica: None,
            verb: Some(Verb::Create),
            difference: Difference::None,
            displaces: path == "two/",
        };
        Arc::new(task)
    };
    let before = || Plan {
        // `two` is a folder now, and what was the folder `f` is a file.
        folders: vec![folder("new/"), folder("two/"), folder("two/in/")],
        entries: vec![
            Operation { displaces: true, ..new("f", made(7)) },
            new("new/four", Made { ctime: 9, ..made(4) }),
            new("new/one", Made { ctime: 9, ..made(1) }),
            new("new/two", Made { ctime: 9, ..made(2) }),
            new("two/in/five", Made { ctime: 9, ..made(5) }),
            new("two/in/other", Made { mtime: 5, ..made(9) }),
        ],
        deletes: vec![
            operation("f/", Verb::Delete),
            operation("f/d/", Verb::Delete),
            old("f/d/one", made(1)),
            operation("f/e/", Verb::Delete),
            old("four", made(4)),
            operation("g/", Verb::Delete),
            old("g/five", made(5)),
            old("two", made(2)),
        ],
        ..Plan::default()
    };
    let (complete, rules) = (before(), rules());
    let kept = |side: Side| {
        let mut plan = before();
        let mut pairing = Pairing::of(&complete, &rules, DEVICE);
        let pairs = pairing.by_inode();
        assert_eq!(pairs.len(), 4);
        for pair in pairs {
            let is_open = [4, 5].contains(&pair.source.fingerprint.inode);
            let knowledge = if is_open { same(&pair, made(4).digest()) } else { failed(&pair.to, side) };
            pairing.learn(pair, &knowledge);
        }
        assert!(pairing.finish().apply(&mut plan));
        let deletes = plan.deletes.iter().map(|delete| delete.path.to_string()).collect::<Vec<_>>().join(" ");
        let told = plan.operations().filter(|intent| intent.verb != Verb::Delete);
        let told: Vec<String> = told.map(|intent| intent.path.to_string()).collect();
        let problems = plan.problems.iter().map(|problem| problem.path.to_string()).collect::<Vec<_>>();
        (deletes, told.join(" "), problems.join(" "))
    };
    let expected = ("f/e/", "new/ new/four", "new/one new/two");
    let (deletes, told, problems) = kept(Side::Source);
    assert_eq!((deletes.as_str(), told.as_str(), problems.as_str()), expected);
    // Where it is the replica's file that cannot be read, the source has all.
    let (deletes, told, problems) = kept(Side::Replica);
    assert_eq!(deletes, "f/ f/d/ f/d/one f/e/ g/ two");
    assert_eq!(told, "new/ two/ two/in/ new/four two/in/five f new/one new/two two/in/other");
    assert_eq!(problems, "");
}
