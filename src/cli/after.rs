//! `on_success`, `on_problem` and `on_change`: the commands after a run. Their failure is logged, and changes nothing.

use super::events;
use super::log_lines::EVENTS;
use super::output;
use crate::cancel::Cancel;
use crate::config::file::LogFormat;
use crate::config::settings::Settings;
use crate::engine::descriptors;
use crate::engine::report::Report;
use crate::error::{Error, ExitCode};
use crate::hook::{self, Bounds, End, Told};
use crate::manifest::{ABSENT, RunFigures};
use crate::model::Verb;
use crate::model::escape::escaped;
use log::Level;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;

/// How a run ended, as a hook is told.
pub enum Outcome<'o> {
    /// It went to its end, or as far as it was let.
    Report(&'o Report),
    /// It did not begin: a root is not there that comes and goes.
    Absent(&'o Error),
    /// Something stopped it, or kept it from beginning.
    Failure(&'o Error),
}

impl Outcome<'_> {
    /// The code of a program that ends so.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Report(report) => report.exit_code(),
            Self::Absent(_) => ExitCode::Ok,
            Self::Failure(error) => error.exit_code(),
        }
    }

    /// The result in one word.
    pub fn result(&self) -> &'static str {
        match self {
            Self::Report(report) => report.result(),
            Self::Absent(_) => ABSENT,
            Self::Failure(_) => "failed",
        }
    }

    /// Why deletes are held, the run did not begin, or what stopped it; empty where there is nothing to say.
    pub fn message(&self) -> String {
        match self {
            Self::Report(report) => report.held.map(|held| held.to_string()).unwrap_or_default(),
            Self::Absent(error) | Self::Failure(error) => error.to_string(),
        }
    }
}

/// So many lines of what a hook says go to the log.
const LINES: usize = 100;

/// Runs the commands that belong to this outcome, to their ends. `before` is the result of the run before.
pub fn run(
    settings: &Settings,
    outcome: &Outcome<'_>,
    before: Option<&str>,
    cancel: &Cancel,
    format: LogFormat,
    verbose: bool,
) {
    let by_code = match (outcome, outcome.exit_code()) {
        (_, ExitCode::Interrupted) => return,
        (Outcome::Absent(_), _) => "",
        (_, ExitCode::Ok) => "on_success",
        _ => "on_problem",
    };
    let by_change = if before == Some(outcome.result()) { "" } else { "on_change" };
    for (name, command) in settings.hooks.commands() {
        if (name != by_code && name != by_change) || cancel.requested() {
            continue;
        }
        let teller = Teller { name, job: settings.label(), run: run_of(outcome), format, verbose };
        let bounds = Bounds { time: settings.hooks.timeout, files: descriptors::inherited_limit() };
        match hook::run(command, &variables(name, settings, outcome, before), bounds, cancel) {
            Ok(told) => teller.tell(&told, settings.hooks.timeout.as_secs()),
            Err(error) => teller.failed(&unrunnable(command, &error)),
        }
    }
}

/// Says of each command of the jobs whose program is not there or may not be run that it will not run: else that
/// would be found out when it is needed.
pub fn check(jobs: &[Settings], warn: impl Fn(&str)) {
    for settings in jobs {
        for (key, command) in settings.hooks.commands() {
            if let Err(error) = hook::find(command) {
                warn(&format!(
                    "{key} of {}: {}; correct {key}",
                    settings.label(),
                    unrunnable(command, &error)
                ));
            }
        }
    }
}

fn unrunnable(command: &[String], error: &io::Error) -> String {
    let program = command.first().map(|program| escaped(program.as_bytes())).unwrap_or_default();
    format!("{program} cannot be run: {error}")
}

fn run_of(outcome: &Outcome<'_>) -> Option<i64> {
    match outcome {
        Outcome::Report(report) => report.run,
        Outcome::Absent(_) | Outcome::Failure(_) => None,
    }
}

/// What a hook finds in its environment. The counts have names that no option has: a twinfold that the hook
/// starts reads `TWINFOLD_*` as options, and is to take the job and its roots for its own.
fn variables(
    name: &str,
    settings: &Settings,
    outcome: &Outcome<'_>,
    before: Option<&str>,
) -> Vec<(&'static str, OsString)> {
    let code = outcome.exit_code().number();
    let number = |number: u64| OsString::from(number.to_string());
    let seconds = match outcome {
        Outcome::Report(report) => report.elapsed.as_secs_f64(),
        Outcome::Absent(_) | Outcome::Failure(_) => 0.0,
    };
    let figures = match outcome {
        Outcome::Report(report) => report.figures(),
        Outcome::Absent(_) | Outcome::Failure(_) => RunFigures::default(),
    };
    let of = |verb| match outcome {
        Outcome::Report(report) => number(report.tally.of(verb)),
        Outcome::Absent(_) | Outcome::Failure(_) => number(0),
    };
    vec![
        ("TWINFOLD_HOOK", name.into()),
        // A job without a name is told by its roots; nothing is as good as no name.
        ("TWINFOLD_JOB", settings.name.clone().unwrap_or_default().into()),
        ("TWINFOLD_SOURCE", settings.source.clone().into()),
        ("TWINFOLD_REPLICA", settings.replica.clone().into()),
        ("TWINFOLD_RUN_ID", run_of(outcome).map(|run| run.to_string()).unwrap_or_default().into()),
        ("TWINFOLD_RESULT", outcome.result().into()),
        ("TWINFOLD_PREVIOUS_RESULT", before.unwrap_or_default().into()),
        ("TWINFOLD_EXIT_CODE", number(code.into())),
        // A NUL would keep the command from being run.
        ("TWINFOLD_MESSAGE", outcome.message().replace('\0', " ").into()),
        ("TWINFOLD_SECONDS", format!("{seconds:.3}").into()),
        ("TWINFOLD_COUNT_CREATE", of(Verb::Create)),
        ("TWINFOLD_COUNT_COPY", of(Verb::Copy)),
        ("TWINFOLD_COUNT_MOVE", of(Verb::Move)),
        ("TWINFOLD_COUNT_LINK", of(Verb::Link)),
        ("TWINFOLD_COUNT_METADATA", of(Verb::Metadata)),
        ("TWINFOLD_COUNT_DELETE", of(Verb::Delete)),
        ("TWINFOLD_COUNT_BYTES", number(figures.bytes)),
        ("TWINFOLD_COUNT_PROBLEMS", number(figures.problems)),
        ("TWINFOLD_COUNT_HELD", number(figures.held)),
        ("TWINFOLD_COUNT_ENTRIES", number(figures.entries)),
    ]
}

struct Teller {
    name: &'static str,
    job: String,
    run: Option<i64>,
    format: LogFormat,
    verbose: bool,
}

impl Teller {
    fn tell(&self, told: &Told, limit_s: u64) {
        let said = String::from_utf8_lossy(&told.said);
        for line in said.lines().take(LINES) {
            self.write(Level::Info, line);
        }
        if told.dropped > 0 || said.lines().nth(LINES).is_some() {
            self.write(Level::Info, "(it said more, which is not kept)");
        }
        match told.end {
            End::Code(0) => {}
            End::Code(code) => self.failed(&format!("it ended with {code}")),
            End::Signal(signal) => self.failed(&format!("signal {signal} ended it")),
            End::TimedOut => {
                self.failed(&format!(
                    "it took longer than {limit_s} s (hook_timeout) and was ended with all it started"
                ));
            }
            End::Stopped => self.failed("it was ended, because twinfold was told to stop"),
        }
    }

    fn failed(&self, why: &str) {
        self.write(Level::Warn, why);
        // With -v the log on stderr says the same.
        if !self.verbose {
            output::diagnose("warning", &format!("{} of {}: {why}", self.name, self.job));
        }
    }

    fn write(&self, level: Level, message: &str) {
        let line = match self.format {
            LogFormat::Text => format!("{} of {}: {message}", self.name, self.job),
            LogFormat::Json => {
                let mut object = events::event("hook", &self.job, self.run);
                object.insert("hook".to_owned(), json!(self.name));
                object.insert("message".to_owned(), json!(message));
                Value::Object(object).to_string()
            }
        };
        log::log!(target: EVENTS, level, "{line}");
    }
}
