//! What the user asked for, from four layers: command line > environment > config file > default.
//!
//! [`mod@file`] is the config file as written, [`Overrides`](settings::Overrides) the command line and
//! the environment as given, [`Settings`](settings::Settings) what follows from all of them for one job.

pub mod daemon;
mod explain;
pub mod file;
mod filters;
pub mod paths;
pub mod settings;
pub mod state;
pub mod trash;
pub mod units;
pub mod verification;

use std::io;
use std::path::PathBuf;

/// What is wrong with what the user asked for.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The config file cannot be read.
    #[error("cannot read the config file {path}: {error}", path = path.display())]
    Read {
        /// The config file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The config file must not be trusted.
    #[error("the config file {path} is refused: {cause}", path = path.display())]
    Refused {
        /// The config file.
        path: PathBuf,
        /// Why.
        cause: &'static str,
    },
    /// Its text is wrong.
    #[error("{path}: {message}", path = path.display())]
    Syntax {
        /// The config file.
        path: PathBuf,
        /// Line, key and what is wrong with it.
        message: String,
    },
    /// Neither command line nor config describes a mirror.
    #[error("nothing to mirror: give --source DIR and --replica DIR, or a config file with a [[job]]")]
    NothingToMirror,
    /// A value is out of range or does not fit the others.
    #[error("{0}")]
    Invalid(String),
    /// A path of the operator leads through somebody else's symlink or the like.
    #[error(transparent)]
    Path(#[from] paths::PathError),
}
