//! What the sampling loop costs per iteration: the same trivial work in a bare loop, in a loop that reads the clock
//! twice, and in [`benchdb::measure::sample`]. Divide the differences by [`ITERATIONS`].

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use benchdb::domain::Sampling;
use benchdb::measure::{Clock, Laps, MonotonicClock, Sampled, sample};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ITERATIONS: u32 = 100_000;

/// A few nanoseconds of arithmetic that the compiler cannot drop.
struct Trivial(u64);

impl Trivial {
    #[inline]
    fn work(&mut self) {
        self.0 = black_box(self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

impl Sampled<MonotonicClock> for Trivial {
    type Error = Infallible;

    fn iterate(&mut self, _: &mut Laps<'_, MonotonicClock>) -> Result<(), Infallible> {
        self.work();
        Ok(())
    }
}

fn loops(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loop");
    group.throughput(Throughput::Elements(ITERATIONS.into()));
    group.bench_function("bare", |bencher| {
        let mut trivial = Trivial(1);
        bencher.iter(|| {
            for _ in 0..ITERATIONS {
                trivial.work();
            }
        });
    });
    group.bench_function("two_clock_reads", |bencher| {
        let mut trivial = Trivial(1);
        let mut clock = MonotonicClock::default();
        bencher.iter(|| {
            for _ in 0..ITERATIONS {
                black_box(clock.now());
                trivial.work();
                black_box(clock.now());
            }
        });
    });
    group.bench_function("sampled", |bencher| {
        let rule = Sampling {
            warmup_iterations: 0,
            warmup_time: Duration::ZERO,
            min_iterations: ITERATIONS,
            min_time: Duration::ZERO,
            ..Sampling::default()
        };
        let stop = AtomicBool::new(false);
        bencher.iter(|| sample(&mut Trivial(1), &mut MonotonicClock::default(), &rule, &stop, &mut |_| {}));
    });
    group.finish();
}

criterion_group!(benches, loops);
criterion_main!(benches);
