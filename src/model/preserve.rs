//! Which properties of the source's entries a mirror keeps.

/// The `[preserve]` switches; all are on unless somebody turns them off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "seven independent switches of the config file")]
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
        }
    }
}

impl Preserve {
    /// The switches that are on, by name, as the manifest notes them.
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
        let on: Vec<&str> = switches.iter().filter(|(on, _)| *on).map(|&(_, name)| name).collect();
        on.join(" ")
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
    }
}
