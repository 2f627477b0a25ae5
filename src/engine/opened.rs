//! Folders that a run opened to list them are closed again at its end.

use super::report::Tally;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::{Change, Problem, Record};
use crate::monitor::Monitor;
use crate::store::local::LocalStore;

/// Gives folders of the replica that this run opened the permissions that their rows say, or that they had where there
/// is no row, deepest first. The rows follow the ctimes that opening and closing moved.
pub fn close(
    replica: &LocalStore,
    manifest: &Manifest,
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    let mut changes = Vec::new();
    for (path, before) in replica.opened_folders().into_iter().rev() {
        let row = manifest.find(&path)?;
        let mode = row.as_ref().map_or(before.fingerprint.mode, |row| row.replica.mode);
        match replica.close_folder(&path, &before, mode) {
            Ok(Some(now)) => {
                let unmoved = row.filter(|row| row.replica == before.fingerprint);
                changes.extend(unmoved.map(|row| Change::Put(Record { replica: now.fingerprint, ..row })));
            }
            Ok(None) => {}
            Err(fault) if fault.is_absence() => {}
            Err(fault) => tally.problem(Problem::replica(&path, fault.action, &fault.error), monitor),
        }
    }
    Ok(manifest.apply(changes)?)
}
