//! What is old enough leaves the trash, and what stays is counted.

use super::versions::runs;
use super::{Trash, bytes};
use crate::cancel::Cancel;
use crate::engine::content::NearFolder;
use crate::manifest::TrashRow;
use crate::model::{Attributes, Entry, EntryPath, Kind, Stat, Timestamp};
use crate::plan::desired::Desired;
use crate::store::local::{LocalStore, Look};
use crate::store::{Fault, Folder, Store};
use std::time::Duration;

/// The owner's bits that emptying a folder takes.
const OWNER_ALL: u32 = 0o700;

impl Trash<LocalStore> {
    /// Removes what runs put there that began more than `keep` before `now`, and says what there is now, by runs;
    /// `known` are the figures noted before. A request to stop leaves the rest for the next run.
    pub fn tend(
        &self,
        keep: Duration,
        now: Timestamp,
        known: &[TrashRow],
        cancel: &Cancel,
    ) -> Result<Vec<TrashRow>, Fault> {
        let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
        let mut rows = Vec::new();
        for (name, at) in runs(&self.store)? {
            let run = EntryPath::root().child(name.as_bytes(), true);
            let is_own = run == self.run;
            if !is_own && !cancel.requested() && now.seconds.saturating_sub(at.seconds) > keep {
                remove(&self.store, &run, cancel)?;
                continue;
            }
            let (entries, bytes) = match known.iter().find(|row| row.name == name) {
                _ if is_own => self.taken(),
                Some(row) => (row.entries, row.bytes),
                // A run that was killed has noted nothing.
                None => measure(&self.store, &run, cancel)?,
            };
            rows.push(TrashRow { name, entries, bytes });
        }
        Ok(rows)
    }
}

/// How many entries there are below `run`, folders not counted, and the bytes of its files.
fn measure(trash: &LocalStore, run: &EntryPath, cancel: &Cancel) -> Result<(u64, u64), Fault> {
    let (mut count, mut sum) = (0, 0);
    for (_, stat) in entries(trash, run, cancel)? {
        count += u64::from(stat.kind() != Kind::Folder);
        sum += bytes(&stat);
    }
    Ok((count, sum))
}

/// What there is below a folder, in path order, the folder itself first; paths are from the folder on. What
/// a folder that cannot be listed holds is left out.
pub fn entries(
    store: &LocalStore,
    folder: &EntryPath,
    cancel: &Cancel,
) -> Result<Vec<(EntryPath, Stat)>, Fault> {
    let store = store.within(folder)?;
    let looked_at = |entry: Entry| Some((entry.path.clone(), *entry.stat()?));
    Ok(store.walk(Look::AtAll, 1, cancel, |walk| walk.filter_map(looked_at).collect()))
}

fn remove(trash: &LocalStore, run: &EntryPath, cancel: &Cancel) -> Result<(), Fault> {
    let store = trash.within(run)?;
    if rustix::process::geteuid().as_raw() != 0 {
        open_up(trash, run, &store, cancel)?;
    }
    let mut near = NearFolder::new(&store);
    for (path, stat) in entries(trash, run, cancel)?.into_iter().rev() {
        if cancel.requested() {
            return Ok(());
        }
        if !path.is_root() {
            near.of(&path)?.remove(path.name(), &stat)?;
        }
    }
    let root = trash.folder(&EntryPath::root())?;
    let own = root.stat(run.name())?;
    own.map_or(Ok(false), |own| root.remove(run.name(), &own)).map(drop)
}

/// Gives a user who is not root what emptying the folders takes: round by round, for what lies in a closed one is
/// not seen before.
fn open_up(trash: &LocalStore, run: &EntryPath, store: &LocalStore, cancel: &Cancel) -> Result<(), Fault> {
    loop {
        let mut opened = false;
        for (path, stat) in entries(trash, run, cancel)? {
            let mode = stat.fingerprint.mode;
            if stat.kind() == Kind::Folder && mode & OWNER_ALL != OWNER_ALL {
                let desired = Desired { mode: Some(mode | OWNER_ALL), ..Desired::default() };
                store.folder(&path)?.set_own(&desired, &Attributes::default())?;
                opened = true;
            }
        }
        if !opened || cancel.requested() {
            return Ok(());
        }
    }
}
