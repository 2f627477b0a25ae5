//! That what is opened is what was scanned.

use crate::model::Stat;
use crate::store::{Fault, Folder};
use std::fs::File;
use std::io::{self, ErrorKind};

/// Opens the regular file `name`, which the walk saw as `scanned`, with the figures of the handle.
///
/// Another object under the name is taken where it is an ordinary successor, as an editor's atomic
/// save leaves one: on the same device, and still what the name stands for in its folder. Anything
/// else is left to the next run, which scans it first.
pub fn open_scanned<F: Folder>(folder: &F, name: &[u8], scanned: &Stat) -> Result<(File, Stat), Fault> {
    let (file, stat) = folder.open_file(name)?;
    let is = |other: &Stat| stat.device == other.device && stat.fingerprint.has_inode_of(&other.fingerprint);
    if is(scanned) {
        return Ok((file, stat));
    }
    let gone = || Fault { action: "look at", error: ErrorKind::NotFound.into() };
    let now = folder.stat(name)?.ok_or_else(gone)?;
    if is(&now) && stat.device == scanned.device {
        return Ok((file, stat));
    }
    let error =
        io::Error::other("something else has taken its name since it was scanned; the next run looks again");
    Err(Fault { action: "open", error })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
mod tests {
    use super::*;
    use crate::model::EntryPath;
    use crate::store::local::LocalStore;
    use crate::store::{Mounts, Store};
    use std::fs;

    #[test]
    fn a_successor_is_taken_only_where_it_is_an_ordinary_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "old").unwrap();
        let store = LocalStore::source(File::open(dir.path()).unwrap().into(), Mounts::Cross);
        let folder = store.folder(&EntryPath::root()).unwrap();
        let scanned = folder.stat(b"file").unwrap().unwrap();
        assert_eq!(open_scanned(&folder, b"file", &scanned).unwrap().1, scanned);
        fs::write(dir.path().join("saved"), "anew").unwrap();
        fs::rename(dir.path().join("saved"), dir.path().join("file")).unwrap();
        let (_, opened) = open_scanned(&folder, b"file", &scanned).unwrap();
        assert_ne!(opened.fingerprint.inode, scanned.fingerprint.inode);
        let elsewhere = Stat { device: scanned.device + 1, ..scanned };
        let fault = open_scanned(&folder, b"file", &elsewhere).unwrap_err();
        assert!(fault.error.to_string().contains("since it was scanned"), "{fault}");
        fs::remove_file(dir.path().join("file")).unwrap();
        assert!(open_scanned(&folder, b"file", &scanned).unwrap_err().is_absence());
    }
}
