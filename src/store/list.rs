//! What one folder holds, by name, with what the listing itself tells of their kinds.

use super::handle::Mounts;
use super::names::{Names, Told};
use super::runs::{RUN, Runs};
use super::stat::look_at;
use crate::cancel::Cancel;
use crate::filter::CACHEDIR_TAG;
use crate::model::{Kind, Stat};
use rustix::fs::{FileType, RawDir, fstatfs};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use walkdir::WalkDir;

/// The names in a folder, as they were read.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// All names but those that were put aside. Those of unknown kind are not marked as folders.
    pub(super) names: Names,
    /// Where there are very many.
    pub(super) aside: Runs,
    /// There is the tag of a cache among them.
    pub(super) has_tag: bool,
    /// Numbers of the names whose kind the file system did not tell.
    pub(super) unknown: Vec<u32>,
}

impl Listing {
    fn is_empty(&self) -> bool {
        self.names.len() == 0 && self.aside.is_empty()
    }

    fn push(&mut self, name: &[u8], kind: FileType) -> io::Result<()> {
        self.has_tag |= name == CACHEDIR_TAG;
        if kind == FileType::Unknown {
            // There are no more names than bytes of them.
            self.unknown.push(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
            return self.names.push_unknown(name);
        }
        let told = match kind {
            FileType::Directory => Told::Folder,
            FileType::RegularFile => Told::File,
            _ => Told::Other,
        };
        self.names.push(name, told)?;
        // What is put aside is sorted, so all kinds must be known.
        if self.names.len() >= RUN && self.unknown.is_empty() {
            self.aside.put_aside(&mut self.names);
        }
        Ok(())
    }
}

/// How often a listing that a signal interrupts before its first name is begun again.
const INTERRUPTIONS: u32 = 8;

/// Bytes of names asked for at a time.
const NAMES_BYTES: usize = 32 << 10;

/// Names between two looks at whether somebody asked to stop.
const PATIENCE: usize = 8192;

/// Lists folders; what it needs for that is kept from one to the next.
pub(super) struct Lister<'a> {
    mounts: Mounts,
    cancel: &'a Cancel,
    buffer: Vec<u8>,
    /// The last device met, and whether its file system counts subfolders.
    counting: Option<(u64, bool)>,
    /// As a file system lists that tells no kinds.
    #[cfg(test)]
    untold: bool,
}

impl<'a> Lister<'a> {
    pub(super) fn new(mounts: Mounts, cancel: &'a Cancel) -> Self {
        Self {
            mounts,
            cancel,
            buffer: Vec::new(),
            counting: None,
            #[cfg(test)]
            untold: false,
        }
    }

    /// As a file system lists that tells kinds, or not.
    #[cfg(test)]
    pub(super) fn telling_kinds(self, told: bool) -> Self {
        Self { untold: !told, ..self }
    }

    /// Reads the names in an open folder whose figures are `stat`. Stops early, with what it has, when
    /// cancelled.
    ///
    /// walkdir reads it through the open handle, so that no path is looked up again. But it opens every
    /// folder in it too, by name and following links, even where it is told to go no deeper, and takes
    /// some calls more for each folder. So it is only for large folders that have no folder in them, as
    /// their link count says, and in which nobody can put a link in the place of one meanwhile, and where
    /// what is mounted belongs to the tree. Others are read from the handle, and so are all where `/proc`
    /// is not mounted.
    pub(super) fn list(&mut self, handle: &OwnedFd, stat: &Stat) -> io::Result<Listing> {
        #[cfg(test)]
        if self.untold {
            return self.read_directly(handle);
        }
        let for_walkdir = self.mounts == Mounts::Cross
            && is_large(stat)
            && stat.links == LINKS_WITHOUT_SUBFOLDERS
            && is_private(stat)
            && self.counts_subfolders(handle, stat.device);
        if for_walkdir && let Some(listing) = self.walk_through(handle)? {
            return Ok(listing);
        }
        self.read_directly(handle)
    }

    fn counts_subfolders(&mut self, handle: &OwnedFd, device: u64) -> bool {
        match self.counting {
            Some((known, counts)) if known == device => counts,
            _ => {
                let counts = fstatfs(handle).is_ok_and(|found| COUNTING.contains(&found.f_type));
                self.counting = Some((device, counts));
                counts
            }
        }
    }

    /// `None`: `/proc` is not there.
    fn walk_through(&self, handle: &OwnedFd) -> io::Result<Option<Listing>> {
        let itself = format!("/proc/self/fd/{}/", handle.as_raw_fd());
        let mut listing = Listing::default();
        let mut interruptions = 0;
        let open = || WalkDir::new(&itself).min_depth(1).max_depth(1).into_iter();
        let mut names = open();
        while let Some(entry) = names.next() {
            if self.is_asked_to_stop(&listing) {
                break;
            }
            let begun = !listing.is_empty();
            match entry {
                Ok(entry) => {
                    let kind = match entry.file_type() {
                        kind if kind.is_dir() => FileType::Directory,
                        kind if kind.is_file() => FileType::RegularFile,
                        // Which of them, nobody needs to know.
                        _ => FileType::Symlink,
                    };
                    listing.push(entry.file_name().as_bytes(), kind)?;
                }
                Err(error) => {
                    let depth = error.depth();
                    let error = io::Error::from(error);
                    if !begun && depth == 0 && error.kind() == io::ErrorKind::NotFound {
                        return Ok(None);
                    }
                    if !begun && error.kind() == io::ErrorKind::Interrupted && interruptions < INTERRUPTIONS {
                        interruptions += 1;
                        names = open();
                        continue;
                    }
                    return Err(error);
                }
            }
        }
        Ok(Some(listing))
    }

    fn read_directly(&mut self, handle: &OwnedFd) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.reserve(NAMES_BYTES);
        let mut names = RawDir::new(handle, buffer.spare_capacity_mut());
        while let Some(entry) = names.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let told = entry.file_type();
            #[cfg(test)]
            let told = if self.untold { FileType::Unknown } else { told };
            if name != b"."
                && name != b".."
                && let Some(kind) = kind_to_list(told, entry.file_name(), &listing, handle)
            {
                listing.push(name, kind)?;
            }
            if self.is_asked_to_stop(&listing) {
                break;
            }
        }
        self.buffer = buffer;
        Ok(listing)
    }

    fn is_asked_to_stop(&self, listing: &Listing) -> bool {
        listing.names.len() % PATIENCE == PATIENCE - 1 && self.cancel.requested()
    }
}

/// The kind of a name, looked up where the file system does not tell it and others were put aside already; `None`: it
/// is gone.
fn kind_to_list(told: FileType, name: &CStr, listing: &Listing, folder: &OwnedFd) -> Option<FileType> {
    if told != FileType::Unknown || listing.aside.is_empty() {
        return Some(told);
    }
    match look_at(folder.as_fd(), name, 0) {
        Ok((stat, _)) if stat.kind() == Kind::Folder => Some(FileType::Directory),
        Err(Errno::NOENT) => None,
        // Which of them, the look at it will tell.
        Ok(_) | Err(_) => Some(FileType::Symlink),
    }
}

/// A folder of so many bytes holds so much that a few calls more weigh nothing.
const LARGE_BYTES: u64 = 16 << 10;

fn is_large(stat: &Stat) -> bool {
    stat.allocated.max(stat.fingerprint.size) >= LARGE_BYTES
}

/// A folder's own name and its `.`.
const LINKS_WITHOUT_SUBFOLDERS: u64 = 2;

/// File systems that count a folder's subfolders in its links, and tell kinds when they list (numbers
/// from linux/magic.h): ext2 to ext4, xfs, tmpfs, f2fs.
const COUNTING: [i64; 4] = [0xEF53, 0x5846_5342, 0x0102_1994, 0xF2F5_2010];

/// Whether nobody but this user and root can change what names in this folder stand for.
fn is_private(stat: &Stat) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    let ours = stat.uid == 0 || stat.uid == rustix::process::geteuid().as_raw();
    ours && stat.fingerprint.mode & OTHERS_WRITE == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stat::look_at_open;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn keys(listing: &mut Listing) -> Vec<String> {
        listing.names.sort();
        let key = |number| listing.names.key(number).to_str().unwrap().to_owned();
        (0..listing.names.len()).map(key).collect()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
    fn both_ways_of_reading_a_folder_give_the_same_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
        for name in ["a.txt", "a0", "sub/inner", "-x", "new\nline"] {
            File::create(dir.path().join(name)).unwrap();
        }
        let handle: OwnedFd = File::open(dir.path()).unwrap().into();
        let cancel = Cancel::new();
        let mut lister = Lister::new(Mounts::Cross, &cancel);
        let walked = keys(&mut lister.walk_through(&handle).unwrap().unwrap());
        assert_eq!(walked, ["-x", "a.txt", "a/", "a0", "link", "new\nline", "sub/"]);
        let mut read = lister.read_directly(&handle).unwrap();
        if read.unknown.is_empty() {
            assert_eq!(keys(&mut read), walked);
        }
    }

    #[test]
    fn a_large_folder_without_folders_is_listed_by_walkdir_and_no_name_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..1000 {
            File::create(dir.path().join(format!("{number:04}-{}", "n".repeat(40)))).unwrap();
        }
        let cancel = Cancel::new();
        for mounts in [Mounts::Cross, Mounts::Stay] {
            // One of its own: what reads from a handle leaves it at the end.
            let handle: OwnedFd = File::open(dir.path()).unwrap().into();
            let stat = look_at_open(handle.as_fd(), 0).unwrap().0;
            assert!(is_private(&stat), "tempfile makes folders for their owner only");
            let listing = Lister::new(mounts, &cancel).list(&handle, &stat).unwrap();
            assert_eq!(listing.names.len(), 1000, "{mounts:?}");
        }
    }
}
