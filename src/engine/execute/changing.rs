//! Source files that are written to while they are copied: clones to read from, and what people are told.

use super::Site;
use crate::engine::content::restat;
use crate::engine::report::Tally;
use crate::model::{EntryPath, Operation, Problem, Stat};
use crate::monitor::Monitor;
use crate::plan::consistency::{Consistency, PublishMixed, Verdict, is_unchanged};
use crate::store::{Folder, Store};
use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Copies that were published although they may mix older and newer parts, for one problem each.
#[derive(Debug, Default)]
pub struct MixedCopies(Mutex<Vec<EntryPath>>);

impl MixedCopies {
    /// Adds one that has its name.
    pub(super) fn add(&self, path: &EntryPath) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
    }

    fn take(&self) -> Vec<EntryPath> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Store, R: Store> Site<'_, S, R> {
    /// Reports the copies that may mix older and newer parts.
    pub(super) fn tell_mixed(&self, tally: &mut Tally, monitor: &dyn Monitor) {
        let mut paths = self.mixed.take();
        paths.sort();
        for path in paths {
            let cause = "it was written to each time it was read, so that the replica's copy may mix older and newer \
                         parts. The next run tries again. To have no such copy, set publish_mixed = \"never\"";
            tally.problem(Problem::source(&path, "copy", cause), monitor);
        }
    }

    /// Clones a source file that is written to, as a file without a name in its own folder. `None`: its file system
    /// cannot do that, or this user may not write there.
    pub(super) fn clone_aside(&self, folder: &S::Folder, file: &File, device: u64) -> Option<File> {
        let clone = self.can_clone_aside(folder, device).then(|| folder.unnamed_file()).flatten()?;
        self.clones.try_clone(file, &clone, (device, device)).then_some(clone)
    }

    /// Returns true if nothing is known yet that would keep files of this folder from being cloned in it.
    pub(super) fn can_clone_aside(&self, folder: &S::Folder, device: u64) -> bool {
        self.clones.may_try((device, device)) && folder.clones_whole_files()
    }
}

/// Says what a clone of `file` is, whose figures were `source` when it was opened. Where it has changed by now, the size
/// in `source` becomes the clone's. The other figures stay: they are older than what the clone holds, so that the next
/// run compares the file again.
pub(super) fn match_clone(file: &File, clone: &File, source: &mut Stat) -> io::Result<Consistency> {
    if is_unchanged(source, &restat(file)?) {
        return Ok(Consistency::Exact);
    }
    let clone = restat(clone)?;
    source.fingerprint.size = clone.fingerprint.size;
    source.allocated = clone.allocated;
    Ok(Consistency::Snapshot)
}

/// The problem of a file that is not copied for what the last reading of it came to. `read` is the number of bytes that
/// were there, of a size of `size`.
pub(super) fn refusal(
    operation: &Operation,
    verdict: Verdict,
    (size, read): (u64, u64),
    policy: PublishMixed,
) -> Problem {
    let taken = is_taken(operation);
    let left = if taken { "the replica keeps what it has" } else { "the replica has no copy of it" };
    let cause = match verdict {
        Verdict::WrongSize => {
            let found = match (size, read) {
                (0, _) => "its size is given as 0, but it has content".to_owned(),
                (_, read) if read > size => {
                    format!("its size is given as {size} bytes, but it goes on after them")
                }
                _ => format!("its size is given as {size} bytes, but only {read} could be read"),
            };
            format!(
                "{found}, as that of files which are made while they are read (in /proc, documents on some cloud mounts). \
                 It cannot be compared by its figures, so {left}. Exclude it to stop this message"
            )
        }
        Verdict::Exact | Verdict::Unproven | Verdict::Short => {
            let key = match policy {
                PublishMixed::Never if !taken => "\"if-absent\"",
                _ => "\"always\"",
            };
            format!(
                "it was written to each time it was read, so {left}. The next run tries again. To have a copy that may \
                 mix older and newer parts, set publish_mixed = {key}"
            )
        }
    };
    Problem::source(&operation.path, "copy", cause)
}

/// Returns true if the replica has something under the name of what is to be copied.
pub(super) fn is_taken(operation: &Operation) -> bool {
    operation.replica.is_some() || operation.displaces
}
