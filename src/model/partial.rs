//! A copy that was begun and not finished.

use super::{Digest, EntryPath, Fingerprint, Stat, Timestamp};

/// The first bytes of a file, and their MD5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Number of bytes.
    pub bytes: u64,
    /// Their MD5.
    pub digest: Digest,
}

/// What tells whether a temporary of an earlier run is still the file that was made then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedObject {
    /// Its inode.
    pub inode: u64,
    /// Its permissions: the least that this replica knows.
    pub mode: u32,
    /// Its owner: who made it.
    pub uid: u32,
}

impl StagedObject {
    /// That of an open file.
    pub fn of(stat: &Stat) -> Self {
        Self { inode: stat.fingerprint.inode, mode: stat.fingerprint.mode, uid: stat.uid }
    }
}

/// What the manifest remembers of a copy that was interrupted.
///
/// Neither mark is believed: the bytes in the replica are hashed before the copy goes on behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The entry that was being copied.
    pub path: EntryPath,
    /// The name, in the same folder of the replica, of what there is of the copy.
    pub temporary: Vec<u8>,
    /// What has this name.
    pub object: StagedObject,
    /// When reading began.
    pub began: Timestamp,
    /// The source's figures while it was read. (Its permissions do not count.)
    pub source: Fingerprint,
    /// What was on the disk for certain, if anything was made durable yet.
    pub durable: Option<Mark>,
    /// What was written: a kill leaves it, a power cut may not.
    pub written: Mark,
}

impl Partial {
    /// Returns true if the source still is what was read, by all figures that the kernel or the user set.
    pub fn is_of(&self, now: &Fingerprint) -> bool {
        let then = &self.source;
        now.kind == then.kind
            && now.size == then.size
            && now.mtime == then.mtime
            && now.ctime == then.ctime
            && now.inode == then.inode
    }

    /// Where the copy lies in the replica.
    pub fn lies_at(&self) -> EntryPath {
        self.path.parent().child(&self.temporary, false)
    }

    /// The marks, the least first.
    pub fn marks(&self) -> Vec<Mark> {
        let durable = self.durable.filter(|durable| durable.bytes < self.written.bytes);
        durable.into_iter().chain([self.written]).filter(|mark| mark.bytes > 0).collect()
    }
}

/// What the manifest remembers of a file that is being made another version in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedPatch {
    /// The file.
    pub path: EntryPath,
    /// The name, in the same folder, of the journal of what is to be written.
    pub temporary: Vec<u8>,
    /// All of the journal.
    pub journal: Mark,
    /// The file's inode.
    pub inode: u64,
    /// The size that it is to have.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn partial() -> Partial {
        let moment = |seconds| Timestamp::new(seconds, 0);
        Partial {
            path: EntryPath::from("a/film"),
            temporary: b".twinfold-1.tmp".to_vec(),
            object: StagedObject { inode: 7, mode: 0o600, uid: 0 },
            began: moment(9),
            source: Fingerprint {
                kind: Kind::File,
                mode: 0o644,
                size: 100,
                mtime: moment(1),
                ctime: moment(2),
                inode: 3,
            },
            durable: None,
            written: Mark { bytes: 50, digest: Digest([1; 16]) },
        }
    }

    #[test]
    fn every_figure_but_the_permissions_tells_that_the_source_is_another() {
        let partial = partial();
        let same = partial.source;
        let later = Timestamp::new(5, 0);
        assert!(partial.is_of(&same) && partial.is_of(&Fingerprint { mode: 0o600, ..same }));
        for other in [
            Fingerprint { size: 101, ..same },
            Fingerprint { mtime: later, ..same },
            Fingerprint { ctime: later, ..same },
            Fingerprint { inode: 4, ..same },
            Fingerprint { kind: Kind::Fifo, ..same },
        ] {
            assert!(!partial.is_of(&other), "{other:?}");
        }
        assert_eq!(partial.lies_at(), EntryPath::from("a/.twinfold-1.tmp"));
    }

    #[test]
    fn marks_come_in_the_order_in_which_bytes_are_read() {
        let mark = |bytes| Mark { bytes, digest: Digest([2; 16]) };
        let marks = |durable: Option<u64>, written| {
            let partial = Partial { durable: durable.map(mark), written: mark(written), ..partial() };
            partial.marks().into_iter().map(|mark| mark.bytes).collect::<Vec<_>>()
        };
        assert_eq!(marks(None, 50), [50]);
        assert_eq!(marks(Some(20), 50), [20, 50]);
        assert_eq!(marks(Some(50), 50), [50]);
        assert_eq!(marks(None, 0), Vec::<u64>::new());
    }
}
