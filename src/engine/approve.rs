//! Letting held deletes go ahead: one row in the manifest, written beside whatever runs.

use super::job::Job;
use crate::clock;
use crate::error::Error;
use crate::manifest::{self, Approval, ManifestError};
use std::path::Path;

/// Approves what `run` holds, or whatever is held where no number is given. Takes no lock, touches
/// neither tree; the next run checks each delete against the disk. A job that has not run holds nothing.
pub fn approve(job: &Job, run: Option<i64>) -> Result<Approval, Error> {
    if job.manifest.parent().is_some_and(Path::exists) {
        job.check_state()?;
        job.recognize_manifest()?;
    }
    match manifest::approve(&job.manifest, &job.roots(), run, clock::now()) {
        Err(ManifestError::Missing { .. }) => Ok(Approval::NothingHeld),
        result => Ok(result?),
    }
}
