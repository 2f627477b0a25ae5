//! Hard links: which names of the replica are to be names of one inode, and which must not be.
//!
//! Names of one inode of the source form a group. A name's own decision says whether its content is
//! right; here follows which inode of the replica the group keeps, which names are linked to it, and
//! which have to leave an inode that they share with what is another file in the source.

use super::FolderTask;
use crate::model::{EntryPath, Kind, Operation, Record, Stat, Verb};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What makes an object of a file system itself: device and inode.
pub type Object = (u64, u64);

/// A name whose inode has, or had, other names on either side, and what was decided for it alone.
#[derive(Debug)]
pub struct Named {
    /// The source's figures.
    pub source: Stat,
    /// The replica's, if there is something.
    pub replica: Option<Stat>,
    /// What is to become of it.
    pub decision: Waiting,
    /// The folder it lies in.
    pub folder: Option<Arc<FolderTask>>,
}

/// A decision that waits for those about the other names.
#[derive(Debug)]
pub enum Waiting {
    /// It is right as it is, and the manifest would say this.
    Right(Box<Record>),
    /// Its content is right, its metadata is not, or all of it has to be brought over.
    Operation(Box<Operation>),
}

impl Named {
    fn path(&self) -> &EntryPath {
        match &self.decision {
            Waiting::Right(record) => &record.path,
            Waiting::Operation(operation) => &operation.path,
        }
    }

    /// The replica's inode, if what is there has the right content.
    fn sound(&self) -> Option<Object> {
        let sound = match &self.decision {
            Waiting::Right(_) => true,
            Waiting::Operation(operation) => operation.verb == Verb::Metadata,
        };
        self.replica.filter(|_| sound).map(|stat| object(&stat))
    }

    fn is_right(&self) -> bool {
        matches!(self.decision, Waiting::Right(_))
    }

    /// Whether nobody but root and `user` can change what the name stands for in its folder of the replica.
    fn lies_in_private(&self, user: u32) -> bool {
        const OTHERS_WRITE: u32 = 0o022;
        self.folder.as_ref().and_then(|task| task.replica).is_some_and(|folder| {
            (folder.uid == 0 || folder.uid == user) && folder.fingerprint.mode & OTHERS_WRITE == 0
        })
    }

    /// All of it, brought over anew.
    fn anew(&self) -> Operation {
        let verb = if self.source.kind() == Kind::File { Verb::Copy } else { Verb::Create };
        let content = match &self.decision {
            Waiting::Right(record) => record.digest.zip(record.hashed),
            Waiting::Operation(operation) if operation.verb == Verb::Metadata => operation.content,
            Waiting::Operation(operation) => return Operation::clone(operation),
        };
        Operation {
            path: self.path().clone(),
            verb,
            source: Some(self.source),
            replica: self.replica,
            content,
            attributes: true,
            origin: None,
            from: None,
            displaces: false,
        }
    }

    fn linked_to(&self, first: &EntryPath) -> Operation {
        let content = match &self.decision {
            Waiting::Right(record) => record.digest.zip(record.hashed),
            Waiting::Operation(_) => None,
        };
        Operation { verb: Verb::Link, from: Some(first.clone()), content, ..self.anew() }
    }
}

/// A name that no difference brought here, and that both sides were seen to have as its row says.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Its row.
    pub record: Record,
    /// The source's figures.
    pub source: Stat,
    /// The replica's.
    pub replica: Stat,
}

/// The object that has these figures.
pub fn object(stat: &Stat) -> Object {
    (stat.device, stat.fingerprint.inode)
}

/// What became of all names together.
#[derive(Debug, Default)]
pub struct Resolution {
    /// Operations on single names, with the folders they change.
    pub operations: Vec<(Operation, Option<Arc<FolderTask>>)>,
    /// Rows that are true as they are and stay so.
    pub confirmed: Vec<Record>,
    /// Rows that are true but for the replica's ctime, which moves when another name of the inode
    /// comes or goes in this run: to be written, with the ctime then, when the run is through.
    pub unsettled: Vec<Record>,
}

/// So many names of an inode are expected as its links say; more need not be in the tree.
const FEW: usize = 16;

/// The names that wait, while the join goes on.
#[derive(Debug, Default)]
pub struct Links {
    groups: BTreeMap<Object, Vec<Named>>,
}

impl Links {
    /// One more name. Returns the rows of all names of its inode, once they are together and right as they are;
    /// no other name can have a claim to the replica's inode then, for it has no others.
    pub fn add(&mut self, named: Named) -> Vec<Record> {
        let inode = object(&named.source);
        let links = named.source.links;
        let names = self.groups.entry(inode).or_default();
        if names.is_empty() {
            names.reserve_exact(usize::try_from(links).unwrap_or(FEW).min(FEW));
        }
        names.push(named);
        if names.len() as u64 != links || !names[0].sound().is_some_and(|home| are_in_step(names, home)) {
            return Vec::new();
        }
        let right = |named: Named| match named.decision {
            Waiting::Right(record) => Some(*record),
            Waiting::Operation(_) => None,
        };
        self.groups.remove(&inode).into_iter().flatten().filter_map(right).collect()
    }

    /// Whether a name of this inode of the source waits.
    pub fn holds(&self, source: &Stat) -> bool {
        self.groups.contains_key(&object(source))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Inodes of the source that have names which were not met as changed: their rows tell where.
    pub fn incomplete(&self) -> HashSet<u64> {
        let incomplete = |names: &&Vec<Named>| names[0].source.links > names.len() as u64;
        self.groups.values().filter(incomplete).map(|names| names[0].source.fingerprint.inode).collect()
    }

    /// Decides for all names, as `user`. `settled` are further names of the inodes that
    /// [`Links::incomplete`] told.
    pub fn resolve(self, settled: Vec<Settled>, user: u32) -> Resolution {
        let mut known: HashMap<Object, Vec<Settled>> = HashMap::new();
        for name in settled {
            known.entry(object(&name.source)).or_default().push(name);
        }
        let mut groups: Vec<Group> = Vec::with_capacity(self.groups.len());
        for (source, mut names) in self.groups {
            names.sort_by(|a, b| a.path().cmp(b.path()));
            let met: HashSet<&EntryPath> = names.iter().map(Named::path).collect();
            let mut rows = known.remove(&source).unwrap_or_default();
            rows.retain(|row| !met.contains(&row.record.path));
            drop(met);
            groups.push(Group { names, rows, home: None });
        }
        settle_homes(&mut groups);
        let mut resolution = Resolution::default();
        for group in groups {
            group.resolve(user, &mut resolution);
        }
        resolution
    }
}

/// The names of one inode of the source.
struct Group {
    /// Those that were met, by path.
    names: Vec<Named>,
    /// Those that were not, by path.
    rows: Vec<Settled>,
    /// The replica's inode that the group keeps.
    home: Option<Object>,
}

impl Group {
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

    fn resolve(self, user: u32, resolution: &mut Resolution) {
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
                        resolution.operations.push((*mend, named.folder));
                    }
                }
            } else if *named.path() == first {
                resolution.operations.push((named.anew(), named.folder));
            } else {
                resolution.operations.push((named.linked_to(&first), named.folder));
            }
        }
        // Rows of one group tell of one inode; what does not is looked at again by the next run.
        resolution.unsettled.extend(
            self.rows
                .into_iter()
                .map(|row| Record { racy: home != Some(object(&row.replica)), ..row.record }),
        );
    }
}

/// Whether the replica's inode has exactly these names, all of them right.
fn are_in_step(names: &[Named], home: Object) -> bool {
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

/// Gives every group the inode that most of its names have, and no inode to two groups.
fn settle_homes(groups: &mut [Group]) {
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
        if groups[index].home.is_none() && taken.insert(inode) {
            groups[index].home = Some(inode);
        }
    }
}
