//! The power goes while a run is under way: files under final names are whole, the manifest claims
//! nothing that the disk lost, and the next run puts everything right. Needs root, loop devices and
//! `xfs_io`; says so where it has not.
//!
//! `TWINFOLD_TEST_FULL=1` cuts 30 times for each file system and kind of cut.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "says how much was tried; broken fixtures fail"
)]

mod common;

use common::disk::{Disk, does};
use common::program::start;
use common::sweep::is_full;
use common::tree::{Tree, chmod, mkdir, remove, write};
use common::versions::{Allowed, plant};
use common::{Mirror, claims, settle};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Files besides those of every kind, so that a run has many batches.
const MANY: u32 = 120;

fn moments(full: u32, sample: u32) -> u32 {
    if is_full() { full } else { sample }
}

/// A mirror whose replica lies on a disk that loses its power.
struct Powered {
    mirror: Mirror,
    disk: Disk,
    version: u32,
    trees: (Tree, Tree),
    random: u64,
}

/// Where the manifest lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manifest {
    /// With the replica, and is lost with it.
    OnTheDisk,
    /// On a disk that keeps its power.
    Elsewhere,
}

impl Powered {
    fn new(kind: &str, durability: &str, manifest: Manifest) -> Option<Self> {
        let mut mirror = Mirror::new();
        let disk = Disk::new(&mirror.path("."), kind)?;
        mirror.replica = disk.at.join("replica");
        if manifest == Manifest::OnTheDisk {
            mirror.state = disk.at.join("state");
        }
        let config = format!(
            "file_copy_batch_size = 6\nmax_workers = 2\nmax_delete = \"off\"\ndurability = \"{durability}\"\n"
        );
        mirror.write_config("home/twinfold/config.toml", config);
        let none = Tree(BTreeMap::new());
        let random = 0x9E37_79B9_7F4A_7C15;
        let mut powered = Self { mirror, disk, version: 0, trees: (none.clone(), none), random };
        powered.change();
        powered.start_afresh();
        Some(powered)
    }

    /// Brings the source to its next version.
    fn change(&mut self) {
        self.version += 1;
        plant(&self.mirror.source, self.version);
        for number in 0..MANY {
            let content = format!("{number} in version {}\n", self.version).repeat(1 + number as usize * 4);
            write(self.mirror.in_source(format!("many/{number:03}")), content);
        }
        let now = Tree::of(&self.mirror.source);
        self.trees = (std::mem::replace(&mut self.trees.1, now.clone()), now);
        settle();
    }

    /// No replica and no manifest, for good.
    fn start_afresh(&mut self) {
        self.trees.0 = Tree(BTreeMap::new());
        remove(&self.mirror.replica);
        remove(&self.mirror.state);
        mkdir(&self.mirror.state);
        chmod(&self.mirror.state, 0o700);
        self.keep();
    }

    /// Makes all that was done so far outlive the next cut.
    fn keep(&self) {
        assert!(does("sync", &["-f", self.disk.at.to_str().unwrap()]));
    }

    /// A run that the power leaves at a random moment of the time that `whole` says it takes. Whether that was before
    /// its end.
    fn cut_during_a_run(&mut self, whole: Duration, flush_log: bool) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = f64::from(u32::try_from(self.random % 1000).unwrap()) / 900.0;
        let mut run = start(self.mirror.once(&[]));
        sleep(whole.mul_f64(share));
        self.disk.cut(flush_log);
        if run.is_running() {
            run.signal(Signal::KILL);
        }
        // Killed, or already ended by the errors that the cut had it meet.
        run.wait().code != 0
    }

    /// Switches the disk on, and fails where anything is torn, claimed in vain, or not put right.
    fn recover(&mut self, what: &str) {
        self.disk.restart();
        Allowed::between(&self.trees.0, &self.trees.1).check(&self.mirror.replica, what);
        claims::check(&self.mirror, what);
        let output = self.mirror.run(&[]);
        assert_eq!(output.code, 0, "{what}: the next run: {output:?}");
        self.mirror.assert_in_step();
        self.keep();
    }
}

/// Cuts the power in runs of all kinds.
fn cut_often(kind: &str, durability: &str, flush_log: bool, times: u32) {
    if times == 0 {
        return;
    }
    for manifest in [Manifest::Elsewhere, Manifest::OnTheDisk] {
        let Some(mut powered) = Powered::new(kind, durability, manifest) else { return };
        let began = Instant::now();
        powered.mirror.run(&[]).expect(0);
        let mut whole = began.elapsed();
        powered.keep();
        let mut in_time = 0;
        for turn in 0..times.div_ceil(2) {
            powered.change();
            if turn % 3 == 2 {
                powered.start_afresh();
            }
            let was_in_time = powered.cut_during_a_run(whole, flush_log);
            in_time += u32::from(was_in_time);
            // How long a run takes is not the same for each, nor for each moment of the machine.
            whole = whole.mul_f64(if was_in_time { 1.2 } else { 0.7 });
            let what = format!("{kind}, {durability}, flush {flush_log}, {manifest:?}, cut {turn}");
            powered.recover(&what);
        }
        assert!(times < 10 || in_time > 0, "no cut was in the middle of a run");
        eprintln!(
            "{kind}, {durability}, flush {flush_log}, {manifest:?}: {in_time} cuts in the middle of a run"
        );
    }
}

#[test]
fn ext4_that_loses_power_during_a_run_holds_whole_files_and_heals() {
    cut_often("ext4", "batch", false, moments(30, 2));
}

#[test]
fn ext4_that_loses_power_after_flushing_its_log_holds_whole_files_and_heals() {
    cut_often("ext4", "batch", true, moments(30, 2));
}

#[test]
fn xfs_that_loses_power_during_a_run_holds_whole_files_and_heals() {
    cut_often("xfs", "batch", false, moments(30, 2));
}

#[test]
fn xfs_that_loses_power_after_flushing_its_log_holds_whole_files_and_heals() {
    cut_often("xfs", "batch", true, moments(30, 2));
}

#[test]
fn an_fsync_for_each_file_does_as_well() {
    for kind in ["ext4", "xfs"] {
        cut_often(kind, "file", false, moments(8, 0));
        cut_often(kind, "file", true, moments(8, 2));
    }
}

/// The last renames and rows of a run that ended well are on their way to the disk when it is cut.
#[test]
fn power_lost_just_after_a_run_undoes_renames_and_the_next_run_sees_it() {
    let cuts = [("ext4", false), ("xfs", true), ("ext4", true), ("xfs", false)];
    for (kind, flush_log) in cuts.into_iter().take(if is_full() { 4 } else { 2 }) {
        for manifest in [Manifest::Elsewhere, Manifest::OnTheDisk] {
            let Some(mut powered) = Powered::new(kind, "batch", manifest) else { return };
            for turn in 0..moments(4, 1) {
                powered.mirror.run(&[]).expect(0);
                powered.disk.cut(flush_log);
                let what = format!("{kind}, flush {flush_log}, {manifest:?}, after run {turn}");
                powered.recover(&what);
                powered.change();
            }
        }
    }
}

/// A first run that has nothing to make durable yet has made the replica's root.
#[test]
fn a_replica_made_just_before_the_cut_is_not_missed_afterwards() {
    for kind in ["ext4", "xfs"] {
        let mut mirror = Mirror::new();
        let Some(mut disk) = Disk::new(&mirror.path("."), kind) else { return };
        mirror.replica = disk.at.join("replica");
        for folder in ["a/b", "c"] {
            mkdir(mirror.in_source(folder));
        }
        mirror.run(&[]).expect(0);
        disk.cut(false);
        disk.restart();
        mirror.sync();
        assert!(Path::new(&mirror.replica).is_dir());
    }
}

/// Deletes that the cut undoes must not look like strays that somebody put into the replica: with the
/// guards as they are by default, nobody is needed to get over it.
#[test]
fn deletes_just_before_the_cut_need_no_approval_afterwards() {
    for kind in ["ext4", "xfs"] {
        let mut mirror = Mirror::new();
        let Some(mut disk) = Disk::new(&mirror.path("."), kind) else { return };
        mirror.replica = disk.at.join("replica");
        let name = |number: u32| format!("{number:03}");
        (0..300).for_each(|number| write(mirror.in_source(name(number)), name(number)));
        settle();
        mirror.sync();
        assert!(does("sync", &["-f", disk.at.to_str().unwrap()]));
        (0..140).for_each(|number| remove(mirror.in_source(name(number))));
        mirror.run(&[]).expect(0);
        disk.cut(false);
        disk.restart();
        mirror.sync();
    }
}
