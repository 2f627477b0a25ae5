//! One look at both trees: what must be known is read, what is new may go ahead, and a plan comes out.

use super::books::Books;
use super::content::Comparison;
use super::execute::Site;
use super::foresight::Foresight;
use super::inquiry::{Inquiry, Means, Scanned};
use super::job::Job;
use super::observe;
use super::trend::{Looks, Trend};
use super::workers::Workers;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::{Entry, EntryPath, Record, Side, Verb};
use crate::monitor::{Amount, Monitor, Phase};
use crate::plan::decide::Rules;
use crate::plan::early::Ahead;
use crate::plan::join::{Join, Joined};
use crate::plan::planner::Planner;
use crate::plan::round::Round;
use crate::plan::step::{Mode, Seeks};
use crate::plan::visible::Sight;
use crate::store::local::LocalStore;
use std::collections::HashMap;

/// Entries between two reports of progress.
const SCANNED_TOGETHER: u64 = 1024;

/// What a scan needs to know.
pub struct Scan<'e> {
    /// Entries that the last complete run saw.
    pub expected: Option<u64>,
    /// Whose trees these are.
    pub job: &'e Job,
    /// The tree that is mirrored.
    pub source: &'e LocalStore,
    /// The mirror; `None`: a dry run that finds none.
    pub replica: Option<&'e LocalStore>,
    /// What holds for the run.
    pub rules: &'e Rules,
    /// A request to stop.
    pub cancel: &'e Cancel,
    /// Where new entries are brought over while the join goes on.
    pub site: Option<(&'e Site<'e, LocalStore, LocalStore>, &'e Manifest)>,
    /// What the walks look at.
    pub looks: Looks,
    /// What to look for before anything is planned; another look may follow.
    pub seeks: Seeks,
    /// Which new entries go ahead.
    pub ahead: Ahead,
    /// Whose names are decided about.
    pub round: Round,
    /// The replica is looked at as it will be: a dry run renames nothing.
    pub foresight: Option<&'e Foresight>,
    /// What this run did to folders before it planned.
    pub readied: HashMap<EntryPath, Option<Verb>>,
}

/// How contents are compared.
pub fn comparison<'e>(
    job: &Job,
    source: &'e LocalStore,
    replica: &'e LocalStore,
    rules: &'e Rules,
    cancel: &'e Cancel,
) -> Comparison<'e, LocalStore, LocalStore> {
    Comparison {
        source,
        replica,
        rights: &rules.rights,
        chunk_bytes: job.settings.chunk_bytes,
        abreast: job.abreast,
        keep_holes: rules.rights.preserve.sparse && replica.holds_holes(),
        cancel,
    }
}

impl Scan<'_> {
    /// Walks both trees, joins them with the rows, has read what must be known, and decides.
    pub fn plan(
        &self,
        rows: impl Iterator<Item = Result<Record, Error>>,
        workers: &Workers,
        books: Books<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Scanned, Error> {
        monitor.phase(Phase::Scan, self.expected.map(|entries| Amount { entries, bytes: 0 }));
        let comparison =
            self.replica.map(|replica| comparison(self.job, self.source, replica, self.rules, self.cancel));
        let mode = Mode { seeks: self.seeks, ahead: self.ahead.clone(), round: self.round.clone() };
        let trend = Trend::new(self.looks);
        let look = trend.look();
        std::thread::scope(|scope| {
            let threads = self.job.settings.workers;
            let source = observe::walk(scope, Side::Source, Some(self.source), look, threads, self.cancel)?;
            let replica = observe::walk(scope, Side::Replica, self.replica, look, threads, self.cancel)?;
            let replica: Box<dyn Iterator<Item = Result<Entry, Error>>> = match self.foresight {
                Some(foresight) => Box::new(foresight.entries(replica)),
                None => Box::new(replica),
            };
            let mut sight = Sight::new(&self.job.settings.filter);
            let join = Join::new(source, replica, rows)?.map(|joined| Ok(sight.of(joined?)));
            workers.within(|window| {
                let planner = Planner::new(self.rules, mode).after_readying(self.readied.clone());
                let max_delete = self.job.settings.max_delete;
                let means =
                    Means { comparison: comparison.as_ref(), site: self.site, max_delete, trend: &trend };
                let mut inquiry = Inquiry::new(planner, means, window, books, monitor);
                let mut scanned = 0;
                let all = || -> Result<(), Error> {
                    for joined in join {
                        let joined: Result<Joined, Error> = joined;
                        inquiry.feed(joined?)?;
                        scanned += 1;
                        if scanned == SCANNED_TOGETHER {
                            monitor.advance(Amount { entries: scanned, bytes: 0 });
                            scanned = 0;
                        }
                    }
                    Ok(())
                };
                match all() {
                    Ok(()) => inquiry.finish(),
                    Err(error) => {
                        // What stopped it says more than that something could not be recorded as well.
                        let _: Result<(), Error> = inquiry.abandon();
                        Err(error)
                    }
                }
            })
        })
    }
}
