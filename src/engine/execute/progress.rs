//! How far one copy has come, as the next run is to know it.
//!
//! A copy that is over soon leaves no trace of this. One that takes longer is noted every second, so that a kill costs a
//! second; and every few seconds what was written is made durable, by a thread of its own that the copy does not wait for, so
//! that a power cut costs little more.

use crate::hash::Stream;
use crate::model::Mark;
use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// A copy that took no longer is begun again.
const WORTH_KEEPING: Duration = Duration::from_secs(1);

/// Or one that got no further.
const WORTH_KEEPING_BYTES: u64 = 16 << 20;

/// So long a copy has gone on before it is noted for the first time.
const FIRST_NOTE: Duration = Duration::from_secs(2);

/// So long lies between two notes.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// So long a copy has gone on before anything of it is made durable, and so long lies in between.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// The least that is made durable by itself.
const SYNC_BYTES: u64 = 8 << 20;

/// How far a copy has come.
#[derive(Debug)]
pub(super) struct Progress {
    started: Instant,
    noted: Instant,
    synced: Instant,
    /// What is to survive a power cut is made durable.
    syncs: bool,
    durable: Option<Mark>,
    syncing: Option<(Mark, Receiver<io::Result<()>>)>,
}

/// The first bytes of what is hashed by `hash`.
pub(super) fn mark(hash: &Stream) -> Mark {
    Mark { bytes: hash.len(), digest: hash.clone().finish() }
}

impl Progress {
    /// A copy begins.
    pub(super) fn new(syncs: bool) -> Self {
        let now = Instant::now();
        Self { started: now, noted: now, synced: now, syncs, durable: None, syncing: None }
    }

    /// What is on the disk for certain.
    pub(super) fn durable(&self) -> Option<Mark> {
        self.durable
    }

    /// So much is known to be on the disk, because an earlier run put it there.
    pub(super) fn begin_behind(&mut self, durable: Option<Mark>) {
        self.durable = durable;
    }

    /// Returns true if a copy that stops here, with `bytes` written, is worth going on with.
    pub(super) fn is_worth_keeping(&self, bytes: u64) -> bool {
        bytes > 0 && (bytes >= WORTH_KEEPING_BYTES || self.started.elapsed() >= WORTH_KEEPING)
    }

    /// Called between two pieces, all that is in `file` being in `hash`; returns true if the next run is to know of it.
    ///
    /// # Errors
    /// What was written could not be made durable. The system says so once, so nobody else will hear of it.
    pub(super) fn step(&mut self, file: &File, hash: &Stream) -> io::Result<bool> {
        let now = Instant::now();
        let mut is_due = false;
        if let Some((mark, done)) = &self.syncing {
            match done.try_recv() {
                Ok(result) => {
                    result?;
                    self.durable = Some(*mark);
                    self.syncing = None;
                    is_due = true;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.syncing = None,
            }
        }
        if now.duration_since(self.started) < FIRST_NOTE {
            return Ok(false);
        }
        if now.duration_since(self.noted) >= NOTE_EVERY {
            self.noted = now;
            is_due = true;
        }
        let behind = hash.len() - self.durable.map_or(0, |mark| mark.bytes).min(hash.len());
        if self.syncs
            && self.syncing.is_none()
            && behind >= SYNC_BYTES
            && now.duration_since(self.synced) >= SYNC_EVERY
        {
            self.synced = now;
            self.begin_sync(file, hash);
        }
        Ok(is_due)
    }

    /// Without another handle, or another thread, the copy goes on all the same: a power cut then costs more.
    fn begin_sync(&mut self, file: &File, hash: &Stream) {
        let Ok(file) = file.try_clone() else { return };
        let (done, result) = sync_channel(1);
        let work = move || {
            // The copy may have ended meanwhile; then nobody asks.
            let _ = done.send(file.sync_data());
        };
        if thread::Builder::new().name("sync".to_owned()).spawn(work).is_ok() {
            self.syncing = Some((mark(hash), result));
        }
    }

    /// Waits for what is being made durable.
    ///
    /// # Errors
    /// As [`Progress::step`] has them.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let Some((_, done)) = self.syncing.take() else { return Ok(()) };
        done.recv().unwrap_or(Ok(()))
    }
}
