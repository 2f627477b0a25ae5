//! File systems that show other folders: overlay, by its layers, and programs like bindfs, which name
//! their folder as the mount's source. Neither device and inode nor the table's roots give these away.

use super::RootPaths;
use super::boundaries::Boundaries;
use super::showings::identities;
use crate::model::escape::escaped;
use crate::mountinfo::{self, Mount};
use crate::resolved;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How the source shows the replica, if what it lies on, or what is mounted below it where its walk comes, says so.
pub(super) fn overlap(roots: &RootPaths, boundaries: Boundaries<'_>, mounts: &[Mount]) -> Option<String> {
    let beneath = mount_of(&roots.source, mounts).into_iter();
    let inside = mounts.iter().filter(|mount| {
        let point = path(&mount.point);
        !mount.layers.is_empty()
            && point != roots.source
            && point.starts_with(&roots.source)
            && !boundaries.leave_out(&roots.source, point)
    });
    for mount in beneath.chain(inside) {
        // Which part of the layer the source is; all of it where the mount lies below the source.
        let part = roots.source.strip_prefix(path(&mount.point)).unwrap_or(Path::new(""));
        for layer in &mount.layers {
            let layer = path(layer);
            if is_within(layer, &roots.replica) || touch(&layer.join(part), &roots.replica) {
                return Some(format!(
                    "the {} mounted at {} shows {}, which is (part of) the replica or holds it",
                    escaped(mount.filesystem.as_bytes()),
                    escaped(&mount.point),
                    escaped(layer.as_os_str().as_bytes())
                ));
            }
        }
    }
    None
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn mount_of<'m>(folder: &Path, mounts: &'m [Mount]) -> Option<&'m Mount> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = resolved::open(folder, flags, Mode::empty()).ok()?;
    let id = mountinfo::id_of(handle.as_fd())?;
    mounts.iter().find(|mount| mount.id == id)
}

/// Whether one of the two folders is the other or lies in it.
fn touch(one: &Path, other: &Path) -> bool {
    // A replica that is still to be made will lie where its parent does.
    let other_or_above = if other.exists() { other } else { other.parent().unwrap_or(other) };
    is_within(one, other) || is_within(other_or_above, one)
}

/// Whether `inner`, if it is there, is `outer` or lies in it.
fn is_within(inner: &Path, outer: &Path) -> bool {
    let (Ok(inner), Ok(outer)) = (fs::canonicalize(inner), fs::metadata(outer)) else { return false };
    identities(&inner).is_ok_and(|above| above.contains(&(outer.dev(), outer.ino())))
}
