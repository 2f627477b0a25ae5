//! A copy that is interrupted goes on where it was, and only if it still is what was begun.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::{Output, finish, start, wait_until};
use common::tree::{inode, mode, remove, symlink, write};
use common::versions::is_temporary;
use common::{Mirror, is_root, mounts, settle, skip};
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// So much a second, so that a run can be met in the middle of a file.
const SLOW: &[&str] = &["--bandwidth-limit", "8MiB"];

/// A content without a period.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; length];
    for word in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    bytes
}

/// What lies under a temporary name in `folder`.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| is_temporary(path)).collect()
}

fn written(mirror: &Mirror) -> u64 {
    temporaries(&mirror.replica).iter().filter_map(|path| path.metadata().ok()).map(|found| found.len()).sum()
}

/// A mirror whose source has a file of 32 MiB.
fn with_film() -> Mirror {
    let mirror = Mirror::new();
    write(mirror.in_source("film"), content(1, 32 * MIB));
    settle();
    mirror
}

/// Runs until so many bytes are in the replica, and asks it to stop.
fn interrupt(mirror: &Mirror, bytes: usize) -> Output {
    interrupt_at(mirror, SLOW, bytes)
}

/// The same after less time, where many cases are to be met.
fn interrupt_soon(mirror: &Mirror) -> Output {
    interrupt_at(mirror, &["--bandwidth-limit", "24MiB"], 18 * MIB)
}

fn interrupt_at(mirror: &Mirror, limit: &[&str], bytes: usize) -> Output {
    let run = start(mirror.once(limit));
    wait_until("enough is written", || written(mirror) >= bytes as u64);
    run.signal(Signal::TERM);
    let (output, took) = run.wait_for(Duration::from_secs(20));
    assert!(took < Duration::from_secs(2), "{took:?}");
    output.expect(130)
}

/// The one temporary that is in the replica.
#[track_caller]
fn the_temporary(mirror: &Mirror) -> PathBuf {
    let all = temporaries(&mirror.replica);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// Copies that the manifest remembers.
fn remembered(mirror: &Mirror) -> i64 {
    let connection = rusqlite::Connection::open(mirror.manifest()).unwrap();
    connection.query_row("SELECT count(*) FROM partials", [], |row| row.get(0)).unwrap()
}

/// The next run ends well, and leaves nothing of the interrupted one.
#[track_caller]
fn finish_it(mirror: &Mirror) {
    mirror.sync();
    assert_eq!(temporaries(&mirror.replica), Vec::<PathBuf>::new());
    assert_eq!(remembered(mirror), 0);
    mirror.assert_idle();
}

#[test]
fn a_copy_that_is_asked_to_stop_goes_on_where_it_was() {
    let mirror = with_film();
    let output = interrupt(&mirror, 12 * MIB);
    output.says("film: 1").says("of 32.0 MiB are kept; the next run goes on there");
    let temporary = the_temporary(&mirror);
    assert_eq!(mode(&temporary), 0o600);
    let (began, there) = (inode(&temporary), written(&mirror));
    // A second one, too, loses nothing: what is there already is not read from the source again.
    interrupt(&mirror, usize::try_from(there).unwrap() + 4 * MIB);
    assert_eq!(the_temporary(&mirror), temporary);
    finish_it(&mirror);
    assert_eq!(inode(mirror.in_replica("film")), began, "it is the file that was begun");
}

#[test]
fn a_copy_that_is_killed_goes_on_within_a_second_of_where_it_was() {
    let mirror = Mirror::new();
    write(mirror.in_source("film"), content(1, 48 * MIB));
    settle();
    let mut turns = 0;
    while !mirror.in_replica("film").exists() {
        let mut run = start(mirror.once(SLOW));
        for _ in 0..36 {
            sleep(Duration::from_millis(100));
            if !run.is_running() {
                break;
            }
        }
        if run.is_running() {
            run.signal(Signal::KILL);
        }
        run.wait();
        turns += 1;
        assert!(turns < 10, "each turn begins anew");
    }
    finish_it(&mirror);
}

#[test]
fn the_new_version_of_a_file_goes_on_and_the_old_one_stays_until_it_is_there() {
    let mirror = Mirror::new();
    write(mirror.in_source("film"), content(2, 20 * MIB));
    mirror.sync();
    write(mirror.in_source("film"), content(3, 32 * MIB));
    settle();
    interrupt(&mirror, 12 * MIB);
    assert!(fs::read(mirror.in_replica("film")).unwrap() == content(2, 20 * MIB));
    let began = inode(the_temporary(&mirror));
    finish_it(&mirror);
    assert_eq!(inode(mirror.in_replica("film")), began);
}

#[test]
fn a_source_that_is_another_by_now_is_copied_from_its_start() {
    for change in ["another", "same size and time", "gone", "renamed"] {
        let mirror = with_film();
        interrupt_soon(&mirror);
        let film = mirror.in_source("film");
        match change {
            "another" => write(&film, content(7, 31 * MIB)),
            "same size and time" => {
                let before = fs::metadata(&film).unwrap().modified().unwrap();
                let file = File::options().write(true).open(&film).unwrap();
                file.write_all_at(b"changed", 5 * MIB as u64).unwrap();
                file.set_modified(before).unwrap();
            }
            "gone" => remove(&film),
            _ => fs::rename(&film, mirror.in_source("movie")).unwrap(),
        }
        settle();
        finish_it(&mirror);
    }
}

#[test]
fn a_temporary_that_is_not_what_was_written_is_not_believed() {
    for harm in
        ["flipped", "cut", "longer", "emptied", "gone", "linked", "symlink", "other", "opened up", "fifo"]
    {
        let mirror = with_film();
        interrupt_soon(&mirror);
        let temporary = the_temporary(&mirror);
        let file = || File::options().write(true).open(&temporary).unwrap();
        let outside = mirror.path("outside");
        write(&outside, content(9, 20 * MIB));
        match harm {
            "flipped" => file().write_all_at(b"no", 3 * MIB as u64).unwrap(),
            "cut" => file().set_len(5 * MIB as u64).unwrap(),
            "longer" => file().set_len(64 * MIB as u64).unwrap(),
            "emptied" => file().set_len(0).unwrap(),
            "linked" => fs::hard_link(&temporary, mirror.path("other name")).unwrap(),
            "opened up" => common::tree::chmod(&temporary, 0o666),
            _ => remove(&temporary),
        }
        match harm {
            "symlink" => symlink(&outside, &temporary),
            "other" => fs::rename(&outside, &temporary).unwrap(),
            "fifo" => common::tree::mkfifo(&temporary),
            _ => {}
        }
        finish_it(&mirror);
        assert!(harm == "other" || fs::read(&outside).unwrap() == content(9, 20 * MIB), "{harm}");
    }
}

#[test]
fn several_large_files_are_all_kept_where_they_were_also_those_that_were_complete() {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "max_workers = 1\n");
    write(mirror.in_source("a"), content(1, 24 * MIB));
    write(mirror.in_source("b"), content(2, 24 * MIB));
    // Through with it long before the others, it waits for them.
    write(mirror.in_source("c"), content(3, 9 * MIB));
    settle();
    let run = start(mirror.once(&["--bandwidth-limit", "16MiB"]));
    wait_until("enough is written", || written(&mirror) >= 36 * MIB as u64);
    run.signal(Signal::TERM);
    run.wait().expect(130).says("a: 1").says("b: 1").says("c: 9.0 MiB of 9.0 MiB are kept");
    let begun: Vec<u64> = temporaries(&mirror.replica).iter().map(inode).collect();
    assert_eq!(begun.len(), 3);
    for temporary in temporaries(&mirror.replica) {
        assert_eq!(mode(&temporary), 0o600);
    }
    finish_it(&mirror);
    for name in ["a", "b", "c"] {
        assert!(begun.contains(&inode(mirror.in_replica(name))), "{name}");
    }
}

#[test]
fn a_disk_that_is_full_keeps_nothing_of_what_did_not_fit() {
    let mut mirror = with_film();
    let disk = mirror.path("disk");
    let Some(mounted) = mounts::mount(&["-t", "tmpfs", "-o", "size=24m", "none"], &disk) else { return };
    mirror.replica = disk.join("replica");
    mirror.run(&[]).expect(3).says("no room");
    assert_eq!(temporaries(&mirror.replica), Vec::<PathBuf>::new());
    assert_eq!(remembered(&mirror), 0);
    mounted.unmount();
}

#[test]
fn an_ordinary_user_goes_on_too() {
    if !is_root() {
        return skip("becoming an ordinary user needs root");
    }
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("film"), content(1, 32 * MIB));
    mirror.give_away(&mirror.source);
    settle();
    interrupt(&mirror, 12 * MIB);
    let began = inode(the_temporary(&mirror));
    finish_it(&mirror);
    assert_eq!(inode(mirror.in_replica("film")), began);
}

#[test]
fn what_is_kept_is_in_nobody_s_way() {
    let mirror = with_film();
    interrupt(&mirror, 12 * MIB);
    let temporary = the_temporary(&mirror);
    let command = |words: &[&str]| {
        let mut command = mirror.program(words);
        command.args(mirror.roots());
        finish(command)
    };
    command(&["status"]).expect(0);
    command(&["status", "--pending"]).expect(0);
    mirror.run(&["-n"]).expect(0);
    command(&["rebuild-index", "--report-only"]);
    assert!(temporary.exists());
    let began = inode(&temporary);
    finish_it(&mirror);
    assert_eq!(inode(mirror.in_replica("film")), began);
}
