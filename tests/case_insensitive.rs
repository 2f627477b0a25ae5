//! Replicas that take `A` and `a` for one name, or refuse names and kinds of entries: exFAT, and NTFS with
//! the names that Windows takes.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::Mirror;
use common::fuse::ExternalDisk;
use common::program::Output;
use common::tree::{mkdir, remove, write};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// A mirror whose replica lies on such a disk.
struct OnDisk {
    // It is unmounted before the folder that it is mounted in is removed.
    disk: ExternalDisk,
    mirror: Mirror,
}

impl OnDisk {
    fn on(maker: fn(&Path) -> Option<ExternalDisk>) -> Option<Self> {
        let mut mirror = Mirror::new();
        let disk = maker(&mirror.path("."))?;
        mirror.replica = disk.at.join("replica");
        mkdir(&mirror.replica);
        Some(Self { disk, mirror })
    }

    /// What these disks have whole seconds of is told apart by more than that.
    fn wait() {
        sleep(Duration::from_millis(2100));
    }

    fn run(&self) -> Output {
        self.mirror.run(&[])
    }

    #[track_caller]
    fn is_idle(&self, problems: u64) {
        let summary = self.mirror.summary(&[]);
        for count in ["create", "copy", "move", "link", "metadata", "delete", "confirmed"] {
            assert_eq!(summary[count], 0, "{count} in {summary}");
        }
        assert_eq!(summary["problems"], problems, "{summary}");
    }

    /// All names in the replica, in order.
    fn names(&self) -> Vec<String> {
        fn below(folder: &Path, prefix: &str, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    found.push(format!("{name}/"));
                    below(&entry.path(), &format!("{name}/"), found);
                } else {
                    found.push(name);
                }
            }
        }
        let mut found = Vec::new();
        below(&self.mirror.replica, "", &mut found);
        found.sort();
        found
    }

    fn holds(&self, name: &str) -> String {
        fs::read_to_string(self.mirror.in_replica(name)).unwrap()
    }
}

#[test]
fn what_only_changes_its_case_is_renamed_in_one_run_and_as_the_dry_run_says() {
    if let Some(on) = OnDisk::on(ExternalDisk::exfat) {
        let mirror = &on.mirror;
        write(mirror.in_source("Report.txt"), "text");
        write(mirror.in_source("Docs/Sub/x"), "x");
        write(mirror.in_source("Docs/y"), "y");
        on.run().expect(0);
        OnDisk::wait();
        fs::rename(mirror.in_source("Report.txt"), mirror.in_source("REPORT.txt")).unwrap();
        fs::rename(mirror.in_source("Docs/Sub"), mirror.in_source("Docs/SUB")).unwrap();
        fs::rename(mirror.in_source("Docs"), mirror.in_source("docs")).unwrap();
        let dry = mirror.summary(&["-n"]);
        let wet = mirror.summary(&[]);
        for count in ["create", "copy", "move", "delete", "problems"] {
            assert_eq!(dry[count], wet[count], "{count}: {dry} {wet}");
        }
        assert_eq!((&wet["move"], &wet["copy"], &wet["delete"]), (&3.into(), &0.into(), &0.into()), "{wet}");
        assert_eq!(on.names(), ["REPORT.txt", "docs/", "docs/SUB/", "docs/SUB/x", "docs/y"]);
        on.is_idle(0);
    }
}

#[test]
fn a_file_saved_under_another_case_is_there_after_one_run() {
    if let Some(on) = OnDisk::on(ExternalDisk::exfat) {
        let mirror = &on.mirror;
        write(mirror.in_source("Report.txt"), "version 1");
        write(mirror.in_source("stays"), "here");
        on.run().expect(0);
        OnDisk::wait();
        for (old, new) in [("Report.txt", "REPORT.txt"), ("REPORT.txt", "report.txt")] {
            remove(mirror.in_source(old));
            write(mirror.in_source(new), format!("saved as {new}"));
            on.run().expect(0);
            assert_eq!(on.names(), [new, "stays"]);
            assert_eq!(on.holds(new), format!("saved as {new}"));
            OnDisk::wait();
            on.is_idle(0);
        }
    }
}

#[test]
fn a_replica_in_another_case_is_adopted() {
    if let Some(on) = OnDisk::on(ExternalDisk::exfat) {
        let mirror = &on.mirror;
        write(mirror.in_source("photos/IMG.jpg"), "picture");
        write(mirror.in_replica("Photos/img.JPG"), "picture");
        on.run().expect(0);
        assert_eq!(on.names(), ["photos/", "photos/IMG.jpg"]);
        on.is_idle(0);
    }
}

#[test]
fn of_two_names_that_are_one_there_the_first_is_mirrored_and_both_are_named() {
    if let Some(on) = OnDisk::on(ExternalDisk::exfat) {
        let mirror = &on.mirror;
        write(mirror.in_source("a.txt"), "small");
        write(mirror.in_source("docs/y"), "y");
        on.run().expect(0);
        OnDisk::wait();
        write(mirror.in_source("A.txt"), "capital");
        write(mirror.in_source("DOCS/z"), "z");
        let both = "A.txt and a.txt differ only in case";
        on.run().expect(3).says(both).says("DOCS/ and docs/ differ only in case").says("rename one of them");
        OnDisk::wait();
        for _ in 0..2 {
            on.is_idle(2);
        }
        assert_eq!(on.names(), ["A.txt", "DOCS/", "DOCS/z"]);
        assert_eq!(on.holds("A.txt"), "capital");
        fs::rename(mirror.in_source("A.txt"), mirror.in_source("B.txt")).unwrap();
        remove(mirror.in_source("DOCS"));
        on.run().expect(0);
        assert_eq!(on.names(), ["B.txt", "a.txt", "docs/", "docs/y"]);
        assert_eq!((on.holds("a.txt"), on.holds("B.txt")), ("small".into(), "capital".into()));
    }
}

#[test]
fn names_that_the_replica_refuses_are_problems_of_their_own_and_read_by_no_run() {
    for on in [ExternalDisk::exfat, ExternalDisk::ntfs_for_windows].into_iter().filter_map(OnDisk::on) {
        let mirror = &on.mirror;
        write(mirror.in_source("what?"), "question");
        write(mirror.in_source("colon:folder/inside"), "colon");
        write(mirror.in_source("plain"), "plain");
        let run = on.run().expect(3).says("what?").says("colon:folder/").says("rename it in the source");
        assert_eq!(run.stderr.matches("problem: ").count(), 2, "{}", run.stderr);
        assert_eq!(on.names(), ["plain"]);
        on.is_idle(2);
    }
}

#[test]
fn links_and_fifos_that_no_entry_can_be_there_are_said_once_and_are_no_problem() {
    let Some(on) = OnDisk::on(ExternalDisk::exfat) else { return };
    let mirror = &on.mirror;
    write(mirror.in_source("file"), "one inode");
    fs::hard_link(mirror.in_source("file"), mirror.in_source("other")).unwrap();
    symlink("nowhere", mirror.in_source("link")).unwrap();
    on.run().expect(0).says("symlinks, hard links");
    OnDisk::wait();
    assert_eq!(on.names(), ["file", "other"]);
    assert!(!on.run().expect(0).stderr.contains("symlinks"), "said once");
    on.is_idle(0);
}

#[test]
fn a_disk_that_was_unplugged_is_read_again_by_no_run() {
    for maker in [ExternalDisk::exfat, ExternalDisk::ntfs] {
        let Some(mut on) = OnDisk::on(maker) else { continue };
        for number in 0..20 {
            write(on.mirror.in_source(format!("folder {number}/file")), format!("content {number}"));
        }
        on.run().expect(0);
        OnDisk::wait();
        on.run().expect(0);
        on.disk.unplug();
        on.run().expect(5);
        on.disk.plug_in();
        // Met in another order, as inode numbers are given out.
        for number in (0..20).rev() {
            fs::metadata(on.mirror.in_replica(format!("folder {number}/file"))).unwrap();
        }
        on.is_idle(0);
    }
}
