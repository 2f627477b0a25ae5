//! Hash what must be known: both sides of the files in question are read and compared, many files
//! of a batch hashed side by side.

use super::holes::{Equality, compare_sparse, is_sparse};
use super::identity::open_scanned;
use crate::cancel::Cancel;
use crate::clock;
use crate::hash::{Stream, digest_many};
use crate::model::{Attributes, Difference, Digest, EntryPath, Kind, Problem, Stat, Timestamp};
use crate::plan::decide::Knowledge;
use crate::plan::desired::Rights;
use crate::plan::step::Question;
use crate::store::{Fault, Folder, Store, attributes_of};
use crate::transfer::{self, Interruption};
use std::cell::RefCell;
use std::fs::File;
use std::ops::Range;
use std::rc::Rc;

/// How often a file that changes while it is read is read again.
pub const TRIES: u32 = 4;

/// Files up to this size are read as a whole, and hashed together with the others of their batch.
pub const SMALL: u64 = 1 << 20;

/// Bytes of small files a worker holds at a time.
pub const BATCH_BYTES: u64 = 8 << 20;

/// The folder last worked in: entries come in path order, so the next is likely there too.
pub struct NearFolder<'s, S: Store> {
    store: &'s S,
    path: EntryPath,
    folder: Option<Rc<S::Folder>>,
}

impl<'s, S: Store> NearFolder<'s, S> {
    /// None opened yet.
    pub fn new(store: &'s S) -> Self {
        Self { store, path: EntryPath::root(), folder: None }
    }

    /// The folder that `path` lies in.
    pub fn of(&mut self, path: &EntryPath) -> Result<Rc<S::Folder>, Fault> {
        if let Some(folder) = &self.folder
            && self.path.as_bytes() == path.parent_bytes()
        {
            return Ok(Rc::clone(folder));
        }
        let parent = path.parent();
        let folder = Rc::new(self.store.folder(&parent)?);
        self.path = parent;
        self.folder = Some(Rc::clone(&folder));
        Ok(folder)
    }
}

/// Room for the contents of a batch's small files, used again from batch to batch.
#[derive(Default)]
pub struct Arena {
    bytes: Vec<u8>,
    used: usize,
    /// Bytes read at a time.
    chunk: usize,
}

thread_local! {
    /// Kept from batch to batch: fresh memory costs a page fault every 4 KiB.
    static ARENA: RefCell<Arena> = RefCell::default();
}

impl Arena {
    /// Lends this worker's arena, empty; it reads `chunk` bytes at a time.
    pub fn with<T>(chunk: usize, work: impl FnOnce(&mut Arena) -> T) -> T {
        ARENA.with_borrow_mut(|arena| {
            arena.used = 0;
            arena.chunk = chunk;
            work(arena)
        })
    }

    /// Reads a file that should hold `size` bytes; `None`: it holds more or fewer.
    pub fn read(&mut self, file: &File, size: u64) -> std::io::Result<Option<Range<usize>>> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let end = self.used + size;
        if self.bytes.len() <= end {
            self.bytes.resize((end + 1).next_power_of_two(), 0);
        }
        let read = transfer::read_whole(file, &mut self.bytes[self.used..=end], self.chunk)?;
        Ok((read == size).then(|| {
            let range = self.used..end;
            self.used = end;
            range
        }))
    }

    /// Takes in what was read elsewhere.
    pub fn put(&mut self, content: &[u8]) -> Range<usize> {
        let range = self.used..self.used + content.len();
        if self.bytes.len() < range.end {
            self.bytes.resize(range.end.next_power_of_two(), 0);
        }
        self.bytes[range.clone()].copy_from_slice(content);
        self.used = range.end;
        range
    }

    /// What was read there.
    pub fn get(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// Forgets what was read last.
    pub fn release(&mut self, range: &Range<usize>) {
        self.used = range.start;
    }
}

/// Whether a file's figures before and after it was read say that it stood still.
pub fn stood_still(before: &Stat, after: &Stat) -> bool {
    before.fingerprint.size == after.fingerprint.size
        && before.fingerprint.mtime == after.fingerprint.mtime
        && before.fingerprint.ctime == after.fingerprint.ctime
}

/// What all workers of a comparison share.
pub struct Comparison<'e, S: Store, R: Store> {
    /// The tree that is mirrored.
    pub source: &'e S,
    /// The mirror.
    pub replica: &'e R,
    /// What is kept of the source.
    pub rights: &'e Rights,
    /// Bytes read at a time.
    pub chunk_bytes: usize,
    /// A replica file that has the source's bytes but not its holes is no equal.
    pub keep_holes: bool,
    /// A request to stop.
    pub cancel: &'e Cancel,
}

/// A comparison that went well but whose digest is still to be computed with the others.
struct Pending {
    content: Range<usize>,
    source: Stat,
    replica: Stat,
    attributes: Difference,
    began: Timestamp,
}

enum Finding {
    Known(Knowledge),
    Pending(Pending),
}

impl<S: Store, R: Store> Comparison<'_, S, R> {
    /// Answers a batch of questions, in their order.
    pub fn answer(&self, questions: &[Question]) -> Vec<Knowledge> {
        Arena::with(self.chunk_bytes, |arena| self.answer_in(questions, arena))
    }

    fn answer_in(&self, questions: &[Question], arena: &mut Arena) -> Vec<Knowledge> {
        let mut source = NearFolder::new(self.source);
        let mut replica = NearFolder::new(self.replica);
        let mut pending: Vec<(usize, Pending)> = Vec::new();
        let mut answers: Vec<Knowledge> = Vec::with_capacity(questions.len());
        for (index, question) in questions.iter().enumerate() {
            let finding = if self.cancel.requested() {
                Finding::Known(Knowledge::Vanished)
            } else {
                self.examine(question, &mut source, &mut replica, arena)
            };
            answers.push(match finding {
                Finding::Known(knowledge) => knowledge,
                Finding::Pending(found) => {
                    pending.push((index, found));
                    // Overwritten below, when the digests are there.
                    Knowledge::Vanished
                }
            });
        }
        let contents: Vec<&[u8]> = pending.iter().map(|(_, found)| arena.get(&found.content)).collect();
        for ((index, found), digest) in pending.iter().zip(digest_many(&contents)) {
            let Pending { source, replica, attributes, began, .. } = *found;
            answers[*index] = Knowledge::Same { source, replica, digest: Some(digest), attributes, began };
        }
        answers
    }

    fn examine(
        &self,
        question: &Question,
        source: &mut NearFolder<'_, S>,
        replica: &mut NearFolder<'_, R>,
        arena: &mut Arena,
    ) -> Finding {
        let path = question.path();
        let Some((scanned, _)) = question.stats() else { return Finding::Known(Knowledge::Vanished) };
        let kind = scanned.kind();
        if kind == Kind::Folder {
            return Finding::Known(self.compare_folders(path));
        }
        let ours = match source.of(path) {
            Ok(folder) => folder,
            Err(fault) => return Finding::Known(source_fault(path, &fault)),
        };
        let Ok(theirs) = replica.of(question.replica_path()) else {
            return Finding::Known(Knowledge::Different);
        };
        if kind == Kind::Symlink {
            return Finding::Known(compare_links(path, &*ours, &*theirs));
        }
        if !kind.has_content() {
            return Finding::Known(self.compare_specials(path, &*ours, &*theirs));
        }
        for _ in 0..TRIES {
            match self.compare_files(question, scanned, &*ours, &*theirs, arena) {
                Ok(Some(finding)) => return finding,
                Ok(None) => {}
                Err(knowledge) => return Finding::Known(knowledge),
            }
        }
        // It never stands still: a copy knows what to do with such a file.
        Finding::Known(Knowledge::Different)
    }

    /// Folders hold entries of their own; only their figures and attributes are compared.
    pub fn compare_folders(&self, path: &EntryPath) -> Knowledge {
        let began = clock::now();
        let scope = self.rights.scope();
        let at_source = || -> Result<_, Fault> {
            let folder = self.source.folder(path)?;
            Ok((folder.own_stat()?, folder.own_attributes(scope)?))
        };
        let at_replica = || -> Result<_, Fault> {
            let folder = self.replica.folder(path)?;
            Ok((folder.own_stat()?, folder.own_attributes(scope)?))
        };
        self.compare_figures(path, began, at_source(), at_replica())
    }

    fn compare_specials(&self, path: &EntryPath, ours: &S::Folder, theirs: &R::Folder) -> Knowledge {
        let began = clock::now();
        let scope = self.rights.scope();
        let name = path.name();
        self.compare_figures(path, began, ours.attributes(name, scope), theirs.attributes(name, scope))
    }

    fn compare_figures(
        &self,
        path: &EntryPath,
        began: Timestamp,
        source: Result<(Stat, Attributes), Fault>,
        replica: Result<(Stat, Attributes), Fault>,
    ) -> Knowledge {
        let (source, wanted) = match source {
            Ok((stat, found)) => (stat, self.rights.desired_attributes(&stat, found)),
            Err(fault) => return source_fault(path, &fault),
        };
        let (replica, present) = match replica {
            Ok(found) => found,
            Err(fault) if fault.is_absence() => return Knowledge::Vanished,
            Err(fault) => return Knowledge::Failed(Problem::replica(path, fault.action, &fault.error)),
        };
        // Became something else since it was scanned: the next run sees what is so.
        if source.kind() != replica.kind() || source.rdev != replica.rdev {
            return Knowledge::Vanished;
        }
        let attributes = wanted.difference(&present);
        Knowledge::Same { source, replica, digest: None, attributes, began }
    }

    /// One comparison of two files; `None`: the source did not stand still.
    fn compare_files(
        &self,
        question: &Question,
        scanned: &Stat,
        ours: &S::Folder,
        theirs: &R::Folder,
        arena: &mut Arena,
    ) -> Result<Option<Finding>, Knowledge> {
        let path = question.path();
        let at_source = |fault: Fault| source_fault(path, &fault);
        // What cannot be read in the replica is made anew beside it; if that fails too, it says why.
        let at_replica = |_: Fault| Knowledge::Different;
        let began = clock::now();
        let (source_file, source) = open_scanned(ours, path.name(), scanned).map_err(at_source)?;
        let (replica_file, replica) = theirs.open_file(question.replica_path().name()).map_err(at_replica)?;
        let size = source.fingerprint.size;
        if size != replica.fingerprint.size {
            return Ok(Some(Finding::Known(Knowledge::Different)));
        }
        let failed_source = |error| at_source(Fault { action: "read", error });
        let failed_replica = |error| at_replica(Fault { action: "read", error });
        let compare_attributes = || {
            let scope = self.rights.scope();
            let wanted = self
                .rights
                .desired_attributes(&source, attributes_of(&source_file, scope).map_err(at_source)?);
            Ok(wanted.difference(&attributes_of(&replica_file, scope).map_err(at_replica)?))
        };
        let sparse = is_sparse(&source_file, &source);
        if size <= SMALL && !sparse {
            let Some(content) = arena.read(&source_file, size).map_err(failed_source)? else {
                return Ok(None);
            };
            let found = arena.read(&replica_file, size).map_err(failed_replica)?;
            let same = found.as_ref().is_some_and(|found| arena.get(&content) == arena.get(found));
            if let Some(found) = &found {
                arena.release(found);
            }
            let attributes = if same { compare_attributes()? } else { Difference::None };
            if !stood_still(&source, &restat(&source_file).map_err(failed_source)?) {
                arena.release(&content);
                return Ok(None);
            }
            if !same {
                arena.release(&content);
                return Ok(Some(Finding::Known(Knowledge::Different)));
            }
            return Ok(Some(Finding::Pending(Pending { content, source, replica, attributes, began })));
        }
        let (mut x, mut y) = (vec![0; self.chunk_bytes], vec![0; self.chunk_bytes]);
        let same = if sparse {
            let files = (&source_file, &replica_file);
            compare_sparse(files, size, (&mut x, &mut y), self.keep_holes, self.cancel)
        } else {
            let mut hash = Stream::new();
            transfer::same(&source_file, &replica_file, (&mut x, &mut y), self.cancel, |c| hash.update(c))
                .map(|same| if same { Equality::Same(Some(hash.finish())) } else { Equality::Different })
        };
        let same = match same {
            Ok(same) => same,
            Err(Interruption::Source(error)) => return Err(failed_source(error)),
            Err(Interruption::Replica(error)) => return Err(failed_replica(error)),
            Err(Interruption::Cancelled) => return Err(Knowledge::Vanished),
        };
        let known = match same {
            Equality::Same(digest) => {
                let attributes = compare_attributes()?;
                Knowledge::Same { source, replica, digest, attributes, began }
            }
            Equality::Different => Knowledge::Different,
        };
        let still = stood_still(&source, &restat(&source_file).map_err(failed_source)?);
        Ok(still.then_some(Finding::Known(known)))
    }
}

/// The figures of an open file now.
pub fn restat(file: &File) -> std::io::Result<Stat> {
    crate::store::stat_of(file)
}

fn compare_links<S: Folder, R: Folder>(path: &EntryPath, ours: &S, theirs: &R) -> Knowledge {
    let began = clock::now();
    let read = || -> Result<_, Knowledge> {
        let at_source = |fault: Fault| source_fault(path, &fault);
        // What cannot be read in the replica is made anew beside it; if that fails too, it says why.
        let at_replica = |_: Fault| Knowledge::Different;
        let (source, target) = read_link(ours, path.name()).map_err(at_source)?;
        let (replica, found) = read_link(theirs, path.name()).map_err(at_replica)?;
        Ok((source, target, replica, found))
    };
    match read() {
        Ok((source, target, replica, found)) if target == found => {
            let (digest, attributes) = (Some(digest_of(&target)), Difference::None);
            Knowledge::Same { source, replica, digest, attributes, began }
        }
        Ok(_) => Knowledge::Different,
        Err(knowledge) => knowledge,
    }
}

/// The figures and the text of a link: its target cannot change but by replacing the link.
pub fn read_link<F: Folder>(folder: &F, name: &[u8]) -> Result<(Stat, Vec<u8>), Fault> {
    let gone = || Fault { action: "read the link", error: std::io::ErrorKind::NotFound.into() };
    let stat = folder.stat(name)?.ok_or_else(gone)?;
    Ok((stat, folder.read_link(name)?))
}

/// The digest of one content in memory.
pub fn digest_of(content: &[u8]) -> Digest {
    let mut hash = Stream::new();
    hash.update(content);
    hash.finish()
}

fn source_fault(path: &EntryPath, fault: &Fault) -> Knowledge {
    if fault.is_absence() {
        Knowledge::Vanished
    } else {
        Knowledge::Failed(Problem::source(path, fault.action, &fault.error))
    }
}
