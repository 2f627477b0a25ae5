//! What is mounted where, as `/proc/self/mountinfo` tells it (proc(5)).

use rustix::fs::makedev;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The device of what lies on it.
    pub device: u64,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Mounted `nosuid`.
    pub nosuid: bool,
    /// Mounted `nodev`.
    pub nodev: bool,
    /// The file system's name.
    pub kind: String,
}

/// All that is mounted below `folder`, an absolute path without links; nothing where that cannot be read.
pub(super) fn below(folder: &Path) -> Vec<Mount> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let lines = text.split(|&b| b == b'\n').filter_map(parse);
    lines.filter(|mount| mount.point != folder && mount.point.starts_with(folder)).collect()
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let (major, minor) = std::str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
    let point = unescape(fields.nth(1)?);
    let has = |options: &[u8], wanted: &[u8]| options.split(|&b| b == b',').any(|option| option == wanted);
    let options = fields.next()?;
    // Optional fields end with a lone dash.
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount {
        device: makedev(major.parse().ok()?, minor.parse().ok()?),
        point: PathBuf::from(OsString::from_vec(point)),
        nosuid: has(options, b"nosuid"),
        nodev: has(options, b"nodev"),
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

/// Blanks, tabs, line breaks and backslashes are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let code = (byte == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        if code.is_some() {
            rest = &after[3..];
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_device_point_options_and_kind() {
        let line = b"36 35 8:17 /sub /mnt/a\\040b\\134c rw,nosuid,nodev,noatime shared:1 master:2 - ext4 /dev/sda rw,x";
        let mount = parse(line).unwrap();
        assert_eq!(mount.device, makedev(8, 17));
        assert_eq!(mount.point, Path::new("/mnt/a b\\c"));
        assert_eq!((mount.nosuid, mount.nodev, mount.kind.as_str()), (true, true, "ext4"));
        let plain = parse(b"36 35 0:5 / / rw - tmpfs none rw").unwrap();
        assert_eq!((plain.nosuid, plain.nodev, plain.kind.as_str()), (false, false, "tmpfs"));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 0:5 / / rw shared:1"), None);
    }

    #[test]
    fn proc_is_mounted_below_the_root() {
        assert!(below(Path::new("/")).iter().any(|m| m.point == Path::new("/proc") && m.kind == "proc"));
        assert!(below(Path::new("/proc/self")).is_empty());
    }
}
