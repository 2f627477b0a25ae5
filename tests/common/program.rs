//! Starting the program, waiting for it with an end, and what came of it.

use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// No run of a test takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(100);

/// How a run ended.
#[derive(Debug)]
pub struct Output {
    /// The exit code; 128 and the signal's number where a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Fails unless the run ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails unless stderr says this.
    #[track_caller]
    pub fn says(self, what: &str) -> Self {
        assert!(self.stderr.contains(what), "stderr does not say {what:?}: {}", self.stderr);
        self
    }

    /// stdout as JSON objects, one a line.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {line}\nstderr: {}", self.stderr),
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The last JSON object on stdout, which must be the summary.
    #[track_caller]
    pub fn summary(&self) -> serde_json::Value {
        let last = self.json().pop().unwrap_or_default();
        assert_eq!(last["event"], "summary", "{self:?}");
        last
    }
}

/// A program that is still running.
pub struct Running {
    child: Child,
    stdout: thread::JoinHandle<Vec<u8>>,
    stderr: thread::JoinHandle<Vec<u8>>,
}

/// Starts `command` with its output collected.
pub fn start(command: Command) -> Running {
    let name = format!("{command:?}");
    start_if_there(command).unwrap_or_else(|| panic!("cannot start {name}"))
}

/// Starts `command` with its output collected; `None` where there is no such program.
pub fn start_if_there(mut command: Command) -> Option<Running> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            // A child of another test's thread may still have the copy of the program open that was just written.
            Err(error)
                if error.kind() == std::io::ErrorKind::ExecutableFileBusy
                    && began.elapsed() < Duration::from_secs(5) =>
            {
                sleep(Duration::from_millis(10));
            }
            result => break result.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")),
        }
    };
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    Some(Running { child, stdout: collect(out), stderr: collect(err) })
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

/// Runs `command` to its end.
pub fn finish(command: Command) -> Output {
    start(command).wait()
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it where it is; returns when none of its threads runs any more, which is a little later
    /// than the signal.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        wait_until("every thread stands still", || stands_still(self.id()));
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Whether it ended, be it that strace, which delays one of its threads, keeps it from being
    /// waited for (`Z` after the name in brackets, proc(5)).
    pub fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'))
    }

    /// Waits for its end.
    pub fn wait(self) -> Output {
        self.wait_for(PATIENCE).0
    }

    /// Waits for its end, killing it and failing when that takes longer than `limit`; says how
    /// long it took.
    pub fn wait_for(mut self, limit: Duration) -> (Output, Duration) {
        use std::os::unix::process::ExitStatusExt;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > limit {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("still running after {limit:?}: {}", text(self.stderr));
            }
            sleep(Duration::from_millis(2));
        };
        let took = began.elapsed();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        (Output { code, stdout: text(self.stdout), stderr: text(self.stderr) }, took)
    }
}

/// Whether all threads of a process are stopped (`T` after the name in brackets, proc(5)).
fn stands_still(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    })
}

fn text(collected: thread::JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&collected.join().unwrap()).into_owned()
}

/// Waits until `reached` says so; fails with `what` after a long while.
#[track_caller]
pub fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        sleep(Duration::from_millis(5));
    }
}
