//! The manifest as a file: its header, its permissions, how a new one comes and a damaged one goes.

use super::error::ManifestError;
use super::schema::{APPLICATION_ID, CURRENT};
use crate::resolved;
use rustix::fs::{AtFlags, Mode, OFlags, linkat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What the first bytes of a file say it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// No such file.
    Absent,
    /// A manifest, of a schema known here.
    Manifest,
}

/// Where SQLite keeps the application id and the user version: big-endian at these offsets
/// (the SQLite file format, section 1.3).
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Reads the header without SQLite, which would already write beside a file that is not ours.
pub(super) fn inspect(path: &Path) -> Result<Header, ManifestError> {
    let handle = match resolved::open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Header::Absent),
        Err(error) => return Err(ManifestError::io("open", path, error)),
    };
    let file = File::from(handle);
    if !file.metadata().map_err(|error| ManifestError::io("look at", path, error))?.is_file() {
        return Err(ManifestError::NoFile { path: path.to_owned() });
    }
    let mut header = Vec::new();
    file.take(100).read_to_end(&mut header).map_err(|error| ManifestError::io("read", path, error))?;
    if header.len() < 100 || !header.starts_with(MAGIC) {
        let cause = format!("it does not begin like an SQLite database; {} bytes read", header.len());
        return Err(ManifestError::Damaged { path: path.to_owned(), cause });
    }
    let number =
        |at: usize| header[at..at + 4].iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
    if number(APPLICATION_ID_AT) != APPLICATION_ID.unsigned_abs() {
        return Err(ManifestError::Foreign { path: path.to_owned() });
    }
    let found = i64::from(number(USER_VERSION_AT));
    if found > CURRENT {
        return Err(ManifestError::Newer { path: path.to_owned(), found, known: CURRENT });
    }
    Ok(Header::Manifest)
}

/// Fails where the file may not be written. SQLite would open it for reading instead, and leave a log
/// beside it that may not be written either, also not when the file may be again.
pub(super) fn check_writable(path: &Path) -> Result<(), ManifestError> {
    resolved::open(path, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty())
        .map(drop)
        .map_err(|error| ManifestError::io("write to", path, error))
}

/// `path` with `suffix` added to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes an empty file that only its owner may read; SQLite's own companions inherit that.
pub(super) fn create_empty(path: &Path) -> Result<(), ManifestError> {
    remove(path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    resolved::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map(drop)
        .map_err(|error| ManifestError::io("create", path, error))
}

/// Removes a database and its companions, as far as they are there.
pub(super) fn remove(path: &Path) -> Result<(), ManifestError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove_one(&beside(path, suffix))?;
    }
    Ok(())
}

/// Removes the companions only, after the database under them was replaced.
pub(super) fn remove_companions(path: &Path) -> Result<(), ManifestError> {
    for suffix in ["-wal", "-shm", "-journal"] {
        remove_one(&beside(path, suffix))?;
    }
    Ok(())
}

fn remove_one(path: &Path) -> Result<(), ManifestError> {
    let failed = |error| ManifestError::io("remove", path, error);
    let (folder, name) = in_folder(path).map_err(failed)?;
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Renames one file.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), ManifestError> {
    let rename = || {
        let ((old, from), (new, to)) = (in_folder(from)?, in_folder(to)?);
        Ok(renameat(&old, from, &new, to)?)
    };
    rename().map_err(|error: io::Error| ManifestError::io("rename into place", to, error))
}

/// The folder of a file, for calls that take a name in it, and this name.
fn in_folder(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    resolved::parent(path)?.ok_or_else(|| Errno::ISDIR.into())
}

fn is_there(path: &Path) -> bool {
    resolved::open(path, OFlags::PATH, Mode::empty()).is_ok()
}

/// Keeps a damaged manifest as `NAME.damaged-TIME` and says where it is now. Under its own name it stays
/// until it is replaced, if the file system has hard links.
pub(super) fn keep_aside(path: &Path, stamp: &str) -> Result<PathBuf, ManifestError> {
    let mut aside = beside(path, &format!(".damaged-{stamp}"));
    let mut attempt = 1;
    while is_there(&aside) {
        attempt += 1;
        aside = beside(path, &format!(".damaged-{stamp}-{attempt}"));
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let companion = beside(path, suffix);
        if is_there(&companion) {
            rename(&companion, &beside(&aside, suffix))?;
        }
    }
    let link = || -> io::Result<()> {
        let ((old, from), (new, to)) = (in_folder(path)?, in_folder(&aside)?);
        Ok(linkat(&old, from, &new, to, AtFlags::empty())?)
    };
    if link().is_err() {
        // RACE: a kill between this and the successor's coming leaves no manifest; the next run then
        // takes itself for the first one.
        rename(path, &aside)?;
    }
    Ok(aside)
}
