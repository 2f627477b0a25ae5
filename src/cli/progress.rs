//! Progress on a terminal: one layout for every phase.
//!
//! `copying  [######------]  1234 entries  1.2 GiB of 3.4 GiB  120.0 MiB/s  00:00:18 left`. What is not known is left out:
//! without a total there is a spinner for the meter, and the time that went by for the time left.

use super::events::size_text;
use crate::monitor::{Amount, BytesRead, Monitor, Phase};
use indicatif::{FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::cell::RefCell;
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A bar on stderr, shown only where that is a terminal.
#[derive(Default)]
pub struct Bar {
    shown: RefCell<Option<Shown>>,
    /// What the workers have read, where somebody counts it.
    reading: RefCell<Option<Arc<BytesRead>>>,
}

struct Shown {
    bar: ProgressBar,
    done: Arc<Done>,
}

/// Whether a bar would be seen.
pub fn wanted(no_progress: bool) -> bool {
    !no_progress && std::io::stderr().is_terminal()
}

const KNOWN: &str = "{prefix:>9}  {meter}  {done}  {left}";
const OPEN: &str = "{prefix:>9}  {spinner}  {done}  {left}";

/// Places of the meter.
const WIDTH: usize = 12;

/// How often it is drawn.
const TICK: Duration = Duration::from_millis(200);

/// So long no time left is told: it would be a guess.
const TOO_SOON: Duration = Duration::from_secs(1);

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
    fn reading(&self, bytes: &Arc<BytesRead>) {
        *self.reading.borrow_mut() = Some(Arc::clone(bytes));
    }

    fn phase(&self, phase: Phase, total: Option<Amount>) {
        self.clear();
        let done = Arc::new(Done::of(total.unwrap_or_default(), self.reading.borrow().clone()));
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = if done.is_measurable() { KNOWN } else { OPEN };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(done.keys(style));
        }
        bar.set_prefix(phase.name());
        bar.enable_steady_tick(TICK);
        *self.shown.borrow_mut() = Some(Shown { bar, done });
    }

    fn advance(&self, by: Amount) {
        if let Some(shown) = self.shown.borrow().as_ref() {
            shown.done.entries.fetch_add(by.entries, Ordering::Relaxed);
            shown.done.bytes.fetch_add(by.bytes, Ordering::Relaxed);
        }
    }
}

/// How far a phase is: written by the one who leads the run, read by the one who draws.
struct Done {
    total: Amount,
    entries: AtomicU64,
    bytes: AtomicU64,
    reading: Option<Arc<BytesRead>>,
    /// What had been read when the phase began.
    read_before: u64,
    began: Instant,
}

impl Done {
    fn of(total: Amount, reading: Option<Arc<BytesRead>>) -> Self {
        let read_before = reading.as_ref().map_or(0, |count| count.total());
        let (entries, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { total, entries, bytes, reading, read_before, began: Instant::now() }
    }

    fn is_measurable(&self) -> bool {
        self.total.bytes > 0 || self.total.entries > 0
    }

    /// Entries and bytes. A large file counts while it is read; what is counted when it is done may be more, where
    /// holes were passed over.
    fn amount(&self) -> Amount {
        let read = self.reading.as_ref().map_or(0, |count| count.total() - self.read_before);
        let read = if self.total.bytes > 0 { read.min(self.total.bytes) } else { read };
        Amount {
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed).max(read),
        }
    }

    /// From 0 to 1: by bytes, because they are what takes time, or by entries where there are none.
    #[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
    fn share(&self, amount: Amount) -> f64 {
        let (done, all) = if self.total.bytes > 0 {
            (amount.bytes, self.total.bytes)
        } else {
            (amount.entries, self.total.entries)
        };
        if all == 0 { 0.0 } else { (done as f64 / all as f64).min(1.0) }
    }

    fn meter(&self) -> String {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 12"
        )]
        let full = (self.share(self.amount()) * WIDTH as f64) as usize;
        format!("[{}{}]", "#".repeat(full), "-".repeat(WIDTH.saturating_sub(full)))
    }

    fn text(&self, elapsed: Duration) -> String {
        let amount = self.amount();
        let mut text = format!("{} entries", amount.entries);
        if amount.bytes == 0 && self.total.bytes == 0 {
            return text;
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "  {}", size_text(amount.bytes));
        if self.total.bytes > 0 {
            let _ = write!(text, " of {}", size_text(self.total.bytes));
        }
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = u128::from(amount.bytes) * 1000 / u128::from(millis);
        let _ = write!(text, "  {}/s", size_text(u64::try_from(rate).unwrap_or(u64::MAX)));
        text
    }

    fn left(&self, elapsed: Duration) -> String {
        let share = self.share(self.amount());
        if !self.is_measurable() || share <= 0.0 || elapsed < TOO_SOON {
            return FormattedDuration(elapsed).to_string();
        }
        let left = elapsed.mul_f64(((1.0 - share) / share).min(1e6));
        format!("{} left", FormattedDuration(left))
    }

    fn keys(self: &Arc<Self>, style: ProgressStyle) -> ProgressStyle {
        type Part = fn(&Done) -> String;
        let parts: [(&'static str, Part); 3] = [
            ("meter", |done| done.meter()),
            ("done", |done| done.text(done.began.elapsed())),
            ("left", |done| done.left(done.began.elapsed())),
        ];
        parts.into_iter().fold(style, |style, (key, part)| {
            let done = Arc::clone(self);
            // A line that cannot be written is no reason to stop a run.
            let write = move |_: &ProgressState, out: &mut dyn Write| {
                let _ = out.write_str(&part(&done));
            };
            style.with_key(key, write)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(total: Amount, entries: u64, bytes: u64) -> Done {
        let done = Done::of(total, None);
        done.entries.store(entries, Ordering::Relaxed);
        done.bytes.store(bytes, Ordering::Relaxed);
        done
    }

    #[test]
    fn one_layout_tells_what_is_known() {
        let total = |entries, bytes| Amount { entries, bytes };
        let second = Duration::from_secs(2);
        let copy = done(total(10, 4096), 5, 1024);
        assert_eq!(copy.meter(), "[###---------]");
        assert_eq!(copy.text(second), "5 entries  1.0 KiB of 4.0 KiB  512 B/s");
        assert_eq!(copy.left(second), "00:00:06 left");
        assert_eq!(copy.left(Duration::from_millis(500)), "00:00:00", "too soon to tell");
        let scan = done(total(1000, 0), 500, 0);
        assert_eq!((scan.meter().as_str(), scan.text(second).as_str()), ("[######------]", "500 entries"));
        let first = done(Amount::default(), 7, 2048);
        assert!(!first.is_measurable());
        assert_eq!(first.text(second), "7 entries  2.0 KiB  1.0 KiB/s");
        assert_eq!(first.left(second), "00:00:02");
        assert_eq!(done(total(10, 0), 20, 0).meter(), "[############]", "more than was expected");
    }

    #[test]
    fn a_large_file_counts_while_it_is_read() {
        let count = Arc::new(BytesRead::default());
        count.add(0, 100);
        let done = Done::of(Amount { entries: 1, bytes: 1000 }, Some(Arc::clone(&count)));
        count.add(0, 500);
        assert_eq!(done.amount().bytes, 500);
        count.add(1, 5000);
        assert_eq!(done.amount().bytes, 1000);
    }
}
