//! One fault at a time, at every place where it can happen, on a small tree: what each leaves must be
//! whole, and the next run must put it right.

use super::inject::{self, Fault};
use super::program::Output;
use super::tree::{Tree, remove, stamps};
use super::versions::{Allowed, is_temporary, plant};
use super::{Mirror, claims, skip};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What an independent witness compares.
const WITNESS: &str = "-aHAXn";

/// No run on a small tree takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether everything is to be tried, not only a sample.
pub fn is_full() -> bool {
    std::env::var_os("TWINFOLD_TEST_FULL").is_some_and(|value| value == "1")
}

/// The runs that are disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Into a replica that is not there, without a manifest.
    First,
    /// From one version of the source to the next.
    Update,
    /// The same with a trash beside the replica.
    Trash,
}

/// A mirror that goes from version to version.
pub struct Sweep {
    pub mirror: Mirror,
    scenario: Scenario,
    version: u32,
    /// The source as it was and as it is.
    trees: (Tree, Tree),
    source_stamps: BTreeMap<PathBuf, (u64, i64, i64)>,
    /// What the replica's files held before the disturbed run, where there is a trash.
    contents: BTreeSet<Vec<u8>>,
}

impl Sweep {
    pub fn new(scenario: Scenario) -> Self {
        let mirror = Mirror::new();
        // Small batches and one worker: many turns, and the same ones each time.
        let mut config = "file_copy_batch_size = 3\nmax_workers = 1\nmax_delete = \"off\"\n".to_owned();
        if scenario == Scenario::Trash {
            let trash = mirror.path("trash");
            let _ = writeln!(config, "[trash]\nenabled = true\ndir = \"{}\"", trash.display());
        }
        mirror.write_config("home/twinfold/config.toml", config);
        plant(&mirror.source, 1);
        let version = if scenario == Scenario::First && is_full() { 2 } else { 1 };
        if version == 2 {
            plant(&mirror.source, 2);
        }
        let tree = Tree::of(&mirror.source);
        let (trees, source_stamps, contents) = ((tree.clone(), tree), BTreeMap::new(), BTreeSet::new());
        let sweep = Self { mirror, scenario, version, trees, source_stamps, contents };
        if scenario != Scenario::First {
            sweep.mirror.sync();
        }
        sweep
    }

    /// Makes ready for the next disturbed run.
    pub fn prepare(&mut self) {
        match self.scenario {
            Scenario::First => {
                remove(&self.mirror.replica);
                remove(&self.mirror.state);
                self.trees.0 = Tree(BTreeMap::new());
            }
            Scenario::Update | Scenario::Trash => {
                if self.scenario == Scenario::Trash {
                    remove(self.mirror.path("trash"));
                    self.contents = contents(&self.mirror.replica);
                }
                self.version += 1;
                plant(&self.mirror.source, self.version);
                let now = Tree::of(&self.mirror.source);
                self.trees = (std::mem::replace(&mut self.trees.1, now.clone()), now);
            }
        }
        super::settle();
        self.source_stamps = stamps(&self.mirror.source);
    }

    /// The calls of [`inject::CALLS`] that such a run makes, with how many one thread makes at most.
    pub fn calls(&mut self, of: &[&str]) -> BTreeMap<String, u32> {
        self.prepare();
        inject::count(&self.mirror, &[], of)
    }

    /// One disturbed run.
    pub fn disturb(&mut self, call: &str, number: u32, fault: Fault) -> Output {
        self.prepare();
        inject::run(&self.mirror, &[], call, number, fault).wait_for(PATIENCE).0
    }

    /// Fails where anything is torn, claimed in vain, or changed in the source.
    #[track_caller]
    pub fn check_whole(&self, what: &str) {
        assert!(stamps(&self.mirror.source) == self.source_stamps, "{what}: the source was touched");
        Allowed::between(&self.trees.0, &self.trees.1).check(&self.mirror.replica, what);
        if self.mirror.state.exists() {
            claims::check(&self.mirror, what);
        }
    }

    /// Fails where anything that the replica held is neither there nor in the trash.
    #[track_caller]
    pub fn check_kept(&self, what: &str) {
        let there: BTreeSet<Vec<u8>> =
            contents(&self.mirror.replica).union(&contents(&self.mirror.path("trash"))).cloned().collect();
        let lost: Vec<_> =
            self.contents.difference(&there).map(|lost| String::from_utf8_lossy(lost)).collect();
        assert!(lost.is_empty(), "{what}: not kept: {lost:?}");
    }

    /// Fails where an undisturbed run does not put everything right.
    #[track_caller]
    pub fn converge(&self, what: &str) {
        let output = self.mirror.run(&[]);
        assert_eq!(output.code, 0, "{what}: the next run: {output:?}");
        self.check_in_step(what);
    }

    /// Fails where source and replica differ, also as an independent witness sees it.
    #[track_caller]
    pub fn check_in_step(&self, what: &str) {
        let left: Vec<PathBuf> =
            Tree::of(&self.mirror.replica).names().into_iter().filter(|path| is_temporary(path)).collect();
        assert!(left.is_empty(), "{what}: left behind: {left:?}");
        self.mirror.assert_in_step();
        witness(&self.mirror.source, &self.mirror.replica, what);
    }
}

/// What the files below a folder hold, whatever they are called.
fn contents(folder: &Path) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let Ok(listing) = std::fs::read_dir(folder) else { return found };
    for entry in listing.map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.append(&mut contents(&entry.path()));
        } else if kind.is_file() {
            found.insert(std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// Fails where rsync would do anything.
#[track_caller]
pub fn witness(source: &Path, replica: &Path, what: &str) {
    let with_slash = |path: &Path| format!("{}/", path.to_str().unwrap());
    let output = Command::new("rsync")
        .args([WITNESS, "--delete", "--itemize-changes", "--modify-window=-1"])
        .args([with_slash(source), with_slash(replica)])
        .output();
    let Ok(output) = output else { return skip("there is no rsync to bear witness") };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.is_empty(), "{what}: rsync sees a difference: {text}");
}

/// The places `1..=last` to try: every `step`th, beginning at another place for each call so that
/// samples differ.
pub fn places(call: &str, last: u32, step: u32) -> impl Iterator<Item = u32> {
    let first = 1 + u32::try_from(call.len()).unwrap_or_default() % step;
    (first..=last).step_by(step as usize)
}
