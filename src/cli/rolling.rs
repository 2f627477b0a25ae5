//! Old logs: `NAME.1` is the youngest, and so many are kept.
//!
//! log4rs has a roller of its own. Where that cannot rename it prints to stdout, in the middle of our
//! results, and panics where nobody reads those.

use log4rs::append::rolling_file::policy::compound::roll::Roll;
use rustix::fs::{AtFlags, CWD, renameat, unlinkat};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Renames the log that has grown too large.
#[derive(Debug)]
pub(super) struct Roller {
    /// So many old logs stay.
    pub keep: u32,
}

impl Roll for Roller {
    fn roll(&self, log: &Path) -> anyhow::Result<()> {
        for number in (0..self.keep).rev() {
            let (from, to) = (numbered(log, number), numbered(log, number + 1));
            match renameat(CWD, &from, CWD, &to) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => {
                    anyhow::bail!("it cannot be renamed from {} to {}: {error}", from.display(), to.display())
                }
            }
        }
        match unlinkat(CWD, log, AtFlags::empty()) {
            // Renamed away, as it should be.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => anyhow::bail!("it cannot be emptied: {error}"),
        }
    }
}

fn numbered(log: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return log.to_owned();
    }
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_youngest_old_log_is_number_one_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        for (keep, left) in [(2, vec!["4", "3"]), (1, vec!["4"]), (0, vec![])] {
            for text in ["1", "2", "3", "4"] {
                fs::write(&log, text).unwrap();
                Roller { keep }.roll(&log).unwrap();
                assert!(!log.exists());
            }
            let found: Vec<String> =
                (1..=keep).map(|number| fs::read_to_string(numbered(&log, number)).unwrap()).collect();
            assert_eq!(found, left, "{keep} kept");
        }
    }

    #[test]
    fn a_log_that_cannot_be_renamed_stays_and_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "text").unwrap();
        fs::create_dir_all(dir.path().join("log.1/in the way")).unwrap();
        let refused = Roller { keep: 1 }.roll(&log).unwrap_err().to_string();
        assert!(refused.contains("log.1"), "{refused}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "text");
    }
}
