//! Owner, attributes, permissions and times, set through an open handle in the order that leaks
//! nothing.

use super::attributes::{Object, bring_about, read};
use super::stat::{convert, times};
use super::{Applied, During, Fault};
use crate::model::attributes::{ACL_ACCESS, acl_group};
use crate::model::{Attributes, Loss, Lost, Stat};
use crate::plan::desired::Desired;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmod, chownat, fchmod, fstat, openat,
    utimensat,
};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Bits that act for the owner or the group, and are never set where those could not be.
const SET_ID: u32 = 0o6000;

/// Brings `desired` about on an object, which may be open with `O_PATH` only and has the figures `now`
/// if they are known.
///
/// Owner first (a chown clears set-id bits and capabilities, and must not find them with the wrong
/// owner), then attributes (an ACL moves the permission bits), then permissions, then times. What is refused is no
/// error but a loss: the content must not wait for it. What is right already is not set again.
pub(super) fn apply(
    object: Object<'_>,
    now: Option<Stat>,
    desired: &Desired,
    attributes: &Attributes,
) -> Result<Applied, Fault> {
    let handle = object.handle();
    let now = match now {
        Some(now) => now,
        None => convert(&fstat(handle).during("look at")?),
    };
    let mut losses = Vec::new();
    let owner = set_owner(handle, &now, desired, &mut losses)?;
    let owner_lost = owner == Owner::Lost;
    let unheld = if owner_lost && attributes.scope().capabilities {
        bring_about(object, &attributes.clone().without_capabilities())?
    } else {
        bring_about(object, attributes)?
    };
    let attributes_lost = !unheld.is_empty();
    losses.extend(unheld);
    if let Some(mode) = desired.mode {
        let mode = if owner_lost { mode & !SET_ID } else { mode };
        // Nothing before this has moved the bits.
        let untouched = owner != Owner::Changed && attributes.scope().is_empty();
        if !(untouched && mode == now.fingerprint.mode) {
            let mode = if attributes_lost { without_mask(object, attributes, mode)? } else { mode };
            note_refusal(set_mode(handle, mode), Lost::Permissions, &mut losses)?;
        }
    }
    if let Some(mtime) = desired.mtime {
        let mut last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        if desired.with_access_time {
            last_access = times(&fstat(handle).during("look at")?).0;
        }
        let last_modification = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
        let set = utimensat(handle, "", &Timestamps { last_access, last_modification }, AtFlags::EMPTY_PATH);
        note_refusal(set.during("set the time of"), Lost::Times, &mut losses)?;
    }
    Ok(Applied { losses, marks_left: attributes.has_layer_marks() })
}

/// Makes a loss of what the file system, or this user's rights, do not allow.
fn note_refusal(result: Result<(), Fault>, lost: Lost, losses: &mut Vec<Loss>) -> Result<(), Fault> {
    match result {
        Err(fault) if fault.is_refusal() => {
            // Whose entry it is no system answers with this: a server did, or something in between.
            let may_pass = fault.error.kind() == ErrorKind::PermissionDenied
                && fault.error.raw_os_error() == Some(Errno::ACCESS.raw_os_error());
            losses.push(Loss { may_pass, ..Loss::new(lost, &fault.error) });
            Ok(())
        }
        result => result,
    }
}

/// With an ACL the group's bits of a mode are the mask of all that it names. Where the ACL could not be
/// held they would be what the owning group may do: that gets what the ACL says of it instead.
fn without_mask(object: Object<'_>, attributes: &Attributes, mode: u32) -> Result<u32, Fault> {
    let Some(group) = attributes.get(ACL_ACCESS).and_then(acl_group) else { return Ok(mode) };
    if read(object, attributes.scope())?.get(ACL_ACCESS).is_some() {
        return Ok(mode);
    }
    Ok(mode & (!GROUP_ALL | group << 3))
}

const GROUP_ALL: u32 = 0o070;

/// What became of the owner and the group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// They are what they should be, and were.
    Right,
    /// They are so now.
    Changed,
    /// This process may not set them.
    Lost,
}

/// Sets owner and group where they are others.
fn set_owner(
    handle: BorrowedFd<'_>,
    now: &Stat,
    desired: &Desired,
    losses: &mut Vec<Loss>,
) -> Result<Owner, Fault> {
    // Even a chown to the same owner takes capabilities away.
    let (uid, gid) = (desired.uid.filter(|uid| *uid != now.uid), desired.gid.filter(|gid| *gid != now.gid));
    if uid.is_none() && gid.is_none() {
        return Ok(Owner::Right);
    }
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    let set = chownat(handle, "", uid, gid, AtFlags::EMPTY_PATH).during("set the owner of");
    let before = losses.len();
    note_refusal(set, Lost::Owner, losses)?;
    Ok(if losses.len() == before { Owner::Changed } else { Owner::Lost })
}

/// Sets permission bits through a handle of any kind.
pub(super) fn set_mode(handle: BorrowedFd<'_>, mode: u32) -> Result<(), Fault> {
    let mode = Mode::from_raw_mode(mode);
    match fchmod(handle, mode) {
        // An O_PATH handle: its link in /proc leads to the very same object.
        Err(Errno::BADF) => match chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), mode) {
            Err(Errno::NOENT) => openat(handle, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .and_then(|reopened| fchmod(reopened.as_fd(), mode)),
            result => result,
        },
        result => result,
    }
    .during("set the permissions of")
}
