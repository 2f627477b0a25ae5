//! From the system's figures to ours.

use crate::model::{Fingerprint, Kind, Stat, Timestamp};
use rustix::fs::{FileType, Timespec};

/// `st_blocks` counts these, whatever the file system's blocks are.
const BLOCK: u64 = 512;

/// The system's lstat or fstat as a [`Stat`].
pub(super) fn convert(stat: &rustix::fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::RegularFile | FileType::Unknown => Kind::File,
    };
    let device_node = matches!(kind, Kind::BlockDevice | Kind::CharDevice);
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
        rdev: if device_node { stat.st_rdev } else { 0 },
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

fn timestamp(seconds: i64, nanos: impl TryInto<u32>) -> Timestamp {
    Timestamp::new(seconds, nanos.try_into().unwrap_or(0))
}
