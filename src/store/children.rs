//! What a folder holds, found by one look at each name, in no order.

use super::handle::open_beneath;
use super::local::LocalStore;
use super::stat::convert;
use super::{During, Fault};
use crate::model::{EntryPath, Stat};
use rustix::fs::{AtFlags, Dir, OFlags, fstat, statat};
use rustix::io::Errno;

impl LocalStore {
    /// Shows each name in a folder with its figures to `each`. Returns the folder's own figures from before it was
    /// listed: where they are the same afterwards, nothing was missed.
    ///
    /// # Errors
    /// Where the folder, or a name in it that is still there, cannot be read.
    pub fn for_each_child(&self, path: &EntryPath, each: &mut dyn FnMut(&[u8], Stat)) -> Result<Stat, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let handle = open_beneath(self.root(), path.trimmed(), flags, self.beneath());
        let handle = handle.during("open the folder of")?;
        let before = convert(&fstat(&handle).during("look at")?);
        for entry in Dir::read_from(&handle).during("list")? {
            let entry = entry.during("list")?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
                Ok(stat) => each(name.to_bytes(), convert(&stat)),
                // It moved on: the folder's figures show that.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error).during("look at"),
            }
        }
        Ok(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Mounts;
    use std::fs::{self, File};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
    fn all_names_come_with_their_figures_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("folder/inner")).unwrap();
        fs::write(dir.path().join("folder/file"), "12345").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("folder/link")).unwrap();
        let store = LocalStore::source(File::open(dir.path()).unwrap().into(), Mounts::Cross);
        let mut found = Vec::new();
        let folder = EntryPath::from("folder/");
        let before = store.for_each_child(&folder, &mut |name, stat| {
            found.push((
                String::from_utf8(name.to_vec()).unwrap(),
                stat.kind().name(),
                stat.fingerprint.size,
            ));
        });
        assert_eq!(before.unwrap().kind().name(), "folder");
        found.sort();
        let wanted = [("file", "file", 5), ("inner", "folder", 0), ("link", "symlink", 7)];
        assert_eq!(found, wanted.map(|(name, kind, size)| (name.to_owned(), kind, size)));
        assert!(store.for_each_child(&EntryPath::from("gone/"), &mut |_, _| {}).unwrap_err().is_absence());
    }
}
