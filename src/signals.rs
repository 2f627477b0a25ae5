//! SIGINT and SIGTERM: the first asks to finish, the second ends the program at once. SIGXFSZ says
//! nothing that the failed write does not say.

use crate::cancel::Cancel;
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;

/// Starts listening. The channel is sent to when `cancel` was requested; `at_once` is the exit
/// code for the second signal.
pub fn listen(cancel: Arc<Cancel>, at_once: u8) -> io::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (sender, receiver) = bounded(1);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if cancel.requested() {
                signal_hook::low_level::exit(at_once.into());
            }
            cancel.request();
            // Full means that it was woken already.
            let _ = sender.try_send(());
        }
    })?;
    Ok(receiver)
}

/// Keeps a file that would grow beyond the limit of its size (`ulimit -f`) from ending the program:
/// that write fails, and the others go on.
pub fn outlive_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}
