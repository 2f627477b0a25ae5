//! Whether a root still is where it was: on the same mount as on earlier runs, and, during a run,
//! the same folder as when it began.
//!
//! RACE: between a look and the work that follows it a root may still be unmounted. All work goes
//! through the handles that were opened first, so the worst outcome is that it is finished on the
//! file system that was looked at.

use super::{Boundaries, RootError, RootPaths};
use crate::model::escape::escaped;
use crate::model::{RootMount, Side};
use crate::mountinfo;
use crate::resolved;
use rustix::fs::{AtFlags, fstat, statat};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The type given to a mount that this process is inside of but cannot see (in a chroot).
const UNLISTED: &str = "unlisted file system";

/// What a root was when it was opened. Its handle must stay open: that keeps the numbers its own.
#[derive(Clone, Debug)]
pub struct Anchor {
    side: Side,
    path: PathBuf,
    folder: Folder,
    mount: Option<RootMount>,
    options: Vec<u8>,
}

/// Which folder on which mount, as long as somebody holds it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Folder {
    device: u64,
    inode: u64,
    mount: Option<u64>,
}

impl Folder {
    fn of(handle: BorrowedFd<'_>) -> io::Result<Self> {
        let found = fstat(handle)?;
        Ok(Self { device: found.st_dev, inode: found.st_ino, mount: mountinfo::id_of(handle) })
    }
}

impl Anchor {
    /// Looks at a root that has just been opened from `path`.
    pub fn of(side: Side, path: &Path, handle: BorrowedFd<'_>) -> Result<Self, RootError> {
        let word = side.to_string();
        let folder = Folder::of(handle).map_err(|error| super::unavailable(&word, path, &error))?;
        let (mount, options) = mount_of(folder).unzip();
        Ok(Self { side, path: path.to_owned(), folder, mount, options: options.unwrap_or_default() })
    }

    /// The options of what the root lies on; empty where the system does not tell.
    pub fn options(&self) -> &[u8] {
        &self.options
    }

    /// What the root lies on; `None` where the system does not tell.
    pub fn mount(&self) -> Option<&RootMount> {
        self.mount.as_ref()
    }

    /// Why the root is not where it was on earlier runs; `None` where it is, or where one of both
    /// is not known.
    pub fn strayed(&self, recorded: Option<&RootMount>) -> Option<RootError> {
        let (now, was) = (self.mount.as_ref()?, recorded?);
        (now != was).then(|| strayed(self.side, &self.path, was, now))
    }

    /// Fails where this replica, as it was opened, lies below the source and nothing keeps the walk from it: its
    /// disk may have gone since the paths were checked.
    pub fn check_left_out(&self, source: &Anchor, boundaries: Boundaries<'_>) -> Result<(), RootError> {
        let file_system = |folder: &Folder| (folder.device, folder.mount);
        if !self.path.starts_with(&source.path)
            || boundaries.exclude(&source.path, &self.path, true)
            || (boundaries.one_file_system && file_system(&self.folder) != file_system(&source.folder))
        {
            return Ok(());
        }
        Err(RootError::Absent(format!(
            "the replica {path} is on the file system of the source {source} now, inside which it lies, and would be mirrored \
             into itself; nothing was touched. Is its disk mounted?",
            path = escaped(self.path.as_os_str().as_bytes()),
            source = escaped(source.path.as_os_str().as_bytes()),
        )))
    }

    /// Fails where the path no longer leads to the folder that was opened.
    pub fn recheck(&self) -> Result<(), RootError> {
        let now = match resolved::open_folder(&self.path).and_then(|fresh| Folder::of(fresh.as_fd())) {
            Ok(folder) if folder == self.folder => return Ok(()),
            Ok(folder) => match mount_of(folder) {
                Some((mount, _)) => format!("a folder on {mount}"),
                None => "another folder".to_owned(),
            },
            Err(error) => format!("nothing that can be opened ({error})"),
        };
        let was = match &self.mount {
            Some(mount) => format!("the folder on {mount} with which the run began"),
            None => "the folder with which the run began".to_owned(),
        };
        Err(RootError::Unavailable(format!(
            "the {side} {path} changed during the run: expected {was}, found {now}; what was done until then is \
             recorded, nothing more was touched. Put it back, and the next run goes on",
            side = self.side,
            path = escaped(self.path.as_os_str().as_bytes()),
        )))
    }
}

/// The mount of a folder with its options, by the table of mounts.
fn mount_of(folder: Folder) -> Option<(RootMount, Vec<u8>)> {
    let id = folder.mount?;
    let table = mountinfo::table().ok()?;
    let listed = table.into_iter().find(|mount| mount.id == id);
    Some(match listed {
        Some(mount) => (RootMount { point: mount.point, filesystem: mount.filesystem }, mount.options),
        // A chroot below a mount point: what it lies on is not in the table, and is its `/`.
        None => (RootMount { point: b"/".to_vec(), filesystem: UNLISTED.to_owned() }, Vec::new()),
    })
}

fn strayed(side: Side, path: &Path, was: &RootMount, now: &RootMount) -> RootError {
    RootError::Absent(format!(
        "the {side} {path} is not on the file system it was on: expected {was}, found {now}; nothing was touched. \
         Is all mounted as it should be? If it was moved on purpose, run twinfold sync once with --accept-root",
        path = escaped(path.as_os_str().as_bytes()),
    ))
}

/// Fails where the folder in which a missing replica would be made is not on the mount that it was
/// on: what is not mounted must not be made in the folder below.
pub fn check_cradle(roots: &RootPaths, recorded: Option<&RootMount>) -> Result<(), RootError> {
    let Some(was) = recorded else { return Ok(()) };
    let cradle = roots.replica.parent().unwrap_or(Path::new("/"));
    let handle = super::open("replica's parent", cradle)?;
    let anchor = Anchor::of(Side::Replica, cradle, handle.as_fd())?;
    match anchor.mount {
        Some(now) if now != *was => Err(strayed(Side::Replica, &roots.replica, was, &now)),
        _ => Ok(()),
    }
}

/// Types of file systems that show nothing but what is stored in them: two of their folders are the
/// same exactly if device and inode are.
const PLAIN: [&str; 15] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "zfs", "jfs", "reiserfs", "tmpfs", "ramfs",
    "vfat", "exfat", "ntfs3",
];

/// Whether two folders may be one although neither inodes nor the table of mounts say so: where one
/// of them is shown by another file system (overlay, network), or by a program (FUSE), which may show
/// anything under any number.
fn may_be_aliases(one: Option<&RootMount>, other: Option<&RootMount>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    let is_plain = |mount: &RootMount| PLAIN.contains(&mount.filesystem.as_str());
    let numbers_hold = one == other && !one.filesystem.starts_with("fuse");
    !(numbers_hold || (is_plain(one) && is_plain(other)))
}

/// Both roots of a run, as they were when it began.
#[derive(Clone, Debug)]
pub struct Anchors {
    /// The source.
    pub source: Anchor,
    /// The replica.
    pub replica: Anchor,
}

impl Anchors {
    /// Whether only a file that shows in both could tell that the roots are not apart.
    pub fn may_be_aliases(&self) -> bool {
        may_be_aliases(self.source.mount(), self.replica.mount())
    }

    /// Fails where one of the roots is not what it was when the run began.
    pub fn recheck(&self) -> Result<(), RootError> {
        self.source.recheck()?;
        self.replica.recheck()
    }
}

/// Fails where the source does not hold the marker that says it is really there.
pub fn check_marker(source: BorrowedFd<'_>, path: &Path, marker: &OsStr) -> Result<(), RootError> {
    statat(source, marker, AtFlags::SYMLINK_NOFOLLOW).map(drop).map_err(|error| {
        RootError::Absent(format!(
            "the source {path} does not hold its marker {marker}: {error}; nothing was touched. Is it mounted? If this is \
             the right folder, make the marker in it (touch), or change `marker` in the config",
            path = escaped(path.as_os_str().as_bytes()),
            marker = escaped(marker.as_bytes()),
            error = io::Error::from(error),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_needed_where_numbers_may_not_hold_and_only_there() {
        let mount = |text: &str| {
            let (filesystem, point) = text.split_once(' ')?;
            Some(RootMount { point: point.into(), filesystem: filesystem.to_owned() })
        };
        let table = [
            ("ext4 /", "ext4 /", false),
            ("ext4 /", "tmpfs /tmp", false),
            ("overlay /", "overlay /", false),
            ("nfs4 /n", "nfs4 /n", false),
            ("overlay /", "ext4 /data", true),
            ("overlay /a", "overlay /b", true),
            ("ext4 /", "nfs4 /n", true),
            ("ext4 /", "fuse.sshfs /s", true),
            ("fuse.mergerfs /m", "fuse.mergerfs /m", true),
            ("fuseblk /m", "fuseblk /m", true),
            ("", "ext4 /", true),
        ];
        for (one, other, needed) in table {
            let (one, other) = (mount(one), mount(other));
            assert_eq!(may_be_aliases(one.as_ref(), other.as_ref()), needed, "{one:?} {other:?}");
            assert_eq!(may_be_aliases(other.as_ref(), one.as_ref()), needed, "{other:?} {one:?}");
        }
    }
}
