//! Hard links: which names of the replica are to be names of one inode, and which must not be.
//!
//! Names of one inode of the source form a group. A name's own decision says whether its content is
//! right; here follows which inode of the replica the group keeps, which names are linked to it, and
//! which have to leave an inode that they share with what is another file in the source.

mod group;

use super::FolderTask;
use super::round::Round;
use crate::model::{EntryPath, Kind, Operation, Record, Stat, Verb};
use group::{Group, are_in_step, settle_homes};
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

    /// How much memory it takes until it is done, in units of some 0.7 KiB.
    fn weight(&self) -> usize {
        if self.is_right() { 1 } else { 2 }
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
            loses: false,
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

/// Takes operations on single names, with the folders they change.
pub type Operate<'o> = dyn FnMut(Operation, Option<Arc<FolderTask>>) + 'o;

/// What became of all names together, besides operations.
#[derive(Debug, Default)]
pub struct Resolution {
    /// Rows that are true as they are and stay so.
    pub confirmed: Vec<Record>,
    /// Rows that are true but for the replica's ctime, which moves when another name of the inode
    /// comes or goes in this run: to be written, with the ctime then, when the run is through.
    pub unsettled: Vec<Record>,
    /// The round that was, if others have to follow it.
    pub rest: Option<Round>,
}

/// Below so many names of an inode, room is made for one at a time.
const FEW: usize = 4;

/// The names that wait, while the join goes on.
#[derive(Debug)]
pub struct Links {
    round: Round,
    groups: BTreeMap<Object, Vec<Named>>,
    /// Names of these inodes, and of others, that rows know.
    recalled: Vec<Settled>,
    /// How much the names weigh whose turn it is, and how much may be held of them.
    held: usize,
    most: usize,
}

impl Links {
    /// None yet.
    pub fn new(round: Round) -> Self {
        Self { most: round.most(), round, groups: BTreeMap::new(), recalled: Vec::new(), held: 0 }
    }

    /// Whether names of this inode of the source wait for another look.
    pub fn leaves_out(&self, inode: Object) -> bool {
        !self.round.covers(inode)
    }

    /// Whether nothing but names is decided about.
    pub fn is_of_names_only(&self) -> bool {
        self.round.is_of_names_only()
    }

    /// Whether another round has to follow.
    pub fn is_followed(&self) -> bool {
        self.round.is_followed()
    }

    /// Where the inodes begin whose names wait for another look.
    pub fn until(&self) -> Option<Object> {
        self.round.until()
    }

    /// One more name, if its inode is not left out. Returns the rows of all names of its inode, once they are together
    /// and right as they are; no other name can have a claim to the replica's inode then, for it has no others.
    pub fn add(&mut self, named: Named) -> Vec<Record> {
        let inode = object(&named.source);
        if self.leaves_out(inode) {
            return Vec::new();
        }
        let links = named.source.links;
        let is_turn = self.round.is_turn_of(inode);
        let names = self.groups.entry(inode).or_default();
        if names.len() < FEW {
            // Most have few, and whether these are in the tree is not known.
            names.reserve_exact(1);
        }
        self.held += if is_turn { named.weight() } else { 0 };
        names.push(named);
        if names.len() as u64 != links || !names[0].sound().is_some_and(|home| are_in_step(names, home)) {
            self.limit();
            return Vec::new();
        }
        // All of them are right.
        self.held -= if is_turn { names.len() } else { 0 };
        let right = |named: Named| match named.decision {
            Waiting::Right(record) => Some(*record),
            Waiting::Operation(_) => None,
        };
        self.groups.remove(&inode).into_iter().flatten().filter_map(right).collect()
    }

    /// Where too much is held, leaves the inodes for another look that are more than three quarters of what may be: but
    /// the first one has its turn, whatever it takes.
    fn limit(&mut self) {
        if self.held <= self.most {
            return;
        }
        let turns = self.groups.range(self.round.from()..);
        let weigh = |(inode, names): (&Object, &Vec<Named>)| (*inode, names.iter().map(Named::weight).sum());
        let mut weights: BTreeMap<Object, usize> = turns.map(weigh).collect();
        for name in &self.recalled {
            if let Some(weight) = weights.get_mut(&object(&name.source)) {
                *weight += 1;
            }
        }
        let mut held = 0;
        let cut = weights.into_iter().find(|(_, weight)| {
            let is_first = held == 0;
            let is_too_much = !is_first && held + weight > self.most / 4 * 3;
            held += if is_too_much { 0 } else { *weight };
            is_too_much
        });
        let Some((cut, _)) = cut else {
            self.most *= 2;
            return;
        };
        self.groups.split_off(&cut);
        self.round.end_before(cut);
        self.recalled.retain(|name| self.round.covers(object(&name.source)));
        self.held = held;
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

    /// One more name of an inode that [`Links::incomplete`] told, or that others ask about.
    pub fn recall(&mut self, name: Settled) {
        let inode = object(&name.source);
        if self.leaves_out(inode) {
            return;
        }
        self.held += usize::from(self.round.is_turn_of(inode) && self.groups.contains_key(&inode));
        self.recalled.push(name);
        self.limit();
    }

    /// Decides for all names, as `user`; returns what was recalled, too.
    pub fn resolve(self, user: u32, operate: &mut Operate<'_>) -> (Resolution, Vec<Settled>) {
        let mut known: HashMap<Object, Vec<&Settled>> = HashMap::new();
        for name in &self.recalled {
            known.entry(object(&name.source)).or_default().push(name);
        }
        let mut groups: Vec<Group<'_>> = Vec::with_capacity(self.groups.len());
        for (source, mut names) in self.groups {
            names.sort_by(|a, b| a.path().cmp(b.path()));
            let met: HashSet<&EntryPath> = names.iter().map(Named::path).collect();
            let is_whole = names[0].source.links <= names.len() as u64;
            let mut rows = known.remove(&source).filter(|_| !is_whole).unwrap_or_default();
            rows.retain(|row| !met.contains(&row.record.path));
            drop(met);
            groups.push(Group { names, rows, home: None });
        }
        settle_homes(&mut groups, self.round.taken());
        let mut resolution = Resolution::default();
        let taken = groups.iter().filter_map(Group::home_of_others).collect();
        for group in groups {
            group.resolve(user, operate, &mut resolution);
        }
        resolution.rest = self.round.if_followed(taken);
        (resolution, self.recalled)
    }
}
