//! What the walks only listed is looked at by the workers, and goes on in path order from there.

use super::{Inquiry, Reply};
use crate::engine::in_order::Turn;
use crate::engine::listed::Looking;
use crate::engine::mended::Answer;
use crate::error::Error;
use crate::plan::join::Joined;

impl<'e: 'scope, 'scope> Inquiry<'_, '_, 'scope, 'e, '_> {
    /// Has a batch looked at, unless so much is out that others must go on first.
    pub(super) fn look_at(&mut self, (turn, batch): (Turn, Vec<Joined>)) -> Result<(), Error> {
        let Some(comparison) = self.means.comparison else { return Ok(()) };
        while self.order.is_far_ahead() {
            if !self.go_on_once()? {
                let Some(reply) = self.next_reply()? else { break };
                self.hear(reply)?;
            }
        }
        self.make_room()?;
        // Where nothing is planned any more nothing has to be known.
        let reads = !self.planner.surveys();
        let mender = if reads { self.mender()? } else { None };
        let looking =
            Looking { rules: self.planner.rules(), until: self.planner.names_until(), mender, reads };
        self.window.submit(move || Reply::Looked(turn, comparison.look_at(batch, &looking)));
        Ok(())
    }

    /// Decides about what was looked at, as far as that is next.
    pub(super) fn go_on(&mut self) -> Result<(), Error> {
        while self.go_on_once()? {}
        Ok(())
    }

    /// The same as long as the workers have enough to do; else they are fed first, unless much waits.
    pub(super) fn go_on_beside_work(&mut self) -> Result<(), Error> {
        while (self.window.is_busy() || self.order.is_behind()) && self.go_on_once()? {}
        Ok(())
    }

    /// Decides about the next batch that was looked at; `false`: it is not back.
    fn go_on_once(&mut self) -> Result<bool, Error> {
        let Some(looked) = self.order.go_on() else { return Ok(false) };
        let mut dones = Vec::new();
        for (mut joined, answer) in looked {
            // It may be gone since it was listed.
            if joined.source.is_none() && joined.replica.is_none() && joined.row.is_none() {
                continue;
            }
            match answer {
                Some(Answer::Known(knowledge)) => self.decide(joined, Some(&knowledge))?,
                None => self.decide(joined, None)?,
                Some(Answer::Mended(mended)) => {
                    self.note(&joined);
                    self.means.trend.note(true);
                    self.planner.pass_by(&mut joined);
                    dones.push(mended.done(joined.path));
                }
            }
        }
        if !dones.is_empty() {
            (self.books.settle)(dones)?;
        }
        Ok(true)
    }
}
