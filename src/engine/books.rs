//! What planning needs of the manifest besides its rows in order.

use super::renames::Renamed;
use crate::error::Error;
use crate::model::{Change, Done, Problem};
use crate::plan::links::Settled;
use crate::plan::step::Suspect;
use std::collections::HashSet;

/// Tells all settled names of these inodes of the source.
type OfInodes<'m> = dyn FnMut(&HashSet<u64>, &mut dyn FnMut(Settled)) -> Result<(), Error> + 'm;

/// Which folder this was, if it had another name; given those that are known to have had one.
type Identify<'m> = dyn FnMut(&Suspect, &[Renamed]) -> Result<Option<Renamed>, Error> + 'm;

/// What planning needs of the manifest besides its rows in order.
pub struct Books<'m> {
    /// Takes rows that are true without a change to the replica.
    pub confirm: &'m mut dyn FnMut(Vec<Change>) -> Result<(), Error>,
    /// Tells all settled names of these inodes of the source.
    pub of_inodes: &'m mut OfInodes<'m>,
    /// Finds out which folder this was.
    pub identify: &'m mut Identify<'m>,
    /// Must come before anything new is in the replica.
    pub prepare: &'m mut dyn FnMut() -> Result<(), Error>,
    /// Records rows of inodes that got names while the join went on as they are now; says which are not what they
    /// were made.
    pub settle_names: &'m mut dyn FnMut() -> Result<Vec<Problem>, Error>,
    /// Records what was done.
    pub settle: &'m mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
}
