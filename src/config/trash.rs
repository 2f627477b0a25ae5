//! What becomes of what a run deletes or overwrites.

use super::ConfigError;
use super::file::{ConfigFile, JobTable, duration};
use super::settings::{MAX_INTERVAL, Settings, defaults};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// `[trash]`, and `[job.trash]` over it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrashTable {
    /// Whether there is one.
    pub enabled: Option<bool>,
    /// So long a version stays.
    #[serde(deserialize_with = "duration")]
    pub keep: Option<Duration>,
    /// Where it is, if not in the replica.
    pub dir: Option<PathBuf>,
}

/// Of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashSettings {
    /// Whether anything goes there.
    pub enabled: bool,
    /// So long it stays there.
    pub keep: Duration,
    /// Where that is; `None`: `.twinfold-trash` in the replica.
    pub dir: Option<PathBuf>,
}

/// Lays a job's table over that for all jobs.
pub(super) fn trash(file: &ConfigFile, table: &JobTable) -> Result<TrashSettings, ConfigError> {
    let keep = table.trash.keep.or(file.trash.keep).unwrap_or(defaults::TRASH_KEPT);
    if keep > MAX_INTERVAL {
        return Err(ConfigError::Invalid("trash.keep must be at most ten years".to_owned()));
    }
    Ok(TrashSettings {
        enabled: table.trash.enabled.or(file.trash.enabled).unwrap_or(false),
        keep,
        dir: table.trash.dir.clone().or_else(|| file.trash.dir.clone()),
    })
}

/// Refuses two jobs that would put what they delete into one folder: nobody could tell their versions apart.
pub(super) fn check_apart(jobs: &[Settings]) -> Result<(), ConfigError> {
    let dir = |job: &Settings| job.trash.dir.clone().filter(|_| job.trash.enabled);
    for (number, job) in jobs.iter().enumerate() {
        let shared = |other: &&Settings| dir(job).is_some() && dir(other) == dir(job);
        if let Some(other) = jobs[..number].iter().find(shared) {
            return Err(ConfigError::Invalid(format!(
                "the jobs {} and {} have the same trash.dir; give each a folder of its own",
                other.label(),
                job.label()
            )));
        }
    }
    Ok(())
}
