//! New versions of large files where there is no room for two: what is written of them, and what becomes of the old ones.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::disk::{does, make_image};
use common::mounts::{Mounted, mount};
use common::program::{finish, start, wait_until};
use common::tree::{inode, write};
use common::versions::is_temporary;
use common::{Mirror, inject, is_root, settle, skip};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const MIB: usize = 1 << 20;

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

/// A mirror whose replica lies on a file system of this kind and size, with an image of so many MiB in it.
fn with_image(kind: &str, disk: u64, image: usize, config: &str) -> Option<(Mirror, Mounted)> {
    let mut mirror = Mirror::new();
    let (file, at) = (mirror.path("disk.img"), mirror.path("disk"));
    if !is_root() || !make_image(&file, kind, disk, &[]) {
        skip(&format!("a disk of one's own with {kind} needs root and mkfs.{kind}"));
        return None;
    }
    let mounted = mount(&["-o", "loop", file.to_str().unwrap()], &at)?;
    mirror.replica = at.join("replica");
    mirror.write_config("home/twinfold/config.toml", config);
    write(mirror.in_source("image"), content(1, image * MIB));
    settle();
    mirror.run(&[]).expect(0);
    Some((mirror, mounted))
}

/// Changes so many bytes in the middle of the source's image.
fn change(mirror: &Mirror, bytes: usize) {
    let file = File::options().write(true).open(mirror.in_source("image")).unwrap();
    file.write_all_at(&content(5, bytes), 3 * MIB as u64).unwrap();
    settle();
}

fn same(mirror: &Mirror) -> bool {
    fs::read(mirror.in_source("image")).unwrap() == fs::read(mirror.in_replica("image")).unwrap()
}

fn temporaries(mirror: &Mirror) -> usize {
    fs::read_dir(&mirror.replica)
        .unwrap()
        .filter(|entry| is_temporary(&entry.as_ref().unwrap().path()))
        .count()
}

#[test]
fn what_differs_is_written_into_the_old_version_where_there_is_no_room_for_two() {
    let Some((mirror, mounted)) = with_image("ext4", 64, 36, "") else { return };
    let before = inode(mirror.in_replica("image"));
    change(&mirror, 4096);
    mirror.run(&[]).expect(0);
    assert!(same(&mirror));
    assert_eq!(inode(mirror.in_replica("image")), before, "it was patched in place");
    assert_eq!(temporaries(&mirror), 0);
    mirror.assert_idle();
    // Longer, and shorter, too.
    for length in [37 * MIB + 5, 30 * MIB + 3] {
        File::options().write(true).open(mirror.in_source("image")).unwrap().set_len(length as u64).unwrap();
        let file = File::options().write(true).open(mirror.in_source("image")).unwrap();
        file.write_all_at(b"end", length as u64 - 3).unwrap();
        write(mirror.in_source("image"), fs::read(mirror.in_source("image")).unwrap());
        settle();
        mirror.run(&[]).expect(0);
        assert!(same(&mirror), "{length}");
        mirror.assert_idle();
    }
    mounted.unmount();
}

#[test]
fn the_old_version_stays_where_that_is_wanted_or_where_too_much_differs() {
    for (config, changed) in
        [("when_full = \"keep-old\"", 4096), ("", 30 * MIB), ("[trash]\nenabled = true", 4096)]
    {
        let Some((mirror, mounted)) = with_image("ext4", 64, 36, config) else { return };
        change(&mirror, changed);
        let output = mirror.run(&[]).expect(3);
        if !config.contains("trash") {
            output.says("when_full = \"replace\"");
        }
        assert!(fs::read(mirror.in_replica("image")).unwrap() == content(1, 36 * MIB), "{config}");
        assert_eq!(temporaries(&mirror), 0);
        mounted.unmount();
    }
}

#[test]
fn the_old_version_is_removed_first_where_that_is_wanted_and_makes_room() {
    let Some((mirror, mounted)) = with_image("ext4", 64, 36, "when_full = \"replace\"") else { return };
    change(&mirror, 30 * MIB);
    mirror.run(&[]).expect(0);
    assert!(same(&mirror));
    mirror.assert_idle();
    // What would not fit alone takes nothing away.
    let old = fs::read(mirror.in_replica("image")).unwrap();
    write(mirror.in_source("image"), content(8, 80 * MIB));
    settle();
    mirror.run(&[]).expect(3).says("would not make room enough");
    assert!(fs::read(mirror.in_replica("image")).unwrap() == old);
    mounted.unmount();
}

#[test]
fn a_kill_while_it_is_written_leaves_a_journal_from_which_the_next_run_finishes_it() {
    if !inject::possible() {
        return;
    }
    let Some((mirror, mounted)) = with_image("ext4", 64, 36, "max_workers = 1") else { return };
    change(&mirror, 2 * MIB);
    // What cuts the file to its length waits, after all else was written.
    let slow = ["trace=ftruncate", "inject=ftruncate:delay_enter=4000000"];
    let mut run = start(inject::traced_from_behind(&mirror, &[], &slow));
    let rows = || {
        let connection = rusqlite::Connection::open(mirror.manifest()).unwrap();
        connection
            .query_row("SELECT count(*) FROM patches", [], |row| row.get::<_, i64>(0))
            .unwrap_or_default()
    };
    wait_until("the journal is written", || rows() == 1 || !run.is_running());
    sleep(Duration::from_millis(300));
    run.signal(rustix::process::Signal::KILL);
    run.wait();
    assert_eq!((rows(), temporaries(&mirror)), (1, 1));
    // Whatever was written of it: it is written again. What the source has now does not matter to that.
    let file = File::options().write(true).open(mirror.in_replica("image")).unwrap();
    file.write_all_at(&[0; 4096], 4 * MIB as u64).unwrap();
    drop(file);
    let wanted = fs::read(mirror.in_source("image")).unwrap();
    mirror.run(&[]).expect(0);
    assert!(fs::read(mirror.in_replica("image")).unwrap() == wanted);
    assert!(mirror.log().contains("was finished from the journal"));
    assert_eq!((rows(), temporaries(&mirror)), (0, 0));
    mirror.assert_idle();
    mounted.unmount();
}

/// Bytes that a run wrote to files of the replica.
fn bytes_written(mirror: &Mirror) -> u64 {
    let mut counted = Command::new("strace");
    counted.args(["-f", "-y", "-s", "0", "-e", "trace=write,pwrite64", "-o"]);
    counted.arg(mirror.path("trace"));
    let once = mirror.once(&[]);
    counted.arg(once.get_program()).args(once.get_args());
    mirror.isolate(&mut counted);
    finish(counted).expect(0);
    let trace = fs::read_to_string(mirror.path("trace")).unwrap();
    let mark = format!("<{}/", mirror.replica.display());
    let lines = trace.lines().filter(|line| line.contains(&mark));
    lines.filter_map(|line| line.rsplit_once("= ")?.1.parse::<u64>().ok()).sum()
}

#[test]
fn of_a_changed_large_file_only_what_differs_is_written_where_files_can_be_cloned() {
    if !inject::possible() {
        return;
    }
    for kind in ["xfs", "btrfs"] {
        let config = "max_workers = 1\n[trash]\nenabled = true\n";
        let Some((mirror, mounted)) = with_image(kind, 400, 64, config) else { continue };
        change(&mirror, MIB);
        let written = bytes_written(&mirror);
        assert!(same(&mirror));
        assert!((MIB as u64..2 * MIB as u64).contains(&written), "{kind}: {written} bytes");
        // The old version is in the trash, and shares all else with the new one.
        assert!(does("sync", &["-f", mirror.replica.to_str().unwrap()]));
        let told = Command::new("filefrag").arg("-v").arg(mirror.in_replica("image")).output();
        if let Ok(told) = told {
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            assert!(told.contains("shared"), "{kind}: {told}");
        }
        mirror.assert_idle();
        mounted.unmount();
    }
}
