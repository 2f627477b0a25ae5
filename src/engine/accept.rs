//! Taking what the source has for right: one row in the manifest, written beside whatever runs.

use super::job::Job;
use super::status;
use crate::error::Error;
use crate::manifest;
use crate::model::EntryPath;
use std::path::Path;

/// Forgets what the content of the file, or the target of the link, that `named` means was. Takes no lock and touches neither tree; the next run
/// compares both sides and brings the source's content over. `None`: the manifest knows no such file or link.
pub fn accept(job: &Job, named: &Path) -> Result<Option<EntryPath>, Error> {
    job.check_state()?;
    job.recognize_manifest()?;
    let row = status::read(job, |reader| status::find(job, reader, named))?;
    let Some(row) = row.filter(|row| row.source.kind.has_content()) else { return Ok(None) };
    let known = manifest::accept(&job.manifest, &job.roots(), &row.path)?;
    Ok(known.then_some(row.path))
}
