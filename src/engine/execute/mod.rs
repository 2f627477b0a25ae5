//! Carrying out a plan that the gate let through.
//!
//! The order: folders, parents first; files that only get another name; files, links and special files in
//! batches on the workers; deletes, deepest first; folders' metadata last, deepest first. What takes a name
//! from the other kind of entry (a folder becomes a file) is staged first and exchanged with it, so that a failure
//! keeps the old; the deletes then find the old under the temporary name.

mod asides;
mod batch;
mod changing;
mod copy;
mod crossing;
mod cut;
mod deletes;
mod durable;
pub mod early;
mod folders;
mod grounds;
mod groups;
mod large;
mod moves;
pub mod names;
mod no_room;
mod partials;
mod prepared;
mod progress;
mod site;
mod stage;
mod staged_file;
mod taken;
mod uncopied;
pub mod way;

use super::report::Tally;
use super::workers::Workers;
use crate::clock;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::operation::End;
use crate::model::{Change, Done, EntryPath, Operation, Problem, Verb};
use crate::monitor::{Amount, Monitor, Phase};
use crate::plan::gate::Approved;
use crate::store::{Store, TemporaryName};
use asides::Asides;
pub use changing::MixedCopies;
pub use grounds::Grounds;
use moves::Moved;
use names::{FirstNames, Names};
pub use no_room::finish_patches;
pub use partials::Partials;
pub use site::{Affected, Site};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use taken::TakenNames;
use uncopied::Uncopied;

/// What came of an operation, and what it put aside.
struct Outcome {
    done: Done,
    /// The name under which the entry of the other kind lies now.
    aside: Option<TemporaryName>,
}

/// Carries out what the gate approved, feeding the manifest and the tally as it goes.
pub fn execute<S: Store, R: Store>(
    site: &Site<'_, S, R>,
    approved: &Approved,
    workers: &Workers,
    manifest: &Manifest,
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    let plan = approved.plan();
    let books = (manifest, site.partials);
    site.anchors.recheck()?;
    if !plan.is_empty() {
        manifest.ensure_run_row()?;
    }
    let total = Amount { entries: plan.entries.len() as u64, bytes: plan.bytes() };
    monitor.phase(Phase::Copy, Some(total));
    let mut asides = Asides::of(plan);
    let failed = folders::prepare(site, plan, &mut asides, tally, monitor);
    // What is moved out of folders that are to go needs them open, too.
    deletes::open_up(site, plan.deletes.iter().filter(|_| !plan.moves.is_empty()), &asides);
    let Moved { instead, late } =
        moves::carry_out(site, plan, &failed, &asides, &mut |dones| settle(dones, books, tally, monitor))?;
    let ready: Vec<&Operation> = plan
        .entries
        .iter()
        .chain(instead.copies())
        .filter(|operation| !failed.cover(&operation.path))
        .collect();
    let mut names = Names::of(plan);
    let none = FirstNames::new();
    let owed: HashSet<&EntryPath> = instead.copies().map(|copy| &copy.path).collect();
    let mut paid = HashSet::new();
    let mut taken = TakenNames::of(&site.rights.held, &failed);
    let mut uncopied = Uncopied::default();
    let mut left = bring_over(site, &ready, &none, workers, &mut |outcomes| {
        names.note(&outcomes);
        uncopied.note(&outcomes);
        taken.note(&outcomes);
        paid.extend(made_of(&owed, &outcomes));
        settle(asides.note(outcomes), books, tally, monitor)
    })?;
    moves::finish(site, &late, &mut |dones| settle(dones, books, tally, monitor))?;
    let mut links: Vec<&Operation> =
        plan.links.iter().filter(|operation| !failed.cover(&operation.path)).collect();
    let mut unlinked = 0;
    // Where there was no room for first names, links wait for what the deletes make.
    if left.is_empty() {
        unlinked = names.link(site, &std::mem::take(&mut links), workers, &mut |outcomes| {
            settle(asides.note(outcomes), books, tally, monitor)
        })?;
    }
    // What is missing in the source must not be what was unmounted meanwhile.
    site.anchors.recheck()?;
    let mut deletes = instead.deletes(plan, &paid);
    uncopied.spare(&mut deletes, &ready);
    taken.keep(&mut deletes);
    site.partials.drop_unwanted(plan);
    let entries = (plan.litter.len() + deletes.len()) as u64;
    monitor.phase(Phase::Delete, Some(Amount { entries, bytes: 0 }));
    let deleted = tally.of(Verb::Delete);
    let removals = (&plan.litter[..], &deletes[..]);
    deletes::carry_out(site, workers, removals, (&asides, &names), &mut |dones| {
        settle(dones, books, tally, monitor)
    })?;
    let freed = tally.of(Verb::Delete) > deleted;
    if freed {
        site.no_room_from.store(u64::MAX, Ordering::Relaxed);
    }
    let given_back = site.no_room_from.load(Ordering::Relaxed) != u64::MAX;
    if !left.is_empty() && (freed || given_back) {
        // The deletes made room, or a large file that did not fit has given back what it took from
        // small ones. What would have displaced something waits for the next run: its deletes were
        // kept back.
        site.full.store(false, Ordering::Relaxed);
        let (again, waiting): (Vec<&Operation>, Vec<_>) =
            left.into_iter().partition(|operation| !operation.displaces);
        left = bring_over(site, &again, &none, workers, &mut |outcomes| {
            names.note(&outcomes);
            uncopied.note(&outcomes);
            paid.extend(made_of(&owed, &outcomes));
            settle(asides.note(outcomes), books, tally, monitor)
        })?;
        left.extend(waiting);
        links.retain(|operation| !operation.displaces);
        unlinked = names.link(site, &std::mem::take(&mut links), workers, &mut |outcomes| {
            settle(asides.note(outcomes), books, tally, monitor)
        })?;
    }
    if !left.is_empty() {
        left = no_room::carry_out(site, left, workers, manifest, &mut |dones| {
            settle(dones, books, tally, monitor)
        })?;
    }
    unlinked += links.len();
    // Old names of files whose copies found room only now.
    if !instead.is_empty() {
        let removed: HashSet<&EntryPath> = deletes.iter().map(|delete| &delete.path).collect();
        let mut late = instead.deletes(plan, &paid);
        late.retain(|delete| !removed.contains(&delete.path));
        uncopied.spare(&mut late, &ready);
        site.anchors.recheck()?;
        deletes::carry_out(site, workers, (&[], &late), (&asides, &names), &mut |dones| {
            settle(dones, books, tally, monitor)
        })?;
    }
    names.settle(site.replica, manifest, tally, monitor)?;
    let unmade = left.first().copied().or(plan.links.last().filter(|_| unlinked > 0));
    if let (Some(first), false) = (unmade, site.cancel.requested()) {
        let cause = format!(
            "the replica has no room left or takes no writes; {} entries were not brought over. Make room, \
             and the next run goes on{}",
            left.len() + unlinked,
            no_room::advice(site, &left)
        );
        tally.problem(Problem::replica(&first.path, "write", cause), monitor);
    }
    monitor.phase(Phase::Folders, Some(Amount { entries: plan.folders.len() as u64, bytes: 0 }));
    folders::finish(site, &plan.folders, &failed, &mut |dones| settle(dones, books, tally, monitor))?;
    site.tell_losses(tally, monitor);
    site.tell_mixed(tally, monitor);
    if site.cancel.requested() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Those of the paths `owed` that were made.
fn made_of(owed: &HashSet<&EntryPath>, outcomes: &[Outcome]) -> Vec<EntryPath> {
    let made = outcomes.iter().map(|outcome| &outcome.done);
    let made = made.filter(|done| owed.contains(&done.path) && matches!(done.end, End::Made(_)));
    made.map(|done| done.path.clone()).collect()
}

/// What came of a batch, in the order of its operations.
type Outcomes<'p> = (Vec<&'p Operation>, Vec<Outcome>);

/// Has the workers carry out operations that are no folders and no deletes; returns those that
/// were left for lack of room.
fn bring_over<'p, S: Store, R: Store>(
    site: &Site<'_, S, R>,
    ready: &[&'p Operation],
    firsts: &FirstNames,
    workers: &Workers,
    record: &mut dyn FnMut(Vec<Outcome>) -> Result<(), Error>,
) -> Result<Vec<&'p Operation>, Error> {
    let mut left: Vec<&'p Operation> = Vec::new();
    let mut take = |(batch, outcomes): Outcomes<'p>| {
        let without_room = |operation: &Operation, end: &End| match end {
            End::Full(_) => true,
            End::Skipped => !site.may_have_room(operation),
            End::Made(_) | End::Vanished | End::Failed(_) => false,
        };
        let unmade =
            batch.iter().zip(&outcomes).filter(|(each, outcome)| without_room(each, &outcome.done.end));
        left.extend(unmade.map(|(operation, _)| *operation));
        record(outcomes)
    };
    let mut untried: Vec<&'p Operation> = Vec::new();
    workers.within(|window| -> Result<(), Error> {
        for batch in cut::batches(ready, site.batch_files, window.workers()) {
            if site.cancel.requested() {
                break;
            }
            if site.full.load(Ordering::Relaxed) {
                untried.extend(batch);
                continue;
            }
            while window.is_full() {
                // Where none came for a while, what was recorded before is not to wait any longer.
                take(window.next_within(Manifest::PATIENCE).unwrap_or_default())?;
            }
            window.submit(move || {
                let outcomes = batch::carry_out(site, &batch, firsts);
                (batch, outcomes)
            });
        }
        while !window.is_idle() {
            take(window.next_within(Manifest::PATIENCE).unwrap_or_default())?;
        }
        Ok(())
    })?;
    left.extend(untried);
    Ok(left)
}

/// Has recorded what is now true, together with what follows soon, and tells who watches.
pub fn settle(
    mut dones: Vec<Done>,
    (manifest, partials): (&Manifest, &Partials),
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    for done in &mut dones {
        // Metadata that was refused is no operation that was done.
        done.silent |= done.verb == Verb::Metadata && !done.losses.is_empty();
        if let End::Made(Some(Change::Put(row))) = &mut done.end
            && manifest.is_to_be_tried_again(&done.path, &done.losses)?
        {
            row.racy = true;
        }
    }
    tally.count(&dones, monitor);
    partials.write(manifest)?;
    let now = clock::now();
    manifest.jot(&dones, now);
    manifest.note_losses(&dones, now)?;
    let changes: Vec<Change> = dones
        .into_iter()
        .filter_map(|done| match done.end {
            End::Made(change) => change,
            End::Vanished | End::Failed(_) | End::Full(_) | End::Skipped => None,
        })
        .collect();
    Ok(manifest.apply_soon(changes)?)
}
