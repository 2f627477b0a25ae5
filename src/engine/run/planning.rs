//! What a run puts right before it plans, and the plan.

use super::Pass;
use crate::engine::execute::Site;
use crate::engine::relocate;
use crate::engine::renames::Renamed;
use crate::engine::report::Report;
use crate::engine::respell;
use crate::engine::scan::comparison;
use crate::engine::trend::Looks;
use crate::error::Error;
use crate::model::{EntryPath, Verb};
use crate::plan::Plan;
use crate::plan::deletions::Deletions;
use crate::plan::early::Ahead;
use crate::plan::round::Round;
use crate::plan::step::Seeks;
use crate::store::local::LocalStore;
use std::collections::HashMap;

/// Levels of folders in which names get the source's spelling in one run.
const DEEPEST: u32 = 64;

impl<'e> Pass<'e> {
    /// Renames folders that have other names, and what is spelled in another way, then plans; new entries may be in the replica already when
    /// the plan is there. Returns it with the place to carry it out.
    pub(super) fn plan(
        &self,
        report: &mut Report,
    ) -> Result<(Plan, Site<'e, LocalStore, LocalStore>), Error> {
        // Without rows nothing is known under another name, and a second look would be told nothing.
        let first = self.manifest.knows_entries()?;
        // Nor does anything go ahead in a replica that holds things and is new to the manifest: first it is to be known
        // how much that is.
        let ahead =
            if first || self.trees.replica.holds_anything() { Ahead::Nothing } else { Ahead::Everything };
        if ahead == Ahead::Everything {
            self.count_replica(0)?;
        }
        let filter = &self.job.settings.filter;
        let mut seeks = Seeks {
            // What is excluded here may be part of the mirror there: such folders are not renamed as a whole. Nor is
            // anything where old names stay.
            renames: first && filter.is_placeless() && self.job.settings.deletes == Deletions::Mirror,
            misspelled: !self.rules.rights.held.case_sensitive && self.trees.replica.holds_anything(),
            most: if ahead == Ahead::Everything { usize::MAX } else { self.job.planned_most },
        };
        let (mut site, mut ahead, mut look, mut readied) =
            (self.site(), ahead, self.looks(first), HashMap::new());
        let (mut looks, mut is_first_look) = (0, true);
        loop {
            let whose = (ahead.clone(), Round::first());
            let mut scanned = self.look(&site, (look, seeks), whose, std::mem::take(&mut readied), report)?;
            if is_first_look {
                self.count_replica(scanned.census.replica_entries)?;
            }
            let Some(again) = scanned.again.take() else {
                return self.in_rounds(scanned, site, ahead, report);
            };
            report.tally.adopted += scanned.adopted;
            if !again.renamed.is_empty() {
                readied = self.relocate(&again.renamed, report)?;
            } else if !again.misspelled.is_empty() {
                // Where nothing can be renamed, no further look finds out more.
                let (manifest, tally) = (self.manifest, &mut report.tally);
                let site = self.site();
                let any = respell::carry_out(&site, &again.misspelled, manifest, tally, self.monitor)?;
                looks += 1;
                // Each further look comes to names a level deeper.
                seeks.misspelled = any && looks < DEEPEST;
            }
            if is_first_look {
                ahead = again.ahead;
            }
            is_first_look = false;
            (seeks.renames, seeks.most) = (false, usize::MAX);
            look = Looks::AtAll;
            // They have followed the folders that they lie in.
            self.trees.source.recall_mounts(self.manifest.source_mounts()?);
            // What an earlier look mended may have lost something.
            site = Site { owner_lost: site.owner_lost, ..self.site() };
        }
    }

    fn relocate(
        &self,
        renamed: &[Renamed],
        report: &mut Report,
    ) -> Result<HashMap<EntryPath, Option<Verb>>, Error> {
        let site = self.site();
        let comparison =
            comparison(self.job, &self.trees.source, &self.trees.replica, self.rules, self.cancel);
        let (root, tally) = (&self.job.paths.replica, &mut report.tally);
        relocate::carry_out(&site, &comparison, renamed, root, self.manifest, tally, self.monitor)
    }

    /// What is looked at first. The files of a replica that is adopted are read on both sides: whoever opens them looks
    /// at them as well. Where rows are known, that may turn out to be so.
    fn looks(&self, has_rows: bool) -> Looks {
        let by_size = self.job.settings.filter.has_sizes();
        if by_size || self.rules.trust_metadata || !self.trees.replica.holds_anything() {
            Looks::AtAll
        } else if has_rows {
            Looks::AsFilesTurnOut
        } else {
            Looks::NotAtFiles
        }
    }
}
