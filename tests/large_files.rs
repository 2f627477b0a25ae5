//! Large files: several side by side on each worker, each byte read once, and nothing left in the page cache.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::disk::{does, make_image, mount};
use common::inject;
use common::program::{finish, start};
use common::tree::{mkdir, remove, write};
use common::{Mirror, is_root, settle, skip};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Contents that differ from file to file and have no period a piece could hide.
fn content(seed: usize, length: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; length];
    for word in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    bytes
}

/// Lengths around all borders there are: of what counts as large, of pieces, of blocks.
fn lengths() -> Vec<usize> {
    let borders = [MIB, MIB + 128 * KIB];
    let around = |border: usize| [border - 1, border, border + 1, border + 63];
    borders.into_iter().flat_map(around).chain([9 * MIB + 17, 2 * MIB + 64 * KIB]).collect()
}

/// Fails where a digest in the manifest is not that of the replica's file, as md5sum computes it.
#[track_caller]
fn assert_digests(mirror: &Mirror) {
    let mut status = mirror.program(&["status", "--format", "md5sum"]);
    status.args(mirror.roots());
    let sums = mirror.path("sums");
    write(&sums, finish(status).expect(0).stdout);
    let check = Command::new("md5sum").arg("-c").arg(&sums).current_dir(&mirror.replica).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn files_of_all_lengths_are_copied_adopted_and_read_again_with_every_engine_and_chunk() {
    for (engine, chunk, workers) in
        [("portable", "1MiB", 1), ("avx2", "10000", 3), ("avx512", "64KiB", 2), ("", "1MiB", 2)]
    {
        let mirror = Mirror::new();
        let config = format!("hashing_file_chunk_size = \"{chunk}\"\nmax_workers = {workers}\n");
        mirror.write_config("home/twinfold/config.toml", config);
        for (number, length) in lengths().into_iter().enumerate() {
            write(mirror.in_source(format!("file-{number:02}")), content(number, length));
        }
        write(mirror.in_source("small"), "between them");
        settle();
        let forced = |mut command: Command| {
            if !engine.is_empty() {
                command.env("TWINFOLD_MD5", engine);
            }
            finish(command)
        };
        forced(mirror.once(&[])).expect(0);
        mirror.assert_in_step();
        assert_digests(&mirror);
        let rows = mirror.rows();
        remove(mirror.manifest());
        let summary = forced(mirror.once(&["--json"])).expect(0).summary();
        assert_eq!(summary["copy"], 0, "{engine}: {summary}");
        assert_digests(&mirror);
        let mut rebuild = mirror.program(&["rebuild-index"]);
        rebuild.args(mirror.roots());
        forced(rebuild).expect(0);
        assert_eq!(mirror.rows().len(), rows.len());
        assert_digests(&mirror);
        // One byte in the middle of one of them is found, among all the others.
        let odd = mirror.in_replica("file-07");
        File::options().write(true).open(odd).unwrap().write_all_at(&[0xff, 0], 700_000).unwrap();
        settle();
        let summary = forced(mirror.once(&["--json"])).expect(0).summary();
        assert_eq!(summary["copy"], 1, "{engine}: {summary}");
        mirror.assert_in_step();
    }
}

#[test]
fn a_copied_byte_is_read_once() {
    if !inject::possible() {
        return;
    }
    let mirror = Mirror::new();
    let mut total = 0;
    for number in 0..12 {
        let length = MIB + number * 300 * KIB;
        write(mirror.in_source(format!("file-{number}")), content(number, length));
        write(mirror.in_source(format!("small-{number}")), content(number, 9000));
        total += length + 9000;
    }
    let trace = mirror.path("trace");
    let mut run =
        inject::traced(&mirror, &[], trace.to_str().unwrap(), &["trace=read,pread64,readv,preadv,preadv2"]);
    run = with_paths(&run);
    start(run).wait().expect(0);
    let of = |root: &Path| -> usize {
        let mark = format!("<{}/", root.display());
        let trace = fs::read_to_string(&trace).unwrap();
        // Where another thread came between, a call takes two lines, and the first alone has the path.
        let (mut begun, mut bytes) = (BTreeSet::new(), 0);
        for line in trace.lines() {
            let thread = line.split_whitespace().next().unwrap();
            let resumed = line.contains(" resumed>") && begun.remove(thread);
            if line.contains("<unfinished") {
                if line.contains(&mark) {
                    begun.insert(thread);
                }
            } else if resumed || line.contains(&mark) {
                bytes += line.rsplit_once("= ").unwrap().1.parse::<usize>().unwrap();
            }
        }
        bytes
    };
    assert_eq!(of(&mirror.source), total, "bytes read in the source");
    assert_eq!(of(&mirror.replica), 0, "bytes read in the replica");
}

/// The same run of strace, with the path of every descriptor in what it writes.
fn with_paths(run: &Command) -> Command {
    let mut command = Command::new(run.get_program());
    command.arg("-y").args(run.get_args());
    command.env_clear();
    for (name, value) in run.get_envs() {
        command.env(name, value.unwrap());
    }
    command.current_dir(run.get_current_dir().unwrap());
    command
}

/// Bytes of a file that are in the page cache.
fn resident(path: &Path) -> u64 {
    let told = Command::new("fincore").args(["-b", "-n", "-o", "RES"]).arg(path).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn what_a_large_file_brings_into_the_page_cache_goes_again_and_what_was_there_stays() {
    if !does("fincore", &["--version"]) {
        return skip("there is no fincore to ask what is in the page cache");
    }
    let mut mirror = Mirror::new();
    let (image, at) = (mirror.path("image"), mirror.path("disk"));
    if !is_root() || !make_image(&image, "ext4", 400, &[]) {
        return skip("disks of one's own need root");
    }
    let Some(mounted) = mount(&["-o", "loop", image.to_str().unwrap()], &at) else { return };
    mirror.source = at.join("source");
    mirror.replica = at.join("replica");
    mkdir(&mirror.source);
    let length = 64 * MIB;
    for name in ["cold", "warm"] {
        write(mirror.in_source(name), content(name.len(), length));
    }
    assert!(does("sync", &["-f", at.to_str().unwrap()]));
    let evict = |path: &Path| {
        let file = File::open(path).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    };
    evict(&mirror.in_source("cold"));
    let (cold, warm) = (mirror.in_source("cold"), mirror.in_source("warm"));
    if resident(&cold) > 0 || resident(&warm) < length as u64 {
        return skip("the page cache does not keep still here");
    }
    let most = 16 * MIB as u64;
    let check = |what: &str| {
        assert!(resident(&cold) <= most, "{what}: {} bytes of the source", resident(&cold));
        // A look that must not wait may be told to, although all is there.
        assert!(resident(&warm) >= length as u64 / 4 * 3, "{what}: what somebody else had read");
        for name in ["cold", "warm"] {
            let left = resident(&mirror.in_replica(name));
            assert!(left <= most, "{what}: {left} bytes of {name} in the replica");
        }
    };
    mirror.run(&[]).expect(0);
    check("copied");
    let mut rebuild = mirror.program(&["rebuild-index"]);
    rebuild.args(mirror.roots());
    finish(rebuild).expect(0);
    check("read again");
    remove(mirror.manifest());
    mirror.run(&[]).expect(0);
    check("adopted");
    mirror.assert_in_step();
    mounted.unmount();
}

#[test]
fn one_that_never_stands_still_keeps_none_of_the_others_back() {
    let mirror = Mirror::new();
    for number in 0..6 {
        write(mirror.in_source(format!("file-{number}")), content(number, 8 * MIB));
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let file = File::options().write(true).open(mirror.in_source("file-3")).unwrap();
            // Never the same twice: two readings that agree would be published.
            for round in 0_u64.. {
                file.write_all_at(&round.to_le_bytes(), round * 4096 % (7 << 20)).unwrap();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        let run = mirror.run(&[]);
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        run.expect(3).says("file-3").says("it was written to each time it was read");
    });
    for number in [0, 1, 2, 4, 5] {
        assert!(fs::read(mirror.in_replica(format!("file-{number}"))).unwrap() == content(number, 8 * MIB));
    }
    // There was none, so that one that may be mixed is better.
    assert_eq!(mirror.in_replica("file-3").metadata().unwrap().len(), 8 * MIB as u64);
    settle();
    mirror.sync();
}

#[test]
fn where_only_some_have_room_those_are_there_although_all_were_begun_at_once() {
    let mut mirror = Mirror::new();
    let disk = mirror.path("disk");
    let Some(mounted) = mount(&["-t", "tmpfs", "-o", "size=12m", "none"], &disk) else { return };
    mirror.replica = disk.join("replica");
    mirror.write_config("home/twinfold/config.toml", "max_workers = 1\n");
    for (number, size) in [7, 4, 3, 2, 30].into_iter().enumerate() {
        write(mirror.in_source(format!("file-{number}")), content(number, size * MIB));
    }
    let run = mirror.run(&[]).expect(3);
    run.says("no room");
    let there = (0..5).filter(|number| mirror.in_replica(format!("file-{number}")).exists());
    let bytes: u64 =
        there.map(|number| mirror.in_replica(format!("file-{number}")).metadata().unwrap().len()).sum();
    assert!(bytes >= 5 * MIB as u64, "{bytes} bytes were brought over");
    assert!(!mirror.in_replica("file-4").exists());
    mounted.unmount();
}
