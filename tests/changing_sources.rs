//! A source file that changes while it is copied: whole old or whole new, or as it was at one moment; a mix only where
//! that is allowed, and named.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::disk::make_image;
use common::mounts::{Mounted, bind, mount};
use common::program::{Running, start};
use common::tree::write;
use common::writers::Writer;
use common::{Mirror, is_root, settle, skip};
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// A mirror whose files are read so slowly that a writer comes in between: `rate` is in bytes a second.
fn read_slowly(rate: &str, more: &str) -> Mirror {
    let mirror = Mirror::new();
    configure(&mirror, rate, more);
    mirror
}

fn configure(mirror: &Mirror, rate: &str, more: &str) {
    let text = format!("hashing_file_chunk_size = \"4KiB\"\nbandwidth_limit = \"{rate}\"\n{more}\n");
    mirror.write_config("home/twinfold/config.toml", text);
}

/// Fails unless the replica's file is a beginning of the source's, with at least so many bytes.
#[track_caller]
fn assert_beginning(mirror: &Mirror, name: &str, least: u64) {
    let (source, replica) =
        (fs::read(mirror.in_source(name)).unwrap(), fs::read(mirror.in_replica(name)).unwrap());
    assert!(replica.len() as u64 >= least, "{name} has {} bytes", replica.len());
    assert!(source.starts_with(&replica), "{name} is no beginning of the source's");
}

/// A large file that is copied in small chunks, so that the copy can be caught half way.
fn caught_half_way() -> (Mirror, Running) {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "hashing_file_chunk_size = \"4KiB\"\n");
    write(mirror.in_source("file"), vec![b'A'; 24 << 20]);
    let run = start(mirror.once(&[]));
    let began = Instant::now();
    while !has_part_of_it(&mirror) {
        assert!(began.elapsed() < Duration::from_secs(60), "no copy was caught half way");
        sleep(Duration::from_millis(1));
    }
    run.freeze();
    (mirror, run)
}

fn has_part_of_it(mirror: &Mirror) -> bool {
    let Ok(listing) = fs::read_dir(&mirror.replica) else { return false };
    listing.flatten().any(|entry| entry.metadata().is_ok_and(|found| found.len() > 1 << 20))
}

#[test]
fn a_large_file_cut_short_while_it_is_copied_leaves_nothing_of_the_old_in_the_new() {
    let (mirror, run) = caught_half_way();
    write(mirror.in_source("file"), "new short content");
    run.signal(Signal::CONT);
    let code = run.wait().code;
    if code == 0 {
        let whole = fs::read(mirror.in_replica("file")).unwrap();
        assert!(whole == b"new short content" || whole.len() == 24 << 20, "{} bytes", whole.len());
    }
    mirror.sync();
}

#[test]
fn a_file_that_is_replaced_while_it_is_copied_is_copied_whole() {
    let (mirror, run) = caught_half_way();
    write(mirror.in_source("other"), vec![b'B'; 3 << 20]);
    rustix::fs::rename(mirror.in_source("other"), mirror.in_source("file")).unwrap();
    run.signal(Signal::CONT);
    let code = run.wait().code;
    let whole = fs::read(mirror.in_replica("file")).unwrap_or_default();
    assert!(code == 0 || code == 3, "{code}");
    assert!(whole.windows(2).all(|pair| pair[0] == pair[1]), "a mix of both was published");
    mirror.sync();
}

/// The first run copies ahead of a plan, the second one by it, the last ones when nothing is written any more.
fn a_growing_file_is_followed(mirror: &Mirror, names: &[&str], least: u64, grow: impl Fn() -> Writer) {
    let writer = grow();
    for _ in 0..2 {
        let before = fs::metadata(mirror.in_source(names[0])).unwrap().len();
        mirror.run(&[]).expect(0);
        for name in names {
            assert_beginning(mirror, name, least.max(before));
        }
    }
    writer.stop();
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn a_small_log_that_grows_all_the_time_is_copied_as_it_was_when_it_was_opened() {
    let mirror = read_slowly("400KiB", "");
    let log = mirror.in_source("log");
    write(&log, vec![b'a'; 20_000]);
    a_growing_file_is_followed(&mirror, &["log"], 20_000, || Writer::appending(&log));
}

#[test]
fn so_are_large_ones_that_are_copied_side_by_side() {
    let mirror = read_slowly("40MiB", "");
    let log = mirror.in_source("log");
    write(&log, vec![b'a'; 4 << 20]);
    write(mirror.in_source("other"), vec![b'b'; 3 << 20]);
    a_growing_file_is_followed(&mirror, &["log"], 4 << 20, || Writer::appending(&log));
}

#[test]
fn and_one_with_holes_and_one_with_two_names() {
    let mirror = read_slowly("20MiB", "");
    let (holes, one) = (mirror.in_source("holes"), mirror.in_source("one"));
    let file = File::create(&holes).unwrap();
    file.set_len(6 << 20).unwrap();
    file.write_all_at(&vec![b'x'; 2 << 20], 2 << 20).unwrap();
    a_growing_file_is_followed(&mirror, &["holes"], 6 << 20, || Writer::appending(&holes));
    write(&one, vec![b'a'; 2 << 20]);
    fs::hard_link(&one, mirror.in_source("two")).unwrap();
    a_growing_file_is_followed(&mirror, &["one", "two"], 2 << 20, || Writer::appending(&one));
    // It is renamed, as logs are, and goes on growing.
    let writer = Writer::appending(&one);
    fs::rename(&one, mirror.in_source("one.1")).unwrap();
    mirror.run(&[]).expect(0);
    assert_beginning(&mirror, "one.1", 2 << 20);
    assert!(!mirror.in_replica("one").exists());
    writer.stop();
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn an_image_that_is_rewritten_all_the_time_is_published_as_publish_mixed_says() {
    let mirror = read_slowly("40MiB", "publish_mixed = \"never\"");
    let image = mirror.in_source("image");
    let writer = Writer::rewriting(&image, 3 * MIB);
    let told = mirror.run(&[]).expect(3).says("written to each time it was read").says("\"if-absent\"");
    assert!(told.stderr.contains("the replica has no copy of it"), "{}", told.stderr);
    assert!(!mirror.in_replica("image").exists());
    configure(&mirror, "40MiB", "");
    mirror.run(&[]).expect(3).says("may mix older and newer parts").says("publish_mixed = \"never\"");
    let first = fs::metadata(mirror.in_replica("image")).unwrap();
    assert_eq!(first.len(), 3 * MIB);
    mirror.run(&[]).expect(3).says("the replica keeps what it has").says("\"always\"");
    assert_eq!(fs::metadata(mirror.in_replica("image")).unwrap().ino(), first.ino());
    configure(&mirror, "40MiB", "publish_mixed = \"always\"");
    mirror.run(&[]).expect(3).says("may mix older and newer parts");
    assert_ne!(fs::metadata(mirror.in_replica("image")).unwrap().ino(), first.ino());
    let names: Vec<_> =
        fs::read_dir(&mirror.replica).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["image"], "something was left behind");
    writer.stop();
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn a_small_file_that_is_rewritten_all_the_time_keeps_its_old_copy() {
    let mirror = read_slowly("400KiB", "");
    let (small, old) = (mirror.in_source("small"), vec![b'o'; 20_000]);
    write(&small, &old);
    mirror.sync();
    let writer = Writer::rewriting(&small, 20_480);
    mirror.run(&[]).expect(3).says("cannot copy small (source)").says("the replica keeps what it has");
    assert!(fs::read(mirror.in_replica("small")).unwrap() == old);
    write(mirror.in_source("other"), "is copied all the same");
    mirror.run(&[]).expect(3);
    assert!(mirror.in_replica("other").exists());
    writer.stop();
    settle();
    mirror.sync();
}

/// A mirror whose source lies on a fresh file system of this kind, and its replica there too if it is to.
fn source_on(kind: &str, replica_too: bool) -> Option<(Mirror, Mounted)> {
    let mut mirror = Mirror::new();
    let (image, at) = (mirror.path("image"), mirror.path("disk"));
    if !is_root() || !make_image(&image, kind, 512, &[]) {
        skip(&format!("there is no {kind} to clone on"));
        return None;
    }
    let mounted = mount(&["-o", "loop", image.to_str().unwrap()], &at)?;
    mirror.source = at.join("source");
    fs::create_dir(&mirror.source).unwrap();
    if replica_too {
        mirror.replica = at.join("replica");
    }
    Some((mirror, mounted))
}

/// A folder's figures, and the names in it.
fn traces(folder: &Path) -> (i64, i64, i64, i64, Vec<std::ffi::OsString>) {
    let stat = fs::metadata(folder).unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec(), names)
}

/// Fails unless the file is as a writer that goes over it again and again left it at one moment: up to some place of
/// one pass, from there on of the one before.
#[track_caller]
fn assert_of_one_moment(file: &Path) {
    let content = fs::read(file).unwrap();
    let passes: Vec<u64> =
        content.chunks(4096).map(|block| u64::from_le_bytes(block[..8].try_into().unwrap())).collect();
    let (first, last) = (passes[0], passes[passes.len() - 1]);
    assert!(first == last || first == last + 1, "passes {last} to {first} in one file");
    assert!(passes.is_sorted_by(|one, other| one >= other), "{passes:?}");
}

#[test]
fn where_the_source_can_be_cloned_a_rewritten_image_is_copied_as_it_was_at_one_moment() {
    for kind in ["btrfs", "xfs"] {
        for replica_too in [false, true] {
            let Some((mirror, mounted)) = source_on(kind, replica_too) else { continue };
            configure(&mirror, "40MiB", "");
            let (image, small) = (mirror.in_source("image"), mirror.in_source("small"));
            let writers = [Writer::rewriting(&image, 3 * MIB), Writer::rewriting(&small, 40_960)];
            let before = traces(&mirror.source);
            for _ in 0..2 {
                mirror.run(&[]).expect(0);
                assert_of_one_moment(&mirror.in_replica("image"));
                assert_of_one_moment(&mirror.in_replica("small"));
            }
            assert_eq!(traces(&mirror.source), before, "{kind}: the source was touched");
            writers.into_iter().for_each(Writer::stop);
            settle();
            mirror.sync();
            mirror.assert_idle();
            drop(mounted);
        }
    }
}

#[test]
fn a_file_whose_size_does_not_say_what_it_holds_is_named_as_that() {
    let mirror = Mirror::new();
    write(mirror.in_source("other"), "other");
    let proc = bind(Path::new("/proc/sys/kernel/random"), &mirror.in_source("random"));
    let sys = bind(Path::new("/sys/kernel/mm/transparent_hugepage/khugepaged"), &mirror.in_source("sys"));
    let (Some(proc), Some(sys)) = (proc, sys) else { return };
    for is_known in [false, true] {
        let run = mirror.run(&[]).expect(3);
        if is_known {
            run.says("the same");
            continue;
        }
        let run = run.says("random/boot_id (source): its size is given as 0, but it has content");
        let run = run.says("its size is given as 4096 bytes, but only");
        assert!(!run.stderr.contains("written to"), "{}", run.stderr);
        assert!(!mirror.in_replica("random/boot_id").exists());
        assert!(mirror.in_replica("other").exists());
    }
    drop((proc, sys));
}
