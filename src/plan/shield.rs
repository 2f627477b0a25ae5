//! Unreadable is not absent: what lies below something that could not be looked at is left alone.

use super::join::Joined;
use crate::model::{EntryPath, Seen};

/// The places that shield what is below them, while a join in path order passes by.
#[derive(Debug, Default)]
pub struct Shields(Vec<Shield>);

#[derive(Debug)]
struct Shield {
    folder: EntryPath,
    /// The folder itself is shielded, not only what is below it.
    itself: bool,
}

impl Shields {
    /// Raises what must be raised where one side could not be looked at.
    pub fn raise(&mut self, joined: &Joined) {
        for seen in [&joined.source, &joined.replica].into_iter().flatten() {
            match seen {
                Seen::Present(_) | Seen::Excluded | Seen::Listed => {}
                // What had this name when it was listed may be a folder by now.
                Seen::Vanished | Seen::Unreadable(_) if !joined.path.is_folder() => self.name(&joined.path),
                Seen::Unlisted(..) | Seen::Vanished | Seen::Foreign(_) | Seen::Unreadable(_) => {
                    self.below(&joined.path);
                }
            }
        }
    }

    /// Shields what the source has at `path`, and below it, because the replica cannot have it.
    pub fn leave_out(&mut self, path: &EntryPath) {
        if path.is_folder() { self.below(path) } else { self.name(path) }
    }

    /// Shields all below `folder`, whose listing failed.
    fn below(&mut self, folder: &EntryPath) {
        self.0.push(Shield { folder: folder.clone(), itself: false });
    }

    /// Shields the folder that a name of unknown kind may be, and all below it.
    fn name(&mut self, name: &EntryPath) {
        self.0.push(Shield { folder: name.other_kind(), itself: true });
    }

    /// Whether `path` is shielded. Paths must be asked for in rising order: shields that the join
    /// has passed are dropped.
    pub fn cover(&mut self, path: &EntryPath) -> bool {
        self.0.retain(|shield| *path <= shield.folder || path.is_below(&shield.folder));
        self.0.iter().any(|shield| path.is_below(&shield.folder) || (shield.itself && *path == shield.folder))
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
        assert!(shields.0.is_empty(), "what the join has passed is dropped");
    }

    #[test]
    fn what_vanished_or_could_not_be_looked_at_shields_the_folder_that_it_may_be() {
        let unreadable = || Seen::Unreadable(String::new());
        for seen in [Seen::Vanished, unreadable()] {
            // As a name of what was no folder: the folder itself too. As a folder: what is below it.
            for (key, itself) in [("b", true), ("b/", false)] {
                let mut shields = Shields::default();
                let path = EntryPath::from(key);
                shields.raise(&Joined { path, source: Some(seen.clone()), replica: None, row: None });
                for (path, covered) in
                    [("b.txt", false), ("b/", itself), ("b/x", true), ("b/y/z", true), ("bb", false)]
                {
                    assert_eq!(shields.cover(&EntryPath::from(path)), covered, "{key} {seen:?}: {path}");
                }
            }
        }
    }

    #[test]
    fn a_name_of_unknown_kind_shields_the_folder_it_may_be() {
        let mut shields = Shields::default();
        shields.name(&EntryPath::from("b"));
        shields.name(&EntryPath::from("b.txt"));
        for (path, covered) in
            [("b.txt", false), ("b.txt/", true), ("b/", true), ("b/x", true), ("bb", false)]
        {
            assert_eq!(shields.cover(&EntryPath::from(path)), covered, "{path}");
        }
    }
}
