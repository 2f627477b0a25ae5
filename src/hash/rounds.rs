//! The 64 steps of RFC 1321 (section 3.4) as data for a macro.
//!
//! Every vector width runs the same steps with other instructions, so the
//! schedule is written down once and each kernel brings its own step.
//! Rotations are immediate operands, which is why this is a macro and not a
//! table walked by a loop.

/// Calls `$step!(context, round, a, b, c, d, rotation, next word, next
/// constant)` for each step with the four state words rotated into place.
///
/// `round` is one of `F`, `G`, `H`, `I`, the names RFC 1321 gives the
/// auxiliary functions; `context` is handed through as it came. A step names
/// the word and the constant of the step *after* it, whose first sum
/// (`d + word + constant`) can be made early; `$first!(context, a, word,
/// constant)` makes the first one, and the last step, `$last!`, has none.
macro_rules! md5_steps {
    ($first:ident, $step:ident, $last:ident, $context:tt, $a:ident, $b:ident, $c:ident, $d:ident) => {
        $first!($context, $a, 0, 0xd76a_a478u32);
        $step!($context, F, $a, $b, $c, $d, 7, 1, 0xe8c7_b756u32);
        $step!($context, F, $d, $a, $b, $c, 12, 2, 0x2420_70dbu32);
        $step!($context, F, $c, $d, $a, $b, 17, 3, 0xc1bd_ceeeu32);
        $step!($context, F, $b, $c, $d, $a, 22, 4, 0xf57c_0fafu32);
        $step!($context, F, $a, $b, $c, $d, 7, 5, 0x4787_c62au32);
        $step!($context, F, $d, $a, $b, $c, 12, 6, 0xa830_4613u32);
        $step!($context, F, $c, $d, $a, $b, 17, 7, 0xfd46_9501u32);
        $step!($context, F, $b, $c, $d, $a, 22, 8, 0x6980_98d8u32);
        $step!($context, F, $a, $b, $c, $d, 7, 9, 0x8b44_f7afu32);
        $step!($context, F, $d, $a, $b, $c, 12, 10, 0xffff_5bb1u32);
        $step!($context, F, $c, $d, $a, $b, 17, 11, 0x895c_d7beu32);
        $step!($context, F, $b, $c, $d, $a, 22, 12, 0x6b90_1122u32);
        $step!($context, F, $a, $b, $c, $d, 7, 13, 0xfd98_7193u32);
        $step!($context, F, $d, $a, $b, $c, 12, 14, 0xa679_438eu32);
        $step!($context, F, $c, $d, $a, $b, 17, 15, 0x49b4_0821u32);
        $step!($context, F, $b, $c, $d, $a, 22, 1, 0xf61e_2562u32);
        $step!($context, G, $a, $b, $c, $d, 5, 6, 0xc040_b340u32);
        $step!($context, G, $d, $a, $b, $c, 9, 11, 0x265e_5a51u32);
        $step!($context, G, $c, $d, $a, $b, 14, 0, 0xe9b6_c7aau32);
        $step!($context, G, $b, $c, $d, $a, 20, 5, 0xd62f_105du32);
        $step!($context, G, $a, $b, $c, $d, 5, 10, 0x0244_1453u32);
        $step!($context, G, $d, $a, $b, $c, 9, 15, 0xd8a1_e681u32);
        $step!($context, G, $c, $d, $a, $b, 14, 4, 0xe7d3_fbc8u32);
        $step!($context, G, $b, $c, $d, $a, 20, 9, 0x21e1_cde6u32);
        $step!($context, G, $a, $b, $c, $d, 5, 14, 0xc337_07d6u32);
        $step!($context, G, $d, $a, $b, $c, 9, 3, 0xf4d5_0d87u32);
        $step!($context, G, $c, $d, $a, $b, 14, 8, 0x455a_14edu32);
        $step!($context, G, $b, $c, $d, $a, 20, 13, 0xa9e3_e905u32);
        $step!($context, G, $a, $b, $c, $d, 5, 2, 0xfcef_a3f8u32);
        $step!($context, G, $d, $a, $b, $c, 9, 7, 0x676f_02d9u32);
        $step!($context, G, $c, $d, $a, $b, 14, 12, 0x8d2a_4c8au32);
        $step!($context, G, $b, $c, $d, $a, 20, 5, 0xfffa_3942u32);
        $step!($context, H, $a, $b, $c, $d, 4, 8, 0x8771_f681u32);
        $step!($context, H, $d, $a, $b, $c, 11, 11, 0x6d9d_6122u32);
        $step!($context, H, $c, $d, $a, $b, 16, 14, 0xfde5_380cu32);
        $step!($context, H, $b, $c, $d, $a, 23, 1, 0xa4be_ea44u32);
        $step!($context, H, $a, $b, $c, $d, 4, 4, 0x4bde_cfa9u32);
        $step!($context, H, $d, $a, $b, $c, 11, 7, 0xf6bb_4b60u32);
        $step!($context, H, $c, $d, $a, $b, 16, 10, 0xbebf_bc70u32);
        $step!($context, H, $b, $c, $d, $a, 23, 13, 0x289b_7ec6u32);
        $step!($context, H, $a, $b, $c, $d, 4, 0, 0xeaa1_27fau32);
        $step!($context, H, $d, $a, $b, $c, 11, 3, 0xd4ef_3085u32);
        $step!($context, H, $c, $d, $a, $b, 16, 6, 0x0488_1d05u32);
        $step!($context, H, $b, $c, $d, $a, 23, 9, 0xd9d4_d039u32);
        $step!($context, H, $a, $b, $c, $d, 4, 12, 0xe6db_99e5u32);
        $step!($context, H, $d, $a, $b, $c, 11, 15, 0x1fa2_7cf8u32);
        $step!($context, H, $c, $d, $a, $b, 16, 2, 0xc4ac_5665u32);
        $step!($context, H, $b, $c, $d, $a, 23, 0, 0xf429_2244u32);
        $step!($context, I, $a, $b, $c, $d, 6, 7, 0x432a_ff97u32);
        $step!($context, I, $d, $a, $b, $c, 10, 14, 0xab94_23a7u32);
        $step!($context, I, $c, $d, $a, $b, 15, 5, 0xfc93_a039u32);
        $step!($context, I, $b, $c, $d, $a, 21, 12, 0x655b_59c3u32);
        $step!($context, I, $a, $b, $c, $d, 6, 3, 0x8f0c_cc92u32);
        $step!($context, I, $d, $a, $b, $c, 10, 10, 0xffef_f47du32);
        $step!($context, I, $c, $d, $a, $b, 15, 1, 0x8584_5dd1u32);
        $step!($context, I, $b, $c, $d, $a, 21, 8, 0x6fa8_7e4fu32);
        $step!($context, I, $a, $b, $c, $d, 6, 15, 0xfe2c_e6e0u32);
        $step!($context, I, $d, $a, $b, $c, 10, 6, 0xa301_4314u32);
        $step!($context, I, $c, $d, $a, $b, 15, 13, 0x4e08_11a1u32);
        $step!($context, I, $b, $c, $d, $a, 21, 4, 0xf753_7e82u32);
        $step!($context, I, $a, $b, $c, $d, 6, 11, 0xbd3a_f235u32);
        $step!($context, I, $d, $a, $b, $c, 10, 2, 0x2ad7_d2bbu32);
        $step!($context, I, $c, $d, $a, $b, 15, 9, 0xeb86_d391u32);
        $last!($context, I, $b, $c, $d, $a, 21);
    };
}

pub(super) use md5_steps;
