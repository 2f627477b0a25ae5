//! Hundreds of random changes on both sides with runs in between: every run ends in step, and the
//! last one after quiet has nothing to do.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::tree::{chmod, mkdir, mkfifo, mtime, remove, set_attribute, set_mtime, symlink, write};
use common::{Mirror, settle};
use std::fs;
use std::path::{Path, PathBuf};

const OPERATIONS: u32 = 400;

/// A small generator whose sequences are the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn of<'t, T>(&mut self, among: &'t [T]) -> Option<&'t T> {
        if among.is_empty() { None } else { among.get(self.below(among.len())) }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let size = [0, 1, 7, 4096, 100_000][self.below(5)];
        let byte = u8::try_from(self.below(256)).unwrap();
        vec![byte; size]
    }
}

/// Everything below `root` but the anchor, folders before what they hold.
fn everything(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut listing: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        listing.sort();
        for path in listing {
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                folders.push(path.clone());
            }
            if path != root.join("anchor") {
                found.push(path);
            }
        }
    }
    found
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// A path in some folder below `root`, often one that is there already.
fn some_path(random: &mut Random, root: &Path) -> PathBuf {
    let mut folders: Vec<PathBuf> = everything(root).into_iter().filter(|path| is_folder(path)).collect();
    folders.push(root.to_owned());
    let folder = random.of(&folders).unwrap().clone();
    folder.join(["a", "a.txt", "a-b", "b", "B", "c d", "e\n", "f", "g", "h"][random.below(10)])
}

/// One random change below `root`; says what it did.
fn change(random: &mut Random, root: &Path) -> String {
    let all = everything(root);
    let files: Vec<PathBuf> = all.iter().filter(|path| is_file(path)).cloned().collect();
    let path = some_path(random, root);
    let existing = random.of(&all).cloned();
    let file = random.of(&files).cloned();
    let what = random.below(16);
    match (what, file, existing) {
        (0..=2, ..) => {
            remove(&path);
            write(&path, random.bytes());
        }
        (3, Some(file), _) => {
            // Other bytes of the same size, the time put back.
            let (seconds, nanos) = mtime(&file);
            let size = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
            write(&file, vec![u8::try_from(random.below(256)).unwrap(); size]);
            set_mtime(&file, seconds, nanos);
        }
        (4, Some(file), _) => write(&file, random.bytes()),
        (5, _, Some(existing)) => remove(existing),
        (6, _, Some(existing)) if !path.starts_with(&existing) && !existing.starts_with(&path) => {
            remove(&path);
            fs::rename(existing, &path).unwrap();
        }
        (7, _, Some(existing)) => {
            set_mtime(existing, i64::try_from(random.below(3_000_000_000)).unwrap() - 500_000_000, 123);
        }
        (8, Some(file), _) => chmod(file, [0o644, 0o600, 0o755, 0o640, 0o666][random.below(5)]),
        (9, Some(file), _) if !file.starts_with(&path) => {
            remove(&path);
            fs::hard_link(file, &path).unwrap();
        }
        (10, ..) => {
            remove(&path);
            symlink(["a", "..", "/nowhere", "b/c"][random.below(4)], &path);
        }
        (11, ..) => {
            remove(&path);
            mkfifo(&path);
        }
        (12, _, Some(existing)) if is_folder(&existing) => {
            chmod(existing, [0o755, 0o700, 0o750, 0o777][random.below(4)]);
        }
        (14, _, Some(existing)) if is_file(&existing) || is_folder(&existing) => {
            set_attribute(existing, ["user.a", "user.b"][random.below(2)], ["x", "yy"][random.below(2)]);
        }
        _ => {
            if !is_folder(&path) {
                remove(&path);
            }
            mkdir(&path);
        }
    }
    format!("{what} {}", path.display())
}

/// Carries out one sequence; `seed` says which.
fn carry_out(seed: u64) {
    let mirror = Mirror::new();
    let mut random = Random(seed);
    // Held deletes have their own tests: the source is never empty here.
    write(mirror.in_source("anchor"), "stays");
    let mut done = Vec::new();
    for number in 0..OPERATIONS {
        done.push(change(&mut random, &mirror.source));
        if number % 50 == 49 {
            // Our own last stat and a change by somebody else are never in one tick of the clock.
            settle();
            for _ in 0..4 {
                done.push(format!("replica {}", change(&mut random, &mirror.replica)));
            }
        }
        if random.below(12) == 0 || number % 50 == 49 || number + 1 == OPERATIONS {
            let output = mirror.run(&["--max-delete", "off"]);
            assert_eq!(output.code, 0, "seed {seed}: {output:?}\n{done:#?}");
            mirror.assert_in_step();
            done.clear();
        }
    }
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn first_sequence() {
    carry_out(1);
}

#[test]
fn second_sequence() {
    carry_out(2);
}

#[test]
fn third_sequence() {
    carry_out(20_261_122);
}

#[test]
fn fourth_sequence() {
    carry_out(0xDEAD_BEEF);
}
