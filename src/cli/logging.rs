//! The log: log4rs, configured from our own settings; rolled by size, text or JSON.

use super::log_file::LogFile;
use super::output;
use crate::clock;
use crate::config::ConfigError;
use crate::config::file::{LogFormat, LogLevel};
use crate::config::paths::resolve;
use crate::config::settings::LogSettings;
use crate::config::state;
use crate::error::Error;
use crate::model::escape::tamed;
use log::{LevelFilter, Record};
use log4rs::Handle;
use log4rs::append::console::{ConsoleAppender, Target};
use log4rs::config::{Appender, Config, Root};
use log4rs::encode::{Encode, Write};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Records of this target hold one or more lines that are events already: in the JSON format each
/// is a JSON object, to which time and level are added. One record is one write.
pub const EVENTS: &str = "twinfold::events";

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
    state::check_file(path)?;
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

/// Our own encoder: names are escaped before they come here, so a line break separates events.
#[derive(Debug)]
struct Lines {
    format: LogFormat,
}

impl Encode for Lines {
    fn encode(&self, out: &mut dyn Write, record: &Record<'_>) -> anyhow::Result<()> {
        let time = clock::now();
        let message = record.args().to_string();
        let text = match self.format {
            LogFormat::Text => text_lines(&clock::readable_millis(time), record, &message),
            LogFormat::Json => json_lines(&clock::rfc3339(time), record, &message),
        };
        Ok(out.write_all(text.as_bytes())?)
    }
}

fn text_lines(time: &str, record: &Record<'_>, message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 64);
    let events = record.target() == EVENTS;
    for line in message.split(|c| events && c == '\n') {
        text.push_str(time);
        text.push_str(match record.level() {
            log::Level::Error => " ERROR ",
            log::Level::Warn => " WARN  ",
            log::Level::Info => " INFO  ",
            log::Level::Debug => " DEBUG ",
            log::Level::Trace => " TRACE ",
        });
        text.push_str(&tamed(line));
        text.push('\n');
    }
    text
}

fn json_lines(time: &str, record: &Record<'_>, message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 64);
    let level = record.level().as_str().to_lowercase();
    for line in message.split('\n') {
        let fields = (record.target() == EVENTS).then(|| serde_json::from_str(line).ok()).flatten();
        // What is of no job in particular has the fields that every event has, too.
        let plain = || {
            let fields = [
                ("event", json!("message")),
                ("job", json!(null)),
                ("run", json!(null)),
                ("message", json!(line)),
            ];
            fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
        };
        let mut object: Map<String, Value> = fields.unwrap_or_else(plain);
        object.insert("time".to_owned(), json!(time));
        object.insert("level".to_owned(), json!(level));
        text.push_str(&Value::Object(object).to_string());
        text.push('\n');
    }
    text
}
