//! The schedule with a clock that the tests turn.

use super::*;
use proptest::prelude::*;

fn s(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn timing(key: &'static str, interval: u64) -> Timing<&'static str> {
    Timing { key, interval: s(interval), jitter: Duration::ZERO }
}

/// A schedule that took these jobs in at `now`.
fn schedule(most: usize, jobs: &[(&'static str, u64)], now: u64) -> Schedule<&'static str> {
    let mut schedule = Schedule::new(most);
    schedule.set(jobs.iter().map(|&(key, interval)| timing(key, interval)).collect(), most, s(now));
    schedule
}

#[test]
fn the_first_run_is_at_once_and_the_next_at_ticks_from_start_to_start() {
    let mut schedule = schedule(1, &[("a", 10)], 100);
    for (start, end, next) in [(100, 103, 110), (110, 110, 120), (120, 129, 130)] {
        assert_eq!(schedule.next(s(start)), Some(s(start)));
        assert_eq!(schedule.start(s(start)), Some("a"));
        assert_eq!((schedule.start(s(start)), schedule.next(s(start))), (None, None), "it runs");
        schedule.ended(&"a", s(end), 0);
        assert_eq!(schedule.next(s(end)), Some(s(next)));
        assert_eq!(schedule.start(s(next - 1)), None);
    }
}

#[test]
fn ticks_that_a_long_run_missed_are_dropped() {
    for (end, next) in [(9, 10), (10, 20), (19, 20), (20, 30), (73, 80)] {
        let mut schedule = schedule(1, &[("a", 10)], 0);
        schedule.start(s(0));
        schedule.ended(&"a", s(end), 0);
        assert_eq!(schedule.next(s(end)), Some(s(next)), "ended at {end}");
    }
}

#[test]
fn after_a_sleep_over_many_ticks_each_job_runs_once_and_then_at_its_ticks() {
    let mut schedule = schedule(2, &[("a", 60), ("b", 600)], 0);
    for key in ["a", "b"] {
        assert_eq!(schedule.start(s(0)), Some(key));
        schedule.ended(&key, s(1), 0);
    }
    // The machine slept for eight hours.
    let now = 8 * 3600 + 7;
    let mut runs = Vec::new();
    while let Some(key) = schedule.start(s(now)) {
        schedule.ended(&key, s(now), 0);
        runs.push(key);
    }
    assert_eq!(runs, ["a", "b"]);
    assert_eq!(schedule.upcoming(), Some((&"a", s(8 * 3600 + 60))));
}

#[test]
fn no_more_jobs_run_at_a_time_than_may_and_the_longest_due_goes_first() {
    let mut schedule = schedule(2, &[("a", 10), ("b", 10), ("c", 10)], 0);
    assert_eq!(
        [schedule.start(s(0)), schedule.start(s(0)), schedule.start(s(0))],
        [Some("a"), Some("b"), None]
    );
    schedule.ended(&"a", s(25), 0);
    assert_eq!(schedule.start(s(30)), Some("c"), "due since 0, and a only since 30");
    assert_eq!(schedule.start(s(30)), None);
    schedule.ended(&"b", s(31), 0);
    assert_eq!(schedule.start(s(31)), Some("a"));
}

#[test]
fn a_run_of_which_nothing_is_heard_makes_room_for_others_but_not_for_itself() {
    let mut schedule = schedule(1, &[("dead", 10), ("a", 10), ("b", 10)], 0);
    assert_eq!(schedule.start(s(0)), Some("dead"));
    schedule.set_stalled(&"a", true);
    assert_eq!((schedule.start(s(50)), schedule.next(s(50))), (None, None));
    schedule.set_stalled(&"dead", true);
    assert_eq!(
        (schedule.next(s(60)), schedule.start(s(60)), schedule.start(s(60))),
        (Some(s(60)), Some("a"), None)
    );
    // It is heard of again: nothing starts until there is room.
    schedule.set_stalled(&"dead", false);
    schedule.ended(&"a", s(61), 0);
    assert_eq!(schedule.start(s(61)), None);
    schedule.ended(&"dead", s(62), 0);
    assert_eq!(schedule.start(s(62)), Some("b"));
}

#[test]
fn who_asks_gets_one_run_more_that_begins_after_that_and_the_ticks_stay() {
    let mut schedule = schedule(2, &[("a", 100), ("b", 100)], 0);
    schedule.start(s(0));
    schedule.start(s(0));
    schedule.ended(&"b", s(1), 0);
    for _ in 0..3 {
        schedule.ask_for_all();
    }
    assert_eq!(schedule.next(s(5)), Some(s(5)));
    assert_eq!((schedule.start(s(5)), schedule.start(s(5))), (Some("b"), None), "a runs already");
    schedule.ended(&"a", s(6), 0);
    assert_eq!(schedule.start(s(6)), Some("a"), "its run may have begun before what is asked for");
    schedule.ended(&"a", s(7), 0);
    schedule.ended(&"b", s(8), 0);
    assert_eq!((schedule.start(s(9)), schedule.next(s(9))), (None, Some(s(100))));
}

#[test]
fn jitter_puts_a_run_off_but_not_the_ticks() {
    let mut schedule = Schedule::new(1);
    schedule.set(vec![Timing { key: "a", interval: s(100), jitter: s(40) }], 1, s(0));
    assert_eq!(schedule.start(s(0)), Some("a"), "the first run is at once");
    for (tick, chance, due) in [(100, u32::MAX, 140), (200, 0, 200), (300, u32::MAX / 2, 320)] {
        schedule.ended(&"a", s(tick - 50), chance);
        let next = schedule.next(s(tick - 50)).unwrap().as_secs_f64();
        assert!((next - f64::from(due)).abs() < 0.001, "{next}");
        assert_eq!(schedule.start(s(tick - 1)), None);
        assert_eq!(schedule.start(s(tick + 45)), Some("a"));
    }
}

#[test]
fn other_jobs_take_effect_and_a_run_that_goes_on_is_let_end() {
    let mut schedule = schedule(1, &[("gone", 10), ("kept", 10)], 0);
    assert_eq!(schedule.start(s(0)), Some("gone"));
    schedule.set(vec![timing("kept", 10), timing("new", 10)], 1, s(2));
    assert_eq!((schedule.running(), schedule.start(s(2))), (1, None));
    schedule.ask_for_all();
    schedule.ended(&"gone", s(3), 0);
    assert_eq!(schedule.start(s(3)), Some("kept"));
    schedule.ended(&"kept", s(3), 0);
    assert_eq!(schedule.start(s(3)), Some("new"));
    schedule.ended(&"new", s(3), 0);
    assert_eq!(schedule.start(s(9)), None);
    // Gone and back while it runs: it never went.
    assert_eq!(schedule.start(s(10)), Some("kept"));
    schedule.set(vec![], 1, s(11));
    schedule.set(vec![timing("kept", 10)], 1, s(12));
    assert_eq!(schedule.start(s(12)), None, "it does not run twice");
    schedule.ended(&"kept", s(13), 0);
    assert_eq!(schedule.next(s(13)), Some(s(20)));
    schedule.set(vec![], 1, s(14));
    assert_eq!((schedule.next(s(14)), schedule.upcoming()), (None, None));
}

#[test]
fn another_interval_counts_from_the_last_tick() {
    for (interval, next) in [(10, 60), (55, 60), (100, 100), (3600, 3600)] {
        let mut schedule = schedule(1, &[("a", 300)], 0);
        schedule.start(s(0));
        schedule.ended(&"a", s(1), 0);
        schedule.set(vec![timing("a", interval)], 1, s(60));
        assert_eq!(schedule.next(s(60)), Some(s(next)), "{interval}");
    }
}

proptest! {
    /// Whatever happens: one job never runs twice at a time, no more than may, and a job that does not
    /// run is due within its interval and jitter of now.
    #[test]
    fn runs_never_overlap_and_none_is_put_off_for_ever(
        steps in prop::collection::vec((0_u8..5, 0_u64..500, any::<u32>()), 1..80),
        most in 1_usize..3,
    ) {
        let jobs = [("a", 7, 3), ("b", 20, 20), ("c", 300, 0)];
        let timings: Vec<Timing<&str>> = jobs
            .iter()
            .map(|&(key, interval, jitter)| Timing { key, interval: s(interval), jitter: s(jitter) })
            .collect();
        let mut schedule = Schedule::new(most);
        schedule.set(timings.clone(), most, s(0));
        let mut running: Vec<&str> = Vec::new();
        let mut now = 0;
        for (what, passes, chance) in steps {
            now += passes;
            match what {
                0 => schedule.ask_for_all(),
                1 | 2 => while let Some(key) = schedule.start(s(now)) {
                    prop_assert!(!running.contains(&key));
                    running.push(key);
                },
                3 => schedule.set(timings.clone(), most, s(now)),
                _ => if let Some(key) = running.pop() {
                    schedule.ended(&key, s(now), chance);
                    let (interval, jitter) = jobs.iter().find(|job| job.0 == key).map(|job| (job.1, job.2)).unwrap();
                    let slot = schedule.slot(&key).unwrap();
                    prop_assert!(slot.tick > s(now) && slot.tick <= s(now + interval));
                    prop_assert!(slot.due >= slot.tick && slot.due <= slot.tick + s(jitter));
                },
            }
            prop_assert!(running.len() <= most && running.len() == schedule.running());
        }
    }
}
