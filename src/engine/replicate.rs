//! One entry made again elsewhere with all its metadata: for what the trash cannot have by a rename, and for
//! what is brought back.

use super::holes::{hash_clone, is_sparse, pass_on};
use super::identity::open_scanned;
use crate::cancel::Cancel;
use crate::model::{Attributes, Kind, Stat};
use crate::plan::desired::Rights;
use crate::store::{During, Fault, Folder, Staging, Target, TemporaryName, attributes_of};
use crate::transfer::Interruption;
use crate::transfer::clone::Clones;
use crate::transfer::sparse::Holes;
use std::fs::File;
use std::io;

/// What making entries again takes.
pub struct Means<'e> {
    /// What this process may do with owners, and what is kept.
    pub rights: &'e Rights,
    /// Bytes read at a time.
    pub chunk_bytes: usize,
    /// Between which file systems files cannot be cloned.
    pub clones: &'e Clones,
    /// A request to stop: the copy fails with [`io::ErrorKind::Interrupted`].
    pub cancel: &'e Cancel,
}

/// Where an entry is made again, and what may be replaced there.
pub struct Spot<'t, R: Folder> {
    /// The folder.
    pub folder: &'t R,
    /// The name in it.
    pub name: &'t [u8],
    /// What has the name and is to be replaced; `None`: the name must be free.
    pub replaced: Option<&'t Stat>,
}

impl Means<'_> {
    /// Makes `name` of `from`, which must still be `expected` and is no folder, again at `to`. It is on the disk
    /// before it gets its name.
    pub fn replicate<S: Folder, R: Folder>(
        &self,
        (from, name, expected): (&S, &[u8], &Stat),
        to: &Spot<'_, R>,
    ) -> Result<(), Fault> {
        let temporary = temporary_name()?;
        let staged = if expected.kind() == Kind::File {
            self.stage_file((from, name, expected), to.folder, &temporary)
        } else {
            self.stage_other((from, name, expected), to.folder, &temporary)
        };
        let target = to.replaced.map_or(Target::Absent, Target::Replace);
        let published = staged.and_then(|()| to.folder.publish(&temporary, to.name, target));
        published.inspect_err(|_| {
            // A leftover has a name that says what it is.
            let _ = to.folder.discard(&temporary);
        })
    }

    fn stage_file<S: Folder, R: Folder>(
        &self,
        (from, name, expected): (&S, &[u8], &Stat),
        into: &R,
        temporary: &TemporaryName,
    ) -> Result<(), Fault> {
        let (file, stat) = open_scanned(from, name, expected)?;
        let target = into.stage_file(temporary)?;
        let copied = self.fill(&file, &stat, &target)?;
        if copied != stat.fingerprint.size {
            return Err(io::Error::other("it changed while it was read; try again")).during("read");
        }
        let found = attributes_of(&file, self.rights.scope())?;
        let attributes = self.rights.desired_attributes(&stat, found);
        into.finish_file(&target, &self.rights.desired_new(&stat, None), &attributes)?;
        target.sync_all().during("make durable (fsync)")
    }

    /// Returns the bytes that were there.
    fn fill(&self, file: &File, stat: &Stat, target: &File) -> Result<u64, Fault> {
        let size = stat.fingerprint.size;
        let device = crate::store::stat_of(target).during("look at")?.device;
        let passed = if size > 0 && self.clones.try_clone(file, target, (stat.device, device)) {
            hash_clone(target, size, self.chunk_bytes, self.cancel)
        } else {
            let holes = is_sparse(file, stat).then(|| Holes::kept_if(self.rights.preserve.sparse));
            pass_on((file, target), size, holes, self.chunk_bytes, self.cancel)
        };
        match passed {
            Ok((copied, _)) => Ok(copied),
            Err(Interruption::Source(error)) => Err(error).during("read"),
            Err(Interruption::Replica(error)) => Err(error).during("write"),
            Err(Interruption::Cancelled) => Err(io::Error::from(io::ErrorKind::Interrupted)).during("copy"),
        }
    }

    fn stage_other<S: Folder, R: Folder>(
        &self,
        (from, name, expected): (&S, &[u8], &Stat),
        into: &R,
        temporary: &TemporaryName,
    ) -> Result<(), Fault> {
        let attributes = if expected.kind() == Kind::Symlink {
            into.stage_other(temporary, Staging::Symlink(&from.read_link(name)?))?;
            Attributes::default()
        } else {
            into.stage_other(temporary, Staging::Special(expected))?;
            let (_, found) = from.attributes(name, self.rights.scope())?;
            self.rights.desired_attributes(expected, found)
        };
        let made = into.stat(temporary.as_bytes())?;
        let gone = || io::Error::other("something else has taken the place of what was made");
        let made = made.filter(|made| made.kind() == expected.kind() && made.links == 1);
        let made = made.ok_or_else(gone).during("make")?;
        let desired = self.rights.desired_new(expected, None);
        into.set_metadata(temporary.as_bytes(), &made, &desired, &attributes).map(drop)
    }
}

/// A fresh temporary name.
pub fn temporary_name() -> Result<TemporaryName, Fault> {
    let name = TemporaryName::fresh(1).during("name a temporary for")?.pop();
    name.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)).during("name a temporary for")
}
