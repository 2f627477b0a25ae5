//! What of the joined trees belongs to the mirror. What is excluded is invisible on both sides.

use super::is_litter;
use super::join::Joined;
use crate::filter::Filter;
use crate::model::{EntryPath, Kind, Seen};

/// Whether a pattern excludes this path. Our own temporary files are never excluded: nobody would remove them.
pub fn is_hidden(filter: &Filter, path: &EntryPath) -> bool {
    filter.excludes(path) && !is_litter(path)
}

/// Takes out of joined paths, which must come in path order, what is excluded for what the source has there. (What
/// a pattern excludes the walks have left out: the source's says nothing of it, the replica's that it is excluded.)
#[derive(Debug)]
pub struct Sight<'f> {
    filter: &'f Filter,
    /// The last folder of the source that is excluded with all that is in it.
    hidden: Option<EntryPath>,
    clear: bool,
}

impl<'f> Sight<'f> {
    /// At the beginning of both trees.
    pub fn new(filter: &'f Filter) -> Self {
        Self { filter, hidden: None, clear: filter.is_empty() }
    }

    /// What is to be seen of the next path.
    pub fn of(&mut self, mut joined: Joined) -> Joined {
        if self.clear {
            return joined;
        }
        if let Some(Seen::Excluded) = joined.source {
            self.hidden = Some(joined.path.clone());
            self.hide(&mut joined);
        } else if self.hidden.as_ref().is_some_and(|hidden| joined.path.is_below(hidden))
            || (!is_litter(&joined.path) && self.has_excluded_size(&joined))
        {
            self.hide(&mut joined);
        }
        joined
    }

    /// By the source's file; where it has none, by the replica's.
    fn has_excluded_size(&self, joined: &Joined) -> bool {
        match joined.source.as_ref().or(joined.replica.as_ref()) {
            Some(Seen::Present(stat)) if stat.kind() == Kind::File => {
                self.filter.excludes_size(stat.fingerprint.size)
            }
            _ => false,
        }
    }

    fn hide(&self, joined: &mut Joined) {
        joined.source = None;
        if !self.filter.spec().delete_excluded && joined.replica.is_some() {
            joined.replica = Some(Seen::Excluded);
        }
    }
}
