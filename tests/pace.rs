//! `bandwidth_limit`: how fast contents are read.

#![expect(clippy::disallowed_methods, reason = "a test takes its own manifest away")]

mod common;

use common::program::{finish, start};
use common::tree::write;
use common::{Mirror, settle};
use rustix::process::Signal;
use std::time::{Duration, Instant};

#[test]
fn copying_comparing_and_hashing_keep_to_the_limit() {
    let mirror = Mirror::new();
    for number in 0..8 {
        write(mirror.in_source(format!("small{number}")), vec![number; 50_000]);
    }
    write(mirror.in_source("large"), vec![9; 1_200_000]);
    // 1.6 MB at 1 MB/s, less the tenth of a second that may be saved up.
    let least = Duration::from_millis(1400);
    let limited = |words: &[&str]| {
        let mut command = mirror.program(words);
        command.args(mirror.roots()).args(["--bandwidth-limit", "1MB"]);
        let started = Instant::now();
        finish(command).expect(0);
        started.elapsed()
    };
    let took = limited(&["sync", "--once"]);
    assert!(took > least && took < Duration::from_secs(20), "copying took {took:?}");
    settle();
    let took = limited(&["rebuild-index"]);
    assert!(took > 2 * least, "both sides took {took:?}");
    std::fs::remove_file(mirror.manifest()).unwrap();
    let took = limited(&["sync", "--once"]);
    assert!(took > 2 * least, "adopting took {took:?}");
    mirror.assert_in_step();
}

#[test]
fn a_slow_job_is_stopped_at_once_all_the_same() {
    let mirror = Mirror::new();
    write(mirror.in_source("large"), vec![9; 3_000_000]);
    let running = start(mirror.once(&["--bandwidth-limit", "20KiB"]));
    std::thread::sleep(Duration::from_millis(700));
    running.signal(Signal::TERM);
    let (output, took) = running.wait_for(Duration::from_secs(20));
    assert!(took < Duration::from_secs(2), "it took {took:?} to stop");
    output.expect(130);
    assert!(!mirror.in_replica("large").exists());
}
