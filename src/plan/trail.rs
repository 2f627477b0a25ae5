//! The source's folders from the root down to where a join is.

use super::FolderTask;
use super::join::Joined;
use crate::model::{Difference, EntryPath, Seen, Stat};
use std::sync::Arc;

/// The way to the join's present path, with what both sides have of each folder on it.
#[derive(Debug, Default)]
pub struct Trail(Vec<Arc<FolderTask>>);

impl Trail {
    /// Goes on to the next joined path.
    pub fn follow(&mut self, joined: &Joined) {
        self.leave(&joined.path);
        if let (true, Some(Seen::Present(source))) = (joined.path.is_folder(), &joined.source) {
            let replica = match &joined.replica {
                Some(Seen::Present(stat) | Seen::Unlisted(stat, _)) => Some(*stat),
                _ => None,
            };
            self.0.push(Arc::new(FolderTask {
                path: joined.path.clone(),
                source: *source,
                replica,
                verb: None,
                difference: Difference::None,
                displaces: false,
            }));
        }
    }

    /// Leaves the folders that do not lead to `path`.
    fn leave(&mut self, path: &EntryPath) {
        while self.0.last().is_some_and(|folder| !path.is_below(&folder.path)) {
            self.0.pop();
        }
    }

    /// The innermost folder.
    pub fn last(&self) -> Option<&Arc<FolderTask>> {
        self.0.last()
    }

    /// All of it, the root first.
    pub fn folders(&self) -> &[Arc<FolderTask>] {
        &self.0
    }

    /// The folder that `path` lies in, if the source has it.
    pub fn enclosing(&self, path: &EntryPath) -> Option<&Arc<FolderTask>> {
        let innermost = self.0.last()?;
        let folder = if innermost.path == *path { self.0.iter().nth_back(1)? } else { innermost };
        (folder.path.as_bytes() == path.parent_bytes()).then_some(folder)
    }

    /// The folders on the way to `path` that the replica does not have, and the one that it lies in; with
    /// `itself` that folder too.
    pub fn way_to(&self, path: &EntryPath, itself: bool) -> Vec<Arc<FolderTask>> {
        let on_the_way = |task: &&Arc<FolderTask>| {
            (itself && task.path == *path)
                || task.replica.is_none()
                || task.path.as_bytes() == path.parent_bytes()
        };
        self.0.iter().filter(|task| itself || task.path != *path).filter(on_the_way).cloned().collect()
    }

    /// Notes that the replica has the folder `path` now, as `stat`.
    pub fn made(&mut self, path: &EntryPath, stat: &Stat) {
        if let Some(task) = self.0.iter_mut().find(|task| task.path == *path) {
            *task = Arc::new(FolderTask { replica: Some(*stat), verb: None, ..(**task).clone() });
        }
    }
}
