//! Which properties of the source's entries a mirror keeps.

/// The `[preserve]` switches, and what else a replica may be unable to hold; all are on unless somebody turns
/// them off or the replica's file system does ([`Preserve::within`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Preserve {
    /// Permission bits. Off: new entries get the source's as far as the umask lets them, without
    /// set-id bits, and existing ones stay as they are.
    pub permissions: bool,
    /// Owner and group, where this process may set them.
    pub owner: bool,
    /// Last change of the content.
    pub times: bool,
    /// `user.*` attributes, POSIX ACLs and file capabilities.
    pub xattrs: bool,
    /// Names of one inode become names of one inode.
    pub hard_links: bool,
    /// Holes stay holes.
    pub sparse: bool,
    /// FIFOs, sockets and device nodes. Off: as if the source had none.
    pub specials: bool,
    /// Symbolic links. Off (no key does that): as if the source had none.
    pub symlinks: bool,
    /// `user.*` attributes, where `xattrs` is on (no key of its own).
    pub attributes: bool,
    /// POSIX ACLs, where `xattrs` and `permissions` are on (no key of its own).
    pub acls: bool,
    /// File capabilities, where `xattrs` and `owner` are on (no key of its own).
    pub file_capabilities: bool,
}

impl Default for Preserve {
    fn default() -> Self {
        Self {
            permissions: true,
            owner: true,
            times: true,
            xattrs: true,
            hard_links: true,
            sparse: true,
            specials: true,
            symlinks: true,
            attributes: true,
            acls: true,
            file_capabilities: true,
        }
    }
}

impl Preserve {
    /// The switches that are on, by name, as the manifest notes them. Of what has no key only that is named which
    /// is off, so that the text of a replica that holds everything stays the same from one version to the next.
    pub fn to_text(self) -> String {
        let switches = [
            (self.permissions, "permissions"),
            (self.owner, "owner"),
            (self.times, "times"),
            (self.xattrs, "xattrs"),
            (self.hard_links, "hard_links"),
            (self.sparse, "sparse"),
            (self.specials, "specials"),
        ];
        let unheld = [
            (self.symlinks, "no-symlinks"),
            (self.attributes || !self.xattrs, "no-attributes"),
            (self.acls || !self.xattrs, "no-acls"),
            (self.file_capabilities || !self.xattrs, "no-file-capabilities"),
        ];
        let on = switches.iter().filter(|(on, _)| *on).map(|&(_, name)| name);
        let off = unheld.iter().filter(|(on, _)| !*on).map(|&(_, name)| name);
        on.chain(off).collect::<Vec<&str>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_every_switch() {
        let all = Preserve::default();
        assert_eq!(all.to_text(), "permissions owner times xattrs hard_links sparse specials");
        assert_eq!(
            Preserve { owner: false, specials: false, ..all }.to_text(),
            "permissions times xattrs hard_links sparse"
        );
        assert_eq!(
            Preserve { symlinks: false, acls: false, ..all }.to_text(),
            "permissions owner times xattrs hard_links sparse specials no-symlinks no-acls"
        );
        assert_eq!(
            Preserve { xattrs: false, acls: false, ..all }.to_text(),
            "permissions owner times hard_links sparse specials"
        );
    }
}
