//! Entries that move from folder to folder while the source is scanned: the replica never loses what the source has.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::start;
use common::tree::{mkdir, write};
use common::writers::Writer;
use common::{Mirror, inject, settle};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

fn rename(from: &Path, to: &Path) {
    rustix::fs::rename(from, to).unwrap();
}

/// The messages in a mail folder, whatever their flags.
fn messages(mail: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // What moves between the first two listings is in the third one.
    for folder in ["new", "cur", "new"] {
        for entry in fs::read_dir(mail.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            found.extend(name.split(':').next().map(str::to_owned));
        }
    }
    found
}

#[test]
fn a_message_that_is_read_while_the_source_is_scanned_stays_in_the_replica() {
    if !inject::possible() {
        return;
    }
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "max_workers = 1\n");
    for folder in ["cur", "new", "tmp"] {
        mkdir(mirror.in_source(folder));
    }
    write(mirror.in_source("cur/old"), "old");
    let names: Vec<String> = (0..12).map(|number| format!("message-{number}")).collect();
    for name in &names {
        write(mirror.in_source("new").join(name), name);
    }
    settle();
    mirror.sync();
    let all = messages(&mirror.source);
    // Each folder takes so long to list that one of these moments falls between `cur` and `new`.
    for (number, name) in (0..).zip(&names) {
        let slow = ["trace=getdents64", "inject=getdents64:delay_enter=40000"];
        let run = start(inject::traced(&mirror, &[], "/dev/null", &slow));
        sleep(Duration::from_millis(100 + number * 30));
        rename(&mirror.in_source("new").join(name), &mirror.in_source("cur").join(format!("{name}:2,S")));
        run.wait().expect(0);
        assert_eq!(messages(&mirror.replica), all, "{name}");
    }
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn mail_that_moves_all_the_time_is_never_missing_in_the_replica() {
    let mirror = Mirror::new();
    for folder in ["cur", "new", "tmp", "more/cur", "more/new"] {
        mkdir(mirror.in_source(folder));
    }
    for number in 0..80 {
        write(mirror.in_source(format!("new/m{number}")), format!("message {number}"));
    }
    settle();
    mirror.sync();
    let all = messages(&mirror.source);
    let source = mirror.source.clone();
    let mut step = 0_u64;
    let mover = Writer::going_on(move || {
        let message = format!("m{}", (step * 37) % 80);
        let forms = [("new", ""), ("cur", ":2,"), ("cur", ":2,S")];
        let path = |(folder, flags): (&str, &str)| source.join(folder).join(format!("{message}{flags}"));
        let at = forms.iter().position(|&form| path(form).exists()).unwrap();
        rename(&path(forms[at]), &path(forms[(at + 1) % 3]));
        step += 1;
        sleep(Duration::from_micros(300));
    });
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let observer = scope.spawn(|| {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                let found = messages(&mirror.replica);
                let lost: Vec<_> = all.difference(&found).collect();
                // Two renames in a row may hide one from this look.
                let lost: Vec<_> =
                    lost.into_iter().filter(|name| !messages(&mirror.replica).contains(*name)).collect();
                assert!(lost.is_empty(), "{lost:?} are missing in the replica");
                looks += 1;
            }
            looks
        });
        for _ in 0..25 {
            mirror.run(&[]).expect(0);
        }
        over.store(true, Ordering::Relaxed);
        assert!(observer.join().unwrap() > 25);
    });
    mover.stop();
    settle();
    // What was found to have moved since is brought over, and what waited goes.
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn what_is_gone_is_deleted_in_the_end_where_its_folder_never_rests() {
    let mirror = Mirror::new();
    mkdir(mirror.in_source("spool"));
    for number in 0..50 {
        write(mirror.in_source(format!("spool/job-{number}")), "job");
    }
    settle();
    mirror.sync();
    let spool = mirror.in_source("spool");
    let mut step = 0_u64;
    let writer = Writer::going_on(move || {
        write(spool.join(format!("fresh-{step}")), "fresh");
        if let Some(old) = step.checked_sub(5) {
            fs::remove_file(spool.join(format!("fresh-{old}"))).unwrap();
        }
        step += 1;
    });
    for number in 0..50 {
        fs::remove_file(mirror.in_source(format!("spool/job-{number}"))).unwrap();
    }
    // The first one may leave them, and the second one, when they are missing again, deletes them.
    for _ in 0..2 {
        mirror.run(&["--max-delete", "off"]).expect(0);
    }
    let left = fs::read_dir(mirror.in_replica("spool")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("job-")), "{left:?}");
    writer.stop();
    settle();
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn a_folder_that_is_renamed_into_one_that_was_listed_keeps_all_that_it_holds() {
    if !inject::possible() {
        return;
    }
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "max_workers = 1\n");
    mkdir(mirror.in_source("a"));
    for number in 0..8 {
        for file in ["one", "two/three"] {
            write(mirror.in_source(format!("z/folder-{number}/{file}")), file);
        }
    }
    settle();
    mirror.sync();
    for number in 0..8 {
        let name = format!("folder-{number}");
        let slow = ["trace=getdents64", "inject=getdents64:delay_enter=20000"];
        let run = start(inject::traced(&mirror, &[], "/dev/null", &slow));
        sleep(Duration::from_millis(100 + number * 40));
        rename(&mirror.in_source("z").join(&name), &mirror.in_source("a").join(&name));
        run.wait().expect(0);
        let there = |folder: &str| mirror.in_replica(folder).join(&name).join("two/three").exists();
        assert!(there("a") || there("z"), "{name} is missing");
    }
    settle();
    mirror.sync();
    mirror.assert_idle();
}
