//! What is seen on a terminal, and only there.

mod common;

use common::program::finish;
use common::tree::write;
use common::{Mirror, skip};
use std::path::Path;
use std::process::Command;

/// Runs the program with a terminal for its output, and returns what came there.
fn on_a_terminal(mirror: &Mirror, words: &[&str]) -> Option<String> {
    if !Path::new("/usr/bin/script").exists() {
        skip("without script(1) there is no terminal to show progress on");
        return None;
    }
    let quoted = |word: &str| format!("'{word}'");
    let mut line = vec![quoted(mirror.program_path().to_str()?)];
    line.extend(words.iter().map(|word| quoted(word)));
    line.extend(mirror.roots().iter().map(|word| quoted(word)));
    let mut command = Command::new("/usr/bin/script");
    command.args(["-q", "-e", "-c", &line.join(" "), "/dev/null"]);
    mirror.isolate(&mut command);
    command.env("TERM", "xterm").env("COLUMNS", "100");
    Some(finish(command).expect(0).stdout)
}

/// A mirror whose copy takes a second and a half at 1 MB/s.
fn slow() -> Mirror {
    let mirror = Mirror::new();
    for number in 0..10 {
        write(mirror.in_source(format!("f{number}")), vec![b'x'; 60_000]);
    }
    write(mirror.in_source("large"), vec![b'y'; 900_000]);
    mirror
}

#[test]
fn a_terminal_shows_phase_entries_bytes_rate_and_time() {
    let mirror = slow();
    let limit = ["sync", "--once", "--bandwidth-limit", "1MB"];
    let Some(shown) = on_a_terminal(&mirror, &limit) else { return };
    assert!(shown.contains(" scanning  ") || shown.contains("copying  "), "{shown:?}");
    assert!(shown.contains(" entries") && shown.contains("/s  00:00:0"), "{shown:?}");
    let Some(shown) = on_a_terminal(&mirror, &["rebuild-index", "--bandwidth-limit", "1MB"]) else {
        return;
    };
    let drawn = shown.split('\r').filter(|line| line.contains("reading  [")).collect::<Vec<_>>();
    assert!(drawn.len() >= 5, "{shown:?}");
    // The large file is seen to come.
    assert!(drawn.iter().any(|line| line.contains(" of 2.9 MiB") && line.contains(" left")), "{shown:?}");
    assert!(drawn.iter().any(|line| line.contains("[####--")), "{shown:?}");
}

#[test]
fn without_a_terminal_or_where_it_is_not_wanted_there_is_none() {
    let mirror = slow();
    let output = mirror.run(&["--bandwidth-limit", "2MB"]).expect(0);
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.contains(['\x1b', '\r']) && !text.contains("entries  "), "{text:?}");
    }
    write(mirror.in_source("more"), vec![b'z'; 500_000]);
    let quiet = ["sync", "--once", "--no-progress", "--color", "never", "--bandwidth-limit", "1MB"];
    let Some(shown) = on_a_terminal(&mirror, &quiet) else { return };
    assert!(!shown.contains('\x1b') && !shown.contains("entries  "), "{shown:?}");
}
