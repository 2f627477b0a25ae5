//! Tells the problems of a run apart by whether the run before had them, so that what does not change is one line
//! for people and not one line for each entry in every run.

use crate::model::{Done, Finding, PastProblem, Problem};
use crate::monitor::{Amount, BytesRead, Monitor, Phase, Remaining};
use crate::plan::Intent;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A monitor that passes everything on to another one; a problem that the run before had as a known one.
pub struct KnownProblems<'m> {
    monitor: &'m dyn Monitor,
    /// The problems of the run before, and whether this run met them.
    before: RefCell<BTreeMap<PastProblem, bool>>,
}

impl<'m> KnownProblems<'m> {
    /// `before` are the problems that the runs before left.
    pub fn new(before: Vec<PastProblem>, monitor: &'m dyn Monitor) -> Self {
        let before = before.into_iter().map(|problem| (problem, false)).collect();
        Self { monitor, before: RefCell::new(before) }
    }

    /// Reports what is left of the problems of the run before. Only a run that saw both trees to their end
    /// (`is_complete`) can say that the others are solved.
    pub fn report(&self, is_complete: bool) {
        let before = self.before.borrow();
        let mut left = before.iter().filter(|(_, met)| **met).map(|(problem, _)| problem);
        let count = left.clone().count();
        let only = left.next().filter(|_| count == 1);
        if count > 0 {
            self.monitor.remaining(&Remaining { before: before.len(), count, only });
        }
        if is_complete {
            let solved = before.iter().filter(|(_, met)| !**met);
            solved.for_each(|(problem, _)| self.monitor.solved(problem));
        }
    }
}

impl Monitor for KnownProblems<'_> {
    fn begun(&self, run: i64) {
        self.monitor.begun(run);
    }
    fn reading(&self, bytes: &Arc<BytesRead>) {
        self.monitor.reading(bytes);
    }
    fn phase(&self, phase: Phase, total: Option<Amount>) {
        self.monitor.phase(phase, total);
    }
    fn advance(&self, by: Amount) {
        self.monitor.advance(by);
    }
    fn planned(&self, intent: Intent<'_>) {
        self.monitor.planned(intent);
    }
    fn done(&self, batch: &[Done]) {
        self.monitor.done(batch);
    }
    fn finding(&self, finding: &Finding) {
        self.monitor.finding(finding);
    }
    fn problem(&self, problem: &Problem) {
        if self.before.borrow().is_empty() {
            return self.monitor.problem(problem);
        }
        match self.before.borrow_mut().get_mut(&PastProblem::from(problem)) {
            Some(met) => {
                *met = true;
                self.monitor.known_problem(problem);
            }
            None => self.monitor.problem(problem),
        }
    }
    fn known_problem(&self, problem: &Problem) {
        self.monitor.known_problem(problem);
    }
    fn remaining(&self, remaining: &Remaining<'_>) {
        self.monitor.remaining(remaining);
    }
    fn solved(&self, problem: &PastProblem) {
        self.monitor.solved(problem);
    }
    fn warning(&self, message: &str) {
        self.monitor.warning(message);
    }
    fn note(&self, message: &str) {
        self.monitor.note(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryPath;

    #[derive(Default)]
    struct Heard(RefCell<Vec<String>>);

    impl Monitor for Heard {
        fn problem(&self, problem: &Problem) {
            self.0.borrow_mut().push(format!("new {}", problem.path));
        }
        fn known_problem(&self, problem: &Problem) {
            self.0.borrow_mut().push(format!("known {}", problem.path));
        }
        fn remaining(&self, remaining: &Remaining<'_>) {
            let only = remaining.only.map(|problem| format!(" {}", problem.path)).unwrap_or_default();
            self.0.borrow_mut().push(format!("{} of {}{only}", remaining.count, remaining.before));
        }
        fn solved(&self, problem: &PastProblem) {
            self.0.borrow_mut().push(format!("solved {}", problem.path));
        }
    }

    fn problem(path: &str, cause: &str) -> Problem {
        Problem::source(&EntryPath::from(path), "open", cause)
    }

    fn heard(before: &[(&str, &str)], now: &[(&str, &str)], is_complete: bool) -> Vec<String> {
        let heard = Heard::default();
        let before = before.iter().map(|(path, cause)| PastProblem::from(&problem(path, cause))).collect();
        let known = KnownProblems::new(before, &heard);
        for (path, cause) in now {
            known.problem(&problem(path, cause));
        }
        known.report(is_complete);
        heard.0.take()
    }

    #[test]
    fn known_new_and_solved_problems_are_told_apart() {
        let (a, b, changed) = (("a", "denied"), ("b", "denied"), ("a", "an error"));
        let table: [(&[_], &[_], bool, &[&str]); 7] = [
            (&[], &[], true, &[]),
            (&[], &[a], true, &["new a"]),
            (&[a], &[a], true, &["known a", "1 of 1 a"]),
            (&[a, b], &[a, b], true, &["known a", "known b", "2 of 2"]),
            (&[a], &[b], true, &["new b", "solved a"]),
            (&[a, b], &[a], false, &["known a", "1 of 2 a"]),
            (&[a], &[changed], true, &["new a", "solved a"]),
        ];
        for (before, now, is_complete, expected) in table {
            assert_eq!(heard(before, now, is_complete), expected, "{before:?} {now:?}");
        }
    }
}
