//! What `rebuild-index` found out about one entry.

use super::{EntryPath, Side};
use std::fmt;

/// What is so at one path, when both contents were compared with what the manifest knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides are what the manifest says.
    Sound,
    /// Something changed together with its metadata: the next run brings both sides into step.
    Drift(Drift),
    /// Content changed where nothing says that anybody changed it.
    Damaged(Damage),
    /// Something could not be looked at; what is wrong is a [`Problem`](super::Problem).
    Unreadable,
}

/// How source, replica and manifest have moved apart without damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// The source has it, the replica does not.
    MissingInReplica,
    /// The replica has it, the source does not.
    ExtraInReplica,
    /// A temporary that an interrupted run left in the replica.
    Leftover,
    /// The manifest has it, neither side does.
    GoneOnBothSides,
    /// A file on one side, a link or special file on the other.
    KindDiffers,
    /// The source's bytes are no longer those the manifest knows, and its metadata says so.
    SourceChanged,
    /// The source's metadata moved, its bytes did not change.
    SourceTouched,
    /// The replica's metadata moved, its bytes are right.
    ReplicaTouched,
    /// The metadata of both moved, their bytes are the same.
    BothTouched,
    /// The same bytes, which the manifest does not know, under other permissions, owners or times.
    MetadataDiffers,
    /// Other bytes on each side under other sizes or times, and no MD5 in the manifest.
    ContentDiffers,
    /// Both sides agree, and the manifest does not know it yet.
    NotInManifest,
}

/// Which content is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The source's.
    Source,
    /// The replica's.
    Replica,
    /// Both.
    Both,
    /// The two differ, and the manifest has no MD5 to tell which one is right.
    Either,
}

impl Drift {
    /// What happened, as people and JSON read it.
    pub fn name(self) -> &'static str {
        match self {
            Drift::MissingInReplica => "missing in the replica",
            Drift::ExtraInReplica => "extra in the replica",
            Drift::Leftover => "left in the replica by an interrupted run",
            Drift::GoneOnBothSides => "gone on both sides",
            Drift::KindDiffers => "of another kind in the replica",
            Drift::SourceChanged => "source changed",
            Drift::SourceTouched => "source touched",
            Drift::ReplicaTouched => "replica touched",
            Drift::BothTouched => "both sides touched",
            Drift::MetadataDiffers => "metadata differs",
            Drift::ContentDiffers => "content differs",
            Drift::NotInManifest => "not in the manifest yet",
        }
    }

    /// The side on which it shows, as JSON has it; `None` where that cannot be said.
    pub fn side(self) -> Option<&'static str> {
        match self {
            Drift::SourceChanged | Drift::SourceTouched => Some("source"),
            Drift::MissingInReplica | Drift::ExtraInReplica | Drift::Leftover | Drift::ReplicaTouched => {
                Some("replica")
            }
            Drift::GoneOnBothSides | Drift::BothTouched => Some("both"),
            Drift::KindDiffers | Drift::MetadataDiffers | Drift::ContentDiffers | Drift::NotInManifest => {
                None
            }
        }
    }
}

impl Damage {
    /// Damage as it was found on each side; `None` where there is none.
    pub fn of(source: bool, replica: bool) -> Option<Self> {
        match (source, replica) {
            (true, true) => Some(Damage::Both),
            (true, false) => Some(Damage::Source),
            (false, true) => Some(Damage::Replica),
            (false, false) => None,
        }
    }

    /// The side it is on, as JSON has it.
    pub fn side(self) -> &'static str {
        match self {
            Damage::Source => "source",
            Damage::Replica => "replica",
            Damage::Both => "both",
            Damage::Either => "unknown",
        }
    }

    /// Whether the content of `side` is known to be wrong.
    pub fn is_on(self, side: Side) -> bool {
        match self {
            Damage::Both => true,
            Damage::Source => side == Side::Source,
            Damage::Replica => side == Side::Replica,
            Damage::Either => false,
        }
    }
}

/// An entry that is not sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entry.
    pub path: EntryPath,
    /// Drift or damage, and of which sort.
    pub verdict: Verdict,
    /// How that shows: MD5s and figures for damage; drift explains itself.
    pub detail: Option<String>,
}

impl Finding {
    /// Whether this is damage.
    pub fn is_damage(&self) -> bool {
        matches!(self.verdict, Verdict::Damaged(_))
    }
}

/// As people read it: `damaged (replica)  docs/a.txt: its bytes ...`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Sound => write!(f, "sound  {}", self.path)?,
            Verdict::Drift(drift) => write!(f, "drift ({})  {}", drift.name(), self.path)?,
            Verdict::Damaged(Damage::Both) => write!(f, "damaged (both sides)  {}", self.path)?,
            Verdict::Damaged(Damage::Either) => write!(f, "damaged (one side)  {}", self.path)?,
            Verdict::Damaged(damage) => write!(f, "damaged ({})  {}", damage.side(), self.path)?,
            Verdict::Unreadable => write!(f, "unreadable  {}", self.path)?,
        }
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}
