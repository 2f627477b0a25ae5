//! The two roots: that they are there, are folders, do not lie in each other, and are where they were.

mod anchor;
mod apart;
mod boundaries;
mod layers;
mod showings;

pub use anchor::{Anchor, Anchors, check_cradle, check_marker};
pub use boundaries::Boundaries;

use crate::config::paths::{PathError, resolve};
use crate::resolved;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, fsync, mkdirat, openat, unlinkat};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Why a pair of roots is not used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// They overlap, or one of them must not be a root at all: wrong usage.
    #[error("{0}")]
    Refused(String),
    /// One is no folder, unreadable, or not what it was when the run began: nothing (more) is touched.
    #[error("{0}")]
    Unavailable(String),
    /// One is not there: missing, not mounted, without its marker. Nothing was touched.
    #[error("{0}")]
    Absent(String),
}

impl From<PathError> for RootError {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Empty => Self::Refused(error.to_string()),
            PathError::Unusable { error: ref cause, .. } if !is_forbidden(cause) => {
                Self::Absent(error.to_string())
            }
            PathError::ForeignLink { .. } | PathError::Unusable { .. } => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

/// A checked pair: canonical, absolute, apart from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootPaths {
    /// The tree that is mirrored.
    pub source: PathBuf,
    /// The mirror; it may be missing, its parent is there.
    pub replica: PathBuf,
}

/// Checks a pair of roots; writes nothing. A replica below the source is taken where the walk of the source, within
/// `boundaries`, does not come.
pub fn check(source: &Path, replica: &Path, boundaries: Boundaries<'_>) -> Result<RootPaths, RootError> {
    let roots = RootPaths { source: resolve(source)?, replica: resolve(replica)? };
    if roots.replica == Path::new("/") {
        return Err(RootError::Refused(
            "the replica / is refused: all of the system would be replaced".to_owned(),
        ));
    }
    check_folder("source", &roots.source)?;
    let replica_there = match look_at_folder(&roots.replica) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        _ => {
            check_folder("replica", &roots.replica)?;
            true
        }
    };
    if !replica_there {
        let parent = roots.replica.parent().unwrap_or(Path::new("/"));
        if resolved::open_folder(parent).is_err() {
            return Err(RootError::Absent(format!(
                "the replica {} cannot be made: {} is not a folder; make it or correct the path",
                roots.replica.display(),
                parent.display()
            )));
        }
    }
    apart::check(&roots, boundaries)?;
    // Opened again for the run; what cannot be read is refused before anything is written.
    open_source(&roots)?;
    open_replica(&roots)?;
    Ok(roots)
}

/// Refuses a file of this program (manifest, log) that would lie inside a mirrored folder, by its path or
/// by what is mounted where. In the source it may lie where the walk, within `boundaries`, does not come.
pub fn check_outside(
    roots: &RootPaths,
    boundaries: Boundaries<'_>,
    what: &str,
    file: &Path,
) -> Result<(), RootError> {
    for (side, root, boundaries) in
        [("source", &roots.source, Some(boundaries)), ("replica", &roots.replica, None)]
    {
        if let Some((how, pattern)) = apart::holds(root, boundaries, file) {
            let or_exclude = match boundaries {
                Some(_) => format!(", or leave it out of the mirror: {pattern}"),
                None => String::new(),
            };
            return Err(RootError::Refused(format!(
                "the {what} {} lies inside the {side} {}{how}; put it elsewhere{or_exclude}",
                file.display(),
                root.display()
            )));
        }
    }
    Ok(())
}

/// Opens the source's root for walking.
pub fn open_source(roots: &RootPaths) -> Result<OwnedFd, RootError> {
    open("source", &roots.source)
}

/// Opens the replica's root; `None` where it is missing.
pub fn open_replica(roots: &RootPaths) -> Result<Option<OwnedFd>, RootError> {
    match open_folder(&roots.replica) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some).map_err(|error| unavailable("replica", &roots.replica, &error)),
    }
}

/// Makes the replica's root, for its owner only until its metadata is mirrored. It is made to last at
/// once: a power cut that took it away from under rows about it would look like an unmounted replica.
pub fn make_replica(roots: &RootPaths) -> Result<(), RootError> {
    let failed = |error: io::Error| unavailable("replica", &roots.replica, &error);
    let Some((parent, name)) = resolved::parent(&roots.replica).map_err(failed)? else { return Ok(()) };
    match mkdirat(&parent, name, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
    }
    // Whoever may make a folder there need not be allowed to list it: then it lasts as the system likes.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(parent) = retry_on_intr(|| openat(&parent, ".", flags, Mode::empty())) else { return Ok(()) };
    match fsync(&parent) {
        // A file system that has nothing to make durable says so.
        Ok(()) | Err(Errno::INVAL | Errno::NOSYS) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Removes a replica's root that was made for nothing. It is empty; where it is not any more, or cannot
/// be removed, it stays.
pub fn unmake_replica(roots: &RootPaths) {
    if let Ok(Some((parent, name))) = resolved::parent(&roots.replica) {
        let _ = unlinkat(&parent, name, AtFlags::REMOVEDIR);
    }
}

fn open(side: &str, path: &Path) -> Result<OwnedFd, RootError> {
    open_folder(path).map_err(|error| unavailable(side, path, &error))
}

/// Opens a root for listing. Its path was resolved: a link on it now was put there since.
fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    resolved::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Whether what lies at `path` is a folder, without opening it.
fn look_at_folder(path: &Path) -> io::Result<bool> {
    let found = fstat(resolved::open(path, OFlags::PATH, Mode::empty())?)?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

fn check_folder(side: &str, path: &Path) -> Result<(), RootError> {
    match look_at_folder(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(RootError::Unavailable(format!(
            "the {side} {} is not a folder; name the folder itself",
            path.display()
        ))),
        Err(error) => Err(unavailable(side, path, &error)),
    }
}

fn unavailable(side: &str, path: &Path, error: &io::Error) -> RootError {
    let text = format!(
        "the {side} {} cannot be used: {error}; nothing was touched. Is it mounted, and may this user read it?",
        path.display()
    );
    if is_forbidden(error) { RootError::Unavailable(text) } else { RootError::Absent(text) }
}

/// Returns true for an error that says that something is there, but not for this user or not as a folder.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory)
}

/// Where a probe file called `name` in the replica's root would show if the roots were aliases of
/// each other that neither names nor inodes nor the table of mounts give away: in the source, in a
/// folder above it, or in the source below the last components of the replica's path, unless the walk within
/// `boundaries` does not come there.
pub fn sees_probe(roots: &RootPaths, boundaries: Boundaries<'_>, name: &OsStr) -> Option<RootError> {
    let there = |folder: &Path| fs::symlink_metadata(folder.join(name)).is_ok();
    if there(&roots.source) {
        return Some(apart::refusal(roots, "a file made in the replica shows in the source"));
    }
    if roots.source.ancestors().skip(1).any(there) {
        return Some(apart::refusal(
            roots,
            "a file made in the replica shows in a folder that holds the source",
        ));
    }
    let components: Vec<_> = roots.replica.iter().skip(1).collect();
    let inside =
        (0..components.len()).map(|from| roots.source.join(components[from..].iter().collect::<PathBuf>()));
    let is_walked = |folder: &PathBuf| !boundaries.leave_out(&roots.source, folder);
    let seen = inside.into_iter().find(|folder| there(folder) && is_walked(folder))?;
    let how = format!("a file made in the replica shows in {}", seen.display());
    Some(apart::refusal(roots, &how))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use std::os::unix::fs::symlink;

    fn within(filter: &Filter) -> Boundaries<'_> {
        Boundaries { filter, one_file_system: false }
    }

    #[test]
    fn roots_that_overlap_in_any_spelling_are_refused() {
        let (dir, filter) = (tempfile::tempdir().unwrap(), Filter::default());
        let base = dir.path();
        fs::create_dir_all(base.join("a/inner")).unwrap();
        fs::create_dir_all(base.join("ab")).unwrap();
        symlink("a", base.join("link")).unwrap();
        for (source, replica, refused) in [
            ("a", "a", true),
            ("a", "a/.", true),
            ("a", "a/", true),
            ("a", "link", true),
            ("a", "a/inner", true),
            ("a", "a/new", true),
            ("a", "link/new", true),
            ("a/inner", "a", true),
            ("a/inner", "link", true),
            ("a", "a/inner/..", true),
            ("a", "ab", false),
            ("a", "new", false),
            ("a", "a/../new", false),
        ] {
            let result = check(&base.join(source), &base.join(replica), within(&filter));
            match (&result, refused) {
                (Err(RootError::Refused(_)), true) | (Ok(_), false) => {}
                _ => panic!("{source} {replica}: {result:?}"),
            }
        }
    }

    #[test]
    fn missing_sources_files_and_missing_parents_are_unavailable() {
        let (dir, filter) = (tempfile::tempdir().unwrap(), Filter::default());
        let base = dir.path();
        fs::create_dir(base.join("folder")).unwrap();
        fs::write(base.join("file"), "").unwrap();
        for (source, replica, is_absent) in [
            ("absent", "new", true),
            ("file", "new", false),
            ("folder", "file", false),
            ("folder", "absent/new", true),
        ] {
            match (check(&base.join(source), &base.join(replica), within(&filter)), is_absent) {
                (Err(RootError::Absent(_)), true) | (Err(RootError::Unavailable(_)), false) => {}
                (result, _) => panic!("{source} {replica}: {result:?}"),
            }
        }
        assert!(matches!(
            check(&base.join("folder"), Path::new("/"), within(&filter)),
            Err(RootError::Refused(_))
        ));
    }
}
