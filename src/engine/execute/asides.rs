//! What had to make way for another kind of entry: where it lies now, or that it stays.

use super::Outcome;
use crate::model::{Done, EntryPath};
use crate::plan::Plan;
use std::collections::BTreeMap;

/// The displaced keys of a plan. One rule guards them: a displaced entry is deleted only where it was
/// put aside, so that whatever keeps its successor from coming keeps the old.
#[derive(Debug)]
pub struct Asides(BTreeMap<EntryPath, Option<EntryPath>>);

/// Where an entry that is to be deleted is.
#[derive(Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Where it was.
    InPlace,
    /// Under a temporary name.
    Aside(EntryPath),
    /// It stays.
    Kept,
}

impl Asides {
    /// All that `plan` displaces, nothing of it put aside yet.
    pub fn of(plan: &Plan) -> Self {
        let entries = plan.entries.iter().filter(|operation| operation.displaces).map(|o| &o.path);
        let folders = plan.folders.iter().filter(|task| task.displaces).map(|task| &task.path);
        Self(entries.chain(folders).map(|successor| (successor.other_kind(), None)).collect())
    }

    /// Notes that the entry displaced by `successor` lies under the name `temporary` now.
    pub fn moved(&mut self, successor: &EntryPath, temporary: &[u8]) {
        let displaced = successor.other_kind();
        let actual = successor.parent().child(temporary, displaced.is_folder());
        self.0.insert(displaced, Some(actual));
    }

    /// Notes what a batch of outcomes put aside, and passes on the rest.
    pub(super) fn note(&mut self, outcomes: Vec<Outcome>) -> Vec<Done> {
        outcomes
            .into_iter()
            .map(|outcome| {
                if let Some(temporary) = &outcome.aside {
                    self.moved(&outcome.done.path, temporary.as_bytes());
                }
                outcome.done
            })
            .collect()
    }

    /// Where `path` is.
    pub fn whereabouts(&self, path: &EntryPath) -> Whereabouts {
        // Displaced keys do not lie in each other, so that only the one just before can hold it.
        let Some((displaced, actual)) = self.0.range(..=path.clone()).next_back() else {
            return Whereabouts::InPlace;
        };
        if path != displaced && !path.is_below(displaced) {
            return Whereabouts::InPlace;
        }
        let Some(actual) = actual else { return Whereabouts::Kept };
        let below = &path.as_bytes()[displaced.as_bytes().len()..];
        Whereabouts::Aside(EntryPath::from_bytes([actual.as_bytes(), below].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_is_found_there_and_what_was_not_stays() {
        let path = |text: &str| EntryPath::from(text);
        let displaced = ["d/a/", "d/b", "d/c/"].map(|key| (path(key), None));
        let mut asides = Asides(displaced.into_iter().collect());
        asides.moved(&path("d/a"), b".twinfold-1.tmp");
        asides.moved(&path("d/b/"), b".twinfold-2.tmp");
        let aside = |text: &str| Whereabouts::Aside(path(text));
        for (delete, found) in [
            ("a", Whereabouts::InPlace),
            ("d/a/", aside("d/.twinfold-1.tmp/")),
            ("d/a/x/y", aside("d/.twinfold-1.tmp/x/y")),
            ("d/ab", Whereabouts::InPlace),
            ("d/b", aside("d/.twinfold-2.tmp")),
            ("d/c/", Whereabouts::Kept),
            ("d/c/x", Whereabouts::Kept),
            ("e", Whereabouts::InPlace),
        ] {
            assert_eq!(asides.whereabouts(&path(delete)), found, "{delete}");
        }
    }
}
