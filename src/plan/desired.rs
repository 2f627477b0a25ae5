//! What metadata a replica entry should have, given the source's and what this process may do.

use crate::model::{Kind, Preserve, Stat, Timestamp};

/// Who this process is, as far as keeping owners goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Effective user.
    pub uid: u32,
    /// Effective and supplementary groups.
    pub groups: Vec<u32>,
    /// The source is mounted without set-id bits being honoured: they are not brought to where they
    /// would be.
    pub nosuid: bool,
    /// What is to be kept at all.
    pub preserve: Preserve,
}

/// The metadata to bring about. `None`: leave it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Permission bits; links have none of their own.
    pub mode: Option<u32>,
    /// Owner, where this process may set it.
    pub uid: Option<u32>,
    /// Group, where this process may set it.
    pub gid: Option<u32>,
    /// Last change of the content.
    pub mtime: Timestamp,
}

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

impl Rights {
    /// What the replica of `source` should have. Set-id bits are brought over only where the owner
    /// they act for is: a user's setuid file must never become somebody else's.
    pub fn desired(&self, source: &Stat) -> Desired {
        let root = self.uid == 0;
        let gid = (root || self.groups.contains(&source.gid)).then_some(source.gid);
        let mut mode = source.fingerprint.mode;
        if self.nosuid || (!root && source.uid != self.uid) {
            mode &= !SETUID;
        }
        // On a folder the bit only says whose group new entries get.
        if gid.is_none() || (self.nosuid && source.kind() != Kind::Folder) {
            mode &= !SETGID;
        }
        Desired {
            mode: (source.kind() != Kind::Symlink).then_some(mode),
            uid: root.then_some(source.uid),
            gid,
            mtime: source.fingerprint.mtime,
        }
    }
}

impl Desired {
    /// Whether `replica` has all of it but, perhaps, the time.
    pub fn met_but_for_time(&self, replica: &Stat) -> bool {
        self.mode.is_none_or(|mode| mode == replica.fingerprint.mode)
            && self.uid.is_none_or(|uid| uid == replica.uid)
            && self.gid.is_none_or(|gid| gid == replica.gid)
    }

    /// Whether `replica` has all of it.
    pub fn met(&self, replica: &Stat) -> bool {
        self.met_but_for_time(replica) && self.mtime == replica.fingerprint.mtime
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fingerprint;

    fn stat(mode: u32, uid: u32, gid: u32) -> Stat {
        let zero = Timestamp::default();
        let fingerprint = Fingerprint { kind: Kind::File, mode, size: 0, mtime: zero, ctime: zero, inode: 1 };
        Stat { fingerprint, uid, gid, links: 1, device: 1, rdev: 0 }
    }

    #[test]
    fn root_keeps_all_and_others_keep_what_they_may() {
        let root = Rights { uid: 0, groups: vec![0], nosuid: false, preserve: Preserve::default() };
        let user = Rights { uid: 1000, groups: vec![1000, 27], nosuid: false, preserve: Preserve::default() };
        let mistrusting = Rights { nosuid: true, ..root.clone() };
        let table = [
            (&mistrusting, stat(0o6755, 33, 44), (0o755, Some(33), Some(44))),
            (&root, stat(0o6755, 33, 44), (0o6755, Some(33), Some(44))),
            (&user, stat(0o6755, 1000, 27), (0o6755, None, Some(27))),
            (&user, stat(0o6755, 33, 27), (0o2755, None, Some(27))),
            (&user, stat(0o6755, 1000, 44), (0o4755, None, None)),
            (&user, stat(0o7755, 33, 44), (0o1755, None, None)),
        ];
        for (rights, source, (mode, uid, gid)) in table {
            let got = rights.desired(&source);
            assert_eq!((got.mode, got.uid, got.gid), (Some(mode), uid, gid), "{rights:?} {source:?}");
        }
    }
}
