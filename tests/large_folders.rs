//! Folders that hold very much cost no more memory than their names.

#![expect(clippy::print_stderr, reason = "what cannot be prepared fails the test")]

mod common;

use common::program::{Running, start};
use common::tree::mkdir;
use common::{Mirror, settle};
use std::fs::{self, File};
use std::time::Duration;

/// Follows a run to its end; the most memory it had, in KiB.
fn most_memory(mut running: Running) -> u64 {
    let status = format!("/proc/{}/status", running.id());
    let mut most = 0;
    while running.is_running() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let figure = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = figure.and_then(|figure| figure.split_whitespace().next()).and_then(|kib| kib.parse().ok());
        most = most.max(now.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    running.wait().expect(0);
    most
}

#[test]
fn a_folder_of_a_hundred_thousand_files_costs_its_names_and_not_their_figures() {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "durability = \"none\"\n");
    mkdir(mirror.in_source("many"));
    let idle = || {
        settle();
        mirror.run(&[]).expect(0);
        most_memory(start(mirror.once(&["--max-workers", "4"])))
    };
    let without = idle();
    for number in 0..100_000 {
        File::create(mirror.in_source(format!("many/file-{number:06}.dat"))).unwrap();
    }
    let with = idle();
    let more = with.saturating_sub(without);
    eprintln!("{without} KiB without, {with} KiB with 100,000 files in one folder");
    assert!(without > 1000, "it was seen running");
    // Names and places in both trees are 4 MiB, figures and paths would be 35; the rest is what waits between
    // the threads, which does not grow with the folder.
    assert!(more < 16 << 10, "{more} KiB more than without them");
}
