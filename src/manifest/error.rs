//! What can go wrong with a manifest as a whole.

use crate::model::EntryPath;
use rusqlite::ffi::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// A fatal error of the manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// SQLite refused.
    #[error("cannot {action} the manifest {path}: {error}", path = path.display())]
    Sqlite {
        /// A verb phrase.
        action: &'static str,
        /// The manifest's file.
        path: PathBuf,
        /// SQLite's reason.
        error: rusqlite::Error,
    },
    /// The file itself could not be handled.
    #[error("cannot {action} the manifest {path}: {error}", path = path.display())]
    Io {
        /// A verb phrase.
        action: &'static str,
        /// The manifest's file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Its content is no SQLite database, or a broken one.
    #[error(
        "the manifest {path} is damaged ({cause}); twinfold sync or rebuild-index sets it aside and rebuilds it",
        path = path.display()
    )]
    Damaged {
        /// The manifest's file.
        path: PathBuf,
        /// How that shows.
        cause: String,
        /// SQLite found it, which takes a read that failed for damage as well: see
        /// [`confirm`](mod@super::confirm).
        doubtful: bool,
    },
    /// SQLite read something wrong once, and finds nothing wrong when it reads it again.
    #[error(
        "the manifest {path} could not be read for a moment ({cause}); nothing is wrong with it now, and nothing was \
         set aside: the next run tries again. If this comes back, check the disk",
        path = path.display()
    )]
    Passing {
        /// The manifest's file.
        path: PathBuf,
        /// What SQLite said.
        cause: String,
    },
    /// Nothing shows that the file ever was a manifest of this job.
    #[error(
        "{path} is not a twinfold manifest ({cause}), and was left as it is; name another file with --manifest \
         or the key manifest. If it was the manifest of this job, move it away: the next run makes a new one",
        path = path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// How that shows.
        cause: String,
    },
    /// A newer program wrote it.
    #[error(
        "the manifest {path} has schema {found}, newer than the {known} this twinfold knows; \
         install the newer twinfold, or name another file with --manifest",
        path = path.display()
    )]
    Newer {
        /// The manifest's file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// It is a database of another program.
    #[error(
        "{path} is a database of another application, not a twinfold manifest; name another file with --manifest",
        path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is a folder, a device or the like.
    #[error("the manifest {path} is not a regular file; name a file with --manifest", path = path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// It belongs to another pair of roots.
    #[error(
        "the manifest {path} belongs to another job ({source_root} -> {replica_root}); \
         name another file with --manifest, or remove it to start afresh",
        path = path.display()
    )]
    OtherJob {
        /// The manifest's file.
        path: PathBuf,
        /// The source root in it, escaped.
        source_root: String,
        /// The replica root in it, escaped.
        replica_root: String,
    },
    /// The rows of a folder cannot get another's prefix.
    #[error("cannot rename {from} to {to} in the manifest {path}: {cause}", path = path.display())]
    Range {
        /// The manifest's file.
        path: PathBuf,
        /// The folder whose rows were to be renamed.
        from: EntryPath,
        /// What it was to be called.
        to: EntryPath,
        /// Why not.
        cause: &'static str,
    },
    /// No run has upgraded it yet.
    #[error("the manifest {path} is of an older twinfold; run twinfold sync first, which upgrades it", path = path.display())]
    Older {
        /// The manifest's file.
        path: PathBuf,
    },
    /// There is none yet.
    #[error("there is no manifest {path} yet; run twinfold sync first", path = path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
}

impl ManifestError {
    /// Whether the remedy is to set the file aside and adopt the replica anew.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// Damage that the program itself has seen.
    pub(super) fn damaged(path: &Path, cause: String) -> Self {
        Self::Damaged { path: path.to_owned(), cause, doubtful: false }
    }

    pub(super) fn io(action: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), error: error.into() }
    }
}

/// Gives SQLite's errors the path and the action they belong to, and tells damage from the rest.
pub(super) fn sqlite(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> ManifestError {
    move |error| {
        let damage = match &error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                let no_such = |what: &str| message.as_deref().is_some_and(|m| m.starts_with(what));
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                    || no_such("no such table")
                    || no_such("no such column")
            }
            rusqlite::Error::SqlInputError { msg, .. } => {
                msg.starts_with("no such table") || msg.starts_with("no such column")
            }
            // A value that the schema forbids can only come from damage.
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => true,
            _ => false,
        };
        let path = path.to_owned();
        if damage {
            let doubtful = matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            );
            ManifestError::Damaged { path, cause: error.to_string(), doubtful }
        } else {
            ManifestError::Sqlite { action, path, error }
        }
    }
}
