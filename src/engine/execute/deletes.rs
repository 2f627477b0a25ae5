//! Deletes: deepest first, each looked at once more before it goes.

use super::Site;
use super::asides::{Asides, Whereabouts};
use super::names::Names;
use crate::config::file::Durability;
use crate::engine::content::NearFolder;
use crate::error::Error;
use crate::model::operation::End;
use crate::model::{Attributes, Change, Done, EntryPath, Kind, Operation, Problem, Verb};
use crate::plan::Plan;
use crate::plan::desired::Desired;
use crate::store::{Fault, Folder, Store, Writes};
use std::time::{Duration, Instant};

/// Deletes recorded in one transaction: they lie scattered over the manifest, and each transaction
/// writes every page it touches.
const TOGETHER: usize = 1024;

/// What a batch of deletes comes to before its rows are forgotten.
///
/// A delete that a power cut undoes brings back an entry; if its row is gone by then, nobody knows any more
/// that it came from the source and was let go, and the guards would hold it. So rows are forgotten when
/// the disk has forgotten the entries.
struct Durable<'r, R: Store> {
    replica: &'r R,
    wanted: bool,
    writes: Option<Result<R::Writes, Fault>>,
    /// Entries that have rows were deleted since `writes` began.
    due: bool,
    /// It failed once: no rows are forgotten any more, and that is said once.
    failed: bool,
}

impl<'r, R: Store> Durable<'r, R> {
    fn new(replica: &'r R, wanted: bool) -> Self {
        Self { replica, wanted, writes: None, due: false, failed: false }
    }

    /// Must come before a delete.
    fn expect(&mut self, operation: &Operation) {
        if self.wanted && !self.failed && operation.origin.is_some() {
            self.writes.get_or_insert_with(|| self.replica.begin_writes());
            self.due = true;
        }
    }

    /// Makes durable what `dones` tell of; where that fails, their rows stay for the next run to see.
    fn settle(&mut self, dones: &mut Vec<Done>) {
        let writes = self.writes.take().filter(|_| std::mem::take(&mut self.due));
        let mut problem = None;
        if let Some(Err(fault)) = writes.map(|writes| writes.and_then(Writes::make_durable)) {
            self.failed = true;
            problem = Some(Problem::replica(&EntryPath::root(), fault.action, &fault.error));
        }
        if self.failed {
            for done in dones.iter_mut() {
                if let End::Made(change) = &mut done.end {
                    *change = None;
                }
            }
        }
        dones.extend(problem.map(|problem| Done {
            path: EntryPath::root(),
            verb: Verb::Delete,
            from: None,
            end: End::Failed(problem),
            bytes: 0,
            digest: None,
            took: Duration::ZERO,
            silent: false,
        }));
    }
}

/// Carries out the plan's deletes and removes litter.
pub(super) fn carry_out<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    plan: &Plan,
    asides: &Asides,
    names: &Names,
    record: &mut dyn FnMut(Vec<Done>) -> Result<(), Error>,
) -> Result<(), Error> {
    open_up(site, plan, asides);
    let mut near = NearFolder::new(site.replica);
    let mut dones = Vec::new();
    let mut durable = Durable::new(site.replica, site.durability != Durability::None);
    let litter = plan.litter.iter().rev().map(|operation| (operation, true));
    let deletes = plan.deletes.iter().rev().map(|operation| (operation, false));
    for (operation, silent) in litter.chain(deletes) {
        if site.cancel.requested() {
            break;
        }
        let started = Instant::now();
        durable.expect(operation);
        let end = match asides.whereabouts(&operation.path) {
            Whereabouts::Kept => continue,
            Whereabouts::InPlace => remove(&mut near, names, operation, &operation.path),
            Whereabouts::Aside(actual) => remove(&mut near, names, operation, &actual),
        };
        // A file system that takes no writes any more takes none of the other deletes either.
        let (end, stuck) = match end {
            End::Full(problem) => (End::Failed(problem), true),
            end => (end, false),
        };
        let silent = silent && !matches!(end, End::Failed(_));
        dones.push(Done {
            path: operation.path.clone(),
            verb: operation.verb,
            from: None,
            end,
            bytes: 0,
            digest: None,
            took: started.elapsed(),
            silent,
        });
        if stuck {
            break;
        }
        if dones.len() >= TOGETHER {
            durable.settle(&mut dones);
            record(std::mem::take(&mut dones))?;
        }
    }
    durable.settle(&mut dones);
    record(dones)
}

/// The owner's bits that removing what a folder holds needs, unless one is root.
const OWNER_ALL: u32 = 0o700;

/// Gives a user who is not root what emptying the folders that are to go needs.
fn open_up<S: Store, R: Store>(site: &Site<'_, S, R>, plan: &Plan, asides: &Asides) {
    if site.rights.uid == 0 {
        return;
    }
    for operation in plan.litter.iter().chain(&plan.deletes) {
        let Some(planned) = operation.replica.as_ref().filter(|stat| stat.kind() == Kind::Folder) else {
            continue;
        };
        let mode = planned.fingerprint.mode;
        if mode & OWNER_ALL == OWNER_ALL || site.cancel.requested() {
            continue;
        }
        let actual = match asides.whereabouts(&operation.path) {
            Whereabouts::Kept => continue,
            Whereabouts::InPlace => operation.path.clone(),
            Whereabouts::Aside(actual) => actual,
        };
        let desired = Desired { mode: Some(mode | OWNER_ALL), ..Desired::default() };
        if let Ok(folder) = site.replica.folder(&actual)
            && folder.own_stat().is_ok_and(|now| now.is_same_object(planned))
        {
            // Where this fails, removing what the folder holds fails as well and says why.
            let _ = folder.set_own(&desired, &Attributes::default());
        }
    }
}

fn remove<R: Store>(
    near: &mut NearFolder<'_, R>,
    names: &Names,
    operation: &Operation,
    actual: &EntryPath,
) -> End {
    let removed = || -> Result<bool, Fault> {
        let folder = near.of(actual)?;
        // A delete is planned from what the replica's walk saw; there is always something.
        operation.replica.map_or(Ok(false), |planned| folder.remove(actual.name(), &names.as_mended(planned)))
    }();
    match removed {
        Ok(_) => End::Made(Some(Change::Forget(operation.path.clone()))),
        Err(fault) if fault.is_absence() => End::Made(Some(Change::Forget(operation.path.clone()))),
        Err(fault) => {
            let problem = Problem::replica(&operation.path, fault.action, &fault.error);
            if fault.is_lack_of_room() { End::Full(problem) } else { End::Failed(problem) }
        }
    }
}
