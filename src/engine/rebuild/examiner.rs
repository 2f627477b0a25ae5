//! What the workers of a rebuild do with a batch: read it, judge it, and say what its rows are to be.

use super::read::Reading;
use super::report::{Aged, Judged};
use crate::manifest::{DamageRow, Known};
use crate::model::{
    Attributes, Change, Difference, EntryPath, Finding, Kind, Record, Seen, Timestamp, Verdict,
};
use crate::plan::ages::moment_of;
use crate::plan::decide::Rules;
use crate::plan::join::Joined;
use crate::plan::verdict::{Case, Contents, Sides};
use crate::store::local::LocalStore;
use crate::store::{Fault, Folder, Store};
use std::collections::HashSet;

/// What all workers share.
pub(super) struct Examiner<'e> {
    pub(super) reading: Reading<'e, LocalStore, LocalStore>,
    pub(super) rules: &'e Rules,
    pub(super) anew: bool,
    /// Rows stand for a list of sums, and are not those of the manifest.
    pub(super) by_sums: bool,
    /// Whether rows are wanted.
    pub(super) rows: bool,
    pub(super) suspects: &'e HashSet<EntryPath>,
}

impl Examiner<'_> {
    /// Reads and judges a batch.
    pub(super) fn examine(&self, mut batch: Vec<Joined>) -> Judged {
        let listed: Vec<bool> = batch.iter().map(|joined| joined.source == Some(Seen::Listed)).collect();
        let contents = self.reading.read(&mut batch);
        let mut judged = Judged::default();
        if self.reading.cancel.requested() {
            // What was read after that may be cut short, and is not to be taken for damage.
            return judged;
        }
        for ((joined, contents), listed) in batch.into_iter().zip(contents).zip(listed) {
            if let (true, Some(Seen::Present(stat))) = (listed, &joined.source) {
                judged.counts.source_bytes += stat.fingerprint.size;
            }
            match contents {
                Some(contents) => self.judge(&joined, &contents, &mut judged),
                None => judged.large.push(joined),
            }
        }
        judged
    }

    fn judge(&self, joined: &Joined, contents: &Contents, judged: &mut Judged) {
        if joined.source.is_none() && joined.replica.is_none() && joined.row.is_none() {
            // It is gone since it was listed.
            return;
        }
        let case = Case { joined, contents, rules: self.rules, anew: self.anew };
        let verdict = case.verdict();
        if case.is_alike(verdict) {
            judged.counts.alike += 1;
        } else if !joined.path.is_root() || verdict != Verdict::Sound {
            judged.counts.count(verdict);
        }
        let mendable = case.is_mendable(verdict);
        judged.counts.mendable += u64::from(mendable);
        judged.counts.mendable_unread += u64::from(mendable && verdict == Verdict::Unreadable);
        judged.problems.extend(case.problems());
        let finding = case.finding(verdict);
        let damaged = matches!(verdict, Verdict::Damaged(_)) && !case.is_alike(verdict);
        if let (true, Some(finding), Some(row)) = (damaged, &finding, &joined.row) {
            judged.damage.push(damage_row(finding, row, self.rules.began));
        } else if let (Some((side, problem)), Some(row)) = (case.broken(), &joined.row) {
            let detail = format!("the {side}'s disk does not give its content back ({})", problem.cause);
            let (path, known, found) = (row.path.clone(), Known::of(row), self.rules.began);
            judged.damage.push(DamageRow { path, side: side.to_owned(), detail, found, known });
        } else if !damaged && verdict != Verdict::Unreadable && self.suspects.contains(&joined.path) {
            judged.settled.push(joined.path.clone());
        }
        judged.findings.extend(finding);
        if self.rows {
            let row = case.row_for(verdict).map(|row| self.vouched_for(joined, row));
            let change = self.change(joined, row);
            judged.aged.extend(aged(joined, change.as_ref()));
            judged.rows.extend(change);
        }
    }

    /// What becomes of the row of a path.
    fn change(&self, joined: &Joined, now: Option<Record>) -> Option<Change> {
        let Some(mut now) = now else {
            return joined.row.as_ref().map(|row| Change::Forget(row.path.clone()));
        };
        let Some(before) = joined.row.as_ref().filter(|_| !self.by_sums) else {
            return Some(Change::Put(now));
        };
        if self.reading.sides != Sides::Both && now.digest == before.digest {
            // Verified is what was read on both sides.
            now.hashed = before.hashed;
        }
        let hashed = std::mem::replace(&mut now.hashed, before.hashed);
        if now != *before {
            now.hashed = hashed;
            return Some(Change::Put(now));
        }
        let seconds = |when: Option<Timestamp>| when.map(|when| when.seconds);
        hashed
            .filter(|_| seconds(hashed) != seconds(before.hashed))
            .map(|when| Change::Verified(now.path, when))
    }

    /// A row vouches for attributes and names too. Where no earlier row did for the same figures, the
    /// attributes are compared; what they do not settle is left for the next run to look at.
    fn vouched_for(&self, joined: &Joined, row: Record) -> Record {
        let before = joined.row.as_ref().filter(|before| !before.racy);
        let vouched =
            before.is_some_and(|before| before.source == row.source && before.replica == row.replica);
        if vouched || row.racy || self.agree(joined) { row } else { Record { racy: true, ..row } }
    }

    /// Whether attributes, and as far as one name tells also hard links, are as they should be.
    fn agree(&self, joined: &Joined) -> bool {
        let (Some(Seen::Present(source)), Some(Seen::Present(replica))) = (&joined.source, &joined.replica)
        else {
            return true;
        };
        let rights = &self.rules.rights;
        let shared = source.kind() != Kind::Folder && (source.links > 1 || replica.links > 1);
        if shared && rights.preserve.hard_links {
            return false;
        }
        if rights.scope().is_empty() || source.kind() == Kind::Symlink {
            return true;
        }
        let compare = || -> Result<Difference, Fault> {
            let of = |store: &LocalStore| -> Result<Attributes, Fault> {
                let path = &joined.path;
                if path.is_folder() {
                    return store.folder(path)?.own_attributes(rights.scope());
                }
                Ok(store.folder(&path.parent())?.attributes(path.name(), rights.scope())?.1)
            };
            let wanted = rights.desired_attributes(source, of(self.reading.source)?);
            Ok(wanted.difference(&of(self.reading.replica)?))
        };
        matches!(compare(), Ok(Difference::None))
    }
}

/// What is to be remembered of damage.
fn damage_row(finding: &Finding, row: &Record, found: Timestamp) -> DamageRow {
    let side = match finding.verdict {
        Verdict::Damaged(damage) => damage.side(),
        _ => "unknown",
    };
    let detail = finding.detail.clone().unwrap_or_default();
    DamageRow { path: row.path.clone(), side: side.to_owned(), detail, found, known: Known::of(row) }
}

/// When a file was verified before, and after what becomes of its row.
fn aged(joined: &Joined, change: Option<&Change>) -> Option<Aged> {
    let of = |row: &Record| moment_of(row).map(|moment| (moment, row.source.size));
    let before = joined.row.as_ref().and_then(of);
    let after = match change {
        None => before,
        Some(Change::Put(row)) => of(row),
        Some(Change::Verified(_, when)) => before.map(|(_, bytes)| (when.seconds, bytes)),
        Some(Change::Forget(_)) => None,
    };
    (before.is_some() || after.is_some()).then_some(Aged { before, after })
}
