//! The monitors of the shell: the log, JSON on stdout, messages on stderr, and all of them together.

use super::events;
use super::log_lines::EVENTS;
use super::output;
use crate::config::file::LogFormat;
use crate::engine::rebuild::Rebuilt;
use crate::engine::report::Report;
use crate::error::{Error, ExitCode};
use crate::manifest::ABSENT;
use crate::model::{Done, Finding, PastProblem, Problem, Verb};
use crate::monitor::{Amount, BytesRead, Monitor, Phase, Remaining};
use crate::plan::Intent;
use log::Level;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Several monitors as one.
pub struct Together<'m>(pub Vec<&'m dyn Monitor>);

impl Monitor for Together<'_> {
    fn begun(&self, run: i64) {
        self.0.iter().for_each(|monitor| monitor.begun(run));
    }
    fn reading(&self, bytes: &Arc<BytesRead>) {
        self.0.iter().for_each(|monitor| monitor.reading(bytes));
    }
    fn phase(&self, phase: Phase, total: Option<Amount>) {
        self.0.iter().for_each(|monitor| monitor.phase(phase, total));
    }
    fn advance(&self, by: Amount) {
        self.0.iter().for_each(|monitor| monitor.advance(by));
    }
    fn planned(&self, intent: Intent<'_>) {
        self.0.iter().for_each(|monitor| monitor.planned(intent));
    }
    fn done(&self, batch: &[Done]) {
        self.0.iter().for_each(|monitor| monitor.done(batch));
    }
    fn finding(&self, finding: &Finding) {
        self.0.iter().for_each(|monitor| monitor.finding(finding));
    }
    fn problem(&self, problem: &Problem) {
        self.0.iter().for_each(|monitor| monitor.problem(problem));
    }
    fn known_problem(&self, problem: &Problem) {
        self.0.iter().for_each(|monitor| monitor.known_problem(problem));
    }
    fn remaining(&self, remaining: &Remaining<'_>) {
        self.0.iter().for_each(|monitor| monitor.remaining(remaining));
    }
    fn solved(&self, problem: &PastProblem) {
        self.0.iter().for_each(|monitor| monitor.solved(problem));
    }
    fn warning(&self, message: &str) {
        self.0.iter().for_each(|monitor| monitor.warning(message));
    }
    fn note(&self, message: &str) {
        self.0.iter().for_each(|monitor| monitor.note(message));
    }
}

/// Most lines of operations are no longer, in bytes.
const USUAL_LINE: usize = 128;

/// Writes every operation, problem and warning to the log.
pub struct Logged {
    /// The job's name, as JSON lines have it.
    pub job: String,
    /// The log's format.
    pub format: LogFormat,
    /// The run's number, where there is one.
    pub run: Cell<Option<i64>>,
    /// Lines for people say whose they are, too.
    pub several: bool,
}

impl Logged {
    /// What stands before a line for people that does not name the job by itself.
    fn whose(&self) -> String {
        if self.several { format!("{}: ", self.job) } else { String::new() }
    }

    fn write(&self, level: Level, name: &str, text: &str, fields: impl FnOnce(&mut Map<String, Value>)) {
        let line = match self.format {
            LogFormat::Text => text.to_owned(),
            LogFormat::Json => {
                let mut object = events::event(name, &self.job, self.run.get());
                fields(&mut object);
                Value::Object(object).to_string()
            }
        };
        log::log!(target: EVENTS, level, "{line}");
    }
}

impl Logged {
    /// Writes a run's summary line.
    pub fn summary(&self, report: &Report) {
        let level = if report.exit_code() == ExitCode::Ok { Level::Info } else { Level::Warn };
        let run = report.run.unwrap_or_default();
        let text = format!("run {run} of {}: {}", self.job, events::summary_text(report));
        self.write(level, "summary", &text, |object| {
            events::summary_fields(object, report);
        });
    }

    /// Writes what stopped a run, or kept it from beginning.
    pub fn failed(&self, error: &Error) {
        self.write(Level::Error, "summary", &format!("{}: {error}", self.job), |object| {
            events::failure_fields(object, error);
        });
    }

    /// Writes that a root is not there that comes and goes.
    pub fn absent(&self, error: &Error) {
        self.write(Level::Info, "summary", &format!("{}: {ABSENT}: {error}", self.job), |object| {
            events::absence_fields(object, error);
        });
    }

    /// Writes a rebuild's summary line.
    pub fn rebuilt(&self, report: &Rebuilt) {
        let level = if report.exit_code() == ExitCode::Ok { Level::Info } else { Level::Warn };
        let run = report.run.map_or_else(|| "report".to_owned(), |run| format!("run {run}"));
        let text = format!("{run} of {}: {}", self.job, events::rebuilt_text(report));
        self.write(level, "summary", &text, |object| {
            object.insert("run".to_owned(), serde_json::json!(report.run));
            events::rebuilt_fields(object, report);
        });
    }
}

impl Monitor for Logged {
    fn begun(&self, run: i64) {
        self.run.set(Some(run));
    }

    fn done(&self, batch: &[Done]) {
        if !log::log_enabled!(target: EVENTS, Level::Info) {
            return;
        }
        let whose = self.whose();
        let mut lines = String::with_capacity(batch.len() * USUAL_LINE);
        for done in batch.iter().filter(|done| events::is_told(done)) {
            if !lines.is_empty() {
                lines.push('\n');
            }
            match self.format {
                LogFormat::Text => {
                    lines.push_str(&whose);
                    events::operation_text(done, &mut lines);
                }
                LogFormat::Json => {
                    let mut object = events::event("operation", &self.job, self.run.get());
                    events::operation_fields(&mut object, done);
                    object.insert("seconds".to_owned(), serde_json::json!(done.took.as_secs_f64()));
                    lines.push_str(&Value::Object(object).to_string());
                }
            }
        }
        if !lines.is_empty() {
            log::info!(target: EVENTS, "{lines}");
        }
    }

    fn finding(&self, finding: &Finding) {
        let level = if finding.is_damage() { Level::Error } else { Level::Info };
        let text = format!("{}{finding}", self.whose());
        self.write(level, "finding", &text, |object| events::finding_fields(object, finding));
    }

    fn problem(&self, problem: &Problem) {
        let text = format!("{}problem: {problem}", self.whose());
        self.write(Level::Error, "problem", &text, |object| {
            events::problem_fields(object, problem, false);
        });
    }

    fn remaining(&self, remaining: &Remaining<'_>) {
        let message = events::remaining_text(remaining);
        self.write(Level::Warn, "warning", &format!("{}{message}", self.whose()), |object| {
            object.insert("message".to_owned(), serde_json::json!(message));
        });
    }

    fn solved(&self, problem: &PastProblem) {
        let text = format!("{}solved: {problem}", self.whose());
        self.write(Level::Info, "solved", &text, |object| events::past_problem_fields(object, problem));
    }

    fn warning(&self, message: &str) {
        self.write(Level::Warn, "warning", &format!("{}{message}", self.whose()), |object| {
            object.insert("message".to_owned(), serde_json::json!(message));
        });
    }

    fn note(&self, message: &str) {
        self.write(Level::Info, "note", &format!("{}{message}", self.whose()), |object| {
            object.insert("message".to_owned(), serde_json::json!(message));
        });
    }
}

/// Counts whatever a run tells of: a sign of life.
pub struct Pulse<'p>(pub &'p AtomicU64);

impl Pulse<'_> {
    fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Monitor for Pulse<'_> {
    fn begun(&self, _run: i64) {
        self.beat();
    }
    fn phase(&self, _phase: Phase, _total: Option<Amount>) {
        self.beat();
    }
    fn advance(&self, _by: Amount) {
        self.beat();
    }
}

/// Prints events as JSON on stdout.
pub struct Json {
    /// The job's name.
    pub job: String,
    /// The run's number, where there is one.
    pub run: Cell<Option<i64>>,
}

impl Json {
    fn print(&self, name: &str, fields: impl FnOnce(&mut Map<String, Value>)) {
        let mut object = events::event(name, &self.job, self.run.get());
        fields(&mut object);
        output::print(Value::Object(object));
    }
}

impl Monitor for Json {
    fn begun(&self, run: i64) {
        self.run.set(Some(run));
    }
    fn planned(&self, intent: Intent<'_>) {
        self.print("plan", |object| events::plan_fields(object, intent));
    }
    fn done(&self, batch: &[Done]) {
        for done in batch.iter().filter(|done| events::is_told(done)) {
            self.print("operation", |object| events::operation_fields(object, done));
        }
    }
    fn finding(&self, finding: &Finding) {
        self.print("finding", |object| events::finding_fields(object, finding));
    }
    fn problem(&self, problem: &Problem) {
        self.print("problem", |object| events::problem_fields(object, problem, false));
    }
    fn known_problem(&self, problem: &Problem) {
        self.print("problem", |object| events::problem_fields(object, problem, true));
    }
    fn solved(&self, problem: &PastProblem) {
        self.print("solved", |object| events::past_problem_fields(object, problem));
    }
}

/// Prints a dry run's plan for people.
pub struct PlanLines;

impl Monitor for PlanLines {
    fn planned(&self, intent: Intent<'_>) {
        let Intent { verb, path, from, bytes } = intent;
        let more = match from {
            Some(from) => format!("  from {from}"),
            None if verb == Verb::Copy => format!("  {}", events::size_text(bytes)),
            None => String::new(),
        };
        output::print(format_args!("{:<8} {path}{more}", verb.name()));
    }
}

/// Says problems and warnings on stderr, the first few of a kind one by one.
#[derive(Default)]
pub struct Diagnostics {
    /// The job, where there are several.
    pub of: Option<String>,
    problems: Cell<usize>,
    solved: Cell<usize>,
}

impl Diagnostics {
    /// Names the job before each message, if there is one to be named.
    pub fn of(job: Option<String>) -> Self {
        Self { of: job, ..Self::default() }
    }

    fn say(&self, level: &str, message: &str) {
        match &self.of {
            Some(job) => output::diagnose(level, &format!("{job}: {message}")),
            None => output::diagnose(level, message),
        }
    }
}

/// Beyond so many, `status --problems` is the better place to read them.
const SHOWN: usize = 20;

impl Diagnostics {
    /// Says a message if `said` is not [`SHOWN`] yet, and once that there are `more`.
    fn say_first(&self, said: &Cell<usize>, level: &str, message: &str, more: &str) {
        let number = said.get() + 1;
        said.set(number);
        if number <= SHOWN {
            self.say(level, message);
        } else if number == SHOWN + 1 {
            self.say(level, more);
        }
    }
}

impl Monitor for Diagnostics {
    fn problem(&self, problem: &Problem) {
        let more = "there are more; see the log, or twinfold status --problems";
        self.say_first(&self.problems, "problem", &problem.to_string(), more);
    }
    fn remaining(&self, remaining: &Remaining<'_>) {
        self.say("problem", &events::remaining_text(remaining));
    }
    fn solved(&self, problem: &PastProblem) {
        self.say_first(&self.solved, "solved", &problem.to_string(), "more were solved; see the log");
    }
    fn warning(&self, message: &str) {
        self.say("warning", message);
    }
}
