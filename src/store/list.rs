//! What one folder holds, with the figures of each entry, sorted.

use super::handle::{Mounts, open_beneath};
use super::stat::{look_at, look_at_open};
use crate::model::{Entry, EntryPath, Kind, Seen, Stat};
use rustix::fs::{OFlags, RawDir};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use walkdir::WalkDir;

/// One folder, open, and what it holds.
pub(super) struct Listing {
    /// The figures of the very folder that was listed.
    pub stat: Stat,
    /// It is what is mounted on its name.
    pub mounted: bool,
    /// What it holds, in path order.
    pub entries: Vec<Entry>,
}

/// Lists `folder` below `root`, whose parent lies on the device `here`: each entry with its lstat. What vanishes meanwhile is left out; what
/// is there but refuses its figures is [`Seen::Unreadable`], what is mounted and must not be entered
/// [`Seen::Foreign`].
pub(super) fn list(
    root: BorrowedFd<'_>,
    folder: &EntryPath,
    here: u64,
    mounts: Mounts,
) -> io::Result<Listing> {
    let handle = open_beneath(root, folder.trimmed(), OFlags::RDONLY | OFlags::DIRECTORY, mounts)?;
    let (stat, mounted) = look_at_open(handle.as_fd(), here)?;
    let mut entries = Vec::new();
    for_each_name(&handle, &stat, mounts, |name| match look_at(handle.as_fd(), name, stat.device) {
        Ok((found, mounted)) => {
            let path = folder.child(name, found.kind() == Kind::Folder);
            let foreign = mounted && mounts == Mounts::Stay;
            let seen = if foreign { Seen::Foreign(found) } else { Seen::Present(found) };
            entries.push(Entry { path, seen });
        }
        Err(Errno::NOENT) => {}
        Err(error) => {
            let seen = Seen::Unreadable(io::Error::from(error).to_string());
            entries.push(Entry { path: folder.child(name, false), seen });
        }
    })?;
    let common = folder.as_bytes().len();
    entries.sort_unstable_by(|a, b| a.path.as_bytes()[common..].cmp(&b.path.as_bytes()[common..]));
    Ok(Listing { stat, mounted, entries })
}

/// How often a listing that a signal interrupts before its first name is begun again.
const INTERRUPTIONS: u32 = 8;

/// Whether nobody but this user and root can change what names in this folder stand for.
fn is_private(stat: &Stat) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    let ours = stat.uid == 0 || stat.uid == rustix::process::geteuid().as_raw();
    ours && stat.fingerprint.mode & OTHERS_WRITE == 0
}

/// Calls `each` with every name in the folder, which is `stat`.
///
/// walkdir reads it through the open handle, so that no path is looked up again. But it opens every
/// folder in it too, by name and following links, even where it is told to go no deeper. So it is only
/// for folders in which nobody can put a link in the place of a folder meanwhile, and where what is
/// mounted belongs to the tree; others are read from the handle, and so are all where `/proc` is not
/// mounted.
fn for_each_name(
    handle: &OwnedFd,
    stat: &Stat,
    mounts: Mounts,
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    if mounts == Mounts::Stay || !is_private(stat) {
        return read_directly(handle, each);
    }
    let itself = format!("/proc/self/fd/{}/", handle.as_raw_fd());
    let mut listed_any = false;
    let mut interruptions = 0;
    let open = || WalkDir::new(&itself).min_depth(1).max_depth(1).into_iter();
    let mut names = open();
    while let Some(entry) = names.next() {
        match entry {
            Ok(entry) => {
                listed_any = true;
                each(entry.file_name().as_bytes());
            }
            Err(error) => {
                let depth = error.depth();
                let error = io::Error::from(error);
                if !listed_any && depth == 0 && error.kind() == io::ErrorKind::NotFound {
                    return read_directly(handle, each);
                }
                if !listed_any && error.kind() == io::ErrorKind::Interrupted && interruptions < INTERRUPTIONS
                {
                    interruptions += 1;
                    names = open();
                    continue;
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Bytes of names asked for at a time.
const NAMES_BYTES: usize = 32 << 10;

fn read_directly(handle: &OwnedFd, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(NAMES_BYTES);
    let mut names = RawDir::new(handle, buffer.spare_capacity_mut());
    while let Some(entry) = names.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            each(name);
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn both_ways_of_reading_a_folder_give_the_same_names() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/inner"), "").unwrap();
        for name in ["a.txt", "a", "-x", "new\nline"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let handle: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        let (mut walked, mut read) = (Vec::new(), Vec::new());
        let stat = look_at_open(handle.as_fd(), 0).unwrap().0;
        assert!(is_private(&stat), "tempfile makes folders for their owner only");
        for_each_name(&handle, &stat, Mounts::Cross, |name| walked.push(name.to_vec())).unwrap();
        read_directly(&handle, |name| read.push(name.to_vec())).unwrap();
        walked.sort();
        read.sort();
        assert_eq!(walked, read);
        assert_eq!(walked.len(), 5);
    }

    #[test]
    fn folders_sort_as_if_their_name_ended_in_a_slash() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a.txt"), "").unwrap();
        fs::write(dir.path().join("a0"), "").unwrap();
        let root = fs::File::open(dir.path()).unwrap();
        let names: Vec<_> = list(root.as_fd(), &EntryPath::root(), 0, Mounts::Stay)
            .unwrap()
            .entries
            .into_iter()
            .map(|e| e.path)
            .collect();
        assert_eq!(names, ["a.txt", "a/", "a0"].map(EntryPath::from));
    }
}
