//! Digests of many inputs that are in memory.

use super::block::{BLOCK, FIRST, State, Tail, digest_of};
use super::engine::{Engine, engine};
use super::lanes::{Job, advance};
use crate::model::digest::Digest;

/// How many padded ends are collected before they are hashed: enough for full
/// lanes though some take two blocks, few enough to stay in the first cache.
const ENDS: usize = 64;

/// The MD5 digests (RFC 1321) of complete inputs of any lengths, in the order
/// of the inputs.
///
/// One thread does all the work. It is fastest if no input is longer than a
/// sixteenth of all together, since one MD5 cannot be split: with lengths that
/// differ much, a call with hundreds of inputs beats several with dozens.
#[must_use]
pub fn digest_many(inputs: &[&[u8]]) -> Vec<Digest> {
    digest_many_with(engine(), inputs)
}

/// [`digest_many`] by the given engine, scalar if the processor lacks it.
pub(super) fn digest_many_with(engine: Engine, inputs: &[&[u8]]) -> Vec<Digest> {
    let mut digests = vec![Digest([0; 16]); inputs.len()];
    let jobs: Vec<_> = inputs.iter().map(|data| Job { state: FIRST, data }).collect();
    let mut ends = Vec::with_capacity(inputs.len().min(ENDS));
    advance(engine, &jobs, |number, state| {
        // Padded as soon as its lane ends, while the last bytes are in cache.
        ends.push(End::new(number, state, inputs[number]));
        if ends.len() == ENDS {
            finish(engine, &ends, &mut digests);
            ends.clear();
        }
    });
    finish(engine, &ends, &mut digests);
    digests
}

/// An input whose whole blocks are done.
struct End {
    number: usize,
    state: State,
    tail: Tail,
}

impl End {
    fn new(number: usize, state: State, input: &[u8]) -> End {
        let (_, rest) = input.as_chunks::<BLOCK>();
        End { number, state, tail: Tail::new(rest, input.len() as u64) }
    }
}

fn finish(engine: Engine, ends: &[End], digests: &mut [Digest]) {
    let jobs: Vec<_> = ends.iter().map(|end| Job { state: end.state, data: end.tail.blocks() }).collect();
    advance(engine, &jobs, |index, state| {
        digests[ends[index].number] = digest_of(state);
    });
}
