//! What a reading of a source file is worth that may have been written to meanwhile, and which copies are published.

use crate::model::Stat;
use serde::Deserialize;

/// Which copies are published of a file that was written to each time it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishMixed {
    /// None: the replica keeps what it has, or has no copy.
    Never,
    /// One that may mix older and newer parts, where the replica has nothing under that name.
    #[default]
    IfAbsent,
    /// One that may mix older and newer parts, also in the place of an older copy.
    Always,
}

impl PublishMixed {
    /// Returns true if a mixed copy may get its name, which the replica has something under if `taken`.
    pub fn allows(self, taken: bool) -> bool {
        match self {
            PublishMixed::Never => false,
            PublishMixed::IfAbsent => !taken,
            PublishMixed::Always => true,
        }
    }
}

/// How the bytes of a copy relate to what the source file held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// The file did not change while it was read.
    Exact,
    /// The file held exactly this at one moment, and has changed since it was opened.
    Snapshot,
    /// Parts may be of different moments.
    Mixed,
}

/// What the figures say of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is complete and of one moment.
    Exact,
    /// All that was there when the file was opened was read, and the file changed meanwhile: it is of one moment if
    /// a second reading shows the same bytes.
    Unproven,
    /// The file became shorter while it was read.
    Short,
    /// The file did not change, and holds more or fewer bytes than its size says.
    WrongSize,
}

/// Returns true if a file's figures before and after it was read show no change.
pub fn is_unchanged(before: &Stat, after: &Stat) -> bool {
    before.fingerprint.size == after.fingerprint.size
        && before.fingerprint.mtime == after.fingerprint.mtime
        && before.fingerprint.ctime == after.fingerprint.ctime
}

/// Judges a reading by the figures from before and after it. `read` is the number of bytes that were there: more than
/// the size from before where the file went on.
pub fn judge(before: &Stat, after: &Stat, read: u64) -> Verdict {
    let size = before.fingerprint.size;
    match (is_unchanged(before, after), read >= size) {
        (true, _) if read == size => Verdict::Exact,
        (true, _) => Verdict::WrongSize,
        (false, true) if after.fingerprint.size >= size => Verdict::Unproven,
        (false, _) => Verdict::Short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fingerprint, Kind, Timestamp};

    fn stat(size: u64, changed: i64) -> Stat {
        let moment = Timestamp::new(changed, 0);
        let fingerprint =
            Fingerprint { kind: Kind::File, mode: 0o644, size, mtime: moment, ctime: moment, inode: 7 };
        Stat { fingerprint, uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: size }
    }

    #[test]
    fn a_reading_is_judged_by_the_figures_before_and_after_it_and_by_what_was_there() {
        let before = stat(10, 1);
        for (after, read, verdict) in [
            (stat(10, 1), 10, Verdict::Exact),
            (stat(10, 1), 11, Verdict::WrongSize),
            (stat(10, 1), 9, Verdict::WrongSize),
            (stat(10, 2), 10, Verdict::Unproven),
            (stat(12, 2), 10, Verdict::Unproven),
            (stat(12, 2), 11, Verdict::Unproven),
            // Only the size shows it where a write falls into one tick with the one before.
            (stat(12, 1), 11, Verdict::Unproven),
            (stat(12, 2), 9, Verdict::Short),
            (stat(9, 2), 10, Verdict::Short),
            (stat(9, 2), 9, Verdict::Short),
        ] {
            assert_eq!(judge(&before, &after, read), verdict, "{after:?} {read}");
        }
    }

    #[test]
    fn a_mixed_copy_never_takes_the_place_of_another_unless_that_is_asked_for() {
        for (policy, absent, taken) in [
            (PublishMixed::Never, false, false),
            (PublishMixed::IfAbsent, true, false),
            (PublishMixed::Always, true, true),
        ] {
            assert_eq!((policy.allows(false), policy.allows(true)), (absent, taken), "{policy:?}");
        }
    }
}
