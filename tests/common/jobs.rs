//! Several jobs in one config, and a daemon over them.

use super::Mirror;
use super::program::{Output, Running, start, wait_until};
use super::tree::write;
use rustix::process::Signal;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Writes a config with these lines at its top and a job for each name: its source is `s-NAME`, which gets a
/// file, its replica `r-NAME`. `keys` are lines for each of them.
pub fn configure(mirror: &Mirror, top: &str, jobs: &[(&str, &str)]) -> PathBuf {
    let mut text = format!("{top}\n");
    for (name, keys) in jobs {
        let _ =
            writeln!(text, "[[job]]\nname = {name:?}\nsource = \"s-{name}\"\nreplica = \"r-{name}\"\n{keys}");
    }
    mirror.write_config("home/twinfold/config.toml", text)
}

/// Makes the source of a job.
pub fn plant(mirror: &Mirror, name: &str) {
    write(mirror.path(format!("s-{name}/file")), name);
}

pub fn plant_all(mirror: &Mirror, names: &[&str]) {
    for name in names {
        plant(mirror, name);
    }
}

/// Whether the job has copied its file.
pub fn has_run(mirror: &Mirror, name: &str) -> bool {
    mirror.path(format!("r-{name}/file")).exists()
}

/// A daemon over all jobs, or those that are named.
pub fn daemon(mirror: &Mirror, more: &[&str]) -> Running {
    start(daemon_command(mirror, more))
}

pub fn daemon_command(mirror: &Mirror, more: &[&str]) -> Command {
    let mut command = mirror.program(&["sync"]);
    command.args(more);
    command
}

/// How many lines of the log have this in them.
pub fn logged(mirror: &Mirror, what: &str) -> usize {
    let log = std::fs::read_to_string(mirror.state.join("twinfold.log")).unwrap_or_default();
    log.lines().filter(|line| line.contains(what)).count()
}

#[track_caller]
pub fn wait_for_log(mirror: &Mirror, what: &str, times: usize) {
    wait_until(&format!("the log says {what:?} {times} times"), || logged(mirror, what) >= times);
}

/// Tells it to stop, which it must do soon and with 0.
#[track_caller]
pub fn stop(running: Running) -> Output {
    running.signal(Signal::TERM);
    let (output, took) = running.wait_for(Duration::from_secs(20));
    assert!(took < Duration::from_secs(3), "it took {took:?} to stop");
    output.expect(0)
}
