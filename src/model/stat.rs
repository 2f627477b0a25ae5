//! What one lstat tells about an entry.

use super::Timestamp;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket's name.
    Socket,
    /// A block device node.
    BlockDevice,
    /// A character device node.
    CharDevice,
}

/// Every kind with its number in the manifest and its name for people; numbers are never reused.
const KINDS: [(Kind, u8, &str); 7] = [
    (Kind::File, 0, "file"),
    (Kind::Folder, 1, "folder"),
    (Kind::Symlink, 2, "symlink"),
    (Kind::Fifo, 3, "fifo"),
    (Kind::Socket, 4, "socket"),
    (Kind::BlockDevice, 5, "block device"),
    (Kind::CharDevice, 6, "character device"),
];

impl Kind {
    /// The number this kind has in the manifest.
    pub fn code(self) -> u8 {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or(u8::MAX, |&(_, code, _)| code)
    }

    /// The kind of a number from the manifest, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        KINDS.iter().find(|(_, c, _)| *c == code).map(|&(kind, ..)| kind)
    }

    /// The name as people and JSON read it.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("unknown", |&(.., name)| name)
    }

    /// Whether entries of this kind have a content that a digest names: files their bytes,
    /// symlinks their target.
    pub fn has_content(self) -> bool {
        matches!(self, Kind::File | Kind::Symlink)
    }
}

/// The figures that say "unchanged" when they all equal the manifest's. The device number is not
/// among them: it changes over reboots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// File, folder, link, ...
    pub kind: Kind,
    /// Permission bits incl. setuid, setgid and sticky (0o7777).
    pub mode: u32,
    /// Bytes of a file, length of a link's target, otherwise 0.
    pub size: u64,
    /// Last change of the content; anyone may set it.
    pub mtime: Timestamp,
    /// Last change of content or metadata; only the kernel sets it.
    pub ctime: Timestamp,
    /// Inode number; 0 where the file system makes them up, see [`Stat::without_inode`].
    pub inode: u64,
}

/// In the place of an inode number that says nothing; no file has it.
const NO_INODE: u64 = 0;

impl Fingerprint {
    /// Returns true if both have the same inode number, as far as both have one that says something.
    pub fn has_inode_of(&self, other: &Self) -> bool {
        self.inode == other.inode || self.inode == NO_INODE || other.inode == NO_INODE
    }

    /// Returns true if all figures of both are the same, as far as inode numbers say something.
    pub fn is_as(&self, other: &Self) -> bool {
        self.has_inode_of(other) && Self { inode: other.inode, ..*self } == *other
    }
}

/// All that one lstat tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What the manifest compares.
    pub fingerprint: Fingerprint,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Names this inode has.
    pub links: u64,
    /// The filesystem it lies on.
    pub device: u64,
    /// Which device a device node stands for, otherwise 0.
    pub rdev: u64,
    /// Bytes that it takes up on the disk: fewer than its size where a file has holes.
    pub allocated: u64,
}

impl Stat {
    /// Shorthand for the fingerprint's kind.
    pub fn kind(&self) -> Kind {
        self.fingerprint.kind
    }

    /// The same without an inode number: where the file system makes them up, they say nothing.
    #[must_use]
    pub fn without_inode(self) -> Self {
        Self { fingerprint: Fingerprint { inode: NO_INODE, ..self.fingerprint }, ..self }
    }

    /// Whether both are the same object with the same content, as far as figures tell that do not
    /// move when another name of the inode comes or goes (ctime does).
    pub fn is_same_object(&self, other: &Stat) -> bool {
        let (a, b) = (&self.fingerprint, &other.fingerprint);
        a.kind == b.kind
            && a.has_inode_of(b)
            && self.device == other.device
            && (a.kind == Kind::Folder || (a.size == b.size && a.mtime == b.mtime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_number_and_comes_back_from_it() {
        for (kind, code, name) in KINDS {
            assert_eq!(kind.code(), code);
            assert_eq!(Kind::from_code(code), Some(kind));
            assert_eq!(kind.name(), name);
        }
        assert_eq!(Kind::from_code(7), None);
    }
}
