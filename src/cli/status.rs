//! `twinfold status`: what the manifest says, as a table, as JSON or for md5sum.

use super::args::{Format, JobOptions, StatusOptions, parse_runs};
use super::status_lines;
use super::sync::{self, Request, request};
use super::{check, csv_lines, environment, events, jobs_table, journal, output};
use crate::cancel::Cancel;
use crate::config::daemon::daemon_settings;
use crate::config::settings::{self, Overrides, Settings};
use crate::config::units::parse_duration;
use crate::config::{ConfigError, paths, state};
use crate::engine::job::Job;
use crate::engine::status;
use crate::error::{Error, ExitCode};
use crate::manifest::{Bounds, Place, Reader, recognize};
use crate::model::escape::escaped;
use crate::model::{EntryPath, Kind};
use clap::ValueEnum;
use serde_json::Value;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Runs shown where no number is asked for.
const RUNS_SHOWN: u32 = 5;

/// Runs the subcommand.
pub fn run(options: &StatusOptions) -> Result<ExitCode, Error> {
    show(options).map(output::settle)
}

fn show(options: &StatusOptions) -> Result<ExitCode, Error> {
    let options = &with_environment(options.clone())?;
    let format = options.format.unwrap_or(if options.job.json { Format::Json } else { Format::Table });
    let request = subjects(&options.job)?;
    if options.check {
        if is_list(format) {
            return Err(ConfigError::Invalid("--check has no list for md5sum or csv".to_owned()).into());
        }
        return Ok(check::check(&request.jobs, options.max_age, format == Format::Json));
    }
    if is_list(format) && request.jobs.len() > 1 {
        let message =
            "a list for md5sum or csv is of one mirror only; add --job NAME, or --source and --replica";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    }
    if let [settings] = &request.jobs[..] {
        return show_one(options, &request, settings, format).map(|()| ExitCode::Ok);
    }
    let plain = !options.pending && !options.files && !options.log && options.paths.is_empty();
    if plain && format == Format::Table && !options.problems && options.runs.is_none() {
        return Ok(jobs_table::print(&request.jobs));
    }
    let mut code = ExitCode::Ok;
    for (number, settings) in request.jobs.iter().enumerate() {
        if format == Format::Table {
            let gap = if number > 0 { "\n" } else { "" };
            output::print(format_args!("{gap}job {}", settings.label()));
        }
        // What one job cannot tell keeps no other from telling.
        if let Err(error) = show_one(options, &request, settings, format) {
            output::diagnose("error", &format!("{}: {error}", settings.label()));
            code = code.worst(error.exit_code());
        }
    }
    Ok(code)
}

fn show_one(
    options: &StatusOptions,
    request: &Request,
    settings: &Settings,
    format: Format,
) -> Result<(), Error> {
    if options.pending {
        let mut preview = request.options.clone();
        preview.json |= format == Format::Json;
        let several = request.jobs.len() > 1;
        let job = Job::prepare(settings.clone())?;
        return sync::preview_one(&preview, &job, &Cancel::new(), several).map(drop);
    }
    let job = &Job::locate(settings.clone())?;
    if options.log {
        if is_list(format) {
            return Err(ConfigError::Invalid("--log has no list for md5sum or csv".to_owned()).into());
        }
        return journal::print(job, &options.paths, options.since, format == Format::Json);
    }
    if options.files || is_list(format) {
        list(job, &options.paths, format)
    } else if !options.paths.is_empty() {
        entries(job, &options.paths, format)
    } else {
        overview(job, options, format)
    }
}

/// Whether this is a list of entries, whatever else is asked.
fn is_list(format: Format) -> bool {
    matches!(format, Format::Md5sum | Format::Csv)
}

fn with_environment(options: StatusOptions) -> Result<StatusOptions, ConfigError> {
    Ok(StatusOptions {
        job: environment::overlay(options.job)?,
        pending: environment::switch(options.pending, "PENDING")?,
        check: environment::switch(options.check, "CHECK")?,
        max_age: environment::parsed(options.max_age, "MAX_AGE", parse_duration)?,
        problems: environment::switch(options.problems, "PROBLEMS")?,
        files: environment::switch(options.files, "FILES")?,
        log: environment::switch(options.log, "LOG")?,
        since: environment::parsed(options.since, "SINCE", parse_duration)?,
        runs: environment::parsed(options.runs, "RUNS", parse_runs)?,
        format: environment::parsed(options.format, "FORMAT", |text| Format::from_str(text, false))?,
        ..options
    })
}

/// The jobs that are asked about; without any word of them, all that have state here.
pub fn subjects(options: &JobOptions) -> Result<Request, Error> {
    let asked = request(options.clone());
    match asked {
        Err(Error::Config(ConfigError::NothingToMirror)) => {
            let folder = state::folder()?;
            let named = options.manifest.as_deref().map(paths::resolve).transpose();
            let named = named.map_err(ConfigError::from)?.map(|manifest| vec![manifest]);
            let place = if named.is_some() { Place::Chosen } else { Place::NamedAfterJob };
            let jobs = named
                .unwrap_or_else(|| manifests(&folder))
                .into_iter()
                .filter_map(|manifest| {
                    let known = recognize(&manifest, None, place).and_then(|()| Reader::open(&manifest));
                    let roots = match known.and_then(|reader| reader.job()) {
                        Ok(roots) => roots,
                        Err(error) => {
                            output::diagnose("warning", &error.to_string());
                            return None;
                        }
                    };
                    let overrides = Overrides {
                        source: Some(roots.source),
                        replica: Some(roots.replica),
                        manifest: Some(manifest),
                        ..Overrides::default()
                    };
                    settings::jobs(&overrides, &settings::ConfigFile::default()).ok()
                })
                .flatten()
                .collect::<Vec<_>>();
            if jobs.is_empty() {
                let nothing = format!(
                    "there is nothing to tell of: no config names a job, and no mirror has run with its state in {}; \
                     give --source DIR and --replica DIR",
                    folder.display()
                );
                return Err(ConfigError::Invalid(nothing).into());
            }
            let log = settings::log_settings(&Overrides::default(), &settings::ConfigFile::default())?;
            let daemon = daemon_settings(&settings::ConfigFile::default())?;
            Ok(Request {
                options: options.clone(),
                jobs,
                configured: Vec::new(),
                log,
                daemon,
                metrics_file: None,
            })
        }
        result => result,
    }
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = listing
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .collect();
    found.sort();
    found
}

fn overview(job: &Job, options: &StatusOptions, format: Format) -> Result<(), Error> {
    let overview = status::overview(job, options.runs.unwrap_or(RUNS_SHOWN))?;
    if format == Format::Json {
        let mut object = events::event("status", &job.label(), None);
        status_lines::overview_fields(&mut object, job, overview.as_ref());
        output::print(Value::Object(object));
        return Ok(());
    }
    match (&overview, options.problems, options.runs) {
        (Some(overview), true, _) => status_lines::print_problems(overview),
        (Some(overview), false, Some(_)) => status_lines::print_runs(overview),
        _ => status_lines::print_overview(job, overview.as_ref()),
    }
    Ok(())
}

fn entries(job: &Job, paths: &[PathBuf], format: Format) -> Result<(), Error> {
    for named in paths {
        if let Some(rule) = status::excluded_by(job, named) {
            tell_excluded(job, named, &rule, format);
            continue;
        }
        let record = status::read(job, |reader| status::find(job, reader, named))?;
        match (record, format) {
            (Some(record), Format::Json) => {
                let mut object = events::event("entry", &job.label(), None);
                status_lines::entry_fields(&mut object, &record);
                output::print(Value::Object(object));
            }
            (Some(record), _) => status_lines::print_entry(&record),
            (None, _) => unknown(named),
        }
    }
    Ok(())
}

fn tell_excluded(job: &Job, named: &Path, rule: &str, format: Format) {
    let name = escaped(named.as_os_str().as_bytes());
    if format == Format::Json {
        let mut object = events::event("entry", &job.label(), None);
        events::add_path(&mut object, &EntryPath::from_bytes(named.as_os_str().as_bytes()));
        object.insert("excluded_by".to_owned(), Value::from(rule));
        output::print(Value::Object(object));
    } else {
        output::print(format_args!("path      {name}\nexcluded  by {rule}"));
    }
}

fn unknown(named: &Path) {
    let name = escaped(named.as_os_str().as_bytes());
    output::diagnose("note", &format!("{name} is not in the manifest: it is new, or not there"));
}

fn list(job: &Job, paths: &[PathBuf], format: Format) -> Result<(), Error> {
    let reader = status::open(job)?;
    list_from(job, &reader, paths, format)?;
    // Too long to be held back until it is known to be whole.
    if reader.is_disturbed() {
        output::diagnose(
            "warning",
            "a run began while this was listed, so it may not fit together; list it again",
        );
    }
    Ok(())
}

fn list_from(job: &Job, reader: &Reader, paths: &[PathBuf], format: Format) -> Result<(), Error> {
    let mut out = output::Lines::new();
    let mut wanted = Vec::new();
    for named in paths {
        match status::bounds(job, reader, named)? {
            Some(bounds) => wanted.push(bounds),
            None => unknown(named),
        }
    }
    if paths.is_empty() {
        wanted.push(Bounds::All);
    }
    let mut unhashed = 0_u64;
    if format == Format::Csv {
        out.line(csv_lines::HEAD.as_bytes());
    }
    for bounds in wanted {
        for record in reader.rows(bounds) {
            let record = record?;
            unhashed += u64::from(record.source.kind == Kind::File && record.digest.is_none());
            match format {
                Format::Table => out.line(status_lines::file_line(&record).as_bytes()),
                Format::Json => {
                    let mut object = events::event("entry", &job.label(), None);
                    status_lines::entry_fields(&mut object, &record);
                    out.line(Value::Object(object).to_string().as_bytes());
                }
                Format::Csv => out.line(&csv_lines::line(&record)),
                Format::Md5sum => {
                    if let Some(line) = status_lines::md5sum(&record) {
                        out.line(&line);
                    }
                }
            }
        }
    }
    out.finish();
    if format == Format::Md5sum && unhashed > 0 {
        output::diagnose(
            "warning",
            &format!(
                "files that are not hashed and not in this list: {unhashed}; {}",
                status_lines::UNHASHED
            ),
        );
    }
    Ok(())
}
