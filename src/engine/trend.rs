//! Whether most files have changed lately: then whoever opens them looks at them as well, and the walks do not.

use crate::model::{Kind, Seen};
use crate::plan::join::Joined;
use crate::store::local::Look;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the walks of a scan look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// All that is there.
    AtAll,
    /// Nothing that a listing says is a file.
    NotAtFiles,
    /// The one or the other, as most files turn out.
    AsFilesTurnOut,
}

/// So many files make a trend.
const TOGETHER: u32 = 256;

/// From so many changed ones of them on, the walks leave files to others; below so few they look at them again. An open
/// instead of a look saves each changed file two calls and costs each unchanged one four.
const MOST: u32 = TOGETHER / 8 * 7;
const FEW: u32 = TOGETHER / 8 * 5;

/// What is seen of the files that go by.
#[derive(Debug)]
pub struct Trend {
    looks: Looks,
    /// What the walks go by; they are some thousand files ahead.
    leaves: AtomicBool,
    ended: Cell<bool>,
    files: Cell<u32>,
    changed: Cell<u32>,
}

impl Trend {
    /// Nothing seen yet.
    pub fn new(looks: Looks) -> Self {
        Self {
            looks,
            leaves: AtomicBool::new(false),
            ended: Cell::new(looks != Looks::AsFilesTurnOut),
            files: Cell::new(0),
            changed: Cell::new(0),
        }
    }

    /// What the walks look at.
    pub fn look(&self) -> Look<'_> {
        match self.looks {
            Looks::AtAll => Look::AtAll,
            Looks::NotAtFiles => Look::NotAtFiles,
            Looks::AsFilesTurnOut => Look::NotAtFilesWhile(&self.leaves),
        }
    }

    /// Whether a path that goes by counts: files do that the last run left in step.
    pub fn counts(&self, joined: &Joined) -> bool {
        let is_file =
            |seen: &Option<Seen>| matches!(seen, Some(Seen::Present(stat)) if stat.kind() == Kind::File);
        !self.ended.get() && joined.row.is_some() && is_file(&joined.source) && is_file(&joined.replica)
    }

    /// Takes in a file that counts, whose content must be known (or is known by now), or not.
    pub fn note(&self, must_be_known: bool) {
        if self.ended.get() {
            return;
        }
        self.files.set(self.files.get() + 1);
        self.changed.set(self.changed.get() + u32::from(must_be_known));
        if self.files.get() < TOGETHER {
            return;
        }
        let least = if self.leaves.load(Ordering::Relaxed) { FEW } else { MOST };
        self.leaves.store(self.changed.get() >= least, Ordering::Relaxed);
        self.files.set(0);
        self.changed.set(0);
    }

    /// Nothing is read any more: the walks look at all there is.
    pub fn end(&self) {
        if !self.ended.replace(true) {
            self.leaves.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryPath, Record, Stat};

    fn file() -> Stat {
        let file = tempfile::tempfile().unwrap();
        crate::store::stat_of(&file).unwrap()
    }

    fn joined(stat: Stat, known: bool) -> Joined {
        let path = EntryPath::from("a");
        let row = known.then(|| Record::new(path.clone(), &stat, &stat, None, false));
        Joined { path, source: Some(Seen::Present(stat)), replica: Some(Seen::Present(stat)), row }
    }

    /// Has so many files in a hundred turn out changed, for long enough.
    fn feed(trend: &Trend, stat: Stat, changed: u32) -> bool {
        for number in 0..100 * TOGETHER {
            if trend.counts(&joined(stat, true)) {
                trend.note(number % 100 < changed);
            }
        }
        trend.leaves.load(Ordering::Relaxed)
    }

    #[test]
    fn files_are_left_to_others_while_most_of_them_have_changed() {
        let (trend, stat) = (Trend::new(Looks::AsFilesTurnOut), file());
        for (changed, leaves) in [(0, false), (80, false), (100, true), (80, true), (50, false), (80, false)]
        {
            assert_eq!(feed(&trend, stat, changed), leaves, "{changed} % changed");
        }
        feed(&trend, stat, 100);
        trend.end();
        assert!(!feed(&trend, stat, 100), "it goes on after its end");
        // What was done before that was known comes back later.
        (0..2 * TOGETHER).for_each(|_| trend.note(true));
        assert!(!trend.leaves.load(Ordering::Relaxed), "it goes on after its end");
    }

    #[test]
    fn what_has_no_row_says_nothing_and_a_fixed_look_stays_as_it_is() {
        let stat = file();
        assert!(!Trend::new(Looks::AsFilesTurnOut).counts(&joined(stat, false)));
        for (looks, look) in [(Looks::AtAll, Look::AtAll), (Looks::NotAtFiles, Look::NotAtFiles)] {
            let trend = Trend::new(looks);
            feed(&trend, stat, 100);
            assert!(matches!(
                (trend.look(), look),
                (Look::AtAll, Look::AtAll) | (Look::NotAtFiles, Look::NotAtFiles)
            ));
        }
    }
}
