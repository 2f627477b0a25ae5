//! Mounting for tests, as far as the machine lets them.

use super::tree::mkdir;
use super::{is_root, skip};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something mounted, unmounted when the test is done with it.
#[derive(Debug)]
pub struct Mounted(pub PathBuf);

impl Mounted {
    /// Unmounts it now.
    #[track_caller]
    pub fn unmount(self) {
        assert!(does("umount", &[self.0.to_str().unwrap()]), "{} cannot be unmounted", self.0.display());
        std::mem::forget(self);
    }

    /// Takes it out of the tree, whoever has something open on it.
    #[track_caller]
    pub fn detach(self) {
        assert!(does("umount", &["-l", self.0.to_str().unwrap()]), "{} cannot be detached", self.0.display());
        std::mem::forget(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        does("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

/// Whether a program could be run and ended well.
pub fn does(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Mounts `arguments` at `at`, a folder that is made where there is nothing; `None`, said loudly, where that
/// cannot be done here.
pub fn mount(arguments: &[&str], at: &Path) -> Option<Mounted> {
    if !at.exists() {
        mkdir(at);
    }
    let mounted = is_root() && does("mount", &[arguments, &[at.to_str().unwrap()]].concat());
    if !mounted {
        skip(&format!("mounting {arguments:?} needs root and a machine that lets it"));
    }
    mounted.then(|| Mounted(at.to_owned()))
}

/// Mounts an empty tmpfs at `at`.
pub fn tmpfs(at: &Path) -> Option<Mounted> {
    mount(&["-t", "tmpfs", "-o", "size=4m", "none"], at)
}

/// Mounts what lies at `from` at `at` as well: the same file system, hence the same device.
pub fn bind(from: &Path, at: &Path) -> Option<Mounted> {
    mount(&["--bind", from.to_str().unwrap()], at)
}
