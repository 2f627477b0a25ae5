//! Permissions, owners, attributes, and kinds of entries.

use super::Trial;
use crate::model::HardLinks;
use crate::model::attributes::{ACL_ACCESS, CAPABILITY};
use crate::store::attributes::Object;
use crate::store::handle::os;
use crate::store::metadata::set_mode;
use crate::store::{During, Fault};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, RenameFlags, SeekFrom, Uid, chownat, fstat, linkat, mkdirat, mknodat,
    renameat, renameat_with, seek, symlinkat,
};
use rustix::io::{Errno, pwrite};
use std::os::fd::{AsFd, BorrowedFd};

/// Whom files are given to: no user that the file system can be mounted for by mistake.
const SOMEBODY: u32 = 1;

/// `cap_net_raw=ep` as the kernel keeps it.
const SOME_CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Lets a user besides the owner read (`linux/posix_acl_xattr.h`): without one the kernel makes mere permissions of it.
const SOME_ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16,
    0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

/// Where a file with a hole has its only byte.
const BEHIND_A_HOLE: u64 = 1 << 20;

impl Trial<'_> {
    /// Permissions, owner, attributes.
    pub(super) fn try_metadata(&mut self) -> Result<(), Fault> {
        const NAME: &[u8] = b"metadata";
        let file = self.create(NAME).during("create a file for trying")?;
        let made = self.look(NAME).during("look at")?.fingerprint.mode;
        let modes = [0o640, 0o751, 0o400].map(|mode| self.holds_mode(file.as_fd(), NAME, mode));
        let permissions = modes.into_iter().all(|held| self.answer(held));
        let file_mode = (!permissions && made != 0o600).then_some(made);
        let folder_mode = convert_mode(self.folder());
        self.capabilities.permissions = permissions;
        self.capabilities.file_mode = file_mode;
        self.capabilities.folder_mode = folder_mode.filter(|mode| !permissions && *mode != 0o700);
        let owner = self.holds_owner(file.as_fd(), NAME);
        self.capabilities.owner = self.answer(owner);
        // An owner may need it to set attributes.
        let _ = set_mode(file.as_fd(), 0o600);
        let holds = |name: &[u8], value: &[u8]| -> Result<bool, Errno> {
            let object = Object::Open(file.as_fd());
            object.set(os(name), value)?;
            let mut found = [0; 64];
            let length = object.get(os(name), &mut found)?;
            Ok(found[..length] == *value)
        };
        let attributes = holds(b"user.twinfold", b"x");
        let acls = holds(ACL_ACCESS, &SOME_ACL);
        let capable =
            if rustix::process::geteuid().is_root() { holds(CAPABILITY, &SOME_CAPABILITY) } else { Ok(true) };
        self.capabilities.attributes = self.answer(attributes);
        self.capabilities.acls = self.answer(acls);
        self.capabilities.file_capabilities = self.answer(capable);
        Ok(())
    }

    fn holds_mode(&self, file: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<bool, Errno> {
        match set_mode(file, mode) {
            Ok(()) => Ok(self.look(name)?.fingerprint.mode == mode),
            Err(fault) => Err(Errno::from_io_error(&fault.error).unwrap_or(Errno::IO)),
        }
    }

    fn holds_owner(&self, file: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
        let now = fstat(file)?;
        let (uid, gid) = if rustix::process::geteuid().is_root() {
            (Some(SOMEBODY), SOMEBODY)
        } else {
            match self.groups.iter().find(|group| **group != now.st_gid) {
                Some(group) => (None, *group),
                // Nothing that could be tried, and nothing that could be lost.
                None => return Ok(true),
            }
        };
        chownat(file, "", uid.map(Uid::from_raw), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
        let found = self.look(name)?;
        let held = uid.is_none_or(|uid| uid == found.uid) && gid == found.gid;
        let back = (uid.map(|_| Uid::from_raw(now.st_uid)), Some(Gid::from_raw(now.st_gid)));
        let _ = chownat(file, "", back.0, back.1, AtFlags::EMPTY_PATH);
        Ok(held)
    }

    /// Links of both kinds, special files, holes.
    pub(super) fn try_kinds(&mut self) -> Result<(), Fault> {
        let symlinks = symlinkat("nowhere", &self.folder, "symlink").map(|()| true);
        self.capabilities.symlinks = self.answer(symlinks);
        if symlinks.is_ok() && self.capabilities.times.settable {
            let timed = self.holds_link_time(b"symlink");
            self.capabilities.link_times = self.answer(timed);
        }
        let fifo = mknodat(&self.folder, "fifo", FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map(|()| true);
        self.capabilities.specials = self.answer(fifo);
        drop(self.create(b"name").during("create a file for trying")?);
        let linked = linkat(&self.folder, "name", &self.folder, "other name", AtFlags::empty());
        let shared = linked.and_then(|()| {
            let (one, other) = (self.look(b"name")?, self.look(b"other name")?);
            Ok(one.fingerprint.inode == other.fingerprint.inode && one.links > 1 && other.links > 1)
        });
        self.capabilities.hard_links = match (shared, self.answer(shared)) {
            (Ok(false), _) => HardLinks::OwnInode,
            (_, true) => HardLinks::Shared,
            (_, false) => HardLinks::Refused,
        };
        let file = self.create(b"hole").during("create a file for trying")?;
        let written = pwrite(&file, b"x", BEHIND_A_HOLE - 1);
        // Some do not tell where holes are, but take no room for them.
        let holes = written.and_then(|_| {
            Ok(seek(&file, SeekFrom::Hole(0)) == Ok(0) || self.look(b"hole")?.allocated < BEHIND_A_HOLE)
        });
        self.capabilities.holes = self.answer(holes);
        Ok(())
    }

    /// What a rename does to names and inode numbers.
    pub(super) fn try_renames(&mut self) -> Result<(), Fault> {
        drop(self.create(b"one").during("create a file for trying")?);
        drop(self.create(b"other").during("create a file for trying")?);
        let exchanged = renameat_with(&self.folder, "one", &self.folder, "other", RenameFlags::EXCHANGE);
        self.capabilities.exchange = self.answer(exchanged.map(|()| true));
        let before = self.look(b"one");
        let over = renameat(&self.folder, "one", &self.folder, "other").map(|()| true);
        // A file system that refuses to replace says that the name is taken.
        let over = if over == Err(Errno::EXIST) { Ok(false) } else { over };
        self.capabilities.renames_over = self.answer(over);
        let file_stays = match (before, self.look(b"other")) {
            (Ok(before), Ok(after)) => before.fingerprint.inode == after.fingerprint.inode,
            _ => true,
        };
        mkdirat(&self.folder, "folder", Mode::RWXU).during("create a folder for trying in")?;
        let before = self.look(b"folder").during("look at")?;
        renameat(&self.folder, "folder", &self.folder, "renamed").during("rename")?;
        let after = self.look(b"renamed").during("look at")?;
        let folder_stays = before.fingerprint.inode == after.fingerprint.inode;
        let kept = self.capabilities.renames_over;
        self.capabilities.stable_inodes = folder_stays && (file_stays || !kept);
        Ok(())
    }
}

fn convert_mode(folder: BorrowedFd<'_>) -> Option<u32> {
    fstat(folder).ok().map(|found| found.st_mode & 0o7777)
}
