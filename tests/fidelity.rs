//! A tree with every kind of entry, owner, attribute and ACL, looked at by rsync and by strace: rsync
//! sees no difference, and the second run makes no call that changes anything.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::mounts::does;
use common::program::finish;
use common::tree::{chmod, mkdir, mkfifo, name, set_attribute, set_mtime, symlink, write};
use common::{Mirror, is_root, settle, skip};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::{FileExt, chown, lchown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// Gives `path` an ACL in setfacl's own words, where there is a setfacl.
fn set_acl(arguments: &[&str], path: &Path) {
    let path = path.to_str().unwrap();
    if !does("setfacl", &[arguments, &[path]].concat()) {
        skip(&format!("setfacl {arguments:?} {path}: not installed, or no ACLs here"));
    }
}

fn build(mirror: &Mirror) {
    let at = |path: &str| mirror.in_source(path);
    for (path, content) in [
        ("plain", &b"content"[..]),
        ("empty", b""),
        ("-leading dash", b"x"),
        ("new\nline \x1b[31m", b"x"),
        ("folder/deep/er/file", b"deep"),
        ("folder.txt", b"sorts before the folder's content"),
        ("setuid", b"x"),
        ("setgid", b"x"),
        ("secret", b"x"),
        ("closed", b"x"),
        ("attributes", b"x"),
        ("acl", b"x"),
        ("capability", b"x"),
        ("linked", b"x"),
        ("ancient", b"x"),
        ("future", b"x"),
    ] {
        write(at(path), content);
    }
    write(mirror.source.join(name(b"not utf-8 \xff\xfe")), "x");
    write(at(&"n".repeat(255)), "x");
    mkdir(at("hollow/hollow/hollow"));
    for (target, link) in [
        ("plain", "link"),
        ("/nowhere/at/all", "dangling"),
        ("../..", "upwards"),
        ("loop", "loop"),
        ("folder", "to-folder"),
    ] {
        symlink(target, at(link));
        set_mtime(at(link), 1_234, 567);
    }
    mkfifo(at("fifo"));
    drop(UnixListener::bind(at("socket")).unwrap());
    for (linked, more) in [("linked", "folder/linked too"), ("link", "link again"), ("fifo", "folder/pipe")] {
        fs::hard_link(at(linked), at(more)).unwrap();
    }
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(4 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 2 << 20).unwrap();
    drop(sparse);
    mkdir(at("sticky"));
    mkdir(at("inheriting"));
    if is_root() {
        let node = |path: &str, kind, device| {
            mknodat(CWD, at(path), kind, Mode::from_raw_mode(0o640), device).unwrap();
        };
        node("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        node("disk", FileType::BlockDevice, rustix::fs::makedev(7, 99));
        for (path, uid, gid) in [
            ("setuid", 5, 6),
            ("setgid", 4_000_000, 77),
            ("capability", 8, 9),
            ("folder/deep", 12, 13),
            ("fifo", 14, 15),
        ] {
            chown(at(path), Some(uid), Some(gid)).unwrap();
        }
        lchown(at("dangling"), Some(33), Some(34)).unwrap();
        // cap_net_raw=ep as the kernel keeps it.
        let capability = [1_u8, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        set_attribute(at("capability"), "security.capability", capability);
    } else {
        skip("owners, device nodes and capabilities need root");
    }
    for path in ["attributes", "folder", "hollow/hollow"] {
        set_attribute(at(path), "user.text", "value");
        set_attribute(at(path), "user.bytes", [0_u8, 1, 254, 255]);
        set_attribute(at(path), "user.none", "");
    }
    set_acl(&["-m", "u:5:rw,g:7:r,m::rwx"], &at("acl"));
    set_acl(&["-m", "u:5:rwx"], &at("folder/deep"));
    set_acl(&["-d", "-m", "u:5:rwx,g::r,o::-"], &at("inheriting"));
    write(at("inheriting/heir/of/all"), "x");
    set_acl(&["-m", "u:5:r"], &at("fifo"));
    for (path, mode) in [
        ("setuid", 0o4755),
        ("setgid", 0o2711),
        ("secret", 0o600),
        ("closed", 0o000),
        ("sticky", 0o1777),
        ("folder", 0o2750),
        ("hollow", 0o700),
    ] {
        chmod(at(path), mode);
    }
    set_mtime(at("ancient"), -1_000_000_000, 999_999_999);
    set_mtime(at("future"), 4_102_444_800, 1);
    set_mtime(at("hollow"), 86_400, 42);
    set_mtime(&mirror.source, 1_700_000_000, 7);
}

#[test]
fn rsync_sees_no_difference_in_a_tree_of_everything() {
    let mirror = Mirror::new();
    build(&mirror);
    settle();
    mirror.sync();
    if !does("rsync", &["--version"]) {
        return skip("rsync is not installed: the replica was compared by this test alone");
    }
    let (from, to) = (format!("{}/", mirror.source.display()), format!("{}/", mirror.replica.display()));
    let options = ["-aHAXSn", "--delete", "--itemize-changes", "--modify-window=-1", &from, &to];
    let output = Command::new("rsync").args(options).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Calls that change a file system's content, and what they are called with is below the replica.
const CHANGING: &str = "trace=creat,link,linkat,symlink,symlinkat,mkdir,mkdirat,mknod,mknodat,rename,\
renameat,renameat2,unlink,unlinkat,rmdir,chmod,fchmod,fchmodat,?fchmodat2,chown,lchown,fchown,fchownat,\
utime,utimes,utimensat,futimesat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,\
truncate,ftruncate,copy_file_range,sendfile";

#[test]
fn the_second_run_over_a_tree_of_everything_changes_nothing() {
    let mirror = Mirror::new();
    build(&mirror);
    settle();
    mirror.sync();
    mirror.assert_idle();
    if !does("strace", &["-o", "/dev/null", "true"]) {
        return skip("strace is not installed or may not trace: not shown that an idle run calls nothing");
    }
    let trace = mirror.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "500", "-e", CHANGING, "-o"]).arg(&trace);
    command.arg(mirror.program_path()).args(["sync", "--once"]).args(mirror.roots());
    mirror.isolate(&mut command);
    finish(command).expect(0);
    let text = String::from_utf8_lossy(&fs::read(trace).unwrap()).into_owned();
    // The manifest's own log is cut back; nothing else may be named.
    let of_the_state = |line: &&str| line.contains(mirror.state.to_str().unwrap());
    let calls =
        text.lines().filter(|line| line.contains('(') && !line.contains("+++") && !line.contains("---"));
    let others: Vec<&str> = calls.filter(|line| !of_the_state(line)).collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
}
