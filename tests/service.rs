//! The daemon as a service: what it tells the service manager, and what the packaged units say.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::jobs::{configure, daemon_command, plant, plant_all, stop, wait_for_log};
use common::program::{Running, finish, start, wait_until};
use common::tree::{Tree, assert_same, write};
use common::{Mirror, is_root, skip};
use rustix::process::Signal;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A service manager that listens.
struct Manager {
    socket: UnixDatagram,
    name: String,
    heard: Vec<String>,
}

impl Manager {
    fn at(mirror: &Mirror) -> Self {
        let path = mirror.path("notify");
        Self::with(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned())
    }

    fn with(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { socket, name, heard: Vec::new() }
    }

    fn start(&self, mirror: &Mirror, watchdog: Option<Duration>) -> Running {
        let mut command = daemon_command(mirror, &[]);
        command.env("NOTIFY_SOCKET", &self.name);
        if let Some(limit) = watchdog {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        start(command)
    }

    /// Takes what came meanwhile.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(count) = self.socket.recv(&mut buffer) {
            self.heard.push(String::from_utf8(buffer[..count].to_vec()).unwrap());
        }
    }

    #[track_caller]
    fn wait_for(&mut self, what: &str, mut is_it: impl FnMut(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            self.listen();
            if let Some(place) = self.heard.iter().position(|told| is_it(told)) {
                // What came before is past.
                return self.heard.drain(..=place).next_back().unwrap();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "waited in vain for {what}: {:?}", self.heard);
        }
    }

    fn pings(&mut self) -> usize {
        self.listen();
        let count = self.heard.iter().filter(|told| *told == "WATCHDOG=1").count();
        self.heard.clear();
        count
    }
}

#[test]
fn it_is_ready_when_its_jobs_are_locked_and_says_what_it_does_until_it_stops() {
    let mirror = Mirror::new();
    let slow = "on_success = [\"/bin/sh\", \"-c\", \"sleep 0.5\"]";
    configure(&mirror, "interval = \"1h\"", &[("a", slow), ("b", "")]);
    plant_all(&mirror, &["a", "b"]);
    let mut manager = Manager::at(&mirror);
    let running = manager.start(&mirror, None);
    manager.wait_for("READY", |told| told == "READY=1");
    for name in ["a", "b"] {
        finish(mirror.program(&["--once", "--job", name])).expect(11);
    }
    manager.wait_for("both running", |told| told == "STATUS=running a, b");
    manager.wait_for("one running", |told| told == "STATUS=running a");
    let idle = manager.wait_for("what is next", |told| told.starts_with("STATUS=next is "));
    assert!(idle.starts_with("STATUS=next is a at ") || idle.starts_with("STATUS=next is b at "), "{idle}");
    fs::remove_file(mirror.path("s-b/file")).unwrap();
    running.signal(Signal::USR1);
    manager.wait_for("what a job ended with", |told| told.ends_with("b ended with 4"));
    stop(running);
    manager.wait_for("STOPPING", |told| told == "STOPPING=1");
}

#[test]
fn sighup_is_a_reload_with_its_time_and_a_broken_config_is_in_the_status() {
    let mirror = Mirror::new();
    configure(&mirror, "interval = \"1h\"", &[("a", "")]);
    plant(&mirror, "a");
    let mut manager = Manager::at(&mirror);
    let running = manager.start(&mirror, None);
    manager.wait_for("READY", |told| told == "READY=1");
    let mut last = 0;
    for (text, status) in [("oops = 1\n", true), ("", true), ("interval = \"2h\"\n", false)] {
        if status {
            mirror.write_config("home/twinfold/config.toml", text);
        } else {
            configure(&mirror, text, &[("a", "")]);
        }
        running.signal(Signal::HUP);
        let told = manager.wait_for("RELOADING", |told| told.starts_with("RELOADING=1\nMONOTONIC_USEC="));
        let moment: u64 = told.trim_start_matches("RELOADING=1\nMONOTONIC_USEC=").trim().parse().unwrap();
        assert!(moment > last, "{told}");
        last = moment;
        manager.wait_for("READY again", |told| told == "READY=1");
        manager.wait_for("a status", |told| {
            told.starts_with("STATUS=") && told.contains("the new configuration is not used") == status
        });
    }
    stop(running);
}

#[test]
fn the_watchdog_hears_of_a_daemon_that_turns_over_also_while_a_job_is_busy_and_of_no_other() {
    let mirror = Mirror::new();
    let slow = "on_success = [\"/bin/sh\", \"-c\", \"touch busy; sleep 1; rm busy\"]";
    configure(&mirror, "interval = \"1h\"", &[("a", slow)]);
    plant(&mirror, "a");
    let mut manager = Manager::at(&mirror);
    let running = manager.start(&mirror, Some(Duration::from_millis(400)));
    wait_until("a job is busy", || mirror.path("busy").exists());
    manager.pings();
    std::thread::sleep(Duration::from_millis(800));
    assert!(mirror.path("busy").exists(), "it is still busy");
    let busy = manager.pings();
    wait_until("it is idle", || !mirror.path("busy").exists());
    manager.pings();
    std::thread::sleep(Duration::from_secs(1));
    let idle = manager.pings();
    // At least each half of the limit; not without end.
    assert!((4..=20).contains(&busy) && (5..=20).contains(&idle), "{busy} while busy, {idle} while idle");
    running.freeze();
    manager.pings();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(manager.pings(), 0);
    running.signal(Signal::CONT);
    stop(running);
    // Meant for another process, it is not ours.
    let mut command = daemon_command(&mirror, &[]);
    command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "200000").env("WATCHDOG_PID", "1");
    let running = start(command);
    manager.wait_for("READY", |told| told == "READY=1");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(manager.pings(), 0);
    stop(running);
}

#[test]
fn the_socket_may_have_an_abstract_name_and_one_that_is_not_there_is_only_a_warning() {
    let mirror = Mirror::new();
    configure(&mirror, "interval = \"1h\"", &[("a", "")]);
    plant(&mirror, "a");
    let name = format!("twinfold-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut manager = Manager::with(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"));
    let running = manager.start(&mirror, None);
    manager.wait_for("READY", |told| told == "READY=1");
    stop(running);
    let mut command = daemon_command(&mirror, &[]);
    command.env("NOTIFY_SOCKET", mirror.path("nobody"));
    let running = start(command);
    wait_for_log(&mirror, "run 2 of a", 1);
    assert!(stop(running).stderr.contains("NOTIFY_SOCKET"));
}

#[test]
fn a_manager_that_reads_nothing_keeps_nobody_waiting() {
    let mirror = Mirror::new();
    configure(&mirror, "interval = \"1h\"", &[("a", "")]);
    plant(&mirror, "a");
    let manager = Manager::at(&mirror);
    let running = manager.start(&mirror, Some(Duration::from_millis(8)));
    // Far more pings than a socket's queue takes.
    std::thread::sleep(Duration::from_secs(1));
    running.signal(Signal::USR1);
    wait_for_log(&mirror, "run 2 of a", 1);
    stop(running);
}

#[test]
fn nice_and_io_priority_hold_for_the_daemon_and_its_runs() {
    let mirror = Mirror::new();
    let hook = "on_success = [\"/bin/sh\", \"-c\", \"cat /proc/self/stat > stat-$TWINFOLD_RUN_ID\"]\ninterval = \"1h\"\n";
    configure(&mirror, &format!("{hook}nice = 7\nio_priority = \"idle\""), &[("a", "")]);
    plant(&mirror, "a");
    let running = start(daemon_command(&mirror, &[]));
    let nice = |run: u32| {
        let path = mirror.path(format!("stat-{run}"));
        wait_until("the hook has run", || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
        let stat = fs::read_to_string(path).unwrap();
        let fields: Vec<String> =
            stat.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect();
        fields[16].clone()
    };
    assert_eq!(nice(1), "7");
    configure(&mirror, &format!("{hook}nice = 12"), &[("a", "")]);
    running.signal(Signal::HUP);
    wait_for_log(&mirror, "the configuration was read again", 1);
    running.signal(Signal::USR1);
    assert_eq!(nice(2), "12");
    let output = stop(running);
    assert!(!output.stderr.contains("nice"), "{output:?}");
    for wrong in
        ["nice = 20", "nice = \"low\"", "io_priority = \"realtime:0\"", "io_priority = \"best-effort:8\""]
    {
        configure(&mirror, wrong, &[("a", "")]);
        finish(daemon_command(&mirror, &[])).expect(2);
    }
}

#[test]
fn a_priority_that_is_not_allowed_is_a_warning() {
    let mirror = Mirror::of_an_ordinary_user();
    mirror.write_config("home/twinfold/config.toml", "nice = -20\ninterval = \"1h\"\n");
    mirror.give_away(&mirror.path("home"));
    write(mirror.in_source("file"), "x");
    mirror.give_away(&mirror.source);
    let mut command = mirror.program(&["sync"]);
    command.args(mirror.roots());
    let running = start(command);
    wait_until("it runs all the same", || mirror.in_replica("file").exists());
    let output = stop(running);
    assert!(output.stderr.contains("nice = -20 is not allowed here"), "{output:?}");
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

const UNITS: [&str; 2] = ["twinfold.service", "twinfold@.service"];

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let mirror = Mirror::new();
    let mut names = Vec::new();
    for unit in UNITS {
        // The program is where a package puts it, which is not here.
        let text = fs::read_to_string(packaging().join(unit)).unwrap();
        let text = text.replace("/usr/bin/twinfold", mirror.program_path().to_str().unwrap());
        let path = mirror.path(unit.replace('@', "@documents"));
        fs::write(&path, text).unwrap();
        names.push(path);
    }
    let run = |arguments: &[&str], unit: &PathBuf| {
        let mut command = Command::new("systemd-analyze");
        command
            .args(arguments)
            .arg(unit)
            .env("SYSTEMD_UNIT_PATH", format!("{}:", mirror.path(".").display()));
        common::program::start_if_there(command).map(Running::wait)
    };
    for unit in &names {
        let Some(output) = run(&["verify", "--man=no"], unit) else {
            return skip("there is no systemd-analyze to look at the units");
        };
        let output = output.expect(0);
        let ours: Vec<&str> = output.stderr.lines().filter(|line| line.contains("twinfold")).collect();
        assert!(ours.is_empty(), "{ours:?}");
        // 5.0 of 10: the sandbox is as tight as mirroring anything anywhere lets it be.
        run(&["security", "--offline=yes", "--threshold=50"], unit).unwrap().expect(0);
    }
}

#[test]
fn the_units_give_the_program_no_mounts_of_its_own_and_run_options_that_it_has() {
    for unit in UNITS {
        let text = fs::read_to_string(packaging().join(unit)).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let value = |key: &str| {
            let found = lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{key} in {unit}"))
        };
        for own_mounts in [
            "Protect",
            "ReadWritePaths",
            "ReadOnlyPaths",
            "InaccessiblePaths",
            "Private",
            "DynamicUser",
            "RootDirectory",
            "BindPaths",
            "TemporaryFileSystem",
            "MountFlags",
            "RestrictSUIDSGID",
            "DevicePolicy",
        ] {
            assert!(!lines.iter().any(|line| line.starts_with(own_mounts)), "{own_mounts} in {unit}");
        }
        assert_eq!((value("Type"), value("StateDirectory")), ("notify", "twinfold"));
        assert!(value("WatchdogSec").parse::<u32>().unwrap() >= 30);
        let mirror = Mirror::new();
        let config = configure(&mirror, "", &[("documents", "")]);
        plant(&mirror, "documents");
        let line = value("ExecStart")
            .replace("%i", "documents")
            .replace("/var/lib/twinfold", mirror.state.to_str().unwrap());
        let line = line.replace("/etc/twinfold/config.toml", config.to_str().unwrap());
        let words: Vec<&str> = line.split_whitespace().skip(1).chain(["--once"]).collect();
        finish(mirror.program(&words)).expect(0);
        assert!(mirror.state.join("documents.db").exists());
        assert_eq!(mirror.state.join("documents.log").exists(), unit.contains('@'));
    }
}

#[test]
fn the_debian_package_names_files_that_are_there_and_starts_nothing_by_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table =
        toml::from_str(&fs::read_to_string(root.join("Cargo.toml")).unwrap()).unwrap();
    let deb = manifest["package"]["metadata"]["deb"].as_table().unwrap();
    let assets: Vec<(&str, &str)> = deb["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| (asset[0].as_str().unwrap(), asset[1].as_str().unwrap()))
        .collect();
    for (from, _) in &assets {
        let there = from
            .strip_suffix("/*")
            .map_or_else(|| root.join(from).is_file(), |folder| root.join(folder).is_dir());
        assert!(from.starts_with("target/") || there, "{from}");
    }
    assert!(assets.contains(&("config.toml", "etc/twinfold/config.toml")));
    assert_eq!(deb["conf-files"][0].as_str(), Some("/etc/twinfold/config.toml"));
    let units = &deb["systemd-units"][0];
    assert!(root.join(units["unit-scripts"].as_str().unwrap()).join(UNITS[0]).is_file());
    assert_eq!((units["enable"].as_bool(), units["start"].as_bool()), (Some(false), Some(false)));
}

#[test]
fn the_capabilities_of_the_units_are_enough_to_mirror_all_that_root_may() {
    if !is_root() {
        return skip("only root has capabilities to keep");
    }
    for unit in UNITS {
        let text = fs::read_to_string(packaging().join(unit)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let kept: Vec<String> = line
            .split_whitespace()
            .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
            .collect();
        let mirror = Mirror::new();
        common::versions::plant(&mirror.source, 1);
        write(mirror.in_source("owned"), "x");
        std::os::unix::fs::chown(mirror.in_source("owned"), Some(1234), Some(4321)).unwrap();
        common::tree::chmod(mirror.in_source("owned"), 0o6711);
        write(mirror.in_source("closed/file"), "x");
        common::tree::chmod(mirror.in_source("closed/file"), 0);
        std::os::unix::fs::chown(mirror.in_source("closed"), Some(1234), Some(4321)).unwrap();
        common::tree::chmod(mirror.in_source("closed"), 0);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            mirror.in_source("null"),
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::RUSR,
            rustix::fs::makedev(1, 3),
        )
        .unwrap();
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--bounding-set=-all,{}", kept.join(",")))
            .args(["--inh-caps=-all", "--no-new-privs"]);
        command.arg(mirror.program_path()).args(["sync", "--once"]).args(mirror.roots());
        mirror.isolate(&mut command);
        let Some(running) = common::program::start_if_there(command) else {
            return skip("there is no setpriv");
        };
        running.wait().expect(0);
        assert_same(&Tree::of(&mirror.source), &Tree::of(&mirror.replica));
    }
}
