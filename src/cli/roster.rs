//! The jobs that `sync` is to run: a root of one may be away without keeping the others from running.

use super::output;
use super::shell::{Held, tell_failure};
use super::sync::Request;
use super::watch::Diagnostics;
use crate::config::settings::Settings;
use crate::engine::gates;
use crate::engine::job::Job;
use crate::error::{Error, ExitCode};
use crate::lock::{LockError, RunLock};
use crate::roots::RootError;
use crossbeam_channel::unbounded;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// One of the jobs, and what keeps it from running now.
#[derive(Debug)]
pub(super) struct Member {
    /// The job.
    pub job: Job,
    /// Why it cannot run now: one of its roots cannot be used, or its lock is not to be had.
    pub away: Option<Error>,
    /// Its lock.
    pub held: Option<Held>,
    /// Its roots did not answer in time: its paths are those of the config.
    pub is_silent: bool,
}

/// Makes the jobs ready. `writing`: whether what keeps them from running may be noted in their history. A job whose
/// roots do not answer within `patience` is taken as it stands in the config: its own run waits for them.
///
/// # Errors
/// Whatever is wrong with what was asked for, and what keeps the jobs from running where that is so for all.
pub(super) fn call(
    request: &Request,
    writing: bool,
    patience: Option<Duration>,
) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    let prepared = ask(&request.jobs, patience, prepare);
    for (settings, prepared) in request.jobs.iter().zip(prepared) {
        members.push(if let Some(member) = prepared {
            member?
        } else {
            let job = Job::unresolved(settings.clone())?;
            Member { job, away: None, held: None, is_silent: true }
        });
    }
    unless_all_are_away(request, members, writing)
}

fn prepare(settings: Settings) -> Result<Member, Error> {
    match Job::prepare(settings.clone()) {
        Ok(job) => Ok(Member { job, away: None, held: None, is_silent: false }),
        Err(error @ Error::Root(RootError::Unavailable(_) | RootError::Absent(_))) => {
            // Where not even the paths can be told, nothing can be said of who overlaps whom.
            let Ok(job) = Job::locate(settings) else { return Err(error) };
            job.check_outside("manifest", &job.manifest)?;
            Ok(Member { job, away: Some(error), held: None, is_silent: false })
        }
        Err(error) => Err(error),
    }
}

/// Has `work` done for each of the jobs. With `patience` each has a thread of its own, and those that have not
/// answered by then are `None`: their threads wait for a file system that does not answer, maybe for ever.
pub(super) fn ask<T: Send + 'static>(
    jobs: &[Settings],
    patience: Option<Duration>,
    work: fn(Settings) -> Result<T, Error>,
) -> Vec<Option<Result<T, Error>>> {
    let Some(patience) = patience else {
        return jobs.iter().cloned().map(|settings| Some(work(settings))).collect();
    };
    let deadline = Instant::now() + patience;
    let (sender, receiver) = unbounded();
    let mut answers: Vec<Option<Result<T, Error>>> = Vec::new();
    for (number, settings) in jobs.iter().cloned().enumerate() {
        let sender = sender.clone();
        let started = Builder::new().name("start".to_owned()).spawn(move || {
            // Nobody listens any more when the time is up.
            let _ = sender.send((number, work(settings)));
        });
        answers.push(started.err().map(|error| Err(Error::Threads(error.to_string()))));
    }
    drop(sender);
    while let Ok((number, answer)) = receiver.recv_deadline(deadline) {
        answers[number] = Some(answer);
    }
    answers
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
    // A root that comes and goes keeps a job from nothing.
    let can_run = |Member { job, away, .. }: &Member| {
        away.as_ref().is_none_or(|error| error.is_tolerated(&job.settings))
    };
    if members.iter().any(can_run) {
        return Ok(members);
    }
    let mut first = None;
    for Member { job, away, held, .. } in members {
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
