//! The daemon: a loop around a run. Ticks are measured from start to start; runs never overlap,
//! and ticks that a long run missed are dropped.

use crate::cancel::Cancel;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Runs jobs at their intervals until told to stop. `run` carries out the job of that number; the
/// first run of each is at once. `wake` is sent to when the daemon is to look at `cancel`.
pub fn keep_running(
    intervals: &[Duration],
    cancel: &Cancel,
    wake: &Receiver<()>,
    mut run: impl FnMut(usize),
) {
    let start = Instant::now();
    let mut next = vec![start; intervals.len()];
    while !cancel.requested() {
        let Some((job, due)) = next.iter().copied().enumerate().min_by_key(|&(_, due)| due) else { return };
        let now = Instant::now();
        if due > now {
            match wake.recv_timeout(due - now) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => continue,
                // Nobody is left who could stop it otherwise than by ending the process.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(due - now),
            }
            continue;
        }
        run(job);
        next[job] = next_tick(due, intervals[job], Instant::now());
    }
}

/// The first tick after `now`, counted in whole intervals from `due`.
fn next_tick(due: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due);
    let missed = late.as_nanos() / interval.as_nanos().max(1);
    let ticks = u32::try_from(missed + 1).unwrap_or(u32::MAX);
    interval.checked_mul(ticks).and_then(|ahead| due.checked_add(ahead)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_counted_from_start_to_start_and_missed_ones_are_dropped() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        for (took_ms, next_s) in [(0, 1), (400, 1), (999, 1), (1000, 2), (1500, 2), (7300, 8)] {
            let now = start + Duration::from_millis(took_ms);
            assert_eq!(next_tick(start, second, now), start + second * next_s, "{took_ms}");
        }
    }

    #[test]
    fn jobs_run_at_once_then_at_their_intervals_until_cancelled() {
        let cancel = Cancel::new();
        let (_sender, wake) = crossbeam_channel::bounded(1);
        let mut runs = [0, 0];
        let intervals = [Duration::from_millis(20), Duration::from_secs(3600)];
        keep_running(&intervals, &cancel, &wake, |job| {
            runs[job] += 1;
            if runs[0] == 3 {
                cancel.request();
            }
        });
        assert_eq!(runs, [3, 1]);
    }
}
