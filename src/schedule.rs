//! When which job runs. A value: it knows no clock and no thread, moments are given to it.
//!
//! Each job has *ticks*, whole intervals from when it was taken in (its first run is at once). A tick is
//! *due* when its jitter has passed as well. Runs of one job never overlap; ticks that pass while it runs,
//! waits for its turn, or while the machine sleeps are dropped, so that whatever was missed is made good
//! for by one run. Moments must count on while the machine sleeps (`CLOCK_BOOTTIME`).

use std::time::Duration;

/// A moment: the time since some start that is the same for all.
pub type Moment = Duration;

/// What the schedule has to know of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing<K> {
    /// Which job.
    pub key: K,
    /// From tick to tick.
    pub interval: Duration,
    /// A tick is due up to so much later.
    pub jitter: Duration,
}

/// All jobs with what they wait for.
#[derive(Clone, Debug)]
pub struct Schedule<K> {
    slots: Vec<Slot<K>>,
    most_at_once: usize,
}

#[derive(Clone, Debug)]
struct Slot<K> {
    timing: Timing<K>,
    tick: Moment,
    due: Moment,
    run: Run,
    /// Somebody wants a run that begins after he said so.
    asked: bool,
    /// It is to go when its run has ended.
    removed: bool,
}

/// What a job's run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// There is none.
    None,
    /// It goes on.
    Going,
    /// It goes on, but is not counted: nothing is heard of it.
    Stalled,
}

impl<K: Clone + PartialEq> Schedule<K> {
    /// Without jobs; so many may run at a time.
    pub fn new(most_at_once: usize) -> Self {
        Self { slots: Vec::new(), most_at_once }
    }

    /// From `now` on there are these jobs, and so many may run at a time. New ones are due at once. One
    /// with another interval goes by it from its last tick on, but is never put off by that beyond
    /// an interval from now. What runs and is not among them goes when it has ended.
    pub fn set(&mut self, timings: Vec<Timing<K>>, most_at_once: usize, now: Moment) {
        self.most_at_once = most_at_once;
        for slot in &mut self.slots {
            slot.removed = !timings.iter().any(|timing| timing.key == slot.timing.key);
        }
        self.slots.retain(|slot| slot.run != Run::None || !slot.removed);
        for timing in timings {
            match self.slot(&timing.key) {
                None => self.slots.push(Slot {
                    timing,
                    tick: now,
                    due: now,
                    run: Run::None,
                    asked: false,
                    removed: false,
                }),
                Some(slot) if slot.timing == timing => {}
                Some(slot) => {
                    let last = slot.tick.saturating_sub(slot.timing.interval);
                    if slot.tick > now {
                        // One that would have been before now is made good for at once.
                        let tick = last.saturating_add(timing.interval);
                        slot.tick = tick.clamp(now, now.saturating_add(timing.interval));
                    }
                    slot.due = slot.tick;
                    slot.timing = timing;
                }
            }
        }
    }

    fn slot(&mut self, key: &K) -> Option<&mut Slot<K>> {
        self.slots.iter_mut().find(|slot| slot.timing.key == *key)
    }

    /// Every job is to run as soon as there is room; one that runs, once more after that.
    pub fn ask_for_all(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.removed) {
            slot.asked = true;
        }
    }

    /// Whether a job that runs makes room for others, because nothing is heard of it: what waits for ever
    /// for a file system must not keep those waiting that do not need it.
    pub fn set_stalled(&mut self, key: &K, stalled: bool) {
        if let Some(slot) = self.slot(key) {
            slot.run = match slot.run {
                Run::None => Run::None,
                _ if stalled => Run::Stalled,
                _ => Run::Going,
            };
        }
    }

    fn is_full(&self) -> bool {
        self.slots.iter().filter(|slot| slot.run == Run::Going).count() >= self.most_at_once
    }

    /// A job to start now, which counts as running from here on; `None` where nothing is due or there is
    /// no room. What has been due for longest goes first.
    pub fn start(&mut self, now: Moment) -> Option<K> {
        if self.is_full() {
            return None;
        }
        let ready =
            |slot: &&mut Slot<K>| slot.run == Run::None && !slot.removed && (slot.asked || slot.due <= now);
        let slot = self.slots.iter_mut().filter(ready).min_by_key(|slot| slot.due.min(now))?;
        slot.run = Run::Going;
        slot.asked = false;
        Some(slot.timing.key.clone())
    }

    /// The run of this job has ended. Its next tick is the first one after `now`, put off by a share of
    /// its jitter: `chance` of 0 is nothing of it, `u32::MAX` all.
    pub fn ended(&mut self, key: &K, now: Moment, chance: u32) {
        if let Some(slot) = self.slot(key) {
            slot.run = Run::None;
            if slot.tick <= now {
                slot.tick = next_tick(slot.tick, slot.timing.interval, now);
                slot.due = slot.tick.saturating_add(share(slot.timing.jitter, chance));
            }
        }
        self.slots.retain(|slot| slot.run != Run::None || !slot.removed);
    }

    /// When something may be there to start: `None` where nothing can be before a run has ended.
    pub fn next(&self, now: Moment) -> Option<Moment> {
        if self.is_full() {
            return None;
        }
        let waiting = self.slots.iter().filter(|slot| slot.run == Run::None && !slot.removed);
        waiting.map(|slot| if slot.asked { now } else { slot.due.max(now) }).min()
    }

    /// The job that is due next among those that do not run, and when.
    pub fn upcoming(&self) -> Option<(&K, Moment)> {
        let waiting = self.slots.iter().filter(|slot| slot.run == Run::None && !slot.removed);
        waiting.min_by_key(|slot| slot.due).map(|slot| (&slot.timing.key, slot.due))
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.slots.iter().filter(|slot| slot.run != Run::None).count()
    }
}

/// The first tick after `now`, counted in whole intervals from `tick`.
fn next_tick(tick: Moment, interval: Duration, now: Moment) -> Moment {
    let late = now.saturating_sub(tick);
    let missed = late.as_nanos() / interval.as_nanos().max(1);
    let ticks = u32::try_from(missed + 1).unwrap_or(u32::MAX);
    // Beyond what can be counted, the grid begins anew.
    interval.checked_mul(ticks).map_or(now + interval, |ahead| tick.saturating_add(ahead)).max(now)
}

fn share(jitter: Duration, chance: u32) -> Duration {
    jitter.mul_f64(f64::from(chance) / f64::from(u32::MAX)).min(jitter)
}

#[cfg(test)]
mod tests;
