//! What could not be made durable is not published: never, whoever was told of the error.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what cannot be prepared fails the test")]

mod common;

use common::disk::{Mounted, does, make_image, mount};
use common::inject::{self, Fault};
use common::tree::{remove, write};
use common::versions::is_temporary;
use common::{Mirror, settle};
use std::fs;
use std::path::PathBuf;
use twinfold::store::local::LocalStore;
use twinfold::store::{Mounts, Store, Writes};

const FILES: usize = 12;

fn name(number: usize) -> String {
    format!("file-{number:02}")
}

/// A mirror of twelve files in step, whose source then got other contents.
fn with_new_contents(config: &str) -> Mirror {
    let mirror = Mirror::new();
    let config = format!("max_workers = 1\nfile_copy_batch_size = 4\n{config}\n");
    mirror.write_config("home/twinfold/config.toml", config);
    for content in ["old", "newer"] {
        for number in 0..FILES {
            write(mirror.in_source(name(number)), content);
        }
        settle();
        if content == "old" {
            mirror.sync();
        }
    }
    mirror
}

/// The numbers of the replica's files that hold the new content; all others must hold the old.
fn brought_over(mirror: &Mirror) -> Vec<usize> {
    for entry in fs::read_dir(&mirror.replica).unwrap() {
        let path = PathBuf::from(entry.unwrap().file_name());
        assert!(!is_temporary(&path), "{} is left", path.display());
    }
    let content = |number: &usize| fs::read(mirror.in_replica(name(*number))).unwrap();
    assert!((0..FILES).all(|number| [&b"old"[..], b"newer"].contains(&&*content(&number))));
    (0..FILES).filter(|number| content(number) == b"newer").collect()
}

#[test]
fn a_batch_that_could_not_be_made_durable_is_not_published_and_the_others_are() {
    if !inject::possible() {
        return;
    }
    let mirror = with_new_contents("");
    let run = inject::run(&mirror, &[], "syncfs", 2, Fault::Once("EIO")).wait().expect(3);
    let run = run.says("file-04").says("make durable (syncfs)").says("Input/output error");
    assert!(!run.stderr.contains("file-00") && !run.stderr.contains("file-08"), "{}", run.stderr);
    assert_eq!(brought_over(&mirror), [0, 1, 2, 3, 8, 9, 10, 11]);
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["copy"], &summary["exit_code"]), (&4.into(), &0.into()), "{summary}");
    mirror.assert_in_step();
}

#[test]
fn where_nothing_can_be_made_durable_nothing_is_published() {
    if !inject::possible() {
        return;
    }
    let mirror = with_new_contents("");
    inject::run(&mirror, &[], "syncfs", 1, Fault::Sticky("EIO")).wait().expect(3);
    assert!(brought_over(&mirror).is_empty());
    mirror.sync();
    // For lack of room it is one message, however many files it concerns.
    for number in 0..FILES {
        write(mirror.in_source(name(number)), "old");
    }
    settle();
    let run = inject::run(&mirror, &[], "syncfs", 1, Fault::Sticky("ENOSPC")).wait().expect(3);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert_eq!(brought_over(&mirror).len(), FILES);
    mirror.sync();
}

#[test]
fn with_an_fsync_for_each_file_one_that_fails_keeps_that_file_only() {
    if !inject::possible() {
        return;
    }
    let mirror = with_new_contents("durability = \"file\"");
    // The manifest's own calls are in another thread, and fewer.
    let run = inject::run(&mirror, &[], "fsync", 10, Fault::Once("EIO")).wait().expect(3);
    let run = run.says("file-09").says("make durable (fsync)");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert_eq!(brought_over(&mirror), [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]);
    mirror.sync();
}

#[test]
fn no_durability_makes_no_call_and_a_batch_one() {
    if !inject::possible() {
        return;
    }
    let calls = |config| {
        let counts = inject::count(&with_new_contents(config), &[], &["syncfs", "fsync"]);
        (counts.get("syncfs").copied().unwrap_or(0), counts.get("fsync").copied().unwrap_or(0) >= 12)
    };
    assert_eq!(calls("durability = \"none\""), (0, false));
    assert_eq!(calls("durability = \"batch\""), (3, false));
    assert_eq!(calls("durability = \"file\""), (0, true));
}

/// An ext4 file system that believes in 200 MiB, on a medium that has room for a few.
fn on_a_lying_disk(mirror: &mut Mirror) -> Option<(Mounted, Mounted, PathBuf)> {
    let medium = mirror.path("medium");
    let memory = mount(&["-t", "tmpfs", "-o", "size=20m", "none"], &medium)?;
    let (image, filler) = (medium.join("image"), medium.join("filler"));
    // The file system's own blocks are written now; those of the files' contents are not there.
    let options = ["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-J", "size=8"];
    if !make_image(&image, "ext4", 200, &options) {
        return None;
    }
    let disk = mount(&["-o", "loop", image.to_str().unwrap()], &mirror.path("disk"))?;
    assert!(!does("dd", &["if=/dev/zero", &format!("of={}", filler.display()), "bs=64k"]), "not full");
    let filled = fs::metadata(&filler).unwrap().len();
    fs::File::options().write(true).open(&filler).unwrap().set_len(filled - (4 << 20)).unwrap();
    mirror.replica = mirror.path("disk").join("replica");
    Some((memory, disk, filler))
}

#[test]
fn an_error_is_told_to_everyone_whose_writes_it_may_have_met() {
    let mut mirror = Mirror::new();
    let Some((_memory, disk, _)) = on_a_lying_disk(&mut mirror) else { return };
    let root = fs::File::open(&disk.0).unwrap();
    let store = LocalStore::replica(root.into(), Mounts::Stay).unwrap();
    let (one, two) = (store.begin_writes().unwrap(), store.begin_writes().unwrap());
    write(disk.0.join("more-than-fits"), vec![7; 10 << 20]);
    // Whoever asks first is told, and so is whoever asks next.
    two.make_durable().unwrap_err();
    one.make_durable().unwrap_err();
}

#[test]
fn what_was_never_written_back_is_never_under_a_final_name() {
    let mut mirror = Mirror::new();
    let Some((_memory, mut disk, filler)) = on_a_lying_disk(&mut mirror) else { return };
    mirror.write_config("home/twinfold/config.toml", "max_workers = 4\nfile_copy_batch_size = 4\n");
    let content = |number: usize| vec![u8::try_from(number).unwrap() + 1; 120_000];
    for number in 0..200 {
        write(mirror.in_source(name(number)), content(number));
    }
    let run = mirror.run(&[]);
    assert!([1, 3].contains(&run.code), "{run:?}");
    // Read again from the medium, not from memory.
    remove(&filler);
    let at = disk.0.to_str().unwrap().to_owned();
    assert!(does("umount", &[&at]), "cannot unmount");
    std::mem::forget(disk);
    disk =
        mount(&["-o", "loop", mirror.path("medium/image").to_str().unwrap()], &mirror.path("disk")).unwrap();
    let mut whole = 0;
    for number in 0..200 {
        let Ok(found) = fs::read(mirror.in_replica(name(number))) else { continue };
        assert!(found == content(number), "{} is not what was copied: {} bytes", name(number), found.len());
        whole += 1;
    }
    eprintln!("{whole} of 200 were written, the run ended with {}", run.code);
    drop(disk);
}
