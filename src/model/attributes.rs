//! Extended attributes that a mirror keeps: `user.*`, POSIX ACLs and file capabilities.

/// The ACL that widens or narrows an entry's permission bits.
pub const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The ACL that a folder hands on to what is made in it.
pub const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// What an executable may do without being root.
pub const CAPABILITY: &[u8] = b"security.capability";
const USER: &[u8] = b"user.";
/// With these a layer of an overlay file system says which folders hide what lies below them, and what has
/// another name or its content there.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Whether an attribute, which is never copied, changes what the tree means for whoever mounts it as a layer.
pub fn is_layer_mark(name: &[u8]) -> bool {
    name.starts_with(OVERLAY)
}

/// Which attributes are looked at; the others stay as they are on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `user.*`.
    pub user: bool,
    /// POSIX ACLs.
    pub acls: bool,
    /// File capabilities.
    pub capabilities: bool,
}

impl Scope {
    /// Whether there is nothing to look at.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Whether the attribute of this name is looked at.
    pub fn covers(self, name: &[u8]) -> bool {
        match name {
            ACL_ACCESS | ACL_DEFAULT => self.acls,
            CAPABILITY => self.capabilities,
            _ => self.user && name.starts_with(USER),
        }
    }
}

/// What an access ACL lets the owning group do (0 to 7), as the kernel keeps it (`linux/posix_acl_xattr.h`:
/// a version, then tag, permissions and id of each entry, little endian).
pub fn acl_group(acl: &[u8]) -> Option<u32> {
    const VERSION: usize = 4;
    const GROUP_OBJECT: [u8; 2] = [0x04, 0];
    let entries = acl.get(VERSION..)?.chunks_exact(8);
    entries.filter(|entry| entry[..2] == GROUP_OBJECT).map(|entry| u32::from(entry[2] & 7)).next()
}

/// How the attributes of two entries differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Difference {
    /// Not at all.
    #[default]
    None,
    /// In what nobody's access hangs on.
    Plain,
    /// In an ACL.
    Access,
}

/// The attributes of one entry within a scope, by rising name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    scope: Scope,
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// There is a capability that the scope does not cover.
    other_capability: bool,
    /// There are marks of an overlay's layer, which are not copied.
    layer_marks: bool,
}

impl Attributes {
    /// The attributes among `pairs` (name and value) that `scope` covers.
    pub fn new(scope: Scope, pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| scope.covers(name)).collect();
        pairs.sort();
        Self { scope, pairs, other_capability: false, layer_marks: false }
    }

    /// Notes that the entry has a capability that is not looked at.
    #[must_use]
    pub fn with_other_capability(self, other_capability: bool) -> Self {
        Self { other_capability, ..self }
    }

    /// Whether the entry has a capability that is not looked at.
    pub fn has_other_capability(&self) -> bool {
        self.other_capability
    }

    /// Notes that the entry has marks of an overlay's layer.
    #[must_use]
    pub fn with_layer_marks(self, layer_marks: bool) -> Self {
        Self { layer_marks, ..self }
    }

    /// Returns true if the entry has marks of an overlay's layer, which are not copied.
    pub fn has_layer_marks(&self) -> bool {
        self.layer_marks
    }

    /// What was looked at.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The value of one.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Without capabilities, which are to be removed where they are.
    #[must_use]
    pub fn without_capabilities(mut self) -> Self {
        self.pairs.retain(|(name, _)| name != CAPABILITY);
        self
    }

    /// How `other`, read in the same scope, differs.
    pub fn difference(&self, other: &Self) -> Difference {
        if self.pairs == other.pairs {
            return Difference::None;
        }
        let access = [ACL_ACCESS, ACL_DEFAULT].iter().any(|name| self.get(name) != other.get(name));
        if access { Difference::Access } else { Difference::Plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Scope = Scope { user: true, acls: true, capabilities: true };

    fn attributes(scope: Scope, names: &[&[u8]]) -> Attributes {
        Attributes::new(scope, names.iter().map(|name| (name.to_vec(), b"value".to_vec())))
    }

    #[test]
    fn only_what_is_in_scope_is_looked_at() {
        let everything: [&[u8]; 6] =
            [b"user.a", ACL_ACCESS, ACL_DEFAULT, CAPABILITY, b"trusted.overlay.opaque", b"security.selinux"];
        for (scope, count) in [
            (ALL, 4),
            (Scope { user: false, ..ALL }, 3),
            (Scope { acls: false, ..ALL }, 2),
            (Scope { capabilities: false, ..ALL }, 3),
            (Scope::default(), 0),
        ] {
            assert_eq!(attributes(scope, &everything).iter().count(), count, "{scope:?}");
            assert_eq!(scope.is_empty(), count == 0);
        }
    }

    #[test]
    fn the_owning_groups_entry_is_found_in_an_acl() {
        let entry = |tag: u8, permissions: u8| [tag, 0, permissions, 0, 255, 255, 255, 255];
        let acl = [&[2, 0, 0, 0][..], &entry(1, 7), &entry(2, 6), &entry(4, 5), &entry(16, 7)].concat();
        assert_eq!(acl_group(&acl), Some(5));
        assert_eq!(acl_group(&acl[..12]), None);
        assert_eq!(acl_group(b"x"), None);
    }

    #[test]
    fn a_difference_says_whether_access_hangs_on_it() {
        let plain = attributes(ALL, &[b"user.a"]);
        for (other, difference) in [
            (attributes(ALL, &[b"user.a"]), Difference::None),
            (attributes(ALL, &[]), Difference::Plain),
            (attributes(ALL, &[b"user.a", CAPABILITY]), Difference::Plain),
            (attributes(ALL, &[b"user.a", CAPABILITY]).without_capabilities(), Difference::None),
            (attributes(ALL, &[b"user.a", ACL_ACCESS]), Difference::Access),
            (attributes(ALL, &[ACL_DEFAULT]), Difference::Access),
        ] {
            assert_eq!(plain.difference(&other), difference, "{other:?}");
        }
    }
}
