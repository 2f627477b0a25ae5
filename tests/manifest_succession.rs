//! A damaged manifest is no way round the gates: what its successor has no row of is not deleted before
//! a person says so.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::mounts::tmpfs;
use common::tree::{mkdir, remove, write};
use common::{Mirror, settle};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn fill(folder: &Path, files: u32) {
    (0..files).for_each(|number| write(folder.join(format!("{number:03}")), number.to_string()));
}

/// A mirror of 120 files, 100 of which the source has lost since.
fn shrunk() -> Mirror {
    let mirror = Mirror::new();
    fill(&mirror.source, 120);
    settle();
    mirror.sync();
    (0..100).for_each(|number| remove(mirror.in_source(format!("{number:03}"))));
    mirror
}

fn overwrite(mirror: &Mirror, at: u64, garbage: &[u8]) {
    let file = fs::File::options().write(true).open(mirror.manifest()).unwrap();
    file.write_all_at(garbage, at).unwrap();
}

#[test]
fn garbage_in_the_manifest_lets_no_held_delete_go() {
    let mirror = shrunk();
    mirror.run(&[]).expect(4);
    // Found on opening, and in use.
    for (at, garbage) in [(0, &b"garbage"[..]), (3 * 4096, &[0xff; 64])] {
        overwrite(&mirror, at, garbage);
        let dry = mirror.run(&["-n"]).expect(4);
        assert!(dry.stdout.contains("damaged") || dry.stderr.contains("damaged"), "{dry:?}");
        mirror.run(&[]).expect(4).says("set aside, so that it is not known whether 100 entries");
        assert_eq!(count(&mirror.replica), 120);
        // Not only in the run that met the damage, and whatever the limit.
        mirror.run(&["--max-delete", "off"]).expect(4).says("still held");
        mirror.run(&["-n", "--max-delete", "off"]).expect(4);
        assert_eq!(count(&mirror.replica), 120);
    }
    let names = fs::read_dir(&mirror.state).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().contains(".damaged-")).count(), 2);
}

#[test]
fn an_approval_lets_them_go_and_later_deletes_are_not_held_for_it() {
    let mirror = shrunk();
    overwrite(&mirror, 0, b"garbage");
    mirror.run(&[]).expect(4);
    // What the successor knows by now goes as ever.
    remove(mirror.in_source("119"));
    mirror.run(&[]).expect(4);
    assert!(!mirror.in_replica("119").exists());
    let mut approve = vec!["approve".to_owned()];
    approve.extend(mirror.roots());
    common::program::finish(mirror.program(&approve)).expect(0);
    mirror.sync();
    assert_eq!(count(&mirror.replica), 19);
    write(mirror.in_replica("stray"), "nobody's");
    mirror.sync();
}

#[test]
fn what_comes_back_to_the_source_ends_it_as_well() {
    let mirror = Mirror::new();
    fill(&mirror.source, 3);
    settle();
    mirror.sync();
    let away = mirror.path("away");
    fs::rename(mirror.in_source("001"), &away).unwrap();
    overwrite(&mirror, 0, b"garbage");
    mirror.run(&[]).expect(4).says("1 entries");
    fs::rename(&away, mirror.in_source("001")).unwrap();
    mirror.sync();
    write(mirror.in_replica("stray"), "nobody's");
    mirror.sync();
}

#[test]
fn temporaries_go_and_a_manifest_that_a_person_removed_asks_once_more() {
    let mirror = shrunk();
    let litter = mirror.in_replica(".twinfold-0123abcd.tmp");
    write(&litter, "unfinished");
    overwrite(&mirror, 0, b"garbage");
    mirror.run(&[]).expect(4);
    assert!(!litter.exists());
    remove(mirror.manifest());
    mirror.run(&[]).expect(4).says("right way round");
    assert_eq!(count(&mirror.replica), 120);
    mirror.run(&["--max-delete", "off"]).expect(0);
    assert_eq!(count(&mirror.replica), 20);
}

#[test]
fn an_unmounted_source_is_known_by_what_the_damaged_manifest_still_tells() {
    let mirror = Mirror::new();
    let Some(mounted) = tmpfs(&mirror.source) else { return };
    fill(&mirror.source, 150);
    settle();
    mirror.sync();
    mounted.unmount();
    write(mirror.in_source("README"), "mount me");
    // A leaf of the rows, far from the mounts.
    let pages = fs::metadata(mirror.manifest()).unwrap().len() / 4096;
    let manifest = fs::read(mirror.manifest()).unwrap();
    let leaf = (0..pages).find(|page| {
        let page = usize::try_from(page * 4096).unwrap();
        manifest[page..page + 4096].windows(6).filter(|bytes| bytes.starts_with(b"07")).count() > 5
    });
    overwrite(&mirror, leaf.unwrap() * 4096, &[0xff; 64]);
    let before = fs::read(mirror.manifest()).unwrap();
    mirror.run(&["-n"]).expect(5);
    mirror.run(&[]).expect(5).says("tmpfs");
    assert_eq!(count(&mirror.replica), 150);
    // Nothing was looked at but the mounts, so that the damage has not shown yet; here it does.
    let mut garbage = before;
    garbage[0] ^= 1;
    write(mirror.manifest(), &garbage);
    mirror.run(&[]).expect(4).says("set aside");
    assert_eq!(count(&mirror.replica), 151);
}

#[test]
fn a_mount_within_the_source_that_is_gone_shields_or_holds() {
    let mirror = Mirror::new();
    mkdir(mirror.in_source("d"));
    let Some(mounted) = tmpfs(&mirror.in_source("d")) else { return };
    fill(&mirror.in_source("d"), 30);
    write(mirror.in_source("other"), "content");
    settle();
    mirror.sync();
    mounted.unmount();
    overwrite(&mirror, 0, b"garbage");
    mirror.run(&[]).expect(4);
    mirror.run(&[]).expect(4);
    assert_eq!(count(&mirror.in_replica("d")), 30);
}

#[test]
fn a_replica_that_is_gone_is_not_made_again_for_a_damaged_manifest() {
    let mirror = shrunk();
    fs::rename(&mirror.replica, mirror.path("elsewhere")).unwrap();
    overwrite(&mirror, 0, b"garbage");
    mirror.run(&["-n"]).expect(5);
    mirror.run(&[]).expect(5).says("is gone");
    mirror.run(&[]).expect(5).says("is gone");
    assert!(!mirror.replica.exists());
}
