//! `on_success`, `on_problem` and `on_change`: what they are told, what they inherit, and that they harm nothing.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::Mirror;
use common::jobs::{configure, daemon, has_run, plant, stop, wait_for_log};
use common::program::{finish, wait_until};
use common::tree::{mkdir, write};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// A mirror with one job whose hooks run these scripts.
fn with_hooks(success: &str, problem: &str, more: &str) -> Mirror {
    let mirror = Mirror::new();
    let hook = |name: &str, script: &str| {
        if script.is_empty() {
            String::new()
        } else {
            format!("{name} = [\"/bin/sh\", \"-c\", {script:?}, \"zero\", \"a b\"]\n")
        }
    };
    let keys = format!("{}{}{more}", hook("on_success", success), hook("on_problem", problem));
    configure(&mirror, "interval = \"1h\"", &[("docs", &keys)]);
    plant(&mirror, "docs");
    mirror
}

fn once(mirror: &Mirror) -> std::process::Command {
    mirror.program(&["--once"])
}

/// The variables that the hook saw, from `env -0`.
fn variables(mirror: &Mirror) -> BTreeMap<String, String> {
    let text = fs::read_to_string(mirror.path("told")).unwrap();
    text.split('\0')
        .filter_map(|line| line.split_once('='))
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect()
}

#[test]
fn a_good_run_tells_its_counts_to_on_success() {
    let mirror = with_hooks("env -0 > told; echo \"said $1\"", "touch wrong", "");
    mkdir(mirror.path("s-docs/folder"));
    finish(once(&mirror)).expect(0);
    let told = variables(&mirror);
    for (name, value) in [
        ("HOOK", "on_success"),
        ("JOB", "docs"),
        ("SOURCE", "s-docs"),
        ("REPLICA", "r-docs"),
        ("RUN_ID", "1"),
        ("RESULT", "ok"),
        ("EXIT_CODE", "0"),
        ("MESSAGE", ""),
        ("COUNT_CREATE", "1"),
        ("COUNT_COPY", "1"),
        ("COUNT_MOVE", "0"),
        ("COUNT_LINK", "0"),
        ("COUNT_DELETE", "0"),
        ("COUNT_BYTES", "4"),
        ("COUNT_PROBLEMS", "0"),
        ("COUNT_HELD", "0"),
        ("COUNT_ENTRIES", "2"),
    ] {
        assert_eq!(told[&format!("TWINFOLD_{name}")], value, "{name}");
    }
    assert!(told["TWINFOLD_SECONDS"].parse::<f64>().is_ok() && told.contains_key("TWINFOLD_COUNT_METADATA"));
    assert!(mirror.log().contains("on_success of docs: said a b"), "{}", mirror.log());
    assert!(!mirror.path("wrong").exists());
}

#[test]
fn a_hook_that_starts_twinfold_asks_about_its_own_job() {
    let mirror = Mirror::new();
    let program = mirror.program_path().to_str().unwrap().to_owned();
    let hook = format!("on_success = [{program:?}, \"status\", \"--json\"]");
    configure(&mirror, &hook, &[("docs", ""), ("other", "")]);
    plant(&mirror, "docs");
    plant(&mirror, "other");
    finish(once(&mirror)).expect(0);
    for name in ["docs", "other"] {
        assert!(mirror.log().contains(&format!("on_success of {name}: {{\"bytes\"")), "{}", mirror.log());
    }
    // A job that has no name is told by its roots.
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", hook);
    write(mirror.in_source("file"), "x");
    mirror.run(&[]).expect(0);
    assert!(mirror.log().contains("\"copy\":1"), "{}", mirror.log());
}

#[test]
fn whatever_else_a_run_ends_with_is_told_to_on_problem() {
    let mirror = with_hooks("touch wrong", "env -0 > told", "");
    fs::rename(mirror.path("s-docs"), mirror.path("away")).unwrap();
    configure(
        &mirror,
        "",
        &[("docs", "on_problem = [\"/bin/sh\", \"-c\", \"env -0 > told\"]"), ("fine", "")],
    );
    plant(&mirror, "fine");
    finish(once(&mirror)).expect(5);
    let told = variables(&mirror);
    let of = |name: &str| told[&format!("TWINFOLD_{name}")].clone();
    assert_eq!(
        (of("HOOK"), of("RESULT"), of("EXIT_CODE"), of("RUN_ID")),
        ("on_problem".into(), "failed".into(), "5".into(), String::new())
    );
    assert!(of("MESSAGE").contains("s-docs"), "{}", of("MESSAGE"));
    fs::rename(mirror.path("away"), mirror.path("s-docs")).unwrap();
    finish(once(&mirror)).expect(0);
    fs::remove_file(mirror.path("s-docs/file")).unwrap();
    finish(once(&mirror)).expect(4);
    let told = variables(&mirror);
    let of = |name: &str| told[&format!("TWINFOLD_{name}")].clone();
    assert_eq!((of("RESULT"), of("EXIT_CODE"), of("COUNT_HELD")), ("held".into(), "4".into(), "1".into()));
    assert!(!mirror.path("wrong").exists());
}

#[test]
fn dry_runs_and_interrupted_runs_run_no_hook() {
    let mirror = with_hooks("touch ran", "touch ran", "");
    finish(mirror.program(&["-n"])).expect(0);
    write(mirror.path("s-docs/large"), vec![1; 200 << 20]);
    let running = common::program::start(once(&mirror));
    wait_until("it has begun", || mirror.path("r-docs").exists());
    running.signal(Signal::INT);
    running.wait().expect(130);
    assert!(!mirror.path("ran").exists());
}

#[test]
fn a_hook_inherits_no_descriptor_no_blocked_signal_and_the_mask_of_the_program() {
    let script =
        "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status > signals; umask > mask; cat /proc/$$/stat > stat";
    let mirror = with_hooks(script, "", "");
    let mut command = std::process::Command::new("/bin/sh");
    mirror.isolate(&mut command);
    command
        .env("NOTIFY_SOCKET", "/nowhere")
        .args(["-c", "umask 027; exec \"$0\" --once"])
        .arg(mirror.program_path());
    finish(command).expect(0);
    let read = |name: &str| fs::read_to_string(mirror.path(name)).unwrap();
    assert!(read("signals").lines().any(|line| line == "SigBlk:\t0000000000000000"), "{}", read("signals"));
    assert_eq!(read("mask").trim().trim_start_matches('0'), "27");
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(stat.split(' ').next().unwrap(), fields[2], "it leads a process group of its own");
    // No shell is between, which would have descriptors of its own.
    configure(&mirror, "on_success = [\"/bin/ls\", \"/proc/self/fd\"]", &[("docs", "")]);
    finish(once(&mirror)).expect(0);
    let log = mirror.log();
    let open: Vec<&str> = log.lines().filter_map(|line| line.split("on_success of docs: ").nth(1)).collect();
    assert_eq!(open, ["0", "1", "2", "3"], "the streams, and the folder that ls reads");
}

#[test]
fn a_hook_that_fails_or_is_not_there_changes_nothing_but_is_said() {
    let mirror = with_hooks("exit 9", "", "");
    finish(once(&mirror)).expect(0).says("on_success of docs: it ended with 9");
    assert!(mirror.log().contains("WARN  on_success of docs: it ended with 9"), "{}", mirror.log());
    configure(&mirror, "on_success = [\"/no/such/program\"]", &[("docs", "")]);
    let said = finish(once(&mirror)).expect(0).says("/no/such/program cannot be run: No such file").stderr;
    assert!(said.contains("on_success of docs: ") && said.contains("correct on_success"), "{said}");
    assert!(!said.contains("Some("), "{said}");
    let empty = |key: &str| {
        configure(&mirror, key, &[("docs", "")]);
        finish(once(&mirror)).expect(2);
    };
    empty("on_success = [\"\"]");
    empty("on_problem = \"a shell command\"");
    empty("hook_timeout = 0");
}

#[test]
fn what_a_hook_says_is_bounded_and_cannot_forge_the_log() {
    let script = "printf 'one\\033[2Jtwo\\n'; i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done";
    let mirror = with_hooks(script, "", "");
    finish(once(&mirror)).expect(0);
    let log = mirror.log();
    assert!(log.contains("on_success of docs: one\\x1b[2Jtwo") && !log.contains('\x1b'), "{log}");
    let lines = log.lines().filter(|line| line.contains("on_success of docs: ")).count();
    assert_eq!(lines, 101, "a hundred, and that there is more");
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_its_children() {
    let mirror = with_hooks("sleep 61 & echo $! > child; wait", "", "hook_timeout = \"1s\"");
    let began = Instant::now();
    finish(once(&mirror)).expect(0).says("longer than 1 s");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let child = fs::read_to_string(mirror.path("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    wait_until("its child is gone", || {
        fs::read_to_string(&stat)
            .map_or(true, |stat| stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
    });
}

#[test]
fn a_hook_that_hangs_keeps_no_other_job_waiting_and_ends_with_the_daemon() {
    let mirror = Mirror::new();
    let hang = "on_success = [\"/bin/sh\", \"-c\", \"touch hangs; sleep 62\"]\ninterval = \"1s\"";
    configure(&mirror, "interval = \"1s\"\nmax_parallel_jobs = 2", &[("hangs", hang), ("goes", "")]);
    plant(&mirror, "hangs");
    plant(&mirror, "goes");
    let running = daemon(&mirror, &[]);
    wait_until("it hangs", || mirror.path("hangs").exists());
    wait_for_log(&mirror, "run 3 of goes", 1);
    assert!(!mirror.log().contains("run 2 of hangs"), "its run has not ended");
    assert!(has_run(&mirror, "goes"));
    stop(running);
}

#[test]
fn what_hooks_leave_behind_is_reaped_where_twinfold_is_the_first_process() {
    if !common::is_root() {
        return common::skip("a PID namespace needs root here");
    }
    let mirror = with_hooks("(sleep 0.1) & exit 0", "", "interval = \"1s\"\n");
    let inner = mirror.program(&["--no-progress"]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(inner.get_program());
    command.args(inner.get_args()).current_dir(inner.get_current_dir().unwrap());
    for (name, value) in inner.get_envs() {
        value.map(|value| command.env(name, value));
    }
    let outer = common::program::start(command);
    let children = |id: u32| {
        let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        text.split_whitespace().map(|id| id.parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    wait_until("it is there", || !children(outer.id()).is_empty());
    let daemon = children(outer.id())[0];
    wait_for_log(&mirror, "run ", 5);
    // The loop turns over every second; what ended since then is a zombie for as long.
    let zombies = || {
        let stat = |id: &u32| fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let is_one = |id: &u32| stat(id).rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z');
        children(daemon).iter().filter(|id| is_one(id)).count()
    };
    assert!(zombies() <= 2, "{} zombies", zombies());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(daemon.cast_signed()).unwrap(),
        Signal::TERM,
    )
    .unwrap();
    outer.wait_for(Duration::from_secs(20));
}

#[test]
fn a_result_that_changes_is_told_to_on_change_with_the_one_before() {
    let mirror = Mirror::new();
    let line = "echo \"$TWINFOLD_HOOK $TWINFOLD_PREVIOUS_RESULT $TWINFOLD_RESULT\" >> told";
    let hook = |name: &str| format!("{name} = [\"/bin/sh\", \"-c\", {line:?}]\n");
    let keys = [hook("on_success"), hook("on_problem"), hook("on_change")].concat();
    // Where no job can run none is run.
    configure(&mirror, "", &[("docs", &keys), ("fine", "")]);
    plant(&mirror, "docs");
    plant(&mirror, "fine");
    let told = |code: i32| {
        finish(once(&mirror)).expect(code);
        let told = fs::read_to_string(mirror.path("told")).unwrap();
        fs::remove_file(mirror.path("told")).unwrap();
        told.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(0), ["on_success  ok", "on_change  ok"], "the first run has none before it");
    assert_eq!(told(0), ["on_success ok ok"]);
    fs::rename(mirror.path("s-docs"), mirror.path("away")).unwrap();
    assert_eq!(told(5), ["on_problem ok failed", "on_change ok failed"]);
    assert_eq!(told(5), ["on_problem failed failed"]);
    fs::rename(mirror.path("away"), mirror.path("s-docs")).unwrap();
    assert_eq!(told(0), ["on_success failed ok", "on_change failed ok"]);
    configure(&mirror, "", &[("docs", &format!("{keys}absent = \"ok\"\n")), ("fine", "")]);
    fs::rename(mirror.path("s-docs"), mirror.path("away")).unwrap();
    assert_eq!(told(0), ["on_change ok absent"], "that it is away is neither good nor bad");
    finish(once(&mirror)).expect(0);
    assert!(!mirror.path("told").exists(), "nothing changed");
    fs::rename(mirror.path("away"), mirror.path("s-docs")).unwrap();
    assert_eq!(told(0), ["on_success absent ok", "on_change absent ok"]);
}
