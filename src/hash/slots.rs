//! What lanes and kernels share: the running states and the shapes of kernels.

use super::block::State;

/// Slots for running states: what the widest kernel advances at once.
pub const SLOTS: usize = 16;

/// The four state words of every slot, word by word, so that one load brings
/// the same word of neighbouring slots.
#[repr(align(64))]
pub(super) struct Slots(pub(super) [[u32; SLOTS]; 4]);

impl Slots {
    pub(super) fn new() -> Slots {
        Slots([[0; SLOTS]; 4])
    }

    pub(super) fn put(&mut self, slot: usize, state: State) {
        for (words, word) in self.0.iter_mut().zip(state) {
            words[slot] = word;
        }
    }

    pub(super) fn take(&self, slot: usize) -> State {
        self.0.each_ref().map(|words| words[slot])
    }
}

/// Which registers a kernel uses, and how.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// One register of 16 lanes; AVX-512F.
    Ternary16,
    /// One register of 8 lanes; AVX-512VL.
    Ternary8,
    /// Two registers of 8 lanes; AVX2.
    Pair16,
    /// One register of 8 lanes; AVX2.
    Single8,
}
