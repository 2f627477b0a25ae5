//! What went wrong with one entry; the others go on.

use super::EntryPath;
use std::fmt;

/// Which tree an entry lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The tree that is mirrored.
    Source,
    /// The mirror.
    Replica,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Replica => "replica",
        })
    }
}

/// One entry that could not be read, written or brought into step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {path} ({side}): {cause}")]
pub struct Problem {
    /// The entry.
    pub path: EntryPath,
    /// The tree it was met in.
    pub side: Side,
    /// What was being done, as a verb phrase: "list", "open", "rename into place".
    pub action: &'static str,
    /// Why it failed, as the system or twinfold says it.
    pub cause: String,
}

/// A problem that an earlier run met, as the manifest remembers it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("cannot {action} {path} ({side}): {cause}")]
pub struct PastProblem {
    /// The entry.
    pub path: EntryPath,
    /// The tree it was met in.
    pub side: Side,
    /// What was being done.
    pub action: String,
    /// Why it failed.
    pub cause: String,
}

impl From<&Problem> for PastProblem {
    fn from(problem: &Problem) -> Self {
        let Problem { path, side, action, cause } = problem;
        Self { path: path.clone(), side: *side, action: (*action).to_owned(), cause: cause.clone() }
    }
}

impl Problem {
    /// A problem with `path` in the source.
    pub fn source(path: &EntryPath, action: &'static str, cause: impl fmt::Display) -> Self {
        Self { path: path.clone(), side: Side::Source, action, cause: cause.to_string() }
    }

    /// A problem with `path` in the replica.
    pub fn replica(path: &EntryPath, action: &'static str, cause: impl fmt::Display) -> Self {
        Self { path: path.clone(), side: Side::Replica, action, cause: cause.to_string() }
    }
}
