//! What may be brought over before the plan is complete.
//!
//! A copy into a name that is free destroys nothing, so no gate asks for it, and it need not be held in
//! memory until the join is through. But what is new may be what is old under another name: to see that,
//! both must be known.

use super::FolderTask;
use crate::model::Operation;
use std::sync::Arc;

/// Something new that is to be brought over while the join goes on.
#[derive(Debug)]
pub struct Early {
    /// Folders on the way to it, the outermost first: those that the replica does not have, and the one that
    /// it lies in.
    pub way: Vec<Arc<FolderTask>>,
    /// What is to be brought over; `None`: the last folder of the way itself.
    pub operation: Option<Operation>,
}

/// How much is brought over before the plan is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Nothing: a dry run.
    Nothing,
    /// All that is new: the manifest has no row, so that nothing can be known under another name.
    All,
    /// What does not fit the memory that a plan may take.
    Overflow,
}

/// New entries that a plan holds before more are brought over at once: some 30 MB of them.
pub const PLANNED_MOST: usize = 1 << 16;

impl Ahead {
    /// Whether something new may be brought over where a plan has `planned` operations already.
    /// `known`: it looks like something that is to be deleted, and could be moved instead.
    pub fn allows(self, planned: usize, known: bool) -> bool {
        match self {
            Ahead::Nothing => false,
            Ahead::All => true,
            Ahead::Overflow => planned >= PLANNED_MOST && !known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_plan_lets_go_what_is_not_known() {
        for (ahead, planned, known, allowed) in [
            (Ahead::Nothing, usize::MAX, false, false),
            (Ahead::All, 0, false, true),
            (Ahead::Overflow, PLANNED_MOST - 1, false, false),
            (Ahead::Overflow, PLANNED_MOST, false, true),
            (Ahead::Overflow, PLANNED_MOST, true, false),
        ] {
            assert_eq!(ahead.allows(planned, known), allowed, "{ahead:?} {planned} {known}");
        }
    }
}
