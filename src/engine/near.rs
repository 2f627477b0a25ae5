//! The folder at hand: what comes in path order is mostly worked on in the same one.

use crate::model::EntryPath;
use crate::store::{Fault, Store};
use std::rc::Rc;

/// The folder last worked in: entries come in path order, so the next is likely there too.
pub struct NearFolder<'s, S: Store> {
    store: &'s S,
    path: EntryPath,
    folder: Option<Rc<S::Folder>>,
    checked: bool,
}

impl<'s, S: Store> NearFolder<'s, S> {
    /// None opened yet.
    pub fn new(store: &'s S) -> Self {
        Self { store, path: EntryPath::root(), folder: None, checked: false }
    }

    /// The folder that `path` lies in.
    pub fn of(&mut self, path: &EntryPath) -> Result<Rc<S::Folder>, Fault> {
        if let Some(folder) = &self.folder
            && self.path.as_bytes() == path.parent_bytes()
        {
            return Ok(Rc::clone(folder));
        }
        let parent = path.parent();
        let folder = Rc::new(self.store.folder(&parent)?);
        self.path = parent;
        self.folder = Some(Rc::clone(&folder));
        self.checked = false;
        Ok(folder)
    }

    /// The same, once `check` is content with it. What an open folder is does not change: it is
    /// asked once for each that is opened.
    pub fn of_checked(
        &mut self,
        path: &EntryPath,
        check: impl FnOnce(&EntryPath, &S::Folder) -> Result<(), Fault>,
    ) -> Result<Rc<S::Folder>, Fault> {
        let folder = self.of(path)?;
        if !self.checked {
            check(&self.path, &folder)?;
            self.checked = true;
        }
        Ok(folder)
    }
}
