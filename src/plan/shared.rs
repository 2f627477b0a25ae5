//! Which decisions wait for those about other names of the same inode.

use super::desired::Rights;
use super::join::Joined;
use super::links::{Object, object};
use crate::model::{Kind, Operation, Seen, Stat, Verb};

/// The figures of source and replica.
type Figures = (Stat, Option<Stat>);

/// The figures of both sides where the inode of what is right as it is has several names on one of
/// them: whether they are the right ones is for [`super::links::Links`] to say.
pub fn right(joined: &Joined, rights: &Rights) -> Option<Figures> {
    let (source, replica) = scanned(joined);
    let several = |stat: Option<Stat>| stat.is_some_and(|stat| stat.links > 1);
    let source = source.filter(|_| several(source) || several(replica))?;
    minds_names(&source, rights).then_some((source, replica))
}

/// Likewise for what is to be done to an entry. Where it is mended, what was read need not be what was
/// scanned: the figures of the open handles count.
pub fn operated(operation: &Operation, joined: &Joined, rights: &Rights) -> Option<Figures> {
    let (scanned_source, scanned_replica) = scanned(joined);
    let source = operation.source.or(scanned_source)?;
    let replica = operation.replica.or(scanned_replica);
    let shared = |stat: Option<Stat>| stat.is_some_and(|stat| stat.links > 1);
    let mended = operation.verb == Verb::Metadata && (shared(replica) || shared(scanned_replica));
    (minds_names(&source, rights) && (source.links > 1 || mended)).then_some((source, replica))
}

/// Likewise of what was scanned.
pub fn inode_of(joined: &Joined, rights: &Rights) -> Option<Object> {
    scanned(joined).0.and_then(|source| inode_with_names(&source, rights))
}

/// Whether there is something in the source that is no folder and has but one name on both sides.
pub fn is_plain(joined: &Joined) -> bool {
    let (source, replica) = scanned(joined);
    let single = |stat: Stat| stat.links <= 1;
    source.is_some_and(|source| source.kind() != Kind::Folder && single(source)) && replica.is_none_or(single)
}

/// The inode of the source, if it has other names and the replica is to have them as such.
pub fn inode_with_names(source: &Stat, rights: &Rights) -> Option<Object> {
    (source.links > 1 && minds_names(source, rights)).then(|| object(source))
}

fn minds_names(source: &Stat, rights: &Rights) -> bool {
    rights.preserve.hard_links && source.kind() != Kind::Folder
}

/// The figures of both sides as they were scanned.
fn scanned(joined: &Joined) -> (Option<Stat>, Option<Stat>) {
    let present = |seen: &Option<Seen>| match seen {
        Some(Seen::Present(stat)) => Some(*stat),
        _ => None,
    };
    (present(&joined.source), present(&joined.replica))
}
