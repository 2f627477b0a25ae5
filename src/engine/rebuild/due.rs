//! The part of a tree that is due to be verified: rows from the manifest, with a look at what they are about.

use crate::engine::content::NearFolder;
use crate::error::Error;
use crate::manifest::ManifestError;
use crate::model::{EntryPath, Record, Seen, Stat};
use crate::plan::ages::Due;
use crate::plan::decide::{Rules, unchanged, unchanged_replica};
use crate::plan::join::Joined;
use crate::store::{Folder, Store};

/// What of `rows`, in path order, is due, as it is on both sides now. `settled`: only what nobody touched since its row
/// was written; the rest is for the next run to look at.
pub(super) fn due<'d, S: Store, R: Store>(
    rows: impl Iterator<Item = Result<Record, ManifestError>> + 'd,
    due: Due,
    (source, replica): (&'d S, &'d R),
    settled: Option<&'d Rules>,
) -> impl Iterator<Item = Result<Joined, Error>> + 'd {
    let (mut ours, mut theirs) = (NearFolder::new(source), NearFolder::new(replica));
    let mut rest = due.rest;
    rows.filter_map(move |row| {
        let row = match row {
            Ok(row) => row,
            Err(error) => return Some(Err(error.into())),
        };
        let hashed = row.hashed.map_or(i64::MAX, |hashed| hashed.seconds);
        if hashed >= due.until || (hashed >= due.before && rest == 0) {
            return None;
        }
        let (source, replica) = (look(&mut ours, &row.path), look(&mut theirs, &row.path));
        let (mine, other) = (present(source.as_ref()), present(replica.as_ref()));
        let stands = |rules: &Rules| {
            mine.zip(other).is_some_and(|(mine, other)| {
                unchanged(&mine.fingerprint, &row.source, rules)
                    && unchanged_replica(other, &row.replica, rules)
            })
        };
        if settled.is_some_and(|rules| row.racy || !stands(rules)) {
            return None;
        }
        if hashed >= due.before {
            rest = rest.saturating_sub(row.source.size.max(1));
        }
        Some(Ok(Joined { path: row.path.clone(), source, replica, row: Some(row) }))
    })
}

fn present(seen: Option<&Seen>) -> Option<&Stat> {
    match seen {
        Some(Seen::Present(stat)) => Some(stat),
        _ => None,
    }
}

/// What is there now.
fn look<T: Store>(near: &mut NearFolder<'_, T>, path: &EntryPath) -> Option<Seen> {
    match near.of(path).and_then(|folder| folder.stat(path.name())) {
        Ok(found) => found.map(Seen::Present),
        Err(fault) if fault.is_absence() => None,
        Err(fault) => Some(Seen::Unreadable(fault.error.to_string())),
    }
}
