//! What a path of the join means for others, whatever is decided about it.

use super::Planner;
use crate::model::Seen;
use crate::model::record::is_racy;
use crate::plan::decide::Rules;
use crate::plan::join::Joined;

impl Planner<'_> {
    /// Takes in the next path of the join, of which all is done that could be decided about.
    pub fn pass_by(&mut self, joined: &mut Joined) {
        self.meet(joined);
    }

    /// Notes what the next path means for others; `false`: nothing is to be decided about it.
    pub(super) fn meet(&mut self, joined: &mut Joined) -> bool {
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
            return false;
        }
        if let (true, Some(Seen::Foreign(source))) = (joined.path.is_folder(), &joined.source) {
            // The mount point is part of the tree, as a folder with nothing in it.
            joined.source = Some(Seen::Present(*source));
        }
        if let Some(Seen::Unlisted(..) | Seen::Vanished | Seen::Unreadable(_)) = &joined.source {
            self.stays.insert(joined.path.other_kind());
        }
        self.trail.follow(joined);
        if self.mode.renames || self.mode.most < usize::MAX {
            match (&joined.source, &joined.row) {
                (None, Some(row)) => drop(self.vanished.insert(row.source.inode)),
                (Some(_), None) => self.fresh += usize::from(joined.replica.is_none()),
                _ => {}
            }
        }
        true
    }
}
