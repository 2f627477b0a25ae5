//! Paths that the operator names: roots, state, log, config. Made absolute and free of symlinks,
//! following only links that belong to root or to the user who runs this.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::{env, fs};

/// Why a path of the operator is not used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// It is empty.
    #[error("an empty path was given; name a file or folder")]
    Empty,
    /// It goes through a symlink of somebody else.
    #[error(
        "{path} goes through the symlink {link}, which belongs to user {owner}; \
         name the place it leads to, or have root own the link",
        path = path.display(), link = link.display()
    )]
    ForeignLink {
        /// The path as given.
        path: PathBuf,
        /// The link.
        link: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// Part of it cannot be looked at.
    #[error("cannot look at {at}, which {path} goes through: {error}", path = path.display(), at = at.display())]
    Unusable {
        /// The path as given.
        path: PathBuf,
        /// The part.
        at: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// As many as the kernel follows.
const MAX_LINKS: u32 = 40;

/// The absolute path without `.`, `..` and symlinks that `path` leads to. Components that do not
/// exist are taken as they are.
pub fn resolve(path: &Path) -> Result<PathBuf, PathError> {
    if path.as_os_str().is_empty() {
        return Err(PathError::Empty);
    }
    let unusable = |at: &Path, error| PathError::Unusable { path: path.into(), at: at.into(), error };
    let me = rustix::process::geteuid().as_raw();
    let mut links = 0;
    let mut done = if path.is_absolute() {
        PathBuf::from("/")
    } else {
        env::current_dir().map_err(|error| unusable(Path::new("."), error))?
    };
    let mut todo: VecDeque<OsString> = components(path);
    while let Some(component) = todo.pop_front() {
        if component == ".." {
            done.pop();
            continue;
        }
        done.push(&component);
        match fs::symlink_metadata(&done) {
            Ok(found) if found.is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(unusable(&done, io::Error::from_raw_os_error(LOOP)));
                }
                if found.uid() != 0 && found.uid() != me {
                    return Err(PathError::ForeignLink { path: path.into(), link: done, owner: found.uid() });
                }
                let target = fs::read_link(&done).map_err(|error| unusable(&done, error))?;
                done.pop();
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                for component in components(&target).into_iter().rev() {
                    todo.push_front(component);
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Below a file there is nothing; whoever opens the path says so better.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return Err(unusable(&done, error)),
        }
    }
    Ok(done)
}

/// ELOOP.
const LOOP: i32 = 40;

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own trees")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn dots_slashes_and_own_links_resolve_and_missing_parts_stay() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(base.join("a/b")).unwrap();
        symlink("a/b", base.join("relative")).unwrap();
        symlink(base.join("a"), base.join("absolute")).unwrap();
        for (path, leads_to) in [
            ("a/./b//", "a/b"),
            ("a/b/..", "a"),
            ("relative/..", "a"),
            ("absolute/b", "a/b"),
            ("a/new/deeper", "a/new/deeper"),
        ] {
            assert_eq!(resolve(&base.join(path)).unwrap(), base.join(leads_to), "{path}");
        }
        assert!(matches!(resolve(Path::new("")), Err(PathError::Empty)));
    }

    #[test]
    fn links_that_lead_in_a_circle_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(matches!(resolve(&dir.path().join("a")), Err(PathError::Unusable { .. })));
    }
}
