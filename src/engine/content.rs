//! Hash what must be known: both sides of the files in question are read and compared, many files
//! of a batch hashed side by side.

pub use super::arena::Arena;
use super::holes::{Equality, compare_sparse, is_sparse};
use super::identity::open_scanned;
use super::mended::{Answer, Mender, share_time};
pub use super::near::NearFolder;
use super::pairs::{Compared, Pair, answer_abreast};
use super::pending::{Content, Outcome, Pending, hash};
use crate::cancel::Cancel;
use crate::clock;
use crate::hash::Stream;
use crate::model::{Attributes, Difference, Digest, EntryPath, Kind, Problem, Stat, Timestamp};
use crate::plan::consistency::is_unchanged;
use crate::plan::decide::{Knowledge, unmoved};
use crate::plan::desired::Rights;
use crate::plan::join::Joined;
use crate::plan::step::Question;
use crate::store::{Fault, Folder, Store, attributes_of};
use crate::transfer::Interruption;
use std::fs::File;
use std::time::Instant;

/// How often a file that changes while it is read is read again.
pub const TRIES: u32 = 4;

/// Files up to this size are read as a whole, and hashed together with the others of their batch.
pub const SMALL: u64 = 1 << 20;

/// Bytes of small files a worker holds at a time.
pub const BATCH_BYTES: u64 = 8 << 20;

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
    /// Large files that one worker compares side by side.
    pub abreast: usize,
    /// A replica file that has the source's bytes but not its holes is no equal.
    pub keep_holes: bool,
    /// A request to stop.
    pub cancel: &'e Cancel,
}

/// Where small files are compared as a whole: their contents go into the arena, and what is little is mended at once.
pub struct Bench<'a, S: Store, R: Store> {
    /// Room for contents.
    pub arena: &'a mut Arena,
    /// `None`: nothing is mended.
    pub mender: Option<Mender<'a, S, R>>,
}

/// What looking at both sides came to.
pub enum Finding {
    /// All that is asked for.
    Known(Knowledge),
    /// The same, in memory, to be hashed with the others.
    Pending(Pending),
    /// To be read piece by piece.
    Pair(Box<Pair>),
}

impl<S: Store, R: Store> Comparison<'_, S, R> {
    /// Answers a batch of questions, in their order. Files that only need to be mended are, if there is a `mender`.
    pub fn answer(&self, questions: &[Question], mender: Option<Mender<'_, S, R>>) -> Vec<Answer> {
        let started = Instant::now();
        let mut answers =
            Arena::with(self.chunk_bytes, |arena| self.answer_at(questions, &mut Bench { arena, mender }));
        share_time(answers.iter_mut(), started, questions.len());
        answers
    }

    fn answer_at(&self, questions: &[Question], bench: &mut Bench<'_, S, R>) -> Vec<Answer> {
        let mut source = NearFolder::new(self.source);
        let mut replica = NearFolder::new(self.replica);
        let mut pending: Vec<(usize, Pending)> = Vec::new();
        let mut large = Vec::new();
        // What is pending or large is answered further below.
        let mut answers: Vec<Answer> = vec![Answer::Known(Knowledge::Vanished); questions.len()];
        for (index, question) in questions.iter().enumerate() {
            if self.cancel.requested() {
                break;
            }
            if is_large(question) {
                large.push(index);
                continue;
            }
            match self.examine(question, &mut source, &mut replica, Some(bench)) {
                Finding::Known(knowledge) => answers[index] = Answer::Known(knowledge),
                Finding::Pending(found) => pending.push((index, found)),
                // It has grown since it was scanned.
                Finding::Pair(_) => large.push(index),
            }
        }
        hash(pending, bench.arena, |index, answer| answers[index] = answer);
        let mut known = |index: usize, knowledge| answers[index] = Answer::Known(knowledge);
        answer_abreast(self, questions, large, &mut known);
        answers
    }

    /// Looks at both sides of one path; small contents go to the bench, if there is one.
    pub(super) fn examine(
        &self,
        question: &Question,
        source: &mut NearFolder<'_, S>,
        replica: &mut NearFolder<'_, R>,
        mut bench: Option<&mut Bench<'_, S, R>>,
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
            match self.compare_files(question, scanned, &*ours, &*theirs, bench.as_deref_mut()) {
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
        self.compare_folder_with(path, path)
    }

    /// The same where the replica has it as `theirs`.
    pub fn compare_folder_with(&self, path: &EntryPath, theirs: &EntryPath) -> Knowledge {
        let began = clock::now();
        let scope = self.rights.scope();
        let at_source = || -> Result<_, Fault> {
            let folder = self.source.folder(path)?;
            Ok((folder.own_stat()?, folder.own_attributes(scope)?))
        };
        let at_replica = || -> Result<_, Fault> {
            let folder = self.replica.folder(theirs)?;
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
        bench: Option<&mut Bench<'_, S, R>>,
    ) -> Result<Option<Finding>, Knowledge> {
        let path = question.path();
        let at_source = |fault: Fault| source_fault(path, &fault);
        let began = clock::now();
        let (source_file, source) = open_scanned(ours, path.name(), scanned).map_err(at_source)?;
        // What cannot be read in the replica is made anew beside it; if that fails too, it says why.
        let opened = theirs.open_file(question.replica_path().name()).map_err(|_| Knowledge::Different);
        let (replica_file, replica) = opened?;
        if source.fingerprint.size != replica.fingerprint.size {
            return Ok(Some(Finding::Known(Knowledge::Different)));
        }
        let pair = Pair { source_file, replica_file, source, replica, began };
        self.compare_pair(&question.joined, pair, bench)
    }

    /// The same of two files of one size that are open.
    pub(super) fn compare_pair(
        &self,
        joined: &Joined,
        pair: Pair,
        bench: Option<&mut Bench<'_, S, R>>,
    ) -> Result<Option<Finding>, Knowledge> {
        let path = &joined.path;
        let (source, size) = (pair.source, pair.source.fingerprint.size);
        let at_source = |fault: Fault| source_fault(path, &fault);
        let sparse = is_sparse(&pair.source_file, &source);
        if let Some(bench) = bench.filter(|_| size <= SMALL && !sparse) {
            return self.compare_whole(joined, &pair, bench);
        }
        if !sparse {
            return Ok(Some(Finding::Pair(Box::new(pair))));
        }
        let (mut x, mut y) = (vec![0; self.chunk_bytes], vec![0; self.chunk_bytes]);
        let files = (&pair.source_file, &pair.replica_file);
        let equality = compare_sparse(files, size, (&mut x, &mut y), self.keep_holes, self.cancel);
        let compared = equality.map(|equality| match equality {
            Equality::Same(digest) => Compared::Same(digest),
            Equality::Different => Compared::Different,
        });
        let known = self.conclude(path, &pair, compared);
        let now = restat(&pair.source_file).map_err(|error| at_source(Fault { action: "read", error }))?;
        Ok(is_unchanged(&source, &now).then_some(Finding::Known(known)))
    }

    /// Reads both files whole and compares them in memory.
    fn compare_whole(
        &self,
        joined: &Joined,
        pair: &Pair,
        bench: &mut Bench<'_, S, R>,
    ) -> Result<Option<Finding>, Knowledge> {
        let (path, arena) = (&joined.path, &mut *bench.arena);
        let size = pair.source.fingerprint.size;
        let failed = |error| source_fault(path, &Fault { action: "read", error });
        let Some(content) = arena.read(&pair.source_file, size).map_err(failed)? else { return Ok(None) };
        let found = arena.read(&pair.replica_file, size).map_err(|_| Knowledge::Different)?;
        let same = found.as_ref().is_some_and(|found| arena.get(&content) == arena.get(found));
        if let Some(found) = &found {
            arena.release(found);
        }
        if !same {
            arena.release(&content);
            let still = is_unchanged(&pair.source, &restat(&pair.source_file).map_err(failed)?);
            return Ok(still.then_some(Finding::Known(Knowledge::Different)));
        }
        // Where they are the same nobody asks whether the source stood still: the figures are older than
        // what was read, so that the next run sees whatever changed since.
        let attributes = self.compare_attributes(path, pair)?;
        let Pair { source, replica, began, .. } = *pair;
        let outcome = match bench.mender.and_then(|mender| mender.mend(joined, pair, attributes)) {
            Some(mended) => Outcome::Mended(mended),
            None => Outcome::Compared { source, replica, attributes },
        };
        let content = match joined.row.as_ref().and_then(|row| unmoved(&source, &replica, row)) {
            Some((digest, hashed)) => {
                bench.arena.release(&content);
                Content::Known(digest, hashed)
            }
            None => Content::Read(content),
        };
        Ok(Some(Finding::Pending(Pending { content, began, outcome })))
    }

    fn compare_attributes(&self, path: &EntryPath, pair: &Pair) -> Result<Difference, Knowledge> {
        let scope = self.rights.scope();
        let found = attributes_of(&pair.source_file, scope).map_err(|fault| source_fault(path, &fault))?;
        let wanted = self.rights.desired_attributes(&pair.source, found);
        Ok(wanted.difference(&attributes_of(&pair.replica_file, scope).map_err(|_| Knowledge::Different)?))
    }

    /// What is known of two files that were compared.
    pub(super) fn conclude(
        &self,
        path: &EntryPath,
        pair: &Pair,
        compared: Result<Compared, Interruption>,
    ) -> Knowledge {
        let digest = match compared {
            Ok(Compared::Same(digest)) => digest,
            Err(Interruption::Source(error)) => return source_fault(path, &Fault { action: "read", error }),
            // One that never stands still is left to a copy, which knows what to do with it. What cannot
            // be read in the replica is made anew beside it; if that fails too, it says why.
            Ok(Compared::Different | Compared::Restless) | Err(Interruption::Replica(_)) => {
                return Knowledge::Different;
            }
            Err(Interruption::Cancelled) => return Knowledge::Vanished,
        };
        let Pair { source, replica, began, .. } = *pair;
        match self.compare_attributes(path, pair) {
            Ok(attributes) => Knowledge::Same { source, replica, digest, attributes, began },
            Err(knowledge) => knowledge,
        }
    }
}

/// Whether a question is about the contents of a large file.
pub fn is_large(question: &Question) -> bool {
    question.stats().is_some_and(|(source, _)| source.kind() == Kind::File && source.fingerprint.size > SMALL)
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
