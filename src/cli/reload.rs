//! The config read again, in a thread of its own: a root whose file system does not answer must not keep
//! the daemon's loop from turning over.

use super::args::JobOptions;
use super::logging::Log;
use super::sync::{self, Request, check_apart, place_log};
use crate::config::settings::LogSettings;
use crate::engine::job::Job;
use crate::error::Error;
use std::path::PathBuf;

/// The log as it is in force.
#[derive(Clone, Debug)]
pub struct LogPlace {
    /// The log.
    pub log: Log,
    /// Its settings.
    pub settings: LogSettings,
    /// Where it is.
    pub path: PathBuf,
}

/// What a new reading of the config came to.
#[derive(Debug)]
pub struct Reloaded {
    /// What is asked for now; where something is wrong with it, what.
    pub request: Result<Request, Error>,
    /// The log, opened anew: as the new config says, or as before.
    pub place: LogPlace,
    /// Why the log could not be opened anew.
    pub log_trouble: Option<Error>,
}

/// Reads the config again under the options that were given, and opens the log anew. Where anything of
/// the new one does not hold, nothing of it is used.
pub fn reload(given: JobOptions, place: LogPlace) -> Reloaded {
    let fresh = sync::request(given).and_then(|request| {
        let path = check(&request)?;
        place.log.reopen(&request.log, &path)?;
        Ok((request, path))
    });
    match fresh {
        Ok((request, path)) => {
            let place = LogPlace { settings: request.log.clone(), path, ..place };
            Reloaded { request: Ok(request), place, log_trouble: None }
        }
        Err(error) => {
            let log_trouble = place.log.reopen(&place.settings, &place.path).err();
            Reloaded { request: Err(error), place, log_trouble }
        }
    }
}

/// All that is refused when a daemon starts, but for what may come right by itself: a root that is away.
fn check(request: &Request) -> Result<PathBuf, Error> {
    let jobs: Vec<Job> = request.jobs.iter().cloned().map(Job::locate).collect::<Result<_, _>>()?;
    check_apart(request, &jobs)?;
    for job in &jobs {
        job.check_outside("manifest", &job.manifest)?;
    }
    place_log(request, &jobs)
}
