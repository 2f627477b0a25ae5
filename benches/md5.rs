//! Throughput of the multi-lane MD5 against the `md-5` crate, one thread.
//!
//! `TWINFOLD_MD5=portable|avx2|avx512 cargo bench` shows an engine of choice.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "random test data"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use md5::{Digest as _, Md5};
use twinfold::hash::{Stream, digest_many, engine, update_many};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A generator of equally distributed numbers from 0 to 1 (xorshift64).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Log-normal with mu 0 and sigma 1, by the method of Box and Muller.
    fn log_normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().max(1e-12).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()).exp()
    }
}

fn filled(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn total(inputs: &[&[u8]]) -> Throughput {
    Throughput::Bytes(inputs.iter().map(|input| input.len() as u64).sum())
}

fn alone(criterion: &mut Criterion) {
    let data = filled(4 * MIB);
    let mut group = criterion.benchmark_group("one input of 4 MiB");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("md-5 crate", |bencher| bencher.iter(|| Md5::digest(black_box(&data))));
    group.bench_function(engine().name(), |bencher| {
        bencher.iter(|| {
            let mut stream = Stream::new();
            stream.update(black_box(&data));
            stream.finish()
        });
    });
    group.finish();
}

fn whole(criterion: &mut Criterion) {
    let mut random = Random(88_172_645_463_325_252);
    let sizes = [
        ("10,000 x 8 KiB", vec![8 * KIB; 10_000], 10_000),
        ("64 x 4 MiB", vec![4 * MIB; 64], 64),
        (
            "batches of 64, log-normal, mean 8 KiB",
            (0..6_400).map(|_| (random.log_normal() * 8192.0 * 0.6065) as usize).collect(),
            64,
        ),
    ];
    for (name, sizes, batch) in sizes {
        let data: Vec<_> = sizes.into_iter().map(filled).collect();
        let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut group = criterion.benchmark_group("digest_many");
        group.throughput(total(&inputs));
        group.bench_function(format!("{name}, md-5 crate"), |bencher| {
            bencher.iter(|| {
                for input in &inputs {
                    black_box(Md5::digest(black_box(input)));
                }
            });
        });
        group.bench_function(format!("{name}, {}", engine().name()), |bencher| {
            bencher.iter(|| {
                for inputs in inputs.chunks(batch) {
                    black_box(digest_many(black_box(inputs)));
                }
            });
        });
        group.finish();
    }
}

fn chunks(criterion: &mut Criterion) {
    let data: Vec<_> = (0..64).map(|_| filled(4 * MIB)).collect();
    for count in [2, 4, 8, 64] {
        let mut group = criterion.benchmark_group("update_many");
        group.throughput(Throughput::Bytes((count * 4 * MIB) as u64));
        group.bench_function(format!("{count} x 4 MiB by 1 MiB, {}", engine().name()), |bencher| {
            bencher.iter(|| {
                let mut streams = vec![Stream::new(); count];
                for start in (0..4 * MIB).step_by(MIB) {
                    let mut work: Vec<_> =
                        streams.iter_mut().zip(data.iter().map(|data| &data[start..start + MIB])).collect();
                    update_many(&mut work);
                }
                streams.into_iter().map(Stream::finish).for_each(|digest| {
                    black_box(digest.0);
                });
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = alone, whole, chunks
}
criterion_main!(benches);
