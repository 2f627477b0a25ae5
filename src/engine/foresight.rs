//! The replica and its rows as they will be when folders have their new names: for dry runs, which plan as a
//! run does after it has renamed them.

use super::observe;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::manifest::{Bounds, ManifestError, Reader};
use crate::model::{Entry, EntryPath, Record, Side};
use crate::plan::rebased::{Rebased, View};
use crate::plan::relocation::Relocation;
use crate::store::local::{LocalStore, Look};
use std::collections::{BTreeSet, HashMap};

/// What lies in folders that get other names, seen under these.
#[derive(Debug)]
pub struct Foresight {
    view: View,
    row_view: View,
    /// What lies at and below each such folder, but for what an inner one takes along; by its present name.
    entries: HashMap<EntryPath, Vec<Entry>>,
}

impl Foresight {
    /// Walks the replica with `threads` threads, keeping what lies in what gets another name.
    pub fn of(
        replica: &LocalStore,
        ways: &[Relocation],
        threads: usize,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let view = View::of(ways, false);
        let mut entries: HashMap<EntryPath, Vec<Entry>> = HashMap::new();
        std::thread::scope(|scope| -> Result<(), Error> {
            for entry in observe::walk(scope, Side::Replica, Some(replica), Look::AtAll, threads, cancel)? {
                let entry = entry?;
                // One that lies in several goes along with the innermost.
                if let Some(folder) = view.folder_of(&entry.path) {
                    entries.entry(folder.clone()).or_default().push(entry);
                }
            }
            Ok(())
        })?;
        Ok(Self { view, row_view: View::of(ways, true), entries })
    }

    /// Where things lie that will be elsewhere.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// The source's mount points, which are remembered as the rows have them, as they will be remembered.
    pub fn mounts(&self, remembered: &BTreeSet<EntryPath>) -> BTreeSet<EntryPath> {
        remembered.iter().map(|mount| self.row_view.renamed(mount)).collect()
    }

    /// The replica's walk as it will be.
    pub fn entries<'a>(
        &'a self,
        walk: impl Iterator<Item = Result<Entry, Error>> + 'a,
    ) -> impl Iterator<Item = Result<Entry, Error>> + 'a {
        Rebased::new(self.view.clone(), walk, |folder| {
            Box::new(self.entries.get(folder).into_iter().flatten().cloned().map(Ok))
        })
    }

    /// The rows as they will be.
    pub fn rows<'a>(
        &'a self,
        reader: &'a Reader,
    ) -> impl Iterator<Item = Result<Record, ManifestError>> + 'a {
        Rebased::new(self.row_view.clone(), reader.rows(Bounds::All), |folder| {
            Box::new(reader.rows(Bounds::Under(folder.clone())))
        })
    }
}
