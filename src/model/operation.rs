//! What a plan wants done to one entry of the replica, and what came of it.

use super::{Change, Digest, EntryPath, Loss, Problem, Record, Stat};
use std::time::Duration;

/// The kinds of operation, as the log, `--json` and the manifest name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Make a folder, a link or a special file.
    Create,
    /// Bring a file's bytes and metadata over.
    Copy,
    /// Give what the replica has already another name: a file, or a folder with all that it holds.
    Move,
    /// Make a name one more name of an inode that the replica has already.
    Link,
    /// Bring permissions, owner and times over; no content is written.
    Metadata,
    /// Remove what the source does not have.
    Delete,
}

impl Verb {
    /// All of them, in the order people read them.
    pub const ALL: [Verb; 6] =
        [Verb::Create, Verb::Copy, Verb::Move, Verb::Link, Verb::Metadata, Verb::Delete];

    /// The name in the log, in JSON and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Copy => "copy",
            Verb::Move => "move",
            Verb::Link => "link",
            Verb::Metadata => "metadata",
            Verb::Delete => "delete",
        }
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The entry.
    pub path: EntryPath,
    /// What to do.
    pub verb: Verb,
    /// What the source has there; `None` only for a delete.
    pub source: Option<Stat>,
    /// What the replica had there when this was planned: checked again before it is touched.
    pub replica: Option<Stat>,
    /// For a copy: the digest that the source's bytes must have, because its metadata says that
    /// they did not change. For a metadata operation on a file or link: the digest both sides
    /// were found to have, and when. For a link: likewise, where what has the name now is right but for
    /// being another inode.
    pub content: Option<(Digest, super::Timestamp)>,
    /// Attributes are to be brought over as well; false only for a metadata operation that finds them right.
    pub attributes: bool,
    /// For a delete, and for a copy onto a file: the row of what the replica has there, if there is one.
    /// Where the source's object has another name now, nothing is lost.
    pub origin: Option<Box<Record>>,
    /// For a link: another name of the inode. For a move: the name that the replica has it under.
    pub from: Option<EntryPath>,
    /// The same name is taken by the other kind of entry (a folder where a file is to come, or
    /// the reverse), which a delete of this plan removes.
    pub displaces: bool,
    /// Takes content away of which no row knows that it came from the source: an entry that the source does not have,
    /// one of another kind, or a newer one.
    pub loses: bool,
}

impl Operation {
    /// Bytes that this operation reads from the source.
    pub fn bytes(&self) -> u64 {
        match (self.verb, &self.source) {
            (Verb::Copy, Some(source)) => source.fingerprint.size,
            _ => 0,
        }
    }
}

/// What came of one operation: the manifest is fed from this and from nothing else.
#[derive(Clone, Debug)]
pub struct Done {
    /// The entry.
    pub path: EntryPath,
    /// What was to be done.
    pub verb: Verb,
    /// For a link or a move: the other name.
    pub from: Option<EntryPath>,
    /// How it ended.
    pub end: End,
    /// Bytes copied.
    pub bytes: u64,
    /// Digest of the content, where there is one.
    pub digest: Option<Digest>,
    /// How long it took: for small files, their share of their batch.
    pub took: Duration,
    /// What the entry is without now.
    pub losses: Vec<Loss>,
    /// Housekeeping that is recorded but is no operation to people: a folder's times put back,
    /// an old temporary removed.
    pub silent: bool,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub enum End {
    /// It is so now; the manifest is to say this (nothing, where the folder's own turn is still to come).
    Made(Option<Change>),
    /// The source went away meanwhile, or somebody else had done it already: nothing to do, no problem.
    Vanished,
    /// It could not be done; the replica has what it had.
    Failed(Problem),
    /// The replica has no room for it (or takes no writes any more): the same would happen to the
    /// next ones, so they are not tried.
    Full(Problem),
    /// It was not tried: the run was told to stop, or there is no room.
    Skipped,
}
