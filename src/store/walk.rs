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
    /// Helpers that were started, and that may be.
    helpers: usize,
    most: usize,
    entries: std::vec::IntoIter<Entry>,
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
            helpers: 0,
            most: threads.saturating_sub(1),
            entries: Vec::new().into_iter(),
        };
        body(&mut walk)
    });
    if let Some(panic) = ahead.panic() {
        resume_unwind(panic);
    }
    result
}

impl Walk<'_, '_> {
    /// Once it has ended: why that was too early, if it was. What it did not come to is not known then.
    pub fn failure(&self) -> Option<io::Error> {
        self.ahead.failure()
    }

    /// Starts more helpers if there is work for them.
    fn enlist(&mut self) {
        if self.helpers == self.most {
            return;
        }
        for _ in 0..self.ahead.wanted_helpers().min(self.most - self.helpers) {
            let (ahead, terms) = (self.ahead, self.terms.clone());
            let helper = Builder::new().name("look-ahead".to_owned());
            match helper.spawn_scoped(self.scope, move || ahead.help(terms)) {
                Ok(_) => self.helpers += 1,
                // Those that there are must do. A later one that could be started would be one too many.
                Err(_) => {
                    self.most = self.helpers;
                    break;
                }
            }
        }
    }
}

impl Iterator for Walk<'_, '_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(entry);
            }
            match self.ahead.next(self.most == 0) {
                Next::Entries(entries) => self.entries = entries.into_iter(),
                Next::Work(key, task, pace) => {
                    let outcome = self.scanner.run(task, pace);
                    self.entries = self.ahead.hand_in(&key, outcome, true).into_iter();
                    self.enlist();
                }
                Next::End => return None,
                Next::Panic(panic) => resume_unwind(panic),
            }
        }
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
