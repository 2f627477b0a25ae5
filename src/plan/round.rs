//! Which inodes of the source a look decides about the names of: where more names wait for each other than are to be
//! held, it does so for a part of them, further looks do for the others, and a last one plans all else.

use super::links::Object;
use std::collections::{HashMap, HashSet};

/// So much is held of names in one round: one that is right counts once, one that is to be brought over twice, some
/// 50 MB in all.
const HELD_MOST: usize = 1 << 16;

/// Behind all inodes.
const END: Object = (u64::MAX, u64::MAX);

/// One part of the inodes, in the order of their numbers.
#[derive(Clone, Debug)]
pub struct Round {
    /// Those before had their turn.
    from: Object,
    /// Those from here on have theirs later; `None`: this is the last part.
    until: Option<Object>,
    /// So much may be held of names.
    most: usize,
    /// What had its turn in vain, because it needs a name that only a delete makes free.
    again: HashSet<Object>,
    /// Inodes of the replica that earlier rounds gave to one of the source though others have names of them, too.
    taken: HashMap<Object, Object>,
    /// Nothing but names is decided about: a further look will.
    names_only: bool,
    /// No round follows, even if some is left.
    last: bool,
}

impl Default for Round {
    /// All inodes, however many names they have: nothing is carried out between the rounds of a dry run.
    fn default() -> Self {
        Self {
            from: (0, 0),
            until: None,
            most: usize::MAX,
            again: HashSet::new(),
            taken: HashMap::new(),
            names_only: false,
            last: false,
        }
    }
}

impl Round {
    /// The first round of a run: all inodes, until there are too many names.
    pub fn first() -> Self {
        Self { most: HELD_MOST, ..Self::default() }
    }

    /// Likewise with another limit.
    #[cfg(test)]
    pub fn of_at_most(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Whether names of this inode of the source are decided about.
    pub fn covers(&self, inode: Object) -> bool {
        let is_in = self.from <= inode && self.until.is_none_or(|until| inode < until);
        is_in || self.again.contains(&inode)
    }

    /// Whether it is this inode's turn, and not only once more.
    pub(super) fn is_turn_of(&self, inode: Object) -> bool {
        self.from <= inode
    }

    /// Where the part begins.
    pub(super) fn from(&self) -> Object {
        self.from
    }

    /// Where the inodes begin whose turn comes later, if this is not the last part.
    pub fn until(&self) -> Option<Object> {
        self.until
    }

    /// Leaves inodes from `until` on for later.
    pub(super) fn end_before(&mut self, until: Object) {
        self.until = Some(until);
    }

    /// How much may be held of names.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Inodes of the replica that an earlier round gave away, and to which ones of the source.
    pub(super) fn taken(&self) -> &HashMap<Object, Object> {
        &self.taken
    }

    /// Whether nothing but names is decided about.
    pub(super) fn is_of_names_only(&self) -> bool {
        self.names_only
    }

    /// Whether another round has to follow.
    pub(super) fn is_followed(&self) -> bool {
        (self.until.is_some() || self.names_only) && !self.last
    }

    /// This round, if another one has to follow it; `taken` is what it gave away.
    pub(super) fn if_followed(mut self, taken: Vec<(Object, Object)>) -> Option<Self> {
        self.taken.extend(taken);
        self.is_followed().then_some(self)
    }

    /// The round after this one, in which `waiting` have another turn.
    #[must_use]
    pub fn next(self, waiting: HashSet<Object>) -> Self {
        let again: HashSet<Object> = self.again.into_iter().chain(waiting).collect();
        Self { from: self.until.unwrap_or(END), until: None, again, names_only: self.until.is_some(), ..self }
    }

    /// This part once more, and nothing after it in this run.
    #[must_use]
    pub fn at_last(self) -> Self {
        Self { until: None, names_only: false, last: true, ..self }
    }
}
