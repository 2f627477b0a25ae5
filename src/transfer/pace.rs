//! How much of contents is read, and a limit to how fast, for all workers of a run together.
//!
//! What is copied, compared or hashed is read first, so that reading is where the limit is kept, and counted: in this module's
//! parent, piece by piece. Each worker thread is told once by which pace it goes (the one who reads may be many calls
//! away from the one who knows the job).

use crate::cancel::Cancel;
use crate::monitor::BytesRead;
use rustix::io::{pread, retry_on_intr};
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// So long nobody sleeps at a time: a request to stop is not to wait longer.
const NAP: Duration = Duration::from_millis(50);

/// What was not used is saved up for so long, and no longer.
const SAVED: Duration = Duration::from_millis(100);

/// Pieces are so small that there are so many in a second.
const PIECES: u64 = 20;

/// The least piece: a limit below a few of these a second is kept all the same, in longer naps.
const LEAST_PIECE: u64 = 4096;

/// Bytes that were read, and a limit in bytes a second.
#[derive(Debug)]
pub struct Pace {
    read: Arc<BytesRead>,
    /// At least one.
    bytes_per_second: Option<u64>,
    /// Up to when all that was read is paid for.
    paid_until: Mutex<Instant>,
    cancel: Cancel,
}

thread_local! {
    /// And where this thread counts.
    static PACE: RefCell<Option<(Arc<Pace>, usize)>> = const { RefCell::new(None) };
}

impl Pace {
    /// So many bytes a second (at least one), or as many as come; until `cancel` is requested: then nobody waits any more.
    pub fn new(bytes_per_second: Option<u64>, cancel: Cancel) -> Self {
        let paid_until = Mutex::new(Instant::now());
        let bytes_per_second = bytes_per_second.map(|limit| limit.max(1));
        Self { read: Arc::default(), bytes_per_second, paid_until, cancel }
    }

    /// Bytes read so far, by all who go by it: a count that goes on.
    pub fn bytes_read(&self) -> Arc<BytesRead> {
        Arc::clone(&self.read)
    }

    /// From now on this thread goes by it.
    pub fn keep_to(self: Arc<Self>) {
        let place = self.read.take_place();
        PACE.with_borrow_mut(|pace| *pace = Some((self, place)));
    }

    /// Bytes to read at a time.
    fn piece(&self) -> usize {
        let piece = self.bytes_per_second.map(|limit| (limit / PIECES).max(LEAST_PIECE));
        piece.and_then(|piece| usize::try_from(piece).ok()).unwrap_or(usize::MAX)
    }

    /// Counts bytes, and waits until so many more may have been read.
    fn pay(&self, place: usize, bytes: usize) {
        self.read.add(place, u64::try_from(bytes).unwrap_or(u64::MAX));
        let Some(bytes_per_second) = self.bytes_per_second else { return };
        let nanos = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000)
            / u128::from(bytes_per_second);
        let price = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let until = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = Instant::now().checked_sub(SAVED);
            let from = earliest.map_or(*paid_until, |earliest| earliest.max(*paid_until));
            *paid_until = from.checked_add(price).unwrap_or(from);
            *paid_until
        };
        while !self.cancel.requested() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(NAP));
        }
    }
}

/// Reads into `into` with `read`, at the pace that this thread goes by; gives less than there is room for only where
/// `read` gave less than it was asked for.
pub(super) fn paced<E>(
    into: &mut [u8],
    mut read: impl FnMut(&mut [u8], usize) -> Result<usize, E>,
) -> Result<usize, E> {
    PACE.with_borrow(|pace| {
        let Some((pace, place)) = pace else { return read(into, 0) };
        let mut filled = 0;
        while filled < into.len() {
            let end = into.len().min(filled.saturating_add(pace.piece()));
            let more = read(&mut into[filled..end], filled)?;
            pace.pay(*place, more);
            filled += more;
            if filled < end {
                break;
            }
        }
        Ok(filled)
    })
}

/// Reads from `at` on until `into` is full or the file ends, at no pace and without being counted: for what the replica holds of
/// a copy already. Reading that saves reading the source or writing the replica.
pub fn unlimited(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match retry_on_intr(|| pread(file, &mut into[filled..], at + filled as u64))? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

/// Counts bytes of a copy that need not be read because the replica holds them.
pub fn count(bytes: u64) {
    PACE.with_borrow(|pace| {
        if let Some((pace, place)) = pace {
            pace.read.add(*place, bytes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// How long it takes so many threads to read so much each.
    fn read(bytes_per_second: u64, threads: usize, each: usize, cancel: &Cancel) -> Duration {
        let pace = Arc::new(Pace::new(Some(bytes_per_second), cancel.clone()));
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                let pace = Arc::clone(&pace);
                scope.spawn(move || {
                    pace.keep_to();
                    let read = |into: &mut [u8], _| Ok::<_, ()>(into.len());
                    assert_eq!(paced(&mut vec![0; each], read), Ok(each));
                });
            }
        });
        started.elapsed()
    }

    #[test]
    fn all_threads_together_keep_to_the_limit() {
        let took = read(1_000_000, 4, 100_000, &Cancel::new());
        // A tenth of a second may have been saved up.
        assert!(took >= Duration::from_millis(290), "{took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn nobody_waits_once_it_is_told_to_stop() {
        let cancel = Cancel::new();
        cancel.request();
        let took = read(1, 2, 100_000, &cancel);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn the_end_of_a_file_ends_the_reading() {
        let pace = Arc::new(Pace::new(None, Cancel::new()));
        let count = pace.bytes_read();
        pace.keep_to();
        let mut asked = Vec::new();
        let read = |into: &mut [u8], at| {
            asked.push((at, into.len()));
            Ok::<_, ()>(3)
        };
        assert_eq!(paced(&mut [0; 10], read), Ok(3));
        assert_eq!(asked, [(0, 10)]);
        assert_eq!(count.total(), 3);
    }
}
