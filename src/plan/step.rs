//! What passes between a planner and the engine that feeds it.

use super::census::Census;
use super::early::{Ahead, Early};
use super::join::Joined;
use super::links::Settled;
use super::round::Round;
use super::{FolderTask, Plan};
use crate::model::{Change, EntryPath, Seen, Stat};
use std::sync::Arc;

/// What the engine has to do for one joined path, beyond what the plan remembers.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Settled,
    /// The manifest is to say this; the replica needs no change.
    Confirm(Change),
    /// Likewise for all names of an inode.
    ConfirmAll(Vec<Change>),
    /// Read both contents and come back with [`Planner::learn`](super::planner::Planner::learn).
    Ask(Box<Question>),
    /// A folder of the source that may have had another name: find out, and either go on with
    /// [`Planner::go_on`](super::planner::Planner::go_on), or plan nothing more ([`Planner::survey`](super::planner::Planner::survey)).
    Suspect(Box<Suspect>),
    /// Bring this over while the join goes on; what cannot be is given back with [`Planner::defer`](super::planner::Planner::defer).
    Early(Box<Early>),
}

/// A folder of the source that has no row with its inode under its name.
#[derive(Debug)]
pub struct Suspect {
    /// What the three witnesses say of its path.
    pub joined: Joined,
    /// The source's folders above it, the root first.
    pub way: Vec<Arc<FolderTask>>,
}

/// What a planner is to look out for besides its plan.
#[derive(Clone, Debug)]
pub struct Mode {
    /// What another look is to follow for.
    pub seeks: Seeks,
    /// What may be brought over while the join goes on.
    pub ahead: Ahead,
    /// Whose names are decided about.
    pub round: Round,
}

/// What is put right in the replica before anything is planned: where a look finds some of it, it plans nothing, and
/// another look follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeks {
    /// Folders that may have got another name.
    pub renames: bool,
    /// Names that the replica spells in another way than the source, where its file system tells none of them apart.
    pub misspelled: bool,
    /// New entries, or deletes, that this look plans at most before it leaves planning to a second one; usually
    /// [`PLANNED_MOST`](super::early::PLANNED_MOST), or any number.
    pub most: usize,
}

impl Default for Seeks {
    /// Nothing: this look plans, whatever it finds.
    fn default() -> Self {
        Self { renames: false, misspelled: false, most: usize::MAX }
    }
}

/// A path whose contents must be known before it can be decided about.
#[derive(Debug)]
pub struct Question {
    /// What the three witnesses said.
    pub joined: Joined,
    /// A folder itself; of anything else the folder it lies in, should an operation touch that.
    pub folder: Option<Arc<FolderTask>>,
    /// Where the replica has it, if it is not under the same path.
    pub elsewhere: Option<EntryPath>,
}

impl Question {
    /// The path in question.
    pub fn path(&self) -> &EntryPath {
        &self.joined.path
    }

    /// The path in the replica of what it is to be compared with.
    pub fn replica_path(&self) -> &EntryPath {
        self.elsewhere.as_ref().unwrap_or(&self.joined.path)
    }

    /// The source's and the replica's figures as scanned.
    pub fn stats(&self) -> Option<(&Stat, &Stat)> {
        match (&self.joined.source, &self.joined.replica) {
            (Some(Seen::Present(source)), Some(Seen::Present(replica))) => Some((source, replica)),
            _ => None,
        }
    }
}

/// What a planner comes to.
#[derive(Debug)]
pub struct Planned {
    /// The plan, sorted.
    pub plan: Plan,
    /// What was counted on the way.
    pub census: Census,
    /// Rows that the manifest is to have; the replica needs no change for them.
    pub confirmed: Vec<Change>,
    /// What was recalled on the way.
    pub settled: Vec<Settled>,
    /// The round that was, if others have to follow: then the plan is about the names of its inodes only.
    pub rest: Option<Round>,
}
