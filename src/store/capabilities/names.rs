//! Which names a file system takes.

use super::{Trial, is_refusal};
use crate::store::handle::os;
use rustix::fs::{AtFlags, statat, unlinkat};
use rustix::io::Errno;

/// Bytes that some file systems refuse in names.
const DOUBTFUL: &[u8] = b"\"*:<>?|\\\t\n\x01\x1f\x7f";

impl Trial<'_> {
    pub(super) fn try_names(&mut self) {
        let case = self.create(b"case").and_then(|_| Ok(!self.is_there(b"CASE")?));
        self.capabilities.case_sensitive = self.answer(case);
        if !self.capabilities.case_sensitive {
            let case = self
                .create("l\u{e4}nge".as_bytes())
                .and_then(|_| Ok(!self.is_there("L\u{c4}NGE".as_bytes())?));
            // A file system that takes no such name tells nothing.
            self.capabilities.unicode_case_sensitive = self.answer(case);
        }
        let refused = DOUBTFUL.iter().copied().filter(|&byte| {
            let name = [b"with ", &[byte][..], b" in it"].concat();
            let taken = self.takes(&name);
            !self.answer(taken)
        });
        let mut refused: Vec<u8> = refused.collect();
        // Where the first and the last control character are refused, so are those between them.
        if refused.contains(&1) && refused.contains(&0x1f) {
            refused.retain(|byte| *byte >= b' ');
            refused.extend(1..b' ');
        }
        self.capabilities.refused_bytes = refused;
        let trailing = [&b"dot."[..], b"blank "].map(|name| self.takes(name));
        self.capabilities.refuses_trailing = !trailing.into_iter().all(|taken| self.answer(taken));
        let bytes = self.takes(b"not utf-8 \xff\xfe");
        self.capabilities.only_utf8 = !self.answer(bytes);
        self.capabilities.longest_name = self.longest_name(self.capabilities.longest_name);
    }

    /// The most bytes that a name may have, `most` at most.
    fn longest_name(&mut self, most: usize) -> usize {
        let (mut takes, mut refuses) = (1, most + 1);
        let mut next = most;
        while takes + 1 < refuses {
            let taken = self.takes(&vec![b'n'; next]);
            if self.answer(taken) {
                takes = next;
            } else {
                refuses = next;
            }
            next = usize::midpoint(takes, refuses);
        }
        takes
    }

    fn is_there(&self, name: &[u8]) -> Result<bool, Errno> {
        match statat(&self.folder, os(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a file of this name, and looks whether it has it. Some file systems drop a last dot without a word.
    fn takes(&self, name: &[u8]) -> Result<bool, Errno> {
        let made = self.create(name);
        match made {
            Ok(file) => drop(file),
            // A name that cannot be is no file that could not be opened.
            Err(Errno::PROTO) => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut listed = rustix::fs::Dir::read_from(&self.folder)?;
        let is_listed = listed.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_bytes() == name));
        match unlinkat(&self.folder, os(name), AtFlags::empty()) {
            Ok(()) => Ok(is_listed),
            Err(error) if is_refusal(error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
