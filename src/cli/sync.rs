//! `twinfold sync`: once, as a daemon, or as a dry run.

use super::args::{JobOptions, SyncOptions};
use super::daemon::{self, Calls};
use super::metrics::MetricsFile;
use super::reload::LogPlace;
use super::roster::{self, Member};
use super::shell::{Shell, Turn, say_absent, summarize, tell_failure};
use super::watch::{Diagnostics, Json, PlanLines, Together};
use super::{after, environment, events, farewell, logging, output};
use crate::cancel::Cancel;
use crate::config::ConfigError;
use crate::config::daemon::{DaemonSettings, daemon_settings};
use crate::config::paths;
use crate::config::settings::{self, LogSettings, Settings};
use crate::engine::job::Job;
use crate::engine::preview::preview as foresee;
use crate::error::{Error, ExitCode};
use crate::monitor::Monitor;
use crate::roots::{self, RootPaths};
use crate::signals;
use serde_json::Value;
use std::cell::Cell;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What all subcommands make of their options.
#[derive(Debug)]
pub struct Request {
    /// The options, the environment filled in.
    pub options: JobOptions,
    /// The jobs they mean.
    pub jobs: Vec<Settings>,
    /// All jobs of the config file.
    pub configured: Vec<Settings>,
    /// The log's settings.
    pub log: LogSettings,
    /// The daemon's.
    pub daemon: DaemonSettings,
    /// Where metrics go, resolved.
    pub metrics_file: Option<PathBuf>,
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
    let daemon = daemon_settings(&file)?;
    let metrics_file = overrides.metrics_file.as_ref().or(file.metrics_file.as_ref());
    let metrics_file =
        metrics_file.map(|path| paths::resolve(path)).transpose().map_err(ConfigError::from)?;
    Ok(Request { options, jobs, configured, log, daemon, metrics_file })
}

/// Runs the subcommand.
pub fn run(options: SyncOptions) -> Result<ExitCode, Error> {
    let once = environment::switch(options.once, "ONCE")?;
    let dry_run = environment::switch(options.dry_run, "DRY_RUN")?;
    let accept_root = environment::switch(options.accept_root, "ACCEPT_ROOT")?;
    let given = options.job.clone();
    let request = request(options.job)?;
    let cancel = Arc::new(Cancel::new());
    if dry_run {
        let members = call(&request, accept_root, false, None)?;
        listen(&cancel)?;
        return preview(&request, &members, &cancel).map(output::settle);
    }
    if !once {
        let calls = Calls::listen(&cancel).map_err(|error| Error::System { action: LISTEN, error })?;
        let members = call(&request, accept_root, true, Some(PATIENCE))?;
        return daemon::run(given, &request, members, cancel, calls);
    }
    listen(&cancel)?;
    let members = call(&request, accept_root, true, None)?;
    let (members, _log) = ready(&request, members)?;
    let shell = request.shell(&cancel, false);
    let mut code = ExitCode::Ok;
    // One after the other, so that what is printed reads like what was done.
    for member in members {
        if cancel.requested() {
            break;
        }
        code = code.worst(shell.take(&mut Turn::of(member), &AtomicU64::default()));
    }
    Ok(if cancel.requested() { code.worst(ExitCode::Interrupted) } else { code })
}

const LISTEN: &str = "listen for signals";

fn listen(cancel: &Arc<Cancel>) -> Result<(), Error> {
    signals::listen(Arc::clone(cancel), farewell::ending(ExitCode::Interrupted))
        .map_err(|error| Error::System { action: LISTEN, error })
}

/// How long a daemon waits at its start for roots that may lie on a dead network or disk.
const PATIENCE: Duration = Duration::from_secs(5);

fn call(
    request: &Request,
    accept_root: bool,
    writing: bool,
    patience: Option<Duration>,
) -> Result<Vec<Member>, Error> {
    let mut members = roster::call(request, writing, patience)?;
    for member in &mut members {
        member.job.accept_root = accept_root;
        if member.is_silent {
            let message = format!(
                "{}: its roots have not answered for {} s (does a network or FUSE server not answer?); the other jobs run, \
                 and its own run waits for them",
                member.job.label(),
                PATIENCE.as_secs()
            );
            output::diagnose("warning", &message);
        }
    }
    let (silent, answered): (Vec<&Member>, Vec<&Member>) =
        members.iter().partition(|member| member.is_silent);
    let jobs =
        |members: Vec<&Member>| members.into_iter().map(|member| member.job.clone()).collect::<Vec<Job>>();
    check_all_apart(request, &jobs(answered), &jobs(silent), patience)?;
    Ok(members)
}

/// Takes the locks and starts the log.
pub(super) fn ready(request: &Request, members: Vec<Member>) -> Result<(Vec<Member>, LogPlace), Error> {
    let answered = members.iter().filter(|member| !member.is_silent);
    let jobs: Vec<Job> = answered.map(|member| member.job.clone()).collect();
    let path = place_log(request, &jobs)?;
    let members = roster::lock(request, members)?;
    let log = logging::start(&request.log, &path, request.options.verbose)?;
    after::check(&request.jobs, |warning| warn(&request.options, warning));
    Ok((members, LogPlace { log, settings: request.log.clone(), path }))
}

/// Says something in the log and on stderr, where that is not the same.
pub(super) fn warn(options: &JobOptions, message: &str) {
    log::warn!("{message}");
    if !options.verbose {
        output::diagnose("warning", message);
    }
}

impl Request {
    /// Those of the config, and the one that the command line describes.
    fn all_jobs(&self) -> Vec<Settings> {
        let mut jobs = self.configured.clone();
        jobs.retain(|job| self.jobs.iter().all(|chosen| chosen.name != job.name));
        jobs.extend(self.jobs.iter().cloned());
        jobs.sort_by(|one, other| one.name.cmp(&other.name));
        jobs
    }

    /// What runs for this request are told to.
    pub(super) fn shell(&self, cancel: &Arc<Cancel>, daemon: bool) -> Shell {
        Shell {
            options: self.options.clone(),
            format: self.log.format,
            cancel: Arc::clone(cancel),
            daemon,
            several: self.jobs.len() > 1,
            metrics: self.metrics_file.clone().map(|path| MetricsFile { path, jobs: self.all_jobs() }),
        }
    }
}

/// Where the log goes: outside every root, and beside every manifest's own files.
pub fn place_log(request: &Request, jobs: &[Job]) -> Result<PathBuf, Error> {
    let log = logging::locate(&request.log)?;
    for (job, metrics) in jobs.iter().flat_map(|job| request.metrics_file.iter().map(move |path| (job, path)))
    {
        job.check_outside("metrics file", metrics)?;
    }
    for job in jobs {
        job.check_outside("log", &log)?;
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

/// Refuses jobs that write to one replica, or whose replica lies in a root of another: those that are
/// to run, and all that the config file has, for they would run one day.
pub fn check_apart(request: &Request, jobs: &[Job]) -> Result<(), Error> {
    check_all_apart(request, jobs, &[], None)
}

/// The same where the roots of some jobs are `silent`: nothing but their paths can be compared.
fn check_all_apart(
    request: &Request,
    jobs: &[Job],
    silent: &[Job],
    patience: Option<Duration>,
) -> Result<(), Error> {
    let is_chosen =
        |settings: &Settings| jobs.iter().chain(silent).any(|chosen| chosen.settings.name == settings.name);
    let others: Vec<Settings> = request.configured.iter().filter(|job| !is_chosen(job)).cloned().collect();
    let mut all = jobs.to_vec();
    // What cannot be resolved cannot be run either, and says so when it is.
    all.extend(roster::ask(&others, patience, Job::locate).into_iter().flatten().flatten());
    for (number, one) in all.iter().enumerate() {
        for other in all.iter().skip(number + 1) {
            check_paths_apart(one, other)?;
            other.check_outside("manifest", &one.manifest)?;
            one.check_outside("manifest", &other.manifest)?;
        }
    }
    for (number, one) in silent.iter().enumerate() {
        all.iter().chain(&silent[number + 1..]).try_for_each(|other| check_paths_apart(one, other))?;
    }
    Ok(())
}

/// Refuses two jobs by their paths.
fn check_paths_apart(one: &Job, other: &Job) -> Result<(), Error> {
    let (a, b) = (&one.paths.replica, &other.paths.replica);
    let nested = |inner: &PathBuf, job: &Job| {
        let RootPaths { source, replica } = &job.paths;
        let is_walked = inner.starts_with(source) && !job.boundaries().leave_out(source, inner);
        is_walked || inner.starts_with(replica)
    };
    if one.manifest == other.manifest {
        return Err(Error::Config(ConfigError::Invalid(format!(
            "the jobs {} and {} have one manifest, {}; give each its own",
            one.label(),
            other.label(),
            one.manifest.display()
        ))));
    }
    if nested(a, other) || nested(b, one) {
        return Err(Error::Root(roots::RootError::Refused(format!(
            "the jobs {} and {} overlap: the replica of one lies inside a root of the other; choose folders apart from each \
             other, or leave the replica out of that source with exclude or one_file_system",
            one.label(),
            other.label()
        ))));
    }
    Ok(())
}

fn preview(request: &Request, members: &[Member], cancel: &Cancel) -> Result<ExitCode, Error> {
    let mut code = ExitCode::Ok;
    let several = members.len() > 1;
    for Member { job, away, .. } in members {
        let shown = match away {
            None => preview_one(&request.options, job, cancel, several),
            Some(error) if error.is_tolerated(&job.settings) => {
                say_absent(&request.options, &job.label(), error, several);
                Ok(ExitCode::Ok)
            }
            Some(error) => {
                tell_failure(&request.options, &job.label(), error);
                Ok(error.exit_code())
            }
        };
        code = code.worst(match shown {
            Err(error) if error.is_tolerated(&job.settings) => {
                say_absent(&request.options, &job.label(), &error, several);
                ExitCode::Ok
            }
            shown => shown?,
        });
    }
    Ok(code)
}

/// Prints what a run of `job` would do now.
pub fn preview_one(
    options: &JobOptions,
    job: &Job,
    cancel: &Cancel,
    several: bool,
) -> Result<ExitCode, Error> {
    let diagnostics = Diagnostics::of(several.then(|| job.label()));
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
            "{} would be held: {held}. Once a run has held them, twinfold approve lets them go",
            if approved.holds_overwrites() { "changes" } else { "deletes" }
        ));
        for operation in approved.held_operations().iter().rev() {
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
    summarize(options, job, &report, true, several);
    Ok(report.exit_code())
}
