//! One run as the shell has it: told to log, terminal and stdout, and what is run after it.

use super::after::{self, Outcome};
use super::args::JobOptions;
use super::metrics::MetricsFile;
use super::progress::{self, Bar};
use super::roster::{self, Member};
use super::watch::{Diagnostics, Json, Logged, Pulse, Together};
use super::{events, output};
use crate::cancel::Cancel;
use crate::config::file::{Absent, LogFormat};
use crate::config::settings::Settings;
use crate::engine::job::Job;
use crate::engine::report::{HeldAs, Report};
use crate::engine::{run, status};
use crate::error::{Error, ExitCode};
use crate::lock::RunLock;
use crate::manifest::ABSENT;
use crate::monitor::Monitor;
use serde_json::Value;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What runs are told to, and how.
pub struct Shell {
    /// The options, the environment filled in.
    pub options: JobOptions,
    /// The log's format.
    pub format: LogFormat,
    /// Who asks to stop.
    pub cancel: Arc<Cancel>,
    /// Only what a person would want to hear of a daemon's run is said.
    pub daemon: bool,
    /// There are several jobs: each line says of which it is.
    pub several: bool,
    /// Where metrics go after each run.
    pub metrics: Option<MetricsFile>,
}

/// A job's lock, with the manifest that it is for.
#[derive(Debug)]
pub struct Held {
    /// The manifest.
    pub manifest: PathBuf,
    /// Its lock.
    pub lock: RunLock,
}

/// One job's turn: what it takes to run it, whatever became of its roots and its lock since.
#[derive(Debug)]
pub struct Turn {
    /// The job.
    pub settings: Settings,
    /// Its lock, if it was to be had.
    pub held: Option<Held>,
    /// Accept where the roots are now.
    pub accept_root: bool,
    /// Why it cannot run, where that is known already.
    pub away: Option<Error>,
    /// How its last run in this process ended.
    pub last: Option<Last>,
}

/// How a run ended, as far as the next one is compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its result in one word.
    pub result: String,
    /// Why it did not begin, or what stopped it.
    pub message: String,
}

impl Turn {
    /// The first turn of a job.
    pub fn of(member: Member) -> Self {
        let Member { job, away, held, .. } = member;
        Self { accept_root: job.accept_root, settings: job.settings, held, away, last: None }
    }

    /// One of which nothing is known but its settings.
    pub fn fresh(settings: Settings) -> Self {
        Self { settings, held: None, accept_root: false, away: None, last: None }
    }
}

impl Shell {
    /// Runs a job, or says and notes why it cannot be run. A panic in it is a failure of that run only.
    /// `pulse` counts on as long as the run tells of anything.
    pub fn take(&self, turn: &mut Turn, pulse: &AtomicU64) -> ExitCode {
        let code = self.guard(turn, |turn| self.attempt(turn, pulse));
        self.metrics.iter().for_each(MetricsFile::write);
        code
    }

    fn guard(&self, turn: &mut Turn, work: impl FnOnce(&mut Turn) -> Result<Report, Error>) -> ExitCode {
        let settings = turn.settings.clone();
        let before = turn.last.take().or_else(|| last_in_history(&settings));
        // Whatever panics leaves the lock in `turn`, and the manifest true: it lags the disk at most.
        let result = catch_unwind(AssertUnwindSafe(|| work(turn)));
        let result = result.unwrap_or_else(|panic| Err(Error::Panicked(panic_text(panic.as_ref()))));
        let outcome = match &result {
            Ok(report) => Outcome::Report(report),
            Err(error) if error.is_tolerated(&settings) => Outcome::Absent(error),
            Err(error) => Outcome::Failure(error),
        };
        let last = Last { result: outcome.result().to_owned(), message: outcome.message() };
        match &outcome {
            Outcome::Report(_) => {}
            Outcome::Absent(error) => {
                self.absent(&settings, turn.held.as_ref(), error, before.as_ref() != Some(&last));
            }
            Outcome::Failure(error) => self.failed(&settings, turn.held.as_ref(), error),
        }
        let before = before.as_ref().map(|before| before.result.as_str());
        after::run(&settings, &outcome, before, &self.cancel, self.format, self.options.verbose);
        turn.last = Some(last);
        outcome.exit_code()
    }

    fn attempt(&self, turn: &mut Turn, pulse: &AtomicU64) -> Result<Report, Error> {
        if let Some(error) = turn.away.take() {
            return Err(error);
        }
        let verify_for = self.daemon.then_some(turn.settings.interval);
        let job = Job { accept_root: turn.accept_root, verify_for, ..Job::prepare(turn.settings.clone())? };
        let held = match turn.held.take().filter(|held| held.manifest == job.manifest) {
            Some(held) => held,
            None => Held { manifest: job.manifest.clone(), lock: job.lock()? },
        };
        self.run(&job, &turn.held.insert(held).lock, pulse)
    }

    /// One run, told to whoever is to hear of it.
    pub fn run(&self, job: &Job, lock: &RunLock, pulse: &AtomicU64) -> Result<Report, Error> {
        let options = &self.options;
        let logged = self.logged(job.label());
        let json = Json { job: job.label(), run: Cell::default() };
        let diagnostics = Diagnostics::of(self.several.then(|| job.label()));
        let (bar, pulse) = (Bar::default(), Pulse(pulse));
        let mut monitors: Vec<&dyn Monitor> = vec![&logged, &pulse];
        if options.json {
            monitors.push(&json);
        }
        // With -v the log on stderr says the same.
        if !options.verbose {
            monitors.push(&diagnostics);
            if !options.quiet && !options.json && !self.daemon && progress::wanted(options.no_progress) {
                monitors.push(&bar);
            }
        }
        let result = run::sync(job, lock, &self.cancel, &Together(monitors));
        bar.clear();
        let report = result?;
        // Whoever runs it by hand has not read what an earlier run reported; a daemon would repeat it at each tick.
        if let (false, Some(HeldAs { number, again: true })) = (self.daemon, report.held_plan) {
            let command = job.approve_command(number);
            diagnostics.warning(&format!("plan {number} is still held (to let it go: {command})"));
        }
        logged.summary(&report);
        let worth_saying = !self.daemon || report.did_something();
        summarize(options, job, &report, worth_saying, self.several);
        Ok(report)
    }

    fn logged(&self, job: String) -> Logged {
        Logged { job, format: self.format, run: Cell::default(), several: self.several }
    }

    /// Says what keeps a job from running or stopped its run, and notes it for `status`.
    fn failed(&self, settings: &Settings, held: Option<&Held>, error: &Error) {
        let label = settings.label();
        self.logged(label.clone()).failed(error);
        say_failure(&self.options, &label, error, self.several);
        // What stopped a run noted itself in the history, but for what kept it from beginning.
        if matches!(error, Error::Root(_) | Error::Panicked(_)) {
            note(settings, held, error);
        }
    }

    /// Says that a root is not there which comes and goes, in a daemon only where that `is_news`, and notes it for
    /// `status`.
    fn absent(&self, settings: &Settings, held: Option<&Held>, error: &Error, is_news: bool) {
        let label = settings.label();
        if is_news {
            self.logged(label.clone()).absent(error);
        }
        if is_news || !self.daemon {
            say_absent(&self.options, &label, error, self.several);
        }
        note(settings, held, error);
    }
}

/// Notes in the job's history why it did not run.
fn note(settings: &Settings, held: Option<&Held>, error: &Error) {
    if let Ok(job) = Job::locate(settings.clone()) {
        match held {
            Some(held) => roster::note_with(&job, &held.lock, error),
            None => roster::note(&job, error),
        }
    }
}

/// How the last run ended, by the job's history; nothing where nobody asks for it.
fn last_in_history(settings: &Settings) -> Option<Last> {
    if settings.absent == Absent::Problem && settings.hooks.commands().next().is_none() {
        return None;
    }
    // What cannot be read is said by the run itself.
    let figures = status::last_ended(&Job::locate(settings.clone()).ok()?).ok()??;
    Some(Last { result: figures.result, message: figures.message.unwrap_or_default() })
}

/// Says on stdout that a job has nothing to do, because a root is not there that comes and goes.
pub fn say_absent(options: &JobOptions, job: &str, error: &Error, several: bool) {
    if options.json {
        let mut object = events::event("summary", job, None);
        events::absence_fields(&mut object, error);
        output::print(Value::Object(object));
    } else if !options.quiet {
        let label = if several { format!("{job}: ") } else { String::new() };
        output::print(format_args!("{label}{ABSENT}: {error}"));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}

/// Says in the log, on stderr and in JSON what stopped the run of a job.
pub fn tell_failure(options: &JobOptions, job: &str, error: &Error) {
    log::error!("{job}: {error}");
    say_failure(options, job, error, false);
}

/// The same, but not in the log.
fn say_failure(options: &JobOptions, job: &str, error: &Error, several: bool) {
    if !options.verbose {
        let text = if several { format!("{job}: {error}") } else { error.to_string() };
        output::diagnose("error", &text);
    }
    if options.json {
        let mut object = events::event("summary", job, None);
        events::failure_fields(&mut object, error);
        output::print(Value::Object(object));
    }
}

/// Says how a run ended, or would end.
pub fn summarize(options: &JobOptions, job: &Job, report: &Report, worth_saying: bool, several: bool) {
    if options.json {
        let mut object = events::event("summary", &job.label(), report.run);
        events::summary_fields(&mut object, report);
        output::print(Value::Object(object));
    } else if !options.quiet && worth_saying {
        let label = if several { format!("{}: ", job.label()) } else { String::new() };
        let dry = if report.run.is_none() { "dry run, nothing written; a run would end with " } else { "" };
        output::print(format_args!("{label}{dry}{}", events::summary_text(report)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{ConfigFile, Overrides, jobs};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
    fn a_run_that_panics_is_a_failed_one_in_the_history_and_the_next_is_as_good_as_any() {
        let dir = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir(base.join("source")).unwrap();
        std::fs::write(base.join("source/file"), "x").unwrap();
        std::fs::create_dir(base.join("state")).unwrap();
        let overrides = Overrides {
            source: Some(base.join("source")),
            replica: Some(base.join("replica")),
            manifest: Some(base.join("state/m.db")),
            ..Overrides::default()
        };
        let settings = jobs(&overrides, &ConfigFile::default()).unwrap().remove(0);
        let options = JobOptions { quiet: true, ..JobOptions::default() };
        let (format, cancel) = (LogFormat::Text, Arc::new(Cancel::new()));
        let shell = Shell { options, format, cancel, daemon: true, several: false, metrics: None };
        let mut turn = Turn::fresh(settings.clone());
        assert_eq!(shell.take(&mut turn, &AtomicU64::default()), ExitCode::Ok);
        assert!(turn.held.is_some(), "the lock stays with the turn");
        assert_eq!(shell.guard(&mut turn, |_| panic!("told to")), ExitCode::Fatal);
        assert!(turn.held.is_some());
        let history = || {
            let overview = status::overview(&Job::locate(settings.clone()).unwrap(), 9).unwrap().unwrap();
            let of = |run: &crate::manifest::RunRow| (run.figures.exit_code, run.figures.message.clone());
            overview.runs.iter().map(of).collect::<Vec<_>>()
        };
        let told = history();
        assert!(told[0].0 == 1 && told[0].1.as_ref().unwrap().contains("told to"), "{told:?}");
        assert_eq!(shell.take(&mut turn, &AtomicU64::default()), ExitCode::Ok);
        assert_eq!(history().len(), 3);
    }

    #[test]
    fn a_panics_own_words_are_told() {
        for (panic, text) in [
            (catch_unwind(|| panic!("plain")), "plain"),
            (catch_unwind(|| panic!("{} of them", 2)), "2 of them"),
            (catch_unwind(|| std::panic::panic_any(7)), "it did not say why"),
        ] {
            assert_eq!(panic_text(panic.unwrap_err().as_ref()), text);
        }
    }
}
