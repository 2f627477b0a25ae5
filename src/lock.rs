//! The job's lock: whoever holds it is the only one to write the manifest and the replica.
//!
//! An OS lock (flock) on a file of its own: it ends with the process, whatever ends that, so a
//! stale lock file is no lock. Its first line names the holder for messages; the lines after it name the jobs whose
//! manifests were opened under the lock, which proves later that a damaged file beside it is theirs.

use crate::resolved;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Why a lock was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("another twinfold ({holder}) holds the lock {path}; wait for it or stop it", path = path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who, as the lock file says: "pid 123, since ...".
        holder: String,
    },
    /// Another job, with another manifest, writes to the same replica.
    #[error("another twinfold is writing to the replica {path}; two jobs cannot share a replica", path = path.display())]
    ReplicaHeld {
        /// The replica's root.
        path: PathBuf,
    },
    /// Somebody else's file has the name of the lock file.
    #[error(
        "{path} would be the lock file, but twinfold did not write what is in it, and leaves it as it is; name another \
         manifest with --manifest or the key manifest",
        path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The lock file could not be used.
    #[error("cannot use the lock file {path}: {error}", path = path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// Proof of holding the job's lock; dropping it gives the lock back.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

/// `status` looks whether the lock is held by taking it, shared, for an instant: try past that.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

impl RunLock {
    /// Takes the lock that belongs to `manifest`, writing `since` (a time, for people) into it.
    pub fn acquire(manifest: &Path, since: &str) -> Result<Self, LockError> {
        let path = path_for(manifest);
        let fault = |error: io::Error| LockError::Io { path: path.clone(), error };
        let flags = OFlags::RDWR | OFlags::CREATE;
        let handle = resolved::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(fault)?;
        let mut file = File::from(handle);
        for attempt in 1.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if attempt < TRIES => sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    let holder = holder(&mut file);
                    return Err(LockError::Held { path, holder });
                }
                Err(error) => return Err(fault(error.into())),
            }
        }
        let before = content(&mut file).map_err(fault)?;
        if !before.is_empty() && !before.starts_with(HOLDER) {
            return Err(LockError::Foreign { path });
        }
        let mut text = format!("{HOLDER}{}, since {since}\n", std::process::id());
        for owner in owners(&before) {
            text.push_str(owner);
            text.push('\n');
        }
        // In place, and cut afterwards: a kill in between leaves the owners readable.
        file.write_all_at(text.as_bytes(), 0).map_err(fault)?;
        if text.len() < before.len() {
            file.set_len(text.len() as u64).map_err(fault)?;
        }
        Ok(Self { file })
    }

    /// Records a line about whose manifest lies beside the lock, where it is not recorded. It only serves as a proof later,
    /// so that no run fails for it; the next run tries again.
    pub fn record_owner(&self, owner: &str) {
        let mut file = &self.file;
        let Ok(text) = content(&mut file) else { return };
        if owners(&text).all(|known| known != owner) {
            let _ = file.write_all_at(format!("{owner}\n").as_bytes(), text.len() as u64);
        }
    }
}

/// How a lock file begins.
const HOLDER: &str = "pid ";

/// No lock file of ours is larger: it has two paths for each job that had its manifest there.
const MAX_BYTES: u64 = 1 << 20;

fn content(file: &mut (impl Read + Seek)) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.by_ref().take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn owners(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip(1)
}

/// The lines that runs recorded in the lock file that belongs to `manifest`; none where it cannot be read.
pub fn recorded_owners(manifest: &Path) -> Vec<String> {
    let open = || resolved::open(&path_for(manifest), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
    let text = open().and_then(|handle| content(&mut File::from(handle))).unwrap_or_default();
    if text.starts_with(HOLDER) { owners(&text).map(str::to_owned).collect() } else { Vec::new() }
}

/// Who holds the lock that belongs to `manifest` just now, without taking it for longer than an
/// instant. `None`: nobody.
pub fn current_holder(manifest: &Path) -> Option<String> {
    let mut file = File::from(resolved::open(&path_for(manifest), OFlags::RDONLY, Mode::empty()).ok()?);
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Some(holder(&mut file)),
        _ => None,
    }
}

/// Marks the replica's root, an open folder, as being written to for as long as it stays open.
/// File systems without locks are let pass: the job's own lock is what normally guards.
pub fn claim_replica(root: BorrowedFd<'_>, path: &Path) -> Result<(), LockError> {
    match flock(root, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(LockError::ReplicaHeld { path: path.to_owned() }),
        _ => Ok(()),
    }
}

/// Where the lock of a manifest is.
pub fn path_for(manifest: &Path) -> PathBuf {
    let mut name = manifest.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Whoever has just taken the lock has not written its name yet: so often, and after what pause, it is
/// looked for again.
const NAME_TRIES: u32 = 10;
const NAME_PAUSE: Duration = Duration::from_millis(5);

fn holder(file: &mut File) -> String {
    for _ in 0..NAME_TRIES {
        let text = content(file).unwrap_or_default();
        if let Some(first) = text.lines().next().filter(|line| !line.is_empty()) {
            return first.to_owned();
        }
        sleep(NAME_PAUSE);
    }
    "holder unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder_and_a_dropped_one_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("m.db");
        assert_eq!(current_holder(&manifest), None);
        let lock = RunLock::acquire(&manifest, "noon").unwrap();
        let pid = format!("pid {}", std::process::id());
        assert!(current_holder(&manifest).unwrap().contains(&pid));
        match RunLock::acquire(&manifest, "later") {
            Err(LockError::Held { holder, .. }) => assert!(holder.contains(&pid)),
            other => panic!("{other:?}"),
        }
        drop(lock);
        assert_eq!(current_holder(&manifest), None);
        RunLock::acquire(&manifest, "later").unwrap();
    }
}
