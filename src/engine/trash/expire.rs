//! Removes from the trash what is old enough, and counts what stays.

use super::versions::runs;
use super::{Trash, bytes};
use crate::cancel::Cancel;
use crate::clock;
use crate::engine::content::NearFolder;
use crate::manifest::TrashRow;
use crate::model::{Attributes, Entry, EntryPath, Kind, Stat};
use crate::monitor::Monitor;
use crate::plan::desired::Desired;
use crate::plan::elapsed::{Elapsed, Reading};
use crate::store::local::{LocalStore, Look};
use crate::store::{Fault, Folder, Store};
use std::time::Duration;

/// The owner's bits that emptying a folder takes.
const OWNER_ALL: u32 = 0o700;

/// What a look at the trash found.
#[derive(Debug)]
pub struct Tended {
    /// What is in it, by runs.
    pub rows: Vec<TrashRow>,
    /// How time has been counted until now.
    pub elapsed: Elapsed,
    /// What stopped the removal of a run's folder.
    pub fault: Option<Fault>,
}

impl Trash<LocalStore> {
    /// Removes the folders that have been there for longer than `keep`, and counts what is left. A folder has been
    /// there since a run first met it, whatever its name and the clock say. `known` is what was noted before. A
    /// request to stop leaves the rest for the next run.
    pub fn tend(
        &self,
        keep: Duration,
        known: (&[TrashRow], Option<&Elapsed>),
        cancel: &Cancel,
        monitor: &dyn Monitor,
    ) -> Result<Tended, Fault> {
        let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
        // Time for which the machine was off counts as no more than half: a wrong clock takes nothing that is new.
        let most = keep / 2;
        let reading = read_clocks();
        let elapsed = match known.1 {
            Some(elapsed) => elapsed.advance(reading, most),
            None => Elapsed::begin(reading),
        };
        let now = elapsed.seconds(most);
        let mut tended = Tended { rows: Vec::new(), elapsed, fault: None };
        for (name, _) in runs(&self.store)? {
            let run = EntryPath::root().child(name.as_bytes(), true);
            let is_own = run == self.run;
            let noted = known.0.iter().find(|row| row.name == name);
            let (entries, bytes) = match noted {
                _ if is_own => self.taken(),
                Some(row) => (row.entries, row.bytes),
                // A run that was killed has noted nothing.
                None => measure(&self.store, &run, cancel)?,
            };
            let since = noted.and_then(|row| row.since).unwrap_or(now);
            let age = now.saturating_sub(since);
            if !is_own && !cancel.requested() && tended.fault.is_none() && age > keep {
                match remove(&self.store, &run, cancel) {
                    Ok(true) => {
                        monitor.note(&format!(
                            "trash: {name} expired: {entries} entries, {bytes} bytes, which had been there for {}; \
                             trash.keep is {}",
                            span(age),
                            span(keep)
                        ));
                        continue;
                    }
                    Ok(false) => {}
                    Err(fault) => tended.fault = Some(fault),
                }
            }
            tended.rows.push(TrashRow { name, entries, bytes, since: Some(since) });
        }
        Ok(tended)
    }
}

fn read_clocks() -> Reading {
    let uptime = i64::try_from(clock::since_boot().as_secs()).unwrap_or(i64::MAX);
    Reading { boot: clock::boot(), uptime, wall: clock::now().seconds }
}

/// A time for people: `30 d 4 h`, `2 h 5 min`, `7 s`.
fn span(seconds: i64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
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

/// Removes a run's folder; `false`: somebody asked to stop before it was empty.
fn remove(trash: &LocalStore, run: &EntryPath, cancel: &Cancel) -> Result<bool, Fault> {
    let store = trash.within(run)?;
    if rustix::process::geteuid().as_raw() != 0 {
        open_up(trash, run, &store, cancel)?;
    }
    let mut near = NearFolder::new(&store);
    for (path, stat) in entries(trash, run, cancel)?.into_iter().rev() {
        if cancel.requested() {
            return Ok(false);
        }
        if !path.is_root() {
            near.of(&path)?.remove(path.name(), &stat)?;
        }
    }
    let root = trash.folder(&EntryPath::root())?;
    let own = root.stat(run.name())?;
    own.map_or(Ok(true), |own| root.remove(run.name(), &own).map(|_| true))
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
