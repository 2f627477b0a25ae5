//! The pool: batches go out, outcomes come back to the one thread that writes.

use crate::cancel::Cancel;
use crate::config::settings::Settings;
use crate::error::Error;
use crate::monitor::BytesRead;
use crate::priority;
use crate::transfer::pace::Pace;
use crossbeam_channel::{Receiver, Sender, unbounded};
use rayon::{Scope, ThreadPool, ThreadPoolBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Worker threads.
pub struct Workers {
    pool: ThreadPool,
    pace: Arc<Pace>,
}

/// So many batches a worker may be out: one in hand and one waiting.
const BATCHES_PER_WORKER: usize = 2;

/// And so many more in all of those that are done soon: nobody is to be idle while whoever leads writes a transaction to the manifest.
const SPARE_BATCHES: usize = 8;

/// So many more of those that take long and hold much.
const SPARE_LONG_BATCHES: usize = 2;

impl Workers {
    /// As many as a job is to have, which read no faster than it may until `cancel` is requested.
    pub fn of(settings: &Settings, cancel: &Cancel) -> Result<Self, Error> {
        Self::new(settings.workers, Pace::new(settings.bandwidth_limit, cancel.clone()), false)
    }

    /// The same, for what nobody waits for: others go before it at the processor and at the disks.
    pub fn in_the_background(settings: &Settings, cancel: &Cancel) -> Result<Self, Error> {
        Self::new(settings.workers, Pace::new(settings.bandwidth_limit, cancel.clone()), true)
    }

    fn new(count: usize, pace: Pace, background: bool) -> Result<Self, Error> {
        let pace = Arc::new(pace);
        let theirs = Arc::clone(&pace);
        let start = move |_| {
            if background {
                priority::step_back();
            }
            Arc::clone(&theirs).keep_to();
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .start_handler(start)
            .thread_name(|number| format!("worker-{number}"))
            .build()
            .map_err(|error| Error::Threads(error.to_string()))?;
        Ok(Self { pool, pace })
    }

    /// Bytes of contents that they have read so far: a count that goes on.
    pub fn bytes_read(&self) -> Arc<BytesRead> {
        self.pace.bytes_read()
    }

    /// Calls `body` on this thread with a window through which it hands out work.
    pub fn within<'scope, R: Send + 'scope, T>(
        &self,
        body: impl FnOnce(&mut Window<'_, 'scope, R>) -> T,
    ) -> T {
        let workers = self.pool.current_num_threads();
        let limit = workers * BATCHES_PER_WORKER + SPARE_BATCHES;
        self.pool.in_place_scope(|scope| {
            let (sender, receiver) = unbounded();
            body(&mut Window { scope, sender, receiver, out: 0, workers, limit })
        })
    }
}

/// Work that is out, never more than a bounded number of batches.
pub struct Window<'w, 'scope, R> {
    scope: &'w Scope<'scope>,
    sender: Sender<thread::Result<R>>,
    receiver: Receiver<thread::Result<R>>,
    out: usize,
    workers: usize,
    limit: usize,
}

impl<'scope, R: Send + 'scope> Window<'_, 'scope, R> {
    /// Whether an outcome must be taken before more work is handed out.
    pub fn is_full(&self) -> bool {
        self.out >= self.limit
    }

    /// Whether an outcome must be taken before more work is handed out that takes long and holds much.
    pub fn has_plenty(&self) -> bool {
        self.out >= self.workers * BATCHES_PER_WORKER + SPARE_LONG_BATCHES
    }

    /// Whether each worker has work and more to come.
    pub fn is_busy(&self) -> bool {
        self.out - self.receiver.len() >= self.workers * BATCHES_PER_WORKER
    }

    /// How many there are to work.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Hands out a piece of work.
    pub fn submit(&mut self, work: impl FnOnce() -> R + Send + 'scope) {
        let sender = self.sender.clone();
        self.out += 1;
        self.scope.spawn(move |_| {
            // Whoever waits must hear of a panic, or would wait for ever. The receiver is gone
            // only when its thread is unwinding already.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        });
    }

    /// Waits for an outcome; `None` where nothing is out. A panic in the work goes on here.
    pub fn next(&mut self) -> Option<R> {
        if self.out == 0 {
            return None;
        }
        self.out -= 1;
        match self.receiver.recv() {
            Ok(Ok(outcome)) => Some(outcome),
            Ok(Err(panic)) => resume_unwind(panic),
            // This window holds a sender itself, so the channel cannot be closed.
            Err(_) => None,
        }
    }

    /// Waits no longer than `limit` for an outcome; `None` where none came or nothing is out.
    pub fn next_within(&mut self, limit: Duration) -> Option<R> {
        if self.out == 0 {
            return None;
        }
        let outcome = self.receiver.recv_timeout(limit).ok()?;
        self.out -= 1;
        Some(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Whether nothing is out.
    pub fn is_idle(&self) -> bool {
        self.out == 0
    }

    /// An outcome that is there already.
    pub fn try_next(&mut self) -> Option<R> {
        if self.receiver.is_empty() { None } else { self.next() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;

    /// Whether the panic of one piece of work in twenty came out; fails where it hangs.
    fn one_of_twenty_panics(take: impl Fn(&mut Window<'_, '_, u32>) + Send + 'static) -> bool {
        let (told, hear) = channel();
        thread::spawn(move || {
            let workers = Workers::new(2, Pace::new(None, Cancel::new()), false).unwrap();
            let result = catch_unwind(AssertUnwindSafe(|| {
                workers.within(|window| {
                    for number in 0..20 {
                        while window.is_full() {
                            window.next();
                        }
                        window.submit(move || {
                            assert!(number != 2, "the worker was told to panic");
                            number
                        });
                    }
                    take(window);
                });
            }));
            // The pool is as good as before.
            workers.within(|window| {
                window.submit(|| 7);
                assert_eq!(window.next(), Some(7));
            });
            told.send(result.is_err()).unwrap();
        });
        hear.recv_timeout(Duration::from_secs(20)).expect("it hangs")
    }

    #[test]
    fn a_panic_in_a_worker_comes_out_where_its_outcome_is_awaited_and_hangs_nobody() {
        assert!(one_of_twenty_panics(|window| while window.next().is_some() {}));
        assert!(one_of_twenty_panics(|window| {
            while !window.is_idle() {
                window.next_within(Duration::from_millis(10));
            }
        }));
    }

    #[test]
    fn a_panic_of_who_hands_out_work_waits_for_what_is_out() {
        let done = AtomicU32::new(0);
        let workers = Workers::new(2, Pace::new(None, Cancel::new()), false).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| {
            workers.within(|window: &mut Window<'_, '_, ()>| {
                for _ in 0..4 {
                    window.submit(|| {
                        thread::sleep(Duration::from_millis(20));
                        done.fetch_add(1, Ordering::SeqCst);
                    });
                }
                panic!("whoever leads was told to panic");
            });
        }));
        assert!(result.is_err());
        assert_eq!(done.into_inner(), 4);
    }
}
