//! The path of one entry under a root, and the one order everything is sorted by.

use std::fmt;

/// An entry's path under its root: raw bytes, joined with `/`, a folder's path ending in `/`, the
/// root itself being the empty path.
///
/// `Ord` is plain byte order. A walk that sorts each folder by name *with `/` added for folders*
/// yields exactly this order, and so does `ORDER BY path` on a BLOB key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Box<[u8]>);

impl EntryPath {
    /// The root itself.
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// A path from its bytes in the manifest's form (folders end in `/`).
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The path of the entry called `name` in this folder; `folder` says whether it is one itself.
    #[must_use]
    pub fn child(&self, name: &[u8], folder: bool) -> Self {
        debug_assert!(self.is_folder(), "only a folder has children");
        let mut bytes = Vec::with_capacity(self.0.len() + name.len() + usize::from(folder));
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(name);
        if folder {
            bytes.push(b'/');
        }
        Self(bytes.into_boxed_slice())
    }

    /// The bytes, a folder's `/` included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes without a folder's closing `/`.
    pub fn trimmed(&self) -> &[u8] {
        self.0.strip_suffix(b"/").unwrap_or(&self.0)
    }

    /// Whether this is the root of a tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this path names a folder (the root is one).
    pub fn is_folder(&self) -> bool {
        self.0.last().is_none_or(|&last| last == b'/')
    }

    /// The last component, without a folder's `/`; empty for the root.
    pub fn name(&self) -> &[u8] {
        let trimmed = self.trimmed();
        let start = trimmed.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
        &trimmed[start..]
    }

    /// The bytes of the folder this entry lies in, closing `/` included; empty for entries of the
    /// root and for the root itself.
    pub fn parent_bytes(&self) -> &[u8] {
        let trimmed = self.trimmed();
        let end = trimmed.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
        &trimmed[..end]
    }

    /// The folder this entry lies in; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.parent_bytes().into())
    }

    /// The folders that it lies in, the innermost first, without the root.
    pub fn folders_above(&self) -> impl Iterator<Item = Self> + '_ {
        let trimmed = self.trimmed();
        (0..trimmed.len()).rev().filter(|&at| trimmed[at] == b'/').map(|at| Self(trimmed[..=at].into()))
    }

    /// Whether this path lies strictly below `folder`.
    pub fn is_below(&self, folder: &EntryPath) -> bool {
        folder.is_folder() && self.0.len() > folder.0.len() && self.0.starts_with(&folder.0)
    }

    /// The path that this one, which is `from` or lies below it, has once `from` is called `to`; `None` for
    /// any other.
    pub fn rebased(&self, from: &EntryPath, to: &EntryPath) -> Option<Self> {
        if self == from {
            return Some(to.clone());
        }
        self.is_below(from)
            .then(|| Self([to.as_bytes(), &self.0[from.0.len()..]].concat().into_boxed_slice()))
    }

    /// The key the same name would have were it a folder (or no folder): a folder that became a
    /// file is two keys.
    #[must_use]
    pub fn other_kind(&self) -> Self {
        if self.is_folder() {
            Self(self.trimmed().into())
        } else {
            let mut bytes = self.0.to_vec();
            bytes.push(b'/');
            Self(bytes.into_boxed_slice())
        }
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Escaped as a person may read it: see [`super::escape`]. The root shows as `.`.
impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { super::escape::write_escaped(f, &self.0) }
    }
}

impl From<&str> for EntryPath {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path() {
        let table: [(&str, &str, &str, bool); 5] = [
            ("", "", "", true),
            ("a", "", "a", false),
            ("a/", "", "a", true),
            ("a/b", "a/", "b", false),
            ("a/b/", "a/", "b", true),
        ];
        for (path, parent, name, folder) in table {
            let path = EntryPath::from(path);
            assert_eq!(path.parent(), EntryPath::from(parent));
            assert_eq!(path.name(), name.as_bytes());
            assert_eq!(path.is_folder(), folder);
        }
    }

    #[test]
    fn a_path_follows_the_folder_that_it_lies_in() {
        let path = |text: &str| EntryPath::from(text);
        let above: Vec<EntryPath> = path("a/b/c/").folders_above().collect();
        assert_eq!(above, [path("a/b/"), path("a/")]);
        assert_eq!(path("a").folders_above().count(), 0);
        let table =
            [("a/b", "a/", "z/", Some("z/b")), ("a/", "a/", "z/", Some("z/")), ("ab", "a/", "z/", None)];
        for (from, folder, to, there) in table {
            assert_eq!(path(from).rebased(&path(folder), &path(to)), there.map(path), "{from}");
        }
    }

    #[test]
    fn the_other_kind_of_a_name_is_its_other_key() {
        assert_eq!(EntryPath::from("a/b").other_kind(), EntryPath::from("a/b/"));
        assert_eq!(EntryPath::from("a/b/").other_kind(), EntryPath::from("a/b"));
    }

    #[test]
    fn a_folders_children_follow_it_and_a_dot_sorts_before_them() {
        let mut paths: Vec<EntryPath> = ["a/x", "a.txt", "a/", "a", ""].map(EntryPath::from).to_vec();
        paths.sort();
        assert_eq!(paths, ["", "a", "a.txt", "a/", "a/x"].map(EntryPath::from));
    }

    #[test]
    fn below_is_strict_and_needs_a_folder() {
        let folder = EntryPath::from("a/");
        assert!(EntryPath::from("a/x").is_below(&folder));
        assert!(!EntryPath::from("a/").is_below(&folder));
        assert!(!EntryPath::from("ab").is_below(&folder));
        assert!(EntryPath::from("a").is_below(&EntryPath::root()));
    }
}
