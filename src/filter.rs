//! What is no part of the mirror: patterns as gitignore has them, sizes, and folders marked as caches.
//!
//! Pure but for the patterns' compilation; nothing is looked at here. The last pattern that matches decides; one
//! with `!` takes back. An excluded folder takes all below it along, whatever is said of that.
//!
//! A letter with an accent is one code point on most systems and two on others (Unicode's forms NFC and NFD), and looks
//! the same. Patterns and names are compared in NFC, so that a pattern means what it looks like. The names themselves are
//! mirrored as they are.

use crate::model::EntryPath;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The name of the file that marks the folder it lies in as a cache.
pub const CACHEDIR_TAG: &[u8] = b"CACHEDIR.TAG";

/// What that file begins with, by the Cache Directory Tagging Specification (bford.info/cachedir).
pub const CACHEDIR_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// A pattern and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written.
    pub text: String,
    /// The file that it stands in, with the number of its line; `None`: the config or the command line.
    pub origin: Option<(PathBuf, usize)>,
}

/// All that a filter is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// In their order: the last that matches counts.
    pub patterns: Vec<Pattern>,
    /// Smaller files are excluded, in bytes.
    pub min_size: Option<u64>,
    /// Larger files are excluded, in bytes.
    pub max_size: Option<u64>,
    /// Folders of the source with a valid `CACHEDIR.TAG` are excluded.
    pub skip_cachedir_tag: bool,
    /// What the replica has of what is excluded is deleted.
    pub delete_excluded: bool,
}

/// A [`Spec`] made ready.
#[derive(Clone, Debug)]
pub struct Filter {
    spec: Spec,
    patterns: Gitignore,
}

/// Two filters are the same if they were made of the same.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self { spec: Spec::default(), patterns: Gitignore::empty() }
    }
}

/// A pattern that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("the pattern `{pattern}`{place} is wrong: {cause}; patterns are written as in .gitignore")]
pub struct BadPattern {
    pattern: String,
    place: String,
    cause: String,
}

impl Filter {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// Names the first pattern that is none.
    pub fn new(spec: Spec) -> Result<Self, BadPattern> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in &spec.patterns {
            let bad = |error: ignore::Error| {
                let place = |(file, line): &(PathBuf, usize)| format!(" ({}, line {line})", file.display());
                BadPattern {
                    pattern: pattern.text.clone(),
                    place: pattern.origin.as_ref().map(place).unwrap_or_default(),
                    cause: error.to_string(),
                }
            };
            builder.add_line(None, &composed_text(&pattern.text)).map_err(bad)?;
        }
        let patterns = builder.build().map_err(|error| BadPattern {
            pattern: spec.patterns.iter().map(|pattern| pattern.text.as_str()).collect::<Vec<_>>().join(" "),
            place: String::new(),
            cause: error.to_string(),
        })?;
        Ok(Self { spec, patterns })
    }

    /// Whether nothing at all is excluded.
    pub fn is_empty(&self) -> bool {
        let Spec { patterns, min_size, max_size, skip_cachedir_tag, delete_excluded: _ } = &self.spec;
        patterns.is_empty() && min_size.is_none() && max_size.is_none() && !skip_cachedir_tag
    }

    /// What it was made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Whether it goes by sizes, which a listing does not tell.
    pub fn has_sizes(&self) -> bool {
        self.spec.min_size.is_some() || self.spec.max_size.is_some()
    }

    /// Whether a pattern excludes this very path; that none excludes a folder above it is taken for granted.
    pub fn excludes(&self, path: &EntryPath) -> bool {
        if self.patterns.is_empty() || path.is_root() {
            return false;
        }
        self.patterns.matched(as_path(&composed(path.trimmed())), path.is_folder()).is_ignore()
    }

    /// Whether a file of so many bytes is excluded.
    pub fn excludes_size(&self, bytes: u64) -> bool {
        self.spec.min_size.is_some_and(|least| bytes < least)
            || self.spec.max_size.is_some_and(|most| bytes > most)
    }

    /// The pattern that excludes `path`, or a folder above it, with where it stands.
    pub fn pattern_for(&self, path: &EntryPath) -> Option<String> {
        if self.patterns.is_empty() || path.is_root() {
            return None;
        }
        let mut above: Vec<EntryPath> = path.folders_above().collect();
        above.sort();
        above.push(path.clone());
        let excluding = |path: &EntryPath| match self
            .patterns
            .matched(as_path(&composed(path.trimmed())), path.is_folder())
        {
            Match::Ignore(glob) => Some(glob.original().to_owned()),
            Match::None | Match::Whitelist(_) => None,
        };
        let text = above.iter().filter(|path| !path.is_root()).find_map(excluding)?;
        let stands =
            self.spec.patterns.iter().rev().find(|pattern| composed_text(pattern.text.trim()) == text.trim());
        let text = stands.map_or(text, |pattern| pattern.text.clone());
        let origin = stands.and_then(|pattern| pattern.origin.as_ref());
        let place = |(file, line): &(PathBuf, usize)| format!(" ({}, line {line})", file.display());
        Some(format!("the pattern `{text}`{}", origin.map(place).unwrap_or_default()))
    }

    /// Whether it says the same of an entry wherever its folder lies: then a folder that is not excluded itself
    /// may be renamed with all that is in it.
    pub fn is_placeless(&self) -> bool {
        let placed = |pattern: &Pattern| {
            let text = pattern.text.trim().trim_start_matches('!');
            text.strip_suffix('/').unwrap_or(text).contains('/')
        };
        !self.spec.patterns.iter().any(placed)
    }
}

/// Names that systems themselves put at the root of a disk: left alone at a replica's root where the source has no such
/// name.
#[derive(Clone, Debug)]
pub struct RootNames {
    names: Vec<String>,
    patterns: Gitignore,
}

/// Two lists are the same if they were made of the same.
impl PartialEq for RootNames {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl RootNames {
    /// Compiles names, in which `*`, `?` and `[…]` stand for others as in a pattern; case does not matter.
    ///
    /// # Errors
    /// Names the first that is not one name.
    pub fn new(names: Vec<String>) -> Result<Self, BadPattern> {
        let bad = |name: &str, cause: String| BadPattern {
            pattern: name.to_owned(),
            place: " in leave_at_root".to_owned(),
            cause,
        };
        let mut builder = GitignoreBuilder::new("");
        builder.case_insensitive(true).map_err(|error| bad("", error.to_string()))?;
        for name in &names {
            if name.is_empty() || name.contains('/') {
                return Err(bad(name, "it is not one name in the root of the replica".to_owned()));
            }
            builder.add_line(None, &format!("/{name}")).map_err(|error| bad(name, error.to_string()))?;
        }
        let patterns = builder.build().map_err(|error| bad(&names.join(" "), error.to_string()))?;
        Ok(Self { names, patterns })
    }

    /// Returns true if `path` lies in the root itself and has one of the names.
    pub fn hold(&self, path: &EntryPath) -> bool {
        let name = path.trimmed();
        !name.is_empty()
            && !name.contains(&b'/')
            && self.patterns.matched(as_path(name), path.is_folder()).is_ignore()
    }
}

fn composed_text(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// A path with all names that are UTF-8 in NFC; others stay as they are. ASCII, which most names are, costs one look at the
/// bytes.
fn composed(path: &[u8]) -> Cow<'_, [u8]> {
    if path.is_ascii() || std::str::from_utf8(path).is_ok_and(is_nfc) {
        return Cow::Borrowed(path);
    }
    let name = |name| match std::str::from_utf8(name) {
        Ok(text) => Cow::Owned(composed_text(text).into_owned().into_bytes()),
        Err(_) => Cow::Borrowed(name),
    };
    Cow::Owned(path.split(|&byte| byte == b'/').map(name).collect::<Vec<_>>().join(&b'/'))
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(patterns: &[&str]) -> Filter {
        let pattern = |text: &&str| Pattern { text: (*text).to_owned(), origin: None };
        Filter::new(Spec { patterns: patterns.iter().map(pattern).collect(), ..Spec::default() }).unwrap()
    }

    #[test]
    fn patterns_mean_what_gitignore_says() {
        let table: [(&[&str], &str, bool); 14] = [
            (&["*.tmp"], "a.tmp", true),
            (&["*.tmp"], "deep/down/a.tmp", true),
            (&["*.tmp"], "a.tmpx", false),
            (&["/a"], "a", true),
            (&["/a"], "b/a", false),
            (&["b/a"], "b/a", true),
            (&["b/a"], "c/b/a", false),
            (&["build/"], "build/", true),
            (&["build/"], "x/build/", true),
            (&["build/"], "build", false),
            (&["*.log", "!keep.log"], "keep.log", false),
            (&["!keep.log", "*.log"], "keep.log", true),
            (&["**/cache/*.bin"], "x/cache/a.bin", true),
            (&["*"], "", false),
        ];
        for (patterns, path, excluded) in table {
            assert_eq!(filter(patterns).excludes(&EntryPath::from(path)), excluded, "{patterns:?} {path}");
        }
    }

    #[test]
    fn patterns_match_names_in_either_normal_form() {
        let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
        for pattern in [composed, decomposed] {
            for name in [composed, decomposed] {
                for (prefix, suffix) in [("", ""), ("*", "*"), ("/", ""), ("**/", "")] {
                    let filter = filter(&[&format!("{prefix}{pattern}{suffix}")]);
                    assert!(filter.excludes(&EntryPath::from(name)), "{pattern:?} {name:?}");
                }
                let below = format!("{name}/x");
                let filter = filter(&[&format!("{pattern}/")]);
                let rule = filter.pattern_for(&EntryPath::from(below.as_str()));
                assert_eq!(rule.unwrap(), format!("the pattern `{pattern}/`"), "as it was written");
            }
            assert!(!filter(&[pattern]).excludes(&EntryPath::from("cafe")));
        }
        for name in [composed, decomposed] {
            let mixed = EntryPath::from_bytes([b"\xff/".as_slice(), name.as_bytes()].concat());
            assert!(filter(&[composed]).excludes(&mixed), "below a name that is no UTF-8");
        }
        assert!(!filter(&["\u{e9}"]).excludes(&EntryPath::from_bytes(*b"\xe9")));
    }

    #[test]
    fn the_pattern_that_excludes_a_path_or_a_folder_above_it_is_named() {
        let filter = filter(&["*.tmp", "/build/"]);
        let rule = |path: &str| filter.pattern_for(&EntryPath::from(path));
        assert_eq!(rule("x/a.tmp").unwrap(), "the pattern `*.tmp`");
        assert_eq!(rule("build/deep/file").unwrap(), "the pattern `/build/`");
        assert_eq!(rule("x/build/file"), None);
    }

    #[test]
    fn only_patterns_without_a_place_leave_folders_free_to_be_renamed() {
        for (pattern, placeless) in [
            ("*.tmp", true),
            ("build/", true),
            ("!x", true),
            ("/build", false),
            ("a/b", false),
            ("a/b/", false),
        ] {
            assert_eq!(filter(&[pattern]).is_placeless(), placeless, "{pattern}");
        }
    }

    #[test]
    fn names_of_systems_are_known_in_the_root_only() {
        let names = ["lost+found", "$RECYCLE.BIN", ".Trash-*", "@eaDir", "System Volume Information"];
        let names = RootNames::new(names.map(str::to_owned).to_vec()).unwrap();
        for (path, known) in [
            ("lost+found/", true),
            ("$RECYCLE.BIN/", true),
            ("$Recycle.Bin/", true),
            (".Trash-1000/", true),
            (".Trash-", true),
            (".Trash", false),
            ("@eaDir/", true),
            ("System Volume Information/", true),
            ("a/lost+found/", false),
            ("lost+found/#12", false),
            ("", false),
        ] {
            assert_eq!(names.hold(&EntryPath::from(path)), known, "{path}");
        }
        for wrong in ["", "a/b", "a[z-a]"] {
            assert!(RootNames::new(vec![wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_pattern_is_named_with_its_file_and_line() {
        let pattern = Pattern { text: "a[z-a]".to_owned(), origin: Some((PathBuf::from("/etc/x"), 3)) };
        let error = Filter::new(Spec { patterns: vec![pattern], ..Spec::default() }).unwrap_err();
        assert!(error.to_string().starts_with("the pattern `a[z-a]` (/etc/x, line 3) is wrong: "), "{error}");
    }

    #[test]
    fn sizes_at_the_bounds_are_included() {
        let filter = Filter::new(Spec { min_size: Some(10), max_size: Some(20), ..Spec::default() }).unwrap();
        let excluded = [0, 9, 10, 20, 21].map(|bytes| filter.excludes_size(bytes));
        assert_eq!(excluded, [true, true, false, false, true]);
    }
}
