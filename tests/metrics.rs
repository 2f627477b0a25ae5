//! The metrics file: what Prometheus reads of all jobs, after each run.

#![expect(clippy::unwrap_used, clippy::float_cmp, reason = "tests make their own trees; counts are exact")]

mod common;

use common::program::{finish, start_if_there};
use common::tree::{mkdir, remove, write};
use common::{Mirror, settle, skip};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The samples of a metrics file: each line's name and labels, with its value.
fn samples(path: &Path) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

fn config(mirror: &Mirror) -> String {
    let path = |name: &str| mirror.path(name).display().to_string();
    let job = |name: &str| {
        format!(
            "[[job]]\nname = \"{name}\"\nsource = '{}'\nreplica = '{}'\n",
            path(&format!("s-{name}")),
            path(&format!("r-{name}"))
        )
    };
    let text = format!("metrics_file = '{}'\n{}{}", path("twinfold.prom"), job("a"), job("b"));
    mirror.write_config("config.toml", text).display().to_string()
}

#[test]
fn one_file_has_all_jobs_and_counters_grow_from_run_to_run() {
    let mirror = Mirror::new();
    for name in ["s-a", "s-b"] {
        mkdir(mirror.path(name));
        write(mirror.path(name).join("file"), "12345");
    }
    settle();
    let config = config(&mirror);
    let run = |more: &[&str], code| {
        let mut command = mirror.program(&["sync", "--once", "--config", &config]);
        command.args(more);
        finish(command).expect(code)
    };
    run(&[], 0);
    let file = mirror.path("twinfold.prom");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let first = samples(&file);
    for job in ["a", "b"] {
        for (name, value) in [
            (format!("twinfold_source_entries{{job=\"{job}\"}}"), 1.0),
            (format!("twinfold_copied_bytes_total{{job=\"{job}\"}}"), 5.0),
            (format!("twinfold_last_run_exit_code{{job=\"{job}\"}}"), 0.0),
            (format!("twinfold_operations_total{{job=\"{job}\",operation=\"copy\"}}"), 1.0),
        ] {
            assert_eq!(first.get(&name), Some(&value), "{name}");
        }
    }
    write(mirror.path("s-a/more"), "123");
    remove(mirror.path("s-b"));
    settle();
    // One job runs, the other's samples stay; then one whose source is away.
    run(&["--job", "a"], 0);
    let second = samples(&file);
    assert_eq!(second["twinfold_copied_bytes_total{job=\"a\"}"], 8.0);
    assert_eq!(second["twinfold_copied_bytes_total{job=\"b\"}"], 5.0);
    assert!(second["twinfold_last_success_timestamp_seconds{job=\"a\"}"] > 1.7e9);
    run(&[], 5);
    let third = samples(&file);
    assert_eq!(third["twinfold_last_run_exit_code{job=\"b\"}"], 5.0);
    assert_eq!(
        third["twinfold_last_success_timestamp_seconds{job=\"b\"}"],
        second["twinfold_last_success_timestamp_seconds{job=\"b\"}"]
    );
    let left = fs::read_dir(mirror.path(".")).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().as_encoded_bytes().starts_with(b".twinfold.prom")
    });
    assert_eq!(left.count(), 0, "no temporary is left");
}

#[test]
fn a_place_inside_a_root_is_refused_and_one_that_cannot_be_written_fails_no_run() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    settle();
    let inside = mirror.in_source("metrics.prom").display().to_string();
    mirror.run(&["--metrics-file", &inside]).expect(2);
    mirror.run(&["--metrics-file", "/nowhere/at/all.prom"]).expect(0);
    assert!(
        mirror.log().contains("the metrics file /nowhere/at/all.prom cannot be written"),
        "{}",
        mirror.log()
    );
    mirror.assert_in_step();
}

#[test]
fn the_parser_of_prometheus_takes_the_file() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    settle();
    let file = mirror.path("m.prom").display().to_string();
    mirror.run(&["--metrics-file", &file]).expect(0);
    let script = "import sys\ntry:\n    from prometheus_client.parser import text_string_to_metric_families as parse\n\
                  except ImportError:\n    sys.exit(77)\nfamilies = list(parse(open(sys.argv[1]).read()))\n\
                  assert all(f.documentation and f.type in ('gauge', 'counter') for f in families), families\n\
                  assert all(f.samples for f in families), families\nprint(len(families))";
    let mut command = Command::new("python3");
    command.args(["-c", script, &file]);
    let Some(running) = start_if_there(command) else { return skip("python3 is not installed") };
    let parsed = running.wait();
    if parsed.code == 77 {
        return skip(
            "python3 has no prometheus_client: the file was not parsed (pip install prometheus_client)",
        );
    }
    assert_eq!(parsed.expect(0).stdout.trim(), "20");
}
