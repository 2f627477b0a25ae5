//! What the program says: a log that cannot be forged, and JSON that loses nothing.

mod common;

use base64::Engine as _;
use common::program::{finish, start};
use common::tree::{chmod, name, remove, symlink, write};
use common::{Mirror, settle};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

/// MD5 of nothing, and of "content".
const MD5_EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";
const MD5_CONTENT: &str = "9a0364b9e99bb480dd25e1f0284c8555";

#[test]
fn every_operation_is_one_line_with_path_bytes_and_md5() {
    let mirror = Mirror::new();
    write(mirror.in_source("d/file.txt"), "content");
    write(mirror.in_source("empty"), "");
    symlink("content", mirror.in_source("link"));
    settle();
    mirror.sync();
    let log = mirror.log();
    let line = |words: &[&str]| {
        let found: Vec<&str> =
            log.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect();
        assert_eq!(found.len(), 1, "{words:?} in\n{log}");
        found[0].to_owned()
    };
    let copied = line(&["copy ", " d/file.txt ", " 7 B ", MD5_CONTENT, " ms"]);
    assert!(copied.contains(" INFO "), "{copied}");
    line(&["copy ", " empty ", " 0 B ", MD5_EMPTY]);
    line(&["create ", " d/ "]);
    line(&["create ", " link ", MD5_CONTENT]);
    line(&["run 1 of ", "2 copied"]);
    mirror.sync();
    assert_eq!(mirror.log().lines().count(), log.lines().count() + 1, "an idle run is one line");
    remove(mirror.in_source("empty"));
    chmod(mirror.in_source("d/file.txt"), 0o600);
    mirror.sync();
    let log = mirror.log();
    assert!(log.contains("delete   empty") && log.contains("metadata d/file.txt"), "{log}");
}

#[test]
fn names_cannot_forge_lines_or_drive_a_terminal() {
    let mirror = Mirror::new();
    let forged: [&[u8]; 5] = [
        b"a\n2026-01-01T00:00:00 INFO  delete   everything",
        b"b\x1b[2J\x1b[31m",
        b"c\rhidden",
        b"d\x9b\xff",
        "e\u{202e}txt.exe\u{2028}".as_bytes(),
    ];
    for bytes in forged {
        write(mirror.in_source(name(bytes)), "x");
    }
    let output = mirror.run(&["-v"]).expect(0);
    let plan = mirror.run(&["-n"]).expect(0);
    for bytes in forged {
        remove(mirror.in_source(name(bytes)));
    }
    write(mirror.in_source("z"), "");
    let held = mirror.run(&["-n", "--max-delete", "0"]).expect(4);
    for text in [&mirror.log(), &output.stderr, &output.stdout, &plan.stdout, &held.stdout] {
        assert!(!text.contains(['\x1b', '\r', '\u{9b}', '\u{202e}', '\u{2028}']), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("2026-01-01T00:00:00")), "{text}");
    }
    for escaped in ["a\\n2026-01-01", "b\\x1b[2J", "c\\rhidden", "d\\x9b\\xff", "e\\u{202e}"] {
        assert!(mirror.log().contains(escaped), "{escaped} in\n{}", mirror.log());
        assert!(held.stdout.contains(escaped), "{escaped} in\n{}", held.stdout);
    }
}

#[test]
fn problems_are_in_the_log_and_on_stderr_escaped() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("bad\nname"), "x");
    mirror.give_away(&mirror.source);
    chmod(mirror.in_source("bad\nname"), 0);
    let output = mirror.run(&["--json"]).expect(3).says("bad\\nname");
    assert!(mirror.log().contains("problem: ") && mirror.log().contains("bad\\nname"), "{}", mirror.log());
    let events = output.json();
    let problem = events.iter().find(|event| event["event"] == "problem").unwrap();
    assert_eq!(problem["path"], "bad\nname");
    for field in ["action", "cause", "time", "job", "run"] {
        assert!(problem[field].is_string() || problem[field].is_i64(), "{field} in {problem}");
    }
    assert_eq!((&output.summary()["exit_code"], &output.summary()["problems"]), (&3.into(), &1.into()));
}

/// Fails unless `time` is RFC 3339.
fn check_time(time: &Value) {
    let text = time.as_str().unwrap_or_default();
    assert!(chrono::DateTime::parse_from_rfc3339(text).is_ok(), "{time}");
}

#[test]
fn json_has_the_fields_of_the_contract() {
    let mirror = Mirror::new();
    write(mirror.in_source("d/file"), "content");
    write(mirror.in_source(name(b"caf\xe9")), "content");
    let output = mirror.run(&["--json"]).expect(0);
    let events = output.json();
    for event in &events {
        assert!(["operation", "summary"].contains(&event["event"].as_str().unwrap()), "{event}");
        assert_eq!(event["run"], 1, "{event}");
        assert!(event["job"].is_string(), "{event}");
        check_time(&event["time"]);
    }
    let operation = |path: &str| events.iter().find(|event| event["path"] == path).unwrap();
    let copy = operation("d/file");
    assert_eq!(
        (&copy["operation"], &copy["size"], &copy["md5"]),
        (&"copy".into(), &7.into(), &MD5_CONTENT.into())
    );
    assert!(copy.get("path_base64").is_none());
    assert_eq!(operation("d/")["operation"], "create");
    let odd = operation("caf\u{fffd}");
    let bytes = base64::prelude::BASE64_STANDARD.decode(odd["path_base64"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, b"caf\xe9");
    let summary = output.summary();
    for (field, value) in [("create", 1), ("copy", 2), ("move", 0), ("link", 0), ("delete", 0), ("bytes", 14)]
    {
        assert_eq!(summary[field], value, "{field} in {summary}");
    }
    for (field, value) in [("problems", 0), ("held", 0), ("exit_code", 0)] {
        assert_eq!(summary[field], value, "{field} in {summary}");
    }
    assert!(summary["metadata"].is_u64() && summary["seconds"].is_f64(), "{summary}");
    assert_eq!(summary["result"], "ok");
}

#[test]
fn a_log_in_json_is_one_object_a_line() {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "[log]\nformat = \"json\"\n");
    write(mirror.in_source("new\nline"), "content");
    write(mirror.in_source(name(b"caf\xe9")), "content");
    mirror.sync();
    let events: Vec<Value> = mirror.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in &events {
        check_time(&event["time"]);
        assert_eq!(event["level"], "info");
        for field in ["event", "job", "run"] {
            assert!(event.get(field).is_some(), "{field} in {event}");
        }
    }
    let copy = events.iter().find(|event| event["path"] == "new\nline").unwrap();
    assert_eq!((&copy["operation"], &copy["size"]), (&"copy".into(), &7.into()));
    assert_eq!(copy["md5"], MD5_CONTENT);
    assert_eq!(events.iter().filter(|event| event["path_base64"].is_string()).count(), 1);
    let summary = events.iter().find(|event| event["event"] == "summary").unwrap();
    assert_eq!((&summary["copy"], &summary["run"]), (&2.into(), &1.into()));
}

#[test]
fn the_log_is_rolled_by_size_and_old_ones_are_kept() {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "[log]\nmax_size = \"4KiB\"\nkeep = 2\n");
    for round in 0..6 {
        for number in 0..80 {
            write(mirror.in_source(number.to_string()), format!("{round}"));
        }
        mirror.sync();
    }
    let mut logs: Vec<String> = std::fs::read_dir(&mirror.state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("twinfold.log"))
        .collect();
    logs.sort();
    assert!(logs.ends_with(&["twinfold.log.1".to_owned(), "twinfold.log.2".to_owned()]), "{logs:?}");
    for log in &logs {
        let found = std::fs::metadata(mirror.state.join(log)).unwrap();
        assert_eq!(found.mode() & 0o777, 0o600, "{log}");
        assert!(found.len() < 64 << 10, "{log}: {}", found.len());
    }
}

#[test]
fn a_file_that_is_no_log_of_ours_is_refused_and_left_as_it_is() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let (log, old) = (mirror.path("home/own.txt"), mirror.path("home/own.txt.2"));
    let run = |more: &[&str]| mirror.run(&[&["--log-file", "home/own.txt"], more].concat());
    for content in ["precious notes\n", "{\"a\": 1}\n", "2026-12-01 is a date\n"] {
        for (planted, more) in [(&log, &[][..]), (&old, &[]), (&log, &["--json"])] {
            write(planted, content);
            chmod(planted, 0o600);
            run(more).expect(2).says("not a log of twinfold").says(planted.to_str().unwrap());
            assert_eq!(std::fs::read_to_string(planted).unwrap(), content);
            assert!(!mirror.replica.exists(), "nothing was done");
            remove(planted);
        }
        assert!(!log.exists(), "no log is made beside what would be renamed");
    }
    // An empty file is fine, and so is our own log in the other format.
    write(&log, "");
    chmod(&log, 0o600);
    run(&[]).expect(0);
    mirror.write_config("home/twinfold/config.toml", "[log]\nformat = \"json\"\n");
    run(&[]).expect(0);
    remove(&log);
    run(&[]).expect(0);
    mirror.write_config("home/twinfold/config.toml", "");
    run(&[]).expect(0);
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 2);
}

#[test]
fn the_level_decides_what_is_logged() {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "[log]\nlevel = \"warn\"\n");
    write(mirror.in_source("file"), "x");
    write(mirror.in_source("other"), "x");
    mirror.sync();
    assert_eq!(mirror.log(), "");
    remove(mirror.in_source("file"));
    mirror.run(&["--max-delete", "0"]).expect(4);
    assert!(mirror.log().contains("WARN") && mirror.log().contains("held"), "{}", mirror.log());
}

#[test]
fn stdout_is_for_results_and_quiet_leaves_errors_only() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    let quiet = mirror.run(&["-q"]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    write(mirror.in_source("file"), "other content");
    let verbose = mirror.run(&["-v"]).expect(0);
    assert!(verbose.stderr.contains("copy     file") && !verbose.stdout.contains("copy     file"));
    assert!(verbose.stdout.contains("1 copied"), "{}", verbose.stdout);
    let plain = mirror.run(&[]).expect(0);
    assert!(plain.stderr.is_empty() && plain.stdout.lines().count() == 1, "{plain:?}");
    assert!(!plain.stdout.contains('\x1b'));
}

#[test]
fn readers_that_go_away_do_not_stop_the_mirror() {
    let mirror = Mirror::new();
    for number in 0..2000 {
        write(mirror.in_source(format!("{number}")), "x");
    }
    let mut command = mirror.once(&["--json", "-v"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    mirror.assert_in_step();

    // No stdout, stderr or stdin at all.
    write(mirror.in_source("more"), "y");
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 0<&- 1>&- 2>&-"]).arg(mirror.program_path());
    shell.args(["--once", "--json", "-v"]).args(mirror.roots());
    mirror.isolate(&mut shell);
    finish(shell).expect(0);
    mirror.assert_in_step();

    write(mirror.in_source("still more"), "z");
    let mut full = mirror.once(&["--json", "-v"]);
    let device = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    full.stdin(Stdio::null()).stdout(device()).stderr(device());
    assert_eq!(full.status().unwrap().code(), Some(0));
    mirror.assert_in_step();
}

#[test]
fn help_and_version_go_to_stdout() {
    let mirror = Mirror::new();
    for flag in ["--help", "--version", "-h", "-V"] {
        let output = start(mirror.program(&[flag])).wait().expect(0);
        assert!(output.stdout.contains("twinfold") && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn the_same_problems_as_in_the_run_before_are_one_line_and_new_and_solved_ones_are_named() {
    let mirror = Mirror::of_an_ordinary_user();
    write(mirror.in_source("good"), "x");
    let bad = |number: usize| mirror.in_source(format!("bad-{number}"));
    for number in 0..30 {
        write(bad(number), "x");
        chmod(bad(number), 0);
    }
    mirror.give_away(&mirror.source);
    let run = |words: &[&str]| mirror.run(words).expect(3);
    let first = run(&[]);
    assert_eq!(first.stderr.matches("problem: cannot ").count(), 20, "{first:?}");
    let lines = |text: &str, what: &str| text.lines().filter(|line| line.contains(what)).count();
    let logged = lines(&mirror.log(), "problem: cannot ");
    assert_eq!(logged, 30);
    let same = "the same 30 problems as in the run before; `twinfold status --problems` lists them";
    for _ in 0..2 {
        let again = run(&[]);
        assert_eq!((lines(&again.stderr, same), again.stderr.lines().count()), (1, 1), "{again:?}");
    }
    assert_eq!((lines(&mirror.log(), "problem: cannot "), lines(&mirror.log(), same)), (30, 2));
    // Machines get all of them.
    let events = run(&["--json"]).json();
    let known = events.iter().filter(|event| event["event"] == "problem" && event["known"] == true).count();
    assert_eq!(known, 30);
    chmod(bad(3), 0o644);
    write(bad(99), "new");
    chmod(bad(99), 0);
    let changed = run(&[]);
    for (what, times) in [
        ("29 of the 30 problems of the run before are still there", 1),
        ("problem: cannot open bad-99 ", 1),
        ("solved: cannot open bad-3 ", 1),
    ] {
        assert_eq!(lines(&changed.stderr, what), times, "{what}: {changed:?}");
    }
    assert_eq!(changed.stderr.lines().count(), 3, "{changed:?}");
    let events = run(&["--json"]).json();
    assert!(events.iter().all(|event| event["event"] != "solved"), "it was solved before");
}
