//! The log as a file: an appender of log4rs that opens it itself, each time through no link, and looks
//! whose it is. Those of log4rs open by path, which anybody may have made a link when an old log was rolled
//! away.

use super::log_lines::{BEGINNING, is_ours};
use super::rolling;
use crate::resolved;
use log::Record;
use log4rs::append::Append;
use log4rs::encode::{self, Encode};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Why the log is not written to.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogFileError {
    /// The system refuses.
    #[error("cannot open the log {path}: {error}; name another with --log-file", path = path.display())]
    Open {
        /// The log.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Rolling renames it: a device or pipe would be taken away from everybody.
    #[error("the log {path} is not a regular file; name another with --log-file", path = path.display())]
    NotRegular {
        /// The log.
        path: PathBuf,
    },
    /// What is written to it would go into a file elsewhere.
    #[error(
        "the log {path} is a hard link to a file with other names; remove it, or name another with --log-file",
        path = path.display()
    )]
    OtherNames {
        /// The log.
        path: PathBuf,
    },
    /// What is in it is not a log of ours.
    #[error(
        "{path} is not a log of twinfold, and was left as it is; move it away, or name another file with --log-file or \
         the key log.file",
        path = path.display()
    )]
    NoLog {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else made it.
    #[error("the log {path} belongs to user {owner}; remove it, or name another with --log-file", path = path.display())]
    Foreign {
        /// The log.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
}

/// A log that is appended to, one write for each record, and rolled when it has grown past a size.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    encoder: Box<dyn Encode>,
    max_bytes: u64,
    keep: u32,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens or makes the log at `path`, which was resolved. So many old ones stay.
    pub(super) fn open(
        path: &Path,
        encoder: Box<dyn Encode>,
        max_bytes: u64,
        keep: u32,
    ) -> Result<Self, LogFileError> {
        if let Some(old) = rolling::find_foreign(path, keep) {
            return Err(LogFileError::NoLog { path: old });
        }
        let open = Mutex::new(Some(open(path)?));
        Ok(Self { path: path.to_owned(), encoder, max_bytes, keep, open })
    }
}

impl Append for LogFile {
    fn append(&self, record: &Record<'_>) -> anyhow::Result<()> {
        let mut text = Text(Vec::new());
        self.encoder.encode(&mut text, record)?;
        // Whoever panicked with it left at worst a line too few.
        let mut held = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let log = match &mut *held {
            Some(log) => log,
            None => held.insert(open(&self.path)?),
        };
        log.file.write_all(&text.0)?;
        log.bytes += text.0.len() as u64;
        if log.bytes > self.max_bytes {
            *held = None;
            rolling::roll(&self.path, self.keep)?;
        }
        Ok(())
    }

    fn flush(&self) {}
}

/// A record before it is written.
#[derive(Debug)]
struct Text(Vec<u8>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl encode::Write for Text {}

/// Opens the log, making it for its owner only; what was planted in its place is refused unwritten.
fn open(path: &Path) -> Result<Open, LogFileError> {
    let failed = |error| LogFileError::Open { path: path.to_owned(), error };
    // A pipe without a reader must not keep anybody waiting.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
    let handle = resolved::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    let found = fstat(&handle).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(LogFileError::NotRegular { path: path.to_owned() });
    }
    if found.st_nlink > 1 {
        return Err(LogFileError::OtherNames { path: path.to_owned() });
    }
    if found.st_uid != 0 && found.st_uid != rustix::process::geteuid().as_raw() {
        return Err(LogFileError::Foreign { path: path.to_owned(), owner: found.st_uid });
    }
    let file = File::from(handle);
    // Before the first byte is written: a mistyped name must not cost anybody a file.
    if found.st_size > 0 && !begins_like_a_log(&file).map_err(failed)? {
        return Err(LogFileError::NoLog { path: path.to_owned() });
    }
    Ok(Open { file, bytes: u64::try_from(found.st_size).unwrap_or(0) })
}

/// Returns true if the file begins like a log that this program writes, or is empty.
pub(super) fn begins_like_a_log(file: &File) -> io::Result<bool> {
    let mut beginning = Vec::new();
    file.take(BEGINNING).read_to_end(&mut beginning)?;
    Ok(is_ours(&beginning))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use log4rs::encode::pattern::PatternEncoder;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn say(log: &LogFile, text: &str) -> anyhow::Result<()> {
        log.append(&Record::builder().args(format_args!("{text}")).build())
    }

    #[test]
    fn what_is_planted_while_the_log_is_rolled_is_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        let (path, victim) = (base.join("log"), base.join("victim"));
        fs::write(&victim, "precious").unwrap();
        let pattern = "{d(%Y-%m-%dT%H:%M:%S.000+00:00)(utc)} INFO  {m}{n}";
        let log = LogFile::open(&path, Box::new(PatternEncoder::new(pattern)), 10, 1).unwrap();
        for plant in [
            |victim: &Path, at: &Path| symlink(victim, at),
            |victim: &Path, at: &Path| fs::hard_link(victim, at),
        ] {
            say(&log, "more than ten bytes").unwrap();
            assert!(!path.exists(), "it was rolled away");
            plant(&victim, &path).unwrap();
            for _ in 0..2 {
                let refused = say(&log, "secret").unwrap_err().to_string();
                assert!(refused.contains("--log-file"), "{refused}");
            }
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
            fs::remove_file(&path).unwrap();
        }
        say(&log, "on").unwrap();
        assert!(!path.exists(), "it was rolled away");
    }

    #[test]
    fn what_is_no_log_of_ours_is_neither_written_to_nor_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        let path = base.join("log");
        let open = || LogFile::open(&path, Box::new(PatternEncoder::new("{m}{n}")), 10, 2);
        fs::write(&path, "precious\n").unwrap();
        assert!(matches!(open(), Err(LogFileError::NoLog { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n");
        fs::remove_file(&path).unwrap();
        let log = open().unwrap();
        for old in ["log.1", "log.2"] {
            let old = base.join(old);
            fs::write(&old, "precious\n").unwrap();
            assert!(matches!(open(), Err(LogFileError::NoLog { path }) if path == old));
            let refused = say(&log, "2026-12-01T02:13:37.000+00:00 INFO  more than ten bytes").unwrap_err();
            assert!(refused.to_string().contains("not a log of twinfold"), "{refused}");
            assert_eq!(fs::read_to_string(&old).unwrap(), "precious\n");
            fs::remove_file(&old).unwrap();
        }
        assert!(fs::read_to_string(&path).unwrap().lines().count() > 1, "what was said is there");
    }
}
