//! Files with holes: copied and compared by their data, in time that grows with the data and not
//! with the size.

use super::Interruption;
use super::extents::{Extents, Stretch, block_size, read_some_at};
use crate::cancel::Cancel;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What passes of a file with holes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These bytes.
    Data(&'a [u8]),
    /// So many zeros, which nobody read.
    Hole(u64),
}

/// The most of a hole that is shown at once: not so much that hashing it would take long, nor so little
/// that the largest holes make many pieces.
const HOLE_PIECE: u64 = 256 << 10;

/// What becomes of holes in the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// They stay holes.
    Keep,
    /// They are written as zeros.
    Fill,
}

impl Holes {
    /// They are kept, or written as zeros.
    pub fn kept_if(keep: bool) -> Self {
        if keep { Holes::Keep } else { Holes::Fill }
    }
}

/// How two files compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// They hold the same bytes.
    Same {
        /// The replica has data, zeros all of it, where a hole of the source could be a hole.
        holes_lost: bool,
    },
    /// They do not.
    Different,
}

/// Copies the `size` bytes of `from` to `to`, an empty file, showing all that passes to `each`;
/// returns how many bytes were there: if it is not `size`, the file has changed and the copy is torn.
/// `buffer` is the chunk.
pub fn copy(
    (from, to): (&File, &File),
    size: u64,
    holes: Holes,
    buffer: &mut [u8],
    cancel: &Cancel,
    mut each: impl FnMut(Piece<'_>),
) -> Result<u64, Interruption> {
    if holes == Holes::Keep {
        // First of all: what is then written lies within the file, so that no file system allocates
        // ahead into what is to be a hole.
        to.set_len(size).map_err(Interruption::Replica)?;
    }
    let mut extents = Extents::of(size);
    while let Some(Stretch { start, end, data }) = extents.next(from) {
        if !data && holes == Holes::Keep {
            pass_over(end - start, cancel, &mut each)?;
            continue;
        }
        let mut at = start;
        if !data {
            buffer.fill(0);
        }
        while at < end {
            stop_if(cancel)?;
            let room = part(buffer, end - at);
            let read =
                if data { read_some_at(from, room, at).map_err(Interruption::Source)? } else { room.len() };
            if read == 0 {
                return Ok(at);
            }
            to.write_all_at(&room[..read], at).map_err(Interruption::Replica)?;
            if data {
                each(Piece::Data(&room[..read]));
            }
            at += read as u64;
        }
        if !data {
            pass_over(end - start, cancel, &mut each)?;
        }
    }
    // A file that was cut short meanwhile shows as a hole at its end.
    length(from).map_err(Interruption::Source)
}

/// Shows all that a file of `size` bytes holds to `each`; returns how many bytes were there.
pub fn read(
    from: &File,
    size: u64,
    buffer: &mut [u8],
    cancel: &Cancel,
    mut each: impl FnMut(Piece<'_>),
) -> Result<u64, Interruption> {
    let mut extents = Extents::of(size);
    while let Some(Stretch { start, end, data }) = extents.next(from) {
        if !data {
            pass_over(end - start, cancel, &mut each)?;
            continue;
        }
        let mut at = start;
        while at < end {
            stop_if(cancel)?;
            let room = part(buffer, end - at);
            let read = read_some_at(from, room, at).map_err(Interruption::Source)?;
            if read == 0 {
                return Ok(at);
            }
            each(Piece::Data(&room[..read]));
            at += read as u64;
        }
    }
    length(from).map_err(Interruption::Source)
}

/// Compares two files of `size` bytes by their data; shows what the source holds to `each` until
/// they differ. The two buffers are of one size, the chunk.
pub fn compare(
    (source, replica): (&File, &File),
    size: u64,
    buffers: (&mut [u8], &mut [u8]),
    cancel: &Cancel,
    mut each: impl FnMut(Piece<'_>),
) -> Result<Likeness, Interruption> {
    let (ours, theirs) = buffers;
    let block = block_size(replica).map_err(Interruption::Replica)?;
    let (mut source_extents, mut replica_extents) = (Extents::of(size), Extents::of(size));
    let (mut here, mut there) = (NOTHING, NOTHING);
    let mut holes_lost = false;
    let mut at = 0;
    while at < size {
        if here.end <= at {
            here = source_extents.next(source).unwrap_or(NOTHING);
        }
        if there.end <= at {
            there = replica_extents.next(replica).unwrap_or(NOTHING);
        }
        let end = here.end.min(there.end);
        if !here.data {
            holes_lost |= there.data && could_be_hole(here, size, block, at..end);
        }
        while at < end && (here.data || there.data) {
            stop_if(cancel)?;
            let length = part(ours, end - at).len();
            let (ours, theirs) = (&mut ours[..length], &mut theirs[..length]);
            let same = take(source, here, at, ours).map_err(Interruption::Source)?
                && take(replica, there, at, theirs).map_err(Interruption::Replica)?
                && ours == theirs;
            if !same {
                return Ok(Likeness::Different);
            }
            each(if here.data { Piece::Data(ours) } else { Piece::Hole(length as u64) });
            at += length as u64;
        }
        if at < end {
            pass_over(end - at, cancel, &mut each)?;
            at = end;
        }
    }
    let lengths =
        (length(source).map_err(Interruption::Source)?, length(replica).map_err(Interruption::Replica)?);
    Ok(if lengths == (size, size) { Likeness::Same { holes_lost } } else { Likeness::Different })
}

const NOTHING: Stretch = Stretch { start: 0, end: 0, data: false };

/// Whether a whole block of the replica's file system lies within `hole` and touches `range`.
fn could_be_hole(hole: Stretch, size: u64, block: u64, range: std::ops::Range<u64>) -> bool {
    let first = hole.start.next_multiple_of(block);
    // A hole at the end takes the last block, however little of it the file has.
    let last = if hole.end == size { size } else { hole.end - hole.end % block };
    first.max(range.start) < last.min(range.end)
}

/// The bytes at `at`, zeros without a look where there is a hole; `false`: the file ends before.
fn take(file: &File, stretch: Stretch, at: u64, into: &mut [u8]) -> io::Result<bool> {
    if !stretch.data {
        into.fill(0);
        return Ok(true);
    }
    let mut filled = 0;
    while filled < into.len() {
        match read_some_at(file, &mut into[filled..], at + filled as u64)? {
            0 => return Ok(false),
            read => filled += read,
        }
    }
    Ok(true)
}

/// Shows a hole in pieces: whoever hashes so many zeros takes his time, and may be told to stop.
fn pass_over(length: u64, cancel: &Cancel, each: &mut impl FnMut(Piece<'_>)) -> Result<(), Interruption> {
    let mut left = length;
    while left > 0 {
        stop_if(cancel)?;
        let piece = left.min(HOLE_PIECE);
        each(Piece::Hole(piece));
        left -= piece;
    }
    Ok(())
}

/// How long a file is now.
fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// The start of `buffer`, no longer than `length`.
fn part(buffer: &mut [u8], length: u64) -> &mut [u8] {
    let end = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
    &mut buffer[..end]
}

fn stop_if(cancel: &Cancel) -> Result<(), Interruption> {
    if cancel.requested() { Err(Interruption::Cancelled) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::extents::HoleReader;
    use super::*;
    use proptest::prelude::*;

    /// The unit of the layouts: a page, so that a file system's holes are as they are asked for.
    const PAGE: usize = 4096;

    /// What a page of a file is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Page {
        Hole,
        Zeros,
        Data(u8),
    }

    /// Pages, and how many bytes of the last one the file lacks.
    type Layout = (Vec<Page>, usize);

    fn layout() -> impl Strategy<Value = Layout> {
        let page =
            prop_oneof![3 => Just(Page::Hole), 1 => Just(Page::Zeros), 2 => (1..3_u8).prop_map(Page::Data)];
        (prop::collection::vec(page, 1..10), prop_oneof![Just(0), 1..PAGE])
    }

    fn size((pages, short): &Layout) -> usize {
        pages.len() * PAGE - short
    }

    fn bytes(layout: &Layout) -> Vec<u8> {
        let byte = |page: &Page| if let Page::Data(byte) = page { *byte } else { 0 };
        let mut bytes: Vec<u8> = layout.0.iter().flat_map(|page| [byte(page); PAGE]).collect();
        bytes.truncate(size(layout));
        bytes
    }

    fn file(layout: &Layout) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size(layout) as u64).unwrap();
        for (number, _) in layout.0.iter().enumerate().filter(|entry| *entry.1 != Page::Hole) {
            let start = number * PAGE;
            let end = size(layout).min(start + PAGE);
            file.write_all_at(&bytes(layout)[start..end], start as u64).unwrap();
        }
        file
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn stretches(file: &File) -> Vec<Stretch> {
        let mut extents = Extents::of(file.metadata().unwrap().len());
        std::iter::from_fn(|| extents.next(file)).collect()
    }

    /// What an onlooker saw, as bytes.
    fn seen(into: &mut Vec<u8>, piece: Piece<'_>) {
        match piece {
            Piece::Data(bytes) => into.extend_from_slice(bytes),
            Piece::Hole(length) => into.resize(into.len() + usize::try_from(length).unwrap(), 0),
        }
    }

    /// Whether the temporary folder's file system has holes where they are made.
    fn holes_are_told() -> bool {
        let file = file(&(vec![Page::Hole, Page::Data(1)], 0));
        stretches(&file)[0] == Stretch { start: 0, end: PAGE as u64, data: false }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn a_copy_has_the_bytes_and_the_holes(layout in layout(), chunk in 1_usize..10_000, keep: bool) {
            let (from, to) = (file(&layout), tempfile::tempfile().unwrap());
            let holes = if keep { Holes::Keep } else { Holes::Fill };
            let mut passed = Vec::new();
            let mut buffer = vec![0; chunk];
            let whole = size(&layout) as u64;
            let copied = copy((&from, &to), whole, holes, &mut buffer, &Cancel::new(), |p| seen(&mut passed, p));
            prop_assert_eq!(copied.unwrap(), whole);
            prop_assert_eq!(content(&to), bytes(&layout));
            prop_assert_eq!(&passed, &bytes(&layout));
            let mut shown = Vec::new();
            let there = read(&to, whole, &mut buffer, &Cancel::new(), |p| seen(&mut shown, p));
            prop_assert_eq!(there.unwrap(), whole);
            prop_assert_eq!(shown, passed);
            if keep {
                prop_assert_eq!(stretches(&to), stretches(&from));
            } else {
                prop_assert!(stretches(&to).iter().all(|stretch| stretch.data));
            }
        }

        #[test]
        fn a_comparison_says_what_the_bytes_say(a in layout(), b in layout(), turn: bool, chunk in 1_usize..9_000) {
            // Half of the time: the same bytes in another layout.
            let refill = |page: &Page| match page {
                Page::Hole => Page::Zeros,
                Page::Zeros => Page::Hole,
                Page::Data(byte) => Page::Data(*byte),
            };
            let b = if turn { (a.0.iter().map(refill).collect(), a.1) } else { (b.0, a.1) };
            prop_assume!(size(&a) == size(&b));
            let (x, y) = (file(&a), file(&b));
            let mut passed = Vec::new();
            let (mut ours, mut theirs) = (vec![0; chunk], vec![0; chunk]);
            let buffers = (&mut ours[..], &mut theirs[..]);
            let got = compare((&x, &y), size(&a) as u64, buffers, &Cancel::new(), |p| seen(&mut passed, p)).unwrap();
            if bytes(&a) == bytes(&b) {
                let pairs = a.0.iter().zip(&b.0);
                let lost = pairs.into_iter().any(|(a, b)| *a == Page::Hole && *b != Page::Hole);
                let holes_lost = lost && holes_are_told();
                prop_assert_eq!(got, Likeness::Same { holes_lost });
                prop_assert_eq!(passed, bytes(&a));
            } else {
                prop_assert_eq!(got, Likeness::Different);
            }
        }

        #[test]
        fn the_stretches_cover_the_file_and_a_reader_sees_its_bytes(layout in layout(), chunk in 1_usize..9_000) {
            let file = file(&layout);
            let stretches = stretches(&file);
            prop_assert_eq!(stretches[0].start, 0);
            prop_assert_eq!(stretches[stretches.len() - 1].end, size(&layout) as u64);
            prop_assert!(stretches.windows(2).all(|pair| pair[0].end == pair[1].start));
            let (mut reader, mut all, mut buffer) = (HoleReader::of(size(&layout) as u64), Vec::new(), vec![7; chunk]);
            loop {
                let read = reader.fill(&file, &mut buffer).unwrap();
                all.extend_from_slice(&buffer[..read]);
                if read < chunk {
                    break;
                }
            }
            prop_assert_eq!(all, bytes(&layout));
        }
    }

    #[test]
    fn a_file_that_is_not_as_long_as_it_was_said_to_be_is_never_a_whole_copy() {
        let layout = (vec![Page::Hole, Page::Data(1), Page::Hole, Page::Data(2)], 0);
        let told = size(&layout) as u64;
        for actual in [told - 1, told - 2 * PAGE as u64, told + 1, told + PAGE as u64] {
            let (from, to) = (file(&layout), tempfile::tempfile().unwrap());
            from.set_len(actual).unwrap();
            let copied = copy((&from, &to), told, Holes::Keep, &mut [0; 999], &Cancel::new(), |_| {});
            assert_ne!(copied.unwrap(), told, "{actual} bytes");
        }
    }

    #[test]
    fn a_request_to_stop_ends_the_passing_of_a_hole() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 * HOLE_PIECE).unwrap();
        let (to, cancel) = (tempfile::tempfile().unwrap(), Cancel::new());
        let ended =
            copy((&file, &to), 8 * HOLE_PIECE, Holes::Keep, &mut [0; 9], &cancel, |_| cancel.request());
        assert!(matches!(ended, Err(Interruption::Cancelled)));
    }
}
