//! What a run does about the trash at its end.

use crate::cancel::Cancel;
use crate::clock;
use crate::engine::report::Report;
use crate::engine::trash::Trash;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::{EntryPath, Problem};
use crate::monitor::Monitor;
use crate::plan::TRASH;
use crate::store::local::LocalStore;
use std::time::Duration;

/// Removes from the trash what is old enough, and counts what is in it.
pub(super) fn tend(
    trash: &Trash<LocalStore>,
    keep: Duration,
    manifest: &Manifest,
    cancel: &Cancel,
    report: &mut Report,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    match trash.tend(keep, clock::now(), &manifest.trash()?, cancel) {
        Ok(runs) => manifest.note_trash(&runs)?,
        Err(fault) => {
            let path = EntryPath::root().child(TRASH, true);
            report.tally.problem(Problem::replica(&path, fault.action, &fault.error), monitor);
        }
    }
    Ok(())
}
