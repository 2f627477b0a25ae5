//! `twinfold rebuild-index`: everything read again, and what is not sound said.

use super::args::RebuildOptions;
use super::progress::{self, Bar};
use super::shell::tell_failure;
use super::sync::{self, Request, check_apart, place_log};
use super::watch::{Diagnostics, Json, Logged, Together};
use super::{environment, events, farewell, logging, output};
use crate::cancel::Cancel;
use crate::config::ConfigError;
use crate::config::units::{parse_duration, parse_size};
use crate::config::verification::{Portion, parse_share};
use crate::engine::job::Job;
use crate::engine::rebuild::{Options, Part, Rebuilt, rebuild};
use crate::error::{Error, ExitCode};
use crate::lock::RunLock;
use crate::model::Finding;
use crate::model::sums::{Sums, parse_sums};
use crate::monitor::Monitor;
use crate::plan::verdict::Sides;
use crate::signals;
use serde_json::Value;
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Runs the subcommand.
pub fn run(options: RebuildOptions) -> Result<ExitCode, Error> {
    let source_only = environment::switch(options.source_only, "SOURCE_ONLY")?;
    let replica_only = environment::switch(options.replica_only, "REPLICA_ONLY")?;
    let sides = match (source_only, replica_only) {
        (false, false) => Sides::Both,
        (true, false) => Sides::Source,
        (false, true) => Sides::Replica,
        (true, true) => {
            let message = "--source-only and --replica-only exclude each other";
            return Err(ConfigError::Invalid(message.to_owned()).into());
        }
    };
    let report_only = environment::switch(options.report_only, "REPORT_ONLY")?;
    let heal = environment::switch(options.heal, "HEAL")?;
    if heal && (report_only || sides != Sides::Both) {
        let message =
            "--heal reads both sides and writes: it goes with neither --report-only nor a single side";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    }
    let part = part(&options)?;
    let sums = sums(environment::folder(options.from.clone(), "FROM").as_deref())?;
    if sums.is_some() && (part.is_some() || sides != Sides::Both) {
        let message = "--from is about all files and both sides: it goes with no part of them";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    }
    let integrity = environment::switch(options.integrity_check, "INTEGRITY_CHECK")?;
    let request = sync::request(options.job)?;
    if sums.is_some() && request.jobs.len() > 1 {
        let message = "a list of sums is about one mirror; add --job NAME, or --source and --replica";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    }
    let jobs: Vec<Job> = request.jobs.iter().cloned().map(Job::prepare).collect::<Result<_, _>>()?;
    check_apart(&request, &jobs)?;
    let cancel = Arc::new(Cancel::new());
    signals::listen(Arc::clone(&cancel), farewell::ending(ExitCode::Interrupted))
        .map_err(|error| Error::System { action: "listen for signals", error })?;
    let log = place_log(&request, &jobs)?;
    let locks: Vec<RunLock> = jobs.iter().map(Job::lock).collect::<Result<_, _>>()?;
    logging::start(&request.log, &log, request.options.verbose)?;
    let mut code = ExitCode::Ok;
    for (job, lock) in jobs.iter().zip(&locks) {
        if !cancel.requested() {
            let what = Options { sides, report_only, part, integrity };
            code = code.worst(run_one(&request, job, lock, (what, sums.as_ref(), heal), &cancel));
        }
    }
    Ok(if cancel.requested() { code.worst(ExitCode::Interrupted) } else { code })
}

/// The list of sums that is to be the witness.
fn sums(file: Option<&Path>) -> Result<Option<Sums>, Error> {
    let Some(file) = file else { return Ok(None) };
    let wrong = |cause: String| {
        ConfigError::Invalid(format!("cannot take {} for a list of sums: {cause}", file.display()))
    };
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let sums = parse_sums(&text).map_err(|line| wrong(format!("line {line} is not as md5sum writes it")))?;
    if sums.is_empty() {
        return Err(wrong("it is empty".to_owned()).into());
    }
    Ok(Some(sums))
}

/// The part of the tree that is asked for; `None`: all of it.
fn part(options: &RebuildOptions) -> Result<Option<Part>, Error> {
    let limit = environment::parsed(options.limit, "LIMIT", parse_size)?;
    let share = environment::parsed(options.share, "SHARE", parse_share)?;
    let older_than = environment::parsed(options.older_than, "OLDER_THAN", parse_duration)?;
    let limit = match (limit, share) {
        (None, None) => Portion::Off,
        (Some(0), _) => {
            return Err(ConfigError::Invalid("--limit 0 leaves nothing to read".to_owned()).into());
        }
        (Some(bytes), None) => Portion::Bytes(bytes),
        (None, Some(share)) => Portion::Share(share),
        (Some(_), Some(_)) => {
            return Err(ConfigError::Invalid("--limit and --share exclude each other".to_owned()).into());
        }
    };
    let asked = limit != Portion::Off || older_than.is_some();
    Ok(asked.then_some(Part { limit, older_than }))
}

fn run_one(
    request: &Request,
    job: &Job,
    lock: &RunLock,
    (what, sums, heal): (Options, Option<&Sums>, bool),
    cancel: &Arc<Cancel>,
) -> ExitCode {
    let options = &request.options;
    let logged = Logged {
        job: job.label(),
        format: request.log.format,
        run: Cell::default(),
        several: request.jobs.len() > 1,
    };
    let json = Json { job: job.label(), run: Cell::default() };
    let diagnostics = Diagnostics::default();
    let bar = Bar::default();
    let lines = Lines { bar: &bar, quiet: options.quiet };
    let mut monitors: Vec<&dyn Monitor> = vec![&logged];
    if options.json {
        monitors.push(&json);
    } else if !options.quiet || !options.verbose {
        monitors.push(&lines);
    }
    // With -v the log on stderr says the same.
    if !options.verbose {
        monitors.push(&diagnostics);
        if !options.quiet && !options.json && progress::wanted(options.no_progress) {
            monitors.push(&bar);
        }
    }
    let result = rebuild(job, lock, what, sums, cancel, &Together(monitors));
    bar.clear();
    match result {
        Ok(report) => {
            logged.rebuilt(&report);
            if options.json {
                summarize_json(job, &report);
            } else if !options.quiet {
                output::print(events::rebuilt_text(&report));
            }
            if heal && !report.interrupted && report.counts.mendable > 0 {
                mend(request, job, lock, &report, cancel)
            } else {
                report.exit_code()
            }
        }
        Err(error) => {
            tell_failure(options, &job.label(), &error);
            error.exit_code()
        }
    }
}

/// Has the run that restores what is damaged in the replica follow at once.
fn mend(request: &Request, job: &Job, lock: &RunLock, found: &Rebuilt, cancel: &Arc<Cancel>) -> ExitCode {
    let shell = request.shell(cancel, false);
    let code = match shell.run(job, lock, &AtomicU64::new(0)) {
        Ok(report) => report.exit_code(),
        Err(error) => {
            tell_failure(&request.options, &job.label(), &error);
            error.exit_code()
        }
    };
    // What a run with problems left as it was is not told apart: it may be the damage.
    let mended = matches!(code, ExitCode::Ok | ExitCode::Held);
    let counts = &found.counts;
    if mended && counts.mendable == counts.damaged + counts.mendable_unread {
        let all_read = found.problems.len() as u64 == counts.mendable_unread;
        let unread = if all_read { ExitCode::Ok } else { ExitCode::Problems };
        code.worst(unread)
    } else {
        code.worst(ExitCode::Damage)
    }
}

fn summarize_json(job: &Job, report: &Rebuilt) {
    let mut object = events::event("summary", &job.label(), report.run);
    events::rebuilt_fields(&mut object, report);
    output::print(Value::Object(object));
}

/// Prints findings for people: on stdout, as they are the result. Asked to be quiet, only damage,
/// on stderr.
struct Lines<'b> {
    bar: &'b Bar,
    quiet: bool,
}

impl Monitor for Lines<'_> {
    fn finding(&self, finding: &Finding) {
        if !self.quiet {
            self.bar.aside(|| output::print(finding));
        } else if finding.is_damage() {
            output::diagnose("error", &finding.to_string());
        }
    }
}
