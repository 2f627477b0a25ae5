//! Gives entries of the replica the spelling that they have in the source, where the replica's file system takes both
//! for one name.
//!
//! This comes before anything is planned, as for folders that have another name: it destroys nothing, and the plan is
//! then made of names that both sides spell alike. Otherwise a plan would bring over the new name, which is taken, and
//! delete the old one, which is the same entry. A run that is killed in the middle leaves an entry under a temporary
//! name: the next run brings it over anew and removes that one afterwards.

use super::content::NearFolder;
use super::execute::Site;
use super::relocate::done;
use super::report::Tally;
use crate::clock;
use crate::config::file::Durability;
use crate::error::Error;
use crate::manifest::{Manifest, Shift};
use crate::model::{EntryPath, Problem};
use crate::monitor::Monitor;
use crate::plan::spelling::Misspelled;
use crate::store::{Fault, Folder, Store, Writes};
use std::time::Instant;

/// Renames each of `misspelled`, and moves the rows of folders with them. Returns true if any got its name: then another
/// look finds less to do.
pub fn carry_out<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    misspelled: &[Misspelled],
    manifest: &Manifest,
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> Result<bool, Error> {
    site.anchors.recheck()?;
    manifest.ensure_run_row()?;
    let failed = |fault: Fault| Error::System { action: fault.action, error: fault.error };
    let wanted = site.durability != Durability::None;
    let writes = wanted.then(|| site.replica.begin_writes()).transpose().map_err(failed)?;
    let mut near = NearFolder::new(site.replica);
    let (mut dones, mut shifts, mut directly) = (Vec::new(), Vec::new(), None);
    for Misspelled { from, to, replica } in misspelled {
        if site.cancel.requested() {
            break;
        }
        let started = Instant::now();
        let renamed =
            near.of(from).and_then(|folder| folder.respell(from.name(), replica, to.name(), directly));
        match renamed {
            Ok(works_directly) => {
                directly = Some(works_directly);
                // The row of a file is forgotten with its old name: the file is compared once.
                if from.is_folder() {
                    shifts.push(Shift::Move(from.clone(), to.clone()));
                }
                dones.push(done(from, to, started));
            }
            Err(fault) => monitor.warning(&format!(
                "{from} is spelled {to} in the source, but cannot be renamed in the replica ({fault}); it stays as it is"
            )),
        }
    }
    if let Some(Err(fault)) = writes.filter(|_| !dones.is_empty()).map(Writes::make_durable) {
        // The rows stay where they are, which costs a comparison.
        tally.problem(Problem::replica(&EntryPath::root(), fault.action, &fault.error), monitor);
    } else {
        manifest.relocate(&shifts)?;
    }
    tally.count(&dones, monitor);
    manifest.jot(&dones, clock::now());
    if site.cancel.requested() { Err(Error::Interrupted) } else { Ok(!dones.is_empty()) }
}
