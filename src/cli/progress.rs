//! Progress on a terminal: one bar layout for every phase.

use crate::monitor::{Amount, Monitor, Phase};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::Duration;

/// A bar on stderr, shown only where that is a terminal.
#[derive(Default)]
pub struct Bar {
    shown: RefCell<Option<Shown>>,
}

struct Shown {
    bar: ProgressBar,
    entries: u64,
}

/// Whether a bar would be seen.
pub fn wanted(no_progress: bool) -> bool {
    !no_progress && std::io::stderr().is_terminal()
}

/// The bar counts bytes, because they are what takes time; entries stand in the message.
const KNOWN: &str = "{prefix:>10} {bar:24} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg} eta {eta}";
const OPEN: &str = "{prefix:>10} {spinner} {bytes} {binary_bytes_per_sec} {msg} {elapsed}";

impl Bar {
    /// Prints something while the bar is out of the way.
    pub fn aside(&self, print: impl FnOnce()) {
        match self.shown.borrow().as_ref() {
            Some(shown) => shown.bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Some(shown) = self.shown.borrow_mut().take() {
            shown.bar.finish_and_clear();
        }
    }
}

impl Monitor for Bar {
    fn phase(&self, phase: Phase, total: Option<Amount>) {
        self.clear();
        let length = total.map(|total| total.bytes).filter(|&bytes| bytes > 0);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        let template = if length.is_some() { KNOWN } else { OPEN };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(phase.name());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.shown.borrow_mut() = Some(Shown { bar, entries: 0 });
    }

    fn advance(&self, by: Amount) {
        if let Some(shown) = self.shown.borrow_mut().as_mut() {
            shown.entries += by.entries;
            shown.bar.inc(by.bytes);
            shown.bar.set_message(format!("{} entries", shown.entries));
        }
    }
}
