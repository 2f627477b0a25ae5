//! Niceness and I/O priority. Linux keeps both for each thread, and a new thread has those of the one that
//! starts it: set in the main thread, they hold for all that it starts from then on.

use crate::config::daemon::{DaemonSettings, IoPriority};
use rustix::process::{getpriority_process, setpriority_process};
use std::io;

/// What this thread had before anything was set.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    nice: Option<i32>,
    io: Option<libc::c_long>,
}

/// `IOPRIO_WHO_PROCESS` of `ioprio_set(2)`, with 0 for the calling thread.
const WHO_PROCESS: libc::c_int = 1;

/// Class and level are one number, the class above these bits.
const CLASS_SHIFT: libc::c_long = 13;

/// `IOPRIO_CLASS_BE` and `IOPRIO_CLASS_IDLE`.
const BEST_EFFORT: libc::c_long = 2;
const IDLE: libc::c_long = 3;

impl Inherited {
    /// Looks what the calling thread has.
    pub fn look() -> Self {
        // SAFETY: ioprio_get takes two numbers and touches no memory of ours.
        let io = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
        Self { nice: getpriority_process(None).ok(), io: (io >= 0).then_some(io) }
    }
}

/// Sets what `settings` say for the calling thread, or what it had where they say nothing. Returns what
/// could not be set, for a warning.
pub fn apply(settings: &DaemonSettings, before: &Inherited) -> Vec<String> {
    let mut refused = Vec::new();
    if let Some(nice) = settings.nice.or(before.nice)
        && getpriority_process(None).ok() != Some(nice)
        && let Err(error) = setpriority_process(None, nice)
    {
        refused.push(format!("nice = {nice} is not allowed here ({error}); it stays as it was"));
    }
    let wanted = settings.io_priority.map(number).or(before.io);
    if let Some(wanted) = wanted
        && Inherited::look().io != Some(wanted)
        && let Err(error) = set_io(wanted)
    {
        let name = settings.io_priority.map_or_else(|| "the former one".to_owned(), name);
        refused.push(format!("io_priority = {name} is not allowed here ({error}); it stays as it was"));
    }
    refused
}

/// Has the calling thread step back behind all others, at the processor and at the disks, for good. It works as well
/// where that is not allowed, only not as considerately.
pub fn step_back() {
    const LAST: i32 = 19;
    let _ = setpriority_process(None, LAST);
    let _ = set_io(number(IoPriority::Idle));
}

fn number(priority: IoPriority) -> libc::c_long {
    match priority {
        IoPriority::Idle => IDLE << CLASS_SHIFT,
        IoPriority::BestEffort(level) => BEST_EFFORT << CLASS_SHIFT | libc::c_long::from(level),
    }
}

fn name(priority: IoPriority) -> String {
    match priority {
        IoPriority::Idle => "\"idle\"".to_owned(),
        IoPriority::BestEffort(level) => format!("\"best-effort:{level}\""),
    }
}

fn set_io(priority: libc::c_long) -> io::Result<()> {
    // SAFETY: ioprio_set takes three numbers and touches no memory of ours.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_set_for_this_thread_and_its_children_only() {
        let me = Inherited::look();
        let settings = DaemonSettings {
            max_parallel_jobs: 1,
            nice: Some(15),
            io_priority: Some(IoPriority::BestEffort(6)),
        };
        let child = std::thread::spawn(move || {
            let before = Inherited::look();
            assert_eq!(apply(&settings, &before), Vec::<String>::new());
            std::thread::spawn(Inherited::look).join().unwrap()
        });
        let child = child.join().unwrap();
        assert_eq!((child.nice, child.io), (Some(15), Some(2 << 13 | 6)));
        let still = Inherited::look();
        assert_eq!((still.nice, still.io), (me.nice, me.io));
    }
}
