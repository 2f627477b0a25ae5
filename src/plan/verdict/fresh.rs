//! What goes into the fresh manifest after a verdict.

use super::{Case, Content};
use crate::model::record::is_racy;
use crate::model::{Damage, Digest, Drift, Record, Stat, Timestamp, Verdict};

impl Case<'_> {
    /// The row that the fresh manifest gets for this path; `None`: no row.
    ///
    /// A row makes the next run leave an entry alone while its figures are the row's. A doubted
    /// one (the old row, racy) makes it compare both sides, whatever the figures say, and bring the
    /// source's bytes over where they differ; it still knows the MD5, so that another rebuild before
    /// that comes to the same verdict. So:
    ///
    /// - in step (the same bytes on both sides, the metadata as it should be): a new row, whoever
    ///   touched what before. The next run is idle;
    /// - both alike, and not what the manifest knows: a new row. Two rotten copies do not agree;
    /// - source damaged, or nobody knows which side is: the old row. It keeps the next run from
    ///   bringing the damage over, and where the replica is missing or was touched, its MD5 makes
    ///   the copy fail instead;
    /// - replica damaged, and the source was read and is not: a doubted row. The next run restores it;
    /// - replica damaged, but the source was not read: the old row, for the source may be as bad.
    ///   The damage is told again until a rebuild has read both sides;
    /// - both read and different for a good reason: a doubted row, also for jobs that ignore a moved
    ///   ctime, whose next run would take the change for none otherwise;
    /// - all other drift: the old row. Its figures are not those of the disk, so the next run looks
    ///   for itself, and its MD5 still guards what it copies; deletes are counted by rows;
    /// - unreadable: the old row, because unreadable is not absent.
    pub fn row_for(&self, verdict: Verdict) -> Option<Record> {
        let old = || self.row().cloned();
        let doubted = || self.row().map(|row| Record { racy: true, ..row.clone() });
        match verdict {
            Verdict::Drift(Drift::GoneOnBothSides) => None,
            Verdict::Drift(_) if self.both_read() && !self.contents.same => doubted(),
            Verdict::Sound | Verdict::Drift(_) => self.fresh().or_else(old),
            verdict if self.is_alike(verdict) => self.fresh().or_else(old),
            verdict if self.is_mendable(verdict) => doubted(),
            Verdict::Damaged(_) | Verdict::Unreadable => old(),
        }
    }

    /// Whether the replica is damaged, or its disk gives it back no more, and the source was read and is not: the next run
    /// restores it.
    pub fn is_mendable(&self, verdict: Verdict) -> bool {
        let Content::Read { digest, .. } = &self.contents.source else { return false };
        let lost = || {
            matches!(self.contents.replica, Content::Broken(_))
                && self.known_digest().is_none_or(|known| known == *digest)
        };
        verdict == Verdict::Damaged(Damage::Replica) || (verdict == Verdict::Unreadable && lost())
    }

    /// Whether both sides hold the same that the manifest does not know: a change that hid its tracks, and came over.
    pub fn is_alike(&self, verdict: Verdict) -> bool {
        verdict == Verdict::Damaged(Damage::Both) && self.both_read() && self.contents.same
    }

    /// A new row, where both sides are known to be in step.
    fn fresh(&self) -> Option<Record> {
        let (source, replica) = (self.source()?, self.replica()?);
        if source.kind() != replica.kind() {
            return None;
        }
        let settled = self.row().is_some_and(|row| {
            let unchanged = super::unchanged;
            unchanged(&source.fingerprint, &row.source, self.rules)
                && unchanged(&replica.fingerprint, &row.replica, self.rules)
        });
        // What an owner that could not be given away left behind is as settled as it can be.
        if !settled && !self.metadata_met(source, replica) {
            return None;
        }
        let content = if source.kind().has_content() { Some(self.common_content()?) } else { None };
        let began = content.map_or(self.rules.began, |(_, began)| began);
        Some(Record::new(self.joined.path.clone(), source, replica, content, self.racy(source, began)))
    }

    /// The digest of what both sides hold, and when it was read. On a side that was not asked for,
    /// unchanged metadata stands for the bytes.
    fn common_content(&self) -> Option<(Digest, Timestamp)> {
        let (ours, theirs) = (self.source_digest()?, self.replica_digest()?);
        let same = if self.both_read() { self.contents.same } else { ours == theirs };
        let began =
            [&self.contents.source, &self.contents.replica].into_iter().find_map(
                |content| match content {
                    Content::Read { began, .. } => Some(*began),
                    _ => None,
                },
            )?;
        same.then_some((ours, began))
    }

    /// A row that was settled at this very ctime stays so: it has been looked at twice by now.
    fn racy(&self, source: &Stat, began: Timestamp) -> bool {
        let ctime = source.fingerprint.ctime;
        let settled = self.row().is_some_and(|row| !row.racy && row.source.ctime == ctime);
        !settled && is_racy(ctime, began, self.rules.tick_nanos, self.row())
    }
}
