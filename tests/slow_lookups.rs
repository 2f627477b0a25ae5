//! Trees whose look-ups take long, as on a network or a FUSE mount.

#![expect(clippy::print_stderr, clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::inject::{possible, traced};
use common::program::{Output, start};
use common::tree::{remove, write};
use common::{Mirror, settle};
use std::time::Duration;

/// What a look-up costs, in microseconds: far more than strace itself, which is one thread and takes some
/// 0.1 ms for each call. Each thread of the program waits for its own delays only.
const DELAYED: &str = "inject=statx,newfstatat,openat2,getdents64:delay_enter=5000";

/// A dry run on a mirror whose every look-up takes so long.
fn slowly(mirror: &Mirror, workers: &str) -> (Output, Duration) {
    let more = ["-n", "--json", "--max-workers", workers];
    let traced = traced(mirror, &more, "/dev/null", &["trace=statx,newfstatat,openat2,getdents64", DELAYED]);
    let (output, took) = start(traced).wait_for(Duration::from_secs(90));
    (output.expect(0), took)
}

/// What a dry run plans, in its order.
fn plan(output: &Output) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let events = output.json();
    let planned = events.iter().filter(|event| event["event"] == "plan");
    planned.map(|event| (text(&event["operation"]), text(&event["path"]))).collect()
}

#[test]
fn eight_workers_are_four_times_as_fast_as_one_on_slow_look_ups_and_plan_the_same() {
    if !possible() {
        return;
    }
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "durability = \"none\"\n");
    // Tiny folders, a chain of them, and a large one.
    for number in 0..150 {
        write(mirror.in_source(format!("small-{}/{number}", number % 30)), "");
    }
    write(mirror.in_source("deep/a/b/c/d/e/f"), "");
    for number in 0..320 {
        write(mirror.in_source(format!("large/{number}")), "");
    }
    settle();
    let nothing = Mirror::new();
    for mirror in [&mirror, &nothing] {
        mirror.sync();
    }
    let (idle, slow_took) = slowly(&mirror, "1");
    assert!(plan(&idle).is_empty(), "{idle:?}");
    // What a run looks up besides the trees takes as long with all workers. The others that share this
    // machine may be in the way, but not always.
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let (_, besides) = slowly(&nothing, "8");
        let (_, fast_took) = slowly(&mirror, "8");
        let (slow, fast) = (slow_took.saturating_sub(besides), fast_took.saturating_sub(besides));
        eprintln!("one worker {slow:?}, eight {fast:?}, besides {besides:?}");
        best = best.min(fast.as_secs_f64() / slow.as_secs_f64());
        if best <= 0.25 {
            break;
        }
    }
    assert!(best <= 0.25, "eight workers take {best:.2} of the time of one");

    for number in 0..25 {
        write(mirror.in_source(format!("small-{number}/new")), "new");
        remove(mirror.in_source(format!("large/{}", 11 * number)));
        write(mirror.in_source(format!("large/{}", 280 + number)), "changed");
    }
    let (one, _) = slowly(&mirror, "1");
    let (eight, _) = slowly(&mirror, "8");
    assert_eq!(plan(&one).len(), 75, "{one:?}");
    assert_eq!(plan(&eight), plan(&one));
}
