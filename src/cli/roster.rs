//! The jobs that `sync` is to run: a root of one may be away without keeping the others from running.

use super::output;
use super::shell::{Held, tell_failure};
use super::sync::Request;
use super::watch::Diagnostics;
use crate::engine::gates;
use crate::engine::job::Job;
use crate::error::{Error, ExitCode};
use crate::lock::{LockError, RunLock};
use crate::roots::RootError;

/// One of the jobs, and what keeps it from running now.
#[derive(Debug)]
pub(super) struct Member {
    /// The job.
    pub job: Job,
    /// Why it cannot run now: one of its roots cannot be used, or its lock is not to be had.
    pub away: Option<Error>,
    /// Its lock.
    pub held: Option<Held>,
}

/// Makes the jobs ready. `writing`: whether what keeps them from running may be noted in their history.
///
/// # Errors
/// Whatever is wrong with what was asked for, and what keeps the jobs from running where that is so for all.
pub(super) fn call(request: &Request, writing: bool) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    for settings in &request.jobs {
        members.push(match Job::prepare(settings.clone()) {
            Ok(job) => Member { job, away: None, held: None },
            Err(error @ Error::Root(RootError::Unavailable(_))) => {
                // Where not even the paths can be told, nothing can be said of who overlaps whom.
                let Ok(job) = Job::locate(settings.clone()) else { return Err(error) };
                job.check_outside("manifest", &job.manifest)?;
                Member { job, away: Some(error), held: None }
            }
            Err(error) => return Err(error),
        });
    }
    unless_all_are_away(request, members, writing)
}

/// Takes the jobs' locks. One that is not to be had keeps its own job from running, and no other.
///
/// # Errors
/// Where no job can run, or the place for a lock must not be trusted.
pub(super) fn lock(request: &Request, mut members: Vec<Member>) -> Result<Vec<Member>, Error> {
    for member in &mut members {
        // Whose root is away is locked as well: a daemon may run it later.
        match member.job.lock() {
            Ok(lock) => member.held = Some(Held { manifest: member.job.manifest.clone(), lock }),
            Err(error) if error.exit_code() == ExitCode::Usage => return Err(error),
            Err(error) => {
                member.away.get_or_insert(error);
            }
        }
    }
    unless_all_are_away(request, members, true)
}

fn unless_all_are_away(request: &Request, members: Vec<Member>, writing: bool) -> Result<Vec<Member>, Error> {
    if members.iter().any(|member| member.away.is_none()) {
        return Ok(members);
    }
    let mut first = None;
    for Member { job, away, held } in members {
        let Some(error) = away else { continue };
        match held {
            Some(held) if writing => note_with(&job, &held.lock, &error),
            None if writing && matches!(error, Error::Root(_)) => note(&job, &error),
            _ => {}
        }
        match first {
            None => first = Some(error),
            Some(_) => tell_failure(&request.options, &job.label(), &error),
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
