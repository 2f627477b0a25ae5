//! Where trees live. [`Store`] is the seam for replicas that are no local folders; [`local`] is
//! the local one, and the only module that changes anything on a file system the user cares for.

mod ahead;
mod attributes;
mod cache_tag;
mod capabilities;
mod children;
mod folder;
mod handle;
mod list;
pub mod local;
mod memory;
mod metadata;
mod names;
mod opened;
mod probe;
mod relocate;
mod runs;
mod scanner;
mod sequence;
mod spared;
mod stage;
mod stat;
mod task;
mod terms;
mod trust;
pub mod walk;

use crate::model::{Attributes, EntryPath, Loss, Scope, Seen, Stat};
use crate::plan::desired::Desired;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

pub use capabilities::Probed;
pub use handle::Mounts;
pub(crate) use handle::open_beneath;
pub use stage::TemporaryName;
pub use trust::Trust;

/// A step in a store that failed: what was being done, and the system's reason.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {error}")]
pub struct Fault {
    /// A verb phrase: "open", "rename into place".
    pub action: &'static str,
    /// The system's reason.
    pub error: io::Error,
}

impl Fault {
    /// Whether the disk could not give back what it holds, which is damage and no lack of rights.
    pub fn is_broken_content(&self) -> bool {
        let broken = [Errno::IO, Errno::UCLEAN, Errno::BADMSG].map(Errno::raw_os_error);
        self.error.raw_os_error().is_some_and(|code| broken.contains(&code))
    }

    /// Whether it failed for a reason that the next write would meet as well: no space, no quota, no
    /// inodes, or a file system that became read-only.
    pub fn is_lack_of_room(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(self.error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
    }

    /// Whether the disk or the server went away, or takes no writes for a while: what was written may be there again later.
    pub fn is_lost_disk(&self) -> bool {
        const LOST: [Errno; 12] = [
            Errno::IO,
            Errno::NODEV,
            Errno::NXIO,
            Errno::ROFS,
            Errno::NOTCONN,
            Errno::STALE,
            Errno::TIMEDOUT,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::CONNABORTED,
            Errno::CONNRESET,
            Errno::SHUTDOWN,
        ];
        self.error.raw_os_error().is_some_and(|code| LOST.contains(&Errno::from_raw_os_error(code)))
    }

    /// Returns true if the file system, or this user's rights, do not allow what was asked: no right, an id that this
    /// user namespace does not map, nothing that the file system knows.
    pub fn is_refusal(&self) -> bool {
        const REFUSALS: [Errno; 5] = [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::NOTSUP, Errno::NOSYS];
        let code = self.error.raw_os_error();
        code.is_some_and(|code| REFUSALS.contains(&Errno::from_raw_os_error(code)))
    }

    /// Whether no further name can be had here for an inode: too many, another file system, or one
    /// without hard links.
    pub fn is_refusal_to_link(&self) -> bool {
        // Some mounts (rclone) answer EIO to all that they do not know.
        const REFUSALS: [Errno; 6] =
            [Errno::MLINK, Errno::XDEV, Errno::PERM, Errno::NOTSUP, Errno::NOSYS, Errno::IO];
        self.action == LINK
            && self
                .error
                .raw_os_error()
                .is_some_and(|code| REFUSALS.contains(&Errno::from_raw_os_error(code)))
    }

    /// Whether a new name would be on another file system.
    pub fn is_crossing(&self) -> bool {
        self.action == MOVE && self.error.raw_os_error() == Some(Errno::XDEV.raw_os_error())
    }

    /// Whether what was to be worked on is not there (any more).
    pub fn is_absence(&self) -> bool {
        // Only a look-up by name can find nothing; later steps have the object in hand.
        const LOOK_UPS: [&str; 5] = ["open", "open the folder of", "look at", "read the link", "delete"];
        LOOK_UPS.contains(&self.action)
            && matches!(self.error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }
}

/// The action of a fault in publishing after which the final name has what it had.
pub const RENAME: &str = "rename into place";

/// The action of a fault in giving an entry another name.
pub const MOVE: &str = "rename";

/// The action of a fault in making a hard link.
const LINK: &str = "make a hard link for";

/// Names the step that an I/O result belongs to.
pub(crate) trait During<T> {
    /// `self`, its error marked with `action`.
    fn during(self, action: &'static str) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, action: &'static str) -> Result<T, Fault> {
        self.map_err(|error| Fault { action, error: error.into() })
    }
}

/// What must be at a name when a staged entry is published under it.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Nothing.
    Absent,
    /// This, which is replaced.
    Replace(&'a Stat),
    /// Something of the other kind (folder or not), which ends up under the temporary's name.
    Exchange,
}

/// What is staged besides regular files.
#[derive(Clone, Copy, Debug)]
pub enum Staging<'a> {
    /// A folder that only its owner may enter.
    Folder,
    /// A symbolic link to this text.
    Symlink(&'a [u8]),
    /// A FIFO, socket or device node like this one.
    Special(&'a Stat),
}

/// A metadata change that went through, and what of it was refused. Where the owner is lost, set-id bits and
/// capabilities were left out for that reason.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What was refused, and why.
    pub losses: Vec<Loss>,
    /// The source's entry has marks of an overlay's layer, which are not copied.
    pub marks_left: bool,
}

/// A place that holds a tree.
pub trait Store: Sync {
    /// One of its folders.
    type Folder: Folder;
    /// Opens the folder at `path` (the root for the empty path).
    fn folder(&self, path: &EntryPath) -> Result<Self::Folder, Fault>;
    /// Writes that are to be made durable together.
    type Writes: Writes;
    /// Begins such writes, before the first of them.
    fn begin_writes(&self) -> Result<Self::Writes, Fault>;
}

/// What was written to a store since it was begun.
pub trait Writes {
    /// Returns when all of it survives a power cut. An error is final for what was written, whoever
    /// else may have been told of it: a second call would lie.
    fn make_durable(self) -> Result<(), Fault>;
}

/// An open folder; `name` is always one component, never `.` or `..`, and never followed.
pub trait Folder {
    /// The figures of the folder itself.
    fn own_stat(&self) -> Result<Stat, Fault>;
    /// The attributes of the folder itself.
    fn own_attributes(&self, scope: Scope) -> Result<Attributes, Fault>;
    /// Sets the folder's own metadata.
    fn set_own(&self, desired: &Desired, attributes: &Attributes) -> Result<Applied, Fault>;
    /// The figures of an entry, `None` where there is none.
    fn stat(&self, name: &[u8]) -> Result<Option<Stat>, Fault>;
    /// The figures of an entry as its file system has them, `None` where there is none. What the kernel remembers of an
    /// entry may be wrong on FUSE: gocryptfs answers a link(2) with the size that the file has when encrypted.
    fn stat_anew(&self, name: &[u8]) -> Result<Option<Stat>, Fault>;
    /// The figures and the attributes of one object that is no symbolic link; it is not opened.
    fn attributes(&self, name: &[u8], scope: Scope) -> Result<(Stat, Attributes), Fault>;
    /// Opens a regular file for reading, with the figures of the open handle.
    fn open_file(&self, name: &[u8]) -> Result<(File, Stat), Fault>;
    /// Looks at what a walk only listed as a file, as the walk would have (`None`: it is gone); with `open`, opens
    /// it in the same go, as long as it is a file of this tree.
    fn look(&self, name: &[u8], open: bool) -> (Option<Seen>, Option<File>);
    /// The text of a symbolic link.
    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, Fault>;
    /// Makes a new empty file, which only its owner may read, under a temporary name.
    fn stage_file(&self, temporary: &TemporaryName) -> Result<File, Fault>;
    /// Returns true if the folder lies on a file system that clones a file as it is at one moment, whoever writes to it.
    fn clones_whole_files(&self) -> bool;
    /// Makes a file without a name, which is gone when it is closed: the folder's own figures do not change. `None`: it
    /// cannot be made here.
    fn unnamed_file(&self) -> Option<File>;
    /// Opens a regular file that an earlier run staged, for reading and writing, with the figures of the handle.
    fn reopen_staged(&self, temporary: &TemporaryName) -> Result<(File, Stat), Fault>;
    /// Opens a regular file to write over parts of it, if it has this inode and no other name, with its figures.
    fn open_to_patch(&self, name: &[u8], inode: u64) -> Result<(File, Stat), Fault>;
    /// Bytes that this user may still write to the folder's file system.
    fn free_bytes(&self) -> Result<u64, Fault>;
    /// Sets the metadata of a file being staged.
    fn finish_file(&self, file: &File, desired: &Desired, attributes: &Attributes) -> Result<Applied, Fault>;
    /// Makes anything but a regular file under a temporary name.
    fn stage_other(&self, temporary: &TemporaryName, what: Staging<'_>) -> Result<(), Fault>;
    /// Makes a temporary name for what `of` has as `name`, which is not followed.
    fn stage_link(&self, temporary: &TemporaryName, of: &Self, name: &[u8]) -> Result<(), Fault>;
    /// Gives a staged entry its final name, atomically, if `target` is what is there.
    fn publish(&self, temporary: &TemporaryName, name: &[u8], target: Target<'_>) -> Result<(), Fault>;
    /// Removes a temporary that is not to be published.
    fn discard(&self, temporary: &TemporaryName) -> Result<(), Fault>;
    /// Sets the metadata of an entry, if it still is `expected`, and returns what is so then.
    fn set_metadata(
        &self,
        name: &[u8],
        expected: &Stat,
        desired: &Desired,
        attributes: &Attributes,
    ) -> Result<(Stat, Applied), Fault>;
    /// Gives the entry `name`, if it still is `expected`, the name `to` in `into`, where `target` is what is
    /// there and is replaced. Returns its figures then.
    fn relocate(
        &self,
        name: &[u8],
        expected: &Stat,
        into: &Self,
        to: &[u8],
        target: Option<&Stat>,
    ) -> Result<Stat, Fault>;
    /// Gives the entry `name`, if it still is `expected`, the name `to` here, which the file system takes for the same
    /// one. Returns true if it takes no temporary name for that; `directly` says so where it is known.
    fn respell(&self, name: &[u8], expected: &Stat, to: &[u8], directly: Option<bool>)
    -> Result<bool, Fault>;
    /// Exchanges the names of two entries, here and in `other`, if they still are what is expected. Returns
    /// the figures of both, in the order of their names before.
    fn exchange_with(
        &self,
        one: (&[u8], &Stat),
        other: &Self,
        with: (&[u8], &Stat),
    ) -> Result<(Stat, Stat), Fault>;
    /// Removes an entry (a folder must be empty), if it still is `expected`. `false`: it was gone.
    fn remove(&self, name: &[u8], expected: &Stat) -> Result<bool, Fault>;
}

/// The figures of an open file.
pub fn stat_of(file: &File) -> io::Result<Stat> {
    Ok(stat::convert(&rustix::fs::fstat(file)?))
}

/// Sets the metadata, but for attributes, of a file that is open, for reading at least, and has the figures `now`;
/// returns what is so then.
pub fn mend_open(file: &File, now: &Stat, desired: &Desired) -> Result<(Stat, Applied), Fault> {
    let (object, none) = (attributes::Object::Open(file.as_fd()), Attributes::default());
    let applied = metadata::apply(object, Some(*now), desired, &none)?;
    Ok((stat_of(file).during("look at")?, applied))
}

/// Makes sure that writing to this part of a file will find room; its size stays.
pub fn allocate(file: &File, at: u64, bytes: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, at, bytes)?)
}

/// The attributes of an open file.
pub fn attributes_of(file: &File, scope: Scope) -> Result<Attributes, Fault> {
    attributes::read(attributes::Object::Open(file.as_fd()), scope)
}
