//! What must not be done is refused before anything is written, with its own exit code.

mod common;

use common::mounts::bind;
use common::program::{Output, finish, start, wait_until};
use common::tree::{Tree, assert_same, chmod, mkdir, mkfifo, remove, symlink, write};
use common::{Mirror, settle};
use rustix::process::Signal;
use std::path::Path;

/// Runs on these roots.
fn run(mirror: &Mirror, source: impl AsRef<Path>, replica: impl AsRef<Path>) -> Output {
    let mut command = mirror.program(&["sync", "--once"]);
    command.arg("--source").arg(source.as_ref()).arg("--replica").arg(replica.as_ref());
    finish(command)
}

/// Runs with a config file of this text.
fn with_config(mirror: &Mirror, text: &str, more: &[&str]) -> Output {
    let config = mirror.write_config("config.toml", text);
    let mut command = mirror.program(&["sync", "--once", "--config"]);
    command.arg(config).args(more);
    finish(command)
}

#[test]
fn overlapping_roots_are_refused_in_every_spelling() {
    let mirror = Mirror::new();
    write(mirror.in_source("inner/file"), "content");
    symlink("source", mirror.path("link"));
    symlink("source/inner", mirror.path("deep-link"));
    let before = Tree::of(&mirror.source);
    for (source, replica) in [
        ("source", "source"),
        ("source", "source/"),
        ("source", "./source/."),
        ("source", ".//source//"),
        ("source", "link"),
        ("link", "source"),
        ("source", "source/inner"),
        ("source", "source/new"),
        ("source", "link/new"),
        ("source", "deep-link"),
        ("source/inner", "source"),
        ("deep-link", "source"),
        ("source", "source/inner/.."),
        ("source", "home/../source"),
    ] {
        let output = run(&mirror, source, replica).expect(2);
        output.says("overlap");
        assert!(std::fs::read_dir(&mirror.state).unwrap().next().is_none(), "{source} {replica}");
    }
    assert_same(&before, &Tree::of(&mirror.source));
}

#[test]
fn roots_whose_names_only_look_alike_are_mirrored() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    for replica in ["source2", "sourc", "source-copy"] {
        run(&mirror, "source", replica).expect(0);
        assert!(mirror.path(replica).join("file").exists());
    }
}

#[test]
fn the_root_of_the_system_and_empty_paths_are_refused() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    for replica in ["/", "//", "/.", "/usr/.."] {
        run(&mirror, "source", replica).expect(2);
    }
    run(&mirror, "source", "").expect(2).says("--replica");
    run(&mirror, "", "replica").expect(2).says("--source");
    let mut command = mirror.program(&["--once", "--source", "source"]);
    command.env("TWINFOLD_REPLICA", "");
    finish(command).expect(2).says("empty");
    assert!(!mirror.replica.exists());
}

#[test]
fn roots_that_are_not_folders_or_not_there_end_with_5() {
    let mirror = Mirror::new();
    write(mirror.path("file"), "content");
    mkfifo(mirror.path("pipe"));
    symlink("nowhere", mirror.path("dangling"));
    write(mirror.in_source("x"), "x");
    for (source, replica) in [
        ("absent", "replica"),
        ("file", "replica"),
        ("pipe", "replica"),
        ("dangling", "replica"),
        ("file/below", "replica"),
        ("source", "file"),
        ("source", "pipe"),
        ("source", "absent/replica"),
        ("source", "file/replica"),
    ] {
        let output = run(&mirror, source, replica).expect(5);
        assert!(output.stderr.starts_with("twinfold: error: "), "{source} {replica}: {output:?}");
        assert!(!mirror.replica.exists(), "{source} {replica}");
    }
    assert_eq!(std::fs::read(mirror.path("file")).unwrap(), b"content");
}

#[test]
fn a_replica_that_was_there_before_and_is_gone_is_not_made_again() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    mirror.sync();
    remove(&mirror.replica);
    mirror.run(&[]).expect(5).says("gone");
    mirror.run(&["-n"]).expect(5);
    assert!(!mirror.replica.exists());
    mkdir(&mirror.replica);
    mirror.sync();
}

#[test]
fn a_source_that_goes_away_leaves_the_replica_alone() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    mirror.sync();
    remove(&mirror.source);
    mirror.run(&[]).expect(5);
    assert!(mirror.in_replica("file").exists());
}

#[test]
fn wrong_usage_ends_with_2() {
    let mirror = Mirror::new();
    for arguments in [
        &["--once"][..],
        &["--once", "--source", "source"],
        &["--once", "--replica", "replica"],
        &["--no-such-flag"],
        &["no-such-command"],
        &["--source", "source", "--replica", "replica", "--interval", "soon"],
        &["--source", "source", "--replica", "replica", "--interval", "0"],
        &["--source", "source", "--replica", "replica", "--max-delete", "101%"],
        &["--source", "source", "--replica", "replica", "--max-delete", "-1"],
        &["--source", "source", "--replica", "replica", "--max-workers", "many"],
        &["--source", "source", "--replica", "replica", "--config", "absent.toml"],
        &["--source", "source", "--replica", "replica", "--job", "absent"],
        &["--source", "source", "--replica", "replica", "--exclude", "a[z-a]"],
    ] {
        let output = finish(mirror.program(arguments)).expect(2);
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
    assert!(!mirror.replica.exists());
}

#[test]
fn an_unknown_key_names_file_line_and_nearest_key() {
    let mirror = Mirror::new();
    for (text, said) in [
        ("max_worker = 2\n", ["config.toml", "line 1", "`max_worker`", "`max_workers`"]),
        ("\n\n[log]\nlevle = \"info\"\n", ["config.toml", "line 4", "`levle`", "`level`"]),
        (
            "interval = 5\n[[job]]\nname = \"a\"\nreplicas = \"b\"\n",
            ["config.toml", "line 4", "`replicas`", "`replica`"],
        ),
        ("[trash]\nenable = true\n", ["config.toml", "line 2", "`enable`", "`enabled`"]),
        ("[preserve]\nxattr = true\n", ["config.toml", "line 2", "`xattr`", "`xattrs`"]),
        ("[[job]]\n[job.preserve]\nowners = true\n", ["config.toml", "line 3", "`owners`", "`owner`"]),
    ] {
        let output = with_config(&mirror, text, &[]).expect(2);
        for word in said {
            assert!(output.stderr.contains(word), "{word}: {}", output.stderr);
        }
    }
}

#[test]
fn values_of_the_wrong_kind_name_their_line() {
    let mirror = Mirror::new();
    for text in [
        "\nfile_copy_batch_size = \"many\"\n",
        "\nfile_copy_batch_size = -1\n",
        "\nmax_workers = 1.5\n",
        "\nhashing_file_chunk_size = \"1 furlong\"\n",
        "\ninterval = true\n",
        "\nmax_delete = \"half\"\n",
        "\ndurability = \"maybe\"\n",
        "\nignore_ctime = 1\n",
        "\nlog = \"file\"\n",
        "\njob = 1\n",
        "\ninterval = \"5m\n",
        "interval = 1\ninterval = 2\n",
    ] {
        with_config(&mirror, text, &[]).expect(2).says("line 2");
    }
}

#[test]
fn a_duration_or_size_without_a_unit_is_refused_with_a_proposal_but_for_the_interval() {
    let mirror = Mirror::new();
    let roots = ["--source", "source", "--replica", "replica"];
    for (text, proposal) in [
        ("[trash]\nkeep = \"30\"", "\"30d\""),
        ("[trash]\nkeep = 30", "\"30d\""),
        ("verify = \"5\"", "\"5%\""),
        ("hook_timeout = 10", "\"10s\""),
        ("jitter = \"10\"", "\"10m\""),
        ("min_size = 1", "\"1KiB\""),
        ("max_size = \"100\"", "\"100MiB\""),
        ("bandwidth_limit = 10", "\"10MiB\""),
        ("[log]\nmax_size = 10", "\"10MiB\""),
    ] {
        with_config(&mirror, text, &roots).expect(2).says(proposal).says("line ");
    }
    for (options, proposal) in [
        (["--bandwidth-limit", "10"], "10MiB"),
        (["--interval", "-5"], "`-5` is no duration"),
        (["--max-delete", "-1"], "`-1` is no limit"),
        (["--max-workers", "many"], "`many` is no whole number"),
        (["--max-workers", "-1"], "`-1` is no whole number"),
    ] {
        mirror.run(&options).expect(2).says(proposal);
    }
    let ask = |words: &[&str]| {
        let mut command = mirror.program(words);
        command.args(mirror.roots());
        finish(command)
    };
    ask(&["status", "--runs", "-1"]).expect(2).says("`-1` is no whole number");
    ask(&["status", "--runs", "abc"]).expect(2).says("`abc` is no whole number");
    ask(&["status", "--check", "--max-age", "3600"]).expect(2).says("3600s");
    ask(&["status", "--log", "--since", "5"]).expect(2).says("5d");
    ask(&["rebuild-index", "--limit", "100"]).expect(2).says("100GiB");
    ask(&["rebuild-index", "--older-than", "30"]).expect(2).says("30d");
    ask(&["approve", "abc"]).expect(2).says("`abc` is no number of a plan");
    assert!(!mirror.replica.exists());
    write(mirror.in_source("file"), "x");
    let fine = "interval = 60\nhashing_file_chunk_size = 4096\njitter = 0\nbandwidth_limit = 0\nhook_timeout = \"1m 30s\"";
    with_config(&mirror, fine, &roots).expect(0);
    mirror.run(&["--interval", "90", "--bandwidth-limit", "10M"]).expect(0);
}

#[test]
fn a_variable_that_nothing_reads_and_a_state_folder_without_a_place_are_refused() {
    let mirror = Mirror::new();
    let run = |name: &str, value: &str| {
        let mut command = mirror.once(&[]);
        command.env(name, value);
        finish(command)
    };
    run("TWINFOLD_INTERVALL", "5m")
        .expect(2)
        .says("TWINFOLD_INTERVALL")
        .says("did you mean TWINFOLD_INTERVAL?");
    run("TWINFOLD_TRASH_ENABLED", "1").expect(2).says("TWINFOLD_TRASH_ENABLED");
    run("STATE_DIRECTORY", "relative").expect(2).says("STATE_DIRECTORY");
    assert!(!mirror.path("relative").exists() && !mirror.replica.exists());
    run("TWINFOLD_RUNS", "3").expect(0);
    run("TWINFOLD_TEST_FULL", "1").expect(0);
    let config = mirror.write_config("list.toml", "exclude_from = \"/nope\"\n");
    mirror
        .run(&["--config", config.to_str().unwrap()])
        .expect(2)
        .says("the list of patterns /nope (exclude_from)");
}

#[test]
fn values_out_of_range_are_refused() {
    let mirror = Mirror::new();
    let roots = ["--source", "source", "--replica", "replica"];
    for text in [
        "file_copy_batch_size = 0",
        "hashing_file_chunk_size = 0",
        "interval = 0",
        "max_workers = 1000000",
        "hashing_file_chunk_size = \"1TiB\"",
        "[log]\nmax_size = 0",
    ] {
        with_config(&mirror, text, &roots).expect(2);
    }
    assert!(!mirror.replica.exists());
}

#[test]
fn jobs_that_do_not_fit_together_are_refused() {
    let mirror = Mirror::new();
    for folder in ["a", "b", "a/x", "there"] {
        mkdir(mirror.path(folder));
    }
    let job = |name: &str, source: &str, replica: &str| {
        format!("[[job]]\nname = {name:?}\nsource = {source:?}\nreplica = {replica:?}\n")
    };
    for (text, said) in [
        (job("one", "a", "ra") + &job("one", "b", "rb"), "one"),
        (job("one", "a", "r") + &job("two", "b", "r"), "overlap"),
        (job("one", "a", "there") + &job("two", "b", "there/below"), "overlap"),
        (job("one", "a", "ra") + &job("two", "b", "./a/../ra/"), "overlap"),
        (job("one", "a", "ra") + &job("two", "b", "a/x"), "overlap"),
        (job("", "a", "ra"), "name"),
        (job("../up", "a", "ra"), "name"),
        ("[[job]]\nsource = \"a\"\nreplica = \"ra\"\n".to_owned(), "name"),
        ("[[job]]\nname = \"one\"\nsource = \"a\"\n".to_owned(), "replica"),
    ] {
        with_config(&mirror, &text, &[]).expect(2).says(said);
        assert!(!mirror.path("ra").exists() && !mirror.path("r").exists(), "{text}");
    }
}

#[test]
fn several_jobs_are_all_run_or_the_one_that_is_named() {
    let mirror = Mirror::new();
    write(mirror.path("a/file"), "a");
    write(mirror.path("b/file"), "b");
    let text = "[[job]]\nname = \"one\"\nsource = \"a\"\nreplica = \"ra\"\n\
                [[job]]\nname = \"two\"\nsource = \"b\"\nreplica = \"rb\"\n";
    with_config(&mirror, text, &["--job", "two"]).expect(0);
    assert!(mirror.path("rb/file").exists() && !mirror.path("ra").exists());
    assert!(mirror.state.join("two.db").exists());
    with_config(&mirror, text, &["--job", "three"]).expect(2).says("one, two");
    with_config(&mirror, text, &["--manifest", "state/m.db"]).expect(2).says("--job");
    with_config(&mirror, text, &[]).expect(0);
    assert!(mirror.path("ra/file").exists());
}

#[test]
fn state_and_log_inside_a_mirrored_folder_are_refused() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mkdir(mirror.in_replica("sub"));
    symlink("source", mirror.path("link"));
    let (source, replica) = (Tree::of(&mirror.source), Tree::of(&mirror.replica));
    for more in [
        ["--manifest", "source/m.db"],
        ["--manifest", "replica/m.db"],
        ["--manifest", "replica/sub/m.db"],
        ["--manifest", "link/m.db"],
        ["--log-file", "source/log"],
        ["--log-file", "replica/sub/log"],
        ["--log-file", "home/../link/log"],
    ] {
        mirror.run(&more).expect(2).says("lies inside");
    }
    for state in [mirror.in_source("state"), mirror.replica.clone()] {
        let mut command = mirror.once(&[]);
        command.env("STATE_DIRECTORY", state);
        finish(command).expect(2).says("lies inside");
    }
    assert_same(&source, &Tree::of(&mirror.source));
    assert_same(&replica, &Tree::of(&mirror.replica));
}

#[test]
fn state_and_log_that_a_bind_mount_shows_inside_a_mirrored_folder_are_refused() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mkdir(mirror.in_source("in"));
    mkdir(mirror.in_source("state"));
    chmod(mirror.in_source("state"), 0o700);
    for folder in ["home/logs", "bound", "other"] {
        mkdir(mirror.path(folder));
    }
    let untouched = || {
        assert!(!mirror.replica.exists(), "nothing is mirrored");
        for folder in [&mirror.state, &mirror.path("home/logs"), &mirror.in_source("state")] {
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "{}", folder.display());
        }
    };
    // The state, a folder above it, and the log's folder, mounted in the source.
    for (from, more) in [
        ("state", &[][..]),
        ("home", &["--manifest", "home/logs/m.db"]),
        ("home", &["--log-file", "home/logs/log"]),
    ] {
        let Some(_bound) = bind(&mirror.path(from), &mirror.in_source("in")) else { return };
        mirror.run(more).expect(2).says("lies inside the source").says("mounted at");
        untouched();
    }
    // The source mounted elsewhere, and a part of it.
    for (from, manifest) in [("source", "bound/state/m.db"), ("source/state", "bound/m.db")] {
        let Some(_bound) = bind(&mirror.path(from), &mirror.path("bound")) else { return };
        mirror.run(&["--manifest", manifest]).expect(2).says("lies inside the source");
        untouched();
    }
    // What shows neither is none of its business.
    let Some(_bound) = bind(&mirror.path("other"), &mirror.in_source("in")) else { return };
    mirror.run(&[]).expect(0);
}

#[test]
fn a_state_folder_that_others_may_write_is_refused() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    for mode in [0o777, 0o770, 0o702] {
        chmod(&mirror.state, mode);
        mirror.run(&[]).expect(2).says("others may write");
        assert!(!mirror.replica.exists());
    }
    chmod(&mirror.state, 0o1777);
    mirror.sync();
    chmod(mirror.path("home"), 0o777);
    mirror.run(&["--log-file", "home/log"]).expect(2);
    chmod(mirror.path("home"), 0o700);
    mirror.run(&["--log-file", "home/log"]).expect(0);
}

#[test]
fn the_manifest_of_another_pair_of_roots_is_refused_untouched() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mkdir(mirror.path("other"));
    mirror.run(&["--manifest", "state/m.db"]).expect(0);
    let before = std::fs::read(mirror.state.join("m.db")).unwrap();
    for (source, replica) in [("other", "replica"), ("source", "other"), ("other", "replica2")] {
        let mut command = mirror.program(&["--once", "--source", source, "--replica", replica]);
        command.args(["--manifest", "state/m.db"]);
        finish(command).expect(2).says("another job");
        assert!(std::fs::read(mirror.state.join("m.db")).unwrap() == before);
    }
    assert!(std::fs::read_dir(mirror.path("other")).unwrap().next().is_none());
    assert!(mirror.in_replica("file").exists());
}

#[test]
fn a_second_instance_ends_at_once_with_11_and_names_the_holder() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    let mut daemon = mirror.program(&["--interval", "1h"]);
    daemon.args(mirror.roots());
    let mut daemon = start(daemon);
    wait_until("the daemon has copied", || mirror.in_replica("file").exists());
    settle();
    for _ in 0..2 {
        let (output, took) = start(mirror.once(&[])).wait_for(std::time::Duration::from_secs(5));
        output.expect(11).says(&format!("pid {}", daemon.id()));
        assert!(took.as_secs() < 2, "{took:?}");
    }
    assert!(daemon.is_running());
    // A lock file without its holder is no lock.
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(mirror.manifest().with_extension("db.lock").exists());
    mirror.sync();
}

#[test]
fn a_replica_that_another_job_is_writing_to_is_left_to_it() {
    use rustix::fs::{FlockOperation, flock};
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mkdir(&mirror.replica);
    let held = std::fs::File::open(&mirror.replica).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    mirror.run(&["--manifest", "state/second.db"]).expect(11).says("replica");
    assert!(!mirror.in_replica("file").exists());
    drop(held);
    mirror.run(&["--manifest", "state/second.db"]).expect(0);
    mirror.assert_in_step();
}
