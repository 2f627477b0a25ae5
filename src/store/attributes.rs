//! Extended attributes of an object that is open, read and brought about.

use super::{During, Fault};
use crate::model::attributes::{ACL_ACCESS, ACL_DEFAULT, Attributes, CAPABILITY, Scope, is_layer_mark};
use crate::model::escape::escaped;
use crate::model::{Loss, Lost};
use rustix::fs::{
    Mode, XattrFlags, fchmod, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query, fremovexattr,
    fsetxattr, fstat, getxattr, getxattr_query, listxattr, listxattr_query, removexattr, setxattr,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Most lists of names and most values fit; what does not is asked for its size.
const USUAL_BYTES: usize = 1024;

/// An object whose attributes are in question.
#[derive(Clone, Copy)]
pub(super) enum Object<'a> {
    /// Open for reading or writing.
    Open(BorrowedFd<'a>),
    /// Open as a place only (`O_PATH`): the calls for handles refuse it, but its link in `/proc`
    /// leads to the very same object, without opening it.
    Place(BorrowedFd<'a>),
}

impl<'a> Object<'a> {
    pub(super) fn handle(self) -> BorrowedFd<'a> {
        match self {
            Self::Open(handle) | Self::Place(handle) => handle,
        }
    }

    fn link(handle: BorrowedFd<'_>) -> String {
        format!("/proc/self/fd/{}", handle.as_raw_fd())
    }

    /// Fills the buffer with the names, each with a NUL behind it; an empty one is answered with the
    /// size that is needed.
    fn list(self, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(handle) if into.is_empty() => flistxattr_query(handle),
            Self::Open(handle) => flistxattr(handle, into),
            Self::Place(handle) if into.is_empty() => listxattr_query(Self::link(handle)),
            Self::Place(handle) => listxattr(Self::link(handle), into),
        }
    }

    /// Likewise with one value.
    pub(super) fn get(self, name: &OsStr, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(handle) if into.is_empty() => fgetxattr_query(handle, name),
            Self::Open(handle) => fgetxattr(handle, name, into),
            Self::Place(handle) if into.is_empty() => getxattr_query(Self::link(handle), name),
            Self::Place(handle) => getxattr(Self::link(handle), name, into),
        }
    }

    pub(super) fn set(self, name: &OsStr, value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(handle) => fsetxattr(handle, name, value, XattrFlags::empty()),
            Self::Place(handle) => setxattr(Self::link(handle), name, value, XattrFlags::empty()),
        }
    }

    /// Whether the file system holds attributes of this name; `None` where it does not say.
    pub(super) fn holds(self, name: &[u8]) -> Option<bool> {
        match self.get(OsStr::from_bytes(name), &mut []) {
            Ok(_) | Err(Errno::NODATA) => Some(true),
            Err(Errno::NOTSUP) => Some(false),
            Err(_) => None,
        }
    }

    fn remove(self, name: &OsStr) -> Result<(), Errno> {
        match self {
            Self::Open(handle) => fremovexattr(handle, name),
            Self::Place(handle) => removexattr(Self::link(handle), name),
        }
    }
}

/// Calls `ask` with room for what it returns, as much as that takes.
fn with_room(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut room = vec![0; USUAL_BYTES];
    loop {
        match ask(&mut room) {
            Ok(length) => {
                room.truncate(length);
                return Ok(room);
            }
            // What is needed may grow meanwhile.
            Err(Errno::RANGE) => room.resize(ask(&mut [])?.max(room.len() + 1), 0),
            Err(error) => return Err(error),
        }
    }
}

/// Reads the attributes that `scope` covers; none where the file system has no such thing.
pub(super) fn read(object: Object<'_>, scope: Scope) -> Result<Attributes, Fault> {
    if scope.is_empty() {
        return Ok(Attributes::default());
    }
    // Nearly all objects have none: asked without a buffer, the call only tells the length.
    match object.list(&mut []) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Attributes::new(scope, [])),
        Ok(_) => {}
        Err(error) => return Err(error).during("list the attributes of"),
    }
    let names = with_room(|room| object.list(room)).during("list the attributes of")?;
    let mut pairs = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| scope.covers(name)) {
        match with_room(|room| object.get(OsStr::from_bytes(name), room)) {
            Ok(value) => pairs.push((name.to_vec(), value)),
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error).during("read the attributes of"),
        }
    }
    let capable = names.split(|&byte| byte == 0).any(|name| name == CAPABILITY);
    let marked = names.split(|&byte| byte == 0).any(is_layer_mark);
    Ok(Attributes::new(scope, pairs)
        .with_other_capability(capable && !scope.capabilities)
        .with_layer_marks(marked))
}

/// An attribute of as many bytes that finds no room finds none in the one block that ext4 has for all of a file's, whatever
/// is free.
const SURELY_TOO_LARGE: usize = 3500;

/// Gives the object all attributes of `wanted` and, within its scope, no others. Returns what could not be held there,
/// which is no error: one loss for ACLs, one for other attributes, each with the first that was refused.
pub(super) fn bring_about(object: Object<'_>, wanted: &Attributes) -> Result<Vec<Loss>, Fault> {
    if wanted.scope().is_empty() {
        return Ok(Vec::new());
    }
    let present = read(object, wanted.scope())?;
    let mut losses: Vec<Loss> = Vec::new();
    let mut note = |name: &[u8], bytes: usize, refused: Option<Errno>| {
        let Some(refused) = refused else { return };
        let lost = if matches!(name, ACL_ACCESS | ACL_DEFAULT) { Lost::Acls } else { Lost::Attributes };
        if losses.iter().all(|loss| loss.lost != lost) {
            let no_room = matches!(refused, Errno::NOSPC | Errno::DQUOT) && bytes < SURELY_TOO_LARGE;
            let may_pass = no_room || refused == Errno::ACCESS;
            let cause = format!("{}: {}", escaped(name), io::Error::from(refused));
            losses.push(Loss { may_pass, ..Loss::new(lost, &cause) });
        }
    };
    for (name, _) in present.iter().filter(|(name, _)| wanted.get(name).is_none()) {
        if name == ACL_ACCESS {
            // Without it the mask would be what the owning group may do; the permissions come afterwards.
            let mode = fstat(object.handle()).during("look at")?.st_mode & 0o7707;
            note(name, 0, refusal(set_mode(object, Mode::from_raw_mode(mode)), "set the permissions of")?);
        }
        let removed = writable(object, || object.remove(OsStr::from_bytes(name)));
        note(name, 0, refusal(removed, "remove an attribute of")?);
    }
    for (name, value) in wanted.iter().filter(|(name, value)| present.get(name) != Some(value)) {
        let set = writable(object, || object.set(OsStr::from_bytes(name), value));
        note(name, value.len(), refusal(set, "set an attribute of")?);
    }
    Ok(losses)
}

/// Owners need write permission for their own attributes, which a read-only file does not give them:
/// it is lent for the one call.
fn writable(object: Object<'_>, change: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    match change() {
        Err(Errno::ACCESS) => {
            let mode = Mode::from_raw_mode(fstat(object.handle())?.st_mode & 0o7777);
            set_mode(object, mode | Mode::WUSR)?;
            let result = change();
            set_mode(object, mode)?;
            result
        }
        result => result,
    }
}

fn set_mode(object: Object<'_>, mode: Mode) -> Result<(), Errno> {
    match object {
        Object::Open(handle) => fchmod(handle, mode),
        Object::Place(handle) => rustix::fs::chmod(Object::link(handle), mode),
    }
}

/// Tells what the file system or this user's rights cannot hold from a step that failed.
fn refusal(result: Result<(), Errno>, action: &'static str) -> Result<Option<Errno>, Fault> {
    match result {
        Ok(()) | Err(Errno::NODATA) => Ok(None),
        // Too many or too large for this file system (ext4 says "no space"), names it does not take,
        // ids that this user namespace does not map.
        Err(
            refused @ (Errno::NOTSUP
            | Errno::NOSPC
            | Errno::DQUOT
            | Errno::TOOBIG
            | Errno::RANGE
            | Errno::INVAL
            | Errno::PERM
            | Errno::ACCESS
            | Errno::NOSYS),
        ) => Ok(Some(refused)),
        Err(error) => Err(error).during(action),
    }
}

/// Takes away the ACLs that a new object inherited from the folder it was made in.
pub(super) fn disinherit(object: Object<'_>) -> Result<(), Fault> {
    for name in [ACL_ACCESS, ACL_DEFAULT] {
        match object.remove(OsStr::from_bytes(name)) {
            // Where it is refused the permissions that are set afterwards are all that can be done.
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS | Errno::PERM | Errno::INVAL) => {}
            // Without /proc what is open as a place cannot be reached: attributes are out of reach there.
            Err(Errno::NOENT) if matches!(object, Object::Place(_)) => {}
            Err(error) => return Err(error).during("remove an inherited ACL of"),
        }
    }
    Ok(())
}

/// Whether what is made in the folder inherits an ACL from it; assumed where it cannot be told.
pub(super) fn hands_on_an_acl(folder: BorrowedFd<'_>) -> bool {
    match Object::Place(folder).get(OsStr::from_bytes(ACL_DEFAULT), &mut []) {
        Ok(length) => length > 0,
        Err(Errno::NODATA | Errno::NOTSUP) => false,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const USER: Scope = Scope { user: true, acls: false, capabilities: false };

    fn wanted(pairs: &[(&str, usize)]) -> Attributes {
        Attributes::new(USER, pairs.iter().map(|(name, size)| (name.as_bytes().to_vec(), vec![b'v'; *size])))
    }

    #[test]
    fn attributes_come_and_go_whatever_their_size_and_the_mode() {
        let file = tempfile::tempfile_in(".").unwrap();
        let object = Object::Open(file.as_fd());
        for attributes in
            [wanted(&[("user.a", 0), ("user.b", 3)]), wanted(&[("user.b", 2000), ("user.c", 1)]), wanted(&[])]
        {
            fchmod(&file, Mode::RUSR).unwrap();
            assert_eq!(bring_about(object, &attributes).unwrap(), []);
            assert_eq!(read(object, USER).unwrap(), attributes);
            assert_eq!(fstat(&file).unwrap().st_mode & 0o777, 0o400);
        }
    }

    #[test]
    fn what_is_out_of_scope_is_neither_read_nor_touched() {
        let file = tempfile::tempfile_in(".").unwrap();
        let object = Object::Open(file.as_fd());
        bring_about(object, &wanted(&[("user.a", 1)])).unwrap();
        assert_eq!(bring_about(object, &Attributes::default()).unwrap(), []);
        assert_eq!(read(object, Scope::default()).unwrap(), Attributes::default());
        assert_eq!(read(object, USER).unwrap(), wanted(&[("user.a", 1)]));
    }
}
