//! What a run verifies along with its own work.

use super::Pass;
use crate::engine::rebuild::verify_along;
use crate::engine::report::Report;
use crate::engine::{damage, losses};
use crate::error::Error;
use crate::model::Verb;
use crate::plan::ages::Extent;

impl Pass<'_> {
    /// Verifies the part of the tree whose turn it is, says what is damaged, and notes how far verification has come.
    pub(super) fn verify(&self, report: &mut Report) -> Result<(), Error> {
        let mut ages = self.ages.take();
        // What this run read or brought over is in no row that its look met; the next one counts it as it is.
        let new = report.census.source_bytes.saturating_sub(ages.all().bytes);
        if ages.all().files == 0 {
            ages = self.manifest.ages_written()?;
        } else if new > 0 {
            ages.note_all(
                self.rules.began.seconds,
                Extent { files: report.tally.of(Verb::Copy), bytes: new },
            );
        }
        let (trees, rules) = (self.trees, self.rules);
        report.verified =
            verify_along(self.job, (trees, rules), self.manifest, &mut ages, self.cancel, self.monitor)?;
        for problem in std::mem::take(&mut report.verified.problems) {
            report.tally.problems.push(problem);
        }
        damage::tell(self.manifest, &mut report.tally, self.monitor)?;
        losses::tell(
            self.manifest,
            (self.rules.rights.uid, self.rules.began),
            &mut report.tally,
            self.monitor,
        )?;
        Ok(self.manifest.note_coverage(&ages.days())?)
    }
}
