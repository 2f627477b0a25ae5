//! Faults put into the program's system calls by strace: an error, or a kill, at a chosen call.

use super::program::{Running, start};
use super::{Mirror, skip};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// The calls that change, open or make durable anything, in every spelling the kernel has. Which of
/// them the program uses is counted, not assumed.
pub const CALLS: [&str; 37] = [
    "openat2",
    "openat",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "copy_file_range",
    "sendfile",
    "ioctl",
    "fallocate",
    "fsync",
    "fdatasync",
    "syncfs",
    "sync_file_range",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "fchownat",
    "utimensat",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "linkat",
    "ftruncate",
    "fsetxattr",
    "fremovexattr",
    // What is open as a place only has its attributes changed through its link in /proc.
    "setxattr",
    "removexattr",
];

/// Calls that look and read; an error there must shield, not delete.
pub const READS: [&str; 12] = [
    "statx",
    "newfstatat",
    "fstat",
    "getdents64",
    "read",
    "readlinkat",
    "pread64",
    "lseek",
    "listxattr",
    "flistxattr",
    "getxattr",
    "fgetxattr",
];

/// What happens to a call. A count is of one thread's calls, the first thread to get there is hit.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The program is killed before the call.
    Kill,
    /// The call fails with this error, that one time.
    Once(&'static str),
    /// That call and all later ones of its kind fail with this error.
    Sticky(&'static str),
}

/// Whether strace can inject here; said loudly where it cannot.
pub fn possible() -> bool {
    let probe = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=getppid", "-e", "inject=getppid:error=EIO"];
    let works = Command::new("strace").args(probe).arg("true").output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        skip("faults are injected with strace, which is missing or may not trace here");
    }
    works
}

/// A run of `mirror` whose `number`th `call` (of a thread) meets `fault`.
pub fn run(mirror: &Mirror, more: &[&str], call: &str, number: u32, fault: Fault) -> Running {
    let what = match fault {
        Fault::Kill => format!("inject={call}:signal=KILL:when={number}"),
        Fault::Once(error) => format!("inject={call}:error={error}:when={number}"),
        Fault::Sticky(error) => format!("inject={call}:error={error}:when={number}+"),
    };
    start(traced(mirror, more, "/dev/null", &[&format!("trace={call}"), &what]))
}

/// `strace` on a run of `mirror`.
pub fn traced(mirror: &Mirror, more: &[&str], output: &str, expressions: &[&str]) -> Command {
    strace(mirror, more, &["-o", output], expressions)
}

/// A run of `mirror` that strace looks on from behind: the process that is started is the program
/// itself, so that signals reach it.
pub fn traced_from_behind(mirror: &Mirror, more: &[&str], expressions: &[&str]) -> Command {
    strace(mirror, more, &["-D", "-o", "/dev/null"], expressions)
}

fn strace(mirror: &Mirror, more: &[&str], options: &[&str], expressions: &[&str]) -> Command {
    let program = mirror.once(more);
    let mut command = Command::new("strace");
    // Not with --seccomp-bpf: strace 6.1 then counts wrongly and injects at the first call only.
    command.args(["-f", "-qq"]).args(options);
    for expression in expressions {
        command.args(["-e", expression]);
    }
    command.arg(program.get_program()).args(program.get_args());
    mirror.isolate(&mut command);
    command
}

/// The most calls of each kind that one thread makes in a run of `mirror`, which must succeed.
pub fn count(mirror: &Mirror, more: &[&str], calls: &[&str]) -> BTreeMap<String, u32> {
    let output = mirror.path("trace");
    // The question mark: a strace that does not know a call of a newer kernel passes over it.
    let trace =
        format!("trace={}", calls.iter().map(|call| format!("?{call}")).collect::<Vec<_>>().join(","));
    start(traced(mirror, more, output.to_str().unwrap(), &[&trace])).wait().expect(0);
    let mut by_thread: BTreeMap<(String, String), u32> = BTreeMap::new();
    for line in fs::read_to_string(output).unwrap().lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else { continue };
        if let Some((call, _)) = rest.split_once('(') {
            *by_thread.entry((thread.to_owned(), call.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in by_thread {
        let entry = most.entry(call).or_default();
        *entry = count.max(*entry);
    }
    most
}
