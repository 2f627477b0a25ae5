//! When contents were last verified: how much is how old, and what of it is the oldest.

use crate::model::{Kind, Record};
use std::collections::BTreeMap;

/// A row with this moment (seconds since 1970) was taken over by its metadata, and its content never read.
pub const UNVERIFIED: i64 = 0;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// More moments than these are put together.
const MOMENTS: usize = 1 << 16;

/// Files, and bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Extent {
    fn add(&mut self, other: Extent) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// Files by the moment when they were verified. What has no content, and what is too hollow to be hashed, is
/// not counted.
#[derive(Clone, Debug)]
pub struct Ages {
    /// Seconds that are one moment here.
    width: i64,
    moments: BTreeMap<i64, Extent>,
    /// The moment at hand: rows that lie beside each other were mostly verified together.
    near: (i64, Extent),
}

/// What is due, so that the oldest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Verified before this (seconds since 1970): due.
    pub before: i64,
    /// Verified from then on, but before this: due until `rest` bytes are through.
    pub until: i64,
    /// See `until`.
    pub rest: u64,
    /// All that is due.
    pub bytes: u64,
}

impl Default for Ages {
    fn default() -> Self {
        Self { width: 1, moments: BTreeMap::new(), near: (i64::MIN, Extent::default()) }
    }
}

impl Ages {
    /// Counts a row.
    pub fn note(&mut self, row: &Record) {
        if let Some(moment) = moment_of(row) {
            self.note_at(moment, row.source.size);
        }
    }

    /// Counts a file of so many bytes that was verified at this moment, in seconds since 1970.
    pub fn note_at(&mut self, seconds: i64, bytes: u64) {
        self.note_all(seconds, Extent { files: 1, bytes });
    }

    /// Counts several.
    pub fn note_all(&mut self, seconds: i64, files: Extent) {
        let moment = seconds.div_euclid(self.width);
        if moment != self.near.0 {
            self.put_by();
            self.near = (moment, Extent::default());
        }
        self.near.1.add(files);
    }

    /// A file that was counted so is verified anew, or gone.
    pub fn forget_at(&mut self, seconds: i64, bytes: u64) {
        self.put_by();
        if let Some(extent) = self.moments.get_mut(&seconds.div_euclid(self.width)) {
            extent.files = extent.files.saturating_sub(1);
            extent.bytes = extent.bytes.saturating_sub(bytes);
        }
    }

    fn put_by(&mut self) {
        let (moment, extent) = std::mem::replace(&mut self.near, (i64::MIN, Extent::default()));
        if extent.files > 0 {
            self.moments.entry(moment).or_default().add(extent);
        }
        if self.moments.len() > MOMENTS {
            self.width *= 2;
            let mut wider = BTreeMap::<i64, Extent>::new();
            for (moment, extent) in std::mem::take(&mut self.moments) {
                wider.entry(moment.div_euclid(2)).or_default().add(extent);
            }
            self.moments = wider;
        }
    }

    /// All that was counted.
    pub fn all(&self) -> Extent {
        let mut all = self.near.1;
        self.moments.values().for_each(|&extent| all.add(extent));
        all
    }

    /// The oldest, up to `limit` bytes, of what was verified before `until` (seconds since 1970); `None`: nothing.
    pub fn due(&mut self, limit: Option<u64>, until: i64) -> Option<Due> {
        self.put_by();
        let mut bytes = 0_u64;
        let mut due = None;
        for (&moment, extent) in &self.moments {
            let (begins, ends) = (moment * self.width, (moment + 1) * self.width);
            if begins >= until {
                break;
            }
            let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(bytes));
            if left == 0 {
                break;
            }
            let ends = ends.min(until);
            if extent.bytes > left {
                return Some(Due { before: begins, until: ends, rest: left, bytes: bytes + left });
            }
            bytes += extent.bytes;
            due = Some(Due { before: ends, until: ends, rest: 0, bytes });
        }
        due
    }

    /// By the day (since 1970) of their verification; day 0 is what never was.
    pub fn days(&mut self) -> BTreeMap<i64, Extent> {
        self.put_by();
        let mut days = BTreeMap::<i64, Extent>::new();
        for (moment, &extent) in &self.moments {
            if extent.files > 0 {
                days.entry((moment * self.width).div_euclid(DAY)).or_default().add(extent);
            }
        }
        days
    }
}

/// The moment (seconds since 1970) at which the content of a row was verified, where it is of a file that can be.
pub fn moment_of(row: &Record) -> Option<i64> {
    row.hashed.filter(|_| row.source.kind == Kind::File).map(|hashed| hashed.seconds)
}

/// How much was verified when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coverage {
    /// All files that can be verified.
    pub all: Extent,
    /// Of them, those that were never read, but taken over by their metadata.
    pub unverified: Extent,
    /// Bytes verified within the last 7, 30 and 90 days.
    pub within: [u64; 3],
    /// The day (since 1970) of the oldest verification.
    pub oldest: Option<i64>,
}

/// The spans of [`Coverage::within`], in days.
pub const SPANS: [i64; 3] = [7, 30, 90];

impl Coverage {
    /// Of what [`Ages::days`] counted, as it is at `now` (seconds since 1970).
    pub fn of(days: &BTreeMap<i64, Extent>, now: i64) -> Self {
        let mut coverage = Coverage::default();
        let today = now.div_euclid(DAY);
        for (&day, &extent) in days {
            coverage.all.add(extent);
            if day == UNVERIFIED {
                coverage.unverified.add(extent);
                continue;
            }
            coverage.oldest = coverage.oldest.or(Some(day));
            for (bytes, span) in coverage.within.iter_mut().zip(SPANS) {
                if day > today - span {
                    *bytes += extent.bytes;
                }
            }
        }
        coverage
    }

    /// The share of all bytes that `bytes` are, from 0 to 1; of nothing all is verified.
    #[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
    pub fn share(&self, bytes: u64) -> f64 {
        if self.all.bytes == 0 { 1.0 } else { bytes as f64 / self.all.bytes as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, EntryPath, Fingerprint, Timestamp};
    use proptest::prelude::*;

    fn row(hashed: Option<i64>, size: u64) -> Record {
        let (mtime, ctime) = (Timestamp::default(), Timestamp::default());
        let print = Fingerprint { kind: Kind::File, mode: 0o644, size, mtime, ctime, inode: 1 };
        Record {
            path: EntryPath::from("f"),
            source: print,
            replica: print,
            digest: Some(Digest([0; 16])),
            hashed: hashed.map(|seconds| Timestamp::new(seconds, 0)),
            racy: false,
        }
    }

    proptest! {
        #[test]
        fn what_is_due_is_the_oldest_and_as_much_as_asked_for(
            rows in prop::collection::vec((0_i64..40, 0_u64..50), 0..60),
            limit in prop::option::of(1_u64..800),
            until in 0_i64..50,
        ) {
            let mut ages = Ages::default();
            for &(at, size) in &rows {
                ages.note(&row(Some(at), size));
            }
            let mut sorted: Vec<(i64, u64)> = rows.iter().copied().filter(|row| row.0 < until).collect();
            sorted.sort_unstable();
            let all: u64 = sorted.iter().map(|row| row.1).sum();
            match ages.due(limit, until) {
                None => prop_assert!(sorted.is_empty()),
                Some(due) => {
                    let whole: u64 = sorted.iter().filter(|row| row.0 < due.before).map(|row| row.1).sum();
                    prop_assert_eq!(due.bytes, whole + due.rest);
                    prop_assert!(due.bytes == all.min(limit.unwrap_or(u64::MAX)) && due.until <= until);
                    prop_assert!(due.before <= due.until);
                }
            }
        }
    }

    #[test]
    fn many_moments_are_put_together_and_nothing_is_lost() {
        let mut ages = Ages::default();
        for at in 0..200_000 {
            ages.note(&row(Some(1_000_000 + at * 3), 2));
        }
        ages.note(&row(None, 1 << 40));
        assert_eq!(ages.all(), Extent { files: 200_000, bytes: 400_000 });
        assert!(ages.moments.len() <= MOMENTS + 1);
        let due = ages.due(Some(100), i64::MAX).unwrap();
        assert_eq!(due.bytes, 100);
        assert_eq!(ages.days().values().map(|extent| extent.bytes).sum::<u64>(), 400_000);
    }

    #[test]
    fn coverage_tells_the_spans_the_oldest_and_what_was_never_read() {
        let now = 1000 * DAY + 5;
        let mut ages = Ages::default();
        for (days_ago, size) in [(0, 1), (6, 2), (7, 4), (29, 8), (89, 16), (90, 32)] {
            ages.note(&row(Some(now - days_ago * DAY), size));
        }
        ages.note(&row(Some(UNVERIFIED), 64));
        let coverage = Coverage::of(&ages.days(), now);
        assert_eq!(coverage.within, [3, 15, 31]);
        assert_eq!(coverage.oldest, Some(910));
        assert_eq!((coverage.all.bytes, coverage.unverified.bytes), (127, 64));
        assert!((Coverage::default().share(0) - 1.0).abs() < f64::EPSILON);
    }
}
