//! Keeps the lanes of a kernel full while inputs of any lengths pass through.

use super::block::{BLOCK, State, compress_alone};
use super::engine::{Engine, Kernels};
use super::slots::{SLOTS, Slots};

/// Fewer blocks than this are not worth the way into and out of the slots.
const WORTH_SLOTS: usize = 3;

/// A state and the whole blocks to advance it by.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) state: State,
    pub(super) data: &'a [u8],
}

/// Advances one state by all whole blocks of `data`.
pub(super) fn advance_alone(engine: Engine, state: &mut State, data: &[u8]) {
    match engine.kernels() {
        Some(Kernels { narrow, vector_alone: true, .. }) if data.len() >= WORTH_SLOTS * BLOCK => {
            let mut slots = Slots::new();
            slots.put(0, *state);
            narrow.run(&mut slots, &[data; SLOTS], data.len() / BLOCK);
            *state = slots.take(0);
        }
        _ => compress_alone(state, data),
    }
}

/// Advances every job's state by all whole blocks of its data and hands the
/// number of the job and its new state to `done`, in no particular order.
pub(super) fn advance(engine: Engine, jobs: &[Job<'_>], mut done: impl FnMut(usize, State)) {
    let Some(kernels) = engine.kernels().filter(|_| jobs.len() > 1) else {
        for (number, job) in jobs.iter().enumerate() {
            let mut state = job.state;
            advance_alone(engine, &mut state, job.data);
            done(number, state);
        }
        return;
    };
    let mut queue = Vec::with_capacity(jobs.len());
    for (number, job) in jobs.iter().enumerate() {
        if job.data.len() < BLOCK {
            done(number, job.state);
        } else {
            queue.push((job.data.len() / BLOCK, number));
        }
    }
    // The longest first: the short ones then fill the gaps, and the lanes run
    // dry at about the same time.
    queue.sort_unstable_by(|one, other| other.cmp(one));
    let mut lanes = Lanes::new();
    let mut queue = queue.into_iter().map(|(_, number)| number);
    for number in queue.by_ref().take(SLOTS) {
        lanes.add(number, &jobs[number]);
    }
    while lanes.busy > 0 {
        lanes.run(kernels);
        // From the last lane down, as a lane that is given up is filled from
        // the last one, which must have been looked at before.
        for lane in (0..lanes.busy).rev() {
            if lanes.rows[lane].len() >= BLOCK {
                continue;
            }
            done(lanes.jobs[lane], lanes.slots.take(lane));
            match queue.next() {
                Some(number) => lanes.set(lane, number, &jobs[number]),
                None => lanes.give_up(lane),
            }
        }
    }
}

/// The lanes; the first `busy` of them have work.
struct Lanes<'a> {
    slots: Slots,
    rows: [&'a [u8]; SLOTS],
    jobs: [usize; SLOTS],
    busy: usize,
}

impl<'a> Lanes<'a> {
    fn new() -> Lanes<'a> {
        Lanes { slots: Slots::new(), rows: [&[]; SLOTS], jobs: [0; SLOTS], busy: 0 }
    }

    fn add(&mut self, number: usize, job: &Job<'a>) {
        self.busy += 1;
        self.set(self.busy - 1, number, job);
    }

    fn set(&mut self, lane: usize, number: usize, job: &Job<'a>) {
        self.slots.put(lane, job.state);
        self.rows[lane] = job.data;
        self.jobs[lane] = number;
    }

    fn give_up(&mut self, lane: usize) {
        self.busy -= 1;
        let state = self.slots.take(self.busy);
        self.slots.put(lane, state);
        self.rows[lane] = self.rows[self.busy];
        self.jobs[lane] = self.jobs[self.busy];
    }

    /// Advances the busy lanes until the shortest of them ends.
    fn run(&mut self, kernels: Kernels) {
        let busy = &self.rows[..self.busy];
        let blocks = busy.iter().map(|row| row.len()).min().unwrap_or(0) / BLOCK;
        if self.busy == 1 && !kernels.vector_alone {
            let mut state = self.slots.take(0);
            compress_alone(&mut state, self.rows[0]);
            self.slots.put(0, state);
        } else {
            let narrow = self.busy <= kernels.narrow.width();
            let kernel = if narrow { kernels.narrow } else { kernels.wide };
            // An idle lane reads along with the first one, which costs no
            // memory traffic; what it computes is never looked at.
            let first = self.rows[0];
            self.rows[self.busy..].fill(first);
            kernel.run(&mut self.slots, &self.rows, blocks);
        }
        for row in &mut self.rows[..self.busy] {
            *row = &row[blocks * BLOCK..];
        }
    }
}
