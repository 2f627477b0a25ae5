//! Unreadable is not absent: what lies below something that could not be looked at is left alone.

use super::join::Joined;
use crate::model::{EntryPath, Seen};

/// The places that shield what is below them, while a join in path order passes by.
#[derive(Debug, Default)]
pub struct Shields {
    folders: Vec<EntryPath>,
    name: Option<EntryPath>,
}

impl Shields {
    /// Raises what must be raised where one side could not be looked at.
    pub fn raise(&mut self, joined: &Joined) {
        for seen in [&joined.source, &joined.replica].into_iter().flatten() {
            match seen {
                Seen::Present(_) => {}
                Seen::Unlisted(..) | Seen::Vanished => self.below(&joined.path),
                Seen::Unreadable(_) => self.name(&joined.path),
            }
        }
    }

    /// Shields all below `folder`, whose listing failed.
    fn below(&mut self, folder: &EntryPath) {
        self.folders.push(folder.clone());
    }

    /// Shields `name` itself and, as it may be a folder, the same name with `/` and all below.
    fn name(&mut self, name: &EntryPath) {
        let folder = name.other_kind();
        self.folders.push(folder.clone());
        self.name = Some(folder);
    }

    /// Whether `path` is shielded. Paths must be asked for in rising order: shields that the join
    /// has passed are dropped.
    pub fn cover(&mut self, path: &EntryPath) -> bool {
        self.folders.retain(|folder| path <= folder || path.is_below(folder));
        self.folders.iter().any(|folder| path.is_below(folder)) || self.name.as_ref() == Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_shields_all_below_but_not_its_neighbours() {
        let mut shields = Shields::default();
        shields.below(&EntryPath::from("b/"));
        for (path, covered) in
            [("a", false), ("b", false), ("b.txt", false), ("b/x", true), ("b/y/z", true), ("c", false)]
        {
            assert_eq!(shields.cover(&EntryPath::from(path)), covered, "{path}");
        }
        assert!(shields.folders.is_empty(), "what the join has passed is dropped");
    }

    #[test]
    fn a_name_of_unknown_kind_shields_the_folder_it_may_be() {
        let mut shields = Shields::default();
        shields.name(&EntryPath::from("b"));
        for (path, covered) in [("b.txt", false), ("b/", true), ("b/x", true), ("bb", false)] {
            assert_eq!(shields.cover(&EntryPath::from(path)), covered, "{path}");
        }
    }
}
