//! The gates around a run that need more than a plan: are the roots what they were, are they apart,
//! and what became of the deletes that earlier runs held.

use super::job::{Job, Trees};
use super::report::HeldAs;
use super::run::note_failure;
use crate::clock;
use crate::error::Error;
use crate::lock::RunLock;
use crate::manifest::{ABSENT, Holding, Manifest, RunFigures, RunKind};
use crate::model::{HeldOperation, HeldPlan, RootMounts, Timestamp, Unsteady};
use crate::monitor::Monitor;
use crate::plan::gate::Approved;
use crate::plan::release::{Release, as_held, is_same};
use crate::roots::{self, Anchor, Anchors};

/// The roots must be where they were on earlier runs, or somebody accepts where they are now. A replica below the
/// source must be left out of it, whatever is accepted.
pub fn expect(
    job: &Job,
    recorded: &RootMounts,
    source: &Anchor,
    replica: Option<&Anchor>,
) -> Result<(), Error> {
    let left_out = replica.map_or(Ok(()), |replica| replica.check_left_out(source, job.boundaries()));
    if job.accept_root {
        return Ok(left_out?);
    }
    let strayed = source.strayed(recorded.source.as_ref());
    let strayed = strayed.or_else(|| replica.and_then(|replica| replica.strayed(recorded.replica.as_ref())));
    strayed.map_or(left_out, Err).map_err(Error::from)
}

/// What was found out about the roots that is to be recorded, if it is news.
pub fn record(
    anchors: &Anchors,
    recorded: &RootMounts,
    probed: bool,
    manifest: &Manifest,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    for (side, mount) in [("source", anchors.source.mount()), ("replica", anchors.replica.mount())] {
        if mount.is_none() {
            monitor.warning(&format!(
                "on which mount the {side} lies cannot be told (is /proc there?): that it is still the same is not checked"
            ));
        }
    }
    let now = RootMounts {
        source: anchors.source.mount().cloned(),
        replica: anchors.replica.mount().cloned(),
        probed: probed || is_known(anchors, recorded),
    };
    let sides = [("source", &recorded.source, &now.source), ("replica", &recorded.replica, &now.replica)];
    for (side, was, is) in sides {
        if let (Some(was), Some(is)) = (was, is)
            && was != is
        {
            monitor.note(&format!("the {side} was on {was} and is on {is} now; that was accepted"));
        }
    }
    let is_news = [now.source.as_ref(), now.replica.as_ref()]
        .into_iter()
        .zip([recorded.source.as_ref(), recorded.replica.as_ref()])
        .any(|(now, was)| now.is_some() && now != was);
    if is_news || now.probed != recorded.probed {
        manifest.record_root_mounts(&now)?;
    }
    Ok(())
}

/// Whether a probe has shown these very roots to be apart.
fn is_known(anchors: &Anchors, recorded: &RootMounts) -> bool {
    recorded.probed
        && anchors.source.mount() == recorded.source.as_ref()
        && anchors.replica.mount() == recorded.replica.as_ref()
}

/// Has a probe file show whether the roots are aliases, unless that is known: it touches the replica's
/// root. `false`: none could be made, so that the next run must try again.
pub fn see_apart(job: &Job, recorded: &RootMounts, trees: &Trees) -> Result<bool, Error> {
    if is_known(&trees.anchors, recorded) || !trees.anchors.may_be_aliases() {
        return Ok(true);
    }
    let mut overlap = None;
    let probed = trees.replica.probe(|name| overlap = roots::sees_probe(&job.paths, job.boundaries(), name));
    match overlap {
        Some(refused) => {
            if trees.made {
                roots::unmake_replica(&job.paths);
            }
            Err(refused.into())
        }
        // Where no file can be made the run will say so itself.
        None => Ok(probed.is_ok()),
    }
}

/// Notes that a run was refused for its roots, so that `status` tells. A daemon that is refused at every
/// tick for one reason notes it once: it must not push the good runs out of the history.
pub fn note_refusal(job: &Job, manifest: &Manifest, began: Timestamp, error: &Error) -> Result<(), Error> {
    let mut figures = RunFigures::default();
    if error.is_tolerated(&job.settings) {
        ABSENT.clone_into(&mut figures.result);
        figures.message = Some(error.to_string());
    } else {
        note_failure(&mut figures, error);
    }
    let last = manifest.runs(1)?.into_iter().next();
    if last
        .is_some_and(|last| last.figures.result == figures.result && last.figures.message == figures.message)
    {
        return Ok(());
    }
    let run = manifest.begin_run(RunKind::Sync, began)?;
    manifest.finish_run(run, clock::now(), &figures, &[], Holding::Same)?;
    Ok(())
}

/// The same for a job that did not get so far as to open its roots; nothing where it has no manifest, for
/// then it has no history either.
pub fn note_away(job: &Job, lock: &RunLock, error: &Error, monitor: &dyn Monitor) -> Result<(), Error> {
    if !job.has_manifest() {
        return Ok(());
    }
    let began = clock::now();
    note_refusal(job, &job.open_manifest(lock, began, monitor)?, began, error)
}

/// Reports what the gate did: which deletes are held under which number, which go ahead. Deletes that an earlier run
/// held already are reported at length by that run alone: a daemon would repeat it at each tick.
pub fn tell(job: &Job, approved: &Approved, held_back: &HeldBack, run: i64, monitor: &dyn Monitor) {
    if let Some(release) = approved.release() {
        tell_release(release, monitor);
    }
    let Some(held) = approved.held() else { return };
    if let Some(number) = held_back.same_as {
        monitor.note(&format!("plan {number} is still held: {held}"));
    } else {
        let command = job.approve_command(run);
        let what = if approved.holds_overwrites() { "changes" } else { "deletes" };
        monitor.warning(&format!("{what} are held as plan {run} (to let them go: {command}): {held}"));
    }
}

/// Says that a plan which was approved while the run went on is not held any more, because other
/// deletes are held now (or none).
pub fn tell_dropped(dropped: Option<i64>, before: Option<&HeldPlan>, monitor: &dyn Monitor) {
    let seen = before.filter(|before| before.approved.is_some()).map(|before| before.run);
    if let Some(run) = dropped.filter(|_| dropped != seen) {
        monitor.warning(&format!(
            "plan {run} was approved while this run went on, and is dropped: what would be deleted changed; \
             see twinfold status"
        ));
    }
}

/// Says what became of an approved plan.
pub fn tell_release(release: Release, monitor: &dyn Monitor) {
    let Release { run, released, changed, gone, overwrites } = release;
    let what = if overwrites { "changes" } else { "deletes" };
    if released == 0 {
        monitor.warning(&format!(
            "the approved plan {run} is dropped: none of its {what} is planned as it was held ({changed} entries changed \
             in the replica, {gone} {what} are not planned any more)"
        ));
    } else if changed + gone > 0 {
        monitor.warning(&format!(
            "of the approved plan {run}, {released} {what} go ahead; {changed} are not covered any more, because their \
             entries changed in the replica: the gate decides about them as about any other; {gone} are not planned any more"
        ));
    } else {
        monitor.note(&format!("the approved plan {run} goes ahead: {released} {what}"));
    }
}

/// The operations that a run held, as the manifest is to have them.
#[derive(Debug, Default)]
pub struct HeldBack {
    /// The number of the stored plan, if its deletes are the ones that are held.
    pub same_as: Option<i64>,
    operations: Vec<HeldOperation>,
}

impl HeldBack {
    /// What `approved` holds, given what was held before.
    pub fn of(approved: &Approved, before: Option<&HeldPlan>, unsteady: Unsteady) -> Self {
        let held = approved.held_operations();
        let same = before.filter(|before| !held.is_empty() && is_same(held, before, unsteady));
        match same {
            Some(same) => Self { same_as: Some(same.run), operations: Vec::new() },
            None => Self { same_as: None, operations: held.iter().filter_map(as_held).collect() },
        }
    }

    /// Returns the plan that `run` leaves held, if it holds anything.
    pub fn plan(&self, run: i64) -> Option<HeldAs> {
        let anew = || (!self.operations.is_empty()).then_some(HeldAs { number: run, again: false });
        self.same_as.map(|number| HeldAs { number, again: true }).or_else(anew)
    }

    /// For the manifest.
    pub fn holding(&self) -> Holding<'_> {
        if self.same_as.is_some() { Holding::Same } else { Holding::Anew(&self.operations) }
    }
}
