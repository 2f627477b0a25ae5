//! Operations that were held back, with what it takes to know them again.

use super::{EntryPath, Fingerprint, Kind, Timestamp};

/// One operation that was held back: a delete, or an overwrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOperation {
    /// The entry.
    pub path: EntryPath,
    /// What the replica has there would be overwritten, not deleted.
    pub overwrites: bool,
    /// What the replica had there.
    pub replica: Fingerprint,
}

/// Figures that say nothing on the replica's file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsteady {
    /// The ctime.
    pub ctime: bool,
    /// The inode number.
    pub inode: bool,
}

impl HeldOperation {
    /// Whether `now` is what was held: for a folder the same object, for anything else also
    /// unchanged. (What lies in a folder has deletes of its own.)
    pub fn fits(&self, now: &Fingerprint, unsteady: Unsteady) -> bool {
        let then = &self.replica;
        now.kind == then.kind
            && (unsteady.inode || now.inode == then.inode)
            && (now.kind == Kind::Folder
                || (now.size == then.size
                    && now.mtime == then.mtime
                    && (unsteady.ctime || now.ctime == then.ctime)))
    }
}

/// Held operations under the number of the run that held them first, as the manifest has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPlan {
    /// The number.
    pub run: i64,
    /// When somebody approved them.
    pub approved: Option<Timestamp>,
    /// The operations, in path order.
    pub operations: Vec<HeldOperation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_delete_knows_its_entry_by_every_figure_and_a_folder_by_its_inode() {
        let file = Fingerprint {
            kind: Kind::File,
            mode: 0o644,
            size: 3,
            mtime: Timestamp::new(5, 6),
            ctime: Timestamp::new(7, 8),
            inode: 9,
        };
        let later = Timestamp::new(70, 0);
        let any = Unsteady { ctime: true, inode: true };
        // (now, fits, fits where ctime and inode say nothing)
        let table = [
            (file, true, true),
            (Fingerprint { kind: Kind::Symlink, ..file }, false, false),
            (Fingerprint { size: 4, ..file }, false, false),
            (Fingerprint { mtime: later, ..file }, false, false),
            (Fingerprint { ctime: later, ..file }, false, true),
            (Fingerprint { inode: 10, ..file }, false, true),
        ];
        let held = |replica| HeldOperation { path: EntryPath::from("x"), overwrites: false, replica };
        for (now, fits, loosely) in table {
            assert_eq!(held(file).fits(&now, Unsteady::default()), fits, "{now:?}");
            assert_eq!(held(file).fits(&now, any), loosely, "{now:?}");
        }
        let folder = Fingerprint { kind: Kind::Folder, ..file };
        let emptied = Fingerprint { mtime: later, ctime: later, ..folder };
        assert!(held(folder).fits(&emptied, Unsteady::default()));
        assert!(!held(folder).fits(&Fingerprint { inode: 10, ..folder }, Unsteady::default()));
    }
}
