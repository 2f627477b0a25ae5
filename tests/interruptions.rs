//! Signals at any moment: calls that they interrupt are made again, a request to stop is quick, a
//! second one is at once.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]
#![expect(clippy::print_stderr, reason = "says what was met")]

mod common;

use common::inject::{self, Fault};
use common::mounts::Mounted;
use common::program::{start, start_if_there, wait_until};
use common::sweep::{Scenario, Sweep};
use common::tree::{Tree, write};
use common::versions::Allowed;
use common::{Mirror, claims, is_root, skip};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn calls_that_a_signal_interrupts_are_made_again() {
    if !inject::possible() {
        return;
    }
    let mut sweep = Sweep::new(Scenario::Update);
    for call in ["openat2", "openat", "read", "write"] {
        for number in [9, 21] {
            let what = format!("{call} {number}");
            let output = sweep.disturb(call, number, Fault::Once("EINTR"));
            assert_eq!(output.code, 0, "{what}: {output:?}");
            sweep.check_in_step(&what);
        }
    }
}

#[test]
fn a_storm_of_signals_with_a_handler_disturbs_nothing() {
    let mirror = Mirror::new();
    for number in 0..400 {
        write(mirror.in_source(format!("{}/{number}", number % 9)), vec![b'x'; 3000]);
    }
    let mut run = start(mirror.once(&[]));
    // It is ready for them once it has the lock.
    wait_until("it has begun", || fs::read_dir(&mirror.state).unwrap().count() > 1);
    let mut sent = 0;
    while run.is_running() {
        // The one signal besides those that stop it for which it has a handler.
        run.signal(Signal::XFSZ);
        sent += 1;
        sleep(Duration::from_micros(50));
    }
    let output = run.wait().expect(0);
    assert_eq!(output.stderr, "");
    mirror.assert_in_step();
    eprintln!("{sent} signals");
    assert!(sent > 10);
}

#[test]
fn a_request_to_stop_in_the_first_instants_does_no_harm() {
    let mirror = Mirror::new();
    for number in 0..100 {
        write(mirror.in_source(format!("{}/{number}", number % 9)), "content");
    }
    let allowed = Allowed::between(&Tree(BTreeMap::new()), &Tree::of(&mirror.source));
    let mut ended = BTreeMap::new();
    for delay_ms in 0..25 {
        let run = start(mirror.once(&[]));
        sleep(Duration::from_millis(delay_ms));
        run.signal(Signal::TERM);
        let (output, took) = run.wait_for(Duration::from_secs(20));
        // 143: before there was anybody to hear of it, and before anything was done.
        assert!([0, 130, 143].contains(&output.code), "after {delay_ms} ms: {output:?}");
        assert!(took < Duration::from_secs(2), "after {delay_ms} ms it took {took:?}");
        *ended.entry(output.code).or_insert(0) += 1;
        allowed.check(&mirror.replica, "a request to stop");
        claims::check(&mirror, "a request to stop");
    }
    eprintln!("{ended:?}");
    mirror.sync();
}

#[test]
fn a_request_to_stop_ends_a_large_copy_within_two_seconds() {
    let mirror = Mirror::new();
    write(mirror.in_source("large"), vec![b'x'; 400 << 20]);
    let run = start(mirror.once(&[]));
    let copying = || {
        let begun = fs::read_dir(&mirror.replica).into_iter().flatten().flatten();
        begun.filter_map(|entry| entry.metadata().ok()).any(|found| found.len() > 4 << 20)
    };
    wait_until("it copies", copying);
    run.signal(Signal::TERM);
    let (output, took) = run.wait_for(Duration::from_secs(30));
    let output = output.expect(130);
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    // What was copied may be kept; it has no other name than a temporary one.
    assert!(!mirror.in_replica("large").exists(), "{output:?}");
    mirror.sync();
}

#[test]
fn a_second_request_ends_it_at_once() {
    if !inject::possible() {
        return;
    }
    let mirror = Mirror::new();
    write(mirror.in_source("large"), vec![b'x'; 8 << 20]);
    // All is written, and the worker does not come back from the call before the file gets its name.
    let slow = ["trace=utimensat", "inject=utimensat:delay_enter=8000000"];
    let run = start(inject::traced_from_behind(&mirror, &[], &slow));
    let staged = || {
        let entries = fs::read_dir(&mirror.replica).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).any(|found| found.len() == 8 << 20)
    };
    wait_until("the file is written", staged);
    sleep(Duration::from_millis(500));
    run.signal(Signal::TERM);
    sleep(Duration::from_millis(500));
    assert!(!run.has_ended(), "the first request does not wait for the worker");
    run.signal(Signal::TERM);
    let began = Instant::now();
    wait_until("it has ended", || run.has_ended());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    run.wait().expect(130);
    assert!(!mirror.in_replica("large").exists(), "it was through with the file first");
    mirror.sync();
}

/// What an interrupted run has brought over under its new name is no loss under its old one.
#[test]
fn a_large_rename_that_is_interrupted_is_finished_by_the_next_run_without_asking() {
    let mirror = Mirror::new();
    let config = "file_copy_batch_size = 1\nmax_workers = 1\ndurability = \"file\"\nmax_delete = \"20%\"\n";
    mirror.write_config("home/twinfold/config.toml", config);
    // Files that cannot be told apart by anything but their inodes are brought over anew, one by one.
    for number in 0..2000 {
        write(mirror.in_source(format!("old/{number}")), "");
        write(mirror.in_source(format!("stays/{}", number % 50)), "content");
    }
    common::settle();
    mirror.sync();
    #[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
    let rename = || {
        fs::create_dir(mirror.in_source("new"))?;
        for number in 0..2000 {
            fs::rename(mirror.in_source(format!("old/{number}")), mirror.in_source(format!("new/{number}")))?;
        }
        fs::remove_dir(mirror.in_source("old"))
    };
    rename().unwrap_or_else(|error| panic!("{error}"));
    let run = start(mirror.once(&[]));
    let arrived = || fs::read_dir(mirror.in_replica("new")).map_or(0, Iterator::count);
    wait_until("much has arrived", || arrived() > 100);
    run.signal(Signal::TERM);
    run.wait().expect(130);
    assert!((100..1999).contains(&arrived()), "{}", arrived());
    mirror.sync();
}

#[test]
fn a_request_to_stop_is_heard_though_the_file_system_does_not_answer() {
    let mirror = Mirror::new();
    let (behind, shown) = (mirror.path("behind"), mirror.path("shown"));
    fs::create_dir_all(&shown).unwrap();
    write(behind.join("file"), "content");
    // In the foreground it is the process to stop.
    let mut server = std::process::Command::new("bindfs");
    server.arg("-f").args([&behind, &shown]);
    let Some(server) = start_if_there(server) else { return skip("bindfs is not installed") };
    if !is_root() {
        return skip("mounting with FUSE needs root here");
    }
    let mounted = Mounted(shown.clone());
    wait_until("it is mounted", || shown.join("file").exists());
    for (arguments, code) in [(vec!["--once"], 130), (vec!["--interval", "1h"], 0)] {
        server.signal(Signal::STOP);
        let mut command = mirror.program(&arguments);
        command.arg("--source").arg(&shown).arg("--replica").arg(&mirror.replica).arg("--no-progress");
        let run = start(command);
        sleep(Duration::from_secs(1));
        run.signal(Signal::TERM);
        let (output, took) = run.wait_for(Duration::from_secs(30));
        server.signal(Signal::CONT);
        assert!(took < Duration::from_secs(10), "{arguments:?} took {took:?}");
        assert_eq!(output.code, code, "{arguments:?}: {output:?}");
        if code == 130 {
            let says = output.stderr.contains("does not return") && output.stderr.contains("/shown");
            assert!(says, "which call on which file hangs: {output:?}");
        }
    }
    drop(mounted);
    server.wait_for(Duration::from_secs(20));
}

#[test]
fn a_root_that_does_not_answer_keeps_a_daemon_neither_from_starting_nor_from_ending() {
    let mirror = Mirror::new();
    let (behind, shown) = (mirror.path("behind"), mirror.path("shown"));
    fs::create_dir_all(&shown).unwrap();
    write(behind.join("file"), "content");
    write(mirror.path("s-here/file"), "content");
    let mut server = std::process::Command::new("bindfs");
    server.arg("-f").args([&behind, &shown]);
    let Some(server) = start_if_there(server) else { return skip("bindfs is not installed") };
    if !is_root() {
        return skip("mounting with FUSE needs root here");
    }
    let mounted = Mounted(shown.clone());
    wait_until("it is mounted", || shown.join("file").exists());
    server.signal(Signal::STOP);
    let job = |name: &str, source: &str| {
        format!("[[job]]\nname = {name:?}\nsource = {source:?}\nreplica = \"r-{name}\"\ninterval = \"1h\"\n")
    };
    let config = mirror.write_config("config.toml", [job("dead", "shown"), job("here", "s-here")].concat());
    let mut command = mirror.program(&["sync", "--config"]);
    command.arg(config);
    let run = start(command);
    wait_until("the job that can run has run", || mirror.path("r-here/file").exists());
    run.signal(Signal::TERM);
    let (output, took) = run.wait_for(Duration::from_secs(30));
    server.signal(Signal::CONT);
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    assert_eq!(output.code, 0, "{output:?}");
    for said in ["dead: its roots have not answered", "does not return"] {
        assert!(output.stderr.contains(said), "{said}: {output:?}");
    }
    drop(mounted);
    server.wait_for(Duration::from_secs(20));
}
