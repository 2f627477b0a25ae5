//! Telling a damaged manifest from a file that never was one.
//!
//! A file at the manifest's path is this job's only where something proves it:
//!
//! - its header: SQLite's magic and the application id of twinfold, or
//! - the lock file beside it, in which a run recorded the job after it had the manifest open, or
//! - its place: in the state folder, under the name that twinfold makes up for the job. That name bears a digest of both
//!   roots where the job has none of its own. A job's own name could be that of another file as well, so that there the
//!   content has to look like what a disk or a file system leaves of a manifest.
//!
//! Anything else is refused before so much as a lock is made beside it.

use super::error::ManifestError;
use super::file::{self, MAGIC};
use super::open::JobRoots;
use super::schema::APPLICATION_ID;
use crate::lock::recorded_owners;
use crate::model::escape::escaped;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where a manifest lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where a person says.
    Chosen,
    /// In the state folder, under the job's name.
    NamedAfterJob,
    /// In the state folder, under a digest of both roots.
    NamedAfterRoots,
}

/// The bytes that are read of a file to see what is left of a manifest in it: one page.
const LOOKED_AT: u64 = 4096;

/// Refuses what lies at `path` unless it is a manifest or the damaged one of this job. Nothing at all is fine as well.
/// Without `roots` the damaged one of any job will do. Writes nothing.
///
/// # Errors
/// [`ManifestError::NotOurs`] for a file of something else; also what opening it would refuse in any case, and what keeps
/// it from being read.
pub fn recognize(path: &Path, roots: Option<&JobRoots>, place: Place) -> Result<(), ManifestError> {
    let cause = match file::inspect(path) {
        Ok(_) => return Ok(()),
        Err(ManifestError::Damaged { cause, .. }) => cause,
        Err(error) => return Err(error),
    };
    let is_ours = place == Place::NamedAfterRoots
        || is_recorded(path, roots)
        || (place == Place::NamedAfterJob && looks_damaged(&file::read_start(path, LOOKED_AT)?));
    if is_ours { Ok(()) } else { Err(ManifestError::NotOurs { path: path.to_owned(), cause }) }
}

/// The line that a run leaves in the lock file for [`recognize`].
pub(super) fn owner(roots: &JobRoots) -> String {
    let text = |path: &Path| escaped(path.as_os_str().as_bytes());
    format!("manifest of {} -> {}", text(&roots.source), text(&roots.replica))
}

fn is_recorded(path: &Path, roots: Option<&JobRoots>) -> bool {
    let recorded = recorded_owners(path);
    match roots {
        Some(roots) => recorded.contains(&owner(roots)),
        None => recorded.iter().any(|line| line.starts_with("manifest of ")),
    }
}

/// Returns true if this may be what is left of the first page of a manifest.
fn looks_damaged(page: &[u8]) -> bool {
    /// Where the application id lies in the header.
    const ID: std::ops::Range<usize> = 68..72;
    let begins_like_one = page.iter().zip(MAGIC).all(|(found, expected)| found == expected);
    page.iter().all(|&byte| byte == 0)
        || begins_like_one
        || page.get(ID).is_some_and(|id| id == APPLICATION_ID.to_be_bytes())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;
    use crate::lock::RunLock;
    use std::fs;
    use std::path::PathBuf;

    fn roots(source: &str) -> JobRoots {
        JobRoots { source: PathBuf::from(source), replica: PathBuf::from("/r") }
    }

    #[test]
    fn only_what_something_proves_to_be_the_jobs_own_is_taken_for_a_damaged_manifest() {
        use Place::{Chosen, NamedAfterJob, NamedAfterRoots};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.db");
        let mut torn = vec![7; 100];
        torn[68..72].copy_from_slice(&APPLICATION_ID.to_be_bytes());
        let table: [(&[u8], [bool; 3]); 6] = [
            (b"", [false, true, true]),
            (&[0; 5000], [false, true, true]),
            (&MAGIC[..9], [false, true, true]),
            (&torn, [false, true, true]),
            (b"[[job]]\n", [false, false, true]),
            (&[0x5a; 5000], [false, false, true]),
        ];
        for (content, expected) in table {
            fs::write(&path, content).unwrap();
            let found = [Chosen, NamedAfterJob, NamedAfterRoots]
                .map(|place| recognize(&path, Some(&roots("/s")), place).is_ok());
            assert_eq!(found, expected, "{content:?}");
        }
        let lock = RunLock::acquire(&path, "now").unwrap();
        assert!(recognize(&path, Some(&roots("/s")), Chosen).is_err(), "a lock alone proves nothing");
        lock.record_owner(&owner(&roots("/s")));
        drop(lock);
        drop(RunLock::acquire(&path, "later").unwrap());
        recognize(&path, Some(&roots("/s")), Chosen).unwrap();
        recognize(&path, None, Chosen).unwrap();
        assert!(recognize(&path, Some(&roots("/other")), Chosen).is_err());
        fs::remove_file(&path).unwrap();
        recognize(&path, Some(&roots("/other")), Chosen).unwrap();
    }
}
