//! Stands in for `kernel` on processors it has no code for.

use super::slots::{SLOTS, Shape, Slots};

/// There is no value of this type here.
#[derive(Clone, Copy)]
pub(super) enum Kernel {}

impl Kernel {
    /// No kernel has its instructions here.
    pub(super) fn new(_shape: Shape) -> Option<Kernel> {
        None
    }

    /// How many slots [`Kernel::run`] advances.
    pub(super) fn width(self) -> usize {
        match self {}
    }

    /// Advances the slots by `blocks` blocks.
    pub(super) fn run(self, _slots: &mut Slots, _rows: &[&[u8]; SLOTS], _blocks: usize) {
        match self {}
    }
}
