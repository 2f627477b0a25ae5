//! What a path of the join means for others, whatever is decided about it.

use super::Planner;
use crate::model::record::is_racy;
use crate::model::{Change, Problem, Seen};
use crate::plan::decide::Rules;
use crate::plan::join::Joined;
use crate::plan::spelling::{Spelled, collision};
use crate::plan::step::Step;

impl Planner<'_> {
    /// Takes in the next path of the join, of which all is done that could be decided about.
    pub fn pass_by(&mut self, joined: &mut Joined) {
        self.meet(joined);
    }

    /// Notes what the next path means for others; returns the step where nothing else is to be decided about it.
    pub(super) fn meet(&mut self, joined: &mut Joined) -> Option<Step> {
        if let Some(Seen::Present(stat) | Seen::Unlisted(stat, _) | Seen::Foreign(stat)) = &mut joined.replica
        {
            *stat = self.rules.rights.known(*stat);
        }
        let replica = joined.replica.as_ref();
        if joined.source.as_ref().is_some_and(|source| self.rules.rights.leaves_out(source, replica)) {
            joined.source = None;
        }
        self.census.count(joined, &self.rules.nodev);
        if let (true, Some(Seen::Present(source))) = (joined.path.is_folder(), &joined.source) {
            let Rules { began, tick_nanos, .. } = *self.rules;
            self.plan.source_moved |= is_racy(source.fingerprint.ctime, began, tick_nanos, None);
        }
        if let Some(Seen::Foreign(_) | Seen::Excluded) = &joined.replica {
            self.occupied.by(&joined.path);
        }
        let shielded = self.shields.cover(&joined.path);
        self.shields.raise(joined);
        if shielded {
            return Some(Step::Settled);
        }
        if let Some(problem) = self.unheld(joined) {
            return Some(self.leave_out(joined, problem));
        }
        if let (true, Some(Seen::Foreign(source))) = (joined.path.is_folder(), &joined.source) {
            // The mount point is part of the tree, as a folder with nothing in it.
            joined.source = Some(Seen::Present(*source));
        }
        if let Some(Seen::Unlisted(..) | Seen::Vanished | Seen::Unreadable(_)) = &joined.source {
            self.stays.insert(joined.path.other_kind());
        }
        self.trail.follow(joined);
        if self.mode.seeks.renames || self.mode.seeks.most < usize::MAX {
            match (&joined.source, &joined.row) {
                (None, Some(row)) => drop(self.vanished.insert(row.source.inode)),
                (Some(_), None) => self.fresh += usize::from(joined.replica.is_none()),
                _ => {}
            }
        }
        None
    }

    /// Returns why the replica cannot have an entry of this name, if that is so.
    fn unheld(&mut self, joined: &Joined) -> Option<Problem> {
        let held = &self.rules.rights.held;
        match self.spelling.meet(joined, held) {
            Spelled::Taken(first) => Some(collision(&joined.path, &first)),
            // What the replica has shows that it can have it.
            Spelled::Alone if joined.replica.is_some() || joined.path.is_root() => None,
            Spelled::Alone => {
                joined.source.as_ref().filter(|seen| **seen != Seen::Excluded)?;
                let refusal = held.refuses_name(joined.path.name())?;
                let cause = format!("{refusal}; rename it in the source, or exclude it");
                Some(Problem::replica(&joined.path, "mirror", cause))
            }
        }
    }

    /// Nothing is done about an entry that the replica cannot have, nor about what lies in it.
    fn leave_out(&mut self, joined: &Joined, problem: Problem) -> Step {
        self.shields.leave_out(&joined.path);
        if !self.surveys {
            self.plan.problems.push(problem);
        }
        match &joined.row {
            Some(row) => Step::Confirm(Change::Forget(row.path.clone())),
            None => Step::Settled,
        }
    }
}
