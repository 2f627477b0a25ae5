//! Making trees, and a look at them that shares no code with the program.

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, lgetxattr, llistxattr,
    lsetxattr, mknodat, utimensat,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes a file, making the folders on the way.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Makes a folder and those on the way.
pub fn mkdir(path: impl AsRef<Path>) {
    fs::create_dir_all(path).unwrap();
}

/// Makes a symbolic link to this text.
pub fn symlink(target: impl AsRef<Path>, path: impl AsRef<Path>) {
    std::os::unix::fs::symlink(target, path).unwrap();
}

/// Makes a named pipe.
pub fn mkfifo(path: impl AsRef<Path>) {
    mknodat(CWD, path.as_ref(), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
}

/// Sets permission bits.
pub fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The permission bits.
pub fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Sets the time of last change of anything, links themselves included.
pub fn set_mtime(path: impl AsRef<Path>, seconds: i64, nanos: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos },
    };
    utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Sets an extended attribute.
pub fn set_attribute(path: impl AsRef<Path>, name: &str, value: impl AsRef<[u8]>) {
    lsetxattr(path.as_ref(), name, value.as_ref(), XattrFlags::empty()).unwrap();
}

/// The attributes that a mirror is to keep; none where the file system has no such thing.
pub fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let Ok(length) = llistxattr(path, names.as_mut_slice()) else { return BTreeMap::new() };
    let kept = |name: &str| {
        name.starts_with("user.") || name.starts_with("system.posix_acl_") || name == "security.capability"
    };
    let names = String::from_utf8(names[..length].to_vec()).unwrap();
    let value = |name: &str| {
        let mut value = vec![0; 1 << 16];
        let length = lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        value
    };
    names.split('\0').filter(|name| kept(name)).map(|name| (name.to_owned(), value(name))).collect()
}

/// Seconds and nanoseconds of the time of last change.
pub fn mtime(path: impl AsRef<Path>) -> (i64, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.mtime(), found.mtime_nsec())
}

/// The inode number.
pub fn inode(path: impl AsRef<Path>) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// Removes whatever is there, if anything.
pub fn remove(path: impl AsRef<Path>) {
    let path = path.as_ref();
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// A name of arbitrary bytes.
pub fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// All that makes an entry what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The kind and, but for links, the permission bits, as `st_mode` has them.
    pub mode: u32,
    pub mtime: (i64, i64),
    pub owner: Option<(u32, u32)>,
    /// A file's bytes or a link's target.
    pub content: Vec<u8>,
    /// `user.*`, ACLs and capabilities.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// The first of the tree's names of the same inode, where there is another.
    pub first_name: Option<PathBuf>,
}

/// A whole tree, its root under the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, Entry>);

impl Tree {
    pub fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut inodes: BTreeMap<(u64, u64), BTreeSet<PathBuf>> = BTreeMap::new();
        visit(root, Path::new(""), &mut |relative, path, found| {
            let kind = found.file_type();
            let content = if kind.is_symlink() {
                fs::read_link(path).unwrap().into_os_string().as_bytes().to_vec()
            } else if kind.is_file() {
                fs::read(path).unwrap()
            } else {
                Vec::new()
            };
            let mode = if kind.is_symlink() { found.mode() & !0o7777 } else { found.mode() };
            let mtime = (found.mtime(), found.mtime_nsec());
            let owner = Some((found.uid(), found.gid()));
            let attributes = if kind.is_symlink() { BTreeMap::new() } else { attributes(path) };
            if found.nlink() > 1 && !kind.is_dir() {
                inodes.entry((found.dev(), found.ino())).or_default().insert(relative.to_owned());
            }
            let first_name = None;
            entries
                .insert(relative.to_owned(), Entry { mode, mtime, owner, content, attributes, first_name });
        });
        for names in inodes.into_values().filter(|names| names.len() > 1) {
            for name in &names {
                entries.get_mut(name).unwrap().first_name = names.first().cloned();
            }
        }
        Self(entries)
    }

    /// Leaves owners out of comparisons.
    pub fn forget_owners(&mut self) {
        self.0.values_mut().for_each(|entry| entry.owner = None);
    }

    pub fn names(&self) -> Vec<PathBuf> {
        self.0.keys().cloned().collect()
    }
}

fn visit(root: &Path, relative: &Path, each: &mut dyn FnMut(&Path, &Path, &fs::Metadata)) {
    let path = if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(relative) };
    let found = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    each(relative, &path, &found);
    if found.is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            visit(root, &relative.join(entry.unwrap().file_name()), each);
        }
    }
}

/// Fails with the differences between two trees.
#[track_caller]
pub fn assert_same(source: &Tree, replica: &Tree) {
    let mut differences = Vec::new();
    for (path, entry) in &source.0 {
        match replica.0.get(path) {
            None => differences.push(format!("{} is missing in the replica", path.display())),
            Some(other) if other != entry => {
                let what = [
                    (entry.mode != other.mode).then(|| format!("mode {:o} {:o}", entry.mode, other.mode)),
                    (entry.mtime != other.mtime)
                        .then(|| format!("mtime {:?} {:?}", entry.mtime, other.mtime)),
                    (entry.first_name != other.first_name)
                        .then(|| format!("a name of {:?} {:?}", entry.first_name, other.first_name)),
                    (entry.attributes != other.attributes)
                        .then(|| format!("attributes {:?} {:?}", entry.attributes, other.attributes)),
                    (entry.owner != other.owner)
                        .then(|| format!("owner {:?} {:?}", entry.owner, other.owner)),
                    (entry.content != other.content).then(|| {
                        format!("content of {} and {} bytes", entry.content.len(), other.content.len())
                    }),
                ];
                let what: Vec<String> = what.into_iter().flatten().collect();
                differences.push(format!("{}: {}", path.display(), what.join(", ")));
            }
            Some(_) => {}
        }
    }
    let extra = replica.0.keys().filter(|path| !source.0.contains_key(*path));
    differences.extend(extra.map(|path| format!("{} is only in the replica", path.display())));
    assert!(differences.is_empty(), "source and replica differ:\n{}", differences.join("\n"));
}

/// When each inode of a tree last changed in any way, and which inode it is.
pub fn stamps(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut stamps = BTreeMap::new();
    visit(root, Path::new(""), &mut |relative, _, found| {
        stamps.insert(relative.to_owned(), (found.ino(), found.ctime(), found.ctime_nsec()));
    });
    stamps
}
