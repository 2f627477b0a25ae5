//! A run of a pair of which none has ended well yet: how much the replica had, and when that does not matter any more.

use super::Pass;
use crate::engine::report::Report;
use crate::error::Error;

impl Pass<'_> {
    /// Notes how much the replica had before anything was brought over, unless an earlier run has.
    pub(super) fn count_replica(&self, entries: u64) -> Result<(), Error> {
        let Some(adoption) = self.adoption else { return Ok(()) };
        let is_counted = self.replica_had.get().is_some();
        if !is_counted {
            self.replica_had.set(Some(adoption.replica_had.unwrap_or(entries)));
            if adoption.replica_had.is_none() {
                self.manifest.note_replica_had(entries)?;
            }
        }
        Ok(())
    }

    /// Notes that a run has ended which left nothing open of what the replica had before.
    pub(super) fn settle_adoption(&self, report: &Report) -> Result<(), Error> {
        let ended_well = report.held.is_none() && !report.interrupted;
        let had_nothing = self.replica_had.get() == Some(0);
        if self.adoption.is_some() && ended_well && (self.is_seen_through.get() || had_nothing) {
            self.manifest.settle_adoption()?;
        }
        Ok(())
    }
}
