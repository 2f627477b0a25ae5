//! What metadata a replica entry should have, given the source's and what this process may do.

use crate::model::{
    Attributes, Capabilities, DeviceSet, Difference, Kind, Preserve, Scope, Seen, Stat, Timestamp,
};
use std::fmt::Write as _;
use std::sync::Arc;

/// Who this process is, as far as keeping owners goes, and what it is to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Effective and supplementary groups.
    pub groups: Vec<u32>,
    /// Permission bits that new entries do not get where permissions are not kept.
    pub umask: u32,
    /// Devices of the source that are mounted without set-id bits being honoured: they are not
    /// brought to where they would be.
    pub nosuid: DeviceSet,
    /// What is to be kept at all, of what the replica holds.
    pub preserve: Preserve,
    /// What the replica's file system holds.
    pub held: Arc<Capabilities>,
}

/// The metadata to bring about. `None`: leave it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Permission bits; links have none of their own.
    pub mode: Option<u32>,
    /// Owner, where this process may set it.
    pub uid: Option<u32>,
    /// Group, where this process may set it.
    pub gid: Option<u32>,
    /// Last change of the content.
    pub mtime: Option<Timestamp>,
    /// The file system takes that time only together with the time of last access, which stays as it is.
    pub with_access_time: bool,
}

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const PLAIN: u32 = 0o777;

impl Rights {
    /// What the replica of `source` should have. Set-id bits are brought over only where the owner
    /// they act for is: a user's setuid file must never become somebody else's.
    pub fn desired(&self, source: &Stat) -> Desired {
        let kept = self.preserve;
        let root = self.uid == 0;
        let same_group = root || self.groups.contains(&source.gid);
        // A group that cannot be kept becomes this process's own: not that of a set-gid folder above.
        let gid = kept.owner.then_some(if same_group { source.gid } else { self.gid });
        let has_time = kept.times && (self.held.link_times || source.kind() != Kind::Symlink);
        Desired {
            mode: (kept.permissions && source.kind() != Kind::Symlink).then(|| self.mode(source)),
            uid: (root && kept.owner).then_some(source.uid),
            gid,
            mtime: has_time.then_some(self.held.times.cut(source.fingerprint.mtime)),
            with_access_time: self.held.times.needs_access_time,
        }
    }

    /// What an entry that is made anew should have, in the place of `replaced` if there was something.
    /// What is not kept stays as it was there.
    pub fn desired_new(&self, source: &Stat, replaced: Option<&Stat>) -> Desired {
        let replaced = replaced.filter(|old| old.kind() == source.kind());
        let mut desired = self.desired(source);
        // Where permissions stay as the file system makes them, nobody needs to ask for others.
        if !self.preserve.permissions && self.held.permissions && source.kind() != Kind::Symlink {
            let fresh = source.fingerprint.mode & PLAIN & !self.umask;
            desired.mode = Some(replaced.map_or(fresh, |old| old.fingerprint.mode & PLAIN));
        }
        if !self.preserve.owner && self.uid == 0 {
            desired.uid = replaced.map(|old| old.uid);
            desired.gid = replaced.map(|old| old.gid);
        }
        desired
    }

    /// The permission bits of `now` less what it, or whom it belongs to, is to lose when it becomes what
    /// `source` wants: what may be so before it gets new content or a new name.
    pub fn interim(&self, source: &Stat, now: &Stat, difference: Difference) -> u32 {
        const OWNER_ALL: u32 = 0o700;
        const GROUP_ALL: u32 = 0o070;
        const OTHERS_ALL: u32 = 0o077;
        let desired = self.desired(source);
        let mut mode = now.fingerprint.mode & desired.mode.unwrap_or(now.fingerprint.mode);
        if desired.uid.is_some_and(|uid| uid != now.uid) {
            mode &= !OWNER_ALL;
        }
        if desired.gid.is_some_and(|gid| gid != now.gid) {
            mode &= !GROUP_ALL;
        }
        if difference == Difference::Access {
            // With an ACL the group's bits are the mask of all that it names.
            mode &= !OTHERS_ALL;
        }
        mode
    }

    /// What is to be taken in of figures of the replica: no inode number where its file system makes them up.
    #[must_use]
    pub fn known(&self, replica: Stat) -> Stat {
        if self.held.stable_inodes { replica } else { replica.without_inode() }
    }

    /// Returns true if the replica is to have nothing in the place of this entry of the source. A link that it has
    /// already shows that it can have one.
    pub fn leaves_out(&self, source: &Seen, replica: Option<&Seen>) -> bool {
        let has_link = replica.is_some_and(Seen::is_symlink);
        (source.is_special() && !self.preserve.specials)
            || (source.is_symlink() && !self.preserve.symlinks && !has_link)
    }

    /// The permission bits that may be kept.
    fn mode(&self, source: &Stat) -> u32 {
        let root = self.uid == 0;
        let nosuid = self.nosuid.contains(source.device);
        let mut mode = source.fingerprint.mode;
        if nosuid || !self.preserve.owner || (!root && source.uid != self.uid) {
            mode &= !SETUID;
        }
        let group_kept = self.preserve.owner && (root || self.groups.contains(&source.gid));
        // On a folder the bit only says whose group new entries get.
        if !group_kept || (nosuid && source.kind() != Kind::Folder) {
            mode &= !SETGID;
        }
        mode
    }

    /// What rows made under these rights vouch for, as text: the switches, and who keeps owners. `device`
    /// is that of the source's root.
    pub fn vouchers(&self, device: u64) -> String {
        let mut text = self.preserve.to_text();
        if self.uid != 0 {
            let mut groups = self.groups.clone();
            groups.sort_unstable();
            groups.dedup();
            // Writing to a String cannot fail.
            let _ = write!(text, "; user {} group {} of {groups:?}", self.uid, self.gid);
        }
        if self.nosuid.contains(device) {
            text.push_str("; nosuid");
        }
        let times = self.held.times;
        if self.preserve.times && !times.are_exact() {
            let _ = write!(
                text,
                "; times of {} ns from {} to {}",
                times.granularity_nanos, times.earliest, times.latest
            );
        }
        text
    }

    /// Which attributes are kept.
    pub fn scope(&self) -> Scope {
        let kept = self.preserve;
        Scope {
            user: kept.xattrs && kept.attributes,
            acls: kept.xattrs && kept.acls && kept.permissions,
            // Only root may set them, and they act for whoever owns the file.
            capabilities: kept.xattrs && kept.file_capabilities && kept.owner && self.uid == 0,
        }
    }

    /// The attributes that the replica of `source`, which has the attributes `found`, should have.
    pub fn desired_attributes(&self, source: &Stat, found: Attributes) -> Attributes {
        if self.nosuid.contains(source.device) { found.without_capabilities() } else { found }
    }
}

impl Desired {
    /// Whether `replica` has all of it but, perhaps, the time.
    pub fn met_but_for_time(&self, replica: &Stat) -> bool {
        self.mode.is_none_or(|mode| mode == replica.fingerprint.mode) && self.owner_met(replica)
    }

    /// Whether `replica` has the owner and the group.
    pub fn owner_met(&self, replica: &Stat) -> bool {
        self.uid.is_none_or(|uid| uid == replica.uid) && self.gid.is_none_or(|gid| gid == replica.gid)
    }

    /// Whether `replica` has all of it.
    pub fn met(&self, replica: &Stat) -> bool {
        self.met_but_for_time(replica) && self.mtime.is_none_or(|mtime| mtime == replica.fingerprint.mtime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fingerprint;

    fn stat(mode: u32, uid: u32, gid: u32) -> Stat {
        let zero = Timestamp::default();
        let fingerprint = Fingerprint { kind: Kind::File, mode, size: 0, mtime: zero, ctime: zero, inode: 1 };
        Stat { fingerprint, uid, gid, links: 1, device: 1, rdev: 0, allocated: 0 }
    }

    fn root() -> Rights {
        let preserve = Preserve::default();
        let held = Arc::default();
        Rights { uid: 0, gid: 0, groups: vec![0], umask: 0o027, nosuid: false.into(), preserve, held }
    }

    #[test]
    fn root_keeps_all_and_others_keep_what_they_may() {
        let user = Rights { uid: 1000, gid: 1000, groups: vec![1000, 27], ..root() };
        let mistrusting = Rights { nosuid: true.into(), ..root() };
        let table = [
            (&mistrusting, stat(0o6755, 33, 44), (0o755, Some(33), Some(44))),
            (&root(), stat(0o6755, 33, 44), (0o6755, Some(33), Some(44))),
            (&user, stat(0o6755, 1000, 27), (0o6755, None, Some(27))),
            (&user, stat(0o6755, 33, 27), (0o2755, None, Some(27))),
            (&user, stat(0o6755, 1000, 44), (0o4755, None, Some(1000))),
            (&user, stat(0o7755, 33, 44), (0o1755, None, Some(1000))),
        ];
        for (rights, source, (mode, uid, gid)) in table {
            let got = rights.desired(&source);
            assert_eq!((got.mode, got.uid, got.gid), (Some(mode), uid, gid), "{rights:?} {source:?}");
        }
    }

    #[test]
    fn rows_vouch_for_nothing_under_other_rights() {
        let user = Rights { uid: 1000, gid: 1000, groups: vec![27, 1000, 27], ..root() };
        assert_eq!(user.vouchers(1), user.preserve.to_text() + "; user 1000 group 1000 of [27, 1000]");
        assert_eq!(root().vouchers(1), root().preserve.to_text());
        let mistrusting = Rights { nosuid: true.into(), ..root() };
        assert_eq!(mistrusting.vouchers(1), root().preserve.to_text() + "; nosuid");
    }

    #[test]
    fn what_is_not_kept_is_left_alone_and_new_entries_get_what_the_umask_lets_them() {
        let all = Preserve::default();
        let (source, old) = (stat(0o6775, 33, 44), stat(0o600, 1, 2));
        let rights = |preserve| Rights { preserve, ..root() };
        let plain = rights(Preserve { permissions: false, ..all });
        assert_eq!(plain.desired(&source).mode, None);
        assert_eq!(plain.desired_new(&source, None).mode, Some(0o750));
        assert_eq!(plain.desired_new(&source, Some(&old)).mode, Some(0o600));
        let ownerless = rights(Preserve { owner: false, ..all });
        let desired = ownerless.desired(&source);
        assert_eq!((desired.mode, desired.uid, desired.gid), (Some(0o775), None, None));
        let desired = ownerless.desired_new(&source, Some(&old));
        assert_eq!((desired.uid, desired.gid), (Some(1), Some(2)));
        assert!(!ownerless.scope().capabilities && ownerless.scope().acls);
        let timeless = rights(Preserve { times: false, ..all });
        assert_eq!(timeless.desired(&source).mtime, None);
        assert!(rights(Preserve { xattrs: false, ..all }).scope().is_empty());
    }
}
