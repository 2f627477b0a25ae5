//! Makes sure that what is to be deleted is gone from the source, and has not moved while that was scanned.
//!
//! A walk lists one folder after the other. What moves meanwhile from a folder that it has not listed yet into one that
//! it has (mail from `new/` to `cur/`) is met under neither name, and the replica would lose it until the next run. So
//! before the deletes, folders of the source that have changed since they were scanned are listed again, and what is
//! found there under another name is kept.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::filter::Filter;
use crate::manifest::Manifest;
use crate::model::record::is_racy;
use crate::model::{EntryPath, Kind, Operation, Record, Seen, Stat, Timestamp};
use crate::monitor::Monitor;
use crate::plan::absence::{Absence, Fate, decide_absence, is_object_of, postpone, tops};
use crate::plan::decide::Rules;
use crate::plan::{FolderTask, Plan};
use crate::store::local::LocalStore;
use crate::store::{Folder, Store};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How often folders that changed are listed again before it counts as unproven that something is gone.
const PASSES: u32 = 4;

/// Where entries of the source may be found that a scan did not meet.
pub struct Search<'s> {
    /// The tree that was scanned.
    pub source: &'s LocalStore,
    /// Its folders, as the scan or an earlier run saw them.
    pub manifest: &'s Manifest,
    /// What holds for the run.
    pub rules: &'s Rules,
    /// What is no part of the mirror.
    pub filter: &'s Filter,
    /// A request to stop.
    pub cancel: &'s Cancel,
    /// Receives the note about deletes that wait.
    pub monitor: &'s dyn Monitor,
}

/// The figures by which it shows that names came into a folder or went from it.
type Figures = (Timestamp, Timestamp, u64);

fn figures(stat: &Stat) -> Figures {
    (stat.fingerprint.mtime, stat.fingerprint.ctime, stat.fingerprint.inode)
}

/// What is looked for, and what came of it.
struct Wanted<'p> {
    deletes: &'p [Operation],
    by_inode: HashMap<u64, Vec<usize>>,
    /// The numbers of deletes whose objects have other names.
    found: HashSet<usize>,
    /// Folders that were listed again, with their figures from before that.
    listed: HashMap<EntryPath, Figures>,
}

impl Search<'_> {
    /// Takes deletes out of a plan that would lose what only moved, or may have. They wait for the next run.
    ///
    /// # Errors
    /// Where the manifest cannot be read or written, and where the run was told to stop.
    pub fn keep_what_moved(&self, plan: &mut Plan) -> Result<(), Error> {
        let before = self.manifest.awaited()?;
        let mut awaited = BTreeSet::new();
        let mut waiting = BTreeSet::new();
        for (number, fate) in self.fates(plan, &before)? {
            let path = &plan.deletes[number].path;
            waiting.insert(path.clone());
            if fate == Fate::Await {
                awaited.insert(path.clone());
            }
        }
        if !waiting.is_empty() {
            postpone(plan, &waiting);
            self.monitor.note(&format!(
                "{} deletes wait for the next run: the source changed while it was scanned, and these entries may only \
                 have moved",
                waiting.len()
            ));
        }
        if awaited != before {
            self.manifest.note_awaited(&awaited)?;
        }
        Ok(())
    }

    /// The numbers of the deletes that wait.
    fn fates(&self, plan: &Plan, before: &BTreeSet<EntryPath>) -> Result<Vec<(usize, Fate)>, Error> {
        let deletes = &plan.deletes[..];
        // What has no row never came from the source.
        if deletes.iter().all(|delete| delete.origin.is_none()) {
            return Ok(Vec::new());
        }
        let recent = self.recent(deletes);
        if !plan.source_moved && !recent.contains(&true) {
            return Ok(Vec::new());
        }
        let (found, proven) = self.find(plan)?;
        let mut waiting = Vec::new();
        let mut moved: Option<&EntryPath> = None;
        for (number, delete) in deletes.iter().enumerate() {
            let within = moved.is_some_and(|folder| delete.path.is_below(folder));
            let fate = decide_absence(Absence {
                found: within || found.contains(&number),
                proven,
                recent: recent[number],
                awaited: before.contains(&delete.path),
            });
            if fate == Fate::Moved && !within {
                moved = Some(&delete.path);
            }
            if fate != Fate::Delete && (delete.origin.is_some() || within) {
                waiting.push((number, fate));
            }
        }
        Ok(waiting)
    }

    /// Returns for each delete whether the folder that held the entry, or the first one above that is still there, has
    /// changed since the run began.
    fn recent(&self, deletes: &[Operation]) -> Vec<bool> {
        let mut recent = vec![false; deletes.len()];
        let mut last: Option<(EntryPath, bool)> = None;
        let tops = tops(deletes);
        for (place, &top) in tops.iter().enumerate() {
            let parent = deletes[top].path.parent();
            let is = match &last {
                Some((folder, is)) if *folder == parent => *is,
                _ => self.stat(&parent).is_none_or(|now| self.is_fresh(now.fingerprint.ctime)),
            };
            last = Some((parent, is));
            let end = tops.get(place + 1).copied().unwrap_or(deletes.len());
            recent[top..end].fill(is);
        }
        recent
    }

    /// Returns true if a folder with this ctime may have changed since the run began.
    fn is_fresh(&self, ctime: Timestamp) -> bool {
        is_racy(ctime, self.rules.began, self.rules.tick_nanos, None)
    }

    fn stat(&self, folder: &EntryPath) -> Option<Stat> {
        self.source.folder(folder).and_then(|folder| folder.own_stat()).ok()
    }

    /// Looks for what the plan deletes in folders that have changed. Returns the numbers of the deletes whose objects
    /// were found, and whether it is certain that the others are gone.
    fn find(&self, plan: &Plan) -> Result<(HashSet<usize>, bool), Error> {
        let mut by_inode: HashMap<u64, Vec<usize>> = HashMap::new();
        for (number, delete) in plan.deletes.iter().enumerate() {
            if let Some(row) = &delete.origin {
                by_inode.entry(row.source.inode).or_default().push(number);
            }
        }
        let mut wanted =
            Wanted { deletes: &plan.deletes, by_inode, found: HashSet::new(), listed: HashMap::new() };
        for pass in 0..PASSES {
            let changed = self.changed(plan, &wanted.listed, pass == 0)?;
            if changed.is_empty() {
                return Ok((wanted.found, true));
            }
            for folder in changed {
                self.list(folder, plan, &mut wanted)?;
            }
            // Without inodes nothing is known again under another name.
            if self.rules.ignore_inode {
                break;
            }
        }
        Ok((wanted.found, false))
    }

    /// The folders that are not as they were when they were listed last. In the first pass also those that may have
    /// changed again within the same tick of the clock.
    fn changed(
        &self,
        plan: &Plan,
        listed: &HashMap<EntryPath, Figures>,
        first: bool,
    ) -> Result<Vec<EntryPath>, Error> {
        let mut changed = Vec::new();
        let mut look = |path: &EntryPath, then: Figures| -> Result<(), Error> {
            if self.cancel.requested() {
                return Err(Error::Interrupted);
            }
            // What is gone, or cannot be opened, holds nothing that can be mirrored.
            if let Some(now) = self.stat(path)
                && (figures(&now) != then || first && self.is_fresh(now.fingerprint.ctime))
            {
                changed.push(path.clone());
            }
            Ok(())
        };
        let planned = |path: &EntryPath| {
            let at = plan.folders.binary_search_by(|task| task.path.cmp(path)).ok()?;
            Some(&*plan.folders[at])
        };
        self.manifest.for_each_folder(|row: Record| -> Result<(), Error> {
            let Record { path, source, .. } = &row;
            match (listed.get(path), planned(path)) {
                (Some(_), _) => Ok(()),
                (None, Some(FolderTask { source, .. })) => look(path, figures(source)),
                (None, None) => look(path, (source.mtime, source.ctime, source.inode)),
            }
        })?;
        for task in
            plan.folders.iter().filter(|task| task.replica.is_none() && !listed.contains_key(&task.path))
        {
            look(&task.path, figures(&task.source))?;
        }
        for (path, then) in listed {
            look(path, *then)?;
        }
        Ok(changed)
    }

    /// Returns true if the scan met this object under this name. If it did not, the name has no row and is not planned, or
    /// it is to be deleted.
    fn is_met(&self, path: &EntryPath, inode: u64, plan: &Plan) -> Result<bool, Error> {
        if plan.deletes.binary_search_by(|delete| delete.path.cmp(path)).is_ok() {
            return Ok(false);
        }
        let is_known = self.manifest.find(path)?.is_some_and(|row| row.source.inode == inode);
        let is_planned = || {
            let mut operations = plan.entries.iter().chain(&plan.links);
            operations.any(|operation| operation.path == *path)
                || plan.moves.iter().any(|moving| moving.to == *path)
                || plan.folders.iter().any(|task| task.path == *path)
        };
        Ok(is_known || is_planned())
    }

    /// Looks for what is wanted in a folder, and in folders of it that nobody knows yet.
    fn list(&self, folder: EntryPath, plan: &Plan, wanted: &mut Wanted<'_>) -> Result<(), Error> {
        let mut left = vec![folder];
        while let Some(folder) = left.pop() {
            if self.cancel.requested() {
                return Err(Error::Interrupted);
            }
            let (mut inner, mut hits) = (Vec::new(), Vec::new());
            let listed = self.source.for_each_child(&folder, &mut |name, stat| {
                let path = folder.child(name, stat.kind() == Kind::Folder);
                let is_left_out = self.rules.rights.leaves_out(&Seen::Present(stat), None);
                if is_left_out || self.filter.pattern_for(&path).is_some() {
                    return;
                }
                for &number in wanted.by_inode.get(&stat.fingerprint.inode).into_iter().flatten() {
                    let delete = &wanted.deletes[number];
                    // It is deleted although it is there, because it is excluded by what it holds.
                    let is_excluded = self.filter.spec().delete_excluded && delete.path == path;
                    let row = delete.origin.as_deref().filter(|_| !is_excluded);
                    if row.is_some_and(|row| is_object_of(&stat, row)) {
                        hits.push((number, path.clone(), stat.fingerprint.inode));
                    }
                }
                if stat.kind() == Kind::Folder {
                    inner.push((path, stat.device));
                }
            });
            let Ok(own) = listed else {
                // No folder has these figures: the next pass lists it again, if it is still there.
                wanted.listed.insert(folder, (Timestamp::default(), Timestamp::default(), 0));
                continue;
            };
            wanted.listed.insert(folder, figures(&own));
            for (number, path, inode) in hits {
                if !self.is_met(&path, inode, plan)? {
                    wanted.found.insert(number);
                }
            }
            for (path, device) in inner {
                let is_known = wanted.listed.contains_key(&path)
                    || plan.folders.binary_search_by(|task| task.path.cmp(&path)).is_ok()
                    || self.manifest.find(&path)?.is_some();
                if !is_known && device == own.device {
                    left.push(path);
                }
            }
        }
        Ok(())
    }
}
