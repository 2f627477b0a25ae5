//! `on_success` and `on_problem`: what is run after a run. Its failure is logged, and changes nothing.

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
use crate::model::Verb;
use log::Level;
use serde_json::{Value, json};
use std::ffi::OsString;

/// How a run ended, as a hook is told.
pub enum Outcome<'o> {
    /// It went to its end, or as far as it was let.
    Report(&'o Report),
    /// Something stopped it, or kept it from beginning.
    Failure(&'o Error),
}

impl Outcome<'_> {
    /// The code of a program that ends so.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Report(report) => report.exit_code(),
            Self::Failure(error) => error.exit_code(),
        }
    }
}

/// So many lines of what a hook says go to the log.
const LINES: usize = 100;

/// Runs the command that belongs to this outcome, if there is one, to its end.
pub fn run(settings: &Settings, outcome: &Outcome<'_>, cancel: &Cancel, format: LogFormat, verbose: bool) {
    let (name, command) = match outcome.exit_code() {
        ExitCode::Interrupted => return,
        ExitCode::Ok => ("on_success", &settings.hooks.on_success),
        _ => ("on_problem", &settings.hooks.on_problem),
    };
    if command.is_empty() || cancel.requested() {
        return;
    }
    let teller = Teller { name, job: settings.label(), run: run_of(outcome), format, verbose };
    let bounds = Bounds { time: settings.hooks.timeout, files: descriptors::inherited_limit() };
    match hook::run(command, &variables(name, settings, outcome), bounds, cancel) {
        Ok(told) => teller.tell(&told, settings.hooks.timeout.as_secs()),
        Err(error) => teller.failed(&format!("{:?} cannot be run: {error}", command.first())),
    }
}

fn run_of(outcome: &Outcome<'_>) -> Option<i64> {
    match outcome {
        Outcome::Report(report) => report.run,
        Outcome::Failure(_) => None,
    }
}

/// What a hook finds in its environment. The counts have names that no option has: a twinfold that the hook
/// starts reads `TWINFOLD_*` as options, and is to take the job and its roots for its own.
fn variables(name: &str, settings: &Settings, outcome: &Outcome<'_>) -> Vec<(&'static str, OsString)> {
    let code = outcome.exit_code().number();
    let number = |number: u64| OsString::from(number.to_string());
    let (result, message, seconds) = match outcome {
        Outcome::Report(report) => {
            let held = report.held.map(|held| held.to_string()).unwrap_or_default();
            (report.result(), held, report.elapsed.as_secs_f64())
        }
        Outcome::Failure(error) => ("failed", error.to_string(), 0.0),
    };
    let figures = match outcome {
        Outcome::Report(report) => report.figures(),
        Outcome::Failure(_) => crate::manifest::RunFigures::default(),
    };
    let of = |verb| match outcome {
        Outcome::Report(report) => number(report.tally.of(verb)),
        Outcome::Failure(_) => number(0),
    };
    vec![
        ("TWINFOLD_HOOK", name.into()),
        // A job without a name is told by its roots; nothing is as good as no name.
        ("TWINFOLD_JOB", settings.name.clone().unwrap_or_default().into()),
        ("TWINFOLD_SOURCE", settings.source.clone().into()),
        ("TWINFOLD_REPLICA", settings.replica.clone().into()),
        ("TWINFOLD_RUN_ID", run_of(outcome).map(|run| run.to_string()).unwrap_or_default().into()),
        ("TWINFOLD_RESULT", result.into()),
        ("TWINFOLD_EXIT_CODE", number(code.into())),
        // A NUL would keep the command from being run.
        ("TWINFOLD_MESSAGE", message.replace('\0', " ").into()),
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
