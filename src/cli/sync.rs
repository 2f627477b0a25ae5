//! `twinfold sync`: once, as a daemon, or as a dry run.

use super::args::{JobOptions, SyncOptions};
use super::progress::{self, Bar};
use super::roster::{self, Member};
use super::watch::{Diagnostics, Json, Logged, PlanLines, Together};
use super::{environment, events, logging, output};
use crate::cancel::Cancel;
use crate::config::ConfigError;
use crate::config::settings::{self, LogSettings, Settings};
use crate::engine::daemon;
use crate::engine::job::Job;
use crate::engine::preview::preview as foresee;
use crate::engine::report::Report;
use crate::engine::run;
use crate::error::{Error, ExitCode};
use crate::lock::RunLock;
use crate::monitor::Monitor;
use crate::roots::{self, RootPaths};
use crate::signals;
use serde_json::Value;
use std::cell::Cell;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What all subcommands make of their options.
pub struct Request {
    /// The options, the environment filled in.
    pub options: JobOptions,
    /// The jobs they mean.
    pub jobs: Vec<Settings>,
    /// All jobs of the config file.
    pub configured: Vec<Settings>,
    /// The log's settings.
    pub log: LogSettings,
}

/// Lays command line, environment, config file and defaults over each other.
pub fn request(options: JobOptions) -> Result<Request, Error> {
    let options = environment::overlay(options)?;
    output::choose_color(options.color);
    let overrides = environment::overrides(&options);
    let file = settings::load_file(&overrides)?;
    let jobs = settings::jobs(&overrides, &file)?;
    let log = settings::log_settings(&overrides, &file)?;
    let configured = settings::configured(&file);
    Ok(Request { options, jobs, configured, log })
}

/// Runs the subcommand.
pub fn run(options: SyncOptions) -> Result<ExitCode, Error> {
    let once = environment::switch(options.once, "ONCE")?;
    let dry_run = environment::switch(options.dry_run, "DRY_RUN")?;
    let accept_root = environment::switch(options.accept_root, "ACCEPT_ROOT")?;
    let request = request(options.job)?;
    let mut members = roster::call(&request, !dry_run)?;
    for member in &mut members {
        member.job.accept_root = accept_root;
    }
    let jobs: Vec<Job> = members.iter().map(|member| member.job.clone()).collect();
    check_apart(&request, &jobs)?;
    let cancel = Arc::new(Cancel::new());
    let at_once = if once || dry_run { ExitCode::Interrupted } else { ExitCode::Ok };
    let wake = signals::listen(Arc::clone(&cancel), at_once.number())
        .map_err(|error| Error::System { action: "listen for signals", error })?;
    if dry_run {
        return preview(&request, &members, &cancel).map(output::settle);
    }
    let log = place_log(&request, &jobs)?;
    // A daemon may run later what cannot run now.
    let locked = |member: &Member| (member.away.is_none() || !once).then(|| member.job.lock()).transpose();
    let locks: Vec<Option<RunLock>> = members.iter().map(locked).collect::<Result<_, _>>()?;
    logging::start(&request.log, &log, request.options.verbose)?;
    let shell = Shell { request: &request, cancel: &cancel, daemon: !once };
    if once {
        let mut code = ExitCode::Ok;
        for (Member { job, away }, lock) in members.iter().zip(&locks) {
            if cancel.requested() {
                break;
            }
            if let Some(error) = away {
                tell_failure(&request.options, job, error);
                roster::note(job, error);
                code = code.worst(error.exit_code());
            } else if let Some(lock) = lock {
                code = code.worst(shell.run_one(job, lock));
            }
        }
        return Ok(if cancel.requested() { code.worst(ExitCode::Interrupted) } else { code });
    }
    let intervals: Vec<Duration> = jobs.iter().map(|job| job.settings.interval).collect();
    log::info!("daemon started, pid {}: {}", std::process::id(), labels(&jobs));
    // What is there when the daemon starts is accepted; what comes later is not.
    let mut accept = vec![accept_root; jobs.len()];
    daemon::keep_running(&intervals, &cancel, &wake, |number| {
        let accept_root = std::mem::take(&mut accept[number]);
        let Some(lock) = &locks[number] else { return };
        // Roots may have come, gone or changed since the last run.
        match Job::prepare(request.jobs[number].clone()) {
            Ok(job) => drop(shell.run_one(&Job { accept_root, ..job }, lock)),
            Err(error) => {
                tell_failure(&request.options, &jobs[number], &error);
                if matches!(error, Error::Root(_)) {
                    roster::note_with(&jobs[number], lock, &error);
                }
            }
        }
    });
    log::info!("daemon stopped");
    Ok(ExitCode::Ok)
}

/// Where the log goes: outside every root, and beside every manifest's own files.
pub fn place_log(request: &Request, jobs: &[Job]) -> Result<PathBuf, Error> {
    let log = logging::locate(&request.log)?;
    for job in jobs {
        roots::check_outside(&job.paths, "log", &log)?;
        let name = |path: &Path| path.as_os_str().as_bytes().to_vec();
        if name(&log).starts_with(&name(&job.manifest)) {
            return Err(Error::Config(ConfigError::Invalid(format!(
                "the log {} would be taken for a file of the manifest {}; give it another name",
                log.display(),
                job.manifest.display()
            ))));
        }
    }
    Ok(log)
}

fn labels(jobs: &[Job]) -> String {
    jobs.iter().map(Job::label).collect::<Vec<_>>().join(", ")
}

/// Refuses jobs that write to one replica, or whose replica lies in a root of another: those that are
/// to run, and all that the config file has, for they would run one day.
pub fn check_apart(request: &Request, jobs: &[Job]) -> Result<(), Error> {
    // What cannot be resolved cannot be run either, and says so when it is.
    let configured = request.configured.iter().cloned().filter_map(|settings| Job::locate(settings).ok());
    let mut all = jobs.to_vec();
    all.extend(configured.filter(|job| jobs.iter().all(|chosen| chosen.settings.name != job.settings.name)));
    for (number, one) in all.iter().enumerate() {
        for other in all.iter().skip(number + 1) {
            let (a, b) = (&one.paths.replica, &other.paths.replica);
            let nested = |inner: &PathBuf, roots: &RootPaths| {
                inner.starts_with(&roots.source) || inner.starts_with(&roots.replica)
            };
            if one.manifest == other.manifest {
                return Err(Error::Config(ConfigError::Invalid(format!(
                    "the jobs {} and {} have one manifest, {}; give each its own",
                    one.label(),
                    other.label(),
                    one.manifest.display()
                ))));
            }
            roots::check_outside(&other.paths, "manifest", &one.manifest)?;
            roots::check_outside(&one.paths, "manifest", &other.manifest)?;
            if nested(a, &other.paths) || nested(b, &one.paths) {
                return Err(Error::Root(roots::RootError::Refused(format!(
                    "the jobs {} and {} overlap: the replica of one lies inside a root of the other",
                    one.label(),
                    other.label()
                ))));
            }
        }
    }
    Ok(())
}

fn preview(request: &Request, members: &[Member], cancel: &Cancel) -> Result<ExitCode, Error> {
    let mut code = ExitCode::Ok;
    for Member { job, away } in members {
        code = code.worst(match away {
            None => preview_one(&request.options, job, cancel)?,
            Some(error) => {
                tell_failure(&request.options, job, error);
                error.exit_code()
            }
        });
    }
    Ok(code)
}

/// Prints what a run of `job` would do now.
pub fn preview_one(options: &JobOptions, job: &Job, cancel: &Cancel) -> Result<ExitCode, Error> {
    let diagnostics = Diagnostics::default();
    let json = Json { job: job.label(), run: Cell::default() };
    let mut monitors: Vec<&dyn Monitor> = vec![&diagnostics];
    if options.json {
        monitors.push(&json);
    } else if !options.quiet {
        monitors.push(&PlanLines);
    }
    let (approved, report) = foresee(job, cancel, &Together(monitors))?;
    if let Some(held) = approved.held() {
        diagnostics.warning(&format!(
            "deletes would be held: {held}. Once a run has held them, twinfold approve lets them go"
        ));
        for operation in approved.held_deletes().iter().rev() {
            if options.json {
                let mut object = events::event("plan", &job.label(), None);
                events::plan_fields(&mut object, operation.into());
                object.insert("held".to_owned(), Value::from(true));
                output::print(Value::Object(object));
            } else if !options.quiet {
                output::print(format_args!("held     {}", operation.path));
            }
        }
    }
    summarize(options, job, &report, true);
    Ok(report.exit_code())
}

/// Carries out runs for the shell: one after the other, each told to log, terminal and stdout.
struct Shell<'s> {
    request: &'s Request,
    cancel: &'s Cancel,
    daemon: bool,
}

impl Shell<'_> {
    fn run_one(&self, job: &Job, lock: &RunLock) -> ExitCode {
        let options = &self.request.options;
        let logged = Logged { job: job.label(), format: self.request.log.format, run: Cell::default() };
        let json = Json { job: job.label(), run: Cell::default() };
        let diagnostics = Diagnostics::default();
        let bar = Bar::default();
        let mut monitors: Vec<&dyn Monitor> = vec![&logged];
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
        let result = run::sync(job, lock, self.cancel, &Together(monitors));
        bar.clear();
        match result {
            Ok(report) => {
                logged.summary(&report);
                let worth_saying = !self.daemon || report.did_something();
                summarize(options, job, &report, worth_saying);
                report.exit_code()
            }
            Err(error) => {
                tell_failure(options, job, &error);
                error.exit_code()
            }
        }
    }
}

/// Says in the log, on stderr and in JSON what stopped the run of a job.
pub fn tell_failure(options: &JobOptions, job: &Job, error: &Error) {
    log::error!("{}: {error}", job.label());
    if !options.verbose {
        output::diagnose("error", &error.to_string());
    }
    if options.json {
        let mut object = events::event("summary", &job.label(), None);
        object.insert("result".to_owned(), Value::from("failed"));
        object.insert("exit_code".to_owned(), Value::from(error.exit_code().number()));
        // The fields that every summary has: what was done before it failed is in the manifest's history.
        let counts = ["create", "copy", "move", "link", "metadata", "delete", "bytes", "problems", "held"];
        for field in counts.into_iter().chain(["seconds"]) {
            object.insert(field.to_owned(), Value::from(0));
        }
        object.insert("message".to_owned(), Value::from(error.to_string()));
        output::print(Value::Object(object));
    }
}

fn summarize(options: &JobOptions, job: &Job, report: &Report, worth_saying: bool) {
    if options.json {
        let mut object = events::event("summary", &job.label(), report.run);
        events::summary_fields(&mut object, report);
        output::print(Value::Object(object));
    } else if !options.quiet && worth_saying {
        let dry = if report.run.is_none() { "dry run, nothing written; a run would end with " } else { "" };
        output::print(format_args!("{dry}{}", events::summary_text(report)));
    }
}
