//! MD5 of inputs that come in chunks.

use super::block::{BLOCK, FIRST, State, Tail, compress_alone, digest_of};
use super::engine::{Engine, engine};
use super::lanes::{Job, advance, advance_alone};
use crate::model::digest::Digest;

/// One running MD5 (RFC 1321), advanced alone by [`Stream::update`] or
/// together with others by [`update_many`].
#[derive(Clone)]
pub struct Stream {
    state: State,
    /// The bytes since the last whole block are the first `len % BLOCK`.
    partial: [u8; BLOCK],
    len: u64,
}

impl Default for Stream {
    fn default() -> Self {
        Stream { state: FIRST, partial: [0; BLOCK], len: 0 }
    }
}

impl Stream {
    /// An MD5 of nothing yet.
    #[must_use]
    pub fn new() -> Stream {
        Stream::default()
    }

    /// How many bytes it has been given.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has been given no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a chunk.
    pub fn update(&mut self, chunk: &[u8]) {
        self.update_with(engine(), chunk);
    }

    /// [`Stream::update`] by the given engine, scalar if the processor lacks it.
    pub(super) fn update_with(&mut self, engine: Engine, chunk: &[u8]) {
        let (filled, rest) = self.fill(chunk);
        if filled {
            advance_alone(engine, &mut self.state, &self.partial);
        }
        advance_alone(engine, &mut self.state, whole_blocks(rest));
        self.keep(rest);
    }

    /// The digest of all bytes given.
    #[must_use]
    pub fn finish(mut self) -> Digest {
        let tail = Tail::new(&self.partial[..self.held()], self.len);
        compress_alone(&mut self.state, tail.blocks());
        digest_of(self.state)
    }

    /// How many bytes wait for their block to become whole.
    fn held(&self) -> usize {
        // Less than a block, so it fits.
        // A remainder of a division by 64 fits any usize.
        usize::try_from(self.len % BLOCK as u64).unwrap_or(0)
    }

    /// Counts the chunk and moves the start of it to the bytes that wait, if
    /// any do. Says whether they are a whole block now, and what of the chunk
    /// is left; bytes wait afterwards only if nothing is.
    fn fill<'a>(&mut self, chunk: &'a [u8]) -> (bool, &'a [u8]) {
        let held = self.held();
        self.len = self.len.wrapping_add(chunk.len() as u64);
        if held == 0 {
            return (false, chunk);
        }
        let (start, rest) = chunk.split_at(chunk.len().min(BLOCK - held));
        self.partial[held..held + start.len()].copy_from_slice(start);
        (held + start.len() == BLOCK, rest)
    }

    /// Keeps what follows the last whole block of what [`Stream::fill`] left.
    fn keep(&mut self, rest: &[u8]) {
        let (_, end) = rest.as_chunks::<BLOCK>();
        self.partial[..end.len()].copy_from_slice(end);
    }
}

fn whole_blocks(data: &[u8]) -> &[u8] {
    data.as_chunks::<BLOCK>().0.as_flattened()
}

/// Appends to each stream its own chunk. The chunks may have any lengths;
/// their whole blocks are hashed side by side.
///
/// One thread does all the work; multiples of 16 streams with chunks of like
/// lengths use it best, and two are already faster than one after the other.
pub fn update_many(work: &mut [(&mut Stream, &[u8])]) {
    update_many_with(engine(), work);
}

/// [`update_many`] by the given engine, scalar if the processor lacks it.
pub(super) fn update_many_with(engine: Engine, work: &mut [(&mut Stream, &[u8])]) {
    let filled: Vec<bool> = work
        .iter_mut()
        .map(|(stream, chunk)| {
            let (filled, rest) = stream.fill(chunk);
            *chunk = rest;
            filled
        })
        .collect();
    if filled.contains(&true) {
        // The blocks that began in an earlier chunk, one per stream.
        advance_all(engine, work, |number, stream, _| if filled[number] { &stream.partial } else { &[] });
    }
    advance_all(engine, work, |_, _, rest| whole_blocks(rest));
    for (stream, rest) in work {
        stream.keep(rest);
    }
}

/// Advances every stream by the blocks that `data` picks for it.
fn advance_all(
    engine: Engine,
    work: &mut [(&mut Stream, &[u8])],
    data: impl for<'a> Fn(usize, &'a Stream, &'a [u8]) -> &'a [u8],
) {
    let jobs: Vec<_> = work
        .iter()
        .enumerate()
        .map(|(number, (stream, rest))| Job { state: stream.state, data: data(number, stream, rest) })
        .collect();
    let mut states: Vec<State> = jobs.iter().map(|job| job.state).collect();
    advance(engine, &jobs, |number, state| states[number] = state);
    for ((stream, _), state) in work.iter_mut().zip(states) {
        stream.state = state;
    }
}
