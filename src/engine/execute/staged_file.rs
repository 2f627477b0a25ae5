//! The file that a copy is written to before it gets its name.

use super::stage::Way;
use crate::store::{During, Fault, Folder, TemporaryName};
use std::fs::File;
use std::io::{self, ErrorKind, Seek};
use std::rc::Rc;

/// The file under its temporary name, made when it is first needed.
pub(super) struct StagedFile<F: Folder> {
    folder: Rc<F>,
    temporary: TemporaryName,
    file: Option<File>,
}

impl<F: Folder> StagedFile<F> {
    /// Nothing is made yet.
    pub(super) fn of<S: Folder>(way: &Way<S, F>) -> Self {
        Self { folder: Rc::clone(&way.theirs), temporary: way.temporary.clone(), file: None }
    }

    /// The file, whatever is in it.
    pub(super) fn present(&mut self) -> Result<&File, Fault> {
        if self.file.is_none() {
            self.file = Some(self.folder.stage_file(&self.temporary)?);
        }
        // Made just above where it was not there.
        self.file.as_ref().ok_or(io::Error::from(ErrorKind::NotFound)).during("make a temporary for")
    }

    /// The file, with nothing in it.
    pub(super) fn emptied(&mut self) -> Result<&File, Fault> {
        let used = self.file.is_some();
        let mut file = self.present()?;
        if used {
            file.set_len(0).and_then(|()| file.rewind()).during("write")?;
        }
        Ok(file)
    }

    /// The file for good, with nothing in it unless it is to be kept as it is.
    pub(super) fn into_emptied(mut self, keep: bool) -> Result<File, Fault> {
        if !keep {
            self.emptied()?;
        }
        self.file.ok_or(io::Error::from(ErrorKind::NotFound)).during("make a temporary for")
    }
}
