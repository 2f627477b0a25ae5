//! The names of a folder that holds very many: sorted runs of them in a file without a name, merged block by block
//! as a walk comes to them. So it takes no more memory than a folder of as many names as a run has.

use super::names::Names;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// So many names are in a run: a folder of fewer is sorted in memory.
pub(super) const RUN: usize = if cfg!(test) { 1_100 } else { 1 << 16 };

/// So many names are merged at a time.
const BLOCK: usize = if cfg!(test) { 128 } else { 1 << 14 };

/// Bytes of a run that are read at a time.
const BUFFER: usize = 16 << 10;

/// Runs that were put aside while a folder was listed.
#[derive(Debug, Default)]
pub(super) struct Runs {
    file: Option<Arc<File>>,
    end: u64,
    sorted: Vec<Run>,
}

#[derive(Debug)]
enum Run {
    InFile {
        from: u64,
        end: u64,
    },
    /// There was no file, or no room in it.
    InMemory(Names),
}

impl Runs {
    /// Whether nothing was put aside.
    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Puts names aside, and leaves none. They stay in memory where there is no temporary folder with room in it.
    pub(super) fn put_aside(&mut self, names: &mut Names) {
        names.sort();
        let run = match self.write(names) {
            Ok(run) => {
                names.clear();
                run
            }
            Err(_) => Run::InMemory(std::mem::take(names)),
        };
        self.sorted.push(run);
    }

    fn write(&mut self, names: &Names) -> io::Result<Run> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(tempfile::tempfile()?)),
        };
        let from = self.end;
        let mut end = from;
        let mut packed = Vec::with_capacity(BUFFER);
        for number in 0..names.len() {
            let one = names.packed(number);
            if packed.len() + one.len() > BUFFER {
                file.write_all_at(&packed, end)?;
                end += packed.len() as u64;
                packed.clear();
            }
            packed.extend_from_slice(one);
        }
        file.write_all_at(&packed, end)?;
        end += packed.len() as u64;
        self.end = end;
        Ok(Run::InFile { from, end })
    }

    /// All names that were put aside, in order.
    pub(super) fn merge(self) -> io::Result<Merge> {
        let mut heads = BinaryHeap::with_capacity(self.sorted.len());
        for run in self.sorted {
            let mut head = Head::of(run, self.file.as_ref());
            if head.advance()? {
                heads.push(head);
            }
        }
        Ok(Merge { heads, last: Vec::new() })
    }
}

/// Names of several runs, to be taken in order.
#[derive(Debug)]
pub(super) struct Merge {
    heads: BinaryHeap<Head>,
    /// The name that came last, with its mark. A file system may tell a name twice.
    last: Vec<u8>,
}

impl Merge {
    /// What is put aside is lost.
    #[cfg(test)]
    pub(super) fn lose_file(&self) {
        for head in &self.heads {
            if let Source::File { file, .. } = &head.run {
                file.set_len(0).unwrap();
            }
        }
    }

    /// The next name, a folder's with its `/`; `None`: there are no more.
    pub(super) fn next_key(&self) -> Option<&[u8]> {
        self.heads.peek().map(Head::key)
    }

    /// The next names, sorted, so many that they are worth their while; none at the end.
    pub(super) fn next_block(&mut self) -> io::Result<Names> {
        let mut names = Names::default();
        while let Some(mut head) = self.heads.peek_mut() {
            // At the end of a block as well: what comes next has another name.
            if self.last.get(1..) != Some(head.key()) {
                if names.len() == BLOCK {
                    break;
                }
                self.last.clear();
                self.last.extend_from_slice(head.current());
                names.push_packed(head.current())?;
            }
            if !head.advance()? {
                PeekMut::pop(head);
            }
        }
        Ok(names)
    }
}

/// A run with its present name.
#[derive(Debug)]
struct Head {
    run: Source,
    /// Names as they are packed; the present one begins at `at` and takes `length` bytes without its NUL.
    buffer: Vec<u8>,
    at: usize,
    length: usize,
}

#[derive(Debug)]
enum Source {
    File { file: Arc<File>, next: u64, end: u64 },
    Memory { names: Names, next: usize },
}

impl Head {
    /// Before the first name of `run`.
    fn of(run: Run, file: Option<&Arc<File>>) -> Self {
        let run = match (run, file) {
            (Run::InFile { from, end }, Some(file)) => {
                Source::File { file: Arc::clone(file), next: from, end }
            }
            // Without a file there is nothing in it.
            (Run::InFile { .. }, None) => Source::Memory { names: Names::default(), next: 0 },
            (Run::InMemory(names), _) => Source::Memory { names, next: 0 },
        };
        Self { run, buffer: Vec::new(), at: 0, length: 0 }
    }

    /// The present name, packed but for its NUL: its mark comes first.
    fn current(&self) -> &[u8] {
        &self.buffer[self.at..self.at + self.length]
    }

    fn key(&self) -> &[u8] {
        &self.current()[1..]
    }

    /// Goes on to the next name; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        match &mut self.run {
            Source::Memory { names, next } => {
                if *next == names.len() {
                    return Ok(false);
                }
                self.buffer.clear();
                self.buffer.extend_from_slice(names.packed(*next));
                *next += 1;
                self.length = self.buffer.len() - 1;
                Ok(true)
            }
            Source::File { file, next, end } => {
                // Behind the present name and its NUL; before the first there is none.
                self.at = (self.at + self.length + 1).min(self.buffer.len());
                loop {
                    // The mark may be a NUL itself.
                    let name = self.buffer.get(self.at + 1..).unwrap_or_default();
                    if let Some(length) = name.iter().position(|&byte| byte == 0) {
                        self.length = length + 1;
                        return Ok(true);
                    }
                    let wanted = (*end - *next).min(BUFFER as u64);
                    if wanted == 0 {
                        return Ok(false);
                    }
                    self.buffer.drain(..self.at);
                    self.at = 0;
                    let kept = self.buffer.len();
                    // At most a buffer's length.
                    self.buffer.resize(kept + usize::try_from(wanted).unwrap_or(BUFFER), 0);
                    file.read_exact_at(&mut self.buffer[kept..], *next)?;
                    *next += wanted;
                }
            }
        }
    }
}

impl Ord for Head {
    /// The greatest is the one whose name comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(self.key())
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

#[cfg(test)]
mod tests {
    use super::super::names::Told;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_of_all_runs_come_out_once_and_in_order(
            runs in prop::collection::vec(
                (prop::collection::vec(("[ab.\u{1}]{1,3}", any::<bool>()), 1..40), any::<bool>()),
                0..5,
            ),
        ) {
            let mut aside = Runs::default();
            let mut expected = std::collections::BTreeSet::new();
            for (run, in_memory) in &runs {
                let mut names = Names::default();
                for (name, is_folder) in run {
                    let told = if *is_folder { Told::Folder } else { Told::File };
                    names.push(name.as_bytes(), told).unwrap();
                    expected.insert(format!("{name}{}", if *is_folder { "/" } else { "" }).into_bytes());
                }
                if *in_memory {
                    names.sort();
                    aside.sorted.push(Run::InMemory(names));
                } else {
                    aside.put_aside(&mut names);
                    prop_assert_eq!(names.len(), 0);
                }
            }
            let mut merge = aside.merge().unwrap();
            let mut met = Vec::new();
            loop {
                let next = merge.next_key().map(<[u8]>::to_vec);
                let names = merge.next_block().unwrap();
                prop_assert_eq!(next, (names.len() > 0).then(|| names.key(0).to_bytes().to_vec()));
                if names.len() == 0 {
                    break;
                }
                for number in 0..names.len() {
                    let told = if names.is_folder(number) { Told::Folder } else { Told::File };
                    prop_assert_eq!(names.told(number), told);
                    met.push(names.key(number).to_bytes().to_vec());
                }
            }
            prop_assert_eq!(met, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn names_longer_than_what_is_read_at_a_time_and_many_blocks_come_back_whole() {
        let mut aside = Runs::default();
        let long = |number: usize| {
            format!("{number:06}{}", "n".repeat(if number.is_multiple_of(1000) { 40_000 } else { 3 }))
        };
        for run in 0..3 {
            let mut names = Names::default();
            for number in (run..60_000).step_by(3).rev() {
                names.push(long(number).as_bytes(), Told::File).unwrap();
            }
            aside.put_aside(&mut names);
        }
        let mut merge = aside.merge().unwrap();
        let mut met = 0;
        loop {
            let names = merge.next_block().unwrap();
            if names.len() == 0 {
                break;
            }
            assert!(names.len() <= BLOCK);
            for number in 0..names.len() {
                assert_eq!(names.name(number), long(met).as_bytes());
                met += 1;
            }
        }
        assert_eq!(met, 60_000);
    }
}
