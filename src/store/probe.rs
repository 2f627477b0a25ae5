//! A probe: an empty file that is in the replica's root for a moment, to see whether it shows elsewhere.

use super::local::LocalStore;
use super::{During, Fault, TemporaryName};
use rustix::fs::{AtFlags, Mode, OFlags, Timestamps, fstat, futimens, openat, unlinkat};
use rustix::io::retry_on_intr;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

impl LocalStore {
    /// Makes a file under a temporary name in the root, has `look` look for it, and removes it, whatever
    /// was seen. The root's times are put back. Returns what `look` returned.
    pub fn probe<T>(&self, look: impl FnOnce(&OsStr) -> T) -> Result<T, Fault> {
        probe(self.root.as_fd(), look)
    }
}

fn probe<T>(root: BorrowedFd<'_>, look: impl FnOnce(&OsStr) -> T) -> Result<T, Fault> {
    let names = TemporaryName::fresh(1).during("choose a temporary name")?;
    let name = names.first().map_or(&b""[..], TemporaryName::as_bytes);
    let name = OsStr::from_bytes(name);
    let before = fstat(root).during("look at")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat(root, name, flags, Mode::RUSR | Mode::WUSR)).during("create a probe file")?;
    let seen = look(name);
    unlinkat(root, name, AtFlags::empty()).during("remove the probe file")?;
    let (access, change) = super::stat::times(&before);
    let times = Timestamps { last_access: access, last_modification: change };
    futimens(root, &times).during("put the folder's times back")?;
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_probe_is_there_while_looked_for_and_leaves_no_trace_but_the_ctime() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let mtime = |path: &std::path::Path| {
            let found = std::fs::metadata(path).unwrap();
            (found.mtime(), found.mtime_nsec())
        };
        let before = mtime(dir.path());
        std::thread::sleep(std::time::Duration::from_millis(20));
        let seen = probe(root.as_fd(), |name| dir.path().join(name).exists()).unwrap();
        assert!(seen);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(mtime(dir.path()), before);
    }
}
