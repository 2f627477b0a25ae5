//! One entry as a walk found it.

use super::{EntryPath, Kind, Stat};

/// What a walk could see of an entry. Unreadable is not absent: it shields all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its figures; for a folder, its listing follows in full.
    Present(Stat),
    /// A folder that is there but could not be listed, and why.
    Unlisted(Stat, String),
    /// A folder that went away between its parent's listing and its own, or what had this name when it was
    /// listed but is of the other kind (folder or not) by now: it may only have got another name, so that
    /// neither what has its name now nor what is below it may be taken for gone in this run.
    Vanished,
    /// Something is mounted here that is no part of this tree. Nobody looked at what lies on it, so
    /// that nothing below it may be taken for gone.
    Foreign(Stat),
    /// It is there and no part of the mirror: nobody looked at it, or below it.
    Excluded,
    /// A file, as its folder's listing says: the walk left it to whoever opens it to look at it. Nothing is planned
    /// or judged of it until then.
    Listed,
    /// A name that is there but whose figures could not be read, and why. Where its folder's listing does
    /// not say that it is a folder, that is not known, and its key carries no `/`.
    Unreadable(String),
}

impl Seen {
    /// Whether this is a FIFO, a socket or a device node.
    pub fn is_special(&self) -> bool {
        let Seen::Present(stat) = self else { return false };
        matches!(stat.kind(), Kind::Fifo | Kind::Socket | Kind::BlockDevice | Kind::CharDevice)
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        matches!(self, Seen::Present(stat) if stat.kind() == Kind::Symlink)
    }
}

/// One entry of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is under its root.
    pub path: EntryPath,
    /// What could be seen of it.
    pub seen: Seen,
}

impl Entry {
    /// Its figures, if they could be read.
    pub fn stat(&self) -> Option<&Stat> {
        match &self.seen {
            Seen::Present(stat) | Seen::Unlisted(stat, _) | Seen::Foreign(stat) => Some(stat),
            Seen::Vanished | Seen::Excluded | Seen::Listed | Seen::Unreadable(_) => None,
        }
    }
}
