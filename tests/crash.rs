//! Killed at any moment: whole files under final names, and the next run puts everything right.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::program::start;
use common::tree::{mkdir, remove, symlink, write};
use common::{Mirror, settle};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const FILES: u64 = 1200;
const KILLS: u32 = 20;

/// What the file of this number holds in a version; some are longer than a chunk.
fn content(number: u64, version: u32) -> Vec<u8> {
    let size = if number.is_multiple_of(1100) { 1_100_000 } else { number % 200 };
    let mut content = format!("file {number} version {version:04}\n").into_bytes();
    let filler = u8::try_from(version % 250).unwrap();
    content.resize(content.len() + usize::try_from(size).unwrap(), filler);
    content
}

fn path(number: u64) -> PathBuf {
    PathBuf::from(format!("folder{}/sub/file{number}", number % 20))
}

/// All regular files below `root` but temporaries, with their bytes.
fn published(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn visit(root: &Path, relative: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(root.join(relative)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.strip_prefix(".twinfold-").is_some_and(|rest| rest.strip_suffix(".tmp").is_some()) {
                continue;
            }
            let path = relative.join(name);
            if entry.file_type().unwrap().is_dir() {
                visit(root, &path, found);
            } else if entry.file_type().unwrap().is_file() {
                found.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    if root.exists() {
        visit(root, Path::new(""), &mut found);
    }
    found
}

/// Fails where a published file is neither of two whole versions.
fn check_whole(mirror: &Mirror, versions: [u32; 2]) -> usize {
    let found = published(&mirror.replica);
    for (path, bytes) in &found {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(number) = name.strip_prefix("file").and_then(|n| n.parse().ok()) else { continue };
        let whole = versions.iter().any(|&version| *bytes == content(number, version));
        assert!(whole, "{} is torn: {} bytes", path.display(), bytes.len());
    }
    found.len()
}

/// A mirror whose runs have many small batches. What is durable matters only to a power cut.
fn in_small_batches() -> Mirror {
    let mirror = Mirror::new();
    let config = "file_copy_batch_size = 16\ndurability = \"none\"\n";
    mirror.write_config("home/twinfold/config.toml", config);
    mirror
}

/// Starts a run and kills it after `delay`. Whether it was still running.
fn kill_after(mirror: &Mirror, delay: Duration) -> bool {
    let mut run = start(mirror.once(&["--max-delete", "off"]));
    sleep(delay);
    let was_running = run.is_running();
    if was_running {
        run.signal(Signal::KILL);
    }
    run.wait();
    was_running
}

/// Delays spread over `whole`, each at another place within its share.
fn moments(whole: Duration) -> impl Iterator<Item = Duration> {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    (0..KILLS).map(move |share| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let within = f64::from(u32::try_from(random % 1000).unwrap()) / 1000.0;
        whole.mul_f64((f64::from(share) + within) / f64::from(KILLS))
    })
}

/// How long a run takes when nobody kills it.
fn time_of_a_run(mirror: &Mirror) -> Duration {
    let began = Instant::now();
    mirror.run(&["--max-delete", "off"]).expect(0);
    began.elapsed()
}

#[test]
fn a_first_run_killed_at_any_moment_leaves_whole_files_and_is_finished_by_the_next() {
    let mirror = in_small_batches();
    for number in 0..FILES {
        write(mirror.in_source(path(number)), content(number, 1));
    }
    let whole = time_of_a_run(&mirror);
    let (mut killed, mut part_way) = (0, 0);
    for delay in moments(whole) {
        remove(&mirror.replica);
        for file in std::fs::read_dir(&mirror.state).unwrap() {
            remove(file.unwrap().path());
        }
        killed += u32::from(kill_after(&mirror, delay));
        let found = check_whole(&mirror, [1, 1]) as u64;
        part_way += u32::from(found > 0 && found < FILES);
        mirror.sync();
    }
    // Fewer where the machine got faster since a run was timed.
    assert!(killed >= KILLS / 4 && part_way > 0, "kills hit: {killed}, in the middle: {part_way}");
}

#[test]
fn an_update_killed_at_any_moment_leaves_old_or_new_files_and_is_finished_by_the_next() {
    let mirror = in_small_batches();
    for number in 0..FILES {
        write(mirror.in_source(path(number)), content(number, 0));
    }
    mirror.sync();
    let change = |version: u32| {
        for number in (0..FILES).filter(|number| !number.is_multiple_of(3)) {
            write(mirror.in_source(path(number)), content(number, version));
        }
        // The files that stay as they were, and names that change their kind with every version.
        for number in (0..FILES).step_by(3) {
            if number.is_multiple_of(30) {
                write(mirror.in_source(path(number)), content(number, version));
            }
        }
        for number in 0..20 {
            let odd = mirror.in_source(format!("odd{number}"));
            remove(&odd);
            match (version + number) % 3 {
                0 => write(odd.join("a/b/c"), "below"),
                1 => write(&odd, "a file"),
                _ => symlink("folder1", &odd),
            }
        }
        mkdir(mirror.in_source(format!("new{version}")));
        remove(mirror.in_source(format!("new{}", version.wrapping_sub(1))));
    };
    change(1);
    let whole = time_of_a_run(&mirror);
    let mut killed = 0;
    for (version, delay) in (2..).zip(moments(whole)) {
        change(version);
        settle();
        killed += u32::from(kill_after(&mirror, delay));
        let found = published(&mirror.replica);
        for number in 0..FILES {
            let bytes = found.get(&path(number)).unwrap_or_else(|| panic!("{number} is gone"));
            let changes = !number.is_multiple_of(3) || number.is_multiple_of(30);
            let whole = if changes {
                *bytes == content(number, version) || *bytes == content(number, version - 1)
            } else {
                *bytes == content(number, 0)
            };
            assert!(whole, "{number} is torn: {} bytes", bytes.len());
        }
        mirror.run(&["--max-delete", "off"]).expect(0);
        mirror.assert_in_step();
    }
    assert!(killed >= KILLS / 4, "kills hit: {killed}");
    settle();
    mirror.sync();
    mirror.assert_idle();
}
