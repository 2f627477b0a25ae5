//! What the mounts of a source say of it: whose set-id bits and device nodes mean nothing there, and
//! how coarse its time stamps are.

use super::handle::os;
use super::local::LocalStore;
use super::stat::convert;
use super::{During, Fault, TemporaryName};
use crate::model::{DeviceSet, Stat};
use crate::mountinfo::{self, Mount};
use rustix::fs::{AtFlags, Mode, StatVfsMountFlags, fstat, fstatfs, fstatvfs, mkdirat, statat, unlinkat};
use std::path::Path;

/// What holds for the mounts that a source spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Devices mounted `nosuid`: their owner did not trust whoever wrote them with set-id bits.
    pub nosuid: DeviceSet,
    /// Devices mounted `nodev`, likewise for device nodes.
    pub nodev: DeviceSet,
    /// How coarse time stamps are, in nanoseconds: those of the coarsest file system in the source.
    pub granularity_nanos: i64,
}

/// File systems known to stamp with the kernel's tick (numbers from linux/magic.h): ext2 to ext4,
/// xfs, btrfs, tmpfs, overlayfs, f2fs, bcachefs and zfs.
const TICKING: [i64; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0xF2F5_2010, 0xCA45_1A4E, 0x2FC1_2FC1];

/// File systems known to make holes and to tell where they are: the same without zfs, which knows
/// only once all is on the disk.
const HOLED: &[i64] = TICKING.split_at(7).0;

/// Those of [`TICKING`] as mountinfo names them.
const TICKING_NAMES: [&str; 11] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "devtmpfs", "overlay", "f2fs", "bcachefs", "zfs"];

/// Where nothing is known of the file system's stamps.
const UNKNOWN_GRANULARITY_NANOS: i64 = 2_000_000_000;

impl LocalStore {
    /// Whether what is written with holes is sure to have holes. Where it is not, a file that lacks
    /// them may be all that is to be had.
    pub fn holds_holes(&self) -> bool {
        fstatfs(self.root()).is_ok_and(|found| HOLED.contains(&found.f_type))
    }

    /// The figures that a folder has which this process makes for itself alone: where others may write to it, or it is
    /// another user's, the mount says the same of every folder. It is removed again.
    pub fn try_folder(&self) -> Result<Stat, Fault> {
        const TRY: &str = "create a folder for trying in";
        let names = TemporaryName::fresh(1).during(TRY)?;
        let name = os(names.first().map_or(&b""[..], TemporaryName::as_bytes));
        mkdirat(self.root(), name, Mode::RWXU).during(TRY)?;
        let made = statat(self.root(), name, AtFlags::SYMLINK_NOFOLLOW);
        unlinkat(self.root(), name, AtFlags::REMOVEDIR).during("remove the folder for trying in")?;
        Ok(convert(&made.during("look at")?))
    }

    /// What holds for this source, whose root's path is `path`, given the kernel's tick in nanoseconds.
    ///
    /// RACE: what is mounted in it after this look is judged by the strictest of the mounts seen
    /// here. Worst outcome: set-id bits that another mount would have kept are brought over next time.
    pub fn trust(&self, path: &Path, tick: i64) -> Trust {
        let flags = fstatvfs(self.root()).map_or(StatVfsMountFlags::empty(), |found| found.f_flag);
        let own = fstat(self.root()).map_or(0, |found| found.st_dev);
        let (nosuid, nodev) =
            (flags.contains(StatVfsMountFlags::NOSUID), flags.contains(StatVfsMountFlags::NODEV));
        let ticks = fstatfs(self.root()).is_ok_and(|found| TICKING.contains(&found.f_type));
        let below = if self.crosses_mounts() { mountinfo::below(path) } else { Vec::new() };
        let ticks = ticks && below.iter().all(|mount| TICKING_NAMES.contains(&mount.filesystem.as_str()));
        let over = |root: bool, of: fn(&Mount) -> bool| -> DeviceSet {
            let others = below.iter().filter_map(|mount| Some((mount.device_number()?, of(mount))));
            std::iter::once((own, root)).chain(others).collect()
        };
        Trust {
            nosuid: over(nosuid, |mount| mount.nosuid),
            nodev: over(nodev, |mount| mount.nodev),
            granularity_nanos: if ticks { tick } else { UNKNOWN_GRANULARITY_NANOS },
        }
    }
}
