//! SIGINT and SIGTERM: the first asks to finish, the second ends the program at once. A daemon also takes
//! SIGHUP (read the config again) and SIGUSR1 (run now). SIGXFSZ says nothing that the failed write does
//! not say.

use crate::cancel::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What somebody asked for by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To finish; `cancel` was requested already.
    Stop,
    /// To read the config again and open the log anew.
    Reload,
    /// To run all jobs now.
    RunNow,
}

/// The name of the thread that waits for signals.
pub const THREAD: &str = "signals";

/// Starts listening for requests to stop. `at_once` is the exit code for the second.
pub fn listen(cancel: Arc<Cancel>, at_once: u8) -> io::Result<()> {
    take(&[SIGINT, SIGTERM], cancel, at_once, |_| {})
}

/// The same for a daemon, which has `tell` called, in another thread, with all that it is asked for.
pub fn listen_as_daemon(
    cancel: Arc<Cancel>,
    at_once: u8,
    tell: impl Fn(Asked) + Send + 'static,
) -> io::Result<()> {
    take(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1], cancel, at_once, tell)
}

fn take(
    signals: &[i32],
    cancel: Arc<Cancel>,
    at_once: u8,
    tell: impl Fn(Asked) + Send + 'static,
) -> io::Result<()> {
    let numbers = signals.to_vec();
    let mut signals = Signals::new(signals)?;
    // A signal that is delivered to a thread in an endless call would have its handler wait for the end of that call.
    // Threads that are started from here on inherit the mask; commands get an empty one.
    mask(libc::SIG_BLOCK, &numbers)?;
    let take = move || {
        if let Err(error) = mask(libc::SIG_UNBLOCK, &numbers) {
            log::warn!("requests to stop may not be heard: {error}");
        }
        for signal in signals.forever() {
            tell(match signal {
                SIGHUP => Asked::Reload,
                SIGUSR1 => Asked::RunNow,
                _ if cancel.requested() => signal_hook::low_level::exit(at_once.into()),
                _ => {
                    cancel.request();
                    end_in_time(at_once);
                    Asked::Stop
                }
            });
        }
    };
    std::thread::Builder::new().name(THREAD.to_owned()).spawn(take).map(drop)
}

/// Blocks or unblocks signals for the calling thread.
fn mask(how: libc::c_int, numbers: &[i32]) -> io::Result<()> {
    // SAFETY: sigset_t is a plain C structure that sigemptyset(3) fills; the calls get places that are valid.
    let result = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &number in numbers {
            libc::sigaddset(&raw mut set, number);
        }
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// How long the program may take to finish after the first request, in seconds. Service managers and people take 10 s
/// for granted.
const TIME_TO_FINISH: Duration = Duration::from_secs(8);

/// Ends the program where it does not end by itself: a thread may hang in a call on a file system that does not answer,
/// and nobody can wait for it or take it back. Nothing is lost by that: the manifest lags the replica, as after a kill.
fn end_in_time(code: u8) {
    let end = move || {
        std::thread::sleep(TIME_TO_FINISH);
        log::warn!(
            "the run did not stop within {} s (does a file system not answer?); the program ends, and the next run goes on \
             from what is recorded",
            TIME_TO_FINISH.as_secs()
        );
        signal_hook::low_level::exit(code.into());
    };
    // Without a thread the second request, or the service manager, ends it.
    let _ = std::thread::Builder::new().name("deadline".to_owned()).spawn(end);
}

/// Keeps a file that would grow beyond the limit of its size (`ulimit -f`) from ending the program:
/// that write fails, and the others go on.
pub fn outlive_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}
