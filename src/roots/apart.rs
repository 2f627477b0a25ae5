//! Whether the two roots lie in each other: by name, by (device, inode), by what is mounted where.
//!
//! A bind mount shows one folder under two names. Where it is one of the folders above a root, device
//! and inode tell; where it hides what is above (the root lies in a folder that is bound elsewhere),
//! or where it lies below a root and shows the other one there, only the table of mounts does. What
//! even that cannot show (FUSE, overlay) is left to a probe file, see [`super::sees_probe`].

use super::{RootError, RootPaths};
use crate::mountinfo::{self, Mount};
use crate::resolved;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Refuses roots that are one folder or lie in each other.
pub(super) fn check(roots: &RootPaths) -> Result<(), RootError> {
    if let Some(how) = by_name_or_inode(roots)? {
        return Err(refusal(roots, how));
    }
    // Without the table there is nothing to learn from it; the run says that it is missing.
    let mounts = mountinfo::table().unwrap_or_default();
    if let Some(how) = super::layers::overlap(roots, &mounts) {
        return Err(refusal(roots, &how));
    }
    let there = (place(&roots.source, &mounts), place(&roots.replica, &mounts));
    let (Some(source), Some(replica)) = there else {
        return Ok(());
    };
    match by_mounts(&source, &replica, &mounts) {
        Some(how) => Err(refusal(roots, &how)),
        None => Ok(()),
    }
}

/// The refusal of a pair that overlaps.
pub(super) fn refusal(roots: &RootPaths, how: &str) -> RootError {
    RootError::Refused(format!(
        "source {} and replica {} overlap: {how}; choose folders apart from each other",
        roots.source.display(),
        roots.replica.display()
    ))
}

/// How a file, which may still be missing, lies inside `root` under another name. What of the two cannot be
/// opened tells nothing here: whoever opens it says why.
pub(super) fn shows(root: &Path, file: &Path) -> Option<String> {
    let folder = file.parent()?;
    let above = identities(folder).unwrap_or_default();
    if resolved::identity(root).is_ok_and(|root| above.contains(&root)) {
        return Some(", which is mounted there as well".to_owned());
    }
    let mounts = mountinfo::table().unwrap_or_default();
    shown_by(&place(root, &mounts)?, &place(folder, &mounts)?, &mounts)
}

/// The same for places: whether the folder lies in the root, or something mounted in the root shows it.
fn shown_by(root: &Place, folder: &Place, mounts: &[Mount]) -> Option<String> {
    if root.device == folder.device && below(&root.within, &folder.within).is_some() {
        return Some(", through a bind mount".to_owned());
    }
    let holds = |mount: &&Mount| {
        let inside = below(&root.path, &mount.point).is_some_and(|rest| !rest.is_empty());
        inside && mount.device == folder.device && below(&mount.root, &folder.within).is_some()
    };
    let point = &mounts.iter().find(holds)?.point;
    Some(format!(", by what is mounted at {}", crate::model::escape::escaped(point)))
}

fn by_name_or_inode(roots: &RootPaths) -> Result<Option<&'static str>, RootError> {
    let RootPaths { source, replica } = roots;
    let told =
        |side: &str, path: &Path| identities(path).map_err(|error| super::unavailable(side, path, &error));
    let source_ids = told("source", source)?;
    let replica_ids = told("replica", replica)?;
    let is_within = |ids: &[(u64, u64)], root: &[(u64, u64)], there: bool| {
        there && root.first().is_some_and(|root| ids.contains(root))
    };
    let replica_there = resolved::identity(replica).is_ok();
    let same = source_ids.first() == replica_ids.first() && replica_there;
    if source == replica || same {
        return Ok(Some("they are the same folder"));
    }
    if replica.starts_with(source) || is_within(&replica_ids, &source_ids, true) {
        return Ok(Some("the replica lies inside the source"));
    }
    if source.starts_with(replica) || is_within(&source_ids, &replica_ids, replica_there) {
        return Ok(Some("the source lies inside the replica"));
    }
    Ok(None)
}

/// Device and inode of the folder and of all above it, from where the path is there on. Fails where one of
/// them cannot be looked at: it might have been the one that they share.
pub(super) fn identities(path: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for folder in path.ancestors() {
        match resolved::identity(folder) {
            Ok(identity) => found.push(identity),
            Err(error) if found.is_empty() && is_missing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whether there is nothing at a path, or nothing that could hold more of it.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A folder as its file system has it, whatever it is mounted as.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Its path here.
    path: Vec<u8>,
    /// Its file system.
    device: String,
    /// Its path within that file system.
    within: Vec<u8>,
}

/// The place of a folder that may still be missing, in a folder that is there.
fn place(path: &Path, mounts: &[Mount]) -> Option<Place> {
    let handle = path.ancestors().find_map(|folder| resolved::open_folder(folder).ok())?;
    let id = mountinfo::id_of(handle.as_fd())?;
    let mount = mounts.iter().find(|mount| mount.id == id)?;
    let path = path.as_os_str().as_bytes().to_vec();
    let within = join(&mount.root, below(&mount.point, &path)?);
    Some(Place { path, device: mount.device.clone(), within })
}

/// How the two places overlap, if the table of mounts says that they do.
fn by_mounts(source: &Place, replica: &Place, mounts: &[Mount]) -> Option<String> {
    if touch(&source.device, &source.within, replica) {
        return Some("a bind mount shows one of them inside the other".to_owned());
    }
    let shown = |root: &Place, other: &Place| {
        let within = |mount: &&Mount| below(&root.path, &mount.point).is_some_and(|rest| !rest.is_empty());
        let mount = mounts.iter().filter(within).find(|m| touch(&m.device, &m.root, other))?;
        Some(crate::model::escape::escaped(&mount.point))
    };
    if let Some(point) = shown(source, replica) {
        return Some(format!("what is mounted at {point}, inside the source, is (part of) the replica"));
    }
    let point = shown(replica, source)?;
    Some(format!("what is mounted at {point}, inside the replica, is (part of) the source"))
}

/// Whether a folder of a file system is, holds or lies in `place`.
fn touch(device: &str, within: &[u8], place: &Place) -> bool {
    device == place.device
        && (below(within, &place.within).is_some() || below(&place.within, within).is_some())
}

/// What is left of `path` below `folder`, without slashes in front: nothing where they are the same.
fn below<'p>(folder: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    let rest = path.strip_prefix(folder)?;
    match rest.first() {
        None => Some(rest),
        Some(b'/') => Some(&rest[1..]),
        Some(_) => None,
    }
}

fn join(folder: &[u8], rest: &[u8]) -> Vec<u8> {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    if rest.is_empty() && !folder.is_empty() { folder.to_vec() } else { [folder, b"/", rest].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_what_is_told_by_whole_names() {
        let table: [(&str, &str, Option<&str>); 8] = [
            ("/", "/", Some("")),
            ("/", "/a", Some("a")),
            ("/a", "/a", Some("")),
            ("/a", "/a/b/c", Some("b/c")),
            ("/a", "/ab", None),
            ("/a/b", "/a", None),
            ("/a", "/", None),
            ("/a/", "/a/b", Some("b")),
        ];
        for (folder, path, rest) in table {
            let got = below(folder.as_bytes(), path.as_bytes());
            assert_eq!(got, rest.map(str::as_bytes), "{folder} {path}");
        }
        assert_eq!(join(b"/", b""), b"/");
        assert_eq!(join(b"/sub", b""), b"/sub");
        assert_eq!(join(b"/sub", b"x"), b"/sub/x");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
    fn what_is_missing_at_the_end_of_a_path_is_let_be_and_what_cannot_be_looked_at_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(base.join("real/deep")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        let known = identities(&base.join("real")).unwrap();
        assert_eq!(known.len(), base.join("real").ancestors().count());
        assert_eq!(identities(&base.join("real/new/deeper")).unwrap(), known);
        assert!(identities(&base.join("link/deep")).is_err());
    }

    #[test]
    fn mounts_that_show_one_root_in_the_other_are_found_and_others_let_be() {
        let place = |path: &str, device: &str, within: &str| Place {
            path: path.into(),
            device: device.to_owned(),
            within: within.into(),
        };
        let mount = |device: &str, root: &str, point: &str| Mount {
            id: 0,
            device: device.to_owned(),
            root: root.into(),
            point: point.into(),
            filesystem: "ext4".to_owned(),
            layers: Vec::new(),
            nosuid: false,
            nodev: false,
            options: Vec::new(),
        };
        let source = place("/s", "8:1", "/s");
        let replica = place("/r", "8:1", "/r");
        let mount_at = |device, root, point| vec![mount("8:1", "/", "/"), mount(device, root, point)];
        let table = [
            // Nothing but the file system of both.
            (&source, &replica, mount_at("0:9", "/", "/tmp"), None),
            // The replica, what is above it, and what is below it, mounted below the source.
            (&source, &replica, mount_at("8:1", "/r", "/s/x"), Some("/s/x")),
            (&source, &replica, mount_at("8:1", "/", "/s/x"), Some("/s/x")),
            (&source, &replica, mount_at("8:1", "/r/below", "/s/x"), Some("/s/x")),
            // The source mounted below the replica.
            (&source, &replica, mount_at("8:1", "/s/below", "/r/x"), Some("/r/x")),
            // Neighbours, other file systems, mounts elsewhere.
            (&source, &replica, mount_at("8:1", "/rr", "/s/x"), None),
            (&source, &replica, mount_at("8:2", "/r", "/s/x"), None),
            (&source, &replica, mount_at("8:1", "/r", "/sx"), None),
            (&source, &replica, mount_at("8:1", "/r", "/else"), None),
            // The mount that a root lies on itself.
            (&source, &place("/r", "8:2", "/"), mount_at("8:2", "/", "/r"), None),
            // Roots below mount points that show folders of one tree.
            (&source, &place("/bound/r", "8:1", "/s/in/r"), Vec::new(), Some("bind mount")),
            (&place("/bound", "8:1", "/r/in"), &replica, Vec::new(), Some("bind mount")),
        ];
        for (source, replica, mounts, expected) in table {
            let got = by_mounts(source, replica, &mounts);
            match (&got, expected) {
                (None, None) => {}
                (Some(how), Some(word)) if how.contains(word) => {}
                _ => panic!("{source:?} {replica:?} {mounts:?}: {got:?}"),
            }
        }
    }
}
