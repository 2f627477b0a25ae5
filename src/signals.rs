//! SIGINT and SIGTERM: the first asks to finish, the second ends the program at once. A program that is not through
//! in time after the first is ended likewise: a thread in a call to a dead file system cannot be waited for.
//!
//! A daemon also takes SIGHUP (read the config again) and SIGUSR1 (run now). SIGXFSZ says nothing that the failed write
//! does not say.

use crate::cancel::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::sleep;
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

/// How long the program has to end by itself after a request to stop. Service managers and people take 10 s for granted.
pub const GRACE: Duration = Duration::from_secs(8);

/// How long its last words may take.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// How a program that is asked to stop ends if it does not do so by itself.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// Its exit code.
    pub code: u8,
    /// Says why; called in a thread of its own, which need not come back.
    pub last_words: fn(),
}

/// The name of the thread that waits for signals.
pub const THREAD: &str = "signals";

/// Starts listening for requests to stop.
pub fn listen(cancel: Arc<Cancel>, ending: Ending) -> io::Result<()> {
    take(&[SIGINT, SIGTERM], cancel, ending, |_| {})
}

/// The same for a daemon, which has `tell` called, in another thread, with all that it is asked for.
pub fn listen_as_daemon(
    cancel: Arc<Cancel>,
    ending: Ending,
    tell: impl Fn(Asked) + Send + 'static,
) -> io::Result<()> {
    take(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1], cancel, ending, tell)
}

fn take(
    signals: &[i32],
    cancel: Arc<Cancel>,
    ending: Ending,
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
                _ if cancel.requested() => signal_hook::low_level::exit(ending.code.into()),
                _ => {
                    cancel.request();
                    end_in_time(ending);
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

/// Ends the program when its time is up. What it has done is recorded by then; what it was about to do is left as a
/// kill leaves it.
fn end_in_time(ending: Ending) {
    let end = move || {
        sleep(GRACE);
        let (sender, said) = channel();
        let speaker = std::thread::Builder::new().name("last words".to_owned()).spawn(move || {
            (ending.last_words)();
            // Nobody listens any more when that took too long.
            let _ = sender.send(());
        });
        if speaker.is_ok() {
            // A log or terminal that hangs as well must not keep the program.
            let _ = said.recv_timeout(LAST_WORDS);
        }
        signal_hook::low_level::exit(ending.code.into());
    };
    // Without a thread for it, a second signal ends the program.
    let _ = std::thread::Builder::new().name("deadline".to_owned()).spawn(end);
}

/// Keeps a file that would grow beyond the limit of its size (`ulimit -f`) from ending the program:
/// that write fails, and the others go on.
pub fn outlive_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}
