//! What ends a run (or the program) as a whole, and with which exit code.

use crate::config::ConfigError;
use crate::config::file::Absent;
use crate::config::settings::Settings;
use crate::lock::LockError;
use crate::manifest::ManifestError;
use crate::model::Side;
use crate::plan::order::OrderBreach;
use crate::roots::RootError;
use std::io;

/// A fatal error. What goes wrong with one entry is a [`Problem`](crate::model::Problem) instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A root is not what it should be.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The job is locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A listing or the manifest came out of order.
    #[error(transparent)]
    Order(#[from] OrderBreach),
    /// A root could not be listed at all.
    #[error(
        "the {side}'s root cannot be listed: {cause}; nothing was touched. Is it mounted, and may this user read it?"
    )]
    RootUnlisted {
        /// Which root.
        side: Side,
        /// The system's reason.
        cause: String,
    },
    /// A walk ended before it had seen everything.
    #[error("the walk of the {0} broke off; nothing was changed")]
    WalkBroken(Side),
    /// Threads could not be started.
    #[error("cannot start worker threads: {0}")]
    Threads(String),
    /// Something the whole run needs failed.
    #[error("cannot {action}: {error}")]
    System {
        /// A verb phrase.
        action: &'static str,
        /// The system's reason.
        error: io::Error,
    },
    /// A mistake in the program ended the run.
    #[error(
        "the run panicked: {0}. This is a mistake in twinfold; the next run goes on from what is true. Please report it"
    )]
    Panicked(String),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What the program ends with; one number means one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Source and replica are in step.
    Ok = 0,
    /// Could not run.
    Fatal = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Done, but some entries failed.
    Problems = 3,
    /// Done, but deletes are held.
    Held = 4,
    /// A root is missing or unreadable: nothing was touched.
    Root = 5,
    /// `rebuild-index` found damage that it did not heal.
    Damage = 6,
    /// `status --check`: a job is not healthy.
    Unhealthy = 7,
    /// Another twinfold holds this job's lock.
    Locked = 11,
    /// Interrupted.
    Interrupted = 130,
}

impl ExitCode {
    /// The number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Which of two goes before the other where both apply: 5, 1, 3, 4 in that order, with what
    /// stops a run at the front and damage before problems.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        const ORDER: [ExitCode; 10] = [
            ExitCode::Interrupted,
            ExitCode::Root,
            ExitCode::Fatal,
            ExitCode::Usage,
            ExitCode::Locked,
            ExitCode::Damage,
            ExitCode::Unhealthy,
            ExitCode::Problems,
            ExitCode::Held,
            ExitCode::Ok,
        ];
        ORDER.into_iter().find(|code| *code == self || *code == other).unwrap_or(self)
    }
}

impl Error {
    /// The exit code of a program that ends with this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_)
            | Self::Root(RootError::Refused(_))
            | Self::Manifest(
                ManifestError::OtherJob { .. }
                | ManifestError::NoFile { .. }
                | ManifestError::Foreign { .. }
                | ManifestError::NotOurs { .. },
            )
            | Self::Lock(LockError::Foreign { .. }) => ExitCode::Usage,
            Self::Root(RootError::Unavailable(_) | RootError::Absent(_)) | Self::RootUnlisted { .. } => {
                ExitCode::Root
            }
            Self::Lock(LockError::Held { .. } | LockError::ReplicaHeld { .. }) => ExitCode::Locked,
            Self::Interrupted => ExitCode::Interrupted,
            Self::Lock(LockError::Io { .. })
            | Self::Manifest(_)
            | Self::Order(_)
            | Self::WalkBroken(_)
            | Self::Threads(_)
            | Self::Panicked(_)
            | Self::System { .. } => ExitCode::Fatal,
        }
    }

    /// Returns true if the job says that this is as it should be: a root is not there that comes and goes.
    pub fn is_tolerated(&self, settings: &Settings) -> bool {
        matches!(self, Self::Root(RootError::Absent(_))) && settings.absent == Absent::Ok
    }
}
