//! Opening a path of the operator after it was resolved: no component of it is a link any more, so none
//! is followed. Whoever owns a folder on the way may have put one there since.

use crate::store::{Mounts, open_beneath};
use rustix::fs::{CWD, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens what lies at `path`, which is absolute and has neither `.` nor `..`. `mode` is for a file
/// that is made. Fails where any component is a link.
pub fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match parent(path)? {
        Some((folder, name)) => Ok(retry_on_intr(|| openat(&folder, name, flags, mode))?),
        None => Ok(retry_on_intr(|| openat(CWD, "/", flags, mode))?),
    }
}

/// The folder that holds `path`, for calls that take a name in it, and this name; `None` for `/`.
pub fn parent(path: &Path) -> io::Result<Option<(OwnedFd, &OsStr)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return if path == Path::new("/") { Ok(None) } else { Err(Errno::INVAL.into()) };
    };
    Ok(Some((open_folder(folder)?, name)))
}

/// Device and inode of the folder at `path`; fails where it is no folder.
pub fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fstat(open_folder(path)?)?;
    Ok((found.st_dev, found.st_ino))
}

/// Makes the folder at `path` and those above it that are missing, for their owner only.
pub fn make_folders(path: &Path) -> io::Result<()> {
    let mut held = top()?;
    for name in path.strip_prefix("/").map_err(|_| Errno::INVAL)? {
        let enter = || retry_on_intr(|| openat(&held, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()));
        held = match enter() {
            Err(Errno::NOENT) => match mkdirat(&held, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => enter()?,
                Err(error) => return Err(error.into()),
            },
            result => result?,
        };
    }
    Ok(())
}

/// A handle on the folder at `path`, for looking at it and for calls that take a name in it.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let below = path.strip_prefix("/").map_err(|_| Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    open_beneath(top()?.as_fd(), below.as_os_str().as_bytes(), flags, Mounts::Cross)
}

fn top() -> io::Result<OwnedFd> {
    Ok(retry_on_intr(|| openat(CWD, "/", FOLDER, Mode::empty()))?)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_link_at_any_place_of_the_path_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(base.join("real/deep")).unwrap();
        fs::write(base.join("real/deep/file"), "").unwrap();
        symlink("real", base.join("link")).unwrap();
        symlink("file", base.join("real/deep/last")).unwrap();
        for (path, opens) in [
            ("real/deep/file", true),
            ("real/deep", true),
            ("link/deep/file", false),
            ("link/deep", false),
            ("link", false),
            ("real/deep/last", false),
        ] {
            let opened = open(&base.join(path), OFlags::RDONLY, Mode::empty());
            assert_eq!(opened.is_ok(), opens, "{path}: {opened:?}");
        }
        assert!(open(Path::new("/"), OFlags::RDONLY, Mode::empty()).is_ok());
        assert!(open(Path::new("relative"), OFlags::RDONLY, Mode::empty()).is_err());
        let real = fs::metadata(base.join("real")).unwrap();
        assert_eq!(identity(&base.join("real")).unwrap(), (real.dev(), real.ino()));
        assert!(identity(&base.join("link")).is_err());
    }

    #[test]
    fn folders_are_made_for_their_owner_and_never_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(base.join("real")).unwrap();
        symlink("real", base.join("link")).unwrap();
        for _ in 0..2 {
            make_folders(&base.join("real/new/deeper")).unwrap();
        }
        for made in ["real/new", "real/new/deeper"] {
            assert_eq!(fs::metadata(base.join(made)).unwrap().permissions().mode() & 0o077, 0, "{made}");
        }
        assert!(make_folders(&base.join("link/other")).is_err());
        assert!(!base.join("real/other").exists());
    }
}
