//! The block function in vector registers: one MD5 per 32-bit element.
//!
//! This is the only file of the module with `unsafe` in it. What it offers is
//! safe: a [`Kernel`] can only be had from [`Kernel::new`], which asks
//! the processor first, and [`Kernel::run`] checks every length it relies on.

// The names of the intrinsics are prefixed; listing forty of them helps nobody.
#![allow(clippy::wildcard_imports)]

use std::arch::x86_64::*;

use super::rounds::md5_steps;
use super::slots::{SLOTS, Shape, Slots};

/// The auxiliary functions of RFC 1321 as truth tables, the form `vpternlogd`
/// wants: bit `4b + 2c + d` is the value of the function.
mod table {
    pub(super) const F: i32 = 0xca;
    pub(super) const G: i32 = 0xe4;
    pub(super) const H: i32 = 0x96;
    pub(super) const I: i32 = 0x39;
}

/// Transposes four registers as 4x4 matrices of words, one per 128-bit part.
macro_rules! transpose4 {
    ($v:expr, $lo32:ident, $hi32:ident, $lo64:ident, $hi64:ident) => {{
        let [p, q, r, s] = $v;
        let (a, b) = ($lo32(p, q), $hi32(p, q));
        let (c, d) = ($lo32(r, s), $hi32(r, s));
        [$lo64(a, c), $hi64(a, c), $lo64(b, d), $hi64(b, d)]
    }};
}

/// Sixteen lanes in a 512-bit register.
mod zmm {
    pub(super) use std::arch::x86_64::{
        __m512i as Vector, _mm512_add_epi32 as add, _mm512_loadu_si512 as load, _mm512_rol_epi32 as rol,
        _mm512_set1_epi32 as splat, _mm512_storeu_si512 as store, _mm512_ternarylogic_epi32 as logic,
    };

    use super::*;

    pub(super) const WIDTH: usize = 16;

    /// The 16 words of one block of every row, a register for each.
    ///
    /// Rows meet in one register as they are loaded, which saves a quarter
    /// of the shuffles: row `n` with row `n + 4`, so that the lanes come out in order.
    ///
    /// # Safety
    ///
    /// Every row has 64 readable bytes from `at` on.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn words(rows: &[*const u8; WIDTH], at: usize, out: &mut [Vector; 16]) {
        // Macros, as closures with intrinsics in them are not always inlined.
        macro_rules! pair {
            ($low:expr, $half:expr) => {{
                let at = at + 32 * $half;
                // SAFETY: the caller vouches for 64 readable bytes at `at` of
                // every row; these are 32 of them.
                let (low_row, high_row) = unsafe {
                    (
                        _mm256_loadu_si256(rows[$low].add(at).cast()),
                        _mm256_loadu_si256(rows[$low + 4].add(at).cast()),
                    )
                };
                _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low_row), high_row)
            }};
        }
        macro_rules! eight_rows {
            ($n:expr, $half:expr) => {
                transpose4!(
                    [pair!($n, $half), pair!($n + 1, $half), pair!($n + 2, $half), pair!($n + 3, $half)],
                    _mm512_unpacklo_epi32,
                    _mm512_unpackhi_epi32,
                    _mm512_unpacklo_epi64,
                    _mm512_unpackhi_epi64
                )
            };
        }
        for half in 0..2 {
            let near = eight_rows!(0, half);
            let far = eight_rows!(8, half);
            for j in 0..4 {
                out[8 * half + j] = _mm512_shuffle_i32x4::<0b10_00_10_00>(near[j], far[j]);
                out[8 * half + 4 + j] = _mm512_shuffle_i32x4::<0b11_01_11_01>(near[j], far[j]);
            }
        }
    }
}

/// Eight lanes in a 256-bit register, with the instructions of AVX2 only.
mod ymm {
    pub(super) use std::arch::x86_64::{
        __m256i as Vector, _mm256_add_epi32 as add, _mm256_loadu_si256 as load, _mm256_set1_epi32 as splat,
        _mm256_storeu_si256 as store,
    };

    use super::*;

    pub(super) const WIDTH: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn rol<const BITS: i32>(x: Vector) -> Vector {
        let left = _mm256_sll_epi32(x, _mm_cvtsi32_si128(BITS));
        let right = _mm256_srl_epi32(x, _mm_cvtsi32_si128(32 - BITS));
        _mm256_or_si256(left, right)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn logic<const TABLE: i32>(b: Vector, c: Vector, d: Vector) -> Vector {
        match TABLE {
            table::F => _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d))),
            table::G => _mm256_or_si256(_mm256_and_si256(d, b), _mm256_andnot_si256(d, c)),
            table::H => _mm256_xor_si256(b, _mm256_xor_si256(c, d)),
            _ => _mm256_xor_si256(c, _mm256_or_si256(b, _mm256_xor_si256(d, splat(-1)))),
        }
    }

    /// The 16 words of one block of every row, a register for each.
    ///
    /// # Safety
    ///
    /// Every row has 64 readable bytes from `at` on.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn words(rows: &[*const u8; WIDTH], at: usize, out: &mut [Vector; 16]) {
        macro_rules! pair {
            ($low:expr, $quarter:expr) => {{
                let at = at + 16 * $quarter;
                // SAFETY: the caller vouches for 64 readable bytes at `at` of
                // every row; these are 16 of them.
                let (low_row, high_row) = unsafe {
                    (
                        _mm_loadu_si128(rows[$low].add(at).cast()),
                        _mm_loadu_si128(rows[$low + 4].add(at).cast()),
                    )
                };
                _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low_row), high_row)
            }};
        }
        for quarter in 0..4 {
            let four = transpose4!(
                [pair!(0, quarter), pair!(1, quarter), pair!(2, quarter), pair!(3, quarter)],
                _mm256_unpacklo_epi32,
                _mm256_unpackhi_epi32,
                _mm256_unpacklo_epi64,
                _mm256_unpackhi_epi64
            );
            out[4 * quarter..4 * quarter + 4].copy_from_slice(&four);
        }
    }
}

/// Eight lanes in a 256-bit register, with the instructions of AVX-512VL.
mod ymm_ternary {
    pub(super) use std::arch::x86_64::{_mm256_rol_epi32 as rol, _mm256_ternarylogic_epi32 as logic};

    pub(super) use super::ymm::{WIDTH, add, load, splat, store, words};
}

/// The first sum of the first step.
macro_rules! first {
    (($isa:ident, $reg:ident, $w:ident, $sum:ident), $a:ident, $word:literal, $constant:literal) => {
        for n in 0..GROUPS {
            let constant = $isa::splat($constant.cast_signed());
            $sum[n] = $isa::add($isa::add($a[n], $w[n][$word]), constant);
        }
    };
}

/// One step in every group, after the first sum of the next one: that does not
/// wait for this step, and `d` is free afterwards for the logic to overwrite.
macro_rules! step {
    (($isa:ident, $reg:ident, $w:ident, $sum:ident), $f:ident,
     $a:ident, $b:ident, $c:ident, $d:ident, $bits:literal, $word:literal, $constant:literal) => {
        for n in 0..GROUPS {
            let constant = $isa::splat($constant.cast_signed());
            let mut next = $isa::add($isa::add($d[n], $w[n][$word]), constant);
            let mut d = $d[n];
            // Without this the compiler moves the constant to the end of the
            // sum, where it makes the chain from step to step a fifth longer,
            // and copies `d` since it sees it used again.
            // SAFETY: no instruction at all; both values stay what they are.
            unsafe {
                std::arch::asm!(
                    "/* {next} {d} */",
                    next = inout($reg) next,
                    d = inout($reg) d,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            let sum = $isa::add($sum[n], $isa::logic::<{ table::$f }>($b[n], $c[n], d));
            $a[n] = $isa::add($b[n], $isa::rol::<$bits>(sum));
            $sum[n] = next;
        }
    };
}

/// The last step in every group.
macro_rules! last {
    (($isa:ident, $reg:ident, $w:ident, $sum:ident), $f:ident,
     $a:ident, $b:ident, $c:ident, $d:ident, $bits:literal) => {
        for n in 0..GROUPS {
            let sum = $isa::add($sum[n], $isa::logic::<{ table::$f }>($b[n], $c[n], $d[n]));
            $a[n] = $isa::add($b[n], $isa::rol::<$bits>(sum));
        }
    };
}

/// Defines a kernel: `GROUPS` registers of lanes side by side.
///
/// Steps depend on each other, so one register of 8 lanes leaves execution
/// ports idle; a second one, independent of the first, fills them. A register
/// of 16 lanes leaves next to nothing idle.
macro_rules! kernel {
    ($name:ident, $feature:literal, $isa:ident, $reg:ident) => {
        /// # Safety
        ///
        /// The processor has the feature, and each of the first
        /// `GROUPS * WIDTH` pointers has `64 * blocks` readable bytes behind it.
        #[target_feature(enable = $feature)]
        unsafe fn $name<const GROUPS: usize>(slots: &mut Slots, rows: &[*const u8; SLOTS], blocks: usize) {
            let (rows, _) = rows.as_chunks::<{ $isa::WIDTH }>();
            let mut state = [[$isa::splat(0); GROUPS]; 4];
            for (vectors, words) in state.iter_mut().zip(&slots.0) {
                for (vector, part) in vectors.iter_mut().zip(words.chunks_exact($isa::WIDTH)) {
                    // SAFETY: `part` is as long as a register.
                    *vector = unsafe { $isa::load(part.as_ptr().cast()) };
                }
            }
            for block in 0..blocks {
                let mut w = [[$isa::splat(0); 16]; GROUPS];
                for n in 0..GROUPS {
                    // SAFETY: the caller vouches for the rows.
                    unsafe { $isa::words(&rows[n], 64 * block, &mut w[n]) };
                }
                let [mut a, mut b, mut c, mut d] = state;
                let mut sum = [$isa::splat(0); GROUPS];
                md5_steps!(first, step, last, ($isa, $reg, w, sum), a, b, c, d);
                for (before, after) in state.iter_mut().zip([a, b, c, d]) {
                    for n in 0..GROUPS {
                        before[n] = $isa::add(before[n], after[n]);
                    }
                }
            }
            for (vectors, words) in state.iter().zip(&mut slots.0) {
                for (vector, part) in vectors.iter().zip(words.chunks_exact_mut($isa::WIDTH)) {
                    // SAFETY: `part` is as long as a register.
                    unsafe { $isa::store(part.as_mut_ptr().cast(), *vector) };
                }
            }
        }
    };
}

kernel!(run_zmm, "avx512f,avx512vl", zmm, zmm_reg);
kernel!(run_ymm_ternary, "avx512f,avx512vl", ymm_ternary, ymm_reg);
kernel!(run_ymm, "avx2", ymm, ymm_reg);

/// A vector block function whose instructions the processor has.
#[derive(Clone, Copy)]
pub(super) struct Kernel(Shape);

impl Kernel {
    /// The kernel of that shape, if the processor has its instructions.
    pub(super) fn new(shape: Shape) -> Option<Kernel> {
        let has = match shape {
            Shape::Ternary16 | Shape::Ternary8 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")
            }
            Shape::Pair16 | Shape::Single8 => is_x86_feature_detected!("avx2"),
        };
        has.then_some(Kernel(shape))
    }

    /// How many slots, from the first on, [`Kernel::run`] advances.
    pub(super) fn width(self) -> usize {
        match self.0 {
            Shape::Ternary16 | Shape::Pair16 => 16,
            Shape::Ternary8 | Shape::Single8 => 8,
        }
    }

    /// Advances the first [`Kernel::width`] slots by `blocks` blocks of 64
    /// bytes, each from the start of its own row.
    ///
    /// # Panics
    ///
    /// If one of those rows is shorter than that.
    pub(super) fn run(self, slots: &mut Slots, rows: &[&[u8]; SLOTS], blocks: usize) {
        let used = &rows[..self.width()];
        assert!(used.iter().all(|row| row.len() / 64 >= blocks), "a row is too short");
        let rows = &rows.map(<[u8]>::as_ptr);
        // SAFETY: this type is made only after its features were detected, and
        // the lengths of the rows that the kernel reads were checked above.
        unsafe {
            match self.0 {
                Shape::Ternary16 => run_zmm::<1>(slots, rows, blocks),
                Shape::Ternary8 => run_ymm_ternary::<1>(slots, rows, blocks),
                Shape::Pair16 => run_ymm::<2>(slots, rows, blocks),
                Shape::Single8 => run_ymm::<1>(slots, rows, blocks),
            }
        }
    }
}
