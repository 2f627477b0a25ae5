//! Another name for what the replica has already.

use super::folder::{LocalFolder, changed_since_planned, unless_mounted};
use super::handle::os;
use super::{During, Fault, MOVE, TemporaryName};
use crate::model::{Kind, Stat};
use rustix::fs::{Dir, Mode, OFlags, RenameFlags, openat, renameat, renameat_with};
use rustix::io::{Errno, retry_on_intr};
use std::io;

impl LocalFolder {
    /// Renames `name`, if it still is `expected`, to `to` in `into`; `target` is what may be replaced there.
    ///
    /// RACE: another entry may take the name between the look and the rename. Worst outcome: what somebody
    /// put into the replica in that instant has another name there; it is seen below, and the next run
    /// puts it right.
    pub(super) fn relocate_to(
        &self,
        name: &[u8],
        expected: &Stat,
        into: &Self,
        to: &[u8],
        target: Option<&Stat>,
    ) -> Result<Stat, Fault> {
        let gone = || changed_since_planned();
        let now = self.lstat(name)?.filter(|now| now.is_same_object(expected));
        now.ok_or_else(gone).during(MOVE)?;
        self.check_free()?;
        let there = into.lstat(to)?;
        let plain = || renameat(&self.handle, os(name), &into.handle, os(to));
        let renamed = match (there, target) {
            (None, _) => {
                match renameat_with(&self.handle, os(name), &into.handle, os(to), RenameFlags::NOREPLACE) {
                    Err(Errno::EXIST) => return Err(gone()).during(MOVE),
                    // RACE: file systems without renameat2 flags have no atomic "only if free". Worst
                    // outcome: a file that somebody put there since the look above is replaced.
                    Err(Errno::INVAL | Errno::NOSYS) => plain(),
                    result => result,
                }
            }
            (Some(there), Some(target)) if there.is_same_object(target) => plain(),
            (Some(_), _) => return Err(gone()).during(MOVE),
        };
        unless_mounted(renamed).during(MOVE)?;
        let now = into.lstat(to)?.filter(|now| now.is_same_object(expected));
        now.ok_or_else(gone).during(MOVE)
    }

    /// Renames `name`, if it still is `expected`, to `to`, which the file system takes for the same name.
    ///
    /// For some file systems that is nothing to do: there it gets a temporary name first. `directly` says whether this is
    /// one of the others; where that is not known the folder is listed once. Inode numbers are not compared: where the
    /// case of names does not count, they seldom last.
    ///
    /// RACE: another entry may take the name between the look and the rename. Worst outcome: what somebody put into the
    /// replica in that instant is called `to`; the next run compares it.
    pub(super) fn respell_as(
        &self,
        name: &[u8],
        expected: &Stat,
        to: &[u8],
        directly: Option<bool>,
    ) -> Result<bool, Fault> {
        let is_it = |now: &Stat| {
            let (now, then) = (&now.fingerprint, &expected.fingerprint);
            now.kind == then.kind
                && (now.kind == Kind::Folder || (now.size, now.mtime) == (then.size, then.mtime))
        };
        self.lstat(name)?.filter(is_it).ok_or_else(changed_since_planned).during(MOVE)?;
        self.check_free()?;
        let rename = |from: &[u8], to: &[u8]| {
            unless_mounted(renameat(&self.handle, os(from), &self.handle, os(to))).during(MOVE)
        };
        if directly != Some(false) {
            rename(name, to)?;
            if directly.is_some() || self.lists(to)? {
                return Ok(true);
            }
        }
        let names = TemporaryName::fresh(1).during("name a temporary for")?;
        let aside =
            names.first().ok_or_else(changed_since_planned).during("name a temporary for")?.as_bytes();
        rename(name, aside)?;
        let renamed = match self.lstat(to) {
            Ok(None) => rename(aside, to),
            Ok(Some(_)) => Err(changed_since_planned()).during(MOVE),
            Err(fault) => Err(fault),
        };
        if renamed.is_err() {
            rename(aside, name)?;
        }
        renamed?;
        if directly.is_none() && !self.lists(to)? {
            return Err(io::Error::other("its file system does not keep the case of names")).during(MOVE);
        }
        Ok(false)
    }

    /// Returns true if the folder's listing has exactly this name.
    fn lists(&self, name: &[u8]) -> Result<bool, Fault> {
        // The handle is good for looking up names only.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = retry_on_intr(|| openat(&self.handle, ".", flags, Mode::empty())).during("list")?;
        for entry in Dir::new(open).during("list")? {
            if entry.during("list")?.file_name().to_bytes() == name {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Exchanges two names, if both still are what is expected.
    ///
    /// RACE: as for [`LocalFolder::relocate_to`].
    pub(super) fn exchange_names(
        &self,
        (name, expected): (&[u8], &Stat),
        other: &Self,
        (with, with_expected): (&[u8], &Stat),
    ) -> Result<(Stat, Stat), Fault> {
        let still = |folder: &Self, name: &[u8], expected: &Stat| {
            let now = folder.lstat(name)?.filter(|now| now.is_same_object(expected));
            now.ok_or_else(changed_since_planned).during(MOVE)
        };
        still(self, name, expected)?;
        still(other, with, with_expected)?;
        self.check_free()?;
        let exchanged = renameat_with(&self.handle, os(name), &other.handle, os(with), RenameFlags::EXCHANGE);
        unless_mounted(exchanged).during(MOVE)?;
        Ok((still(other, with, expected)?, still(self, name, with_expected)?))
    }
}
