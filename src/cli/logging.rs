//! The log: log4rs, configured from our own settings; rolled by size, text or JSON.

use super::log_file::LogFile;
use super::log_lines::Lines;
use super::output;
use crate::config::ConfigError;
use crate::config::file::LogLevel;
use crate::config::paths::resolve;
use crate::config::settings::LogSettings;
use crate::config::state;
use crate::error::Error;
use log::LevelFilter;
use log4rs::Handle;
use log4rs::append::console::{ConsoleAppender, Target};
use log4rs::config::{Appender, Config, Root};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the log goes, absolute and free of symlinks.
pub fn locate(settings: &LogSettings) -> Result<PathBuf, Error> {
    Ok(match &settings.file {
        Some(file) => resolve(file).map_err(ConfigError::from)?,
        None => state::folder()?.join("twinfold.log"),
    })
}

/// Opens the log at `path`, and stderr too where `verbose`.
pub fn start(settings: &LogSettings, path: &Path, verbose: bool) -> Result<Log, Error> {
    let config = open(settings, path, verbose)?;
    let told = AtomicBool::new(false);
    // A full disk fails every line; one message is enough, and the mirror goes on.
    let tell = move |error: &anyhow::Error| {
        if !told.swap(true, Ordering::Relaxed) {
            output::diagnose(
                "warning",
                &format!("cannot write to the log: {error}; the run goes on without it"),
            );
        }
    };
    let handle = log4rs::config::init_config_with_err_handler(config, Box::new(tell))
        .map_err(|error| refused(path, &error.to_string()))?;
    Ok(Log { handle, verbose })
}

/// The log that was started.
#[derive(Clone, Debug)]
pub struct Log {
    handle: Handle,
    verbose: bool,
}

impl Log {
    /// Goes on with the log at `path`, opened anew: whoever renamed the old one has it to himself then.
    /// Where that cannot be opened all stays as it was.
    pub fn reopen(&self, settings: &LogSettings, path: &Path) -> Result<(), Error> {
        self.handle.set_config(open(settings, path, self.verbose)?);
        Ok(())
    }
}

fn refused(path: &Path, why: &str) -> Error {
    Error::Config(ConfigError::Invalid(format!("cannot log to {}: {why}", path.display())))
}

fn open(settings: &LogSettings, path: &Path, verbose: bool) -> Result<Config, Error> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if settings.file.is_none() {
        state::create(folder)?;
    }
    state::check(folder)?;
    state::check_file(path, || false)?;
    let encoder = Box::new(Lines { format: settings.format });
    let file = LogFile::open(path, encoder, settings.max_bytes, settings.keep)
        .map_err(|error| ConfigError::Invalid(error.to_string()))?;
    let mut config = Config::builder().appender(Appender::builder().build("file", Box::new(file)));
    let mut root = Root::builder().appender("file");
    if verbose {
        let console = ConsoleAppender::builder()
            .target(Target::Stderr)
            .encoder(Box::new(Lines { format: settings.format }))
            .build();
        config = config.appender(Appender::builder().build("stderr", Box::new(console)));
        root = root.appender("stderr");
    }
    config.build(root.build(filter(settings.level))).map_err(|error| refused(path, &error.to_string()))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    }
}
