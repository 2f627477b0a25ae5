//! Whether the program is alive, for the watchdog.
//!
//! That its main loop turns over is shown by asking at all. A run may be slow for ever without being dead: a
//! network file system whose server is gone keeps whoever reads waiting in the kernel, and a restart
//! would wait there, too. What only a restart can cure is threads that wait for each other. So the program counts as
//! dead where, look after look for [`PATIENCE`], a run goes on and tells of nothing, and no thread does
//! anything but wait for another one: all are in futex(2), and without a time limit but for those that lead a
//! run. Where `/proc` does not tell, it counts as alive.

use std::fs;
use std::time::Duration;

/// For so long nothing may move.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a thread that leads a run is called.
pub const LEADER: &str = "run";

/// A run that tells of nothing for so long has others not wait for it any more.
const STALLED: Duration = Duration::from_secs(600);

/// For how long nothing was heard of one run.
#[derive(Clone, Copy, Debug)]
pub struct Stillness {
    beats: u64,
    since: Duration,
    told: bool,
}

impl Stillness {
    /// It begins now.
    pub fn from(now: Duration, beats: u64) -> Self {
        Self { beats, since: now, told: false }
    }

    /// Looks; says `Some` where it has changed whether the run counts as stalled.
    pub fn look(&mut self, now: Duration, beats: u64) -> Option<bool> {
        if beats != self.beats {
            let told = self.told;
            *self = Self::from(now, beats);
            return told.then_some(false);
        }
        let stalled = !self.told && now.saturating_sub(self.since) >= STALLED;
        self.told |= stalled;
        stalled.then_some(true)
    }
}

/// The memory between two looks.
#[derive(Debug, Default)]
pub struct Vitals {
    beats: u64,
    still_since: Option<Duration>,
}

impl Vitals {
    /// Looks: `now` is a moment, `running` how many runs go on, `beats` the sum of what they told of so far.
    /// `threads` finds out what this process's threads do.
    pub fn alive(
        &mut self,
        now: Duration,
        running: usize,
        beats: u64,
        threads: impl FnOnce() -> Option<Vec<Thread>>,
    ) -> bool {
        let moved = running == 0 || beats != self.beats;
        self.beats = beats;
        if moved || threads().is_none_or(|threads| !threads.iter().all(Thread::waits_for_another)) {
            self.still_since = None;
            return true;
        }
        now.saturating_sub(*self.still_since.get_or_insert(now)) < PATIENCE
    }
}

/// What a thread does.
#[derive(Debug)]
pub struct Thread {
    name: String,
    /// As `/proc/PID/task/TID/syscall` has it: the number and six arguments, or `running`.
    call: String,
}

impl Thread {
    fn waits_for_another(&self) -> bool {
        let mut words = self.call.split_whitespace();
        let number = words.next().and_then(|word| word.parse::<i64>().ok());
        // futex(address, operation, value, time limit, ...)
        let limited = words.nth(3).is_none_or(|limit| limit != "0x0");
        number.is_some_and(|number| libc::c_long::try_from(number) == Ok(libc::SYS_futex))
            && (!limited || self.name == LEADER)
    }
}

/// The threads of this process but the main one and the one that waits for signals. `None` where the
/// system does not tell.
pub fn threads() -> Option<Vec<Thread>> {
    let main = std::process::id().to_string();
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let folder = entry.path();
        // One that ended meanwhile does nothing.
        let Ok(name) = fs::read_to_string(folder.join("comm")) else { continue };
        let name = name.trim_end().to_owned();
        if entry.file_name() != main.as_str() && name != crate::signals::THREAD {
            let call = match fs::read_to_string(folder.join("syscall")) {
                Ok(call) => call,
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
                Err(_) if folder.exists() => return None,
                Err(_) => continue,
            };
            threads.push(Thread { name, call });
        }
    }
    Some(threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::mpsc::channel;

    fn thread(name: &str, call: &str) -> Thread {
        Thread { name: name.to_owned(), call: call.to_owned() }
    }

    fn waiting(name: &str, limit: &str) -> Thread {
        thread(name, &format!("{} 0x7f00 0x189 0x0 {limit} 0x0 0xffffffff 0x7ffe 0x7f33", libc::SYS_futex))
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_threads_that_wait_for_each_other_all_the_time_are_dead() {
        let deadlock = || Some(vec![waiting("worker-0", "0x0"), waiting(LEADER, "0x7ffd")]);
        let slow = || {
            Some(vec![
                waiting("worker-0", "0x0"),
                thread("worker-1", "0 0x5 0x7f 0x1000 0x0 0x0 0x0 0x1 0x2"),
            ])
        };
        let busy = || Some(vec![thread("worker-0", "running\n")]);
        let timed = || Some(vec![waiting("worker-0", "0x7ffd")]);
        let mut vitals = Vitals::default();
        for (second, alive) in [(0, true), (30, true), (119, true), (120, false), (150, false)] {
            assert_eq!(vitals.alive(s(second), 1, 0, deadlock), alive, "{second}");
        }
        assert!(vitals.alive(s(180), 1, 1, deadlock), "it told of something");
        assert!(vitals.alive(s(290), 1, 1, deadlock) && !vitals.alive(s(500), 1, 1, deadlock));
        assert!(vitals.alive(s(510), 0, 1, deadlock), "nothing runs");
        for others in [&slow as &dyn Fn() -> _, &busy, &timed, &|| None] {
            assert!(vitals.alive(s(600), 1, 1, deadlock) && vitals.alive(s(700), 1, 1, others));
            assert!(vitals.alive(s(800), 1, 1, deadlock), "the patience begins anew");
            vitals = Vitals { beats: 1, still_since: None };
        }
    }

    #[test]
    fn a_run_is_stalled_once_until_it_is_heard_of_again() {
        let mut still = Stillness::from(s(10), 5);
        for (second, beats, news) in [
            (609, 5, None),
            (610, 5, Some(true)),
            (700, 5, None),
            (800, 6, Some(false)),
            (900, 7, None),
            (1499, 7, None),
            (1500, 7, Some(true)),
        ] {
            assert_eq!(still.look(s(second), beats), news, "{second}");
        }
    }

    #[test]
    fn the_system_tells_who_waits_for_another_thread_and_who_for_a_file() {
        let Some(_) = threads() else { return eprintln_skip() };
        let (told, hear) = channel::<()>();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).unwrap()
        };
        let one = start("v-another", Box::new(move || assert!(hear.recv().is_err())));
        let other = start("v-file", Box::new(move || drop(reader.read(&mut [0]))));
        let state = |name: &str| {
            let threads = threads().unwrap();
            threads.iter().find(|thread| thread.name == name).map(Thread::waits_for_another)
        };
        let mut seen = Vec::new();
        for _ in 0..500 {
            seen = vec![state("v-another"), state("v-file")];
            if seen == [Some(true), Some(false)] {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(seen, [Some(true), Some(false)]);
        drop((told, writer));
        one.join().unwrap();
        other.join().unwrap();
    }

    #[expect(clippy::print_stderr, reason = "a test that cannot be done here says so")]
    fn eprintln_skip() {
        eprintln!("SKIPPED: /proc does not tell what threads do");
    }
}
