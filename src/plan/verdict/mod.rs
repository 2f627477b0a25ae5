//! What `rebuild-index` says of one path: sound, drift, or damage, and on which side.
//!
//! Three witnesses are heard: both contents as they were read now, and the manifest, which knows
//! what both held when they were last in step. Metadata that moved since means that somebody
//! changed something (drift, which the next run brings into step); bytes that moved under metadata
//! that did not are damage. A source whose ctime moved has changed, never rotted.

mod fresh;
#[cfg(test)]
mod tests;

use super::decide::{MOUNTED, Rules, unchanged};
use super::is_litter;
use super::join::Joined;
use crate::model::{
    Damage, Digest, Drift, Finding, Fingerprint, Problem, Record, Seen, Side, Stat, Timestamp, Verdict,
};

/// What reading one side's content showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nobody read it: it has none, there is nothing to compare it with, or this side was not asked for.
    Unread,
    /// It was read to its end and stood still meanwhile.
    Read {
        /// The figures of the handle that was read.
        stat: Stat,
        /// Its MD5.
        digest: Digest,
        /// When reading began.
        began: Timestamp,
    },
    /// It went away after the walk saw it.
    Vanished,
    /// It could not be read.
    Failed(Problem),
    /// The disk could not give it back.
    Broken(Problem),
}

/// What reading both sides showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The source's.
    pub source: Content,
    /// The replica's.
    pub replica: Content,
    /// Both were read and hold the same bytes, which equal digests alone would not prove.
    pub same: bool,
}

impl Contents {
    /// Neither side was read.
    pub const UNREAD: Contents = Contents { source: Content::Unread, replica: Content::Unread, same: false };
}

/// Which contents are read again. A side that is not is taken to hold what the manifest says,
/// where its metadata did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Both.
    Both,
    /// Only the source's.
    Source,
    /// Only the replica's.
    Replica,
}

impl Sides {
    /// Whether contents of `side` are read.
    pub fn include(self, side: Side) -> bool {
        match self {
            Sides::Both => true,
            Sides::Source => side == Side::Source,
            Sides::Replica => side == Side::Replica,
        }
    }
}

/// Which of the two contents must be read, source and replica: those of files and links that there
/// is something to compare with.
pub fn wanted(joined: &Joined, sides: Sides) -> (bool, bool) {
    let source = present(joined.source.as_ref()).map(Stat::kind).filter(|kind| kind.has_content());
    let replica = present(joined.replica.as_ref()).map(Stat::kind).filter(|kind| kind.has_content());
    let comparable = joined.row.as_ref().is_some_and(|row| row.digest.is_some())
        || (sides == Sides::Both && source == replica);
    (
        comparable && source.is_some() && sides.include(Side::Source),
        comparable && replica.is_some() && sides.include(Side::Replica),
    )
}

/// One path with all that was learned of it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What the walks saw and the manifest says.
    pub joined: &'a Joined,
    /// What was read.
    pub contents: &'a Contents,
    /// What holds for the whole run.
    pub rules: &'a Rules,
    /// The manifest knew nothing at all: what agrees on both sides is sound then.
    pub anew: bool,
}

impl<'a> Case<'a> {
    /// The verdict; total, and the same for the same case.
    pub fn verdict(&self) -> Verdict {
        let unseen = |seen: &Option<Seen>| seen.is_some() && present(seen.as_ref()).is_none();
        if unseen(&self.joined.source)
            || unseen(&self.joined.replica)
            || matches!(self.joined.replica, Some(Seen::Foreign(_)))
        {
            return Verdict::Unreadable;
        }
        // Damage goes before a side that could not be read: both are told, and it is the graver.
        if let Some(damage) = self.damage() {
            return Verdict::Damaged(damage);
        }
        let contents = [&self.contents.source, &self.contents.replica];
        if contents.into_iter().any(|content| matches!(content, Content::Failed(_) | Content::Broken(_))) {
            return Verdict::Unreadable;
        }
        match (self.source(), self.replica()) {
            (None, None) if self.row().is_some() => Verdict::Drift(Drift::GoneOnBothSides),
            // It came and went within this run.
            (None, None) => Verdict::Sound,
            (Some(_), None) => Verdict::Drift(Drift::MissingInReplica),
            (None, Some(_)) if is_litter(&self.joined.path) => Verdict::Drift(Drift::Leftover),
            (None, Some(_)) => Verdict::Drift(Drift::ExtraInReplica),
            (Some(source), Some(replica)) => self.both_there(source, replica),
        }
    }

    /// What could not be looked at or read.
    pub fn problems(&self) -> Vec<Problem> {
        let of = |side, seen: Option<&Seen>, content: &Content| {
            let (action, cause) = match (seen, content) {
                (Some(Seen::Unreadable(cause)), _) => ("look at", cause.as_str()),
                (Some(Seen::Unlisted(_, cause)), _) => ("list", cause.as_str()),
                (Some(Seen::Foreign(_)), _) if side == Side::Replica => ("mirror into", MOUNTED),
                (_, Content::Failed(problem) | Content::Broken(problem)) => return Some(problem.clone()),
                _ => return None,
            };
            Some(Problem { path: self.joined.path.clone(), side, action, cause: cause.to_owned() })
        };
        let source = of(Side::Source, self.joined.source.as_ref(), &self.contents.source);
        let replica = of(Side::Replica, self.joined.replica.as_ref(), &self.contents.replica);
        source.into_iter().chain(replica).collect()
    }

    /// The side whose content the disk could not give back, and how it said so.
    pub fn broken(&self) -> Option<(&'static str, &'a Problem)> {
        match (&self.contents.source, &self.contents.replica) {
            (Content::Broken(problem), Content::Broken(_)) => Some(("both", problem)),
            (Content::Broken(problem), _) => Some(("source", problem)),
            (_, Content::Broken(problem)) => Some(("replica", problem)),
            _ => None,
        }
    }

    /// What is to be told of this path, if it is not sound.
    pub fn finding(&self, verdict: Verdict) -> Option<Finding> {
        let detail = match verdict {
            Verdict::Sound | Verdict::Unreadable => return None,
            Verdict::Drift(_) => None,
            Verdict::Damaged(damage) => Some(self.explain(damage)),
        };
        Some(Finding { path: self.joined.path.clone(), verdict, detail })
    }

    /// Content that differs though its metadata does not, or that is neither the manifest's nor
    /// the source's.
    fn damage(&self) -> Option<Damage> {
        let (ours, theirs) = (self.source_digest(), self.replica_digest());
        let Some(known) = self.known_digest() else { return self.damage_without_digest() };
        let source = ours.is_some_and(|ours| ours != known) && self.source_stood();
        let replica = theirs.is_some_and(|theirs| {
            // Equal MD5s of different bytes are a collision, and nobody makes one by accident.
            let collision = self.both_read() && ours == Some(theirs) && !self.contents.same;
            let not_the_sources = ours != Some(theirs) || collision;
            let not_known = theirs != known || collision;
            not_known
                && if self.replica_stood() {
                    // The bytes of a rotten source here as well: the two lie in one place on the disk.
                    not_the_sources || source
                } else {
                    // Somebody touched it. Without the source's bytes that may well be a change for good.
                    not_the_sources && self.source_is_certain()
                }
        });
        Damage::of(source, replica)
    }

    /// Without an MD5 from the manifest only one thing looks like damage: files of one size and
    /// time whose bytes differ. Which of them is right nobody can say.
    fn damage_without_digest(&self) -> Option<Damage> {
        let (Some(source), Some(replica)) = (self.source(), self.replica()) else { return None };
        let (source, replica) = (&source.fingerprint, &replica.fingerprint);
        let alike = source.size == replica.size && source.mtime == replica.mtime;
        let has_changed = self.row().is_some_and(|row| !unchanged(source, &row.source, self.rules));
        (self.both_read() && !self.contents.same && alike && !has_changed).then_some(Damage::Either)
    }

    fn both_there(&self, source: &Stat, replica: &Stat) -> Verdict {
        if source.kind() != replica.kind() {
            return Verdict::Drift(Drift::KindDiffers);
        }
        let (ours, theirs) = (self.source_digest(), self.replica_digest());
        let has_content = source.kind().has_content();
        let has_changed =
            has_content && self.known_digest().is_some_and(|known| ours.is_some_and(|ours| ours != known));
        if has_changed {
            return Verdict::Drift(Drift::SourceChanged);
        }
        let Some(row) = self.row() else {
            return self.without_row(source, replica);
        };
        let source_moved = !unchanged(&source.fingerprint, &row.source, self.rules);
        let replica_moved = !unchanged(&replica.fingerprint, &row.replica, self.rules);
        match (source_moved, replica_moved) {
            // The row had no MD5 yet, and the bytes differ under other sizes or times.
            _ if self.both_read() && !self.contents.same && self.known_digest().is_none() => {
                Verdict::Drift(if source_moved { Drift::SourceChanged } else { Drift::ContentDiffers })
            }
            (true, _) if has_content && ours.is_none() => Verdict::Drift(Drift::SourceChanged),
            (true, true) if !has_content || theirs.is_some() => Verdict::Drift(Drift::BothTouched),
            (true, _) => Verdict::Drift(Drift::SourceTouched),
            (false, true) => Verdict::Drift(Drift::ReplicaTouched),
            (false, false) => Verdict::Sound,
        }
    }

    fn without_row(&self, source: &Stat, replica: &Stat) -> Verdict {
        if self.both_read() && !self.contents.same {
            Verdict::Drift(Drift::ContentDiffers)
        } else if !self.metadata_met(source, replica) {
            Verdict::Drift(Drift::MetadataDiffers)
        } else if self.anew && (self.contents.same || !source.kind().has_content()) {
            Verdict::Sound
        } else {
            Verdict::Drift(Drift::NotInManifest)
        }
    }

    /// Whether the replica has all the metadata that it should have.
    fn metadata_met(&self, source: &Stat, replica: &Stat) -> bool {
        self.rules.rights.desired(source).met(replica) && source.rdev == replica.rdev
    }

    fn explain(&self, damage: Damage) -> String {
        let md5 = |digest: Option<Digest>| digest.map_or("not known".to_owned(), |d| format!("MD5 {d}"));
        let known = md5(self.known_digest());
        let (ours, theirs) = (md5(self.source_digest()), md5(self.replica_digest()));
        let still = "though its size, times and inode did not change";
        match damage {
            Damage::Source => {
                let good = self.replica_digest().is_some() && self.replica_digest() == self.known_digest();
                let other = if good { "; the replica's are" } else { "" };
                format!(
                    "the source's bytes ({ours}) are not those the manifest knows ({known}), {still}{other}"
                )
            }
            Damage::Replica if self.replica_stood() => {
                format!("the replica's bytes ({theirs}) are not those the manifest knows ({known}), {still}")
            }
            Damage::Replica => format!(
                "the replica's bytes ({theirs}) are neither those the manifest knows ({known}) nor the source's"
            ),
            Damage::Both if self.contents.same => format!(
                "the bytes of both sides are the same ({ours}), but not those the manifest knows ({known}), \
                 {still}; they are taken for right from now on"
            ),
            Damage::Both => format!(
                "the bytes of neither source ({ours}) nor replica ({theirs}) are those the manifest knows ({known})"
            ),
            Damage::Either => format!(
                "source ({ours}) and replica ({theirs}) differ under the same size and time, and the manifest \
                 has no MD5 to tell which one is right"
            ),
        }
    }

    fn row(&self) -> Option<&'a Record> {
        self.joined.row.as_ref()
    }

    fn known_digest(&self) -> Option<Digest> {
        self.row().and_then(|row| row.digest)
    }

    /// The source's figures: of what was read, else of what the walk saw.
    fn source(&self) -> Option<&'a Stat> {
        latest(self.joined.source.as_ref(), &self.contents.source)
    }

    fn replica(&self) -> Option<&'a Stat> {
        latest(self.joined.replica.as_ref(), &self.contents.replica)
    }

    /// Whether the source's metadata proves that nobody changed it since the row was written.
    fn source_stood(&self) -> bool {
        let stood = |row: &Record, stat: &Stat| {
            !row.racy && stood(&stat.fingerprint, &row.source, self.rules.ignore_inode)
        };
        self.row().zip(self.source()).is_some_and(|(row, stat)| stood(row, stat))
    }

    /// The same of the replica, whose row bears the figures after our own rename: never racy.
    fn replica_stood(&self) -> bool {
        let stood =
            |row: &Record, stat: &Stat| stood(&stat.fingerprint, &row.replica, self.rules.ignore_inode);
        self.row().zip(self.replica()).is_some_and(|(row, stat)| stood(row, stat))
    }

    fn source_digest(&self) -> Option<Digest> {
        self.digest(&self.contents.source, self.source_stood())
    }

    /// Something of another kind in the file's place is a change for all to see: no digest.
    fn replica_digest(&self) -> Option<Digest> {
        let kind = self.replica().map(Stat::kind);
        let fits = self.row().is_none_or(|row| Some(row.replica.kind) == kind);
        self.digest(&self.contents.replica, self.replica_stood()).filter(|_| fits)
    }

    fn digest(&self, content: &Content, stood: bool) -> Option<Digest> {
        match content {
            Content::Read { digest, .. } => Some(*digest),
            Content::Unread if stood => self.known_digest(),
            Content::Unread | Content::Vanished | Content::Failed(_) | Content::Broken(_) => None,
        }
    }

    fn both_read(&self) -> bool {
        let read = |content: &Content| matches!(content, Content::Read { .. });
        read(&self.contents.source) && read(&self.contents.replica)
    }

    /// Whether it is known what the source holds: its bytes, or that it is gone.
    fn source_is_certain(&self) -> bool {
        self.source_digest().is_some() || self.source().is_none()
    }
}

fn present(seen: Option<&Seen>) -> Option<&Stat> {
    match seen {
        // A mount point is part of the tree; what lies on it may not be.
        Some(Seen::Present(stat) | Seen::Foreign(stat)) => Some(stat),
        _ => None,
    }
}

fn latest<'a>(seen: Option<&'a Seen>, content: &'a Content) -> Option<&'a Stat> {
    match content {
        Content::Read { stat, .. } => Some(stat),
        Content::Vanished => None,
        Content::Unread | Content::Failed(_) | Content::Broken(_) => present(seen),
    }
}

/// The figures under which content must not differ. Permissions are not among them (changing them
/// moves the ctime), and a job that ignores moved ctimes still knows one when it sees it.
fn stood(now: &Fingerprint, then: &Fingerprint, ignore_inode: bool) -> bool {
    now.kind == then.kind
        && now.size == then.size
        && now.mtime == then.mtime
        && now.ctime == then.ctime
        && (ignore_inode || now.inode == then.inode)
}
