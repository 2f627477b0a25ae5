//! File systems as external disks have them, by way of FUSE.

use super::mounts::{Mounted, does};
use super::tree::mkdir;
use super::{is_root, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device, given back when the test is done with it.
#[derive(Debug)]
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        does("losetup", &["-d", &self.0]);
    }
}

/// A small external disk that can be unplugged and plugged in again.
#[derive(Debug)]
pub struct ExternalDisk {
    /// Where it is mounted.
    pub at: PathBuf,
    driver: &'static str,
    options: &'static [&'static str],
    // In the order in which they have to go.
    mounted: Option<Mounted>,
    device: Loop,
}

impl ExternalDisk {
    /// One with exFAT, which takes `A` and `a` for one name.
    pub fn exfat(folder: &Path) -> Option<Self> {
        Self::new(folder, "mkfs.exfat", &[], "mount.exfat-fuse", &[])
    }

    /// One with NTFS.
    pub fn ntfs(folder: &Path) -> Option<Self> {
        Self::new(folder, "mkntfs", &["-Q", "-F"], "ntfs-3g", &[])
    }

    /// One with NTFS that takes only names that Windows takes.
    pub fn ntfs_for_windows(folder: &Path) -> Option<Self> {
        Self::new(folder, "mkntfs", &["-Q", "-F"], "ntfs-3g", &["-o", "windows_names"])
    }

    fn new(
        folder: &Path,
        maker: &str,
        quietly: &[&str],
        driver: &'static str,
        options: &'static [&'static str],
    ) -> Option<Self> {
        let (image, at) = (folder.join("disk.img"), folder.join("disk"));
        fs::File::create(&image).unwrap().set_len(48 << 20).unwrap();
        let made = is_root() && does(maker, &[quietly, &[image.to_str().unwrap()]].concat());
        let device = Command::new("losetup").args(["-f", "--show"]).arg(&image).output().ok();
        let device = device.filter(|output| made && output.status.success());
        let Some(device) = device else {
            skip(&format!("a disk made by {maker} needs root, that program and a loop device"));
            return None;
        };
        let device = Loop(String::from_utf8_lossy(&device.stdout).trim().to_owned());
        mkdir(&at);
        let mut disk = Self { at, driver, options, mounted: None, device };
        disk.plug_in();
        if disk.mounted.is_none() {
            skip(&format!("{driver} is missing or cannot mount here"));
        }
        disk.mounted.is_some().then_some(disk)
    }

    /// Mounts it again.
    pub fn plug_in(&mut self) {
        let at = self.at.to_str().unwrap();
        if does(self.driver, &[self.options, &[self.device.0.as_str(), at]].concat()) {
            self.mounted = Some(Mounted(self.at.clone()));
        }
    }

    /// Unmounts it.
    pub fn unplug(&mut self) {
        let Some(mounted) = self.mounted.take() else { return };
        let at = mounted.0.to_str().unwrap().to_owned();
        super::program::wait_until("the disk can be unmounted", || does("umount", &[&at]));
        std::mem::forget(mounted);
        // The driver writes for another moment.
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}
