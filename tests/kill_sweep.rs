//! Killed before every system call that changes anything: what is under final names is whole, the
//! manifest claims nothing that is not so, and the next run puts everything right.
//!
//! `TWINFOLD_TEST_FULL=1` tries every call; without it a sample is tried.

#![expect(clippy::print_stderr, reason = "says how much was tried")]

mod common;

use common::inject::{self, CALLS, Fault};
use common::sweep::{Scenario, Sweep, is_full, places};

/// What a kill in the middle of strace's tracee shows as.
const KILLED: i32 = 128 + 9;

/// Every run makes these; one that a sweep never met would have tested nothing.
const USED_BY_BOTH: [&str; 11] = [
    "openat2",
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "syncfs",
    "renameat2",
    "unlinkat",
    "fchmod",
    "fchownat",
    "utimensat",
];

fn sweep(scenario: Scenario, also_used: &[&str]) {
    if !inject::possible() {
        return;
    }
    let mut sweep = Sweep::new(scenario);
    let counts = sweep.calls(&CALLS);
    for call in USED_BY_BOTH.iter().chain(also_used) {
        assert!(counts.contains_key(*call), "{call} is not used (any more): {counts:?}");
    }
    let (mut tried, mut killed) = (0, 0);
    for (call, most) in counts {
        // The files of the manifest alone make dozens of calls; others few.
        let step = match (is_full(), scenario) {
            // The other scenarios go through the same calls, but for those of the trash.
            (true, Scenario::Trash) if !also_used.contains(&call.as_str()) => (most / 6).max(1),
            (true, _) => 1,
            (false, _) => (most * 2 / 3).max(1),
        };
        let mut hit = 0;
        for number in places(&call, most, step) {
            let what = format!("{scenario:?}, killed at {call} {number}");
            let output = sweep.disturb(&call, number, Fault::Kill);
            assert!(matches!(output.code, 0 | KILLED), "{what}: {output:?}");
            hit += u32::from(output.code == KILLED);
            tried += 1;
            sweep.check_whole(&what);
            sweep.check_kept(&what);
            sweep.converge(&what);
            sweep.check_kept(&what);
        }
        assert!(hit > 0, "no {call} was hit of {most}");
        killed += hit;
        if is_full() {
            // Threads share the work a little differently each time; beyond the last call none is left.
            let mut number = most;
            loop {
                number += 1;
                let what = format!("{scenario:?}, killed at {call} {number}");
                let output = sweep.disturb(&call, number, Fault::Kill);
                sweep.check_whole(&what);
                if output.code == 0 {
                    sweep.check_in_step(&what);
                    break;
                }
                sweep.converge(&what);
            }
        }
    }
    eprintln!("{scenario:?}: {tried} places, killed at {killed}");
}

#[test]
fn a_first_run_killed_at_any_call_is_whole_and_finished_by_the_next() {
    sweep(Scenario::First, &["mkdirat", "symlinkat", "mknodat"]);
}

#[test]
fn an_update_killed_at_any_call_loses_nothing_that_the_trash_is_to_keep() {
    sweep(Scenario::Trash, &["mkdirat", "linkat", "renameat"]);
}

#[test]
fn an_update_killed_at_any_call_is_whole_and_finished_by_the_next() {
    sweep(Scenario::Update, &["mkdirat", "symlinkat", "renameat"]);
}
