//! Carrying out a plan that the gate let through.
//!
//! The order: folders, parents first; files, links and special files in batches on the workers;
//! deletes, deepest first; folders' metadata last, deepest first. What takes a name from the other
//! kind of entry (a folder becomes a file) is staged first and exchanged with it, so that a failure
//! keeps the old; the deletes then find the old under the temporary name.

mod asides;
mod batch;
mod deletes;
mod folders;
mod stage;

use super::content::{BATCH_BYTES, SMALL};
use super::report::Tally;
use super::workers::Workers;
use crate::cancel::Cancel;
use crate::config::file::Durability;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::model::operation::End;
use crate::model::{Change, Done, Operation, Timestamp};
use crate::monitor::{Amount, Monitor, Phase};
use crate::plan::desired::Rights;
use crate::plan::gate::Approved;
use crate::store::{Store, TemporaryName};
use asides::Asides;
use std::sync::atomic::{AtomicBool, Ordering};

/// What everybody who carries out operations needs.
pub struct Site<'e, S: Store, R: Store> {
    /// The tree that is mirrored.
    pub source: &'e S,
    /// The mirror.
    pub replica: &'e R,
    /// What this process may do with owners.
    pub rights: &'e Rights,
    /// When the scan began.
    pub began: Timestamp,
    /// How coarse the source's time stamps are, in nanoseconds.
    pub tick_nanos: i64,
    /// Bytes read at a time.
    pub chunk_bytes: usize,
    /// Files in one batch.
    pub batch_files: usize,
    /// When copies must survive a power cut.
    pub durability: Durability,
    /// A request to stop.
    pub cancel: &'e Cancel,
    /// Set where an owner could not be kept.
    pub owner_lost: &'e AtomicBool,
}

/// What came of an operation, and what it put aside.
struct Outcome {
    done: Done,
    /// The name under which the entry of the other kind lies now.
    aside: Option<TemporaryName>,
    displaces: bool,
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
    let total = Amount { entries: plan.entries.len() as u64, bytes: plan.bytes() };
    monitor.phase(Phase::Copy, Some(total));
    let mut asides = Asides::default();
    let failed = folders::prepare(site, &plan.folders, &mut asides, tally, monitor);
    let ready: Vec<&Operation> =
        plan.entries.iter().filter(|operation| !failed.cover(&operation.path)).collect();
    workers.within(|window| -> Result<(), Error> {
        let mut take = |outcomes: Vec<Outcome>| {
            let dones = asides.note(outcomes);
            settle(dones, manifest, tally, monitor)
        };
        for batch in batches(&ready, site.batch_files) {
            if site.cancel.requested() {
                break;
            }
            while window.is_full() {
                if let Some(outcomes) = window.next() {
                    take(outcomes)?;
                }
            }
            window.submit(move || batch::carry_out(site, batch));
        }
        while let Some(outcomes) = window.next() {
            take(outcomes)?;
        }
        Ok(())
    })?;
    let deletes = (plan.litter.len() + plan.deletes.len()) as u64;
    monitor.phase(Phase::Delete, Some(Amount { entries: deletes, bytes: 0 }));
    deletes::carry_out(site, plan, &asides, &mut |dones| settle(dones, manifest, tally, monitor))?;
    monitor.phase(Phase::Folders, Some(Amount { entries: plan.folders.len() as u64, bytes: 0 }));
    folders::finish(site, &plan.folders, &failed, &mut |dones| settle(dones, manifest, tally, monitor))?;
    if site.owner_lost.load(Ordering::Relaxed) {
        monitor.warning(
            "some owners or groups could not be kept: this user may not give files away; set-id bits were left out there",
        );
    }
    if site.cancel.requested() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Records what is now true, in one transaction, and tells who watches.
fn settle(
    dones: Vec<Done>,
    manifest: &Manifest,
    tally: &mut Tally,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    tally.count(&dones, monitor);
    let changes: Vec<Change> = dones
        .into_iter()
        .filter_map(|done| match done.end {
            End::Made(change) => change,
            End::Vanished | End::Failed(_) | End::Skipped => None,
        })
        .collect();
    Ok(manifest.apply(changes)?)
}

/// Cuts operations into batches: by count, by bytes, and large files alone.
fn batches<'o>(operations: &'o [&'o Operation], files: usize) -> impl Iterator<Item = &'o [&'o Operation]> {
    let mut rest = operations;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut count = 0;
        for operation in rest {
            let size = operation.bytes();
            let alone = size > SMALL;
            if count == files || (count > 0 && (alone || bytes + size > BATCH_BYTES)) {
                break;
            }
            count += 1;
            bytes += size;
            if alone {
                break;
            }
        }
        let (batch, later) = rest.split_at(count);
        rest = later;
        (!batch.is_empty()).then_some(batch)
    })
}
