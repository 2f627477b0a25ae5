//! One thread leads: it feeds the planner with what the join yields, and hands out what the planner wants to
//! know or may be done at once; the workers' replies come back to it while the join goes on.

mod ending;
mod looks;

use super::books::Books;
use super::content::{Comparison, is_large};
use super::deal::{Deck, Most};
use super::execute::Site;
use super::execute::early::{Brought, EarlyBatch, Pioneer, finish};
use super::gathered::Gathered;
use super::in_order::{InOrder, Turn};
use super::listed::Looked;
use super::mended::{Answer, Mender};
use super::renames::{Asides, Renamed};
use super::trend::Trend;
use super::workers::Window;
use crate::error::Error;
use crate::hash::LANES;
use crate::manifest::Manifest;
use crate::model::{Change, Digest, Done, Kind};
use crate::monitor::Monitor;
use crate::plan::Plan;
use crate::plan::census::Census;
use crate::plan::decide::Knowledge;
use crate::plan::early::Ahead;
use crate::plan::gate::MaxDelete;
use crate::plan::join::Joined;
use crate::plan::pairing::Unnamed;
use crate::plan::planner::Planner;
use crate::plan::round::Round;
use crate::plan::spelling::Misspelled;
use crate::plan::step::{Question, Step, Suspect};
use crate::store::local::LocalStore;

/// What comes back from the workers.
pub enum Reply {
    /// A batch of questions with their answers.
    Answers(Vec<Question>, Vec<Answer>),
    /// What the walks only listed was looked at.
    Looked(Turn, Looked),
    /// What came of new entries.
    Brought(Brought),
    /// Files of the source with their MD5.
    Named(Vec<(Unnamed, Digest)>),
    /// Folders that were made on the way have their metadata.
    Finished(Vec<Done>),
}

/// Small contents are compared this many files at a time, or fewer where they are many bytes.
const FILES_TOGETHER: usize = 256;

/// Fewer questions are not shared out at the end.
const LEAST_TOGETHER: usize = 8;

/// So many are enough where nobody has anything to do: the hash lanes are full twice.
const ENOUGH_FOR_THE_IDLE: usize = 2 * LANES;

/// Confirmed rows written in one transaction.
const CONFIRMED_TOGETHER: usize = 1024;

type LocalComparison<'e> = Comparison<'e, LocalStore, LocalStore>;
type LocalMender<'e> = Mender<'e, LocalStore, LocalStore>;

/// What a scan came to.
#[derive(Debug)]
pub struct Scanned {
    /// The plan; empty where folders have other names.
    pub plan: Plan,
    /// What was counted.
    pub census: Census,
    /// Rows that were confirmed as they are.
    pub adopted: u64,
    /// What a second look is to know; `None`: the plan is complete.
    pub again: Option<Again>,
    /// The round of names that this was, if others have to follow: the plan is about those of its inodes only.
    pub rest: Option<Round>,
}

/// What a first look found that did not plan.
#[derive(Debug)]
pub struct Again {
    /// Folders that have other names and can get them in the replica.
    pub renamed: Vec<Renamed>,
    /// Entries of the replica that are to get the source's spelling.
    pub misspelled: Vec<Misspelled>,
    /// What may go ahead then.
    pub ahead: Ahead,
}

/// Where things go on early, and what with; nothing does in a dry run.
pub struct Means<'scope> {
    /// Compares contents; where there is no replica, nothing is asked.
    pub comparison: Option<&'scope LocalComparison<'scope>>,
    /// Where new entries are brought over while the join goes on, and where it is recorded.
    pub site: Option<(&'scope Site<'scope, LocalStore, LocalStore>, &'scope Manifest)>,
    /// How many deletes are let through.
    pub max_delete: MaxDelete,
    /// What the walks are to look at.
    pub trend: &'scope Trend,
}

/// The planner with all that is on its way.
pub struct Inquiry<'i, 'w, 'scope, 'e, 'm> {
    planner: Planner<'e>,
    means: Means<'scope>,
    window: &'i mut Window<'w, 'scope, Reply>,
    questions: Vec<Question>,
    gathered: Gathered,
    large: Deck<Question>,
    /// Files may be mended as they are compared.
    mends: bool,
    pioneer: Option<Pioneer<'scope, LocalStore, LocalStore>>,
    confirmed: Vec<Change>,
    adopted: u64,
    renamed: Vec<Renamed>,
    asides: Asides,
    /// What is looked at before the planner may have it.
    order: InOrder,
    books: Books<'m>,
    monitor: &'i dyn Monitor,
}

impl<'i, 'w, 'scope, 'e: 'scope, 'm> Inquiry<'i, 'w, 'scope, 'e, 'm> {
    /// Nothing fed yet.
    pub fn new(
        planner: Planner<'e>,
        means: Means<'scope>,
        window: &'i mut Window<'w, 'scope, Reply>,
        books: Books<'m>,
        monitor: &'i dyn Monitor,
    ) -> Self {
        let workers = window.workers();
        let with = means.site.zip(means.comparison);
        let pioneer =
            with.map(|((site, manifest), comparison)| Pioneer::new(site, comparison, manifest, workers));
        Self {
            planner,
            means,
            window,
            questions: Vec::new(),
            gathered: Gathered::default(),
            large: Deck::new(workers, Most::ANY),
            mends: false,
            pioneer,
            confirmed: Vec::new(),
            adopted: 0,
            renamed: Vec::new(),
            asides: Asides::default(),
            order: InOrder::default(),
            books,
            monitor,
        }
    }

    /// Takes the next path of the join; where the walks have only listed it, it is looked at first.
    pub fn feed(&mut self, joined: Joined) -> Result<(), Error> {
        // Without a replica nothing is only listed, and nobody could look.
        if self.means.comparison.is_some() && self.order.wants(&joined) {
            if let Some(batch) = self.order.add(joined) {
                self.look_at(batch)?;
            }
        } else {
            self.decide(joined, None)?;
        }
        while let Some(reply) = self.window.try_next() {
            self.hear(reply)?;
        }
        if self.means.site.is_some_and(|(site, _)| site.partials.have_changed()) {
            (self.books.settle)(Vec::new())?;
        }
        self.go_on_beside_work()?;
        self.send_full()?;
        if self.questions.len() >= ENOUGH_FOR_THE_IDLE && self.window.is_idle() {
            self.flush()?;
        }
        if self.pioneer.as_ref().is_some_and(Pioneer::is_held_up) {
            self.send_rest()?;
        }
        while self.pioneer.as_ref().is_some_and(Pioneer::is_crowded)
            && let Some(reply) = self.next_reply()?
        {
            self.hear(reply)?;
            self.send_rest()?;
        }
        self.finish_folders(false)
    }

    /// Decides about the next path, asking where its content must be known and is not.
    fn decide(&mut self, joined: Joined, known: Option<&Knowledge>) -> Result<(), Error> {
        self.note(&joined);
        let (trend, counts) = (self.means.trend, self.means.trend.counts(&joined));
        let surveyed = self.planner.surveys();
        let step = self.planner.feed(joined, known);
        if self.planner.surveys() && !surveyed {
            self.drop_questions();
        }
        if counts {
            trend.note(known.is_some() || matches!(step, Step::Ask(_)));
        }
        if self.planner.surveys() {
            trend.end();
        }
        self.take(step)
    }

    /// The join has come to this path.
    fn note(&mut self, joined: &Joined) {
        self.asides.note(joined);
        if let Some(pioneer) = &mut self.pioneer {
            pioneer.pass(&joined.path);
        }
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
            Step::ConfirmAll(changes) => {
                changes.into_iter().try_for_each(|change| self.take(Step::Confirm(change)))
            }
            Step::Ask(question) => self.ask(question),
            Step::Suspect(suspect) => self.look_into(*suspect),
            Step::Early(early) => {
                let Some(pioneer) = &mut self.pioneer else {
                    self.planner.foresee(*early);
                    return Ok(());
                };
                (self.books.prepare)()?;
                pioneer.take(*early, &mut self.planner)?;
                self.send_full()
            }
        }
    }

    fn look_into(&mut self, suspect: Suspect) -> Result<(), Error> {
        if let Some(renamed) = (self.books.identify)(&suspect, &self.renamed)? {
            if self.renamed.is_empty() {
                self.drop_questions();
                self.planner.survey();
            }
            self.renamed.push(renamed);
        }
        let step = self.planner.go_on(suspect.joined, None);
        self.take(step)
    }

    fn ask(&mut self, question: Box<Question>) -> Result<(), Error> {
        let size = question.stats().map_or(0, |(source, _)| match source.kind() {
            Kind::File => source.fingerprint.size,
            _ => 0,
        });
        if is_large(&question) {
            return self.large.add(size, *question).into_iter().try_for_each(|hand| self.submit(hand));
        }
        self.gathered.add(size);
        self.questions.push(*question);
        if self.questions.len() >= FILES_TOGETHER || self.gathered.are_enough() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.gathered = Gathered::default();
        let questions = std::mem::take(&mut self.questions);
        self.submit(questions)
    }

    /// Shares out what is left, so that nobody is idle at the end.
    fn flush_to_all(&mut self) -> Result<(), Error> {
        let share = self.questions.len().div_ceil(self.window.workers()).max(LEAST_TOGETHER);
        while self.questions.len() > share {
            let rest = self.questions.split_off(self.questions.len() - share);
            self.submit(rest)?;
        }
        self.flush()
    }

    fn submit(&mut self, questions: Vec<Question>) -> Result<(), Error> {
        let (Some(comparison), false) = (self.means.comparison, questions.is_empty()) else { return Ok(()) };
        self.make_room()?;
        let mender = self.mender()?;
        self.window.submit(move || {
            let answers = comparison.answer(&questions, mender);
            Reply::Answers(questions, answers)
        });
        Ok(())
    }

    /// What mends files that need little. Before the first, the roots are looked at once more.
    fn mender(&mut self) -> Result<Option<LocalMender<'scope>>, Error> {
        let Some((site, _)) = self.means.site else { return Ok(None) };
        if !self.mends {
            site.anchors.recheck()?;
            self.mends = true;
        }
        Ok(Some(Mender { site, rules: self.planner.rules() }))
    }

    fn go_ahead(&mut self, batch: EarlyBatch) -> Result<(), Error> {
        let Some((site, _)) = self.means.site else { return Ok(()) };
        while self.window.has_plenty()
            && let Some(reply) = self.next_reply()?
        {
            self.hear(reply)?;
        }
        self.window.submit(move || Reply::Brought(batch.carry_out(site)));
        Ok(())
    }

    fn finish_folders(&mut self, all: bool) -> Result<(), Error> {
        let (Some(pioneer), Some((site, _))) = (&mut self.pioneer, self.means.site) else { return Ok(()) };
        let Some(folders) = pioneer.complete(all) else { return Ok(()) };
        self.make_room()?;
        self.window.submit(move || Reply::Finished(finish(site, &folders)));
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), Error> {
        while self.window.is_full() {
            if let Some(reply) = self.next_reply()? {
                self.hear(reply)?;
            }
        }
        Ok(())
    }

    /// Waits for a reply; `None` where nothing is out. What was recorded before, and how far large copies have come, is
    /// written meanwhile.
    fn next_reply(&mut self) -> Result<Option<Reply>, Error> {
        while !self.window.is_idle() {
            if let Some(reply) = self.window.next_within(Manifest::PATIENCE) {
                return Ok(Some(reply));
            }
            (self.books.settle)(Vec::new())?;
        }
        Ok(None)
    }

    fn hear(&mut self, reply: Reply) -> Result<(), Error> {
        match reply {
            Reply::Answers(questions, answers) => {
                let mut dones = Vec::new();
                for (question, answer) in questions.into_iter().zip(answers) {
                    match answer {
                        Answer::Known(knowledge) => {
                            let step = self.planner.learn(question, &knowledge);
                            self.take(step)?;
                        }
                        Answer::Mended(mended) => dones.push(mended.done(question.joined.path)),
                    }
                }
                if dones.is_empty() { Ok(()) } else { (self.books.settle)(dones) }
            }
            // Whoever hears of it may be in the middle of what comes before it.
            Reply::Looked(turn, looked) => {
                self.order.came_back(turn, looked);
                Ok(())
            }
            Reply::Brought(brought) => {
                let Some(pioneer) = &mut self.pioneer else { return Ok(()) };
                let dones = pioneer.brought(brought, &mut self.planner)?;
                (self.books.settle)(dones)
            }
            // Hashed once the join is through only.
            Reply::Named(_) => Ok(()),
            Reply::Finished(dones) => {
                if let Some(pioneer) = &self.pioneer {
                    pioneer.leave(&dones);
                }
                (self.books.settle)(dones)
            }
        }
    }

    /// Hands out the new entries that are enough for a batch.
    fn send_full(&mut self) -> Result<(), Error> {
        let full = self.pioneer.as_mut().map(Pioneer::full).unwrap_or_default();
        full.into_iter().try_for_each(|batch| self.go_ahead(batch))
    }

    /// Hands out the new entries that wait for others; returns whether there were any.
    fn send_rest(&mut self) -> Result<bool, Error> {
        let rest = self.pioneer.as_mut().map(Pioneer::rest).unwrap_or_default();
        let any = !rest.is_empty();
        rest.into_iter().try_for_each(|batch| self.go_ahead(batch))?;
        Ok(any)
    }
}
