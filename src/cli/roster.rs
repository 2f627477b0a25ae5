//! The jobs that `sync` is to run: a root of one may be away without keeping the others from running.

use super::output;
use super::sync::{Request, tell_failure};
use super::watch::Diagnostics;
use crate::engine::gates;
use crate::engine::job::Job;
use crate::error::Error;
use crate::lock::{LockError, RunLock};
use crate::roots::{RootError, check_outside};

/// One of the jobs, and what keeps it from running now.
#[derive(Debug)]
pub(super) struct Member {
    /// The job.
    pub job: Job,
    /// Why one of its roots cannot be used; `None` where it can run.
    pub away: Option<Error>,
}

/// Makes the jobs ready. `writing`: whether what keeps them from running may be noted in their history.
///
/// # Errors
/// Whatever is wrong with one of them, but for roots that are away; these only where no job can run.
pub(super) fn call(request: &Request, writing: bool) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    for settings in &request.jobs {
        members.push(match Job::prepare(settings.clone()) {
            Ok(job) => Member { job, away: None },
            Err(error @ Error::Root(RootError::Unavailable(_))) => {
                // Where not even the paths can be told, nothing can be said of who overlaps whom.
                let Ok(job) = Job::locate(settings.clone()) else { return Err(error) };
                check_outside(&job.paths, "manifest", &job.manifest)?;
                Member { job, away: Some(error) }
            }
            Err(error) => return Err(error),
        });
    }
    if members.iter().any(|member| member.away.is_none()) {
        return Ok(members);
    }
    let mut first = None;
    for Member { job, away } in members {
        let Some(error) = away else { continue };
        if writing {
            note(&job, &error);
        }
        match first {
            None => first = Some(error),
            Some(_) => tell_failure(&request.options, &job, &error),
        }
    }
    first.map_or(Ok(Vec::new()), Err)
}

/// Notes in the job's history, if it has any, why it does not run. A daemon that has the job's lock notes
/// that by itself.
pub(super) fn note(job: &Job, away: &Error) {
    if !job.has_manifest() {
        return;
    }
    match job.lock() {
        Ok(lock) => note_with(job, &lock, away),
        Err(Error::Lock(LockError::Held { .. })) => {}
        Err(error) => tell_unnoted(job, &error),
    }
}

/// The same where the lock is held already.
pub(super) fn note_with(job: &Job, lock: &RunLock, away: &Error) {
    if let Err(error) = gates::note_away(job, lock, away, &Diagnostics::default()) {
        tell_unnoted(job, &error);
    }
}

fn tell_unnoted(job: &Job, error: &Error) {
    let text = format!("that {} did not run cannot be noted for status: {error}", job.label());
    output::diagnose("warning", &text);
}
