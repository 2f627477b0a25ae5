//! What RFC 1321 has besides the steps: the first state, padding, the digest.

use md5::block_api::compress;

use crate::model::digest::Digest;

/// Bytes in a block.
pub(super) const BLOCK: usize = 64;

/// The four state words A, B, C, D.
pub(super) type State = [u32; 4];

/// The state before the first block (RFC 1321, section 3.3).
pub(super) const FIRST: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Bytes at the end of the last block that hold the length.
const LENGTH: usize = 8;

/// Advances one state by all whole blocks of `data` in scalar code.
pub(super) fn compress_alone(state: &mut State, data: &[u8]) {
    compress(state, data.as_chunks::<BLOCK>().0);
}

/// The digest that a final state is (RFC 1321, section 3.5).
pub(super) fn digest_of(state: State) -> Digest {
    let mut digest = [0; 16];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_le_bytes();
    }
    Digest(digest)
}

/// The last block or two of an input: what was left of it, and the padding.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    bytes: [u8; 2 * BLOCK],
    len: usize,
}

impl Tail {
    /// Pads `rest`, what follows the last whole block of an input of `total`
    /// bytes (RFC 1321, sections 3.1 and 3.2: the length counts bits, and
    /// modulo 2^64).
    ///
    /// # Panics
    ///
    /// If `rest` is a whole block or more.
    pub(super) fn new(rest: &[u8], total: u64) -> Tail {
        assert!(rest.len() < BLOCK, "a whole block is not a tail");
        let mut bytes = [0; 2 * BLOCK];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        let len = if rest.len() + 1 + LENGTH <= BLOCK { BLOCK } else { 2 * BLOCK };
        bytes[len - LENGTH..len].copy_from_slice(&total.wrapping_mul(8).to_le_bytes());
        Tail { bytes, len }
    }

    /// The padded bytes, one block or two.
    pub(super) fn blocks(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
