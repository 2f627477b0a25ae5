//! The job's lock: whoever holds it is the only one to write the manifest and the replica.
//!
//! An OS lock (flock) on a file of its own: it ends with the process, whatever ends that, so a
//! stale lock file is no lock. The file's content only names the holder for messages.

use crate::resolved;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::BorrowedFd;
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
    _file: File,
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
        let text = format!("pid {}, since {since}\n", std::process::id());
        file.set_len(0).and_then(|()| file.rewind()).map_err(fault)?;
        file.write_all(text.as_bytes()).map_err(fault)?;
        Ok(Self { _file: file })
    }
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
        let mut text = String::new();
        let read = file.rewind().and_then(|()| Read::by_ref(file).take(200).read_to_string(&mut text));
        if read.is_ok() && !text.trim().is_empty() {
            return text.trim().to_owned();
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
