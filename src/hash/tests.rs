use md5::{Digest as _, Md5};
use proptest::prelude::*;

use super::engine::Engine;
use super::many::digest_many_with;
#[cfg(target_arch = "x86_64")]
use super::slots::{SLOTS, Slots};
use super::stream::{Stream, update_many_with};
use super::{digest_many, engine, update_many};
use crate::model::digest::Digest;

/// Those that the processor has.
fn engines() -> impl Iterator<Item = Engine> {
    [Engine::Portable, Engine::Avx2, Engine::Avx512].into_iter().filter(|&engine| engine.or_below() == engine)
}

fn oracle(input: &[u8]) -> [u8; 16] {
    Md5::digest(input).into()
}

/// Bytes without a period that a block or a lane could hide.
fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let step = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..len).map(step).collect()
}

fn check_many(engine: Engine, inputs: &[&[u8]]) {
    let digests = digest_many_with(engine, inputs);
    assert_eq!(digests.len(), inputs.len());
    for (number, (digest, input)) in digests.iter().zip(inputs).enumerate() {
        assert!(digest.0 == oracle(input), "{engine:?}, input {number}, {} bytes", input.len());
    }
}

fn hex(digest: Digest) -> String {
    digest.to_string()
}

#[test]
fn the_test_suite_of_rfc_1321() {
    let suite = [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "d174ab98d277d9f5a5611c2c9f419d9f",
        ),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        ),
    ];
    let inputs = suite.map(|(input, _)| input.as_bytes());
    for engine in engines() {
        let digests = digest_many_with(engine, &inputs);
        for ((input, wanted), digest) in suite.iter().zip(digests) {
            assert_eq!(hex(digest), *wanted, "{engine:?}");
            assert_eq!(hex(digest_many_with(engine, &[input.as_bytes()])[0]), *wanted);
            let mut stream = Stream::new();
            stream.update_with(engine, input.as_bytes());
            assert_eq!(hex(stream.finish()), *wanted, "{engine:?}");
        }
    }
}

#[test]
fn every_short_length_together_and_alone() {
    let data = bytes(300, 1);
    let inputs: Vec<&[u8]> = (0..=300).map(|len| &data[..len]).collect();
    for engine in engines() {
        check_many(engine, &inputs);
        for input in &inputs {
            check_many(engine, &[input]);
            let mut stream = Stream::new();
            stream.update_with(engine, input);
            assert_eq!(stream.finish().0, oracle(input), "{engine:?}, {} bytes", input.len());
        }
    }
}

#[test]
fn block_borders_in_every_number_of_lanes() {
    let borders = [55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 1023, 1024, 1025, 4096];
    for engine in engines() {
        for count in 0..=35 {
            let data: Vec<_> = (0..count)
                .map(|number| bytes(borders[(number * 5 + count) % borders.len()], number as u64))
                .collect();
            let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            check_many(engine, &inputs);
        }
    }
}

#[test]
fn one_long_input_among_many_short_ones() {
    let long = bytes(20_000, 3);
    let mut inputs: Vec<&[u8]> = (0..200).map(|n| &long[n..n + n % 130]).collect();
    inputs.insert(77, &long);
    for engine in engines() {
        check_many(engine, &inputs);
    }
}

#[test]
fn streams_count_their_bytes_and_finish_alike() {
    let data = bytes(1000, 5);
    for engine in engines() {
        let mut stream = Stream::new();
        assert!(stream.is_empty());
        for chunk in data.chunks(37) {
            stream.update_with(engine, chunk);
        }
        stream.update_with(engine, &[]);
        assert_eq!(stream.len(), 1000);
        assert_eq!(stream.clone().finish().0, oracle(&data));
        update_many_with(engine, &mut [(&mut stream, &data)]);
        assert_eq!(stream.finish().0, oracle(&[&data[..], &data].concat()));
    }
}

#[test]
fn the_public_functions_agree_with_the_oracle() {
    let data = bytes(5000, 9);
    let inputs: Vec<&[u8]> = data.chunks(333).collect();
    for (digest, input) in digest_many(&inputs).iter().zip(&inputs) {
        assert_eq!(digest.0, oracle(input));
    }
    let mut streams = vec![Stream::new(); 3];
    let mut work: Vec<_> = streams.iter_mut().map(|stream| (stream, &data[..])).collect();
    update_many(&mut work);
    for stream in streams {
        assert_eq!(stream.finish().0, oracle(&data));
    }
    assert!(digest_many(&[]).is_empty());
    update_many(&mut []);
}

#[test]
fn an_engine_is_chosen_by_name_but_never_one_the_processor_lacks() {
    let best = Engine::Avx512.or_below();
    assert_eq!(Engine::choose(Some("portable")), Engine::Portable);
    assert_eq!(Engine::choose(Some("avx2")), Engine::Avx2.or_below());
    for name in [None, Some("avx512"), Some(""), Some("AVX9000")] {
        assert_eq!(Engine::choose(name), best, "{name:?}");
    }
    assert!(engines().any(|available| available == engine()));
    assert!(engines().all(|available| Engine::choose(Some(available.name())) == available));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_kernel_refuses_a_row_that_is_too_short() {
    for kernels in engines().filter_map(Engine::kernels) {
        for kernel in [kernels.wide, kernels.narrow] {
            let (enough, short) = (bytes(128, 1), bytes(127, 2));
            let mut rows = [&enough[..]; SLOTS];
            rows[kernel.width() - 1] = &short;
            let run =
                |blocks| std::panic::catch_unwind(|| kernel.run(&mut Slots::new(), &rows, blocks)).is_ok();
            assert!(run(0) && run(1) && !run(2));
        }
    }
}

/// Lengths as they come: mostly short, some of a few hundred blocks.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0_usize..200, 2 => 0_usize..2_000, 1 => 0_usize..20_000]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_mix_of_inputs(lengths in prop::collection::vec(length(), 0..80), seed: u64) {
        let data: Vec<_> =
            lengths.iter().enumerate().map(|(n, &len)| bytes(len, seed ^ n as u64)).collect();
        let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        for engine in engines() {
            check_many(engine, &inputs);
        }
    }

    #[test]
    fn any_chunks_of_streams(
        chunks in prop::collection::vec(prop::collection::vec(length(), 1..24), 1..6),
        seed: u64,
    ) {
        // Each inner list is one call: a stream for each length in it.
        let count = chunks.iter().map(Vec::len).max().unwrap_or(0);
        for engine in engines() {
            let mut streams = vec![Stream::new(); count];
            let mut wholes = vec![Vec::new(); count];
            for (call, lengths) in chunks.iter().enumerate() {
                let parts: Vec<_> =
                    lengths.iter().map(|&len| bytes(len, seed ^ call as u64)).collect();
                for (whole, part) in wholes.iter_mut().zip(&parts) {
                    whole.extend_from_slice(part);
                }
                let mut work: Vec<_> =
                    streams.iter_mut().zip(parts.iter().map(Vec::as_slice)).collect();
                update_many_with(engine, &mut work);
            }
            for (stream, whole) in streams.into_iter().zip(wholes) {
                prop_assert_eq!(stream.len(), whole.len() as u64);
                prop_assert_eq!(stream.finish().0, oracle(&whole));
            }
        }
    }
}
