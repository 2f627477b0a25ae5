//! The file that marks a folder as a cache.

use super::handle::os;
use crate::filter::{CACHEDIR_SIGNATURE, CACHEDIR_TAG};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

/// Whether the file that marks a folder as a cache says so. One that cannot be read says nothing.
pub(super) fn has_cachedir_tag(folder: BorrowedFd<'_>) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(tag) = openat(folder, os(CACHEDIR_TAG), flags, Mode::empty()) else { return false };
    if !fstat(&tag).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile) {
        return false;
    }
    let mut begins = [0; CACHEDIR_SIGNATURE.len()];
    File::from(tag).read_exact(&mut begins).is_ok() && begins == *CACHEDIR_SIGNATURE
}
