//! What is opened, and in which order: no link is followed, whatever was planted where, and nothing
//! is open to others before its time.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]

mod common;

use common::mounts::tmpfs;
use common::program::{Output, finish, start_if_there};
use common::tree::{chmod, mkdir, mkfifo, remove, symlink, write};
use common::{Mirror, NOBODY, is_root, settle, skip};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs once under strace with these options; `None`, said loudly, where there is none. The second
/// value is what it traced.
fn traced(mirror: &Mirror, options: &[&str]) -> Option<(Output, String)> {
    let trace = mirror.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace).args(options).arg(mirror.program_path());
    command.args(["sync", "--once"]).args(mirror.roots());
    mirror.isolate(&mut command);
    let Some(running) = start_if_there(command) else {
        skip("there is no strace here");
        return None;
    };
    let output = running.wait();
    Some((output, fs::read_to_string(trace).unwrap_or_default()))
}

/// A tree in which every kind of work is to be done on the second run.
fn with_work_to_do() -> Mirror {
    let mirror = Mirror::new();
    for path in ["same", "changed", "gone", "deep/er/changed", "deep/gone", "kind"] {
        write(mirror.in_source(path), path);
    }
    symlink("same", mirror.in_source("link"));
    mkfifo(mirror.in_source("pipe"));
    mirror.sync();
    write(mirror.in_source("changed"), "other content");
    write(mirror.in_source("deep/er/changed"), vec![b'x'; 2 << 20]);
    chmod(mirror.in_source("same"), 0o600);
    chmod(mirror.in_source("deep"), 0o700);
    for path in ["gone", "deep/gone", "kind"] {
        remove(mirror.in_source(path));
    }
    write(mirror.in_source("kind/file"), "a folder now");
    write(mirror.in_source("new/file"), "new");
    mirror
}

#[test]
fn without_openat2_the_program_does_the_same() {
    for refusal in ["ENOSYS", "EPERM"] {
        let mirror = with_work_to_do();
        let inject = format!("inject=openat2:error={refusal}");
        let Some((output, trace)) = traced(&mirror, &["-e", "trace=openat2", "-e", &inject]) else { return };
        output.expect(0);
        mirror.assert_in_step();
        assert!(trace.contains(refusal), "it was refused");
        settle();
        let Some((output, _)) = traced(&mirror, &["-e", "trace=openat2", "-e", &inject]) else { return };
        assert!(output.expect(0).stdout.contains("nothing to do"));
    }
}

#[test]
fn without_openat2_links_and_mounts_are_left_alone_as_well() {
    let mirror = Mirror::new();
    for path in ["folder/file", "disk/file", "bound/file", "file"] {
        write(mirror.in_source(path), "mirrored");
    }
    mirror.sync();
    write(mirror.path("outside/file"), "outside");
    remove(mirror.in_replica("folder"));
    symlink(mirror.path("outside"), mirror.in_replica("folder"));
    let Some(_disk) = tmpfs(&mirror.in_replica("disk")) else { return };
    let _bound = common::mounts::bind(&mirror.path("outside"), &mirror.in_replica("bound")).unwrap();
    let _file = common::mounts::bind(&mirror.path("outside/file"), &mirror.in_replica("file")).unwrap();
    for path in ["folder/file", "disk/file", "bound/file", "file"] {
        write(mirror.in_source(path), "mirrored and changed");
        chmod(mirror.in_source(path), 0o600);
    }
    let before =
        (common::tree::Tree::of(&mirror.path("outside")), common::tree::stamps(&mirror.path("outside")));
    let inject = ["-e", "trace=openat2", "-e", "inject=openat2:error=ENOSYS"];
    let Some((output, _)) = traced(&mirror, &inject) else { return };
    output.expect(3).says("mounted");
    let after =
        (common::tree::Tree::of(&mirror.path("outside")), common::tree::stamps(&mirror.path("outside")));
    assert!(before == after, "outside was changed");
    assert_eq!(fs::read(mirror.in_replica("folder/file")).unwrap(), b"mirrored and changed");
}

#[test]
fn no_path_into_a_tree_is_opened_and_its_root_by_its_name_only() {
    let mirror = with_work_to_do();
    let calls = "trace=openat,open,rename,unlink,mkdir,chmod,chown,lchown,fchownat,fchmodat,renameat2,\
                 unlinkat,mkdirat,symlinkat,mknodat,utimensat,linkat";
    let Some((output, trace)) = traced(&mirror, &["-e", calls]) else { return };
    output.expect(0);
    mirror.assert_in_step();
    let roots = [&mirror.source, &mirror.replica].map(|root| root.to_str().unwrap().to_owned());
    let mut seen = 0;
    for line in trace.lines() {
        for root in &roots {
            for path in [root, &root[1..]] {
                assert!(!line.contains(&format!("\"{path}")), "by path: {line}");
            }
            let (_, name) = root.rsplit_once('/').unwrap();
            seen += usize::from(line.contains("openat(") && line.contains(&format!(", \"{name}\", ")));
        }
        if line.contains("openat(") && line.contains("O_CREAT") {
            assert!(line.contains("O_NOFOLLOW") || !line.contains(".twinfold-"), "{line}");
        }
    }
    assert!(seen >= 2, "the trace shows how the roots were opened");
}

#[test]
fn folders_in_which_others_could_swap_something_are_listed_from_their_handle() {
    let mirror = Mirror::new();
    write(mirror.in_source("folder/sub/file"), "x");
    mirror.run(&[]).expect(0);
    let by_name = |line: &&str| {
        let path = line.split('"').nth(1).unwrap_or_default().strip_prefix("/proc/self/fd/");
        path.and_then(|path| path.split_once('/')).is_some_and(|(_, name)| !name.is_empty())
    };
    for mode in [0o777, 0o775, 0o1777] {
        for folder in ["", "folder", "folder/sub"] {
            chmod(mirror.in_source(folder), mode);
        }
        let Some((output, trace)) = traced(&mirror, &["-e", "trace=openat,open"]) else { return };
        output.expect(0);
        let opened: Vec<&str> = trace.lines().filter(by_name).collect();
        assert!(opened.is_empty(), "{opened:?}");
    }
}

/// What an attacker would plant at a name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Planted {
    Link,
    HardLink,
    Pipe,
    Folder,
}

fn plant(what: Planted, victim: &Path, at: &Path) {
    remove(at);
    match what {
        Planted::Link => symlink(victim, at),
        Planted::HardLink => fs::hard_link(victim, at).unwrap(),
        Planted::Pipe => mkfifo(at),
        Planted::Folder => mkdir(at),
    }
}

#[test]
fn whatever_is_planted_at_a_file_of_the_state_is_neither_followed_nor_written_to() {
    for suffix in ["", "-wal", "-shm", "-journal", ".lock", "twinfold.log"] {
        for what in [Planted::Link, Planted::HardLink, Planted::Pipe, Planted::Folder] {
            let mirror = Mirror::new();
            write(mirror.in_source("file"), "x");
            mirror.sync();
            let manifest = mirror.manifest();
            let target = if suffix.ends_with("log") {
                mirror.state.join(suffix)
            } else {
                PathBuf::from(format!("{}{suffix}", manifest.display()))
            };
            let victim = mirror.path("victim");
            write(&victim, "of somebody else");
            let before = common::tree::stamps(&mirror.path("victim"));
            plant(what, &victim, &target);
            let planted = common::tree::stamps(&mirror.path("victim"));
            write(mirror.in_source("new"), "new");
            let output = mirror.run(&[]);
            let case = format!("{what:?} at {}: {output:?}", target.display());
            assert_eq!(output.code, 2, "{case}");
            assert!(output.stderr.contains(target.to_str().unwrap()), "it says which: {case}");
            assert!(!mirror.in_replica("new").exists(), "{case}");
            assert_eq!(fs::read(&victim).unwrap(), b"of somebody else", "{case}");
            assert!(common::tree::stamps(&mirror.path("victim")) == planted, "{case}");
            if what != Planted::HardLink {
                assert!(before == planted, "the test itself left it alone");
            }
        }
    }
}

#[test]
fn old_logs_are_replaced_whatever_is_planted_there() {
    for what in [Planted::Link, Planted::HardLink, Planted::Pipe, Planted::Folder] {
        let mirror = Mirror::new();
        mirror.write_config("home/twinfold/config.toml", "[log]\nmax_size = \"200B\"\nkeep = 2\n");
        let victim = mirror.path("victim");
        write(&victim, "of somebody else");
        for number in 1..=2 {
            plant(what, &victim, &mirror.state.join(format!("twinfold.log.{number}")));
        }
        for number in 0..5 {
            write(mirror.in_source(format!("file{number}")), "x");
            mirror.run(&[]).expect(0);
        }
        assert_eq!(fs::read(&victim).unwrap(), b"of somebody else", "{what:?}");
        mirror.assert_in_step();
        let mut logs = 0;
        for entry in fs::read_dir(&mirror.state).unwrap().map(Result::unwrap) {
            let found = entry.metadata().unwrap();
            if found.is_file() && entry.file_name().to_str().unwrap().starts_with("twinfold.log") {
                assert_eq!(found.permissions().mode() & 0o777, 0o600, "{what:?}");
                logs += 1;
            }
        }
        assert!(logs > 0, "{what:?}");
    }
}

#[test]
fn state_and_config_of_another_user_are_refused_to_root() {
    if !is_root() {
        return skip("giving files away needs root");
    }
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "x");
    mirror.sync();
    let lock = PathBuf::from(format!("{}.lock", mirror.manifest().display()));
    for file in [mirror.manifest(), lock, mirror.state.join("twinfold.log")] {
        chown(&file, Some(NOBODY), None).unwrap();
        mirror.run(&[]).expect(2).says("belongs to user");
        chown(&file, Some(0), None).unwrap();
    }
    let approve = || {
        let mut command = mirror.program(&["approve"]);
        command.args(mirror.roots());
        finish(command)
    };
    approve().expect(1).says("no deletes");
    for state in [mirror.manifest(), mirror.state.clone()] {
        chown(&state, Some(NOBODY), None).unwrap();
        approve().expect(2).says("belongs to user");
        mirror.run(&[]).expect(2).says("belongs to user");
        chown(&state, Some(0), None).unwrap();
    }
    // Also one that all may write to, each his own: its owner may do more.
    let folder = mirror.path("sticky");
    mkdir(&folder);
    let manifest = folder.join("m.db");
    for (owner, code) in [(NOBODY, 2), (0, 0)] {
        chown(&folder, Some(owner), None).unwrap();
        chmod(&folder, 0o1777);
        mirror.run(&["--manifest", manifest.to_str().unwrap()]).expect(code);
    }
    let config = mirror.write_config("config.toml", "");
    let run = || mirror.run(&["--config", config.to_str().unwrap()]);
    run().expect(0);
    for mode in [0o620, 0o602, 0o666] {
        chmod(&config, mode);
        run().expect(2).says("write to it");
    }
    chmod(&config, 0o600);
    chown(&config, Some(NOBODY), None).unwrap();
    run().expect(2).says("another user");
}

#[test]
fn messages_that_name_roots_and_files_drive_no_terminal() {
    let mirror = Mirror::new();
    let evil = "a\x1b[2J\nERROR forged \u{202e}x";
    for (source, replica) in [(evil, "replica"), ("source", evil)] {
        if source == "source" {
            write(mirror.path(evil), "a file is no replica");
        }
        let mut command = mirror.program(&["sync", "--once", "--source", source, "--replica", replica]);
        command.arg("--manifest").arg(mirror.state.join("m.db"));
        let output = finish(command).expect(5);
        for text in [&output.stderr, &output.stdout] {
            assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
            assert!(
                !text.lines().any(|line| line.contains("ERROR forged") && !line.contains("\\n")),
                "{text:?}"
            );
        }
        assert!(output.stderr.contains("\\x1b[2J\\n"), "{output:?}");
    }
}

/// The lines of a trace that are about files of this content's temporaries, in order.
fn calls<'t>(trace: &'t str, names: &[&str]) -> Vec<&'t str> {
    trace.lines().filter(|line| names.iter().any(|name| line.contains(&format!("{name}(")))).collect()
}

#[test]
fn what_is_made_is_closed_until_its_owner_and_then_its_mode_are_set() {
    if !is_root() {
        return skip("giving files away needs root");
    }
    let mirror = Mirror::new();
    write(mirror.in_source("folder/program"), "x");
    chown(mirror.in_source("folder/program"), Some(NOBODY), Some(NOBODY)).unwrap();
    chmod(mirror.in_source("folder/program"), 0o4755);
    chown(mirror.in_source("folder"), Some(NOBODY), Some(NOBODY)).unwrap();
    chmod(mirror.in_source("folder"), 0o2777);
    let options =
        ["-y", "-e", "trace=openat,mkdirat,fchown,fchownat,chown,fchmod,chmod,fchmodat,renameat2,renameat"];
    let Some((output, trace)) = traced(&mirror, &options) else { return };
    output.expect(0);
    mirror.assert_in_step();
    let made: Vec<&str> = trace.lines().filter(|line| line.contains(".twinfold-")).collect();
    let created: Vec<&&str> =
        made.iter().filter(|line| line.contains("O_CREAT") || line.contains("mkdirat(")).collect();
    assert!(created.len() >= 2, "{trace}");
    for line in created {
        assert!(line.contains("0600") || line.contains("0700"), "made for its owner only: {line}");
        assert!(line.contains("mkdirat(") || line.contains("O_EXCL"), "{line}");
    }
    let at = |name: &str, what: &str| {
        let found = calls(&trace, &[name]).into_iter().find(|line| line.contains(what));
        let line = found.unwrap_or_else(|| panic!("no {name} with {what}: {trace}"));
        trace.find(line).unwrap()
    };
    // The file: given away while nobody else can read it, set-id last, then named.
    let (owner, mode) = (at("fchownat", ".twinfold-"), at("fchmod", "04755"));
    assert!(owner < mode, "a user's set-id file must never be root's");
    assert!(mode < at("renameat2", "\"program\""));
    // The folder: opened to others after what it holds is there.
    assert!(at("renameat2", "\"program\"") < at("fchmodat", "02777"));
}

#[test]
fn a_folder_that_gets_another_owner_is_closed_to_the_old_one_first() {
    if !is_root() {
        return skip("giving files away needs root");
    }
    let mirror = Mirror::new();
    mkdir(mirror.in_source("folder"));
    chown(mirror.in_source("folder"), Some(NOBODY), Some(NOBODY)).unwrap();
    chmod(mirror.in_source("folder"), 0o770);
    mirror.sync();
    chown(mirror.in_source("folder"), Some(0), Some(0)).unwrap();
    write(mirror.in_source("folder/secret"), "not for the old owner");
    chmod(mirror.in_source("folder/secret"), 0o644);
    let Some((output, trace)) = traced(&mirror, &["-y", "-e", "trace=fchmodat,fchownat,renameat2"]) else {
        return;
    };
    output.expect(0);
    mirror.assert_in_step();
    let lines: Vec<&str> = trace.lines().collect();
    let closed = lines.iter().position(|line| line.contains("fchmodat(") && line.ends_with(" 000) = 0"));
    let filled = lines.iter().position(|line| line.contains("\"secret\""));
    assert!(closed.unwrap() < filled.unwrap(), "{trace}");
}
