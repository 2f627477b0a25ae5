//! A job that never deletes: what its plan would take away stays.

use super::Moving;
use super::Plan;
use super::gate::{in_order, keep_back};
use crate::model::Operation;
use serde::Deserialize;

/// What becomes of entries of the replica that the source does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deletions {
    /// They are deleted.
    #[default]
    Mirror,
    /// They stay, as does what the source has another kind of entry in the place of.
    Never,
}

/// Takes everything out of a plan that would delete an entry, take its name away or put another kind in its place.
/// A file that would have been moved is copied. Returns the number of entries that stay.
pub fn keep_everything(plan: &mut Plan) -> u64 {
    let deletes = std::mem::take(&mut plan.deletes);
    let moves = std::mem::take(&mut plan.moves);
    let mut kept = deletes.len() + moves.iter().filter(|moving| moving.old.is_some()).count();
    plan.entries = in_order(moves.iter().map(Moving::as_copy).collect(), std::mem::take(&mut plan.entries));
    keep_back(plan, &deletes);
    let is_replaced = |operation: &mut Operation| {
        let (source, replica) = (operation.source.as_ref(), operation.replica.as_ref());
        source.zip(replica).is_some_and(|(source, replica)| source.kind() != replica.kind())
    };
    kept += plan.entries.extract_if(.., is_replaced).count();
    kept += plan.links.extract_if(.., is_replaced).count();
    plan.moved = 0;
    kept as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryPath, Fingerprint, Kind, Stat, Timestamp, Verb};

    fn stat(kind: Kind) -> Stat {
        let zero = Timestamp::default();
        let fingerprint = Fingerprint { kind, mode: 0o644, size: 1, mtime: zero, ctime: zero, inode: 1 };
        Stat { fingerprint, uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: 0 }
    }

    fn operation(path: &str, verb: Verb, source: Option<Kind>, replica: Option<Kind>) -> Operation {
        Operation {
            path: EntryPath::from(path),
            verb,
            source: source.map(stat),
            replica: replica.map(stat),
            content: None,
            attributes: true,
            origin: None,
            from: None,
            displaces: false,
            loses: false,
        }
    }

    #[test]
    fn nothing_is_deleted_or_replaced_by_another_kind_and_the_rest_is_done() {
        use Kind::{File, Folder, Symlink};
        let displacing = Operation { displaces: true, ..operation("folder", Verb::Copy, Some(File), None) };
        let mut plan = Plan {
            entries: vec![
                operation("changed", Verb::Copy, Some(File), Some(File)),
                displacing,
                operation("link", Verb::Create, Some(Symlink), Some(File)),
                operation("new", Verb::Copy, Some(File), None),
            ],
            deletes: vec![
                operation("folder/", Verb::Delete, None, Some(Folder)),
                operation("folder/in", Verb::Delete, None, Some(File)),
                operation("gone", Verb::Delete, None, Some(File)),
            ],
            ..Plan::default()
        };
        assert_eq!(keep_everything(&mut plan), 4);
        let left: Vec<String> = plan.operations().map(|intent| intent.path.to_string()).collect();
        assert_eq!(left, ["changed", "new"]);
    }

    #[test]
    fn a_moved_file_is_copied_and_its_old_name_stays() {
        let old = operation("a", Verb::Delete, None, Some(Kind::File));
        let moving = Moving {
            to: EntryPath::from("b"),
            from: EntryPath::from("a"),
            source: stat(Kind::File),
            replica: stat(Kind::File),
            target: None,
            content: None,
            mend: false,
            difference: crate::model::Difference::None,
            racy: false,
            old: Some(Box::new(old)),
            loses: false,
        };
        let mut plan = Plan { moves: vec![moving], ..Plan::default() };
        assert_eq!(keep_everything(&mut plan), 1);
        assert!(plan.moves.is_empty());
        assert_eq!((plan.entries.len(), plan.entries[0].verb), (1, Verb::Copy));
    }
}
