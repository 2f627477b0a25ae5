//! The names that one folder holds, packed: some bytes more than the names themselves.

use std::cmp::Ordering;
use std::ffi::CStr;
use std::io;

/// What a listing says that a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Folder,
    File,
    /// Anything else, or nothing.
    Other,
}

/// The names in a folder, each with what it is, sorted like paths once [`Names::sort`] was called.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// One name after the other: a byte that marks files, the name, a `/` after those of folders, then a NUL, as the
    /// kernel takes them.
    bytes: Vec<u8>,
    /// Where each begins in `bytes`, behind its mark.
    starts: Vec<u32>,
}

/// The marks of files and of all else.
const FILE: u8 = 1;
const NO_FILE: u8 = 0;

impl Names {
    /// Adds a name, which has no NUL and no `/` in it. Fails where all of them are more than 4 GiB.
    pub(super) fn push(&mut self, name: &[u8], told: Told) -> io::Result<()> {
        self.starts.push(self.next_start()?);
        self.bytes.push(if told == Told::File { FILE } else { NO_FILE });
        self.bytes.extend_from_slice(name);
        if told == Told::Folder {
            self.bytes.push(b'/');
        }
        self.bytes.push(0);
        Ok(())
    }

    /// Adds a name as that of no folder, with room for the `/` that it would have were it one.
    pub(super) fn push_unknown(&mut self, name: &[u8]) -> io::Result<()> {
        self.push(name, Told::Other)?;
        self.bytes.push(0);
        Ok(())
    }

    /// Sorts them, each by its name with `/` added for a folder. A name that the file system told twice
    /// (things were renamed while it was read) stays once.
    pub(super) fn sort(&mut self) {
        let bytes = self.bytes.as_slice();
        // The NUL sorts before whatever goes on there in a longer name.
        let order = |&a: &u32, &b: &u32| -> Ordering { bytes[a as usize..].cmp(&bytes[b as usize..]) };
        if !self.starts.is_sorted_by(|a, b| order(a, b).is_le()) {
            self.starts.sort_unstable_by(order);
        }
        self.starts.dedup_by(|a, b| until_nul(bytes, *a) == until_nul(bytes, *b));
    }

    /// The name with this number with its mark and its NUL.
    pub(super) fn packed(&self, number: usize) -> &[u8] {
        let key = self.key(number).to_bytes_with_nul();
        let mark = self.starts[number] as usize - 1;
        &self.bytes[mark..=mark + key.len()]
    }

    /// Adds a name as [`Names::packed`] has it, but for its NUL.
    pub(super) fn push_packed(&mut self, packed: &[u8]) -> io::Result<()> {
        self.starts.push(self.next_start()?);
        self.bytes.extend_from_slice(packed);
        self.bytes.push(0);
        Ok(())
    }

    fn next_start(&self) -> io::Result<u32> {
        u32::try_from(self.bytes.len() + 1)
            .map_err(|_| io::Error::other("the names in this folder take up more than 4 GiB"))
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The name with this number, a folder's with its `/`.
    pub(super) fn key(&self, number: usize) -> &CStr {
        until_nul(&self.bytes, self.starts[number])
    }

    /// Whether the name with this number is a folder's.
    pub(super) fn is_folder(&self, number: usize) -> bool {
        self.key(number).to_bytes().last() == Some(&b'/')
    }

    /// What the listing says that the name with this number is.
    pub(super) fn told(&self, number: usize) -> Told {
        if self.bytes[self.starts[number] as usize - 1] == FILE {
            Told::File
        } else if self.is_folder(number) {
            Told::Folder
        } else {
            Told::Other
        }
    }

    /// The name with this number alone.
    pub(super) fn name(&self, number: usize) -> &[u8] {
        let key = self.key(number).to_bytes();
        key.strip_suffix(b"/").unwrap_or(key)
    }
}

fn until_nul(bytes: &[u8], start: u32) -> &CStr {
    // Every name was put there with a NUL after it.
    CStr::from_bytes_until_nul(&bytes[start as usize..]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(names: &Names) -> Vec<Vec<u8>> {
        (0..names.len()).map(|number| names.key(number).to_bytes().to_vec()).collect()
    }

    proptest! {
        #[test]
        fn names_sort_as_paths_do_and_stay_what_they_were(
            given in prop::collection::vec(
                ("[ab.0\u{1}-]{1,4}", prop::sample::select(vec![Told::Folder, Told::File, Told::Other])),
                0..40,
            ),
        ) {
            let mut names = Names::default();
            for (name, told) in &given {
                names.push(name.as_bytes(), *told).unwrap();
            }
            let naive: std::collections::BTreeSet<Vec<u8>> = given
                .iter()
                .map(|(name, told)| format!("{name}{}", if *told == Told::Folder { "/" } else { "" }).into_bytes())
                .collect();
            names.sort();
            prop_assert_eq!(keys(&names), naive.into_iter().collect::<Vec<_>>());
            for number in 0..names.len() {
                prop_assert_eq!(names.is_folder(number), names.told(number) == Told::Folder);
                let name = String::from_utf8(names.name(number).to_vec()).unwrap();
                prop_assert!(given.contains(&(name, names.told(number))));
            }
        }
    }
}
