//! What was put aside to make way, and what stays because its successor failed.

use super::Outcome;
use crate::model::operation::End;
use crate::model::{Done, EntryPath};

/// Where displaced entries are now.
#[derive(Debug, Default)]
pub struct Asides {
    /// The displaced key, and the key it has under its temporary name.
    moved: Vec<(EntryPath, EntryPath)>,
    /// Displaced keys whose successor did not come: they and all below them stay.
    kept: Vec<EntryPath>,
}

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
    /// Notes that the entry displaced by `successor` lies under the name `temporary` now.
    pub fn moved(&mut self, successor: &EntryPath, temporary: &[u8]) {
        let displaced = successor.other_kind();
        let actual = successor.parent().child(temporary, displaced.is_folder());
        self.moved.push((displaced, actual));
    }

    /// Notes that `successor` failed, so that what it would have displaced stays.
    pub fn kept(&mut self, successor: &EntryPath) {
        self.kept.push(successor.other_kind());
    }

    /// Notes what a batch of outcomes says of this, and passes on the rest.
    pub(super) fn note(&mut self, outcomes: Vec<Outcome>) -> Vec<Done> {
        outcomes
            .into_iter()
            .map(|outcome| {
                match (&outcome.aside, &outcome.done.end) {
                    (Some(temporary), _) => self.moved(&outcome.done.path, temporary.as_bytes()),
                    (None, End::Made(_)) => {}
                    (None, _) if outcome.displaces => self.kept(&outcome.done.path),
                    (None, _) => {}
                }
                outcome.done
            })
            .collect()
    }

    /// Where `path` is.
    pub fn whereabouts(&self, path: &EntryPath) -> Whereabouts {
        if self.kept.iter().any(|kept| path == kept || path.is_below(kept)) {
            return Whereabouts::Kept;
        }
        for (displaced, actual) in &self.moved {
            if path == displaced {
                return Whereabouts::Aside(actual.clone());
            }
            if path.is_below(displaced) {
                let below = &path.as_bytes()[displaced.as_bytes().len()..];
                return Whereabouts::Aside(EntryPath::from_bytes([actual.as_bytes(), below].concat()));
            }
        }
        Whereabouts::InPlace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lay_below_a_displaced_folder_is_found_under_its_temporary_name() {
        let path = |text: &str| EntryPath::from(text);
        let mut asides = Asides::default();
        asides.moved(&path("d/a"), b".twinfold-1.tmp");
        asides.moved(&path("d/b/"), b".twinfold-2.tmp");
        asides.kept(&path("d/c"));
        let aside = |text: &str| Whereabouts::Aside(path(text));
        for (delete, found) in [
            ("d/a/", aside("d/.twinfold-1.tmp/")),
            ("d/a/x/y", aside("d/.twinfold-1.tmp/x/y")),
            ("d/b", aside("d/.twinfold-2.tmp")),
            ("d/c/", Whereabouts::Kept),
            ("d/c/x", Whereabouts::Kept),
            ("d/ab", Whereabouts::InPlace),
        ] {
            assert_eq!(asides.whereabouts(&path(delete)), found, "{delete}");
        }
    }
}
