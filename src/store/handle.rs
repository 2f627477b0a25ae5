//! Opening below a root without ever leaving it: no symlink is followed, at no component.

use super::stat::look_at_open;
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// The kernel takes paths shorter than this in one call.
const PATH_MAX: usize = 4096;

/// Times a lookup that raced with a rename or a mount elsewhere is tried again.
const RACED_LOOKUPS: u32 = 32;

static OPENAT2_REFUSED: AtomicBool = AtomicBool::new(false);

/// What to do where another file system is mounted on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// Go on into it.
    Cross,
    /// Refuse: what is mounted there is not part of this tree.
    Stay,
}

/// A path or name as the system calls take it.
pub(super) fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Opens `path`, which is relative, `/`-joined and may have any length, below `root`. Fails with
/// `ELOOP` where a component is a symlink and `EXDEV` where it would lead outside.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mounts: Mounts,
) -> io::Result<OwnedFd> {
    if path.is_empty() {
        let flags = flags | OFlags::CLOEXEC | OFlags::DIRECTORY;
        return Ok(retry_on_intr(|| openat(root, ".", flags, Mode::empty()))?);
    }
    let mut held: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() >= PATH_MAX {
        let cut = rest[..PATH_MAX].iter().rposition(|&b| b == b'/').ok_or(Errno::NAMETOOLONG)?;
        let from = held.as_ref().map_or(root, AsFd::as_fd);
        held = Some(open_piece(from, &rest[..cut], OFlags::PATH | OFlags::DIRECTORY, mounts)?);
        rest = &rest[cut + 1..];
    }
    let from = held.as_ref().map_or(root, AsFd::as_fd);
    open_piece(from, rest, flags, mounts)
}

fn open_piece(from: BorrowedFd<'_>, path: &[u8], flags: OFlags, mounts: Mounts) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    if mounts == Mounts::Stay {
        resolve |= ResolveFlags::NO_XDEV;
    }
    let mut tries = 0;
    while !OPENAT2_REFUSED.load(Ordering::Relaxed) {
        match retry_on_intr(|| openat2(from, os(path), flags, Mode::empty(), resolve)) {
            Err(Errno::AGAIN) if tries < RACED_LOOKUPS => tries += 1,
            // Kernels before 5.6 and some sandboxes do not have it.
            Err(Errno::NOSYS | Errno::PERM) => OPENAT2_REFUSED.store(true, Ordering::Relaxed),
            Err(Errno::XDEV) if mounts == Mounts::Stay => return Err(mounted()),
            result => return Ok(result?),
        }
    }
    open_by_component(from, path, flags, mounts)
}

/// What is mounted on a name must not be entered.
#[derive(Debug, thiserror::Error)]
#[error("something is mounted here, and what is mounted in the replica is left alone")]
struct MountedHere;

fn mounted() -> io::Error {
    io::Error::other(MountedHere)
}

/// Whether an open was refused because it would have led into a mount.
pub(super) fn is_mount_refusal(error: &io::Error) -> bool {
    matches!(error.get_ref().and_then(|cause| cause.downcast_ref()), Some(MountedHere))
}

/// Opens what `name` is in `folder`, no link followed.
pub(super) fn open_name(
    folder: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
    mounts: Mounts,
) -> io::Result<OwnedFd> {
    open_piece(folder, name, flags, mounts)
}

/// The same with one plain `openat` for each component.
fn open_by_component(
    from: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mounts: Mounts,
) -> io::Result<OwnedFd> {
    let mut components = path.split(|&b| b == b'/').peekable();
    let mut held: Option<OwnedFd> = None;
    while let Some(name) = components.next() {
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Errno::INVAL.into());
        }
        let from = held.as_ref().map_or(from, AsFd::as_fd);
        let last = components.peek().is_none();
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = if last { flags } else { way };
        let opened = retry_on_intr(|| openat(from, os(name), flags, Mode::empty()))?;
        if mounts == Mounts::Stay && look_at_open(opened.as_fd(), fstat(from)?.st_dev)?.1 {
            return Err(mounted());
        }
        held = Some(opened);
    }
    Ok(held.ok_or(Errno::INVAL)?)
}

/// Returns true if what was there is not there any more, or a link has taken its place.
pub(super) fn is_away(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

    #[test]
    fn a_symlink_on_the_way_or_at_the_end_is_refused_with_and_without_openat2() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("real/deep")).unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        let root = fs::File::open(dir.path()).unwrap();
        for (path, opens) in [
            (&b"real/deep"[..], true),
            (b"", true),
            (b"link/deep", false),
            (b"link", false),
            (b"real/../real", false),
            (b"absent", false),
        ] {
            if path != b"real/../real" {
                assert_eq!(
                    open_beneath(root.as_fd(), path, FOLDER, Mounts::Cross).is_ok(),
                    opens,
                    "{path:?}"
                );
            }
            if !path.is_empty() {
                let flags = FOLDER | OFlags::NOFOLLOW;
                assert_eq!(
                    open_by_component(root.as_fd(), path, flags, Mounts::Stay).is_ok(),
                    opens,
                    "{path:?}"
                );
            }
        }
    }

    #[test]
    fn paths_longer_than_the_kernel_takes_are_opened_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(200);
        let mut here: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        let mut path = Vec::new();
        for _ in 0..30 {
            rustix::fs::mkdirat(&here, &*name, Mode::RWXU).unwrap();
            here = openat(&here, &*name, FOLDER, Mode::empty()).unwrap();
            path.extend_from_slice(name.as_bytes());
            path.push(b'/');
        }
        path.pop();
        assert!(path.len() > PATH_MAX);
        let root = fs::File::open(dir.path()).unwrap();
        let opened = open_beneath(root.as_fd(), &path, FOLDER, Mounts::Stay).unwrap();
        let inode = |fd: BorrowedFd<'_>| fstat(fd).unwrap().st_ino;
        assert_eq!(inode(opened.as_fd()), inode(here.as_fd()));
    }
}
