//! What is old enough leaves the trash at the end of a run.

use super::Pass;
use crate::engine::report::Report;
use crate::engine::trash::Trash;
use crate::error::Error;
use crate::model::{EntryPath, Problem};
use crate::plan::TRASH;
use crate::store::local::LocalStore;

impl Pass<'_> {
    /// Removes from the trash what is old enough, and counts what is in it.
    pub(super) fn tend(&self, trash: &Trash<LocalStore>, report: &mut Report) -> Result<(), Error> {
        let (rows, elapsed) = (self.manifest.trash()?, self.manifest.trash_time()?);
        let keep = self.job.settings.trash.keep;
        let fault = match trash.tend(keep, (&rows, elapsed.as_ref()), self.cancel, self.monitor) {
            Ok(tended) => {
                self.manifest.note_trash(&tended.rows, &tended.elapsed)?;
                tended.fault
            }
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            let path = EntryPath::root().child(TRASH, true);
            report.tally.problem(Problem::replica(&path, fault.action, &fault.error), self.monitor);
        }
        Ok(())
    }
}
