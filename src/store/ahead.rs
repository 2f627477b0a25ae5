//! What the threads of one walk share: its stream, who waits for what, and how far they may be ahead.
//!
//! Whoever takes the stream can do any part of it itself, and nobody waits while holding a part: so the
//! stream always goes on, however many helpers there are and however little they may hold.

use super::scanner::{Outcome, Pace, Scanner};
use super::sequence::{Front, Key, Piece, Sequence};
use super::task::{NamesAlive, Task};
use super::terms::Terms;
use crate::cancel::Cancel;
use crate::model::Entry;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Entries that helpers may have made before they are asked for: at the beginning, and at most. It is as many more as have
/// been asked for, so that whoever asks is soon heard where processors are few, and may say that less is to be looked at.
const AHEAD: (usize, usize) = (512, 4096);

/// Names in folders that were listed before it was their turn, after which helpers list no more.
const NAMES_AHEAD: usize = 32 << 10;

/// What is handed to others after so long: little enough to share, enough to be worth it.
const SLICE: Duration = Duration::from_micros(400);

/// Names in one piece of work, at least and at most.
const PIECE: (usize, usize) = (8, 512);

/// What the threads of a walk share.
pub(super) struct Ahead<'a> {
    cancel: &'a Cancel,
    alive: NamesAlive,
    state: Mutex<State>,
    /// There is work for helpers.
    work: Condvar,
    /// There may be something for whoever takes the stream.
    front: Condvar,
}

struct State {
    sequence: Sequence<Entry, Task>,
    /// How long a name takes, in nanoseconds: a moving mean.
    nanos_per_name: u64,
    /// Helpers are far enough ahead.
    full: bool,
    /// How far they may be.
    reach: usize,
    idle: usize,
    taker_waits: bool,
    closed: bool,
    failed: Option<io::Error>,
    panic: Option<Box<dyn Any + Send>>,
}

/// What there is for whoever takes the stream.
pub(super) enum Next {
    /// Entries.
    Entries(Vec<Entry>),
    /// Work to be done first.
    Work(Key, Task, Pace),
    /// Nothing more.
    End,
    /// A helper panicked.
    Panic(Box<dyn Any + Send>),
}

impl<'a> Ahead<'a> {
    pub(super) fn new(cancel: &'a Cancel, alive: NamesAlive) -> Self {
        let state = State {
            sequence: Sequence::of(Task::Root),
            nanos_per_name: u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX),
            full: false,
            reach: AHEAD.0,
            idle: 0,
            taker_waits: false,
            closed: false,
            failed: None,
            panic: None,
        };
        Self { cancel, alive, state: Mutex::new(state), work: Condvar::new(), front: Condvar::new() }
    }

    /// What is next, once there is something. With `alone` there are no helpers.
    pub(super) fn next(&self, alone: bool) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(panic) = state.panic.take() {
                return Next::Panic(panic);
            }
            if self.cancel.requested() || state.failed.is_some() {
                return Next::End;
            }
            let front = state.sequence.front();
            if front == Front::Ready
                && let Some(entries) = state.sequence.take()
            {
                state.given(entries.len());
                self.share(&mut state);
                return Next::Entries(entries);
            }
            if front == Front::End {
                return Next::End;
            }
            if front == Front::Work || self.may_help(&mut state) {
                let pace = state.pace(alone);
                let units = if alone { usize::MAX } else { pace.names };
                if let Some((key, task)) = state.sequence.claim(units) {
                    self.share(&mut state);
                    return Next::Work(key, task, pace);
                }
            }
            state.taker_waits = true;
            state = self.front.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.taker_waits = false;
        }
    }

    /// Puts what came of work in its place. What the stream begins with is returned to whoever takes it.
    pub(super) fn hand_in(&self, key: &Key, outcome: Outcome, is_taker: bool) -> Vec<Entry> {
        let Outcome { entries, rest, nanos_per_name, failed } = outcome;
        let mut state = self.lock();
        if failed.is_some() {
            state.failed = failed;
            self.front.notify_one();
        }
        if let Some(nanos) = nanos_per_name {
            state.nanos_per_name = (3 * state.nanos_per_name + nanos) / 4;
        }
        let begins = is_taker && state.sequence.begins_with(key);
        let (given, kept) = if begins { (entries, Vec::new()) } else { (Vec::new(), entries) };
        // What was claimed as `key` begins the stream no earlier than it did.
        let kept = (!kept.is_empty()).then(|| Piece::Ready(key.clone(), kept));
        state.sequence.publish(key, kept.into_iter().chain(rest));
        state.given(given.len());
        if state.taker_waits && (state.sequence.front() != Front::Busy || self.may_help(&mut state)) {
            self.front.notify_one();
        }
        self.share(&mut state);
        given
    }

    /// How many helpers there is work for besides those that there are: all that can be had where it is slow.
    pub(super) fn wanted_helpers(&self) -> usize {
        let mut state = self.lock();
        let wanted = state.idle == 0 && self.may_help(&mut state);
        let slow = u128::from(state.nanos_per_name) * PIECE.0 as u128 >= SLICE.as_nanos();
        if !wanted {
            0
        } else if slow {
            usize::MAX
        } else {
            1
        }
    }

    /// Works ahead until the walk is closed.
    pub(super) fn help(&self, terms: Terms<'_>) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work_ahead(Scanner::new(terms))));
        if let Err(panic) = worked {
            self.lock().panic = Some(panic);
            self.front.notify_one();
        }
    }

    fn work_ahead(&self, mut scanner: Scanner<'_>) {
        let mut state = self.lock();
        while !state.closed && !self.cancel.requested() {
            let pace = state.pace(false);
            if self.may_help(&mut state)
                && let Some((key, task)) = state.sequence.claim(pace.names)
            {
                self.share(&mut state);
                drop(state);
                let outcome = scanner.run(task, pace);
                self.hand_in(&key, outcome, false);
                state = self.lock();
            } else {
                scanner.rest();
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    /// The walk is over: helpers end.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// Why the stream ended too early, if it did.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.lock().failed.take()
    }

    /// The panic of a helper that nobody heard of yet.
    pub(super) fn panic(&self) -> Option<Box<dyn Any + Send>> {
        self.lock().panic.take()
    }

    /// Whether there is work that may be done before its turn.
    fn may_help(&self, state: &mut State) -> bool {
        state.full |= state.sequence.held() >= state.reach;
        let Some(nearest) = state.sequence.nearest().filter(|_| state.failed.is_none()) else { return false };
        // What the folders hold that lead to this work is there anyway.
        let listed_ahead = self.alive.load(Ordering::Relaxed).saturating_sub(nearest.names_above());
        !state.full && (!nearest.lists_folders() || listed_ahead <= NAMES_AHEAD)
    }

    /// Wakes a helper if there is something for it; that one will wake the next.
    fn share(&self, state: &mut State) {
        if state.idle > 0 && self.may_help(state) {
            self.work.notify_one();
        }
    }

    /// How many entries wait to be taken.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.lock().sequence.held()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// So many entries went to whoever takes the stream. Helpers that stopped go on when half of what they may hold is left.
    fn given(&mut self, entries: usize) {
        self.reach = AHEAD.1.min(self.reach + entries);
        self.full &= self.sequence.held() > self.reach / 2;
    }

    fn pace(&self, alone: bool) -> Pace {
        let slice = u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX);
        let names = usize::try_from(slice / self.nanos_per_name.max(1)).unwrap_or(usize::MAX);
        let room = self.reach.saturating_sub(self.sequence.held());
        if alone {
            Pace { names: PIECE.1, time: None, room }
        } else {
            Pace { names: names.clamp(PIECE.0, PIECE.1), time: Some(SLICE), room }
        }
    }
}
