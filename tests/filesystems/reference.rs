//! The tree that is mirrored everywhere, and how a replica is compared with it.

use super::targets::Holds;
use crate::common::mounts::does;
use crate::common::tree::{chmod, mkdir, mkfifo, name, set_attribute, set_mtime, symlink, write};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The file with holes, its size where the target has holes, and elsewhere.
const SPARSE: &str = "sparse";
const SPARSE_BYTES: u64 = 5 << 30;
const SMALL_SPARSE_BYTES: u64 = 8 << 20;

/// More than the data of a sparse file takes up anywhere.
const FEW_BYTES: u64 = 32 << 20;

/// The tree, as it lies in the source.
pub struct Reference {
    root: PathBuf,
    entries: BTreeMap<PathBuf, fs::Metadata>,
}

impl Reference {
    /// Makes the tree. For an ordinary user it has nothing that only root could read or make.
    pub fn plant(root: &Path, for_user: bool, holes: bool) -> Self {
        let at = |path: &str| root.join(path);
        for (file, bytes) in
            [("files/empty", 0), ("files/one", 1), ("files/small", 5000), ("files/large", (3 << 20) + 17)]
        {
            let content: Vec<u8> =
                (0..bytes).map(|number: u32| number.wrapping_mul(31).to_le_bytes()[1]).collect();
            write(at(file), content);
        }
        mkdir(at("empty"));
        write(at("read-only/file"), "in a folder that nobody may write to");
        if !for_user {
            write(at("closed/file"), "in a folder that nobody may enter");
            write(at("listed-only/file"), "in a folder that may be listed only");
        }
        symlink("files/small", at("link"));
        symlink("nowhere at all", at("files/dangling"));
        symlink("empty", at("link-to-folder"));
        mkfifo(at("fifo"));
        mknodat(CWD, at("socket"), FileType::Socket, Mode::from_raw_mode(0o755), 0).unwrap();
        if !for_user {
            mknodat(CWD, at("device"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(1, 3))
                .unwrap();
        }
        let long = "n".repeat(255);
        let odd: [&[u8]; 14] = [
            b"new\nline",
            b"tab\tulator",
            b"\"double\" 'single'",
            b"100 %20 percent",
            b"-leading",
            b"not utf-8 \xff\xfe",
            long.as_bytes(),
            "cafe\u{301} decomposed".as_bytes(),
            "\u{e9} composed".as_bytes(),
            b"colon:",
            b"back\\slash",
            b"trailing dot.",
            b"trailing blank ",
            b"*?<>|",
        ];
        for (number, bytes) in odd.iter().enumerate() {
            write(at("names").join(name(bytes)), format!("odd {number}"));
        }
        write(at("hard/one"), "two names");
        fs::hard_link(at("hard/one"), at("hard/two")).unwrap();
        fs::hard_link(at("hard/one"), at("third")).unwrap();
        write(at("attributes"), "with attributes");
        set_attribute(at("attributes"), "user.plain", "value");
        write(at("acl"), "with an ACL");
        assert!(does("setfacl", &["-m", "u:1234:r", at("acl").to_str().unwrap()]), "setfacl");
        write(at("setuid"), "#!/bin/sh");
        mkdir(at("sticky"));
        for (file, seconds, nanos) in [
            ("times/old", 1, 0),
            ("times/odd", 1_234_567_891, 123_456_789),
            ("times/new", 4_000_000_000, 999_999_999),
        ] {
            write(at(file), file);
            set_mtime(at(file), seconds, nanos);
        }
        let bytes = if holes { SPARSE_BYTES } else { SMALL_SPARSE_BYTES };
        let sparse = fs::File::create(at(SPARSE)).unwrap();
        sparse.set_len(bytes).unwrap();
        for offset in [0, bytes / 2, bytes - 4096] {
            sparse.write_all_at(&[7; 4096], offset).unwrap();
        }
        if for_user {
            // What is set as root would be cleared when it is given away.
            let user = super::NOBODY;
            chown_all(root, user);
        }
        chmod(at("setuid"), 0o4755);
        chmod(at("sticky"), 0o1777);
        chmod(at("files/one"), 0o600);
        chmod(at("files/small"), 0o444);
        chmod(at("read-only"), 0o555);
        if !for_user {
            chmod(at("closed"), 0);
            chmod(at("listed-only"), 0o444);
        }
        set_mtime(at("empty"), 1_000_000_000, 5);
        set_mtime(at("link"), 1_000_000_001, 5);
        let mut entries = BTreeMap::new();
        visit(root, Path::new(""), &mut |path, found| {
            entries.insert(path.to_owned(), found);
        });
        Self { root: root.to_owned(), entries }
    }

    /// All names in the tree.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.keys().filter_map(|path| path.file_name()).map(OsStrExt::as_bytes)
    }
}

fn chown_all(root: &Path, user: u32) {
    visit(root, Path::new(""), &mut |path, _| {
        std::os::unix::fs::lchown(root.join(path), Some(user), Some(user)).unwrap();
    });
}

fn visit(root: &Path, relative: &Path, each: &mut dyn FnMut(&Path, fs::Metadata)) {
    let path = if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(relative) };
    let Ok(found) = fs::symlink_metadata(&path) else { return };
    let is_folder = found.is_dir();
    each(relative, found);
    if is_folder {
        let names: Vec<OsString> = match fs::read_dir(&path) {
            Ok(listing) => listing.map(|entry| entry.unwrap().file_name()).collect(),
            Err(_) => Vec::new(),
        };
        for name in names {
            visit(root, &relative.join(name), each);
        }
    }
}

/// What is not in the replica as it is in the source, or not lost as it is declared.
///
/// FUSE shows the number of an inode's names late: before a remount (`mounted_again`) it is not asked for.
pub fn differences(tree: &Reference, replica: &Path, holds: &Holds, mounted_again: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut there = BTreeMap::new();
    visit(replica, Path::new(""), &mut |path, entry| {
        there.insert(path.to_owned(), entry);
    });
    for (path, ours) in &tree.entries {
        let mut differs = |what: String| found.push(format!("{}: {what}", path.display()));
        let kind = ours.file_type();
        let special = kind.is_fifo() || kind.is_socket() || kind.is_char_device();
        let refused = path.file_name().is_some_and(|name| (holds.refuses)(name.as_bytes()));
        let lost = refused || (kind.is_symlink() && !holds.links) || (special && !holds.specials);
        let Some(theirs) = there.remove(path) else {
            if !lost {
                differs("is missing".to_owned());
            }
            continue;
        };
        if lost {
            differs("is there, though it is declared lost".to_owned());
            continue;
        }
        if theirs.file_type() != kind {
            differs(format!("is {:?}", theirs.file_type()));
            continue;
        }
        if kind.is_file()
            && !same_content(&tree.root.join(path), &replica.join(path), path, ours, &theirs, holds)
        {
            differs("holds other bytes, or lost its holes".to_owned());
        }
        if kind.is_symlink()
            && fs::read_link(replica.join(path)).ok() != fs::read_link(tree.root.join(path)).ok()
        {
            differs("leads elsewhere".to_owned());
        }
        let (mode, other) = (ours.mode() & 0o7777, theirs.mode() & 0o7777);
        // Set-id bits act for the owner, and go where that goes.
        let bits = if holds.owners { 0o7777 } else { 0o1777 };
        if holds.modes && !kind.is_symlink() && mode & bits != other & bits {
            differs(format!("permissions {mode:o}, {other:o}"));
        }
        if holds.owners && (ours.uid(), ours.gid()) != (theirs.uid(), theirs.gid()) {
            differs(format!("owner {}:{}", theirs.uid(), theirs.gid()));
        }
        let is_held = (holds.link_times || !kind.is_symlink()) && holds.times.contains(&ours.mtime());
        let nanos =
            |found: &fs::Metadata| i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        let apart = nanos(ours) - nanos(&theirs);
        if is_held && !(0..i128::from(holds.tick_nanos)).contains(&apart) {
            differs(format!("time {} ns before {}", apart, nanos(ours)));
        }
        let shares = mounted_again && kind.is_file() && ours.nlink() > 1;
        if shares && holds.hard_links != (theirs.nlink() == ours.nlink()) {
            differs(format!("{} names", theirs.nlink()));
        }
        if kind.is_file() {
            let (ours, theirs) = (attributes(&tree.root.join(path)), attributes(&replica.join(path)));
            for (what, held) in [("user.", holds.attributes), ("system.", holds.acls)] {
                let of = |all: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
                    let kept = all.iter().filter(|(name, _)| name.starts_with(what));
                    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
                };
                if held && of(&ours) != of(&theirs) {
                    differs(format!("attributes {:?}, {:?}", of(&ours), of(&theirs)));
                }
            }
        }
    }
    found.extend(there.keys().map(|path| format!("{}: is in the replica only", path.display())));
    found
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    crate::common::tree::attributes(path)
}

fn same_content(
    ours: &Path,
    theirs: &Path,
    path: &Path,
    source: &fs::Metadata,
    replica: &fs::Metadata,
    holds: &Holds,
) -> bool {
    if source.len() != replica.len() {
        return false;
    }
    if path != Path::new(SPARSE) || !holds.holes {
        return fs::read(ours).unwrap() == fs::read(theirs).unwrap();
    }
    let file = fs::File::open(theirs).unwrap();
    let bytes = source.len();
    [0, 4096, bytes / 2, bytes / 2 + 4096, bytes - 4096].into_iter().all(|offset| {
        let mut block = [9; 4096];
        file.read_exact_at(&mut block, offset).unwrap();
        let data = offset == 0 || offset == bytes / 2 || offset == bytes - 4096;
        block == [if data { 7 } else { 0 }; 4096]
    }) && replica.blocks() * 512 < FEW_BYTES
}
