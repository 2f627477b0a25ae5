//! What a file system can hold, found out by trying: in a folder of its own under a temporary name, which the next
//! run removes as litter where this process is killed.
//!
//! A refusal is an answer. An error that says nothing of the file system (no room, a broken disk) makes the answer
//! uncertain: then the file system is taken to hold what was asked, and the next run tries again.

mod entries;
mod names;
mod times;

use super::attributes::Object;
use super::handle::os;
use super::local::LocalStore;
use super::stat::{convert, times as times_of};
use super::{During, Fault, TemporaryName};
use crate::model::attributes::ACL_ACCESS;
use crate::model::{Capabilities, HardLinks, Stat, Times};
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, StatxFlags, Timestamps, fstat, fstatfs, ioctl_getflags, mkdirat, openat,
    statx, unlinkat, utimensat,
};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a probe found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// What is held.
    pub capabilities: Capabilities,
    /// Every answer was one. Otherwise the probe is to be made again.
    pub certain: bool,
}

const EXT: i64 = 0xEF53;
const MSDOS: i64 = 0x4d44;

/// File systems that hold everything, as far as two questions that change nothing tell (numbers from
/// linux/magic.h): ext4, xfs, btrfs, tmpfs, f2fs, bcachefs.
const COMPLETE: [i64; 6] = [EXT, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0xCA45_1A4E];

/// What ext4 with inodes of 256 bytes holds.
const EXT_TIMES: (i64, i64) = (-0x8000_0000, 0x3_7fff_ffff);

/// Names of a folder that has case folding switched on (`FS_CASEFOLD_FL`, linux/fs.h).
const CASEFOLD: u32 = 0x4000_0000;

/// FAT has 32 bits for a size.
const FAT_LARGEST: u64 = 0xffff_ffff;

impl LocalStore {
    /// What the file system under the root holds, where its type tells; nothing is written. `None`: it has to be tried.
    pub fn known_capabilities(&self) -> Option<Capabilities> {
        known_by_type(self.root())
    }

    /// Tries out what the file system under the root holds. `groups` are this process's: a user who is not root can
    /// give a file only to one of these.
    pub fn try_capabilities(&self, groups: &[u32]) -> Result<Probed, Fault> {
        try_out(self.root(), groups)
    }
}

/// What the type of a file system tells; `None`: it has to be tried.
fn known_by_type(root: BorrowedFd<'_>) -> Option<Capabilities> {
    let kind = fstatfs(root).ok()?.f_type;
    let now = convert(&fstat(root).ok()?);
    let has = |name: &[u8]| Object::Open(root).holds(name);
    // A stamp without a fraction comes from inodes of 128 bytes, as a rule.
    let is_fine = now.fingerprint.ctime.nanos != 0;
    let folds = ioctl_getflags(root).is_ok_and(|flags| flags.bits() & CASEFOLD != 0);
    if !COMPLETE.contains(&kind) || !is_fine || folds || !has(b"user.twinfold")? || !has(ACL_ACCESS)? {
        return None;
    }
    let mut capabilities = Capabilities::default();
    if kind == EXT {
        let (earliest, latest) = EXT_TIMES;
        capabilities.times = Times { earliest, latest, ..capabilities.times };
    }
    Some(capabilities)
}

/// The folder in which things are tried, and what was answered so far.
struct Trial<'t> {
    folder: OwnedFd,
    groups: &'t [u32],
    capabilities: Capabilities,
    certain: bool,
}

fn try_out(root: BorrowedFd<'_>, groups: &[u32]) -> Result<Probed, Fault> {
    let names = TemporaryName::fresh(1).during("choose a temporary name")?;
    let name = names.first().map_or(&b""[..], TemporaryName::as_bytes);
    let before = fstat(root).during("look at")?;
    mkdirat(root, os(name), Mode::RWXU).during("create a folder for trying in")?;
    let tried = try_in(root, name, groups);
    let removed = unlinkat(root, os(name), AtFlags::REMOVEDIR).during("remove the folder for trying in");
    let (last_access, last_modification) = times_of(&before);
    // Who may write in the root need not own it: then its time moves as with any change of the run.
    let _ = utimensat(root, "", &Timestamps { last_access, last_modification }, AtFlags::EMPTY_PATH);
    let probed = tried?;
    removed.map(|()| probed)
}

fn try_in(root: BorrowedFd<'_>, name: &[u8], groups: &[u32]) -> Result<Probed, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = retry_on_intr(|| openat(root, os(name), flags, Mode::empty())).during("open")?;
    let mut trial = Trial { folder, groups, capabilities: Capabilities::default(), certain: true };
    let tried = trial.all(root);
    let emptied = trial.empty();
    let probed = Probed { capabilities: trial.capabilities, certain: trial.certain };
    tried.and(emptied).map(|()| probed)
}

impl Trial<'_> {
    fn all(&mut self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        self.try_metadata()?;
        self.try_times()?;
        self.try_kinds()?;
        self.try_renames()?;
        self.try_names();
        // Where no two names have one inode, nothing needs its number: most of these file systems make numbers up as
        // entries are met, and others after the next mount.
        self.capabilities.stable_inodes &= self.capabilities.hard_links == HardLinks::Shared;
        let kind = fstatfs(root).during("look at the file system of")?.f_type;
        // Trying it might write all of it: FAT fills what a file is extended by.
        self.capabilities.largest_file = (kind == MSDOS).then_some(FAT_LARGEST);
        Ok(())
    }

    fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Makes an empty file that only its owner may read.
    fn create(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| openat(&self.folder, os(name), flags, Mode::RUSR | Mode::WUSR))
    }

    /// The figures of a name as they are on the other side of any cache.
    fn look(&self, name: &[u8]) -> Result<Stat, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
        let found = statx(&self.folder, os(name), flags, StatxFlags::BASIC_STATS)?;
        Ok(super::stat::convert_statx(&found))
    }

    /// Tells an answer from an error that says nothing of the file system.
    fn answer(&mut self, result: Result<bool, Errno>) -> bool {
        match result {
            Ok(held) => held,
            Err(error) if is_refusal(error) => false,
            Err(_) => {
                self.certain = false;
                true
            }
        }
    }

    /// Removes what was made.
    fn empty(&self) -> Result<(), Fault> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder).during("list")? {
            let name = entry.during("list")?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        for name in names {
            match unlinkat(&self.folder, &name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => unlinkat(&self.folder, &name, AtFlags::REMOVEDIR),
                result => result,
            }
            .during("remove what was tried")?;
        }
        Ok(())
    }
}

/// Returns true if an error says that the file system, or this user there, cannot do what was asked.
fn is_refusal(error: Errno) -> bool {
    // A disk that gives an error for everything takes no file to try with either.
    const REFUSALS: [Errno; 12] = [
        Errno::IO,
        // An attribute that was set, and is not there.
        Errno::NODATA,
        Errno::PERM,
        Errno::ACCESS,
        Errno::NOTSUP,
        Errno::NOSYS,
        Errno::INVAL,
        Errno::MLINK,
        Errno::NAMETOOLONG,
        Errno::ILSEQ,
        Errno::NOENT,
        Errno::XDEV,
    ];
    REFUSALS.contains(&error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    #[expect(clippy::print_stdout, reason = "a test that cannot be done here says so")]
    fn trying_on_a_file_system_that_holds_everything_finds_that_and_leaves_no_trace() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let before = std::fs::metadata(dir.path()).unwrap();
        let Some(known) = known_by_type(root.as_fd()) else {
            return println!(
                "SKIPPED: the working folder lies on a file system that is not known to hold everything"
            );
        };
        std::thread::sleep(std::time::Duration::from_millis(20));
        let probed = try_out(root.as_fd(), &[]).unwrap();
        assert!(probed.certain);
        // The range of times may be wider or narrower than the type's.
        let times = known.times;
        let found = Capabilities { times, ..probed.capabilities.clone() };
        assert_eq!(found, known);
        assert!(probed.capabilities.times.settable && probed.capabilities.times.granularity_nanos == 1);
        assert!(probed.capabilities.times.earliest < 0 && probed.capabilities.times.latest > 2_147_483_646);
        let after = std::fs::metadata(dir.path()).unwrap();
        assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
