//! More names of hard-linked files than are held in memory at once: they are brought into step in rounds, and one run
//! ends as if it had been one.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::sweep::witness;
use common::tree::{inode, mkdir, remove, write};
use common::{Mirror, settle};
use std::fs;
use std::path::Path;
use std::process::Command;

const INODES: usize = 1_400;

/// With a name of each inode: more than 65,536 names, none of the inodes complete before the last folder.
const FOLDERS: usize = 50;

fn name(folder: usize, number: usize) -> String {
    format!("f/{folder:02}/{number:04}")
}

fn plant(mirror: &Mirror) {
    for folder in 0..FOLDERS {
        mkdir(mirror.in_source(format!("f/{folder:02}")));
        for number in 0..INODES {
            let path = mirror.in_source(name(folder, number));
            match folder {
                // Few have a content: what is taken for another must not be found out by that.
                0 => write(&path, if number % 100 == 99 { format!("{number}") } else { String::new() }),
                _ => fs::hard_link(mirror.in_source(name(0, number)), &path).unwrap(),
            }
        }
    }
    write(mirror.in_source("changed"), "as it is to be");
    write(mirror.in_source("new"), "not there yet");
    write(mirror.in_source("z/same"), "the same on both sides");
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Its inode is one of its own from here on.
fn part(path: &Path) {
    let other = path.with_extension("other");
    copy(path, &other);
    fs::rename(other, path).unwrap();
}

fn relink(from: &Path, to: &Path) {
    remove(to);
    fs::hard_link(from, to).unwrap();
}

#[test]
fn an_adopted_replica_ends_with_the_groups_of_the_source_after_one_run() {
    let mirror = Mirror::new();
    plant(&mirror);
    copy(&mirror.source, &mirror.replica);
    let there = |folder, number| mirror.in_replica(name(folder, number));
    // Names that are missing, on both sides of what one round takes in.
    (40..45).for_each(|folder| remove(mirror.in_replica(format!("f/{folder:02}"))));
    for number in [3, 700, 1_390] {
        // Names of inodes of their own, of another file's, and of a file outside.
        part(&there(7, number));
        relink(&there(0, number + 1), &there(8, number + 2));
        fs::hard_link(there(9, number + 3), mirror.path(format!("outside-{number}"))).unwrap();
        // Of no file of the source.
        fs::hard_link(there(10, number + 4), mirror.in_replica(format!("f/stray-{number}"))).unwrap();
        // A folder where a name is to be, and a file where a folder of names is.
        remove(there(11, number + 5));
        write(there(11, number + 5).join("file"), "in a folder that is to go");
    }
    remove(mirror.in_replica("f/12"));
    write(mirror.in_replica("f/12"), "a file where a folder is to be");
    write(mirror.in_replica("changed"), "otherwise");
    remove(mirror.in_replica("new"));
    write(mirror.in_replica("old"), "in the replica only");
    settle();
    let summary = mirror.summary(&["--max-delete", "off"]);
    assert_eq!(summary["result"], "ok", "{summary}");
    assert_eq!(summary["link"].as_u64(), Some(6 * INODES as u64 + 3 * 3), "{summary}");
    witness(&mirror.source, &mirror.replica, "after an adoption in rounds");
    mirror.assert_idle();
    // A snapshot comes and another one goes: no name that stays is read again, now or later.
    mkdir(mirror.in_source("f/zz"));
    for number in 0..INODES {
        fs::hard_link(mirror.in_source(name(1, number)), mirror.in_source(format!("f/zz/{number:04}")))
            .unwrap();
    }
    remove(mirror.in_source("f/00"));
    let kept = inode(there(1, 5));
    settle();
    let summary = mirror.summary(&["--max-delete", "off"]);
    let counts = ["copy", "link", "delete"].map(|verb| summary[verb].as_u64().unwrap());
    assert_eq!(counts, [0, INODES as u64, INODES as u64 + 1], "{summary}");
    assert_eq!(inode(mirror.in_replica("f/zz/0005")), kept);
    witness(&mirror.source, &mirror.replica, "after a change in rounds");
    mirror.assert_idle();
}
