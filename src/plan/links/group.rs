//! What becomes of the names of one inode: which inode of the replica they keep, and what is done to each.

use super::{Named, Object, Operate, Resolution, Settled, Waiting, object};
use crate::model::{EntryPath, Operation, Record};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The names of one inode of the source.
pub(super) struct Group<'s> {
    /// Those that were met, by path.
    pub(super) names: Vec<Named>,
    /// Those that were not, by path.
    pub(super) rows: Vec<&'s Settled>,
    /// The replica's inode that the group keeps.
    pub(super) home: Option<Object>,
}

impl Group<'_> {
    /// The replica's inodes with the right content, with how much speaks for each: the group's names.
    fn candidates(&self) -> BTreeMap<Object, u64> {
        let mut counts = BTreeMap::new();
        for inode in self.names.iter().filter_map(Named::sound) {
            *counts.entry(inode).or_default() += 1;
        }
        // Names that only rows know are not touched by this run: the others have to come to them.
        for row in &self.rows {
            *counts.entry(object(&row.replica)).or_default() += self.names.len() as u64 + 1;
        }
        counts
    }

    /// Where the inode that is kept can be linked from.
    fn first_name(&self, home: Object) -> Option<&EntryPath> {
        let met = self.names.iter().find(|named| named.sound() == Some(home)).map(Named::path);
        let row = self.rows.iter().find(|row| object(&row.replica) == home).map(|row| &row.record.path);
        met.or(row)
    }

    /// Whether the kept inode may be mended in place, where it has to be: it has no names but the group's,
    /// and nobody else can have moved another inode to and fro between the looks at those.
    fn may_mend(&self, home: Object, user: u32) -> bool {
        let at_home = || self.names.iter().filter(|named| named.sound() == Some(home));
        if at_home().all(Named::is_right) {
            return true;
        }
        let ours = at_home().count() as u64;
        let elsewhere = self.rows.iter().any(|row| object(&row.replica) == home);
        let foreign = at_home().any(|named| named.replica.is_some_and(|stat| stat.links > ours));
        !elsewhere && !foreign && at_home().all(|named| named.lies_in_private(user))
    }

    /// The inode of the source.
    fn inode(&self) -> Object {
        object(&self.names[0].source)
    }

    /// The inode that is kept, with the source's, if it has more names than the group's: who has them may come to it in a later round.
    pub(super) fn home_of_others(&self) -> Option<(Object, Object)> {
        let home = self.home?;
        let ours =
            self.names.iter().filter(|named| named.sound() == Some(home)).filter_map(|named| named.replica);
        let rows = self.rows.iter().map(|row| row.replica).filter(|replica| object(replica) == home);
        let (mut count, mut links) = (0, 0);
        for replica in ours.chain(rows) {
            (count, links) = (count + 1, links.max(replica.links));
        }
        (links > count).then(|| (home, self.inode()))
    }

    pub(super) fn resolve(self, user: u32, operate: &mut Operate<'_>, resolution: &mut Resolution) {
        let home = self.home.filter(|home| self.may_mend(*home, user));
        let first = home.and_then(|home| self.first_name(home));
        let first = first.unwrap_or(self.names[0].path()).clone();
        let in_step = home.is_some_and(|home| are_in_step(&self.names, home));
        let mut mended = false;
        for named in self.names {
            if home.is_some() && named.sound() == home {
                match named.decision {
                    Waiting::Right(record) if in_step => resolution.confirmed.push(*record),
                    Waiting::Right(record) => resolution.unsettled.push(*record),
                    // Once is enough for all names; their rows follow.
                    Waiting::Operation(mend) if mended => resolution.unsettled.extend(row_after(&mend)),
                    Waiting::Operation(mend) => {
                        mended = true;
                        operate(*mend, named.folder);
                    }
                }
            } else if *named.path() == first {
                operate(named.anew(), named.folder);
            } else {
                operate(named.linked_to(&first), named.folder);
            }
        }
        // Rows of one group tell of one inode; what does not is looked at again by the next run.
        resolution.unsettled.extend(
            self.rows
                .into_iter()
                .map(|row| Record { racy: home != Some(object(&row.replica)), ..row.record.clone() }),
        );
    }
}

/// Whether the replica's inode has exactly these names, all of them right.
pub(super) fn are_in_step(names: &[Named], home: Object) -> bool {
    let count = names.len() as u64;
    names.iter().all(|named| {
        named.is_right()
            && named.sound() == Some(home)
            && named.replica.is_some_and(|stat| stat.links == count)
    })
}

/// The row of a name whose inode is mended under another name: that one's row says the rest.
fn row_after(mend: &Operation) -> Option<Record> {
    let (source, replica) = (mend.source.as_ref()?, mend.replica.as_ref()?);
    Some(Record::new(mend.path.clone(), source, replica, mend.content, true))
}

/// Gives every group the inode that most of its names have, and no inode to two groups; to whom earlier rounds gave
/// what is in `before` keeps it.
pub(super) fn settle_homes(groups: &mut [Group<'_>], before: &HashMap<Object, Object>) {
    let mut claims: Vec<(u64, usize, Object)> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        claims.extend(group.candidates().into_iter().map(|(inode, names)| (names, index, inode)));
    }
    // Most names first; where two have as many, the earlier path.
    claims.sort_by_key(|&(names, index, inode)| {
        (std::cmp::Reverse(names), groups[index].names[0].path().clone(), inode)
    });
    let mut taken: HashSet<Object> = HashSet::new();
    for (_, index, inode) in claims {
        let is_free = before.get(&inode).is_none_or(|whose| *whose == groups[index].inode());
        if is_free && groups[index].home.is_none() && taken.insert(inode) {
            groups[index].home = Some(inode);
        }
    }
}
