//! A request to stop, seen by everything that takes long.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set once by a signal, read everywhere.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// One that nobody has requested yet.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Asks everyone to finish.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
