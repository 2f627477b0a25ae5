//! An error from every system call, once and for good: no panic, no hang, no torn file, no step the
//! exit code does not tell of, and the next run puts everything right.
//!
//! `TWINFOLD_TEST_FULL=1` tries every call (of many, every other one); without it a sample is tried.

#![expect(clippy::print_stderr, reason = "says how much was tried")]

mod common;

use common::Mirror;
use common::inject::{self, CALLS, Fault, READS};
use common::program::Output;
use common::sweep::{Scenario, Sweep, is_full, places};
use common::tree::{chmod, remove, write};

/// So many calls of a kind are few: all errors are tried at each.
const FEW: u32 = 12;

/// Beyond so many, every other call is left out.
const MANY: u32 = 30;

const ERRORS: [&str; 3] = ["EIO", "ENOSPC", "EACCES"];

fn sweep(scenario: Scenario, calls: &[&str]) {
    if !inject::possible() {
        return;
    }
    let mut sweep = Sweep::new(scenario);
    let (mut tried, mut failed) = (0, 0);
    for (index, (call, most)) in sweep.calls(calls).into_iter().enumerate() {
        let step = if is_full() { 1 + u32::from(most > MANY) } else { most };
        for (nth, number) in places(&call, most, step).enumerate() {
            for (which, error) in ERRORS.into_iter().enumerate() {
                for (sticky, fault) in [Fault::Once(error), Fault::Sticky(error)].into_iter().enumerate() {
                    // All six where there are few places; else one of them at each, in turn.
                    let turn = index + nth;
                    let all = is_full() && most <= FEW;
                    if !all && turn % 6 != which * 2 + sticky {
                        continue;
                    }
                    let what = format!("{scenario:?}, {call} {number} {fault:?}");
                    let output = sweep.disturb(&call, number, fault);
                    check_end(&sweep, &output, &what);
                    tried += 1;
                    failed += u32::from(output.code != 0);
                    sweep.check_whole(&what);
                    sweep.converge(&what);
                }
            }
        }
    }
    assert!(failed > 0, "no error was ever met");
    eprintln!("{scenario:?}: {tried} faults, {failed} runs ended with a code other than 0");
}

/// Fails where a run ended in another way than it should.
fn check_end(sweep: &Sweep, output: &Output, what: &str) {
    assert!(!output.stderr.contains("panicked"), "{what}: {output:?}");
    match output.code {
        0 => sweep.check_in_step(what),
        // What the dynamic loader cannot open ends the program before it begins.
        127 => {}
        // Where nothing can be written, nothing can be said either.
        1 | 2 | 3 | 5 if what.contains(", write ") => {}
        1 | 2 | 3 | 5 => assert!(!output.stderr.is_empty(), "{what}: code {} without a word", output.code),
        code => panic!("{what}: exit code {code}: {output:?}"),
    }
}

#[test]
fn a_first_run_that_meets_any_error_is_whole_and_finished_by_the_next() {
    sweep(Scenario::First, &CALLS);
}

#[test]
fn an_update_that_meets_any_error_is_whole_and_finished_by_the_next() {
    sweep(Scenario::Update, &CALLS);
}

#[test]
fn an_update_that_cannot_read_something_deletes_nothing_for_it() {
    sweep(Scenario::Update, &READS);
}

#[test]
fn what_would_make_way_for_a_folder_that_cannot_be_listed_stays() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("x"), "a file");
    mirror.give_away(&mirror.source);
    mirror.sync();
    remove(mirror.in_source("x"));
    write(mirror.in_source("x/below"), "a folder now");
    mirror.give_away(&mirror.source);
    chmod(mirror.in_source("x"), 0);
    mirror.run(&[]).expect(3).says("cannot list");
    assert_eq!(std::fs::read(mirror.in_replica("x")).unwrap(), b"a file");
    chmod(mirror.in_source("x"), 0o755);
    mirror.sync();
}
