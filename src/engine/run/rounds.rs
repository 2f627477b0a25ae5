//! More names of hard-linked files than are to be held at once: a part of their inodes after the other is brought into
//! step, each with a look of its own, before the plan of the run.

use super::Pass;
use crate::engine::execute::names::settle_ahead;
use crate::engine::execute::{Site, execute};
use crate::engine::inquiry::Scanned;
use crate::engine::report::Report;
use crate::engine::trend::Looks;
use crate::error::Error;
use crate::model::{EntryPath, Kind};
use crate::plan::Plan;
use crate::plan::deletions::{Deletions, keep_everything};
use crate::plan::early::Ahead;
use crate::plan::gate::approve_without_deletes;
use crate::plan::step::Seeks;
use crate::store::local::LocalStore;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

impl<'e> Pass<'e> {
    /// Carries out what a look found out about some inodes with several names, and looks again, until nothing is left
    /// but the plan.
    pub(super) fn in_rounds(
        &self,
        mut scanned: Scanned,
        mut site: Site<'e, LocalStore, LocalStore>,
        ahead: Ahead,
        report: &mut Report,
    ) -> Result<(Plan, Site<'e, LocalStore, LocalStore>), Error> {
        // There are rows now, and a replica.
        let ahead = if ahead == Ahead::Everything { Ahead::AllBut(HashSet::new()) } else { ahead };
        let mut told: HashSet<EntryPath> = HashSet::new();
        while let Some(round) = scanned.rest.take() {
            self.in_rounds.set(true);
            told.extend(scanned.plan.problems.iter().map(|problem| problem.path.clone()));
            let mut plan = self.note(scanned, report)?;
            if self.job.settings.deletes == Deletions::Never {
                // Counted with the plan that follows: what stays is met again.
                keep_everything(&mut plan);
            }
            let (approved, waiting) = approve_without_deletes(plan, self.adoption.is_some());
            let tally = &mut report.tally;
            execute(&site, &approved, self.workers, self.manifest, tally, self.monitor)?;
            // Deletes may make room.
            let is_full = site.full.load(Ordering::Relaxed);
            let round = if is_full { round.at_last() } else { round.next(waiting) };
            site = self.site();
            scanned = self.look(
                &site,
                (Looks::AtAll, Seeks::default()),
                (ahead.clone(), round),
                HashMap::new(),
                report,
            )?;
            scanned.plan.problems.retain(|problem| !told.contains(&problem.path));
        }
        Ok((self.note(scanned, report)?, site))
    }

    /// Has the rows that earlier rounds wrote follow the ctimes that deletes of other names moved. What is not as its
    /// row says for other reasons is for the next run.
    pub(super) fn settle_rounds(&self, plan: &Plan) -> Result<(), Error> {
        if !self.in_rounds.get() {
            return Ok(());
        }
        let device = self.trees.source.device();
        let had_others = |links: u64, kind: Kind| links > 1 && kind != Kind::Folder;
        for delete in &plan.deletes {
            if let (Some(origin), Some(replica)) = (&delete.origin, &delete.replica)
                && had_others(replica.links, replica.kind())
            {
                self.manifest.note_first_name((device, origin.source.inode), &delete.path)?;
            }
        }
        settle_ahead(&self.trees.replica, self.manifest).map(drop)
    }
}
