//! What the walk of a source leaves out by its path alone: what a pattern excludes, and, with
//! `one_file_system`, what lies on another file system than the source's root.

use crate::filter::Filter;
use crate::model::EntryPath;
use crate::mountinfo;
use crate::plan::visible::is_hidden;
use crate::resolved;
use rustix::fs::fstat;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The limits of a job's walk over its source.
#[derive(Clone, Copy, Debug)]
pub struct Boundaries<'f> {
    /// What is excluded.
    pub filter: &'f Filter,
    /// The walk enters no other file system.
    pub one_file_system: bool,
}

impl Boundaries<'_> {
    /// Returns true if a walk of `root` does not enter the folder `path`, which may still be missing.
    pub fn leave_out(self, root: &Path, path: &Path) -> bool {
        self.exclude(root, path, true) || (self.one_file_system && is_elsewhere(root, path).unwrap_or(false))
    }

    /// Returns true if a pattern excludes `path`, or a folder above it within `root`. What lies below an
    /// excluded folder is never walked, whatever other patterns say of it.
    pub(super) fn exclude(self, root: &Path, path: &Path, is_folder: bool) -> bool {
        let Ok(below) = path.strip_prefix(root) else { return false };
        let names: Vec<_> = below.iter().collect();
        let mut entry = EntryPath::root();
        names.iter().enumerate().any(|(number, name)| {
            entry = entry.child(name.as_bytes(), is_folder || number + 1 < names.len());
            is_hidden(self.filter, &entry)
        })
    }
}

/// Device and mount of a folder; the mount is not known on kernels that do not tell.
fn file_system(path: &Path) -> io::Result<(u64, Option<u64>)> {
    let handle = resolved::open_folder(path)?;
    Ok((fstat(&handle)?.st_dev, mountinfo::id_of(handle.as_fd())))
}

/// Returns true if a folder on the way from `root` to `path` is a mount point, or a btrfs subvolume, which
/// has a device of its own. What is missing lies where the folder above it does.
fn is_elsewhere(root: &Path, path: &Path) -> io::Result<bool> {
    let here = file_system(root)?;
    let mut folder = root.to_owned();
    for name in path.strip_prefix(root).unwrap_or(Path::new("")) {
        folder.push(name);
        if file_system(&folder)? != here {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The pattern that excludes the folder or file `path` below `root`, as a config file has it. `tail` is added
/// behind it, unquoted.
pub(super) fn proposal(root: &Path, path: &Path, tail: &str) -> String {
    let below = path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes();
    let mut pattern = String::from("/");
    for character in crate::model::escape::escaped(below).chars() {
        if "*?[]{}!#\\".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push_str(tail);
    let quote = if pattern.contains(['\\', '"']) { '\'' } else { '"' };
    format!("exclude = [{quote}{pattern}{quote}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Pattern, Spec};

    #[test]
    fn what_a_pattern_excludes_is_left_out_with_all_below_it() {
        let filter = |patterns: &[&str]| {
            let pattern = |text: &&str| Pattern { text: (*text).to_owned(), origin: None };
            Filter::new(Spec { patterns: patterns.iter().map(pattern).collect(), ..Spec::default() }).unwrap()
        };
        let table: [(&[&str], &str, &str, bool); 10] = [
            (&["/mnt/disk/"], "/", "/mnt/disk", true),
            (&["/mnt/disk/"], "/", "/mnt/disk/backup/deep", true),
            (&["/mnt/"], "/", "/mnt/disk/backup", true),
            (&["/mnt/*"], "/", "/mnt/disk/backup", true),
            (&["/mnt/", "!/mnt/disk/backup/"], "/", "/mnt/disk/backup", true),
            (&["/mnt/*", "!/mnt/disk/"], "/", "/mnt/disk/backup", false),
            (&["/mnt/disk/*"], "/", "/mnt/disk", false),
            (&["/disk/"], "/mnt", "/mnt/disk", true),
            (&["/disk/"], "/mnt", "/else/disk", false),
            (&["*"], "/mnt", "/mnt", false),
        ];
        for (patterns, root, path, left_out) in table {
            let filter = filter(patterns);
            let boundaries = Boundaries { filter: &filter, one_file_system: false };
            let got = boundaries.leave_out(Path::new(root), Path::new(path));
            assert_eq!(got, left_out, "{patterns:?} {root} {path}");
        }
    }

    #[test]
    fn what_is_mounted_on_the_way_is_left_out_with_one_file_system_only() {
        let filter = Filter::default();
        for (path, one_file_system, left_out) in [
            ("/proc/self", true, true),
            ("/proc/missing", true, true),
            ("/proc", false, false),
            ("/etc", true, false),
            ("/etc/missing/deep", true, false),
        ] {
            let boundaries = Boundaries { filter: &filter, one_file_system };
            assert_eq!(boundaries.leave_out(Path::new("/"), Path::new(path)), left_out, "{path}");
        }
    }

    #[test]
    fn a_proposed_pattern_excludes_what_it_names() {
        for (path, text) in [
            ("/s/plain", "exclude = [\"/plain/\"]"),
            ("/s/a [b]*", "exclude = ['/a \\[b\\]\\*/']"),
            ("/s/#x!", "exclude = ['/\\#x\\!/']"),
        ] {
            let proposed = proposal(Path::new("/s"), Path::new(path), "/");
            assert_eq!(proposed, text);
            let pattern = proposed[12..proposed.len() - 2].to_owned();
            let spec = Spec { patterns: vec![Pattern { text: pattern, origin: None }], ..Spec::default() };
            let filter = Filter::new(spec).unwrap();
            let boundaries = Boundaries { filter: &filter, one_file_system: false };
            assert!(boundaries.leave_out(Path::new("/s"), Path::new(path)), "{path}");
        }
    }
}
