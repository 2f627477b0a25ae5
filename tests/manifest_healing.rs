//! A manifest heals by itself: whatever ends the run that sets a damaged one aside, the next run goes on, and lets no
//! delete go that the damage made doubtful. A read that fails for a moment is no damage.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::print_stderr, reason = "says how much was tried")]

mod common;

use common::inject::{self, CALLS, Fault};
use common::sweep::{is_full, places};
use common::tree::{remove, stamps, write};
use common::{Mirror, settle};
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A mirror of 40 files of which the source has lost half since, so that a successor has deletes to hold.
fn shrunk() -> Mirror {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "max_workers = 1\n");
    (0..40).for_each(|number| write(mirror.in_source(format!("{number:03}")), number.to_string()));
    settle();
    mirror.sync();
    (0..20).for_each(|number| remove(mirror.in_source(format!("{number:03}"))));
    mirror
}

/// Puts a manifest with a torn header into the state folder, and nothing else but the lock.
fn damage(mirror: &Mirror, manifest: &[u8], name: &str) {
    for entry in fs::read_dir(&mirror.state).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            remove(path);
        }
    }
    let mut torn = manifest.to_vec();
    torn[..7].copy_from_slice(b"garbage");
    write(mirror.state.join(name), torn);
}

fn asides(mirror: &Mirror) -> usize {
    let names = fs::read_dir(&mirror.state).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains(".damaged-")).count()
}

/// Calls that the passage itself makes few of: each place is tried.
const OF_THE_PASSAGE: [&str; 5] = ["linkat", "renameat", "renameat2", "unlinkat", "fsync"];

fn sweep(faults: &[Fault]) {
    if !inject::possible() {
        return;
    }
    let mirror = shrunk();
    let path = mirror.manifest();
    let (name, manifest) = (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
    // What a run does that meets the damage; it holds deletes, which is no success to the counting of others.
    damage(&mirror, &manifest, &name);
    let trace = mirror.path("trace");
    let expression = format!("trace={}", CALLS.map(|call| format!("?{call}")).join(","));
    let traced = inject::traced(&mirror, &[], trace.to_str().unwrap(), &[&expression]);
    common::program::finish(traced).expect(4);
    let text = fs::read_to_string(&trace).unwrap();
    let (mut tried, mut hit) = (0, 0);
    for call in CALLS {
        let most = text.lines().filter(|line| line.contains(&format!(" {call}("))).count();
        let most = u32::try_from(most).unwrap();
        let step = if is_full() || OF_THE_PASSAGE.contains(&call) { 1 } else { most.div_ceil(3).max(1) };
        for number in places(call, most, step) {
            for &fault in faults {
                let what = format!("{fault:?} at {call} {number}");
                damage(&mirror, &manifest, &name);
                let before = stamps(&mirror.replica);
                let output = inject::run(&mirror, &[], call, number, fault).wait_for(PATIENCE).0;
                assert!(!output.stderr.contains("panicked"), "{what}: {output:?}");
                tried += 1;
                hit += u32::from(output.code != 4);
                let next = mirror.run(&[]);
                assert_eq!(next.code, 4, "{what}: the next run: {next:?}\nthe disturbed one: {output:?}");
                assert!(stamps(&mirror.replica) == before, "{what}: the replica was touched");
                assert!(asides(&mirror) > 0, "{what}: the damaged one is kept");
                let status = mirror.run(&["-n"]);
                assert_eq!(status.code, 4, "{what}: {status:?}");
            }
        }
    }
    assert!(hit > 0, "no run was disturbed");
    eprintln!("{tried} places, {hit} runs ended otherwise");
}

#[test]
fn killed_at_any_call_while_a_damaged_manifest_is_set_aside_the_job_goes_on() {
    sweep(&[Fault::Kill]);
}

#[test]
fn errors_at_any_call_while_a_damaged_manifest_is_set_aside_cost_nothing() {
    let all = [Fault::Once("EIO"), Fault::Once("ENOSPC"), Fault::Once("EACCES")];
    sweep(if is_full() { &all } else { &all[1..2] });
}

#[test]
fn a_read_of_the_manifest_that_fails_for_a_moment_is_no_damage() {
    if !inject::possible() {
        return;
    }
    let mirror = Mirror::new();
    (0..200).for_each(|number| write(mirror.in_source(format!("{number:03}")), number.to_string()));
    settle();
    mirror.sync();
    mirror.sync();
    let before = stamps(&mirror.replica);
    let most = inject::count(&mirror, &[], &["pread64"])["pread64"];
    let mut failed = 0;
    for number in places("pread64", most, if is_full() { 1 } else { most.div_ceil(12) }) {
        for fault in [Fault::Once("EIO"), Fault::Sticky("EIO")] {
            let what = format!("{fault:?} at pread64 {number}");
            for more in [&["-n"][..], &[]] {
                let output = inject::run(&mirror, more, "pread64", number, fault).wait_for(PATIENCE).0;
                // The loader reads with this call, too, before the program begins.
                assert!(matches!(output.code, 0 | 1 | 127), "{what}: {output:?}");
                failed += u32::from(output.code == 1);
                assert_eq!(asides(&mirror), 0, "{what}: {output:?}");
            }
            let summary = mirror.summary(&[]);
            assert_eq!(
                (&summary["copy"], &summary["confirmed"], &summary["result"]),
                (&0.into(), &0.into(), &"ok".into()),
                "{what}: {summary}"
            );
        }
    }
    assert!(failed > 0, "no read was hit");
    assert!(stamps(&mirror.replica) == before);
}
