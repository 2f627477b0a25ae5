//! `status` of several jobs: one table, one line for each.

use super::events::size_text;
use super::output;
use super::status_lines::result_word;
use crate::clock;
use crate::config::settings::Settings;
use crate::engine::job::Job;
use crate::engine::status::{self, Overview};
use crate::error::{Error, ExitCode};

/// What a line says of a job.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    job: String,
    state: String,
    good: String,
    entries: String,
    bytes: String,
    problems: String,
    held: String,
    next: String,
}

/// Prints the table. A job of which nothing can be told has a line that says so, and why on stderr; the code
/// is then that of the worst.
pub fn print(jobs: &[Settings]) -> ExitCode {
    let mut code = ExitCode::Ok;
    let mut lines = vec![Line {
        job: "job".to_owned(),
        state: "state".to_owned(),
        good: "last good run".to_owned(),
        entries: "entries".to_owned(),
        bytes: "bytes".to_owned(),
        problems: "problems".to_owned(),
        held: "held".to_owned(),
        next: "what to do".to_owned(),
    }];
    for settings in jobs {
        let looked = Job::locate(settings.clone()).and_then(|job| {
            let overview = status::overview(&job, 1)?;
            Ok(line(&job, overview.as_ref()))
        });
        lines.push(looked.unwrap_or_else(|error: Error| {
            output::diagnose("error", &format!("{}: {error}", settings.label()));
            code = code.worst(error.exit_code());
            blank(settings.label(), "unreadable", "see the error above")
        }));
    }
    let width = |of: fn(&Line) -> &str| lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0);
    let (job, state, good) = (width(|line| &line.job), width(|line| &line.state), width(|line| &line.good));
    for (number, line) in lines.iter().enumerate() {
        let padded = format!("{:<state$}", line.state);
        let shown = match line.state.as_str() {
            _ if number == 0 => padded,
            "running" | "no run yet" => padded,
            state => output::paint(&padded, state == "ok"),
        };
        output::print(format_args!(
            "{:<job$}  {shown}  {:<good$}  {:>9}  {:>10}  {:>8}  {:>6}  {}",
            line.job, line.good, line.entries, line.bytes, line.problems, line.held, line.next
        ));
    }
    code
}

fn blank(job: String, state: &str, next: &str) -> Line {
    let none = || "-".to_owned();
    Line {
        job,
        state: state.to_owned(),
        good: none(),
        entries: none(),
        bytes: none(),
        problems: none(),
        held: none(),
        next: next.to_owned(),
    }
}

fn line(job: &Job, overview: Option<&Overview>) -> Line {
    let Some(overview) = overview else { return blank(job.label(), "no run yet", "-") };
    let state = overview.runs.first().map_or("no run yet", |run| result_word(run, overview));
    let failed = overview.runs.first().filter(|_| state == "failed");
    let held = overview.held.as_ref();
    let next = match (held, failed.and_then(|run| run.figures.message.as_ref())) {
        (_, Some(why)) => why.clone(),
        (Some(held), _) if held.approved.is_none() => job.approve_command(held.run),
        (Some(_), _) => "approved: the next run deletes".to_owned(),
        _ if !overview.problems.is_empty() => match &job.settings.name {
            Some(name) => format!("twinfold status --job {name} --problems"),
            None => "see --problems".to_owned(),
        },
        _ => "-".to_owned(),
    };
    let good = overview.last_good.as_ref().and_then(|run| run.ended);
    Line {
        job: job.label(),
        state: state.to_owned(),
        good: good.map_or_else(|| "-".to_owned(), clock::readable),
        entries: overview.entries.to_string(),
        bytes: size_text(overview.bytes),
        problems: overview.problems.len().to_string(),
        held: held.map_or(0, |held| held.deletes + held.overwrites).to_string(),
        next,
    }
}
