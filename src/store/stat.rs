//! From the system's figures to ours.

use super::handle::Mounts;
use crate::model::{Fingerprint, Kind, Seen, Stat, Timestamp};
use rustix::fs::{
    AtFlags, FileType, Statx, StatxAttributes, StatxFlags, Timespec, fstat, makedev, statat, statx,
};
use rustix::io::Errno;
use rustix::path::Arg;
use std::io;
use std::os::fd::BorrowedFd;

/// The figures of what `name` is in `folder`, no link followed, and whether it is what is mounted
/// there. Kernels before 5.8 cannot say so: there another device than the folder's, `here`, is
/// taken for a mount.
pub(super) fn look_at(
    folder: BorrowedFd<'_>,
    name: impl Arg + Copy,
    here: u64,
) -> Result<(Stat, bool), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(folder, name, flags, StatxFlags::BASIC_STATS) {
        Err(Errno::NOSYS) => {
            let stat = convert(&statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?);
            Ok((stat, stat.device != here))
        }
        found => Ok(with_mount(&found?, here)),
    }
}

/// The figures of an open object, and whether it is what is mounted on its name; `here` as for
/// [`look_at`].
pub(super) fn look_at_open(handle: BorrowedFd<'_>, here: u64) -> Result<(Stat, bool), Errno> {
    match statx(handle, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS) {
        Err(Errno::NOSYS) => {
            let stat = convert(&fstat(handle)?);
            Ok((stat, stat.device != here))
        }
        found => Ok(with_mount(&found?, here)),
    }
}

/// What is so of a name that its folder's listing says is no folder; `None`: it is gone.
pub(super) fn seen_as_no_folder(found: Result<(Stat, bool), Errno>, mounts: Mounts) -> Option<Seen> {
    Some(match found {
        // It took the place of what was listed: where the folder would belong in the order may have been
        // passed, and the folder of that name must not be taken for gone.
        Ok((stat, _)) if stat.kind() == Kind::Folder => Seen::Vanished,
        Ok((stat, true)) if mounts == Mounts::Stay => Seen::Foreign(stat),
        Ok((stat, _)) => Seen::Present(stat),
        Err(Errno::NOENT) => return None,
        Err(error) => Seen::Unreadable(io::Error::from(error).to_string()),
    })
}

fn with_mount(found: &Statx, here: u64) -> (Stat, bool) {
    let stat = convert_statx(found);
    let mounted = if found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    } else {
        stat.device != here
    };
    (stat, mounted)
}

/// `st_blocks` counts these, whatever the file system's blocks are.
const BLOCK: u64 = 512;

/// The system's lstat or fstat as a [`Stat`].
pub(super) fn convert(stat: &rustix::fs::Stat) -> Stat {
    let kind = kind(stat.st_mode);
    let fingerprint = Fingerprint {
        kind,
        mode: stat.st_mode & 0o7777,
        size: if kind.has_content() { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        mtime: timestamp(stat.st_mtime, stat.st_mtime_nsec),
        ctime: timestamp(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
    };
    Stat {
        fingerprint,
        uid: stat.st_uid,
        gid: stat.st_gid,
        links: stat.st_nlink,
        device: stat.st_dev,
        rdev: if is_node(kind) { stat.st_rdev } else { 0 },
        allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK),
    }
}

/// Time of last access and of last change, as they are set.
pub(super) fn times(stat: &rustix::fs::Stat) -> (Timespec, Timespec) {
    let time = |seconds, nanos: i64| Timespec { tv_sec: seconds, tv_nsec: nanos };
    // Nanoseconds within a second fit whatever type the platform has for them.
    (
        time(stat.st_atime, i64::try_from(stat.st_atime_nsec).unwrap_or(0)),
        time(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
    )
}

/// The system's statx as a [`Stat`].
pub(super) fn convert_statx(stat: &Statx) -> Stat {
    let mode = u32::from(stat.stx_mode);
    let kind = kind(mode);
    let fingerprint = Fingerprint {
        kind,
        mode: mode & 0o7777,
        size: if kind.has_content() { stat.stx_size } else { 0 },
        mtime: timestamp(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        ctime: timestamp(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        inode: stat.stx_ino,
    };
    Stat {
        fingerprint,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        links: stat.stx_nlink.into(),
        device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
        rdev: if is_node(kind) { makedev(stat.stx_rdev_major, stat.stx_rdev_minor) } else { 0 },
        allocated: stat.stx_blocks.saturating_mul(BLOCK),
    }
}

fn kind(mode: u32) -> Kind {
    match FileType::from_raw_mode(mode) {
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::RegularFile | FileType::Unknown => Kind::File,
    }
}

fn is_node(kind: Kind) -> bool {
    matches!(kind, Kind::BlockDevice | Kind::CharDevice)
}

fn timestamp(seconds: i64, nanos: impl TryInto<u32>) -> Timestamp {
    Timestamp::new(seconds, nanos.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn both_system_calls_give_the_same_figures() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("file")).unwrap();
        for (folder, name) in [(dir.path(), "file"), (dir.path(), "."), ("/dev".as_ref(), "null")] {
            let folder = std::fs::File::open(folder).unwrap();
            let plain = convert(&statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).unwrap());
            assert_eq!(look_at(folder.as_fd(), name, 0).unwrap().0, plain, "{name}");
        }
    }

    #[test]
    fn what_is_mounted_is_told_from_what_is_not() {
        let root = std::fs::File::open("/").unwrap();
        let here = convert(&fstat(&root).unwrap()).device;
        assert!(look_at(root.as_fd(), "proc", here).unwrap().1);
        assert!(!look_at(root.as_fd(), "etc", here).unwrap().1);
        assert!(look_at_open(root.as_fd(), 0).unwrap().1);
    }
}
