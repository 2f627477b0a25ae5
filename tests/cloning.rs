//! Where the file system can clone, copies share the source's blocks, and are hashed as what they are.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::disk::{make_image, mount};
use common::inject;
use common::mounts::{Mounted, does};
use common::program::{finish, start};
use common::tree::write;
use common::{Mirror, is_root, settle, skip};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A mirror whose roots both lie on a file system of this kind; `None`, said loudly, where there can be none.
fn on(kind: &str) -> Option<(Mirror, Mounted)> {
    let mut mirror = Mirror::new();
    let (image, at) = (mirror.path("image"), mirror.path("disk"));
    if !is_root() || !make_image(&image, kind, 512, &[]) {
        skip(&format!("there is no {kind} to clone on"));
        return None;
    }
    let mounted = mount(&["-o", "loop", image.to_str().unwrap()], &at)?;
    mirror.source = at.join("source");
    mirror.replica = at.join("replica");
    fs::create_dir(&mirror.source).unwrap();
    Some((mirror, mounted))
}

/// Bytes that no file system can leave out or squeeze.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..length).map(byte).collect()
}

/// How many of a file's extents others share, and how many there are, as `filefrag` tells.
fn shared(path: &Path) -> (usize, usize) {
    let told = Command::new("filefrag").arg("-v").arg(path).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    // Lines of extents begin with their number.
    let extents = told.lines().filter(|line| {
        line.trim_start().split_once(':').is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    });
    let (mut sharing, mut all) = (0, 0);
    for extent in extents {
        all += 1;
        sharing += usize::from(extent.contains("shared"));
    }
    (sharing, all)
}

#[test]
fn files_of_every_size_are_clones_on_btrfs_and_xfs_with_their_holes_and_right_digests() {
    if !does("filefrag", &["-V"]) {
        return skip("there is no filefrag to ask who shares what");
    }
    for kind in ["btrfs", "xfs"] {
        let Some((mirror, mounted)) = on(kind) else { continue };
        let sizes = [("small", 20_000), ("middle", MIB + 4321), ("large", 12 * MIB + 1)];
        for (number, (name, size)) in (1..).zip(sizes) {
            write(mirror.in_source(name), noise(number, size));
        }
        write(mirror.in_source("empty"), "");
        let holes = File::create(mirror.in_source("holes")).unwrap();
        holes.set_len(6 << 20).unwrap();
        holes.write_all_at(&noise(9, 70_000), 3 << 20).unwrap();
        drop(holes);
        settle();
        mirror.sync();
        for name in ["small", "middle", "large", "holes"] {
            let (sharing, all) = shared(&mirror.in_replica(name));
            assert!(all > 0 && sharing == all, "{kind}: {name} shares {sharing} of {all} extents");
            let (source, replica) = (mirror.in_source(name), mirror.in_replica(name));
            assert!(fs::read(source).unwrap() == fs::read(replica).unwrap(), "{kind}: {name} differs");
        }
        let mut status = mirror.program(&["status", "--format", "md5sum"]);
        status.args(mirror.roots());
        let sums = mirror.path("sums");
        write(&sums, finish(status).expect(0).stdout);
        let check =
            Command::new("md5sum").arg("-c").arg(&sums).current_dir(&mirror.replica).output().unwrap();
        assert!(check.status.success(), "{kind}: {}", String::from_utf8_lossy(&check.stdout));
        settle();
        mirror.sync();
        mirror.assert_idle();
        // A replica written over shows that the source has blocks of its own.
        let before = fs::read(mirror.in_source("large")).unwrap();
        File::options().write(true).open(mirror.in_replica("large")).unwrap().write_all_at(b"x", 5).unwrap();
        assert!(fs::read(mirror.in_source("large")).unwrap() == before);
        mirror.sync();
        mounted.unmount();
    }
}

#[test]
fn where_holes_are_not_kept_a_sparse_file_is_copied_and_not_cloned() {
    let Some((mirror, mounted)) = on("xfs") else { return };
    mirror.write_config("home/twinfold/config.toml", "[preserve]\nsparse = false\n");
    let holes = File::create(mirror.in_source("holes")).unwrap();
    holes.set_len(6 << 20).unwrap();
    holes.write_all_at(b"data", 3 << 20).unwrap();
    drop(holes);
    mirror.sync();
    assert_eq!(shared(&mirror.in_replica("holes")).0, 0);
    mounted.unmount();
}

/// The clones that a run asks the system for.
fn asked(mirror: &Mirror) -> usize {
    let trace = mirror.path("trace");
    let run = inject::traced(mirror, &[], trace.to_str().unwrap(), &["trace=ioctl"]);
    start(run).wait().expect(0);
    let trace = fs::read_to_string(trace).unwrap();
    trace.lines().filter(|line| line.contains("FICLONE")).count()
}

#[test]
fn that_there_are_no_clones_is_found_out_once_and_not_for_every_file() {
    if !inject::possible() {
        return;
    }
    let Some((mut mirror, mounted)) = on("xfs") else { return };
    // On another file system than the source.
    mirror.replica = mirror.path("elsewhere");
    mirror.write_config("home/twinfold/config.toml", "max_workers = 1\n");
    for number in 0..40 {
        write(mirror.in_source(format!("file-{number}")), noise(number, 5000));
        write(mirror.in_source(format!("large-{number}")), noise(number, MIB + 1));
    }
    assert_eq!(asked(&mirror), 1);
    mirror.assert_in_step();
    mounted.unmount();
}

/// Whether `content` is what a file that began as `first` held at one moment, which was written to in rounds.
fn was_so_at_one_moment(content: &[u8], mut first: Vec<u8>) -> bool {
    (0..100_000_u64).any(|round| {
        let same = first == content;
        let place = usize::try_from(round % 5000).unwrap();
        first[place..place + 8].copy_from_slice(&round.to_le_bytes());
        same
    })
}

#[test]
fn a_clone_of_a_file_that_is_written_to_meanwhile_is_published_as_what_it_was_at_that_moment() {
    if !inject::possible() {
        return;
    }
    for size in [50_000, 3 * MIB] {
        let Some((mirror, mounted)) = on("btrfs") else { return };
        write(mirror.in_source("file"), noise(1, size));
        mirror.sync();
        write(mirror.in_source("file"), noise(2, size));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let file = File::options().write(true).open(mirror.in_source("file")).unwrap();
                for round in 0_u64.. {
                    file.write_all_at(&round.to_le_bytes(), round % 5000).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            });
            // Long enough that something is always written between the opening of the file and its clone.
            let slow = ["trace=ioctl", "inject=ioctl:delay_enter=150000"];
            let run = start(inject::traced(&mirror, &[], "/dev/null", &slow)).wait();
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
            run.expect(0);
        });
        let content = fs::read(mirror.in_replica("file")).unwrap();
        assert!(was_so_at_one_moment(&content, noise(2, size)), "{size} bytes");
        settle();
        mirror.sync();
        mounted.unmount();
    }
}

#[test]
fn a_file_that_the_file_system_refuses_to_clone_is_copied() {
    if !inject::possible() {
        return;
    }
    for error in ["EINVAL", "EOPNOTSUPP", "EPERM", "EIO", "ENOSPC"] {
        let Some((mirror, mounted)) = on("btrfs") else { return };
        for (name, size) in [("small", 20_000), ("large", 2 * MIB), ("larger", 3 * MIB)] {
            write(mirror.in_source(name), noise(3, size));
        }
        let refuse = format!("inject=ioctl:error={error}");
        start(inject::traced(&mirror, &[], "/dev/null", &["trace=ioctl", &refuse])).wait().expect(0);
        mirror.assert_in_step();
        assert_eq!(shared(&mirror.in_replica("large")).0, 0, "{error}");
        mounted.unmount();
    }
}
