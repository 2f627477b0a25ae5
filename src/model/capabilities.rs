//! What the file system under a root can hold, as a probe found it out.

use super::escape::escaped;
use super::{Preserve, Timestamp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What a file system can hold. The default is all of it: what ext4, xfs and btrfs hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "independent answers of a probe")]
pub struct Capabilities {
    /// Permission bits stay as they are set.
    pub permissions: bool,
    /// Owner and group stay as they are set, for this user.
    pub owner: bool,
    /// Which times of last change it holds.
    pub times: Times,
    /// Symbolic links.
    pub symlinks: bool,
    /// A symbolic link has a time of last change of its own, which stays as it is set.
    pub link_times: bool,
    /// What a second name of an inode is.
    pub hard_links: HardLinks,
    /// `user.*` attributes.
    pub attributes: bool,
    /// POSIX ACLs.
    pub acls: bool,
    /// File capabilities (`security.capability`), for this user.
    pub file_capabilities: bool,
    /// Holes take no room.
    pub holes: bool,
    /// FIFOs, and so sockets and device nodes.
    pub specials: bool,
    /// `a` and `A` are two names.
    pub case_sensitive: bool,
    /// `ä` and `Ä` are two names, even where `a` and `A` are one.
    pub unicode_case_sensitive: bool,
    /// Bytes that a name may have.
    pub longest_name: usize,
    /// Bytes that no name may contain.
    pub refused_bytes: Vec<u8>,
    /// Names may not end with a dot or a blank.
    pub refuses_trailing: bool,
    /// Names must be UTF-8.
    pub only_utf8: bool,
    /// Bytes of the largest file; `None`: no limit that is known.
    pub largest_file: Option<u64>,
    /// A rename replaces a file that has the name already.
    pub renames_over: bool,
    /// Two names can be exchanged in one step.
    pub exchange: bool,
    /// An entry keeps its inode number: over renames, and as long as it is there.
    pub stable_inodes: bool,
    /// The permissions that all files have where they cannot be set.
    pub file_mode: Option<u32>,
    /// The permissions that all folders have where they cannot be set.
    pub folder_mode: Option<u32>,
}

/// What a second name of an inode is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardLinks {
    /// A name of the same inode.
    #[default]
    Shared,
    /// A name that looks like an inode of its own.
    OwnInode,
    /// Nothing: the call is refused.
    Refused,
}

/// Which times of last change a file system holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// A time that is set stays.
    pub settable: bool,
    /// It stays only if the time of last access is set with it.
    pub needs_access_time: bool,
    /// What a time is a multiple of, in nanoseconds; what is less is cut off.
    pub granularity_nanos: u64,
    /// The earliest, in seconds since 1970.
    pub earliest: i64,
    /// The latest, in seconds since 1970.
    pub latest: i64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            settable: true,
            needs_access_time: false,
            granularity_nanos: 1,
            earliest: i64::MIN,
            latest: i64::MAX,
        }
    }
}

/// What Linux file systems allow at most, in bytes.
const LONGEST_NAME: usize = 255;

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            permissions: true,
            owner: true,
            times: Times::default(),
            symlinks: true,
            link_times: true,
            hard_links: HardLinks::Shared,
            attributes: true,
            acls: true,
            file_capabilities: true,
            holes: true,
            specials: true,
            case_sensitive: true,
            unicode_case_sensitive: true,
            longest_name: LONGEST_NAME,
            refused_bytes: Vec::new(),
            refuses_trailing: false,
            only_utf8: false,
            largest_file: None,
            renames_over: true,
            exchange: true,
            stable_inodes: true,
            file_mode: None,
            folder_mode: None,
        }
    }
}

const SECOND: u64 = 1_000_000_000;

impl Times {
    /// The time that an entry has after `wanted` was set.
    pub fn cut(self, wanted: Timestamp) -> Timestamp {
        if wanted.seconds < self.earliest {
            return Timestamp::new(self.earliest, 0);
        }
        if wanted.seconds > self.latest {
            return Timestamp::new(self.latest, 0);
        }
        let granularity = i128::from(self.granularity_nanos.max(1));
        let nanos = i128::from(wanted.seconds) * i128::from(SECOND) + i128::from(wanted.nanos);
        let cut = nanos.div_euclid(granularity) * granularity;
        let seconds = cut.div_euclid(i128::from(SECOND));
        // Neither can be out of range: the seconds are at most those of `wanted`, give or take one step.
        Timestamp::new(
            i64::try_from(seconds).unwrap_or(wanted.seconds),
            u32::try_from(cut.rem_euclid(i128::from(SECOND))).unwrap_or(0),
        )
    }

    /// Returns true if every time is held as it is.
    pub fn are_exact(self) -> bool {
        Self { needs_access_time: false, ..self } == Self::default()
    }

    fn granularity(self) -> String {
        match self.granularity_nanos {
            nanos if nanos % SECOND == 0 => format!("{} s", nanos / SECOND),
            nanos if nanos % 1_000_000 == 0 => format!("{} ms", nanos / 1_000_000),
            nanos if nanos % 1000 == 0 => format!("{} µs", nanos / 1000),
            nanos => format!("{nanos} ns"),
        }
    }
}

impl Preserve {
    /// The switches that are on and that a file system of these capabilities can follow.
    ///
    /// Holes are not among what is left out: a file is written without touching them, wherever it is.
    #[must_use]
    pub fn within(self, held: &Capabilities) -> Self {
        Self {
            permissions: self.permissions && held.permissions,
            owner: self.owner && held.owner,
            times: self.times && held.times.settable,
            xattrs: self.xattrs && (held.attributes || held.acls || held.file_capabilities),
            hard_links: self.hard_links && held.hard_links == HardLinks::Shared && held.stable_inodes,
            sparse: self.sparse,
            specials: self.specials && held.specials,
            symlinks: self.symlinks && held.symlinks,
            attributes: self.attributes && held.attributes,
            acls: self.acls && held.acls,
            file_capabilities: self.file_capabilities && held.file_capabilities,
        }
    }
}

impl Capabilities {
    /// What is held and what is not, for people: "names, contents, times to 2 s; not: permissions, owners".
    /// Only what `wanted` asks for is mentioned.
    pub fn summary(&self, wanted: Preserve) -> String {
        let (mut held, mut lost) = (vec!["names".to_owned(), "contents".to_owned()], Vec::new());
        if wanted.times && self.times.settable {
            held.push(match self.times.granularity_nanos {
                0 | 1 => "times".to_owned(),
                _ => format!("times to {}", self.times.granularity()),
            });
        }
        let of_names = [
            (self.case_sensitive, "the case of names".to_owned()),
            (self.refused_bytes.is_empty(), format!("names with {}", printable(&self.refused_bytes))),
            (!self.refuses_trailing, "names that end with a dot or a blank".to_owned()),
            (!self.only_utf8, "names that are not UTF-8".to_owned()),
            (self.longest_name >= LONGEST_NAME, format!("names above {} bytes", self.longest_name)),
        ];
        lost.extend(of_names.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what));
        if let Some(bytes) = self.largest_file {
            lost.push(format!("files above {bytes} bytes"));
        }
        if wanted.times && !self.times.settable {
            lost.push("times".to_owned());
        }
        if wanted.times && self.times.settable && wanted.symlinks && self.symlinks && !self.link_times {
            lost.push("times of symlinks".to_owned());
        }
        let switches = [
            (wanted.permissions, self.permissions, "permissions"),
            (wanted.owner, self.owner, "owners"),
            (wanted.symlinks, self.symlinks, "symlinks"),
            (wanted.hard_links, self.hard_links == HardLinks::Shared, "hard links"),
            (wanted.attributes && wanted.xattrs, self.attributes, "extended attributes"),
            (wanted.acls && wanted.xattrs && wanted.permissions, self.acls, "ACLs"),
            (
                wanted.file_capabilities && wanted.xattrs && wanted.owner,
                self.file_capabilities,
                "file capabilities",
            ),
            (wanted.sparse, self.holes, "holes"),
            (wanted.specials, self.specials, "FIFOs, sockets and device nodes"),
        ];
        for (_, holds, what) in switches.into_iter().filter(|(wanted, ..)| *wanted) {
            if holds { &mut held } else { &mut lost }.push(what.to_owned());
        }
        let held = held.join(", ");
        if lost.is_empty() { held } else { format!("{held}; not: {}", lost.join(", ")) }
    }

    /// Returns true if nothing that `wanted` asks for is lost or cut (times of centuries away aside).
    pub fn holds_all(&self, wanted: Preserve) -> bool {
        !self.summary(wanted).contains("not: ")
            && wanted.within(self) == wanted
            && (!wanted.times || self.times.granularity_nanos <= 1)
    }

    /// Returns true if a file can have so many bytes.
    pub fn holds_size(&self, bytes: u64) -> bool {
        self.largest_file.is_none_or(|most| bytes <= most)
    }

    /// Returns what a name has in common with all names that the file system takes for the same one: its own bytes
    /// where it tells all of them apart.
    ///
    /// Letters are folded one by one, and only where the lower-case letter is the capital's own: `ß` and `ss`, or `s`
    /// and `ſ`, stay two names. Where a file system folds more than that, two names of the source may meet in one
    /// file unseen by the planner; the executor then finds the name taken and deletes nothing beside it.
    pub fn name_key<'n>(&self, name: &'n [u8]) -> Cow<'n, [u8]> {
        if self.case_sensitive {
            return Cow::Borrowed(name);
        }
        match std::str::from_utf8(name) {
            Ok(text) if !self.unicode_case_sensitive && !text.is_ascii() => {
                Cow::Owned(text.chars().map(capital).collect::<String>().into_bytes())
            }
            _ => Cow::Owned(name.to_ascii_uppercase()),
        }
    }

    /// Returns why no entry can have this name, if the file system refuses it.
    pub fn refuses_name(&self, name: &[u8]) -> Option<String> {
        if name.len() > self.longest_name {
            return Some(format!(
                "its name has {} bytes, the replica takes {}",
                name.len(),
                self.longest_name
            ));
        }
        if let Some(byte) = name.iter().find(|byte| self.refused_bytes.contains(byte)) {
            return Some(format!("the replica takes no names with {}", printable(&[*byte])));
        }
        if self.refuses_trailing && name.last().is_some_and(|last| b". ".contains(last)) {
            return Some("the replica takes no names that end with a dot or a blank".to_owned());
        }
        if self.only_utf8 && std::str::from_utf8(name).is_err() {
            return Some("the replica takes only names that are UTF-8".to_owned());
        }
        None
    }
}

/// Returns the capital of a letter, if it has one of its own.
fn capital(letter: char) -> char {
    let (mut upper, mut rest) = (letter.to_uppercase(), letter.to_uppercase().skip(1));
    let (Some(capital), None) = (upper.next(), rest.next()) else { return letter };
    if capital.to_lowercase().eq(std::iter::once(letter)) { capital } else { letter }
}

fn printable(bytes: &[u8]) -> String {
    let each: Vec<String> = bytes.iter().map(|byte| escaped(&[*byte])).collect();
    each.join(" ")
}

#[cfg(test)]
#[path = "capabilities_tests.rs"]
mod tests;
