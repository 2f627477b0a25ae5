//! Children that nobody waits for. As the first process of a container the program inherits every process whose
//! parent ended, and has to take their exit status from the kernel: they would stay as zombies.

use std::collections::HashSet;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The processes that the program started and waits for itself. Held while one is started, so that no child is
/// there that is not listed.
static OWN: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

fn own() -> MutexGuard<'static, Option<HashSet<u32>>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child whose exit status [`reap`] leaves to its owner, as long as this value is there.
#[derive(Debug)]
pub struct OwnChild {
    /// The process.
    pub child: Child,
}

impl OwnChild {
    /// Starts the command.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn spawn(command: &mut Command) -> std::io::Result<Self> {
        let mut own = own();
        let child = command.spawn()?;
        own.get_or_insert_default().insert(child.id());
        Ok(Self { child })
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        if let Some(own) = own().as_mut() {
            own.remove(&self.child.id());
        }
    }
}

/// Returns true if this process is the first one of its PID namespace, which inherits all orphans.
pub fn inherits() -> bool {
    std::process::id() == 1
}

/// Takes the exit status of every ended child that the program did not start itself; returns their number.
pub fn reap() -> usize {
    let own = own();
    let mut reaped = 0;
    while let Some(ended) = ended_child() {
        if own.as_ref().is_some_and(|own| own.contains(&ended.cast_unsigned())) {
            // Its owner waits for it within moments; what ended after it waits for the next call.
            break;
        }
        // SAFETY: waitpid(2) takes a number and may be given no place for the status.
        let taken = unsafe { libc::waitpid(ended, std::ptr::null_mut(), libc::WNOHANG) };
        if taken != ended {
            break;
        }
        reaped += 1;
    }
    reaped
}

/// A child that has ended, whose status is left where it is.
fn ended_child() -> Option<libc::pid_t> {
    // SAFETY: siginfo_t is a plain C structure, for which all zeroes are valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid(2) writes one siginfo_t to the place that it is given.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    // SAFETY: waitid filled the fields of a child, or left the zeroes where none has ended.
    let pid = unsafe { info.si_pid() };
    (result == 0 && pid > 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_child_keeps_its_status_for_its_owner() {
        let mut own = OwnChild::spawn(Command::new("/bin/sh").args(["-c", "exit 7"])).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        reap();
        assert_eq!(own.child.wait().unwrap().code(), Some(7));
        assert!(super::own().as_ref().is_some_and(|list| list.contains(&own.child.id())));
        let id = own.child.id();
        drop(own);
        assert!(!super::own().as_ref().is_some_and(|list| list.contains(&id)));
    }
}
