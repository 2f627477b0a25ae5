//! File systems of one's own, on loop devices and in memory.

pub use super::mounts::{Mounted, does, mount};

use super::{is_root, skip};
use std::fs;
use std::path::{Path, PathBuf};

/// Makes a file system of this kind in a sparse file of so many MiB; `false`, said loudly, where that
/// cannot be done.
pub fn make_image(image: &Path, kind: &str, mib: u64, options: &[&str]) -> bool {
    fs::File::create(image).unwrap().set_len(mib << 20).unwrap();
    let quietly: &[&str] = if kind == "ext4" { &["-q", "-F"] } else { &["-q", "-f"] };
    let tool = format!("mkfs.{kind}");
    let made = does(&tool, &[quietly, options, &[image.to_str().unwrap()]].concat());
    if !made {
        skip(&format!("{tool} is missing or refuses"));
    }
    made
}

/// A disk that loses its power: what was not made durable is gone when it is mounted again.
pub struct Disk {
    image: PathBuf,
    pub at: PathBuf,
    mounted: Option<Mounted>,
}

impl Disk {
    /// A fresh one of this kind, mounted; `None`, said loudly, where that cannot be.
    pub fn new(folder: &Path, kind: &str) -> Option<Self> {
        if !does("xfs_io", &["-V"]) {
            skip("there is no xfs_io to cut the power with");
            return None;
        }
        let (image, at) = (folder.join(format!("{kind}.img")), folder.join(kind));
        // xfs takes no smaller one.
        if !is_root() || !make_image(&image, kind, 320, &[]) {
            skip("disks of one's own need root");
            return None;
        }
        let mounted = mount(&["-o", "loop", image.to_str().unwrap()], &at)?;
        Some(Self { image, at, mounted: Some(mounted) })
    }

    /// Cuts the power: nothing is written any more, what is not on disk is lost. With `flush_log` the
    /// log is written first, and what only lies in memory is lost without it.
    pub fn cut(&self, flush_log: bool) {
        let how = if flush_log { "shutdown -f" } else { "shutdown" };
        assert!(does("xfs_io", &["-x", "-c", how, self.at.to_str().unwrap()]), "cannot cut the power");
    }

    /// Switches it on again.
    pub fn restart(&mut self) {
        let mounted = self.mounted.take().unwrap();
        let at = mounted.0.to_str().unwrap().to_owned();
        // Who was just killed may hold it for another instant.
        super::program::wait_until("the disk can be unmounted", || does("umount", &[&at]));
        std::mem::forget(mounted);
        self.mounted = mount(&["-o", "loop", self.image.to_str().unwrap()], &self.at);
        assert!(self.mounted.is_some(), "the disk does not come up again");
    }
}
