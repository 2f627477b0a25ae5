//! Names of an inode that no difference brought to the planner: their rows tell where they are, a look
//! on both sides whether the rows still hold.

use super::content::NearFolder;
use crate::error::Error;
use crate::manifest::ManifestError;
use crate::model::{EntryPath, Kind, Record, Stat};
use crate::plan::decide::{Rules, unchanged, unchanged_replica};
use crate::plan::links::Settled;
use crate::store::{Folder, Store};
use std::collections::HashSet;

/// Tells those of `rows`, which come in path order, that are names of these inodes of the source and are on
/// both sides what they say. A renamed folder moves no ctime of what is in it: a row alone proves nothing.
pub fn settled_names<S: Store, R: Store>(
    rows: impl Iterator<Item = Result<Record, ManifestError>>,
    (inodes, tell): (&HashSet<u64>, &mut dyn FnMut(Settled)),
    source: &S,
    replica: &R,
    rules: &Rules,
) -> Result<(), Error> {
    let (mut ours, mut theirs) = (NearFolder::new(source), NearFolder::new(replica));
    for row in rows {
        let record = row?;
        if record.racy || record.source.kind == Kind::Folder || !inodes.contains(&record.source.inode) {
            continue;
        }
        let (source, replica) = (look(&mut ours, &record.path), look(&mut theirs, &record.path));
        if let (Some(source), Some(replica)) = (source, replica)
            && unchanged(&source.fingerprint, &record.source, rules)
            && unchanged_replica(&replica, &record.replica, rules)
        {
            tell(Settled { record, source, replica });
        }
    }
    Ok(())
}

/// What is there now; what cannot be looked at is not settled.
fn look<T: Store>(near: &mut NearFolder<'_, T>, path: &EntryPath) -> Option<Stat> {
    near.of(path).and_then(|folder| folder.stat(path.name())).ok().flatten()
}
