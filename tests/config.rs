//! What a run goes by: command line, then environment, then config file, then default.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::Mirror;
use common::program::{Output, finish, start, wait_until};
use common::tree::{chmod, mkdir, mkfifo, remove, write};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use twinfold::config::daemon::daemon_settings;
use twinfold::config::file::ConfigFile;
use twinfold::config::settings::{Overrides, jobs, log_settings};

/// The repository's config file.
fn shipped() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")).unwrap()
}

/// The keys that a table takes, as serde names them when it meets another.
fn known_keys(with_unknown: &str) -> BTreeSet<String> {
    let error = toml::from_str::<ConfigFile>(with_unknown).unwrap_err();
    let keys: Vec<&str> = error.message().split('`').skip(1).step_by(2).collect();
    assert_eq!(keys[0], "zzz", "{error}");
    keys[1..].iter().map(|key| (*key).to_owned()).collect()
}

/// Commented lines of the shipped file that are examples of keys, brought to life.
fn with_examples() -> String {
    let example = |line: &str| {
        let text = line.strip_prefix("# ")?;
        let looks_like_a_key = text.split_once(" = ").is_some_and(|(key, _)| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        });
        (looks_like_a_key || text.starts_with('[')).then(|| text.to_owned())
    };
    shipped().lines().map(|line| example(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn the_shipped_config_equals_the_built_in_defaults() {
    let overrides =
        Overrides { source: Some("/a".into()), replica: Some("/b".into()), ..Overrides::default() };
    let (file, none) = (ConfigFile::parse(&shipped()).unwrap(), ConfigFile::default());
    assert_ne!(file, none, "it sets something");
    assert_eq!(jobs(&overrides, &file).unwrap(), jobs(&overrides, &none).unwrap());
    assert_eq!(log_settings(&overrides, &file).unwrap(), log_settings(&overrides, &none).unwrap());
    assert_eq!(daemon_settings(&file).unwrap(), daemon_settings(&none).unwrap());
}

#[test]
fn what_a_job_says_goes_before_what_is_said_for_all() {
    let all = "interval = 11\njitter = \"2s\"\nfile_copy_batch_size = 3\nmax_workers = 4\nhashing_file_chunk_size = 5\n\
               durability = \"none\"\nmax_delete = 6\nmarker = \"m\"\nignore_ctime = true\nignore_inode = true\n\
               one_file_system = true\nreplica_mounts = \"mirror\"\non_success = [\"a\"]\non_problem = [\"b\"]\n\
               hook_timeout = \"7s\"\non_change = [\"d\"]\nabsent = \"ok\"\n";
    let own = "interval = 21\njitter = \"12s\"\nfile_copy_batch_size = 13\nmax_workers = 14\nhashing_file_chunk_size = 15\n\
               durability = \"file\"\nmax_delete = 16\nmarker = \"n\"\nignore_ctime = false\nignore_inode = false\n\
               one_file_system = false\nreplica_mounts = \"leave\"\non_success = [\"c\"]\non_problem = []\n\
               hook_timeout = \"17s\"\non_change = [\"e\"]\nabsent = \"problem\"\n";
    let job = |top: &str, keys: &str| {
        let text = format!("{top}[[job]]\nname = \"j\"\nsource = \"s\"\nreplica = \"r\"\n{keys}");
        jobs(&Overrides::default(), &ConfigFile::parse(&text).unwrap()).unwrap().remove(0)
    };
    let (of_all, of_own) = (job(all, ""), job("", own));
    assert_eq!(job(all, own), of_own);
    assert_eq!(job("", all), of_all);
    assert_ne!(of_all, of_own);
    // Each key alone, so that none is taken for another.
    for (line, other) in own.lines().zip(all.lines()) {
        let mixed = job(all, line);
        assert_ne!(mixed, of_all, "{line}");
        assert_eq!(
            job(all, &format!("{line}\n{}", own.replace(&format!("{line}\n"), ""))),
            of_own,
            "{line}, {other}"
        );
    }
    // What waits longer than the interval would never run.
    assert_eq!(job("interval = 10\njitter = \"1h\"\n", "").jitter.as_secs(), 10);
}

#[test]
fn the_shipped_config_shows_every_key_and_no_other() {
    let text = with_examples();
    ConfigFile::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let table: toml::Table = toml::from_str(&text).unwrap();
    let keys = |table: &toml::Table| -> BTreeSet<String> { table.keys().cloned().collect() };
    assert_eq!(keys(&table), known_keys("zzz = 1"));
    assert_eq!(keys(table["log"].as_table().unwrap()), known_keys("[log]\nzzz = 1"));
    assert_eq!(keys(table["preserve"].as_table().unwrap()), known_keys("[preserve]\nzzz = 1"));
    let job = table["job"].as_array().unwrap()[0].as_table().unwrap();
    assert_eq!(keys(job), known_keys("[[job]]\nzzz = 1"));
}

#[test]
fn the_shipped_config_is_accepted_by_the_program() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let config = mirror.write_config("shipped.toml", shipped());
    mirror.run(&["--config", config.to_str().unwrap()]).expect(0);
    mirror.assert_in_step();
}

/// A mirror of ten files of which five are gone, run with a limit for deletes at each layer.
fn limits(line: Option<&str>, environment: Option<&str>, file: Option<&str>) -> Output {
    let mirror = Mirror::new();
    for number in 0..10 {
        write(mirror.in_source(number.to_string()), "x");
    }
    mirror.sync();
    for number in 0..5 {
        remove(mirror.in_source(number.to_string()));
    }
    if let Some(limit) = file {
        mirror.write_config("home/twinfold/config.toml", format!("max_delete = {limit}\n"));
    }
    let mut command = mirror.once(&[]);
    command.args(line.map(|limit| format!("--max-delete={limit}")));
    if let Some(limit) = environment {
        command.env("TWINFOLD_MAX_DELETE", limit);
    }
    finish(command)
}

#[test]
fn the_command_line_goes_before_the_environment_before_the_file_before_the_default() {
    limits(None, None, None).expect(0);
    limits(None, None, Some("4")).expect(4).says("max_delete = 4");
    limits(None, Some("3"), Some("\"off\"")).expect(4).says("max_delete = 3");
    limits(None, Some("off"), Some("4")).expect(0);
    limits(Some("2"), Some("off"), Some("\"off\"")).expect(4).says("max_delete = 2");
    limits(Some("off"), Some("3"), Some("4")).expect(0);
    limits(None, Some("some"), None).expect(2).says("TWINFOLD_MAX_DELETE");
}

#[test]
fn everything_can_be_said_by_the_environment() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let mut command = mirror.program::<&str>(&[]);
    command
        .env("TWINFOLD_SOURCE", &mirror.source)
        .env("TWINFOLD_REPLICA", &mirror.replica)
        .env("TWINFOLD_LOG_FILE", mirror.path("home/elsewhere.log"))
        .env("TWINFOLD_MANIFEST", mirror.state.join("other.db"))
        .env("TWINFOLD_INTERVAL", "1h")
        .env("TWINFOLD_MAX_WORKERS", "1")
        .env("TWINFOLD_ONCE", "1")
        .env("TWINFOLD_JSON", "true");
    let output = finish(command).expect(0);
    assert_eq!(output.summary()["copy"], 1);
    mirror.assert_in_step();
    assert!(mirror.state.join("other.db").exists() && mirror.path("home/elsewhere.log").exists());
    assert!(!mirror.state.join("twinfold.log").exists());
}

#[test]
fn a_job_in_the_file_is_run_by_its_keys() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    write(mirror.in_source("gone"), "x");
    let text = format!(
        "max_delete = \"off\"\n[log]\nfile = \"home/file.log\"\n[[job]]\nname = \"main\"\nsource = {:?}\n\
         replica = {:?}\nmax_delete = 0\nmanifest = \"state/own.db\"\n",
        mirror.source, mirror.replica
    );
    mirror.write_config("home/twinfold/config.toml", text);
    finish(mirror.program(&["--once"])).expect(0);
    mirror.assert_in_step();
    assert!(mirror.state.join("own.db").exists() && mirror.path("home/file.log").exists());
    remove(mirror.in_source("gone"));
    finish(mirror.program(&["--once"])).expect(4).says("max_delete = 0");
    // A root on the command line takes the place of the job's.
    finish(mirror.program(&["--once", "--replica", "second", "--manifest", "state/2.db"])).expect(0);
    assert!(mirror.path("second/file").exists());
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_are_fine() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mirror.write_config(
        "home/twinfold/config.toml",
        "\u{feff}max_workers = 2\r\n\r\n[log]\r\nfile = \"home/crlf.log\"\r\n",
    );
    mirror.sync();
    assert!(mirror.path("home/crlf.log").exists());
}

#[test]
fn a_config_that_is_too_large_no_file_or_no_text_is_refused() {
    let mirror = Mirror::new();
    let padded = |size: usize| {
        let mut text = String::from("max_workers = 1\n");
        text.push_str(&"#".repeat(size - text.len()));
        text
    };
    let run = || mirror.run(&[]);
    mirror.write_config("home/twinfold/config.toml", padded(1 << 20));
    run().expect(0);
    mirror.write_config("home/twinfold/config.toml", padded((1 << 20) + 1));
    run().expect(2).says("1 MiB");
    mirror.write_config("home/twinfold/config.toml", b"# \xff\n");
    run().expect(2).says("UTF-8");
    mirror.write_config("home/twinfold/config.toml", "");
    run().expect(0);
    let config = mirror.path("home/twinfold/config.toml");
    let others: [&dyn Fn(); 2] = [&|| mkdir(&config), &|| mkfifo(&config)];
    for make in others {
        remove(&config);
        make();
        run().expect(2).says("regular file");
    }
}

#[test]
fn a_config_that_others_may_write_is_refused_as_root() {
    if !common::is_root() {
        return common::skip("only root refuses a config that others may write");
    }
    let mirror = Mirror::new();
    chmod(mirror.path("home/twinfold/config.toml"), 0o666);
    mirror.run(&[]).expect(2).says("chmod");
}

#[test]
fn the_old_programs_names_start_a_daemon() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let daemon = mirror.program(&[
        "--src_path",
        &text(&mirror.source),
        "--replica_path",
        &text(&mirror.replica),
        "--log_file_path",
        &text(&mirror.path("home/old.log")),
        "--sync_interval_in_seconds",
        "1",
    ]);
    let daemon = start(daemon);
    wait_until("the first run copied", || mirror.in_replica("file").exists());
    write(mirror.in_source("second"), "y");
    wait_until("a later run copied", || mirror.in_replica("second").exists());
    daemon.signal(Signal::TERM);
    daemon.wait().expect(0);
    assert!(mirror.path("home/old.log").exists());
    let help = finish(mirror.program(&["--help"])).expect(0);
    assert!(!help.stdout.contains("src_path") && help.stdout.contains("--source"));
}

#[test]
fn batch_and_chunk_size_and_workers_of_any_size_give_the_same_replica() {
    let mirror = Mirror::new();
    for number in 0..40 {
        write(mirror.in_source(format!("d/{number}")), vec![b'x'; number * 1000]);
    }
    write(mirror.in_source("large"), vec![9; (1 << 20) + 77]);
    for (batch, chunk, workers, durability) in
        [(1, "\"1KiB\"", 1, "none"), (7, "999", 3, "file"), (100_000, "\"64MiB\"", 64, "batch")]
    {
        remove(&mirror.replica);
        remove(&mirror.state);
        let text = format!(
            "file_copy_batch_size = {batch}\nhashing_file_chunk_size = {chunk}\nmax_workers = {workers}\n\
             durability = {durability:?}\n"
        );
        mirror.write_config("home/twinfold/config.toml", text);
        mirror.sync();
    }
}
