//! Damage that earlier verifications found: named by every run until it is settled, one way or the other.

use super::report::Tally;
use crate::clock;
use crate::error::Error;
use crate::manifest::{DamageRow, Known, Manifest};
use crate::model::{EntryPath, Problem, Side};
use crate::monitor::Monitor;
use std::collections::HashSet;
use std::sync::Arc;

/// What cannot be done with what is damaged.
pub const VOUCH: &str = "vouch for";

/// Says what is damaged still, as problems; forgets what is not. Where the row of an entry is another by now, its content
/// was brought into step by something: a change, a restored copy, a word from a person.
pub fn tell(manifest: &Manifest, tally: &mut Tally, monitor: &dyn Monitor) -> Result<(), Error> {
    let mut settled = Vec::new();
    for damage in manifest.damage()? {
        let row = manifest.find(&damage.path)?;
        if row.is_some_and(|row| Known::of(&row) == damage.known) {
            tally.problem(problem(&damage), monitor);
        } else {
            settled.push(damage.path);
        }
    }
    Ok(manifest.note_damage(&[], &settled)?)
}

/// The files whose content in the source is damaged.
pub fn rotten(damage: &[DamageRow]) -> Arc<HashSet<EntryPath>> {
    let in_source = damage.iter().filter(|row| row.side != "replica");
    Arc::new(in_source.map(|row| row.path.clone()).collect())
}

/// Damage as a problem, with what to do about it.
pub fn problem(damage: &DamageRow) -> Problem {
    let path = &damage.path;
    let (side, advice) = match damage.side.as_str() {
        "replica" => (Side::Replica, "twinfold rebuild-index --heal restores it from the source".to_owned()),
        "source" => (
            Side::Source,
            format!(
                "twinfold restore {path} --from-replica puts the replica's copy in its place, twinfold accept {path} lets it \
                 stand"
            ),
        ),
        _ => (
            Side::Source,
            format!(
                "nothing tells which content is right: put the right one into the source, or let what is there stand with \
                 twinfold accept {path}"
            ),
        ),
    };
    let cause = format!("damaged: {} (found {}); {advice}", damage.detail, clock::readable(damage.found));
    Problem { path: path.clone(), side, action: VOUCH, cause }
}
