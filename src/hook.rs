//! A command of the user that is run after a run: without a shell, in a process group of its own, for a
//! limited time, with what it says caught.
//!
//! It inherits no descriptor (neither ours, locks among them, nor those that we inherited), no signal mask, and the
//! file mode mask and limit of open files that the program was started with. Niceness and I/O priority are the daemon's.
//! The environment is the program's, without what belongs to the service manager's talk with it.

use crate::cancel::Cancel;
use crate::orphans::OwnChild;
use crate::umask;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, Mode, OFlags, access, fcntl_setfl};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, setrlimit};
use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What became of a command.
#[derive(Debug)]
pub struct Told {
    /// How it ended.
    pub end: End,
    /// What it said on stdout and stderr, at most [`MOST_SAID`] bytes.
    pub said: Vec<u8>,
    /// Bytes beyond that, which were read and dropped.
    pub dropped: u64,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal, which was not ours.
    Signal(i32),
    /// It took too long, and was ended with all of its group.
    TimedOut,
    /// The program was told to stop meanwhile, and the command was ended with all of its group.
    Stopped,
}

/// So much of what a command says is kept.
pub const MOST_SAID: usize = 16 << 10;

/// Between asking a command to end and ending it.
const GRACE: Duration = Duration::from_millis(500);

/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Variables by which the service manager and its service find each other.
const NOT_ITS_BUSINESS: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// What a command is held to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// It is ended after so long.
    pub time: Duration,
    /// The limit for its open files, if not ours.
    pub files: Option<Rlimit>,
}

/// Runs `command` (program and arguments) to its end within `bounds`, with `variables` added to the environment.
///
/// # Errors
/// Where it cannot be started: there is no such program, or it may not be run.
pub fn run(
    command: &[String],
    variables: &[(&str, OsString)],
    bounds: Bounds,
    cancel: &Cancel,
) -> io::Result<Told> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
    };
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    for name in NOT_ITS_BUSINESS {
        command.env_remove(name);
    }
    command.process_group(0);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mask = Mode::from_raw_mode(umask::inherited());
    // SAFETY: between fork and exec only umask(2), close_range(2) and prlimit(2) are called, which are safe
    // there: system calls on numbers, without memory or locks.
    unsafe {
        command.pre_exec(move || {
            rustix::process::umask(mask);
            // Ours are closed by exec anyway; this is for those that whoever started us left open. Kernels before
            // 5.11 cannot, and leave them open.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            bounds.files.map_or(Ok(()), |files| Ok(setrlimit(Resource::Nofile, files)?))
        });
    }
    let child = OwnChild::spawn(&mut command)?;
    // Our copies of the writing end go, or the pipe would never end.
    drop(command);
    attend(child, reader, bounds.time, cancel)
}

/// Finds the program of a command as running it would: by its path, or along `PATH`.
///
/// # Errors
/// Where there is none, or it may not be run.
pub fn find(command: &[String]) -> io::Result<()> {
    let Some(program) = command.first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
    };
    if program.contains('/') {
        return is_program(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = Err(io::Error::from(io::ErrorKind::NotFound));
    for folder in std::env::split_paths(&path) {
        match is_program(&folder.join(program)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => found = Err(error),
        }
    }
    found
}

fn is_program(path: &Path) -> io::Result<()> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    Ok(access(path, Access::EXEC_OK)?)
}

/// Reads what the command says until it has ended. What it leaves behind in the background may keep the
/// pipe, and is not waited for.
fn attend(mut own: OwnChild, mut reader: PipeReader, limit: Duration, cancel: &Cancel) -> io::Result<Told> {
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    let child = &mut own.child;
    let mut said = Said::default();
    let began = Instant::now();
    let mut ended_for = None;
    let end = loop {
        if said.ended {
            std::thread::sleep(LOOK);
        } else {
            let mut waiting = [PollFd::new(&reader, PollFlags::IN)];
            let pause = Timespec { tv_sec: 0, tv_nsec: i64::try_from(LOOK.as_nanos()).unwrap_or(0) };
            // A signal, or an error that reading will show.
            let _ = poll(&mut waiting, Some(&pause));
            said.read(&mut reader);
        }
        if let Some(status) = child.try_wait()? {
            break ended_for.unwrap_or_else(|| by_itself(status));
        }
        if ended_for.is_none() {
            if cancel.requested() {
                ended_for = Some(End::Stopped);
            } else if began.elapsed() >= limit {
                ended_for = Some(End::TimedOut);
            }
            if ended_for.is_some() {
                end_group(child)?;
            }
        }
    };
    // What it said last is in the pipe.
    said.read(&mut reader);
    Ok(Told { end, said: said.kept, dropped: said.dropped })
}

fn by_itself(status: ExitStatus) -> End {
    status.code().map_or_else(|| End::Signal(status.signal().unwrap_or_default()), End::Code)
}

/// Asks all of the child's group to end, and ends what does not. The child is not waited for before both,
/// so that its number, which is the group's, cannot have become another's.
fn end_group(child: &mut Child) -> io::Result<()> {
    let group = Pid::from_child(child);
    // There is nobody left to be told: that is what was wanted.
    let _ = kill_process_group(group, Signal::TERM);
    std::thread::sleep(GRACE);
    let _ = kill_process_group(group, Signal::KILL);
    child.wait().map(drop)
}

#[derive(Debug, Default)]
struct Said {
    kept: Vec<u8>,
    dropped: u64,
    ended: bool,
}

impl Said {
    /// Takes what is there, but not without end: somebody may write faster than this reads.
    fn read(&mut self, reader: &mut PipeReader) {
        let mut piece = [0; 4096];
        for _ in 0..64 {
            match reader.read(&mut piece) {
                Ok(0) => {
                    self.ended = true;
                    return;
                }
                Ok(count) => {
                    let room = (MOST_SAID - self.kept.len()).min(count);
                    self.kept.extend_from_slice(&piece[..room]);
                    self.dropped += (count - room) as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Told {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&command, &[("TOLD", "x y".into())], within(limit), &Cancel::new()).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    fn within(time: Duration) -> Bounds {
        Bounds { time, files: Some(Rlimit { current: Some(99), maximum: Some(99) }) }
    }

    #[test]
    fn its_exit_code_and_what_it_says_on_both_streams_are_caught() {
        let told = shell("echo \"out $TOLD\"; echo err >&2; exit 7", LONG);
        assert_eq!((told.end, told.dropped), (End::Code(7), 0));
        assert_eq!(String::from_utf8(told.said).unwrap(), "out x y\nerr\n");
        assert_eq!(shell("kill -9 $$", LONG).end, End::Signal(9));
        assert_eq!(shell("ulimit -n", LONG).said, b"99\n");
    }

    #[test]
    fn what_it_says_is_bounded_and_never_keeps_it_waiting() {
        let told = shell("head -c 3000000 /dev/zero", LONG);
        assert_eq!((told.end, told.said.len()), (End::Code(0), MOST_SAID));
        assert_eq!(told.dropped, 3_000_000 - MOST_SAID as u64);
    }

    #[test]
    fn after_its_time_it_is_ended_with_all_that_it_started() {
        let began = Instant::now();
        // Neither heeds the request to end.
        let told =
            shell("trap '' TERM; (trap '' TERM; sleep 60) & echo $!; sleep 60", Duration::from_millis(300));
        assert_eq!(told.end, End::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let child: u32 = String::from_utf8(told.said).unwrap().trim().parse().unwrap();
        let gone = || {
            std::fs::read_to_string(format!("/proc/{child}/stat"))
                .map_or(true, |stat| stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
        };
        for _ in 0..500 {
            if gone() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("what it started is still there");
    }

    #[test]
    fn what_it_leaves_in_the_background_is_not_waited_for() {
        let began = Instant::now();
        assert_eq!(shell("sleep 5 & exit 0", LONG).end, End::Code(0));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }

    #[test]
    fn it_is_ended_when_the_program_is_told_to_stop() {
        let cancel = Cancel::new();
        cancel.request();
        let command = ["/bin/sleep", "60"].map(str::to_owned);
        assert_eq!(run(&command, &[], within(LONG), &cancel).unwrap().end, End::Stopped);
    }

    #[test]
    fn a_program_is_found_by_its_path_and_along_the_path_of_the_environment() {
        let find_kind = |program: &str| find(&[program.to_owned()]).map_err(|error| error.kind());
        assert_eq!((find_kind("/bin/sh"), find_kind("sh")), (Ok(()), Ok(())));
        assert_eq!(find_kind("/no/such/program"), Err(io::ErrorKind::NotFound));
        assert_eq!(find_kind("no-such-program-at-all"), Err(io::ErrorKind::NotFound));
        assert_eq!(find_kind("/proc/self/status"), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(find_kind("/bin"), Err(io::ErrorKind::InvalidInput));
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error() {
        let command = ["/no/such/program".to_owned()];
        let error = run(&command, &[], within(LONG), &Cancel::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(run(&[], &[], within(LONG), &Cancel::new()).is_err());
    }
}
