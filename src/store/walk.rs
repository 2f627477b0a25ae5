//! A tree as one stream of entries in path order, made by one thread or several.

use super::ahead::{Ahead, Next};
use super::scanner::Scanner;
use super::terms::Terms;
use crate::model::Entry;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, Scope, scope};

/// The walk of a tree, holding no folder open that nobody is at.
///
/// The root comes first, as the entry with the empty path. The walk ends early when cancelled;
/// ask [`Cancel::requested`](crate::cancel::Cancel::requested) before trusting that it saw everything.
///
/// Whoever takes the entries does what is to be done for them itself, unless a helper was faster. Helpers
/// start when there is work for them, so that a small tree is walked by one thread.
pub struct Walk<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    ahead: &'env Ahead<'env>,
    terms: Terms<'env>,
    scanner: Scanner<'env>,
    helpers: Helpers,
    /// What is given one by one, the next last.
    entries: Vec<Entry>,
}

/// Gives `body` the entries of a tree, found by so many threads. A panic of any of them comes out here.
pub(super) fn walk<T>(terms: &Terms<'_>, threads: usize, body: impl FnOnce(&mut Walk<'_, '_>) -> T) -> T {
    let ahead = Ahead::new(terms.cancel, Arc::clone(&terms.alive));
    let result = scope(|scope| {
        let mut walk = Walk {
            scope,
            ahead: &ahead,
            terms: terms.clone(),
            scanner: Scanner::new(terms.clone()),
            helpers: Helpers { started: 0, spare: threads.saturating_sub(1) },
            entries: Vec::new(),
        };
        body(&mut walk)
    });
    if let Some(panic) = ahead.panic() {
        resume_unwind(panic);
    }
    result
}

/// The threads beside the one that takes the entries.
struct Helpers {
    started: usize,
    /// How many more may be started.
    spare: usize,
}

impl Helpers {
    /// Starts as many as are wanted and may be. Once the system refuses one, those that there are must do.
    fn start(&mut self, wanted: usize, mut spawn: impl FnMut() -> bool) {
        for _ in 0..wanted.min(self.spare) {
            if !spawn() {
                self.spare = 0;
                return;
            }
            self.started += 1;
            self.spare -= 1;
        }
    }

    /// Whether there is none and none will be.
    fn are_none(&self) -> bool {
        self.started + self.spare == 0
    }
}

impl Walk<'_, '_> {
    /// Adds the next entries to `into`, as many as are at hand; returns whether there were any. Many are handed on so at
    /// the cost of one copy.
    pub fn next_into(&mut self, into: &mut Vec<Entry>) -> bool {
        let before = into.len();
        into.extend(self.entries.drain(..).rev());
        while into.len() == before {
            match self.ahead.next(self.helpers.are_none()) {
                Next::Entries(mut entries) => into.append(&mut entries),
                Next::Work(key, task, pace) => {
                    let outcome = self.scanner.run(task, pace);
                    let mut given = self.ahead.hand_in(&key, outcome, true);
                    into.append(&mut given);
                    self.scanner.room = given;
                    self.enlist();
                }
                Next::End => return false,
                Next::Panic(panic) => resume_unwind(panic),
            }
        }
        true
    }

    /// Once it has ended: why that was too early, if it was. What it did not come to is not known then.
    pub fn failure(&self) -> Option<io::Error> {
        self.ahead.failure()
    }

    /// Starts more helpers if there is work for them.
    fn enlist(&mut self) {
        if self.helpers.spare == 0 {
            return;
        }
        let (scope, ahead) = (self.scope, self.ahead);
        self.helpers.start(ahead.wanted_helpers(), || {
            let terms = self.terms.clone();
            let helper = Builder::new().name("look-ahead".to_owned());
            helper.spawn_scoped(scope, move || ahead.help(terms)).is_ok()
        });
    }
}

impl Iterator for Walk<'_, '_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.entries.is_empty() {
            let mut entries = std::mem::take(&mut self.entries);
            self.next_into(&mut entries);
            entries.reverse();
            self.entries = entries;
        }
        self.entries.pop()
    }
}

impl Drop for Walk<'_, '_> {
    /// Or the scope would wait for ever.
    fn drop(&mut self) {
        self.ahead.close();
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
