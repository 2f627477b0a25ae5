//! A small source tree in numbered versions, each with something of every kind of change against
//! the one before.

use super::is_root;
use super::tree::{Entry, Tree, chmod, mkdir, mkfifo, remove, set_mtime, symlink, write};
use rustix::fs::{XattrFlags, setxattr};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, chown};
use std::path::{Path, PathBuf};

/// More than is read in one piece, so that it is streamed. Only some versions bring it, which keeps the
/// sweeps over thousands of runs short.
const LARGE: usize = (1 << 20) + 4097;

fn text(name: &str, version: u32, size: usize) -> Vec<u8> {
    let mut bytes = format!("{name} version {version:05}\n").into_bytes();
    let filler = u8::try_from(version % 251).unwrap_or_default();
    bytes.resize(bytes.len().max(size), filler);
    bytes
}

/// Brings the source from version `version - 1` to `version` (1 is the first).
pub fn plant(source: &Path, version: u32) {
    let old = version.wrapping_sub(1);
    let at = |name: &str| source.join(name);
    let same = |name: &str| text(name, 0, 300);
    if version == 1 {
        // What stays as it is, and what only gets another name or other metadata later.
        for name in ["a/stays", "a/touched", "a/mode", "a/owner", "b/stays", "a/moved-0", "c-0/x", "c-0/y"] {
            write(at(name), same(name));
        }
        mkfifo(at("b/fifo"));
        mkdir(at("b/empty"));
        chmod(at("b"), 0o2755);
    }
    // New content: of the same size, of another size, from nothing, to nothing, and large.
    write(at("a/same-size"), text("a/same-size", version, 700));
    write(at("a/grows"), text("a/grows", version, 100 * usize::try_from(version % 90).unwrap_or(0)));
    write(at("b/empty-or-not"), if version.is_multiple_of(2) { Vec::new() } else { text("b", version, 90) });
    if version % 5 == 2 {
        write(at("b/large"), text("b/large", version, LARGE));
    }
    for number in 0..6 {
        let name = format!("b/many-{number}");
        write(at(&name), text(&name, version, 200));
    }
    // An editor's save: another inode under the same name.
    write(at("a/saved.tmp"), text("a/saved", version, 50));
    fs::rename(at("a/saved.tmp"), at("a/saved")).unwrap();
    // Come and gone.
    write(at(&format!("a/new-{version}")), text("new", version, 500));
    write(at(&format!("only-{version}/deep/file")), text("deep", version, 5));
    remove(at(&format!("a/new-{old}")));
    remove(at(&format!("only-{old}")));
    // Another kind with every version.
    for number in 0..3 {
        let odd = at(&format!("kind-{number}"));
        remove(&odd);
        match (version + number) % 3 {
            0 => write(odd.join("below/file"), text("below", version, 20)),
            1 => write(&odd, text("odd", version, 20)),
            _ => symlink(format!("a/target-{version}"), &odd),
        }
    }
    remove(at("a/link"));
    symlink(format!("target-{version}"), at("a/link"));
    // Other names for the same.
    for name in ["a/moved", "c"] {
        fs::rename(at(&format!("{name}-{old}")), at(&format!("{name}-{version}"))).unwrap();
    }
    // Metadata only.
    set_mtime(at("a/touched"), 1_000_000_000 + i64::from(version), 7);
    chmod(at("a/mode"), if version.is_multiple_of(2) { 0o640 } else { 0o755 });
    if is_root() {
        chown(at("a/owner"), Some(1000 + version % 2), Some(1000)).unwrap();
    }
    entries_of_other_kinds(source, version);
    set_mtime(at("a"), 1_100_000_000 + i64::from(version), 9);
}

/// Hard links, attributes and holes: what is added here goes through every sweep.
fn entries_of_other_kinds(source: &Path, version: u32) {
    let at = |name: &str| source.join(name);
    write(at("b/group-1"), text("group", version, 60));
    if !at("b/group-2").exists() {
        fs::hard_link(at("b/group-1"), at("b/group-2")).unwrap();
    }
    write(at("b/attribute"), text("attribute", 0, 60));
    // A file system without attributes has none to lose.
    let _ = setxattr(at("b/attribute"), "user.version", version.to_string().as_bytes(), XattrFlags::empty());
    let holed = File::options().create(true).truncate(false).write(true).open(at("b/holes")).unwrap();
    holed.set_len(300_000).unwrap();
    holed.write_all_at(&text("hole", version, 4096), 131_072).unwrap();
}

/// What a replica may hold while it is brought from one version of the source to another.
pub struct Allowed {
    old: BTreeMap<PathBuf, Entry>,
    new: BTreeMap<PathBuf, Entry>,
}

impl Allowed {
    /// Between these two.
    pub fn between(old: &Tree, new: &Tree) -> Self {
        Self { old: old.0.clone(), new: new.0.clone() }
    }

    /// Fails where an entry under a final name is neither what it was nor what it is to be, or where
    /// what is in both versions is missing.
    #[track_caller]
    pub fn check(&self, replica: &Path, what: &str) {
        let found = if replica.exists() { Tree::of(replica).0 } else { BTreeMap::new() };
        for (path, entry) in &found {
            if is_temporary(path) {
                continue;
            }
            let whole = [&self.old, &self.new].into_iter().filter_map(|tree| tree.get(path)).any(|meant| {
                const KIND: u32 = 0o170_000;
                meant.mode & KIND == entry.mode & KIND && meant.content == entry.content
            });
            assert!(
                whole,
                "{what}: {} is neither old nor new: {} bytes",
                path.display(),
                entry.content.len()
            );
        }
        for path in self.old.keys().filter(|path| self.new.contains_key(*path)) {
            assert!(
                found.contains_key(path),
                "{what}: {} was there and is to be, but is gone",
                path.display()
            );
        }
    }
}

/// Whether a path is, or lies below, what the program has not given its final name.
pub fn is_temporary(path: &Path) -> bool {
    path.iter().any(|name| {
        name.to_str().is_some_and(|name| {
            name.strip_prefix(".twinfold-").is_some_and(|rest| rest.strip_suffix(".tmp").is_some())
        })
    })
}
