//! The metrics file: written after each run, of all jobs, so that whoever scrapes it never finds half of it.

use crate::config::settings::Settings;
use crate::engine::job::Job;
use crate::engine::metrics;
use crate::engine::status::{self, Overview};
use crate::model::escape::escaped;
use crate::resolved;
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, openat, renameat, unlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Runs looked at for the last one that came to an end.
const RUNS_LOOKED_AT: u32 = 20;

/// Runs of a daemon end side by side; who writes last has read last.
static WRITING: Mutex<()> = Mutex::new(());

/// Where metrics go, and of which jobs.
#[derive(Clone, Debug)]
pub struct MetricsFile {
    /// The file, resolved.
    pub path: PathBuf,
    /// All jobs of the config, and those that run.
    pub jobs: Vec<Settings>,
}

impl MetricsFile {
    /// Writes what is true now. That it cannot be written is said in the log: no run fails for it.
    pub fn write(&self) {
        let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let overviews: Vec<(String, Option<Overview>)> = self.jobs.iter().filter_map(look).collect();
        let samples: Vec<metrics::Sample<'_>> =
            overviews.iter().map(|(label, overview)| (label.as_str(), overview.as_ref())).collect();
        if let Err(error) = replace(&self.path, metrics::text(&samples).as_bytes()) {
            let name = escaped(self.path.as_os_str().as_bytes());
            log::warn!("the metrics file {name} cannot be written: {error}; see metrics_file in the config");
        }
    }
}

/// A job whose manifest cannot be read has no samples: a monitor sees that they are missing.
fn look(settings: &Settings) -> Option<(String, Option<Overview>)> {
    let job = Job::locate(settings.clone()).ok()?;
    match status::overview(&job, RUNS_LOOKED_AT) {
        Ok(overview) => Some((settings.label(), overview)),
        Err(error) => {
            log::warn!("{}: its metrics cannot be told: {error}", settings.label());
            None
        }
    }
}

/// Puts `content` in the place of a file, for all to read, at once.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("it names no file"));
    };
    let folder = resolved::open(parent, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let temporary =
        [b".".as_slice(), name.as_bytes(), format!(".{}.tmp", std::process::id()).as_bytes()].concat();
    let temporary = OsStr::from_bytes(&temporary);
    // One that a killed process of this number left behind.
    let _ = unlinkat(&folder, temporary, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder, temporary, flags, Mode::RUSR | Mode::WUSR)?);
    let written = file
        .write_all(content)
        .and_then(|()| Ok(fchmod(&file, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH)?))
        .and_then(|()| Ok(renameat(&folder, temporary, &folder, name)?));
    if written.is_err() {
        let _ = unlinkat(&folder, temporary, AtFlags::empty());
    }
    written
}
