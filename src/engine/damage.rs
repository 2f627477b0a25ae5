//! Damage that earlier verifications found: named by every run until it is settled, one way or the other.

use super::report::Tally;
use crate::clock;
use crate::error::Error;
use crate::manifest::{DamageRow, Known, Manifest};
use crate::model::{Problem, Side};
use crate::monitor::Monitor;

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

/// Damage as a problem, with what to do about it.
pub fn problem(damage: &DamageRow) -> Problem {
    let (side, advice) = match damage.side.as_str() {
        "replica" => (Side::Replica, "twinfold rebuild-index --heal restores it from the source"),
        "source" => (
            Side::Source,
            "the replica's copy is kept as it is: twinfold restore PATH --from-replica puts it in place, twinfold accept \
             PATH takes what the source has now for right",
        ),
        _ => (
            Side::Source,
            "nobody knows which content is right: look at both, then put the right one into the source, or let what is there \
             stand with twinfold accept PATH",
        ),
    };
    let cause = format!("damaged: {} (found {}); {advice}", damage.detail, clock::readable(damage.found));
    Problem { path: damage.path.clone(), side, action: VOUCH, cause }
}
