//! One row of the manifest: what was true of an entry on both sides when last seen in step.

use super::{Digest, EntryPath, Fingerprint, Stat, Timestamp};

/// What the manifest knows of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is under both roots.
    pub path: EntryPath,
    /// The source's figures when its content was read.
    pub source: Fingerprint,
    /// The replica's figures after our own last change to it. Its size is the source's.
    pub replica: Fingerprint,
    /// MD5 of a file's bytes or a link's target; `None` for what has no content.
    pub digest: Option<Digest>,
    /// When the digest was last computed from bytes that were read, or the contents were found to be what it says;
    /// the beginning of 1970: taken over by its metadata, and never read.
    pub hashed: Option<Timestamp>,
    /// The source may have changed again within the same clock tick: look again next time.
    pub racy: bool,
}

impl Record {
    /// A row from what was seen on both sides; `racy` as [`is_racy`] has it.
    pub fn new(
        path: EntryPath,
        source: &Stat,
        replica: &Stat,
        content: Option<(Digest, Timestamp)>,
        racy: bool,
    ) -> Self {
        Self {
            path,
            source: source.fingerprint,
            replica: replica.fingerprint,
            digest: content.map(|(digest, _)| digest),
            hashed: content.map(|(_, when)| when),
            racy,
        }
    }
}

impl Record {
    /// A row of a file that was taken over by its metadata: its content was never read.
    pub fn unverified(path: EntryPath, source: &Stat, replica: &Stat, racy: bool) -> Self {
        let hashed = Some(Timestamp::default());
        Self { hashed, ..Self::new(path, source, replica, None, racy) }
    }

    /// The same under another name.
    #[must_use]
    pub fn under(&self, path: &EntryPath) -> Self {
        Self { path: path.clone(), ..*self }
    }

    /// Whether it is such a row.
    pub fn is_unverified(&self) -> bool {
        self.digest.is_none() && self.hashed == Some(Timestamp::default())
    }
}

/// What is to be written into the manifest for one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This is now true.
    Put(Record),
    /// Its content was read again at this moment and is what the row says, which else stays as it is.
    Verified(EntryPath, Timestamp),
    /// Nothing is there any more, on either side.
    Forget(EntryPath),
}

impl Change {
    /// The row that is now true, if one is.
    pub fn row(&self) -> Option<&Record> {
        match self {
            Change::Put(row) => Some(row),
            Change::Verified(..) | Change::Forget(_) => None,
        }
    }
}

/// A whole-second stamp is taken for a file system with coarse time stamps.
const COARSE_GRANULARITY_NANOS: i64 = 2_000_000_000;

/// Whether a change made after reading began could bear the very same ctime.
///
/// `began` is the moment reading began, `tick_nanos` the granularity of the file system's stamps.
/// A stamp without a fraction is taken to come from a file system that keeps whole seconds (ext4
/// with 128-byte inodes, FAT) and gets two seconds. A ctime in the future is racy once: `before`
/// is the row's old state, and a racy row whose ctime did not move is settled by the second look.
pub fn is_racy(ctime: Timestamp, began: Timestamp, tick_nanos: i64, before: Option<&Record>) -> bool {
    let granularity = if ctime.nanos == 0 { COARSE_GRANULARITY_NANOS } else { tick_nanos };
    if ctime < began.minus_nanos(granularity) {
        return false;
    }
    let in_the_future = ctime > began;
    let looked_twice = before.is_some_and(|row| row.racy && row.source.ctime == ctime);
    !(in_the_future && looked_twice)
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn a_stamp_within_the_granularity_is_racy() {
        let began = Timestamp::new(100, 500_000_000);
        let tick = 4_000_000;
        let table = [
            (Timestamp::new(100, 495_000_000), false),
            (Timestamp::new(100, 496_000_000), true),
            (Timestamp::new(100, 499_000_000), true),
            (began, true),
            (Timestamp::new(100, 0), true),
            (Timestamp::new(98, 0), false),
            (Timestamp::new(99, 0), true),
            (Timestamp::new(200, 1), true),
        ];
        for (ctime, racy) in table {
            assert_eq!(is_racy(ctime, began, tick, None), racy, "{ctime}");
        }
    }

    #[test]
    fn a_ctime_in_the_future_is_racy_once() {
        let future = Timestamp::new(200, 1);
        let fingerprint =
            Fingerprint { kind: Kind::File, mode: 0o644, size: 1, mtime: future, ctime: future, inode: 1 };
        let row = Record {
            path: EntryPath::from("a"),
            source: fingerprint,
            replica: fingerprint,
            digest: None,
            hashed: None,
            racy: true,
        };
        let began = Timestamp::new(100, 1);
        assert!(is_racy(future, began, 1, None));
        assert!(!is_racy(future, began, 1, Some(&row)));
        assert!(is_racy(future, began, 1, Some(&Record { racy: false, ..row })));
    }
}
