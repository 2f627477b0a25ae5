//! Random groups on both sides, resolved and carried out on a model: afterwards exactly the names of
//! one inode in the source are names of one inode in the replica, and nothing foreign was touched.

use super::FolderTask;
use super::links::{Links, Named, Resolution, Settled, Waiting};
use super::round::Round;
use crate::model::{Difference, EntryPath, Fingerprint, Kind, Operation, Record, Stat, Timestamp, Verb};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// What one path is in a case: which inodes it has, and how good the replica's is.
#[derive(Clone, Debug)]
struct Spot {
    source: u64,
    /// The replica's inode, if there is something.
    replica: Option<u64>,
    met: bool,
}

/// How the content and metadata of an inode of the replica compare with those of one of the source.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Right,
    Mendable,
    Wrong,
}

fn stat(inode: u64, device: u64, links: u64) -> Stat {
    let time = Timestamp::new(1_000, 5);
    let fingerprint = Fingerprint { kind: Kind::File, mode: 0o644, size: 3, mtime: time, ctime: time, inode };
    Stat { fingerprint, uid: 0, gid: 0, links, device, rdev: 0, allocated: 0 }
}

fn path(index: usize) -> EntryPath {
    EntryPath::from(format!("{index:02}").as_str())
}

/// A case with its inodes' states and the number of names that each has outside the replica.
#[derive(Clone, Debug)]
struct Case {
    spots: Vec<Spot>,
    states: BTreeMap<(u64, u64), State>,
    foreign: BTreeMap<u64, u64>,
    folder_mode: u32,
}

fn case() -> impl Strategy<Value = Case> {
    let spot = (0..4_u64, prop::option::weighted(0.8, 100..105_u64), prop::bool::weighted(0.8));
    let spots = prop::collection::vec(spot, 1..9);
    let states = prop::collection::vec(0..3_u8, 20);
    let foreign = prop::collection::vec(0..2_u64, 5);
    let folder_mode = prop::sample::select(vec![0o755, 0o775]);
    (spots, states, foreign, folder_mode).prop_map(|(spots, states, foreign, folder_mode)| {
        let mut spots: Vec<Spot> =
            spots.into_iter().map(|(source, replica, met)| Spot { source, replica, met }).collect();
        let state = |source: u64, replica: u64| {
            let number = usize::try_from(source * 5 + replica - 100).unwrap();
            [State::Right, State::Mendable, State::Wrong][usize::from(states[number])]
        };
        let mut table = BTreeMap::new();
        for source in 0..4 {
            for replica in 100..105 {
                table.insert((source, replica), state(source, replica));
            }
        }
        // What was not met is known by its row to be right, together with the others of its group that
        // were not met, and is met where its inode is in doubt.
        let mut homes: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        for index in 0..spots.len() {
            let Spot { source, replica, .. } = spots[index];
            let alone = |other: &Spot| other.replica != replica || other.source == source;
            let right = replica.is_some_and(|replica| table[&(source, replica)] == State::Right);
            let quiet =
                right && spots.iter().all(alone) && *homes.entry(source).or_insert(replica) == replica;
            spots[index].met |= !quiet;
        }
        let foreign = (100..105).zip(foreign).collect();
        Case { spots, states: table, foreign, folder_mode }
    })
}

/// What was decided.
struct Outcome {
    resolution: Resolution,
    operations: Vec<Operation>,
}

impl Case {
    fn links(&self, of: impl Fn(&Spot) -> bool) -> u64 {
        self.spots.iter().filter(|spot| of(spot)).count() as u64
    }

    fn replica_stat(&self, spot: &Spot) -> Option<Stat> {
        spot.replica.map(|inode| {
            stat(inode, 2, self.links(|other| other.replica == Some(inode)) + self.foreign[&inode])
        })
    }

    /// What `decide` and the join would give for it.
    fn resolve(&self, round: Round) -> Outcome {
        let (mut links, mut rows, mut at_once) = (Links::new(round), Vec::new(), Vec::new());
        let mut here = stat(1, 2, 2);
        (here.fingerprint.kind, here.fingerprint.mode) = (Kind::Folder, self.folder_mode);
        let folder = Arc::new(FolderTask {
            path: EntryPath::root(),
            source: here,
            replica: Some(here),
            verb: None,
            difference: Difference::None,
            displaces: false,
        });
        for (index, spot) in self.spots.iter().enumerate() {
            let source = stat(spot.source, 1, self.links(|other| other.source == spot.source));
            let replica = self.replica_stat(spot);
            let operation = |verb| Operation {
                path: path(index),
                verb,
                source: Some(source),
                replica,
                content: None,
                attributes: true,
                origin: None,
                from: None,
                displaces: false,
                loses: false,
            };
            let state = spot.replica.map(|inode| self.states[&(spot.source, inode)]);
            let decision = match (state, replica) {
                (Some(State::Right), Some(replica)) => {
                    let row = Record::new(path(index), &source, &replica, None, false);
                    if !spot.met {
                        rows.push(Settled { record: row, source, replica });
                        continue;
                    }
                    Waiting::Right(Box::new(row))
                }
                (Some(State::Mendable), Some(_)) => Waiting::Operation(Box::new(operation(Verb::Metadata))),
                _ => Waiting::Operation(Box::new(operation(Verb::Copy))),
            };
            let folder = Some(Arc::clone(&folder));
            at_once.extend(links.add(Named { source, replica, decision, folder }));
        }
        let wanted = links.incomplete();
        for name in rows.into_iter().filter(|name: &Settled| wanted.contains(&name.record.source.inode)) {
            links.recall(name);
        }
        let mut operations = Vec::new();
        let (mut resolution, _) = links.resolve(0, &mut |operation, _| operations.push(operation));
        resolution.confirmed.extend(at_once);
        Outcome { resolution, operations }
    }

    /// The replica's inodes after the resolution, each operation done as its verb says.
    /// New inodes are numbered from `free` on.
    fn carry_out(
        &self,
        operations: &[Operation],
        free: u64,
    ) -> Result<BTreeMap<EntryPath, u64>, TestCaseError> {
        let mut inodes: BTreeMap<EntryPath, u64> = BTreeMap::new();
        for (index, spot) in self.spots.iter().enumerate() {
            inodes.extend(spot.replica.map(|inode| (path(index), inode)));
        }
        let (late, early): (Vec<_>, Vec<_>) = operations.iter().partition(|o| o.verb == Verb::Link);
        for (fresh, operation) in early.into_iter().enumerate() {
            let Some(number) = operation.source.map(|source| source.fingerprint.inode) else { continue };
            if operation.verb == Verb::Metadata {
                let inode = inodes[&operation.path];
                let shared = self.links(|spot| spot.replica == Some(inode)) > 1;
                prop_assert!(!shared || self.folder_mode == 0o755, "mended where others may move names");
                prop_assert_eq!(self.foreign[&inode], 0, "mended through to a name outside: {:?}", operation);
                let others = self.spots.iter().filter(|spot| spot.replica == Some(inode));
                prop_assert!(
                    others.clone().all(|spot| spot.source == number),
                    "mended through to another file's name: {:?}",
                    operation
                );
            } else {
                inodes.insert(operation.path.clone(), free + fresh as u64);
            }
        }
        for operation in late {
            let from = operation.from.as_ref().and_then(|from| inodes.get(from)).copied();
            prop_assert!(from.is_some(), "linked from nothing: {:?}", operation);
            inodes.extend(from.map(|inode| (operation.path.clone(), inode)));
        }
        Ok(inodes)
    }

    /// The replica's inodes after rounds of at most `most` names, and how many rounds there were.
    fn in_rounds(mut self, most: usize) -> Result<(BTreeMap<EntryPath, u64>, u64), TestCaseError> {
        let mut round = Round::of_at_most(most);
        for number in 1.. {
            let Outcome { resolution, operations } = self.resolve(round);
            let after = self.carry_out(&operations, number * 1_000)?;
            for (index, spot) in self.spots.iter_mut().enumerate() {
                let now = after.get(&path(index)).copied();
                if let Some(inode) = now.filter(|_| now != spot.replica) {
                    self.states.insert((spot.source, inode), State::Right);
                    self.foreign.entry(inode).or_default();
                }
                spot.replica = now;
            }
            for operation in operations.iter().filter(|operation| operation.verb == Verb::Metadata) {
                let inodes = operation.source.zip(operation.replica);
                let inodes =
                    inodes.map(|(source, replica)| (source.fingerprint.inode, replica.fingerprint.inode));
                self.states.extend(inodes.map(|inodes| (inodes, State::Right)));
            }
            match resolution.rest {
                Some(rest) => round = rest.next(HashSet::new()),
                None => return Ok((after, number)),
            }
        }
        unreachable!("rounds end")
    }
}

/// Which names share an inode.
fn groups<I: Ord>(inodes: impl IntoIterator<Item = (EntryPath, I)>) -> BTreeSet<BTreeSet<EntryPath>> {
    let mut groups: BTreeMap<I, BTreeSet<EntryPath>> = BTreeMap::new();
    for (path, inode) in inodes {
        groups.entry(inode).or_default().insert(path);
    }
    groups.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_replica_ends_with_the_sources_groups_and_nothing_foreign_is_touched(case in case()) {
        let Outcome { resolution, operations } = case.resolve(Round::default());
        let after = case.carry_out(&operations, 1_000)?;
        let source = case.spots.iter().enumerate().map(|(index, spot)| (path(index), spot.source));
        prop_assert_eq!(groups(after), groups(source), "{:?}", operations);
        let rows = resolution.confirmed.iter().chain(&resolution.unsettled).map(|row| &row.path);
        let touched = operations.iter().map(|operation| &operation.path);
        let mut seen = BTreeSet::new();
        for path in rows.chain(touched) {
            prop_assert!(seen.insert(path.clone()), "{} comes twice", path);
        }
    }

    #[test]
    fn rounds_come_to_the_same_groups(case in case(), most in 1..9_usize) {
        let sources: Vec<u64> = case.spots.iter().map(|spot| spot.source).collect();
        let inodes = sources.iter().collect::<BTreeSet<_>>().len() as u64;
        let (after, rounds) = case.in_rounds(most)?;
        let source = sources.into_iter().enumerate().map(|(index, source)| (path(index), source));
        prop_assert_eq!(groups(after), groups(source));
        prop_assert!(rounds <= inodes + 1, "{} rounds", rounds);
    }

    #[test]
    fn what_is_in_step_is_confirmed_at_once_and_held_no_longer(sources in prop::collection::vec(0..3_u64, 1..6)) {
        let spots = sources.iter().map(|&source| Spot { source, replica: Some(source + 100), met: true });
        let states = (0..3).map(|source| ((source, source + 100), State::Right)).collect();
        let foreign = (100..105).map(|inode| (inode, 0)).collect();
        let case = Case { spots: spots.collect(), states, foreign, folder_mode: 0o755 };
        let Outcome { resolution, operations } = case.resolve(Round::default());
        prop_assert!(operations.is_empty() && resolution.unsettled.is_empty());
        prop_assert_eq!(resolution.confirmed.len(), sources.len());
    }
}

/// A file of three names, two of which are met, with those on both sides as they are to be.
fn in_order(inode: u64) -> [Named; 2] {
    [0, 50].map(|index| {
        let (source, replica) = (stat(inode, 1, 3), stat(inode + 100, 2, 3));
        let row = Record::new(path(usize::try_from(inode).unwrap() + index), &source, &replica, None, false);
        Named { source, replica: Some(replica), decision: Waiting::Right(Box::new(row)), folder: None }
    })
}

#[test]
fn no_round_holds_more_than_it_may_and_each_inode_has_its_turn() {
    let (mut round, mut rounds, mut seen) = (Round::of_at_most(8), Vec::new(), BTreeSet::new());
    loop {
        let mut links = Links::new(round);
        let names = (0..10).map(in_order).fold([const { Vec::new() }; 2], |[mut one, mut two], [a, b]| {
            one.push(a);
            two.push(b);
            [one, two]
        });
        names.into_iter().flatten().for_each(|name| assert!(links.add(name).is_empty()));
        let (resolution, _) = links.resolve(0, &mut |operation, _| panic!("not right: {operation:?}"));
        let rows = resolution.unsettled.iter().map(|row| row.path.clone());
        let before = seen.len();
        seen.extend(rows);
        rounds.push(seen.len() - before);
        match resolution.rest {
            Some(rest) => round = rest.next(HashSet::new()),
            None => break,
        }
    }
    // The last one is for all that has one name only.
    assert!(rounds.iter().all(|names| *names <= 8) && rounds.last() == Some(&0), "{rounds:?}");
    assert_eq!(seen.len(), 20, "{rounds:?}");
}

#[test]
fn an_inode_with_more_names_than_a_round_may_hold_has_its_turn_as_a_whole() {
    let mut links = Links::new(Round::of_at_most(4));
    for inode in [7, 8] {
        for _ in 0..20 {
            let [name, _] = in_order(inode);
            links.add(Named { source: stat(inode, 1, 99), ..name });
        }
    }
    assert!(links.is_followed() && links.holds(&stat(7, 1, 99)) && !links.holds(&stat(8, 1, 99)));
}
