//! Whether the two roots lie in each other. What neither names nor inodes nor the table of mounts can show
//! (FUSE, overlay) is left to a probe file, see [`super::sees_probe`].
//!
//! A replica below the source is fine where the walk of the source leaves out every place at which it
//! shows: then nothing of it can come back.

use super::boundaries::{Boundaries, proposal};
use super::showings::{How, Located, Showing, showings};
use super::{RootError, RootPaths};
use crate::model::escape::escaped;
use crate::mountinfo;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Refuses roots that are one folder or lie in each other, unless the replica is left out of the source.
pub(super) fn check(roots: &RootPaths, boundaries: Boundaries<'_>) -> Result<(), RootError> {
    // Without the table there is nothing to learn from it; the run says that it is missing.
    let mounts = mountinfo::table().unwrap_or_default();
    let find = |side: &str, path| {
        Located::find(path, &mounts).map_err(|error| super::unavailable(side, path, &error))
    };
    let (source, replica) = (find("source", &roots.source)?, find("replica", &roots.replica)?);
    for showing in showings(&source, &replica, &mounts) {
        if showing.at == roots.source && matches!(showing.how, How::Name | How::Inode) {
            return Err(refusal(roots, "they are the same folder"));
        }
        if !boundaries.leave_out(&roots.source, &showing.at) {
            return Err(shown(roots, &showing, boundaries));
        }
    }
    if let Some(showing) = showings(&replica, &source, &mounts).first() {
        return Err(refusal(roots, &described(showing, ["source", "replica"])));
    }
    match super::layers::overlap(roots, boundaries, &mounts) {
        Some(how) => Err(refusal(roots, &how)),
        None => Ok(()),
    }
}

/// How one root (the first of the two names) shows in the other.
fn described(showing: &Showing, [inner, outer]: [&str; 2]) -> String {
    match showing.how {
        How::Name | How::Inode => format!("the {inner} lies inside the {outer}"),
        How::Bind => "a bind mount shows one of them inside the other".to_owned(),
        How::Mount => {
            let at = escaped(showing.at.as_os_str().as_bytes());
            format!("what is mounted at {at}, inside the {outer}, is (part of) the {inner}")
        }
    }
}

/// The refusal of a replica that shows in the source, with both ways to leave it out.
fn shown(roots: &RootPaths, showing: &Showing, boundaries: Boundaries<'_>) -> RootError {
    let how = described(showing, ["replica", "source"]);
    let pattern = proposal(&roots.source, &showing.at, "/");
    if boundaries.one_file_system && showing.how == How::Name {
        // What comes and goes is no wrong usage: the next run may find the disk there again.
        return RootError::Absent(format!(
            "{how}, and no other file system is mounted on the way from {source} to {replica}: one_file_system would not \
             leave it out, and the mirror would be mirrored into itself; nothing was touched. Is its disk mounted? If it \
             lies on none, leave it out with {pattern}",
            source = roots.source.display(),
            replica = roots.replica.display(),
        ));
    }
    RootError::Refused(format!(
        "source {source} and replica {replica} overlap: {how}, and would be mirrored into itself; choose folders apart from \
         each other, or leave the replica out of the source: {pattern}, or, where it lies on a disk of its own, \
         one_file_system = true",
        source = roots.source.display(),
        replica = roots.replica.display(),
    ))
}

/// The refusal of a pair that overlaps.
pub(super) fn refusal(roots: &RootPaths, how: &str) -> RootError {
    RootError::Refused(format!(
        "source {} and replica {} overlap: {how}; choose folders apart from each other",
        roots.source.display(),
        roots.replica.display()
    ))
}

/// Endings that stand for all files that a manifest or a log has beside it.
const BESIDE: [&str; 4] = ["", "-wal", ".lock", ".1"];

/// How a file of this program, which may still be missing, lies inside `root`: the words for a message, and where;
/// `None`: not at all, or only where the walk within `boundaries` does not come.
pub(super) fn holds(
    root: &Path,
    boundaries: Option<Boundaries<'_>>,
    file: &Path,
) -> Option<(String, String)> {
    let (folder, name) = (file.parent()?, file.file_name()?);
    let mounts = mountinfo::table().unwrap_or_default();
    // What cannot be opened tells nothing here: whoever opens it says why.
    let find = |path| Located::find(path, &mounts).unwrap_or_else(|_| Located::by_name(path));
    let is_left_out = |at: &Path| {
        let Some(boundaries) = boundaries else { return false };
        let all = || {
            BESIDE.iter().all(|ending| {
                let mut name = name.to_owned();
                name.push(ending);
                boundaries.exclude(root, &at.join(name), false)
            })
        };
        let is_folder = || file.is_dir() && boundaries.leave_out(root, &at.join(name));
        boundaries.leave_out(root, at) || all() || is_folder()
    };
    let found = showings(&find(root), &find(folder), &mounts).into_iter().filter(|showing| {
        // A part of the folder that is mounted in the root does not hold the file.
        showing.how != How::Mount || resolves_to(&showing.at, folder)
    });
    let showing = found.into_iter().find(|showing| !is_left_out(&showing.at))?;
    let how = match showing.how {
        How::Name => String::new(),
        How::Inode => ", which is mounted there as well".to_owned(),
        How::Bind => ", through a bind mount".to_owned(),
        How::Mount => {
            format!(", by what is mounted at {}", escaped(showing.at.as_os_str().as_bytes()))
        }
    };
    let proposed = if showing.at == root {
        proposal(root, &showing.at.join(name), "*")
    } else {
        proposal(root, &showing.at, "/")
    };
    Some((how, proposed))
}

/// Whether both paths lead to one folder.
fn resolves_to(at: &Path, folder: &Path) -> bool {
    match (crate::resolved::identity(at), crate::resolved::identity(folder)) {
        (Ok(one), Ok(other)) => one == other,
        // A folder that is still to be made shows wherever the one above it does.
        _ => true,
    }
}
