//! The environment: `TWINFOLD_` and a flag's name, below the command line and above the config file.

use super::args::{Cli, ColorChoice, JobOptions};
use crate::config::ConfigError;
use crate::config::settings::Overrides;
use crate::config::units::{parse_count, parse_interval, parse_max_delete, parse_size};
use clap::{CommandFactory, ValueEnum};
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// Fills in from the environment what the command line leaves open.
pub fn overlay(options: JobOptions) -> Result<JobOptions, ConfigError> {
    check_variables()?;
    let described = options.source.is_some() && options.replica.is_some();
    Ok(JobOptions {
        source: options.source.or_else(|| path("SOURCE")),
        replica: options.replica.or_else(|| path("REPLICA")),
        log_file: options.log_file.or_else(|| set("LOG_FILE").map(PathBuf::from)),
        interval: parsed(options.interval, "INTERVAL", parse_interval)?,
        config: options.config.or_else(|| set("CONFIG").map(PathBuf::from)),
        // A pair of roots on the command line says which mirror is meant.
        job: if described || !options.job.is_empty() { options.job } else { names()? },
        manifest: options.manifest.or_else(|| set("MANIFEST").map(PathBuf::from)),
        max_workers: parsed(options.max_workers, "MAX_WORKERS", parse_count)?,
        max_delete: parsed(options.max_delete, "MAX_DELETE", parse_max_delete)?,
        exclude: if options.exclude.is_empty() { patterns()? } else { options.exclude },
        bandwidth_limit: parsed(options.bandwidth_limit, "BANDWIDTH_LIMIT", parse_size)?,
        metrics_file: options.metrics_file.or_else(|| set("METRICS_FILE").map(PathBuf::from)),
        quiet: options.quiet || flag("QUIET")?,
        verbose: options.verbose || flag("VERBOSE")?,
        json: options.json || flag("JSON")?,
        no_progress: options.no_progress || flag("NO_PROGRESS")?,
        color: parsed(options.color, "COLOR", |text| ColorChoice::from_str(text, false))?,
    })
}

/// A switch that only one subcommand has.
pub fn switch(given: bool, name: &str) -> Result<bool, ConfigError> {
    Ok(given || flag(name)?)
}

/// What the config module is to know of the options.
pub fn overrides(options: &JobOptions) -> Overrides {
    Overrides {
        source: options.source.clone(),
        replica: options.replica.clone(),
        log_file: options.log_file.clone(),
        interval: options.interval,
        config: options.config.clone(),
        jobs: options.job.clone(),
        manifest: options.manifest.clone(),
        max_workers: options.max_workers,
        max_delete: options.max_delete,
        exclude: options.exclude.clone(),
        metrics_file: options.metrics_file.clone(),
        bandwidth_limit: options.bandwidth_limit,
    }
}

const PREFIX: &str = "TWINFOLD_";

/// Refuses variables that nothing reads: a typo, or a key that only the config file has, would be ignored without a word.
fn check_variables() -> Result<(), ConfigError> {
    // A hook finds much in its environment that is no option, and hands it on to what it starts.
    if variable("HOOK").is_some() {
        return Ok(());
    }
    let set = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut set: Vec<String> = set.filter(|name| name.starts_with(PREFIX)).collect();
    if set.is_empty() {
        return Ok(());
    }
    set.sort();
    let known = known_variables();
    for name in set {
        // Those of the tests are read by the tests.
        if known.contains(&name) || name == "TWINFOLD_MD5" || name.starts_with("TWINFOLD_TEST_") {
            continue;
        }
        let near = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, &name));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(ConfigError::Invalid(format!(
            "nothing reads the environment variable {name}{near} Keys without a flag can only be set in the config file"
        )));
    }
    Ok(())
}

/// The variables of all options that some subcommand has.
fn known_variables() -> BTreeSet<String> {
    let program = Cli::command();
    let commands = program.get_subcommands().chain([&program]);
    let flags = commands.flat_map(|command| command.get_arguments().filter_map(|option| option.get_long()));
    flags.map(|flag| format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))).collect()
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(format!("{PREFIX}{name}"))
}

/// A variable that is set to nothing is as good as none, but for a root: there it is a mistake.
fn set(name: &str) -> Option<OsString> {
    variable(name).filter(|value| !value.is_empty())
}

/// A folder: as given, else from the environment.
pub fn folder(given: Option<PathBuf>, name: &str) -> Option<PathBuf> {
    given.or_else(|| set(name).map(PathBuf::from))
}

fn path(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}

/// The jobs that `TWINFOLD_JOB` names.
fn names() -> Result<Vec<String>, ConfigError> {
    let listed = |text: &str| Ok(text.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>());
    Ok(parsed(None, "JOB", listed)?.unwrap_or_default())
}

/// Patterns, one a line: a comma may be part of one.
fn patterns() -> Result<Vec<String>, ConfigError> {
    let listed = |text: &str| Ok(text.lines().map(str::to_owned).collect::<Vec<_>>());
    Ok(parsed(None, "EXCLUDE", listed)?.unwrap_or_default())
}

/// The value of an option: as given, else from the environment.
pub fn parsed<T>(
    given: Option<T>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let (None, Some(value)) = (&given, set(name)) else { return Ok(given) };
    let wrong = |why: String| ConfigError::Invalid(format!("TWINFOLD_{name}: {why}"));
    let text = value.to_str().ok_or_else(|| wrong("it is not UTF-8".to_owned()))?;
    parse(text).map(Some).map_err(wrong)
}

fn flag(name: &str) -> Result<bool, ConfigError> {
    let Some(value) = variable(name) else { return Ok(false) };
    match value.to_str() {
        Some("1" | "true" | "yes" | "on") => Ok(true),
        Some("" | "0" | "false" | "no" | "off") => Ok(false),
        _ => Err(ConfigError::Invalid(format!("TWINFOLD_{name} must be 1 or 0"))),
    }
}
