//! What is mounted where, as `/proc/self/mountinfo` tells (proc(5)).
//!
//! A root is known by the mount it lies on. Mounts are told apart by their id, which the kernel
//! keeps for as long as somebody has a handle on them; over reboots only mount point and type stay.

use rustix::fs::{AtFlags, StatxFlags, makedev, statx};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number for it.
    pub id: u64,
    /// Major and minor number of the file system, as `major:minor`.
    pub device: String,
    /// Which folder of that file system is mounted: `/`, but for a bind mount.
    pub root: Vec<u8>,
    /// Where it is mounted, seen from this process's root.
    pub point: Vec<u8>,
    /// The type of the file system, with its subtype (`fuse.sshfs`).
    pub filesystem: String,
    /// Folders that it shows, as far as the table names them by whole paths: an overlay's layers, what bindfs and
    /// the like have as their source.
    pub layers: Vec<Vec<u8>>,
    /// Mounted so that set-id bits mean nothing there.
    pub nosuid: bool,
    /// Mounted so that device nodes mean nothing there.
    pub nodev: bool,
    /// All options, of the mount and of the file system.
    pub options: Vec<u8>,
}

impl Mount {
    /// The device as a stat has it.
    pub fn device_number(&self) -> Option<u64> {
        let (major, minor) = self.device.split_once(':')?;
        Some(makedev(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// All mounts that this process can see.
pub fn table() -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// All that is mounted below `folder`, an absolute path without links; nothing where that cannot be told.
pub fn below(folder: &Path) -> Vec<Mount> {
    let mut mounts = table().unwrap_or_default();
    mounts.retain(|mount| {
        let point = Path::new(OsStr::from_bytes(&mount.point));
        point != folder && point.starts_with(folder)
    });
    mounts
}

/// The id of the mount that an open file or folder lies on; `None` where the system does not tell.
pub fn id_of(handle: BorrowedFd<'_>) -> Option<u64> {
    let asked = StatxFlags::MNT_ID;
    if let Ok(found) = statx(handle, "", AtFlags::EMPTY_PATH, asked)
        && StatxFlags::from_bits_retain(found.stx_mask).contains(asked)
    {
        return Some(found.stx_mnt_id);
    }
    // Kernels before 5.8 and some sandboxes.
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_fd().as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// Reads the table's text. Lines that are not as proc(5) has them are left out.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&b| b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ').filter(|field| !field.is_empty());
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let _parent = fields.next()?;
    let device = String::from_utf8_lossy(fields.next()?).into_owned();
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let options = fields.next()?;
    let has = |wanted: &[u8]| options.split(|&b| b == b',').any(|option| option == wanted);
    let (nosuid, nodev) = (has(b"nosuid"), has(b"nodev"));
    // Any number of optional fields, up to a lone dash.
    fields.find(|field| *field == b"-")?;
    let filesystem = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let origin = fields.next().map(unescape).unwrap_or_default();
    let of_filesystem = fields.next().unwrap_or_default();
    let mut layers = Vec::new();
    if filesystem == "overlay" {
        layers = overlay_layers(of_filesystem);
    } else if filesystem.starts_with("fuse") && filesystem != "fuseblk" {
        layers.push(origin);
    }
    layers.retain(|layer| layer.starts_with(b"/"));
    let options = [options, of_filesystem].join(&b' ');
    Some(Mount { id, device, root, point, filesystem, layers, nosuid, nodev, options })
}

/// The folders in an overlay's options. In a list a colon that is part of a name has a backslash before it.
fn overlay_layers(options: &[u8]) -> Vec<Vec<u8>> {
    let mut layers = Vec::new();
    for option in options.split(|&b| b == b',') {
        let Some(at) = option.iter().position(|&b| b == b'=') else { continue };
        let (name, value) = (&option[..at], unescape(&option[at + 1..]));
        match name {
            b"upperdir" | b"workdir" | b"lowerdir+" | b"datadir+" => layers.push(value),
            b"lowerdir" => {
                let mut layer = Vec::new();
                let mut bytes = value.into_iter();
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => layer.extend(bytes.next()),
                        b':' => layers.push(std::mem::take(&mut layer)),
                        byte => layer.push(byte),
                    }
                }
                layers.push(layer);
            }
            _ => {}
        }
    }
    layers
}

/// Decodes the kernel's `\040` for a blank and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|d| first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        match octal {
            Some(digits) if digits[0] <= b'3' => {
                plain.push(digits.iter().fold(0, |value, digit| value << 3 | (digit - b'0')));
                rest = &after[3..];
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_manual_has_them() {
        let mount = |id, device: &str, root: &str, point: &str, filesystem: &str| Mount {
            id,
            device: device.to_owned(),
            root: root.into(),
            point: point.into(),
            filesystem: filesystem.to_owned(),
            layers: Vec::new(),
            nosuid: false,
            nodev: false,
            options: Vec::new(),
        };
        let table = [
            (
                "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue",
                Some(mount(36, "98:0", "/mnt1", "/mnt2", "ext3")),
            ),
            ("22 1 0:21 / / rw - tmpfs none rw", Some(mount(22, "0:21", "/", "/", "tmpfs"))),
            (
                "7 1 8:1 / /a\\040b\\011c\\012d\\134e\\043f rw shared:2 master:3 unbindable - fuse.sshfs u@h:/ rw",
                Some(mount(7, "8:1", "/", "/a b\tc\nd\\e#f", "fuse.sshfs")),
            ),
            (
                "23 1 8:17 / /m rw,nosuid,nodev,noatime - ext4 /dev/sdb1 rw",
                Some(Mount { nosuid: true, nodev: true, ..mount(23, "8:17", "/", "/m", "ext4") }),
            ),
            (
                "5 1 0:50 / /o rw - overlay overlay rw,lowerdir=/a\\134:b:/c\\040d,upperdir=/u\\054v,workdir=w,index=off",
                Some(Mount {
                    layers: ["/a:b", "/c d", "/u,v"].map(|layer| layer.as_bytes().to_vec()).to_vec(),
                    ..mount(5, "0:50", "/", "/o", "overlay")
                }),
            ),
            (
                "6 1 0:51 / /b rw - fuse.bindfs /from rw",
                Some(Mount { layers: vec![b"/from".to_vec()], ..mount(6, "0:51", "/", "/b", "fuse.bindfs") }),
            ),
            // An empty source field leaves two blanks.
            ("8 1 0:30 / /x rw - tmpfs  rw", Some(mount(8, "0:30", "/", "/x", "tmpfs"))),
            // No escape: too short, no octal, beyond a byte.
            ("9 1 0:3 / /a\\04 rw - x y z", Some(mount(9, "0:3", "/", "/a\\04", "x"))),
            ("9 1 0:3 / /\\948\\777 rw - x y z", Some(mount(9, "0:3", "/", "/\\948\\777", "x"))),
            ("", None),
            ("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1", None),
            ("36 35 98:0 /mnt1 /mnt2 rw -", None),
            ("x 35 98:0 / / rw - ext4 a b", None),
        ];
        for (line, expected) in table {
            let found = parse_line(line.as_bytes()).map(|mount| Mount { options: Vec::new(), ..mount });
            assert_eq!(found, expected, "{line}");
        }
        assert_eq!(parse(b"22 1 0:21 / / rw - tmpfs none rw\ngarbage\n").len(), 1);
    }

    #[test]
    fn proc_is_mounted_below_the_root() {
        let is_proc = |m: &Mount| m.point == b"/proc" && m.filesystem == "proc";
        assert!(below(Path::new("/")).iter().any(is_proc));
        assert!(below(Path::new("/proc/self")).is_empty());
        let mounts = parse(b"1 0 8:17 / /m rw,noatime - ext4 x rw,acl");
        assert_eq!(mounts[0].device_number(), Some(makedev(8, 17)));
        assert_eq!(mounts[0].options, b"rw,noatime rw,acl");
    }

    #[test]
    fn names_of_any_bytes_come_back() {
        assert_eq!(parse_line(b"1 0 0:1 / /\xff\xfe rw - a b c").unwrap().point, b"/\xff\xfe");
    }

    #[test]
    fn the_mount_of_a_handle_is_in_the_table() {
        let (Ok(table), Ok(root)) = (table(), fs::File::open("/proc")) else { return };
        let id = id_of(root.as_fd());
        let mount = table.iter().find(|mount| Some(mount.id) == id).unwrap();
        assert_eq!((mount.point.as_slice(), mount.filesystem.as_str()), (&b"/proc"[..], "proc"));
    }
}
