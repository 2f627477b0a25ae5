//! One open local folder: every change to the replica's file system is a call in this file, and so is the only thing that
//! is ever made on the source's, a file without a name.

use super::attributes::{self, Object, disinherit, hands_on_an_acl};
use super::handle::{Mounts, open_name, os};
use super::metadata::apply;
use super::stat::{convert, convert_statx, look_at, look_at_open, seen_as_no_folder};
use super::{Applied, During, Fault, Folder, LINK, RENAME, Staging, Target, TemporaryName};
use crate::model::{Attributes, Kind, Scope, Seen, Stat};
use crate::plan::desired::Desired;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, StatxAttributes, StatxFlags, fstat, fstatfs, fstatvfs,
    linkat, mkdirat, mknodat, openat, readlinkat, renameat, renameat_with, statat, statx, symlinkat,
    unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

/// A handle (`O_PATH`) on a folder; names are looked up in it and nowhere else.
#[derive(Debug)]
pub struct LocalFolder {
    pub(super) handle: OwnedFd,
    mounts: Mounts,
    /// What is made here inherits an ACL; found out when it first matters.
    hands_on_an_acl: OnceCell<bool>,
    /// Append-only or immutable; likewise.
    bound: OnceCell<bool>,
    /// Its device (0 where that cannot be told); likewise.
    device: OnceCell<u64>,
}

/// File systems whose clone of a file (`FICLONE`) holds it as it was between two writes: btrfs, XFS and bcachefs, by their
/// numbers in statfs(2).
const CLONE_AT_ONE_MOMENT: [rustix::fs::FsWord; 3] = [0x9123_683E, 0x5846_5342, 0xCA45_1A4E];

/// How often, and after what pause, an open that a lease or lock refuses is tried again.
const LEASE_TRIES: u32 = 5;
const LEASE_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn changed_since_planned() -> io::Error {
    io::Error::other("somebody changed it since it was planned; the next run looks at it again")
}

/// Gives the refusal to move or remove what something is mounted on its reason.
pub(super) fn unless_mounted(result: Result<(), Errno>) -> io::Result<()> {
    result.map_err(|error| match error {
        Errno::BUSY => io::Error::other("something is mounted on it; unmount it, and the next run goes on"),
        error => error.into(),
    })
}

impl LocalFolder {
    pub(super) fn new(handle: OwnedFd, mounts: Mounts) -> Self {
        Self {
            handle,
            mounts,
            hands_on_an_acl: OnceCell::new(),
            bound: OnceCell::new(),
            device: OnceCell::new(),
        }
    }

    fn hands_on_an_acl(&self) -> bool {
        *self.hands_on_an_acl.get_or_init(|| hands_on_an_acl(self.handle.as_fd()))
    }

    /// Refuses to make a temporary where it could be neither renamed nor removed.
    pub(super) fn check_free(&self) -> Result<(), Fault> {
        let bound = *self.bound.get_or_init(|| {
            let bound = StatxAttributes::APPEND | StatxAttributes::IMMUTABLE;
            statx(&self.handle, "", AtFlags::EMPTY_PATH, StatxFlags::empty())
                .is_ok_and(|found| found.stx_attributes.intersects(bound))
        });
        if bound {
            let cause =
                "its folder is append-only or immutable (see lsattr): nothing can take its place there";
            return Err(io::Error::other(cause)).during("make a temporary for");
        }
        Ok(())
    }

    pub(super) fn lstat(&self, name: &[u8]) -> Result<Option<Stat>, Fault> {
        match statat(&self.handle, os(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(convert(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).during("look at"),
        }
    }

    /// Opens what may be a file, without side effects where it is none.
    fn open_to_read(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let plain = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut flags = plain | OFlags::NOATIME;
        let mut tries = 0;
        loop {
            match retry_on_intr(|| openat(&self.handle, os(name), flags, Mode::empty())) {
                // Only the owner may leave the access time alone.
                Err(Errno::PERM) if flags != plain => flags = plain,
                Err(Errno::AGAIN) if tries < LEASE_TRIES => {
                    tries += 1;
                    sleep(LEASE_PAUSE);
                }
                result => return result,
            }
        }
    }

    /// Opens a regular file of this folder for reading and writing.
    fn open_to_write(&self, name: &[u8]) -> Result<(File, Stat), Fault> {
        // Not blocking: somebody may have put a FIFO there, which is then refused.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let handle = retry_on_intr(|| openat(&self.handle, os(name), flags, Mode::empty())).during("open")?;
        let stat = convert(&fstat(&handle).during("look at")?);
        if stat.kind() != Kind::File {
            return Err(io::Error::other("it is no regular file any more")).during("open");
        }
        Ok((File::from(handle), stat))
    }

    fn rename(&self, from: &[u8], to: &[u8], flags: RenameFlags) -> Result<(), Errno> {
        renameat_with(&self.handle, os(from), &self.handle, os(to), flags)
    }

    /// Renames onto a name that must be free.
    fn rename_to_free(&self, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        match self.rename(from, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => Err(changed_since_planned()).during(RENAME),
            // RACE: file systems without renameat2 flags have no atomic "only if free". Worst
            // outcome: a file that somebody put into the replica between these two calls is replaced.
            Err(Errno::INVAL | Errno::NOSYS) => match self.lstat(to)? {
                Some(_) => Err(changed_since_planned()).during(RENAME),
                None => renameat(&self.handle, os(from), &self.handle, os(to)).during(RENAME),
            },
            result => result.during(RENAME),
        }
    }

    /// Swaps a staged entry with the one of the other kind that has its final name.
    fn exchange(&self, temporary: &[u8], name: &[u8]) -> Result<(), Fault> {
        match self.rename(temporary, name, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => self.rename_to_free(temporary, name),
            // RACE: without an atomic exchange the name is free for an instant. Worst outcome after
            // a power cut: the old entry lies under a temporary name and the new one is made anew.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let aside = TemporaryName::fresh(1).during("name a temporary for")?;
                let aside = aside[0].as_bytes();
                renameat(&self.handle, os(name), &self.handle, os(aside)).during("put aside")?;
                if let Err(fault) = self.rename_to_free(temporary, name) {
                    renameat(&self.handle, os(aside), &self.handle, os(name)).during("put back")?;
                    return Err(fault);
                }
                renameat(&self.handle, os(aside), &self.handle, os(temporary)).during("put aside")
            }
            result => unless_mounted(result).during(RENAME),
        }
    }
}

impl Folder for LocalFolder {
    fn own_stat(&self) -> Result<Stat, Fault> {
        Ok(convert(&fstat(&self.handle).during("look at")?))
    }

    fn own_attributes(&self, scope: Scope) -> Result<Attributes, Fault> {
        attributes::read(Object::Place(self.handle.as_fd()), scope)
    }

    fn set_own(&self, desired: &Desired, attributes: &Attributes) -> Result<Applied, Fault> {
        apply(Object::Place(self.handle.as_fd()), None, desired, attributes)
    }

    fn stat(&self, name: &[u8]) -> Result<Option<Stat>, Fault> {
        self.lstat(name)
    }

    fn stat_anew(&self, name: &[u8]) -> Result<Option<Stat>, Fault> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
        match statx(&self.handle, os(name), flags, StatxFlags::BASIC_STATS) {
            Ok(found) => Ok(Some(convert_statx(&found))),
            Err(Errno::NOENT) => Ok(None),
            // A kernel or sandbox without this call.
            Err(Errno::NOSYS) => self.lstat(name),
            Err(error) => Err(error).during("look at"),
        }
    }

    fn attributes(&self, name: &[u8], scope: Scope) -> Result<(Stat, Attributes), Fault> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = retry_on_intr(|| openat(&self.handle, os(name), flags, Mode::empty())).during("open")?;
        let stat = convert(&fstat(&handle).during("look at")?);
        Ok((stat, attributes::read(Object::Place(handle.as_fd()), scope)?))
    }

    fn open_file(&self, name: &[u8]) -> Result<(File, Stat), Fault> {
        let handle = self.open_to_read(name).during("open")?;
        let stat = convert(&fstat(&handle).during("look at")?);
        if stat.kind() != Kind::File {
            return Err(io::Error::other("it is no regular file any more")).during("open");
        }
        Ok((File::from(handle), stat))
    }

    fn look(&self, name: &[u8], open: bool) -> (Option<Seen>, Option<File>) {
        let here = *self.device.get_or_init(|| fstat(&self.handle).map_or(0, |found| found.st_dev));
        if open
            && let Ok(handle) = self.open_to_read(name)
            && let Ok((stat, mounted)) = look_at_open(handle.as_fd(), here)
            && stat.kind() == Kind::File
            && !(mounted && self.mounts == Mounts::Stay)
        {
            return (Some(Seen::Present(stat)), Some(File::from(handle)));
        }
        (seen_as_no_folder(look_at(self.handle.as_fd(), os(name), here), self.mounts), None)
    }

    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(readlinkat(&self.handle, os(name), Vec::new()).during("read the link")?.into_bytes())
    }

    fn stage_file(&self, temporary: &TemporaryName) -> Result<File, Fault> {
        self.check_free()?;
        // For reading as well: a clone is hashed where it is.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let handle = retry_on_intr(|| openat(&self.handle, os(temporary.as_bytes()), flags, mode))
            .during("make a temporary for")?;
        if self.hands_on_an_acl() {
            disinherit(Object::Open(handle.as_fd()))?;
        }
        Ok(File::from(handle))
    }

    fn clones_whole_files(&self) -> bool {
        fstatfs(&self.handle).is_ok_and(|found| CLONE_AT_ONE_MOMENT.contains(&found.f_type))
    }

    fn unnamed_file(&self) -> Option<File> {
        // EXCL: it can never be given a name.
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        retry_on_intr(|| openat(&self.handle, ".", flags, mode)).ok().map(File::from)
    }

    fn reopen_staged(&self, temporary: &TemporaryName) -> Result<(File, Stat), Fault> {
        self.open_to_write(temporary.as_bytes())
    }

    fn open_to_patch(&self, name: &[u8], inode: u64) -> Result<(File, Stat), Fault> {
        let (file, stat) = self.open_to_write(name)?;
        // What has another name, in the replica or outside, would be changed there, too.
        if stat.fingerprint.inode != inode || stat.links != 1 {
            return Err(changed_since_planned()).during("write over");
        }
        Ok((file, stat))
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        let found = fstatvfs(&self.handle).during("look at")?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn finish_file(&self, file: &File, desired: &Desired, attributes: &Attributes) -> Result<Applied, Fault> {
        let (none, bare) = (Attributes::default(), attributes.iter().next().is_none());
        apply(Object::Open(file.as_fd()), None, desired, if bare { &none } else { attributes })
    }

    fn stage_other(&self, temporary: &TemporaryName, what: Staging<'_>) -> Result<(), Fault> {
        self.check_free()?;
        let name = os(temporary.as_bytes());
        match what {
            Staging::Folder => mkdirat(&self.handle, name, Mode::RWXU),
            Staging::Symlink(target) => symlinkat(os(target), &self.handle, name),
            Staging::Special(stat) => {
                let kind = match stat.kind() {
                    Kind::Fifo => FileType::Fifo,
                    Kind::Socket => FileType::Socket,
                    Kind::BlockDevice => FileType::BlockDevice,
                    Kind::CharDevice => FileType::CharacterDevice,
                    Kind::File | Kind::Folder | Kind::Symlink => FileType::Unknown,
                };
                mknodat(&self.handle, name, kind, Mode::RUSR | Mode::WUSR, stat.rdev)
            }
        }
        .during("make")?;
        if self.hands_on_an_acl() && !matches!(what, Staging::Symlink(_)) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = retry_on_intr(|| openat(&self.handle, name, flags, Mode::empty())).during("open")?;
            disinherit(Object::Place(made.as_fd()))?;
        }
        Ok(())
    }

    fn stage_link(&self, temporary: &TemporaryName, of: &Self, name: &[u8]) -> Result<(), Fault> {
        self.check_free()?;
        linkat(&of.handle, os(name), &self.handle, os(temporary.as_bytes()), AtFlags::empty()).during(LINK)
    }

    fn publish(&self, temporary: &TemporaryName, name: &[u8], target: Target<'_>) -> Result<(), Fault> {
        let temporary = temporary.as_bytes();
        match target {
            Target::Absent => self.rename_to_free(temporary, name),
            Target::Exchange => self.exchange(temporary, name),
            Target::Replace(expected) => match self.lstat(name)? {
                None => self.rename_to_free(temporary, name),
                // RACE: a change to the old file between this look and the rename is lost. Worst
                // outcome: what somebody wrote into the replica in that instant, which the mirror
                // would undo on the next run anyway.
                Some(now) if now.is_same_object(expected) => {
                    unless_mounted(renameat(&self.handle, os(temporary), &self.handle, os(name)))
                        .during(RENAME)
                }
                Some(_) => Err(changed_since_planned()).during(RENAME),
            },
        }
    }

    fn discard(&self, temporary: &TemporaryName) -> Result<(), Fault> {
        match unlinkat(&self.handle, os(temporary.as_bytes()), AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(&self.handle, os(temporary.as_bytes()), AtFlags::REMOVEDIR),
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
        .during("remove the temporary of")
    }

    fn set_metadata(
        &self,
        name: &[u8],
        expected: &Stat,
        desired: &Desired,
        attributes: &Attributes,
    ) -> Result<(Stat, Applied), Fault> {
        let handle = open_name(self.handle.as_fd(), name, OFlags::PATH | OFlags::NOFOLLOW, self.mounts)
            .during("open")?;
        let before = convert(&fstat(&handle).during("look at")?);
        if !before.is_same_object(expected) {
            return Err(changed_since_planned()).during("mend");
        }
        let applied = apply(Object::Place(handle.as_fd()), Some(before), desired, attributes)?;
        Ok((convert(&fstat(&handle).during("look at")?), applied))
    }

    fn relocate(
        &self,
        name: &[u8],
        expected: &Stat,
        into: &Self,
        to: &[u8],
        target: Option<&Stat>,
    ) -> Result<Stat, Fault> {
        self.relocate_to(name, expected, into, to, target)
    }

    fn respell(
        &self,
        name: &[u8],
        expected: &Stat,
        to: &[u8],
        directly: Option<bool>,
    ) -> Result<bool, Fault> {
        self.respell_as(name, expected, to, directly)
    }

    fn exchange_with(
        &self,
        one: (&[u8], &Stat),
        other: &Self,
        with: (&[u8], &Stat),
    ) -> Result<(Stat, Stat), Fault> {
        self.exchange_names(one, other, with)
    }

    fn remove(&self, name: &[u8], expected: &Stat) -> Result<bool, Fault> {
        let Some(now) = self.lstat(name)? else { return Ok(false) };
        if !now.is_same_object(expected) {
            return Err(changed_since_planned()).during("delete");
        }
        let flags = if now.kind() == Kind::Folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        // RACE: another file may take the name between the look and the removal. Worst outcome: a
        // file that somebody put into the replica in that instant is gone, as the next run would have it.
        match unlinkat(&self.handle, os(name), flags) {
            Err(Errno::NOENT) => Ok(false),
            result => unless_mounted(result).map(|()| true).during("delete"),
        }
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
