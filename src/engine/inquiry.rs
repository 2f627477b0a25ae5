//! The planner's questions on their way to the workers and back, while the join goes on.

use super::content::{Comparison, is_large};
use super::deal::{Deck, Most};
use super::workers::Window;
use crate::error::Error;
use crate::model::{Change, Kind};
use crate::monitor::{Monitor, Phase};
use crate::plan::Plan;
use crate::plan::decide::Knowledge;
use crate::plan::join::Joined;
use crate::plan::links::Settled;
use crate::plan::planner::{Census, Planned, Planner, Question, Step};
use crate::store::local::LocalStore;
use std::collections::HashSet;

/// A batch of questions with their answers.
type Answers = (Vec<Question>, Vec<Knowledge>);

/// Small contents are compared this many files and bytes at a time: enough to fill the lanes of the
/// hash, little enough to be in the processor's cache still when they are hashed.
const FILES_TOGETHER: usize = 256;
const BYTES_TOGETHER: u64 = 2 << 20;

/// Confirmed rows written in one transaction.
const CONFIRMED_TOGETHER: usize = 1024;

/// The planner with its questions, which the workers answer while the join goes on.
pub struct Inquiry<'i, 'w, 'scope, 'e, 'm> {
    planner: Planner<'e>,
    comparison: Option<&'scope Comparison<'e, LocalStore, LocalStore>>,
    window: &'i mut Window<'w, 'scope, Answers>,
    questions: Vec<Question>,
    bytes: u64,
    large: Deck<Question>,
    confirmed: Vec<Change>,
    adopted: u64,
    books: Books<'m>,
    monitor: &'i dyn Monitor,
}

/// All settled names of these inodes of the source.
type OfInodes<'m> = dyn FnMut(&HashSet<u64>) -> Result<Vec<Settled>, Error> + 'm;

/// What planning needs of the manifest besides its rows in order.
pub struct Books<'m> {
    /// Takes rows that are true without a change to the replica.
    pub confirm: &'m mut dyn FnMut(Vec<Change>) -> Result<(), Error>,
    /// All settled names of these inodes of the source.
    pub of_inodes: &'m mut OfInodes<'m>,
}

impl<'i, 'w, 'scope, 'e: 'scope, 'm> Inquiry<'i, 'w, 'scope, 'e, 'm> {
    /// Nothing asked yet. Where there is nothing to compare with, nothing will be.
    pub fn new(
        planner: Planner<'e>,
        comparison: Option<&'scope Comparison<'e, LocalStore, LocalStore>>,
        window: &'i mut Window<'w, 'scope, Answers>,
        books: Books<'m>,
        monitor: &'i dyn Monitor,
    ) -> Self {
        let (questions, confirmed) = (Vec::new(), Vec::new());
        let large = Deck::new(window.workers(), Most::ANY);
        Self {
            planner,
            comparison,
            window,
            questions,
            bytes: 0,
            large,
            confirmed,
            adopted: 0,
            books,
            monitor,
        }
    }

    /// Decides about the next path, asking where its content must be known.
    pub fn feed(&mut self, joined: Joined) -> Result<(), Error> {
        let step = self.planner.feed(joined);
        self.take(step)?;
        while let Some(answers) = self.window.try_next() {
            self.learn(answers)?;
        }
        Ok(())
    }

    fn take(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Settled => Ok(()),
            Step::Confirm(change) => {
                self.adopted += u64::from(matches!(change, Change::Put(_)));
                self.confirmed.push(change);
                if self.confirmed.len() < CONFIRMED_TOGETHER {
                    return Ok(());
                }
                (self.books.confirm)(std::mem::take(&mut self.confirmed))
            }
            Step::Ask(question) => self.ask(question),
        }
    }

    fn ask(&mut self, question: Box<Question>) -> Result<(), Error> {
        let size = question.stats().map_or(0, |(source, _)| match source.kind() {
            Kind::File => source.fingerprint.size,
            _ => 0,
        });
        if is_large(&question) {
            return self.large.add(size, *question).into_iter().try_for_each(|hand| self.submit(hand));
        }
        if self.bytes + size > BYTES_TOGETHER {
            self.flush()?;
        }
        self.bytes += size;
        self.questions.push(*question);
        if self.questions.len() >= FILES_TOGETHER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        let questions = std::mem::take(&mut self.questions);
        self.submit(questions)
    }

    fn submit(&mut self, questions: Vec<Question>) -> Result<(), Error> {
        let (Some(comparison), false) = (self.comparison, questions.is_empty()) else { return Ok(()) };
        while self.window.is_full() {
            if let Some(answers) = self.window.next() {
                self.learn(answers)?;
            }
        }
        self.window.submit(move || {
            let answers = comparison.answer(&questions);
            (questions, answers)
        });
        Ok(())
    }

    fn learn(&mut self, (questions, answers): Answers) -> Result<(), Error> {
        for (question, knowledge) in questions.into_iter().zip(answers) {
            let step = self.planner.learn(question, &knowledge);
            self.take(step)?;
        }
        Ok(())
    }

    /// Waits for all answers; returns the plan, what was counted, and how many rows were confirmed.
    pub fn finish(mut self) -> Result<(Plan, Census, u64), Error> {
        self.flush()?;
        self.large.deal().into_iter().try_for_each(|hand| self.submit(hand))?;
        self.monitor.phase(Phase::Compare, None);
        while let Some(answers) = self.window.next() {
            self.learn(answers)?;
        }
        (self.books.confirm)(std::mem::take(&mut self.confirmed))?;
        let inodes = self.planner.incomplete_inodes();
        let rows = if inodes.is_empty() { Vec::new() } else { (self.books.of_inodes)(&inodes)? };
        let Planned { plan, census, confirmed } = self.planner.finish(&rows);
        self.adopted += confirmed.len() as u64;
        (self.books.confirm)(confirmed)?;
        Ok((plan, census, self.adopted))
    }
}
