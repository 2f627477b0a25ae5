//! Another name for what the replica has already.

use super::folder::{LocalFolder, changed_since_planned, unless_mounted};
use super::handle::os;
use super::{During, Fault, MOVE};
use crate::model::Stat;
use rustix::fs::{RenameFlags, renameat, renameat_with};
use rustix::io::Errno;

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
