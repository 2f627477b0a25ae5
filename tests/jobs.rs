//! Several jobs under one daemon: side by side, apart from each other, and other ones when it is told so.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::jobs::{
    configure, daemon, daemon_command, has_run, logged, plant, plant_all, stop, wait_for_log,
};
use common::program::{finish, start, wait_until};
use common::tree::write;
use common::{Mirror, settle};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

#[test]
fn no_more_jobs_run_at_a_time_than_max_parallel_jobs_says() {
    for most in [1, 2] {
        let mirror = Mirror::new();
        let marks = mirror.path("marks");
        // The run of a job lasts until its hook has ended.
        let hook = format!(
            "on_success = [\"/bin/sh\", \"-c\", \"echo + >> {0}; sleep 0.3; echo - >> {0}\"]\nmax_parallel_jobs = {most}\n\
             interval = \"1h\"",
            marks.display()
        );
        let names = ["a", "b", "c", "d"];
        configure(&mirror, &hook, &names.map(|name| (name, "")));
        plant_all(&mirror, &names);
        let running = daemon(&mirror, &[]);
        let read = || fs::read_to_string(&marks).unwrap_or_default();
        wait_until("all have run", || read().matches('-').count() == names.len());
        stop(running);
        let (mut now, mut top) = (0, 0);
        for mark in read().lines() {
            now += if mark == "+" { 1 } else { -1 };
            top = top.max(now);
        }
        assert_eq!(top, most, "{}", read());
        assert!(names.iter().all(|name| has_run(&mirror, name)));
    }
}

#[test]
fn a_job_that_cannot_run_stops_no_other_and_runs_when_it_can() {
    let mirror = Mirror::new();
    let jobs = [("away", ""), ("broken", ""), ("healthy", ""), ("locked", ""), ("newer", "")];
    configure(&mirror, "interval = \"1s\"\nmax_parallel_jobs = 3", &jobs);
    for (name, _) in jobs {
        plant(&mirror, name);
    }
    finish(mirror.program(&["--once", "--job", "newer", "--job", "broken"])).expect(0);
    let newer = rusqlite::Connection::open(mirror.state.join("newer.db")).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    drop(newer);
    write(mirror.state.join("broken.db"), vec![7; 8192]);
    fs::rename(mirror.path("s-away"), mirror.path("elsewhere")).unwrap();
    let other = daemon(&mirror, &["--job", "locked"]);
    wait_until("the other one has run", || has_run(&mirror, "locked"));
    write(mirror.path("s-locked/second"), "x");
    let config = fs::read_to_string(mirror.path("home/twinfold/config.toml")).unwrap();
    mirror
        .write_config("own.toml", config.replace("max_parallel_jobs = 3", "[log]\nfile = \"state/own.log\""));
    // From here on the other daemon, with an interval of a second, is not to do what this one is to do.
    other.freeze();
    let running = daemon(&mirror, &["--config", mirror.path("own.toml").to_str().unwrap()]);
    wait_until("the healthy one has run", || has_run(&mirror, "healthy"));
    let log = || fs::read_to_string(mirror.state.join("own.log")).unwrap_or_default();
    for says in ["locked: another twinfold", "away: ", "newer: "] {
        wait_until(&format!("it says {says:?}"), || log().contains(says));
    }
    wait_until("a damaged manifest is rebuilt", || log().contains("of broken: "));
    write(mirror.path("s-healthy/second"), "x");
    wait_until("the healthy one goes on", || mirror.path("r-healthy/second").exists());
    assert!(!mirror.path("r-locked/second").exists());
    other.signal(Signal::KILL);
    wait_until("the lock is taken when it is free", || mirror.path("r-locked/second").exists());
    fs::rename(mirror.path("elsewhere"), mirror.path("s-away")).unwrap();
    wait_until("the source that was away is mirrored", || has_run(&mirror, "away"));
    let output = stop(running);
    assert!(output.stderr.contains("locked: another twinfold"), "each line says of which job: {output:?}");
    other.wait();
}

#[test]
fn once_a_job_that_is_locked_does_not_keep_the_others_from_running() {
    let mirror = Mirror::new();
    configure(&mirror, "interval = \"1h\"", &[("free", ""), ("taken", "")]);
    plant(&mirror, "free");
    plant(&mirror, "taken");
    let running = daemon(&mirror, &["--job", "taken"]);
    wait_until("it has run", || has_run(&mirror, "taken"));
    finish(mirror.program(&["--once"])).expect(11).says("taken: another twinfold");
    assert!(has_run(&mirror, "free"));
    // Where none can run no daemon starts either.
    finish(mirror.program(&["--job", "taken"])).expect(11).says("another twinfold");
    stop(running);
}

#[test]
fn job_may_be_given_several_times_and_in_the_environment() {
    let mirror = Mirror::new();
    let names = ["a", "b", "c"];
    configure(&mirror, "", &names.map(|name| (name, "")));
    plant_all(&mirror, &names);
    finish(mirror.program(&["--once", "-n", "--job", "c", "--job", "a", "--job", "c"])).expect(0);
    let output = finish(mirror.program(&["--once", "--job", "c", "--job", "a", "--job", "c"])).expect(0);
    let lines: Vec<&str> = output.stdout.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["a", "c"], "each once, in the file's order: {output:?}");
    assert_eq!(names.map(|name| has_run(&mirror, name)), [true, false, true]);
    let mut by_environment = mirror.program(&["--once"]);
    finish({
        by_environment.env("TWINFOLD_JOB", "b, a");
        by_environment
    })
    .expect(0);
    assert!(has_run(&mirror, "b"));
    finish(mirror.program(&["--once", "--job", "a", "--job", "nobody"])).expect(2).says("nobody");
    for command in ["status", "approve", "rebuild-index"] {
        let output = finish(mirror.program(&[command, "--job", "a", "--job", "b"]));
        assert!(output.code <= 1, "{command}: {output:?}");
    }
}

#[test]
fn status_shows_all_jobs_in_one_table_and_one_in_detail() {
    let mirror = Mirror::new();
    let names = ["fine", "held", "damaged", "new"];
    configure(&mirror, "", &names.map(|name| (name, "")));
    plant_all(&mirror, &names[..3]);
    finish(mirror.program(&["--once", "--job", "fine", "--job", "held", "--job", "damaged"])).expect(0);
    fs::remove_file(mirror.path("s-held/file")).unwrap();
    finish(mirror.program(&["--once", "--job", "held"])).expect(4);
    write(mirror.state.join("damaged.db"), vec![7; 8192]);
    let output = finish(mirror.program(&["status"])).expect(1).says("damaged");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", output.stdout);
    let line = |name: &str| {
        let found: Vec<&&str> = lines.iter().filter(|line| line.starts_with(name)).collect();
        assert_eq!(found.len(), 1, "{name}: {}", output.stdout);
        found[0].split_whitespace().collect::<Vec<&str>>().join(" ")
    };
    assert!(line("job").contains("state last good run"));
    assert!(
        line("fine").starts_with("fine ok 20") && line("fine").contains(" 1 4 B 0 0 -"),
        "{}",
        line("fine")
    );
    assert!(line("held").starts_with("held held 20"), "{}", line("held"));
    assert!(line("held").ends_with("twinfold approve --job held 2"), "{}", line("held"));
    assert!(line("damaged").starts_with("damaged unreadable - "));
    assert!(line("new").starts_with("new no run yet - "));
    let detail = finish(mirror.program(&["status", "--job", "fine"])).expect(0).stdout;
    assert!(detail.contains("source    ") && detail.contains("problems  none"), "{detail}");
    let json =
        finish(mirror.program(&["status", "--json", "--job", "fine", "--job", "new"])).expect(0).json();
    assert_eq!(json.iter().map(|job| job["job"].clone()).collect::<Vec<_>>(), ["fine", "new"]);
    assert_eq!((&json[0]["entries"], &json[1]["has_run"]), (&1.into(), &false.into()));
    let runs =
        finish(mirror.program(&["status", "--runs", "1", "--job", "fine", "--job", "held"])).expect(0).stdout;
    assert!(runs.contains("job fine\n") && runs.contains("\njob held\n"), "{runs}");
}

#[test]
fn lines_of_jobs_side_by_side_are_whole_and_say_whose_they_are() {
    let mirror = Mirror::new();
    let names = ["a", "b", "c", "d"];
    let top = "max_parallel_jobs = 4\nfile_copy_batch_size = 2\ninterval = \"1h\"\n[log]\nformat = \"json\"";
    configure(&mirror, top, &names.map(|name| (name, "")));
    for name in names {
        for number in 0..300 {
            write(mirror.path(format!("s-{name}/{number}")), number.to_string());
        }
    }
    let running = daemon(&mirror, &["--json"]);
    wait_for_log(&mirror, "\"event\":\"summary\"", names.len());
    let output = stop(running);
    let log = mirror.log();
    let logged: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (events, whole) in [(output.json(), false), (logged, true)] {
        let mut copies = BTreeSet::new();
        for event in &events {
            for field in ["event", "time", "job", "run"] {
                assert!(event.get(field).is_some(), "{field} in {event}");
            }
            if event["operation"] == "copy" {
                assert!(names.contains(&event["job"].as_str().unwrap()));
                copies.insert((event["job"].to_string(), event["path"].to_string()));
            }
        }
        assert_eq!(copies.len(), 4 * 300);
        assert_eq!(events.iter().filter(|event| event["event"] == "summary").count(), 4);
        assert_eq!(
            events.iter().any(|event| event["job"].is_null()),
            whole,
            "the daemon's own are in the log"
        );
    }
}

#[test]
fn sigusr1_runs_all_jobs_now() {
    let mirror = Mirror::new();
    configure(&mirror, "interval = \"1h\"", &[("a", ""), ("b", "")]);
    plant(&mirror, "a");
    plant(&mirror, "b");
    let running = daemon(&mirror, &[]);
    wait_for_log(&mirror, "run 1 of ", 2);
    for name in ["a", "b"] {
        write(mirror.path(format!("s-{name}/second")), "x");
    }
    running.signal(Signal::USR1);
    wait_for_log(&mirror, "run 2 of ", 2);
    assert!(mirror.path("r-a/second").exists() && mirror.path("r-b/second").exists());
    settle();
    assert_eq!(logged(&mirror, "run 3 of "), 0);
    stop(running);
}

#[test]
fn sighup_adds_removes_and_changes_jobs() {
    let mirror = Mirror::new();
    configure(&mirror, "interval = \"1h\"", &[("gone", ""), ("kept", "")]);
    for name in ["gone", "kept", "new"] {
        plant(&mirror, name);
    }
    let running = daemon(&mirror, &[]);
    wait_for_log(&mirror, "run 1 of ", 2);
    // Another replica for one, with a manifest of its own, so that its lock changes, too.
    let moved = "replica = \"r-other\"\nmanifest = \"state/other.db\"\ninterval = \"1s\"";
    let config = configure(&mirror, "interval = \"1h\"", &[("kept", moved), ("new", "")]);
    let text = fs::read_to_string(&config).unwrap().replace("replica = \"r-kept\"\n", "");
    mirror.write_config("home/twinfold/config.toml", text);
    running.signal(Signal::HUP);
    wait_for_log(&mirror, "the configuration was read again: kept, new", 1);
    wait_until("the new one has run", || has_run(&mirror, "new"));
    wait_until("the changed one goes by its new interval and roots", || mirror.path("r-other/file").exists());
    // The lock of the one that is gone is free, those of the others are not.
    configure(&mirror, "", &[("gone", ""), ("kept", moved), ("new", "")]);
    let text = fs::read_to_string(&config).unwrap().replace("replica = \"r-kept\"\n", "");
    mirror.write_config("home/twinfold/config.toml", text);
    finish(mirror.program(&["--once", "--job", "gone"])).expect(0);
    for name in ["kept", "new"] {
        finish(mirror.program(&["--once", "--job", name])).expect(11);
    }
    stop(running);
}

#[test]
fn a_broken_new_config_is_said_and_the_old_one_stays_in_force() {
    let mirror = Mirror::new();
    configure(&mirror, "interval = \"1h\"", &[("a", ""), ("b", "")]);
    plant(&mirror, "a");
    plant(&mirror, "b");
    let running = daemon(&mirror, &[]);
    wait_for_log(&mirror, "run 1 of ", 2);
    let broken = [
        ("intervall = 5\n", "did you mean `interval`"),
        (
            "nice = 50\n[[job]]\nname = \"a\"\nsource = \"s-a\"\nreplica = \"r-a\"\n",
            "nice = 50 is out of range",
        ),
        (
            "[log]\nfile = \"r-a/log\"\n[[job]]\nname = \"a\"\nsource = \"s-a\"\nreplica = \"r-a\"\n",
            "r-a/log",
        ),
        ("", "nothing to mirror"),
    ];
    for (number, (text, says)) in broken.iter().enumerate() {
        mirror.write_config("home/twinfold/config.toml", text);
        running.signal(Signal::HUP);
        wait_for_log(&mirror, "the old one stays in force", number + 1);
        assert_eq!(logged(&mirror, says), 1, "{says} in {}", mirror.log());
    }
    running.signal(Signal::USR1);
    wait_for_log(&mirror, "run 2 of ", 2);
    let output = stop(running);
    assert_eq!(output.stderr.matches("the old one stays in force").count(), broken.len(), "{output:?}");
}

#[test]
fn sighup_opens_the_log_anew_also_where_the_config_is_broken() {
    let mirror = Mirror::new();
    configure(&mirror, "interval = \"1h\"", &[("a", "")]);
    plant(&mirror, "a");
    let running = daemon(&mirror, &[]);
    wait_for_log(&mirror, "run 1 of a", 1);
    let log = mirror.state.join("twinfold.log");
    for (number, text) in [None, Some("oops = 1\n")].into_iter().enumerate() {
        if let Some(text) = text {
            mirror.write_config("home/twinfold/config.toml", text);
        }
        let aside = mirror.state.join(format!("old-{number}"));
        fs::rename(&log, &aside).unwrap();
        running.signal(Signal::HUP);
        wait_until("a new log is there", || log.exists());
        let size = fs::metadata(&aside).unwrap().len();
        running.signal(Signal::USR1);
        wait_for_log(&mirror, &format!("run {} of a", number + 2), 1);
        assert_eq!(fs::metadata(&aside).unwrap().len(), size, "nothing more goes into the old one");
    }
    stop(running);
}

#[test]
fn a_run_that_goes_on_ends_under_its_old_settings() {
    let mirror = Mirror::new();
    let marks = mirror.path("marks");
    let slow = |word: &str| {
        let mark = marks.display();
        let script = format!("echo {word} >> {mark}; [ {word} = new ] || sleep 1; echo end-{word} >> {mark}");
        format!("on_success = [\"/bin/sh\", \"-c\", {script:?}]")
    };
    configure(&mirror, "interval = \"1h\"", &[("a", &slow("old")), ("b", "")]);
    plant(&mirror, "a");
    plant(&mirror, "b");
    let running = daemon(&mirror, &[]);
    let read = || fs::read_to_string(&marks).unwrap_or_default();
    wait_until("the run is at its hook", || read() == "old\n");
    configure(&mirror, "interval = \"1h\"", &[("a", &slow("new"))]);
    running.signal(Signal::HUP);
    running.signal(Signal::USR1);
    wait_until("the next one has run", || read().contains("end-new"));
    assert_eq!(read(), "old\nend-old\nnew\nend-new\n");
    stop(running);
}

#[test]
fn hundred_cycles_take_no_more_memory_threads_or_descriptors() {
    let mirror = Mirror::new();
    let hook = "on_success = [\"/bin/true\"]\ninterval = \"1h\"\nmax_parallel_jobs = 2";
    configure(&mirror, hook, &[("a", ""), ("b", ""), ("c", "")]);
    plant_all(&mirror, &["a", "b", "c"]);
    let mut quiet = daemon_command(&mirror, &[]);
    quiet.env("MALLOC_ARENA_MAX", "2");
    let running = start(quiet);
    let figures = || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
        let of = |key: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let open = fs::read_dir(format!("/proc/{}/fd", running.id())).unwrap().count();
        (of("Threads:"), open, of("VmRSS:"))
    };
    let cycle = |number: usize| {
        // Every tenth one with the config read again, and the log opened anew.
        if number.is_multiple_of(10) {
            running.signal(Signal::HUP);
        }
        running.signal(Signal::USR1);
        wait_for_log(&mirror, &format!("run {number} of "), 3);
    };
    wait_for_log(&mirror, "run 1 of ", 3);
    (2..=20).for_each(cycle);
    // A thread ends a little after its run is in the log.
    let idle = || {
        let mut last = figures();
        wait_until("it stands still", || {
            settle();
            std::mem::replace(&mut last, figures()) == last && last.0 <= 2
        });
        last
    };
    let before = idle();
    (21..=100).for_each(cycle);
    let after = idle();
    assert_eq!((before.0, before.1), (after.0, after.1), "threads and descriptors: {before:?}, {after:?}");
    assert!(after.2 < before.2 + 4096, "KiB of memory: {} before, {} after", before.2, after.2);
    stop(running);
}
