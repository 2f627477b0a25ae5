//! The manifest as a file: its header, its permissions, how a new one comes and a damaged one goes.

use super::error::ManifestError;
use super::schema::{APPLICATION_ID, CURRENT};
use crate::resolved;
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, RenameFlags, linkat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
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
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";

/// Reads the header without SQLite, which would already write beside a file that is not ours.
pub(super) fn inspect(path: &Path) -> Result<Header, ManifestError> {
    const HEADER_BYTES: u64 = 100;
    let Some(file) = open_file(path)? else { return Ok(Header::Absent) };
    let header = read_up_to(file, path, HEADER_BYTES)?;
    if header.len() < 100 || !header.starts_with(MAGIC) {
        let cause = format!("it does not begin like an SQLite database; {} bytes read", header.len());
        return Err(ManifestError::damaged(path, cause));
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

/// The file at `path`, open for reading; `None` where there is none.
fn open_file(path: &Path) -> Result<Option<File>, ManifestError> {
    let handle = match resolved::open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ManifestError::io("open", path, error)),
    };
    let file = File::from(handle);
    if file.metadata().map_err(|error| ManifestError::io("look at", path, error))?.is_file() {
        Ok(Some(file))
    } else {
        Err(ManifestError::NoFile { path: path.to_owned() })
    }
}

fn read_up_to(file: File, path: &Path, bytes: u64) -> Result<Vec<u8>, ManifestError> {
    let mut found = Vec::new();
    file.take(bytes).read_to_end(&mut found).map_err(|error| ManifestError::io("read", path, error))?;
    Ok(found)
}

/// The first `bytes` of a file; nothing where there is none.
pub(super) fn read_start(path: &Path, bytes: u64) -> Result<Vec<u8>, ManifestError> {
    open_file(path)?.map_or(Ok(Vec::new()), |file| read_up_to(file, path, bytes))
}

/// Reads all of a file, to see that it can be read.
pub(super) fn read_through(path: &Path) -> Result<(), ManifestError> {
    let Some(mut file) = open_file(path)? else { return Ok(()) };
    io::copy(&mut file, &mut io::sink()).map(drop).map_err(|error| ManifestError::io("read", path, error))
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
    for suffix in ["-wal", "-shm", "-journal", ".idle"] {
        remove_one(&beside(path, suffix))?;
    }
    Ok(())
}

pub(super) fn remove_one(path: &Path) -> Result<(), ManifestError> {
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

/// Puts a file into its place, which must be free: what came there meanwhile stays.
pub(super) fn rename_to_free(from: &Path, to: &Path) -> Result<(), ManifestError> {
    let rename = || {
        let ((old, from), (new, to)) = (in_folder(from)?, in_folder(to)?);
        match renameat_with(&old, from, &new, to, RenameFlags::NOREPLACE) {
            // RACE: this file system cannot; what comes there between the look and this is replaced.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(renameat(&old, from, &new, to)?),
            result => Ok(result?),
        }
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

/// What a damaged manifest is called from now on.
pub(super) fn name_aside(path: &Path, stamp: &str) -> PathBuf {
    let mut aside = beside(path, &format!("{ASIDE}{stamp}"));
    let mut attempt = 1;
    while is_there(&aside) {
        attempt += 1;
        aside = beside(path, &format!("{ASIDE}{stamp}-{attempt}"));
    }
    aside
}

const ASIDE: &str = ".damaged-";

/// Gives a damaged manifest and its companions the name `aside`. Under its own name it stays until it is replaced, if the
/// file system has hard links.
pub(super) fn keep_aside(path: &Path, aside: &Path) -> Result<(), ManifestError> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let companion = beside(path, suffix);
        if is_there(&companion) {
            rename(&companion, &beside(aside, suffix))?;
        }
    }
    let link = || -> io::Result<()> {
        let ((old, from), (new, to)) = (in_folder(path)?, in_folder(aside)?);
        Ok(linkat(&old, from, &new, to, AtFlags::empty())?)
    };
    if link().is_err() { rename(path, aside) } else { Ok(()) }
}

/// The second name of a manifest that was being set aside when the run was killed; `None`: it has no other name, or one
/// that is not of that kind.
pub(super) fn half_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    let (folder, name) = resolved::parent(path)?.ok_or(Errno::ISDIR)?;
    let found = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if found.st_nlink != 2 {
        return Ok(None);
    }
    let begins = [name.as_bytes(), ASIDE.as_bytes()].concat();
    let list = openat(&folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::new(list)? {
        let entry = entry?;
        let other = OsStr::from_bytes(entry.file_name().to_bytes());
        if !other.as_bytes().starts_with(&begins) {
            continue;
        }
        let twin = statat(&folder, other, AtFlags::SYMLINK_NOFOLLOW)?;
        if (twin.st_dev, twin.st_ino) == (found.st_dev, found.st_ino) {
            return Ok(Some(path.with_file_name(other)));
        }
    }
    Ok(None)
}

/// Takes the second name away from a manifest that was being set aside when the run was killed. Its content stays under
/// the first one: if it is damaged it is set aside again.
pub(super) fn undo_half_aside(path: &Path) -> Result<(), ManifestError> {
    match half_aside(path) {
        Ok(Some(twin)) => remove_one(&twin),
        Ok(None) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ManifestError::io("look at", path, error)),
    }
}

/// Returns true if a kill left the manifest at `path` with a second name, of those that damaged ones get.
pub fn is_half_aside(path: &Path) -> bool {
    half_aside(path).is_ok_and(|twin| twin.is_some())
}
