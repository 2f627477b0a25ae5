//! Gives folders of the replica the names that they have in the source, each by one rename(2), whatever it
//! holds, and their rows with them.
//!
//! This comes before anything is planned: it destroys nothing, so no gate asks for it, and the plan is then made
//! of what is really there. The rows follow when the renames are durable. A run that is killed in between
//! leaves rows that lag behind; the next one knows the folders by their inodes, also under temporary names.

use super::content::{Comparison, NearFolder};
use super::execute::Site;
use super::execute::way::{self, Readied};
use super::renames::Renamed;
use super::report::Tally;
use crate::clock;
use crate::config::file::Durability;
use crate::error::Error;
use crate::manifest::{Manifest, Shift};
use crate::model::operation::End;
use crate::model::{Difference, Done, EntryPath, Kind, Operation, Problem, Stat, Verb};
use crate::monitor::Monitor;
use crate::mountinfo;
use crate::plan::relocation::{Move, Relocation, Relocations};
use crate::plan::{FolderTask, is_temporary_name};
use crate::store::{During, Fault, Folder, Store, TemporaryName, Writes};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// Renames between which the rows follow.
const TOGETHER: usize = 1024;

/// Carries out what `renamed` says. Returns what was done to folders on the way to new names.
pub fn carry_out<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    comparison: &Comparison<'_, S, R>,
    renamed: &[Renamed],
    replica_root: &Path,
    manifest: &Manifest,
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> Result<HashMap<EntryPath, Readied>, Error> {
    site.anchors.recheck()?;
    manifest.ensure_run_row()?;
    let ways: Vec<Relocation> = renamed.iter().map(|renamed| renamed.way.clone()).collect();
    let mut relocations = Relocations::of(ways);
    let mut shifter = Shifter { site, comparison, mounts: mounts_in(replica_root), readied: HashMap::new() };
    let mut writes = begin(site)?;
    let mut ledger = Ledger::default();
    while let Some(next) = relocations.next_move() {
        if site.cancel.requested() {
            break;
        }
        let started = Instant::now();
        let item = match next {
            Move::Home(item) | Move::Aside(item) => item,
            Move::Swap(one, other) => {
                let (first, second) =
                    (relocations.get(one).lies.clone(), relocations.get(other).lies.clone());
                match shifter.swap((&renamed[one], &first), (&renamed[other], &second)) {
                    Ok(()) => {
                        relocations.swapped(one, other);
                        ledger.shifts.push(Shift::Swap(first, second));
                        ledger.dones.extend([one, other].map(|item| told(&renamed[item], started)));
                    }
                    Err(fault) => {
                        monitor
                            .note(&format!("{first} and {second} exchange their names one by one: {fault}"));
                        relocations.without_exchange();
                    }
                }
                continue;
            }
        };
        let Relocation { lies, rows, to } = relocations.get(item).clone();
        let result = match next {
            Move::Home(_) => shifter.bring_home(&renamed[item], &lies).map(|()| to.clone()),
            Move::Aside(_) | Move::Swap(..) => shifter.put_aside(&renamed[item], &lies),
        };
        match result {
            Ok(name) => {
                relocations.done(item, &name);
                if rows != name {
                    ledger.shifts.push(Shift::Move(rows, name.clone()));
                }
                if name == to {
                    ledger.dones.push(told(&renamed[item], started));
                }
            }
            Err(fault) => {
                relocations.give_up(item);
                ledger.shifts.extend(shifter.put_back(&renamed[item], &lies, rows));
                let from = &renamed[item].way.rows;
                monitor.warning(&format!(
                    "the folder {from} is called {to} in the source, but cannot be renamed in the replica ({fault}): what \
                     it holds is brought over anew"
                ));
            }
        }
        if ledger.shifts.len() >= TOGETHER {
            ledger.close(writes, manifest, tally, monitor)?;
            ledger = Ledger::default();
            writes = begin(site)?;
        }
    }
    ledger.close(writes, manifest, tally, monitor)?;
    if site.cancel.requested() { Err(Error::Interrupted) } else { Ok(shifter.readied) }
}

/// Renames whose rows are still to follow.
#[derive(Default)]
struct Ledger {
    shifts: Vec<Shift>,
    dones: Vec<Done>,
}

impl Ledger {
    /// Makes the renames durable, then has the rows follow. Where the first fails they stay, which costs the
    /// next run a look.
    fn close<W: Writes>(
        &self,
        writes: Option<W>,
        manifest: &Manifest,
        tally: &mut Tally,
        monitor: &dyn Monitor,
    ) -> Result<(), Error> {
        if self.shifts.is_empty() && self.dones.is_empty() {
            return Ok(());
        }
        if let Some(Err(fault)) = writes.map(Writes::make_durable) {
            tally.problem(Problem::replica(&EntryPath::root(), fault.action, &fault.error), monitor);
            return Ok(());
        }
        manifest.relocate(&self.shifts)?;
        tally.count(&self.dones, monitor);
        manifest.jot(&self.dones, clock::now());
        Ok(())
    }
}

fn begin<S: Store, R: Store>(site: &Site<'_, S, R>) -> Result<Option<R::Writes>, Error> {
    let wanted = site.durability != Durability::None;
    let begun = wanted.then(|| site.replica.begin_writes()).transpose();
    begun.map_err(|fault| Error::System { action: fault.action, error: fault.error })
}

fn told(renamed: &Renamed, started: Instant) -> Done {
    done(&renamed.way.rows, &renamed.way.to, started)
}

/// An entry that got another name with all that it holds.
pub(super) fn done(from: &EntryPath, to: &EntryPath, started: Instant) -> Done {
    Done {
        path: to.clone(),
        verb: Verb::Move,
        from: Some(from.clone()),
        // Its rows follow together with those of what it holds.
        end: End::Made(None),
        bytes: 0,
        digest: None,
        took: started.elapsed(),
        losses: Vec::new(),
        silent: false,
    }
}

/// What a dry run says of a rename.
pub fn planned(way: &Relocation, source: Option<Stat>) -> Operation {
    Operation {
        path: way.to.clone(),
        verb: Verb::Move,
        source,
        replica: None,
        content: None,
        attributes: false,
        origin: None,
        from: Some(way.rows.clone()),
        displaces: false,
        loses: false,
    }
}

/// The mount points in the replica, as paths under its root.
fn mounts_in(root: &Path) -> Vec<EntryPath> {
    let below = |mount: &mountinfo::Mount| {
        let point = Path::new(std::ffi::OsStr::from_bytes(&mount.point)).strip_prefix(root).ok()?;
        Some(EntryPath::from_bytes([point.as_os_str().as_bytes(), b"/"].concat()))
    };
    mountinfo::below(root).iter().filter_map(below).collect()
}

struct Shifter<'s, S: Store, R: Store> {
    site: &'s Site<'s, S, R>,
    comparison: &'s Comparison<'s, S, R>,
    mounts: Vec<EntryPath>,
    readied: HashMap<EntryPath, Readied>,
}

impl<S: Store, R: Store> Shifter<'_, S, R> {
    fn bring_home(&mut self, renamed: &Renamed, lies: &EntryPath) -> Result<(), Fault> {
        let to = &renamed.way.to;
        if lies == to {
            return Ok(());
        }
        for task in &renamed.above {
            if let Some(verb) = way::make_ready(self.site, self.comparison, task)? {
                self.readied.insert(task.path.clone(), verb);
            }
        }
        let expected = self.close(renamed, lies)?;
        let mut near = NearFolder::new(self.site.replica);
        let from = near.of(lies)?;
        let into = near.of(to)?;
        from.relocate(lies.name(), &expected, &*into, to.name(), None).map(drop)
    }

    /// Makes a folder ready to be renamed, and returns its figures.
    fn close(&mut self, renamed: &Renamed, lies: &EntryPath) -> Result<Stat, Fault> {
        let expected = self.expected(renamed, lies)?;
        let task = FolderTask {
            path: renamed.way.to.clone(),
            source: renamed.source,
            replica: Some(expected),
            verb: None,
            difference: Difference::None,
            displaces: false,
        };
        // The root at least is above it.
        let parent = renamed.above.last().map_or(renamed.source, |parent| parent.source);
        if let Some(readied) = way::close(self.site, self.comparison, &task, &parent, lies, &expected)? {
            self.readied.insert(task.path, readied);
        }
        if way::open_to_leave(self.site, &lies.parent())? {
            self.readied.entry(lies.parent()).or_insert(None);
        }
        Ok(expected)
    }

    /// A folder that was put aside and gets no other name goes back to where it was, if that is free.
    fn put_back(&mut self, renamed: &Renamed, lies: &EntryPath, rows: EntryPath) -> Option<Shift> {
        let was = &renamed.way.lies;
        if lies == was || !is_temporary_name(lies.name()) {
            return None;
        }
        let expected = self.expected(renamed, lies).ok()?;
        let mut near = NearFolder::new(self.site.replica);
        let (from, into) = (near.of(lies).ok()?, near.of(was).ok()?);
        from.relocate(lies.name(), &expected, &*into, was.name(), None).ok()?;
        Some(Shift::Move(rows, was.clone()))
    }

    /// Exchanges the names of two folders whose parents are there.
    fn swap(
        &mut self,
        (one, first): (&Renamed, &EntryPath),
        (other, second): (&Renamed, &EntryPath),
    ) -> Result<(), Fault> {
        for task in one.above.iter().chain(&other.above) {
            if let Some(verb) = way::make_ready(self.site, self.comparison, task)? {
                self.readied.insert(task.path.clone(), verb);
            }
        }
        let (here, there) = (self.close(one, first)?, self.close(other, second)?);
        let mut near = NearFolder::new(self.site.replica);
        let (folder, into) = (near.of(first)?, near.of(second)?);
        folder.exchange_with((first.name(), &here), &*into, (second.name(), &there)).map(drop)
    }

    fn put_aside(&mut self, renamed: &Renamed, lies: &EntryPath) -> Result<EntryPath, Fault> {
        let expected = self.expected(renamed, lies)?;
        let name = TemporaryName::fresh(1).during("name a temporary for")?;
        let name = name.first().ok_or(ErrorKind::NotFound).during("name a temporary for")?;
        let folder = NearFolder::new(self.site.replica).of(lies)?;
        folder.relocate(lies.name(), &expected, &*folder, name.as_bytes(), None)?;
        Ok(lies.parent().child(name.as_bytes(), true))
    }

    /// The figures of the folder, which must be the one of the row, and hold no mount: those stay where
    /// they are.
    fn expected(&self, renamed: &Renamed, lies: &EntryPath) -> Result<Stat, Fault> {
        if self.mounts.iter().any(|mount| mount == lies || mount.is_below(lies)) {
            return Err(io::Error::other("something is mounted in it")).during("rename");
        }
        let folder = NearFolder::new(self.site.replica).of(lies)?;
        let is_it = |stat: &Stat| stat.kind() == Kind::Folder && renamed.is(self.site.rights.known(*stat));
        let found = folder.stat(lies.name())?.filter(is_it).map(|stat| self.site.rights.known(stat));
        found.ok_or_else(|| io::Error::other("another folder has its name there")).during("rename")
    }
}
