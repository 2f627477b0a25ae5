//! One run makes the replica an exact mirror, whatever the source holds.

mod common;

use common::program::finish;
use common::tree::{chmod, mkdir, mkfifo, mtime, name, remove, set_mtime, symlink, write};
use common::{Mirror, is_root, settle, skip};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

#[test]
fn files_folders_and_links_are_mirrored_and_then_left_alone() {
    let mirror = Mirror::new();
    for (path, content) in
        [("a.txt", "alpha"), ("a/x", "below a"), ("a0", ""), ("deep/er/and/deeper", "d"), ("zero", "")]
    {
        write(mirror.in_source(path), content);
    }
    write(mirror.in_source("large"), vec![7; 3 << 20]);
    for folder in ["empty", "chain/of/empty/ones"] {
        mkdir(mirror.in_source(folder));
    }
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn an_empty_source_makes_an_empty_replica() {
    let mirror = Mirror::new();
    mirror.sync();
    assert!(mirror.replica.is_dir());
}

#[test]
fn links_are_copied_as_text_and_never_followed() {
    let mirror = Mirror::new();
    let outside = mirror.path("outside");
    write(outside.join("secret"), "not ours");
    write(mirror.in_source("file"), "content");
    mkdir(mirror.in_source("folder"));
    for (target, link) in [
        ("file", "to-file"),
        ("folder", "to-folder"),
        ("nowhere", "dangling"),
        ("../outside", "to-parent"),
        ("..", "dots"),
        ("loop", "loop"),
        ("/etc/passwd", "absolute"),
        ("file/", "closing-slash"),
    ] {
        symlink(target, mirror.in_source(link));
    }
    symlink(&outside, mirror.in_source("folder/out"));
    symlink(name(b"not \xff utf-8"), mirror.in_source("bytes"));
    symlink("x".repeat(4000), mirror.in_source("long"));
    set_mtime(mirror.in_source("dangling"), 1_000_000_000, 5);
    settle();
    mirror.sync();
    mirror.assert_idle();
    assert_eq!(mtime(mirror.in_replica("dangling")), (1_000_000_000, 5));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn names_are_any_bytes_but_slash_and_nul() {
    let mirror = Mirror::new();
    let longest = [b'n'; 255];
    let every_byte: Vec<u8> = (1..=255).filter(|&b| b != b'/').collect();
    let names: [&[u8]; 16] = [
        b"caf\xe9",
        b"\xff\xfe",
        b"new\nline",
        b"tab\tand\rreturn",
        b"\x1b[31mred",
        b"-leading-dash",
        b"--delete",
        b" ",
        b"...",
        b"%s%n",
        b"quote\"'`$HOME",
        b"back\\slash",
        b"\x01",
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
        &longest,
    ];
    for bytes in names.into_iter().chain([&every_byte[..254], &every_byte[100..]]) {
        if bytes.len() <= 255 {
            write(mirror.in_source("files").join(name(bytes)), bytes);
            write(mirror.in_source("folders").join(name(bytes)).join(name(bytes)), "inside");
        }
    }
    for pair in ["case", "CASE"] {
        write(mirror.in_source(pair), pair);
    }
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn names_that_sort_around_a_slash_keep_their_places() {
    let mirror = Mirror::new();
    for path in ["a/x", "a.txt", "a-b/y", "a!", "a0", "aa/z", "a b", "a/.hidden", "a/x.d/y"] {
        write(mirror.in_source(path), path);
    }
    settle();
    mirror.sync();
    mirror.assert_idle();
    remove(mirror.in_source("a"));
    write(mirror.in_source("a"), "a file now");
    mirror.sync();
}

#[test]
fn permissions_are_mirrored_for_files_and_folders() {
    let mirror = Mirror::new();
    let modes = [0o644, 0o600, 0o755, 0o777, 0o444, 0o4755, 0o2755, 0o6711, 0o1777];
    for mode in modes {
        let (file, folder) = (format!("f{mode:o}"), format!("d{mode:o}"));
        write(mirror.in_source(&file), &file);
        write(mirror.in_source(&folder).join("x"), "inside");
        chmod(mirror.in_source(&file), mode);
        chmod(mirror.in_source(&folder), mode | 0o700);
    }
    if is_root() {
        write(mirror.in_source("nobody-may"), "");
        chmod(mirror.in_source("nobody-may"), 0);
        mkdir(mirror.in_source("nobody-enters"));
        chmod(mirror.in_source("nobody-enters"), 0);
    }
    chmod(&mirror.source, 0o751);
    settle();
    mirror.sync();
    mirror.assert_idle();
    assert_eq!(fs::metadata(mirror.in_replica("f6711")).unwrap().mode() & 0o7777, 0o6711);
    assert_eq!(fs::metadata(&mirror.replica).unwrap().mode() & 0o7777, 0o751);
}

#[test]
fn owners_are_mirrored_as_root() {
    if !is_root() {
        return skip("only root may give files away");
    }
    let mirror = Mirror::new();
    write(mirror.in_source("d/file"), "content");
    symlink("file", mirror.in_source("d/link"));
    mkfifo(mirror.in_source("d/pipe"));
    for (path, uid, gid) in
        [("d", 1234, 4321), ("d/file", 54321, 12), ("d/link", 7, 8), ("d/pipe", 65_000_000, 1)]
    {
        std::os::unix::fs::lchown(mirror.in_source(path), Some(uid), Some(gid)).unwrap();
    }
    // A chown clears set-id bits, so they come last.
    chmod(mirror.in_source("d/file"), 0o6755);
    settle();
    mirror.sync();
    mirror.assert_idle();
    std::os::unix::fs::chown(mirror.in_source("d/file"), Some(99), None).unwrap();
    mirror.sync();
    assert_eq!(fs::metadata(mirror.in_replica("d/file")).unwrap().uid(), 99);
}

#[test]
fn times_keep_their_nanoseconds_before_1970_and_after_2038() {
    let mirror = Mirror::new();
    let times = [
        (0, 0),
        (0, 1),
        (-1, 999_999_999),
        (-86_400 * 365 * 20, 123_456_789),
        (2_147_483_648, 1),
        (4_294_967_296, 500_000_000),
        (1_700_000_000, 999_999_999),
    ];
    for (number, (seconds, nanos)) in times.into_iter().enumerate() {
        let at = |kind: &str| mirror.in_source(format!("{kind}{number}"));
        write(at("file"), "x");
        write(at("folder").join("inside"), "x");
        symlink("x", at("link"));
        for kind in ["file", "folder", "link"] {
            set_mtime(at(kind), seconds, nanos);
        }
    }
    set_mtime(&mirror.source, 1_234_567_890, 987_654_321);
    settle();
    mirror.sync();
    mirror.assert_idle();
    assert_eq!(mtime(mirror.in_replica("folder2")), (-1, 999_999_999));
    assert_eq!(mtime(&mirror.replica), (1_234_567_890, 987_654_321));
}

#[test]
fn a_folders_time_stays_right_when_its_contents_change() {
    let mirror = Mirror::new();
    write(mirror.in_source("d/e/old"), "old");
    mirror.sync();
    write(mirror.in_source("d/e/new"), "new");
    remove(mirror.in_source("d/e/old"));
    set_mtime(mirror.in_source("d/e"), 1_000_000_000, 1);
    set_mtime(mirror.in_source("d"), 999_999_999, 2);
    settle();
    mirror.sync();
    mirror.assert_idle();
}

/// What can be at a path.
const KINDS: [&str; 6] = ["file", "folder", "link", "dangling", "folder-link", "pipe"];

fn make(kind: &str, path: &Path) {
    match kind {
        "file" => write(path, "a file's content"),
        "folder" => {
            write(path.join("one"), "1");
            write(path.join("two/three"), "3");
        }
        "link" => symlink("../target-file", path),
        "dangling" => symlink("nowhere", path),
        "folder-link" => symlink("../target-folder", path),
        _ => mkfifo(path),
    }
}

#[test]
fn a_path_may_become_any_other_kind() {
    let mirror = Mirror::new();
    write(mirror.in_source("target-file"), "untouched");
    write(mirror.in_source("target-folder/inside"), "untouched");
    mkdir(mirror.in_source("changes"));
    let pairs = || KINDS.iter().flat_map(|old| KINDS.iter().map(move |new| (old, new)));
    let path = |old, new| mirror.in_source(format!("changes/{old}-{new}"));
    for (old, new) in pairs() {
        make(old, &path(old, new));
    }
    mirror.sync();
    for (old, new) in pairs() {
        remove(path(old, new));
        make(new, &path(old, new));
    }
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn a_folder_of_a_thousand_entries_becomes_a_file_a_link_and_a_folder_again() {
    let mirror = Mirror::new();
    let path = mirror.in_source("changing");
    let fill = || {
        for number in 0..1000 {
            write(path.join(format!("{:02}/{number}", number % 10)), number.to_string());
        }
    };
    write(mirror.in_source("changing.neighbour"), "stays");
    fill();
    mirror.sync();
    remove(&path);
    write(&path, "a file");
    mirror.run(&["--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
    remove(&path);
    symlink("changing.neighbour", &path);
    mirror.sync();
    remove(&path);
    fill();
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn pipes_are_made_anew_and_never_opened() {
    let mirror = Mirror::new();
    mkfifo(mirror.in_source("pipe"));
    chmod(mirror.in_source("pipe"), 0o622);
    set_mtime(mirror.in_source("pipe"), 1_000_000_000, 77);
    settle();
    mirror.sync();
    mirror.assert_idle();
    assert!(fs::symlink_metadata(mirror.in_replica("pipe")).unwrap().file_type().is_fifo());
    chmod(mirror.in_source("pipe"), 0o600);
    assert_eq!(mirror.summary(&[])["metadata"], 1);
    mirror.assert_in_step();
}

#[test]
fn any_umask_gives_the_same_replica() {
    let mirror = Mirror::new();
    write(mirror.in_source("d/file"), "content");
    chmod(mirror.in_source("d/file"), 0o666);
    chmod(mirror.in_source("d"), 0o777);
    symlink("file", mirror.in_source("d/link"));
    mkfifo(mirror.in_source("d/pipe"));
    for umask in ["000", "022", "077", "777"] {
        remove(&mirror.replica);
        for file in fs::read_dir(&mirror.state).unwrap() {
            remove(file.unwrap().path());
        }
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "umask $0; exec \"$@\"", umask]).arg(mirror.program_path());
        command.args(["--once"]).args(mirror.roots());
        mirror.isolate(&mut command);
        finish(command).expect(0);
        mirror.assert_in_step();
        let manifest = fs::metadata(mirror.manifest()).unwrap();
        assert_eq!(manifest.mode() & 0o777, 0o600, "umask {umask}");
    }
}

#[test]
fn read_only_folders_are_kept_in_step_for_a_user_who_is_not_root() {
    let mirror = Mirror::of_an_ordinary_user();
    for path in ["closed/stays", "closed/changes", "closed/goes", "closed/sub/below", "going/x", "going/y/z"]
    {
        write(mirror.in_source(path), "old");
    }
    let set = |modes: &[(&str, u32)]| {
        mirror.give_away(&mirror.source);
        for (path, mode) in modes {
            chmod(mirror.in_source(path), *mode);
        }
    };
    set(&[("closed/sub", 0o555), ("closed", 0o555), ("going/y", 0o500), ("going", 0o555)]);
    mirror.sync();
    set(&[("closed", 0o755), ("closed/sub", 0o755)]);
    write(mirror.in_source("closed/new"), "new");
    write(mirror.in_source("closed/changes"), "other");
    write(mirror.in_source("closed/sub/new"), "new");
    remove(mirror.in_source("closed/goes"));
    set(&[("closed/sub", 0o555), ("closed", 0o555)]);
    mirror.sync();
    // Its replica is still closed when it is to go.
    chmod(mirror.in_source("going"), 0o755);
    chmod(mirror.in_source("going/y"), 0o755);
    remove(mirror.in_source("going"));
    mirror.sync();
    for path in ["closed", "closed/sub"] {
        chmod(mirror.in_source(path), 0o755);
        chmod(mirror.in_replica(path), 0o755);
    }
}

#[test]
fn relative_roots_doubled_slashes_and_links_lead_to_the_same_mirror() {
    let mirror = Mirror::new();
    write(mirror.in_source("file"), "content");
    symlink("source", mirror.path("link"));
    for (source, replica) in [
        ("source", "replica"),
        ("./source//", "replica/"),
        ("link", "source/../replica"),
        ("link/.", "replica"),
    ] {
        finish(mirror.program(&["sync", "--once", "--source", source, "--replica", replica])).expect(0);
        mirror.assert_in_step();
        mirror.manifest();
    }
}
