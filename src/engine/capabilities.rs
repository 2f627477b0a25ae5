//! What the replica's file system can hold: found out once for a mount, remembered, and said.

use super::job::{Job, Trees};
use crate::error::Error;
use crate::manifest::{HeldBy, Manifest, Reader};
use crate::model::Capabilities;
use crate::monitor::Monitor;
use crate::store::local::LocalStore;
use std::sync::Arc;

/// What the replica's file system holds for this user, tried out where that is not known. Says what it does not hold
/// where that is news.
pub fn of_replica(
    job: &Job,
    trees: &Trees,
    manifest: &Manifest,
    monitor: &dyn Monitor,
) -> Result<Arc<Capabilities>, Error> {
    let (anchor, uid) = (&trees.anchors.replica, job.uid());
    let stored = manifest.capabilities(uid)?;
    let is_same_mount = |stored: &&HeldBy| {
        Some(&stored.mount) == anchor.mount() && stored.options.as_slice() == anchor.options()
    };
    let known = trees.replica.known_capabilities();
    if let (None, Some(stored)) = (&known, stored.as_ref().filter(is_same_mount)) {
        return Ok(Arc::new(stored.held.clone()));
    }
    let (held, certain) = match known {
        Some(known) => (known, true),
        None => match trees.replica.try_capabilities(&job.groups()) {
            Ok(probed) => (probed.capabilities, probed.certain),
            Err(fault) => {
                monitor.note(&format!(
                    "what the replica's file system holds could not be tried ({fault}); it is taken to hold everything"
                ));
                (Capabilities::default(), false)
            }
        },
    };
    let is_news = stored.as_ref().is_none_or(|stored| stored.held != held);
    let wanted = job.settings.preserve;
    if is_news && !held.holds_all(wanted) {
        monitor.warning(&format!(
            "the replica holds: {}. What it does not hold is cut or left out, which is no problem",
            held.summary(wanted)
        ));
    }
    let changed = is_news || !stored.as_ref().is_some_and(|stored| is_same_mount(&stored));
    if let (true, true, Some(mount)) = (certain, changed, anchor.mount()) {
        let found = HeldBy { mount: mount.clone(), options: anchor.options().to_vec(), held: held.clone() };
        manifest.record_capabilities(uid, &found)?;
        manifest.retry_losses()?;
    }
    Ok(Arc::new(held))
}

/// What is remembered, or known without trying; everything where neither is so. For what writes nothing.
pub fn recalled(replica: Option<&LocalStore>, stored: Option<HeldBy>) -> Arc<Capabilities> {
    let known = replica.and_then(LocalStore::known_capabilities);
    Arc::new(known.or(stored.map(|stored| stored.held)).unwrap_or_default())
}

/// What a job's manifest remembers, as far as it can be read: for what goes the other way, from the replica.
pub fn remembered(job: &Job) -> Arc<Capabilities> {
    let stored = Reader::open(&job.manifest).and_then(|reader| reader.capabilities(job.uid()));
    Arc::new(stored.ok().flatten().map(|stored| stored.held).unwrap_or_default())
}
