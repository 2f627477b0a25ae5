//! Hostile users: while the program runs as root, somebody who may write to a tree exchanges what
//! lies in it with links to places outside, as fast as the machine can. Nothing outside may be opened
//! for reading or changed. `RACE_SECONDS` says for how long each race goes on.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

mod common;

use common::tree::{Tree, chmod, mkdir, remove, stamps, symlink, write};
use common::{Mirror, NOBODY, is_root, skip};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nobody else's file says this.
const SECRET: &[u8] = b"the secret of root 8f1d4a2c";

fn race_time() -> Duration {
    let seconds = std::env::var("RACE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// However slow the machine is: each round gives the program other things to do.
const FEWEST_RUNS: u32 = 8;

/// Somebody who exchanges two names until told to stop.
struct Attacker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Attacker {
    fn exchanging(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut exchanges = 0;
            while !told.load(Ordering::Relaxed) {
                // What the program removed meanwhile cannot be exchanged any more in this round.
                exchanges += u64::from(renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok());
            }
            exchanges
        });
        Self { stop, thread }
    }

    /// Returns how often it did.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What lies outside, and whoever touches it.
struct Outside {
    root: PathBuf,
    before: (Tree, BTreeMap<PathBuf, (u64, i64, i64)>),
    watch: OwnedFd,
}

impl Outside {
    fn new(mirror: &Mirror) -> Self {
        let root = mirror.path("outside");
        for name in ["secret", "file", "below/secret"] {
            write(root.join(name), SECRET);
            chmod(root.join(name), 0o600);
        }
        chmod(&root, 0o700);
        let before = (Tree::of(&root), stamps(&root));
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        // Not for what is closed: a program that another test starts has this one's folders open for an instant.
        let events = WatchFlags::ALL_EVENTS - WatchFlags::CLOSE_WRITE - WatchFlags::CLOSE_NOWRITE;
        for folder in [root.clone(), root.join("below")] {
            inotify::add_watch(&watch, &folder, events).unwrap();
        }
        Self { root, before, watch }
    }

    /// Fails if anybody opened, read or changed anything.
    #[track_caller]
    fn assert_untouched(&self, when: &str) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        match inotify::Reader::new(&self.watch, &mut buffer).next() {
            Err(Errno::AGAIN) => {}
            Ok(event) => panic!("{:?} {:?} outside, {when}", event.file_name(), event.events()),
            Err(error) => panic!("{error}"),
        }
    }

    /// The same, and compares everything.
    #[track_caller]
    fn assert_same(&self) {
        self.assert_untouched("at the end");
        assert!((Tree::of(&self.root), stamps(&self.root)) == self.before, "something outside has changed");
    }
}

/// Everything below belongs to a user who is not root, as a hostile user's folder does.
fn give_away(path: &Path) {
    let found = fs::symlink_metadata(path).unwrap();
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// Fails where the secret is in the replica.
#[track_caller]
fn assert_no_secret(mirror: &Mirror) {
    for (path, entry) in Tree::of(&mirror.replica).0 {
        let found = entry.content.windows(SECRET.len()).any(|bytes| bytes == SECRET);
        assert!(!found, "the secret is in {}", path.display());
    }
}

/// Runs the program again and again while `swapped` (in one of the trees) is exchanged with a link to
/// `target`. `round` gives each run something to do and puts `swapped` back.
fn race(mirror: &Mirror, swapped: &Path, target: &str, mut round: impl FnMut(u32)) {
    let outside = Outside::new(mirror);
    let link = mirror.path("link");
    let began = Instant::now();
    let (mut runs, mut exchanges) = (0, 0);
    while runs < FEWEST_RUNS || began.elapsed() < race_time() {
        round(runs);
        remove(&link);
        symlink(outside.root.join(target), &link);
        let attacker = Attacker::exchanging(swapped.to_owned(), link.clone());
        let output = mirror.run(&[]);
        exchanges += attacker.stop();
        assert!([0, 3, 4].contains(&output.code), "{output:?}");
        outside.assert_untouched(&format!("in run {runs}: {output:?}"));
        runs += 1;
    }
    assert!(exchanges > 100, "{exchanges} exchanges in {runs} runs: that was no race");
    remove(&link);
    assert_no_secret(mirror);
    outside.assert_same();
}

/// The same for a root that lies in `swapped`, whose owner is another user: what the program finds at its
/// path is the root, nothing, or a link that it refuses.
fn race_above(mirror: &Mirror, mut round: impl FnMut(u32)) {
    let outside = Outside::new(mirror);
    let (swapped, link) = (mirror.path("bob/swap"), mirror.path("bob/link"));
    let began = Instant::now();
    let (mut runs, mut through, mut refused) = (0, 0, 0);
    // Most runs end at the first look: more of them are needed to come to the later ones.
    while runs < 10 * FEWEST_RUNS || began.elapsed() < race_time() {
        remove(&swapped);
        remove(&link);
        round(runs);
        symlink(&outside.root, &link);
        give_away(&mirror.path("bob"));
        let attacker = Attacker::exchanging(swapped.clone(), link.clone());
        let output = mirror.run(&["--max-delete", "off"]);
        attacker.stop();
        match output.code {
            0 | 3 | 4 => through += 1,
            5 => refused += 1,
            _ => panic!("{output:?}"),
        }
        outside.assert_untouched(&format!("in run {runs}: {output:?}"));
        runs += 1;
    }
    assert!(refused > 0, "{through} runs through, none refused: that was no race");
    outside.assert_same();
}

fn prepared(what: &str) -> Option<Mirror> {
    if !is_root() {
        skip(&format!("{what}: only root has something to lose"));
        return None;
    }
    Some(Mirror::new())
}

/// Makes `at` what it was, whatever it was exchanged with.
fn put_back(at: &Path, make: impl Fn(&Path)) {
    remove(at);
    make(at);
    give_away(at);
}

#[test]
fn the_race_is_one_that_the_careless_lose() {
    let mirror = Mirror::new();
    write(mirror.path("outside/secret"), SECRET);
    write(mirror.in_source("swap/secret"), "harmless");
    symlink(mirror.path("outside"), mirror.path("link"));
    let attacker = Attacker::exchanging(mirror.in_source("swap"), mirror.path("link"));
    let began = Instant::now();
    let mut lost = false;
    while !lost && began.elapsed() < Duration::from_secs(20) {
        let harmless = fs::symlink_metadata(mirror.in_source("swap")).is_ok_and(|found| found.is_dir());
        lost = harmless && fs::read(mirror.in_source("swap/secret")).is_ok_and(|content| content == SECRET);
    }
    attacker.stop();
    assert!(lost, "looking and then opening by path must be seen to fail");
}

#[test]
fn a_source_folder_that_turns_into_a_link_is_never_followed() {
    let Some(mirror) = prepared("a source folder and a link") else { return };
    let swap = mirror.in_source("swap");
    race(&mirror, &swap, "", |_| {
        put_back(&swap, |at| {
            for name in ["secret", "file", "below/secret"] {
                write(at.join(name), "harmless");
            }
        });
        give_away(&mirror.source);
        remove(mirror.in_replica("swap"));
    });
}

#[test]
fn a_source_file_that_turns_into_a_link_is_never_followed() {
    let Some(mirror) = prepared("a source file and a link") else { return };
    let swap = mirror.in_source("file");
    race(&mirror, &swap, "secret", |run| {
        // As long as the secret, and large now and then: every way of reading is tried.
        let size = if run % 4 == 3 { 2 << 20 } else { SECRET.len() };
        put_back(&swap, |at| write(at, vec![b'h'; size]));
        give_away(&mirror.source);
        if run.is_multiple_of(2) {
            remove(mirror.in_replica("file"));
        }
    });
}

/// One round over a replica folder `swap`: copies, changes of metadata, of kind, and deletes.
fn work_in_folder(mirror: &Mirror, run: u32) {
    let source = mirror.in_source("swap");
    remove(&source);
    let mode = 0o600 | (run & 0o77);
    for name in ["secret", "file", "below/secret"] {
        if run % 3 != 2 {
            write(source.join(name), format!("harmless {run}"));
            chmod(source.join(name), mode);
        }
    }
    match run % 3 {
        0 => write(source.join("new"), "new"),
        1 => write(source.join("file"), vec![b'x'; 2 << 20]),
        _ => mkdir(&source),
    }
    give_away(&mirror.source);
    chmod(&source, 0o700 | (run & 0o77));
    if run.is_multiple_of(2) {
        chown(&source, Some(0), Some(run % 7)).unwrap();
    }
}

#[test]
fn a_folder_above_the_source_that_turns_into_a_link_is_never_followed() {
    let Some(mut mirror) = prepared("a folder above the source") else { return };
    mirror.source = mirror.path("bob/swap/below");
    race_above(&mirror, |run| {
        write(mirror.in_source("secret"), format!("harmless {run}"));
        if mirror.replica.exists() {
            assert_no_secret(&mirror);
        }
    });
    assert_no_secret(&mirror);
}

#[test]
fn a_folder_above_the_replica_that_turns_into_a_link_is_never_followed() {
    let Some(mut mirror) = prepared("a folder above the replica") else { return };
    mirror.replica = mirror.path("bob/swap/below");
    write(mirror.in_source("new"), "new");
    race_above(&mirror, |run| {
        write(mirror.in_replica("extra"), "extra");
        write(mirror.in_source("file"), format!("file {run}"));
    });
}

#[test]
fn a_folder_above_a_replica_that_is_still_to_be_made_is_never_followed() {
    let Some(mut mirror) = prepared("a folder above a missing replica") else { return };
    mirror.replica = mirror.path("bob/swap/new");
    write(mirror.in_source("file"), "file");
    race_above(&mirror, |_| {
        mkdir(mirror.path("bob/swap"));
        // Each run is the first.
        remove(&mirror.state);
        mkdir(&mirror.state);
        chmod(&mirror.state, 0o700);
    });
}

#[test]
fn a_replica_folder_that_turns_into_a_link_is_never_written_through() {
    let Some(mirror) = prepared("a replica folder and a link") else { return };
    mkdir(&mirror.replica);
    let swap = mirror.in_replica("swap");
    race(&mirror, &swap, "", |run| {
        work_in_folder(&mirror, run);
        put_back(&swap, |at| {
            for name in ["secret", "file", "below/secret", "extra/deep/file"] {
                write(at.join(name), "old");
            }
        });
    });
}

#[test]
fn a_replica_file_that_turns_into_a_link_is_never_written_through() {
    let Some(mirror) = prepared("a replica file and a link") else { return };
    mkdir(&mirror.replica);
    let (ours, theirs) = (mirror.in_source("file"), mirror.in_replica("file"));
    race(&mirror, &theirs, "secret", |run| {
        put_back(&theirs, |at| write(at, "same length, as it happens!"));
        if run % 4 == 3 {
            remove(&ours);
            return;
        }
        // Metadata only, unless the content is another too.
        let content = if run % 4 == 2 { "other length" } else { "same length, as it happens!" };
        write(&ours, content);
        chown(&ours, Some(run % 5), Some(run % 3)).unwrap();
        chmod(&ours, 0o600 | (run & 0o177));
    });
}

#[test]
fn a_replica_file_that_turns_into_a_hard_link_keeps_the_inode_outside_as_it_is() {
    let Some(mirror) = prepared("a replica file and a hard link") else { return };
    mkdir(&mirror.replica);
    let (ours, theirs) = (mirror.in_source("file"), mirror.in_replica("file"));
    let (outside, link) = (mirror.path("outside"), mirror.path("link"));
    write(&outside, "same length");
    chmod(&outside, 0o600);
    let began = Instant::now();
    let mut run = 0;
    while run < FEWEST_RUNS || began.elapsed() < race_time() {
        put_back(&theirs, |at| write(at, "same length"));
        write(&ours, "same length");
        chown(&ours, Some(run % 5), Some(run % 3)).unwrap();
        chmod(&ours, 0o644 | (run & 0o111));
        remove(&link);
        fs::hard_link(&outside, &link).unwrap();
        let before = Tree::of(&outside);
        let attacker = Attacker::exchanging(theirs.clone(), link.clone());
        let output = mirror.run(&[]);
        attacker.stop();
        assert!([0, 3].contains(&output.code), "{output:?}");
        assert!(Tree::of(&outside) == before, "in run {run}: {output:?}");
        run += 1;
    }
}

#[test]
fn what_a_closed_folder_hides_never_lies_in_one_that_took_its_name() {
    let Some(mirror) = prepared("two replica folders") else { return };
    mkdir(&mirror.replica);
    let (closed, open) = (mirror.in_replica("closed"), mirror.path("open"));
    let began = Instant::now();
    let mut run = 0;
    while run < FEWEST_RUNS || began.elapsed() < race_time() {
        remove(mirror.in_source("closed"));
        for number in 0..20 {
            write(mirror.in_source(format!("closed/{number}")), format!("private {run}"));
        }
        chmod(mirror.in_source("closed"), 0o700);
        give_away(&mirror.source);
        chown(mirror.in_source("closed"), Some(0), Some(0)).unwrap();
        for folder in [&closed, &open] {
            remove(folder);
            mkdir(folder);
        }
        give_away(&mirror.replica);
        chown(&closed, Some(0), Some(0)).unwrap();
        chmod(&closed, 0o700);
        chmod(&open, 0o777);
        let marker = common::tree::inode(&open);
        let attacker = Attacker::exchanging(closed.clone(), open.clone());
        let output = mirror.run(&[]);
        attacker.stop();
        assert!([0, 3].contains(&output.code), "{output:?}");
        for folder in [&closed, &open] {
            if folder.exists() && common::tree::inode(folder) == marker {
                check_hides_nothing(folder, &output);
            }
        }
        run += 1;
    }
}

/// The folder that is open to all holds nothing, unless it was scanned as the replica's own and closed
/// before anything went into it.
#[track_caller]
fn check_hides_nothing(folder: &Path, output: &common::program::Output) {
    let mode = fs::metadata(folder).unwrap().permissions().mode() & 0o777;
    let holds = fs::read_dir(folder).unwrap().count();
    assert!(
        holds == 0 || mode.trailing_zeros() >= 6,
        "{holds} entries in a folder of mode {mode:o}: {output:?}"
    );
}
