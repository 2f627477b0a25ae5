//! Deletes that lose nothing: what they delete has another name in the source now.

use super::links::Settled;
use super::{FolderTask, Plan};
use crate::model::{EntryPath, Fingerprint, Kind, Operation, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What makes an object of the source recognisable under another name: a file by inode, size and
/// time, a folder by its inode alone, because its time moves with what is in it.
type Identity = (Kind, u64, Option<(u64, Timestamp)>);

fn identity(fingerprint: &Fingerprint) -> Identity {
    let content = (fingerprint.size, fingerprint.mtime);
    let content = (fingerprint.kind != Kind::Folder).then_some(content);
    (fingerprint.kind, fingerprint.inode, content)
}

/// What the source had there when it was last in step.
fn origin(delete: &Operation) -> Option<&Fingerprint> {
    delete.origin.as_ref().map(|row| &row.source)
}

/// The folders of a plan that is being made.
type Folders = BTreeMap<EntryPath, Arc<FolderTask>>;

/// How many deletes do not arrive with the same plan, and the inodes of what they delete, but for folders: an
/// earlier run that was interrupted may have brought it over under its new name already.
pub fn unmatched(plan: &Plan, folders: &Folders) -> (u64, HashSet<u64>) {
    let mut arrived = arrivals(plan, folders.values());
    let mut unmatched = 0;
    let lost = plan.deletes.iter().filter(|delete| !takes(&mut arrived, delete));
    let files = lost.inspect(|_| unmatched += 1).filter_map(origin).filter(|o| o.kind != Kind::Folder);
    let inodes = files.map(|origin| origin.inode).collect();
    (unmatched, inodes)
}

/// How many deletes of a plan that is complete have their source's object under a new name: one that this
/// plan brings, or one that is in step already (`settled`) and stays.
pub fn count(plan: &Plan, settled: &[Settled]) -> u64 {
    let mut arrived = arrivals(plan, plan.folders.iter());
    let among = |operations: &[Operation], path: &EntryPath| {
        operations.binary_search_by(|operation| operation.path.cmp(path)).is_ok()
    };
    let mut old_names: HashMap<Identity, u64> = HashMap::new();
    for origin in plan.deletes.iter().filter_map(origin) {
        *old_names.entry(identity(origin)).or_default() += 1;
    }
    let stays = |name: &&Settled| {
        let path = &name.record.path;
        let folder = plan.folders.binary_search_by(|task| task.path.cmp(path)).ok();
        let arrives = folder.is_some_and(|at| plan.folders[at].replica.is_none());
        !(arrives || among(&plan.deletes, path) || among(&plan.entries, path) || among(&plan.links, path))
    };
    for name in settled.iter().filter(stays) {
        let identity = identity(&name.record.source);
        // One of several old names: which of them became this one, if any, is not known.
        if old_names.get(&identity) == Some(&1) {
            *arrived.entry(identity).or_default() += 1;
        }
    }
    plan.deletes.iter().filter(|delete| takes(&mut arrived, delete)).count() as u64
}

fn arrivals<'p>(plan: &Plan, folders: impl Iterator<Item = &'p Arc<FolderTask>>) -> HashMap<Identity, u64> {
    let mut arrived: HashMap<Identity, u64> = HashMap::new();
    if plan.deletes.is_empty() {
        return arrived;
    }
    let new_entries = plan.entries.iter().chain(&plan.links).filter(|operation| operation.replica.is_none());
    let new_folders = folders.filter(|task| task.replica.is_none()).map(|task| task.source);
    for source in new_entries.filter_map(|operation| operation.source).chain(new_folders) {
        *arrived.entry(identity(&source.fingerprint)).or_default() += 1;
    }
    arrived
}

/// One name that is there accounts for one that went, however many went.
fn takes(arrived: &mut HashMap<Identity, u64>, delete: &Operation) -> bool {
    let left = origin(delete).and_then(|origin| arrived.get_mut(&identity(origin)));
    left.filter(|left| **left > 0).map(|left| *left -= 1).is_some()
}
