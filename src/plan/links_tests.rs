//! Random groups on both sides, resolved and carried out on a model: afterwards exactly the names of
//! one inode in the source are names of one inode in the replica, and nothing foreign was touched.

use super::FolderTask;
use super::links::{Links, Named, Resolution, Settled, Waiting};
use crate::model::{Difference, EntryPath, Fingerprint, Kind, Operation, Record, Stat, Timestamp, Verb};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
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
    fn resolve(&self) -> Resolution {
        let (mut links, mut rows, mut at_once) = (Links::default(), Vec::new(), Vec::new());
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
        rows.retain(|name: &Settled| wanted.contains(&name.record.source.inode));
        let mut resolution = links.resolve(rows, 0);
        resolution.confirmed.extend(at_once);
        resolution
    }

    /// The replica's inodes after the resolution, each operation done as its verb says.
    fn carry_out(&self, resolution: &Resolution) -> Result<BTreeMap<EntryPath, u64>, TestCaseError> {
        let mut inodes: BTreeMap<EntryPath, u64> = BTreeMap::new();
        for (index, spot) in self.spots.iter().enumerate() {
            inodes.extend(spot.replica.map(|inode| (path(index), inode)));
        }
        let operations = resolution.operations.iter().map(|(operation, _)| operation);
        let (late, early): (Vec<_>, Vec<_>) = operations.partition(|o| o.verb == Verb::Link);
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
                inodes.insert(operation.path.clone(), 1_000 + fresh as u64);
            }
        }
        for operation in late {
            let from = operation.from.as_ref().and_then(|from| inodes.get(from)).copied();
            prop_assert!(from.is_some(), "linked from nothing: {:?}", operation);
            inodes.extend(from.map(|inode| (operation.path.clone(), inode)));
        }
        Ok(inodes)
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
        let resolution = case.resolve();
        let after = case.carry_out(&resolution)?;
        let source = case.spots.iter().enumerate().map(|(index, spot)| (path(index), spot.source));
        prop_assert_eq!(groups(after), groups(source), "{:?}", resolution);
        let rows = resolution.confirmed.iter().chain(&resolution.unsettled).map(|row| &row.path);
        let touched = resolution.operations.iter().map(|(operation, _)| &operation.path);
        let mut seen = BTreeSet::new();
        for path in rows.chain(touched) {
            prop_assert!(seen.insert(path.clone()), "{} comes twice", path);
        }
    }

    #[test]
    fn what_is_in_step_is_confirmed_at_once_and_held_no_longer(sources in prop::collection::vec(0..3_u64, 1..6)) {
        let spots = sources.iter().map(|&source| Spot { source, replica: Some(source + 100), met: true });
        let states = (0..3).map(|source| ((source, source + 100), State::Right)).collect();
        let foreign = (100..105).map(|inode| (inode, 0)).collect();
        let case = Case { spots: spots.collect(), states, foreign, folder_mode: 0o755 };
        let resolution = case.resolve();
        prop_assert!(resolution.operations.is_empty() && resolution.unsettled.is_empty());
        prop_assert_eq!(resolution.confirmed.len(), sources.len());
    }
}
