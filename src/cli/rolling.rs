//! Old logs: `NAME.1` is the youngest, and so many are kept.
//!
//! log4rs has a roller of its own. Where that cannot rename it prints to stdout, in the middle of our
//! results, and panics where nobody reads those.

use super::log_file::begins_like_a_log;
use crate::resolved;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why an old log could not be put away.
#[derive(Debug, thiserror::Error)]
pub(super) enum RollError {
    /// Something is in the way, or the folder may not be changed.
    #[error("the log {log} cannot be rolled: renaming {from} to {to} failed: {error}", log = log.display(),
        from = from.display(), to = to.display())]
    Rename {
        /// The log.
        log: PathBuf,
        /// The name it or an old one has.
        from: PathBuf,
        /// The name that it cannot get.
        to: PathBuf,
        /// The system's reason.
        error: Errno,
    },
    /// No old ones are kept, and this one does not go.
    #[error("the log {log} cannot be emptied: {error}", log = log.display())]
    Remove {
        /// The log.
        log: PathBuf,
        /// The system's reason.
        error: Errno,
    },
    /// A file that twinfold did not write has the name of an old log.
    #[error(
        "the log {log} cannot be rolled: {found} is not a log of twinfold, and was left as it is; move it away",
        log = log.display(), found = found.display()
    )]
    Foreign {
        /// The log.
        log: PathBuf,
        /// The file.
        found: PathBuf,
    },
    /// Its folder is gone, or its path has become a link.
    #[error("the folder of the log {log} cannot be opened: {error}", log = log.display())]
    Folder {
        /// The log.
        log: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// The first file with the name of an old log whose content rolling would lose: a regular one, with no other name, that is
/// neither empty nor a log of ours.
pub(super) fn find_foreign(log: &Path, keep: u32) -> Option<PathBuf> {
    let is_foreign = |old: &PathBuf| {
        let open = |flags| resolved::open(old, flags, Mode::empty());
        let Ok(found) = open(OFlags::PATH).and_then(|handle| Ok(fstat(handle)?)) else { return false };
        let is_regular = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
        if !is_regular || found.st_size == 0 || found.st_nlink > 1 {
            return false;
        }
        // What cannot be read may be anything.
        !open(OFlags::RDONLY | OFlags::NONBLOCK)
            .and_then(|handle| begins_like_a_log(&File::from(handle)))
            .unwrap_or(false)
    };
    (1..=keep).map(|number| PathBuf::from(numbered(log.as_os_str(), number))).find(is_foreign)
}

/// Renames the log that has grown too large; `keep` old ones stay.
///
/// RACE: whoever puts a file of his own under an old log's name between the look and the renaming loses it. The folder is
/// one that nobody else may write to, or has the sticky bit.
pub(super) fn roll(log: &Path, keep: u32) -> Result<(), RollError> {
    let lost = |error| RollError::Folder { log: log.to_owned(), error };
    let Some((folder, name)) = resolved::parent(log).map_err(lost)? else { return Ok(()) };
    if let Some(found) = find_foreign(log, keep) {
        return Err(RollError::Foreign { log: log.to_owned(), found });
    }
    for number in (0..keep).rev() {
        let (from, to) = (numbered(name, number), numbered(name, number + 1));
        match renameat(&folder, &from, &folder, &to) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let (from, to) = (PathBuf::from(from), PathBuf::from(to));
                return Err(RollError::Rename { log: log.to_owned(), from, to, error });
            }
        }
    }
    match unlinkat(&folder, name, AtFlags::empty()) {
        // Renamed away, as it should be.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(RollError::Remove { log: log.to_owned(), error }),
    }
}

fn numbered(name: &OsStr, number: u32) -> OsString {
    let mut numbered = name.to_owned();
    if number > 0 {
        numbered.push(format!(".{number}"));
    }
    numbered
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use std::fs;

    fn line(text: &str) -> String {
        format!("2026-12-01T02:13:37.000+00:00 INFO  {text}\n")
    }

    #[test]
    fn the_youngest_old_log_is_number_one_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        for (keep, left) in [(2, vec!["4", "3"]), (1, vec!["4"]), (0, vec![])] {
            for text in ["1", "2", "3", "4"] {
                fs::write(&log, line(text)).unwrap();
                roll(&log, keep).unwrap();
                assert!(!log.exists());
            }
            let found: Vec<String> = (1..=keep)
                .map(|number| fs::read_to_string(dir.path().join(format!("log.{number}"))).unwrap())
                .collect();
            assert_eq!(found, left.into_iter().map(line).collect::<Vec<_>>(), "{keep} kept");
        }
    }

    #[test]
    fn a_log_that_cannot_be_renamed_stays_and_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "text").unwrap();
        fs::create_dir_all(dir.path().join("log.1/in the way")).unwrap();
        let refused = roll(&log, 1).unwrap_err().to_string();
        assert!(refused.contains("log.1"), "{refused}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "text");
    }
}
