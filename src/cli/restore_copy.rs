//! `twinfold restore PATH --from-replica`: the way back for what is damaged in the source.

use super::args::RestoreOptions;
use super::output;
use super::restore::{Origin, destination, tell};
use crate::cancel::Cancel;
use crate::engine::job::Job;
use crate::engine::mend::{Refusal, copy_of, may_replace};
use crate::engine::restore::{Errand, restore};
use crate::engine::status;
use crate::error::{Error, ExitCode};
use crate::manifest::ManifestError;
use crate::model::EntryPath;

/// Carries it out. Into the source only what was named, and only over what the manifest knows.
pub fn run(
    job: &Job,
    path: &EntryPath,
    options: &RestoreOptions,
    cancel: &Cancel,
) -> Result<ExitCode, Error> {
    let replica = job.find_replica()?;
    let Some(copy) = copy_of(&replica, path)? else { return Ok(refuse(path, &Refusal::NoCopy)) };
    let (to, place) = destination(job, options.to.as_deref())?;
    let mut replace = false;
    if options.to.is_none() {
        let known = status::read(job, |reader| status::find(job, reader, &options.path));
        let row = match known {
            Err(Error::Manifest(ManifestError::Missing { .. })) => None,
            known => known?,
        };
        match may_replace(job, row.as_ref(), (&to, &replica), (path, &copy), cancel)? {
            Ok(()) => replace = true,
            Err(refusal) => return Ok(refuse(path, &refusal)),
        }
    }
    let errand = Errand { from: &replica, lies: path, stat: &copy, to: &to, path, replace };
    let restored = restore(job, &errand, cancel)?;
    Ok(tell(job, path, &Origin::Replica, &place, &restored, options))
}

fn refuse(path: &EntryPath, refusal: &Refusal) -> ExitCode {
    output::diagnose("error", &format!("nothing was restored of {path}: {refusal}"));
    ExitCode::Fatal
}
