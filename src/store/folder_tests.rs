//! What a name that a walk only listed turns out to be.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

use super::*;
use crate::model::EntryPath;
use crate::store::Store;
use crate::store::local::LocalStore;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;

#[test]
fn a_listed_file_is_opened_if_it_still_is_one_and_anything_else_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content").unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    mknodat(File::open(dir.path()).unwrap(), "fifo", FileType::Fifo, Mode::RWXU, 0).unwrap();
    let store = LocalStore::source(File::open(dir.path()).unwrap().into(), Mounts::Cross);
    let folder = store.folder(&EntryPath::root()).unwrap();
    let (seen, file) = folder.look(b"file", true);
    assert_eq!(seen, folder.lstat(b"file").unwrap().map(Seen::Present));
    let mut content = String::new();
    file.unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    assert!(folder.look(b"file", false).1.is_none(), "opened only where that is asked for");
    for name in [&b"link"[..], b"fifo"] {
        let (seen, file) = folder.look(name, true);
        assert_eq!(seen, folder.lstat(name).unwrap().map(Seen::Present));
        assert!(file.is_none());
    }
    assert!(matches!(folder.look(b"folder", true), (Some(Seen::Vanished), None)));
    assert!(matches!(folder.look(b"gone", true), (None, None)));
}
