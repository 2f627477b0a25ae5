//! The file that a copy is written to before it gets its name.

use crate::store::{During, Fault, Folder, TemporaryName};
use std::fs::File;
use std::io::{self, ErrorKind, Seek};

/// The file under its temporary name, made when it is first needed.
pub(super) struct StagedFile<'f, F: Folder> {
    folder: &'f F,
    temporary: &'f TemporaryName,
    file: Option<File>,
}

impl<'f, F: Folder> StagedFile<'f, F> {
    /// Nothing is made yet.
    pub(super) fn new(folder: &'f F, temporary: &'f TemporaryName) -> Self {
        Self { folder, temporary, file: None }
    }

    /// The file, whatever is in it.
    pub(super) fn present(&mut self) -> Result<&File, Fault> {
        if self.file.is_none() {
            self.file = Some(self.folder.stage_file(self.temporary)?);
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
}
