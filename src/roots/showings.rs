//! Where a folder shows within a root: by name, by (device, inode), by what is mounted where.
//!
//! A bind mount shows one folder under two names. Where it is one of the folders above, device and inode
//! tell; where it hides what is above (the folder lies in one that is bound elsewhere), or where it lies
//! below the root and shows the folder there, only the table of mounts does.

use crate::mountinfo::{self, Mount};
use crate::resolved;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Device and inode.
type Identity = (u64, u64);

/// A place within a root at which another folder shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Showing {
    /// The path below the root.
    pub(super) at: PathBuf,
    /// What shows it there.
    pub(super) how: How,
}

/// What shows a folder within a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Its own path.
    Name,
    /// A folder above it is the root, under another name.
    Inode,
    /// A bind mount that hides the folders above.
    Bind,
    /// Something mounted below the root shows it, or a part of it.
    Mount,
}

/// A folder with all that tells where else it shows.
#[derive(Clone, Debug)]
pub(super) struct Located<'p> {
    path: &'p Path,
    /// The folder, if it is there, and those above it.
    identities: Vec<(&'p Path, Identity)>,
    place: Option<Place>,
}

impl<'p> Located<'p> {
    /// Finds out about a folder, which may be missing.
    ///
    /// # Errors
    /// Where it, or a folder above it, cannot be opened: that might have been what it shares with another.
    pub(super) fn find(path: &'p Path, mounts: &[Mount]) -> io::Result<Self> {
        Ok(Self { path, identities: identities_with_paths(path)?, place: place(path, mounts) })
    }

    /// The same for a folder of which nothing but its name is known.
    pub(super) fn by_name(path: &'p Path) -> Self {
        Self { path, identities: Vec::new(), place: None }
    }

    /// Device and inode, if the folder is there.
    fn identity(&self) -> Option<Identity> {
        self.identities.first().filter(|(path, _)| *path == self.path).map(|(_, identity)| *identity)
    }
}

/// All places within `root` at which `folder`, or a part of it, shows.
pub(super) fn showings(root: &Located<'_>, folder: &Located<'_>, mounts: &[Mount]) -> Vec<Showing> {
    let mut found = Vec::new();
    let mut add = |at: PathBuf, how: How| {
        if found.iter().all(|known: &Showing| known.at != at) {
            found.push(Showing { at, how });
        }
    };
    if folder.path.starts_with(root.path) {
        add(folder.path.to_owned(), How::Name);
    }
    let top = root.identity();
    for (above, _) in folder.identities.iter().filter(|(_, identity)| Some(*identity) == top) {
        let rest = folder.path.strip_prefix(above).unwrap_or(Path::new(""));
        add(within(root.path, rest), How::Inode);
    }
    let Some(lies) = &folder.place else { return found };
    if let Some(holds) = &root.place
        && holds.device == lies.device
        && let Some(rest) = below(&holds.within, &lies.within)
    {
        add(within(root.path, Path::new(OsStr::from_bytes(rest))), How::Bind);
    }
    let root_bytes = root.path.as_os_str().as_bytes();
    for mount in mounts.iter().filter(|mount| mount.device == lies.device) {
        let point = Path::new(OsStr::from_bytes(&mount.point));
        if below(root_bytes, &mount.point).is_none_or(<[u8]>::is_empty) {
            continue;
        }
        if let Some(rest) = below(&mount.root, &lies.within) {
            add(within(point, Path::new(OsStr::from_bytes(rest))), How::Mount);
        } else if below(&lies.within, &mount.root).is_some() {
            add(point.to_owned(), How::Mount);
        }
    }
    found
}

/// `rest` below `folder`; the folder itself, without a slash behind it, where there is no rest.
fn within(folder: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { folder.to_owned() } else { folder.join(rest) }
}

/// Device and inode of the folder and of all above it, from where the path is there on.
pub(super) fn identities(path: &Path) -> io::Result<Vec<Identity>> {
    Ok(identities_with_paths(path)?.into_iter().map(|(_, identity)| identity).collect())
}

fn identities_with_paths(path: &Path) -> io::Result<Vec<(&Path, Identity)>> {
    let mut found = Vec::new();
    for folder in path.ancestors() {
        match resolved::identity(folder) {
            Ok(identity) => found.push((folder, identity)),
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
    let within = join(&mount.root, below(&mount.point, path.as_os_str().as_bytes())?);
    Some(Place { device: mount.device.clone(), within })
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

    fn located<'p>(path: &'p str, device: &str, within: &str) -> Located<'p> {
        let place = Place { device: device.to_owned(), within: within.into() };
        Located { path: Path::new(path), identities: Vec::new(), place: Some(place) }
    }

    fn mount(device: &str, root: &str, point: &str) -> Mount {
        let line = format!("1 0 {device} {root} {point} rw - ext4 none rw");
        mountinfo::parse(line.as_bytes()).remove(0)
    }

    #[test]
    fn mounts_that_show_a_folder_in_a_root_are_found_and_others_let_be() {
        let (root, folder) = (located("/s", "8:1", "/s"), located("/r", "8:1", "/r"));
        let mount_at = |device, root, point| vec![mount("8:1", "/", "/"), mount(device, root, point)];
        let table = [
            // Nothing but the file system of both.
            (&root, &folder, mount_at("0:9", "/", "/tmp"), None),
            // The folder, what is above it, and what is below it, mounted below the root.
            (&root, &folder, mount_at("8:1", "/r", "/s/x"), Some("/s/x")),
            (&root, &folder, mount_at("8:1", "/", "/s/x"), Some("/s/x/r")),
            (&root, &folder, mount_at("8:1", "/r/below", "/s/x"), Some("/s/x")),
            // Neighbours, other file systems, mounts elsewhere.
            (&root, &folder, mount_at("8:1", "/rr", "/s/x"), None),
            (&root, &folder, mount_at("8:2", "/r", "/s/x"), None),
            (&root, &folder, mount_at("8:1", "/r", "/sx"), None),
            (&root, &folder, mount_at("8:1", "/r", "/else"), None),
            // The mount that a root lies on itself.
            (&root, &located("/r", "8:2", "/"), mount_at("8:2", "/", "/r"), None),
            // Below mount points that show folders of one tree.
            (&root, &located("/bound/r", "8:1", "/s/in/r"), Vec::new(), Some("/s/in/r")),
            // A disk below the root, and the same disk there twice.
            (
                &located("/", "8:1", "/"),
                &located("/mnt/d/r", "8:2", "/r"),
                vec![mount("8:1", "/", "/"), mount("8:2", "/", "/mnt/d")],
                Some("/mnt/d/r"),
            ),
        ];
        for (root, folder, mounts, expected) in table {
            let got = showings(root, folder, &mounts);
            let at: Vec<&str> = got.iter().map(|showing| showing.at.to_str().unwrap()).collect();
            assert_eq!(at, expected.into_iter().collect::<Vec<_>>(), "{root:?} {folder:?} {mounts:?}");
        }
        let twice = [mount("8:2", "/", "/mnt/d"), mount("8:2", "/r", "/media/x")];
        let got = showings(&located("/", "8:1", "/"), &located("/mnt/d/r", "8:2", "/r"), &twice);
        assert_eq!(got.len(), 2, "{got:?}");
    }
}
