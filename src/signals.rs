//! SIGINT and SIGTERM: the first asks to finish, the second ends the program at once. A daemon also takes
//! SIGHUP (read the config again) and SIGUSR1 (run now). SIGXFSZ says nothing that the failed write does
//! not say.

use crate::cancel::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;

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
    let mut signals = Signals::new(signals)?;
    let take = move || {
        for signal in signals.forever() {
            tell(match signal {
                SIGHUP => Asked::Reload,
                SIGUSR1 => Asked::RunNow,
                _ if cancel.requested() => signal_hook::low_level::exit(at_once.into()),
                _ => {
                    cancel.request();
                    Asked::Stop
                }
            });
        }
    };
    std::thread::Builder::new().name(THREAD.to_owned()).spawn(take).map(drop)
}

/// Keeps a file that would grow beyond the limit of its size (`ulimit -f`) from ending the program:
/// that write fails, and the others go on.
pub fn outlive_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}
