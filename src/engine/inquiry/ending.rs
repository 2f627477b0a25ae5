//! How an inquiry ends: all that is on its way is taken in, then comes the plan.

use super::{Again, Inquiry, Scanned};
use crate::engine::execute::early::Pioneer;
use crate::engine::gathered::Gathered;
use crate::engine::matching::match_files;
use crate::error::Error;
use crate::monitor::Phase;
use crate::plan::step::Planned;

impl<'e: 'scope, 'scope> Inquiry<'_, '_, 'scope, 'e, '_> {
    /// Nothing is planned any more: nobody needs the answers.
    pub(super) fn drop_questions(&mut self) {
        self.questions.clear();
        self.large.deal();
        self.gathered = Gathered::default();
    }

    /// Takes in all that is on its way.
    fn drain(&mut self) -> Result<(), Error> {
        if let Some(batch) = self.order.rest() {
            self.look_at(batch)?;
        }
        self.go_on()?;
        while !self.order.is_empty()
            && let Some(reply) = self.next_reply()?
        {
            self.hear(reply)?;
            self.go_on()?;
        }
        self.send_rest()?;
        self.flush_to_all()?;
        self.large.deal().into_iter().try_for_each(|hand| self.submit(hand))?;
        self.hear_all()?;
        // Names that waited for the first of their inode may be first ones themselves now.
        while self.send_rest()? {
            self.hear_all()?;
        }
        if let Some(pioneer) = &mut self.pioneer {
            pioneer.close_all();
        }
        self.finish_folders(true)?;
        self.hear_all()
    }

    /// Hears all that is out, and hands on what is full with that.
    fn hear_all(&mut self) -> Result<(), Error> {
        while let Some(reply) = self.next_reply()? {
            self.hear(reply)?;
            self.send_full()?;
        }
        Ok(())
    }

    /// The join broke off: what is out already is recorded, because the replica has it.
    pub fn abandon(mut self) -> Result<(), Error> {
        self.planner.survey();
        while let Some(reply) = self.next_reply()? {
            self.hear(reply)?;
        }
        self.go_on()?;
        // Or the next run would have to read all of them.
        self.settle_names()
    }

    /// Puts the rows of inodes right that got names while the join went on.
    fn settle_names(&mut self) -> Result<(), Error> {
        if self.pioneer.as_ref().is_some_and(Pioneer::has_linked) {
            let problems = (self.books.settle_names)()?;
            self.planner.complain(problems);
        }
        Ok(())
    }

    /// Waits for all replies; says what the scan came to.
    pub fn finish(mut self) -> Result<Scanned, Error> {
        self.monitor.phase(Phase::Compare, None);
        self.drain()?;
        (self.books.confirm)(std::mem::take(&mut self.confirmed))?;
        self.settle_names()?;
        let inodes = self.planner.incomplete_inodes(self.means.max_delete);
        if !inodes.is_empty() {
            (self.books.of_inodes)(&inodes, &mut |name| self.planner.recall(name))?;
        }
        let (rules, surveyed) = (self.planner.rules(), self.planner.surveyed());
        let misspelled = if surveyed.is_some() { self.planner.misspelled() } else { Vec::new() };
        let Planned { mut plan, census, confirmed, settled, rest } = self.planner.finish();
        self.adopted += confirmed.len() as u64;
        (self.books.confirm)(confirmed)?;
        if let Some(ahead) = surveyed {
            let replica = self.means.comparison.map(|comparison| comparison.replica);
            let renamed = replica.map(|replica| self.asides.place(self.renamed, replica)).unwrap_or_default();
            let again = Some(Again { renamed, misspelled, ahead });
            return Ok(Scanned { plan, census, adopted: self.adopted, again, rest: None });
        }
        if let (Some(comparison), None) = (self.means.comparison, &rest) {
            match_files(&mut plan, rules, comparison, &settled, self.window);
        }
        Ok(Scanned { plan, census, adopted: self.adopted, again: None, rest })
    }
}
