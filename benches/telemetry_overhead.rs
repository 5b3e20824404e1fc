//! Does the monitor cost the samples anything? Pairs of runs in turns, in alternating order: the same product of matrices
//! on all processors, sampled with the monitor reading every sensor of this machine, and without. Prints the sensors, every
//! pair, and with their intervals the ratios of three figures: mean and median of the samples, and processor time a sample
//! (the monitor's own thread included), which a busy machine disturbs least; then what one reading costs.
//!
//! `cargo bench --bench telemetry_overhead -- [PAIRS] [SECONDS A RUN] [INTERVAL IN MS]`

#![allow(clippy::print_stdout, reason = "a bench speaks")]

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use benchdb::domain::{Platform, Sampling};
use benchdb::hardware::{host_cpu, logical_cpus, telemetry};
use benchdb::measure::{Laps, Monitor, MonotonicClock, Sampled, TelemetrySummary, sample};
use benchdb::stats::{mean, median, median_interval, sorted};
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

/// Rows and columns.
const SIZE: usize = 320;

/// A product of square matrices, row by row on all threads of the pool.
struct Product {
    left: Vec<f32>,
    right: Vec<f32>,
    result: Vec<f32>,
}

impl Product {
    fn new() -> Self {
        let made = |seed: usize| (0..SIZE * SIZE).map(|index| ((index * seed) % 17) as f32 / 17.0).collect();
        Self { left: made(7), right: made(11), result: vec![0.0; SIZE * SIZE] }
    }
}

impl Sampled<MonotonicClock> for Product {
    type Error = Infallible;

    fn iterate(&mut self, _: &mut Laps<'_, MonotonicClock>) -> Result<(), Infallible> {
        let (left, right) = (&self.left, &self.right);
        self.result.par_chunks_mut(SIZE).enumerate().for_each(|(row, out)| {
            out.fill(0.0);
            for (inner, factor) in left[row * SIZE..][..SIZE].iter().enumerate() {
                for (sum, value) in out.iter_mut().zip(&right[inner * SIZE..][..SIZE]) {
                    *sum += factor * value;
                }
            }
        });
        black_box(&self.result);
        Ok(())
    }
}

fn sensors() -> telemetry::Sensors {
    telemetry::open(&host_cpu(), Platform::Cpu, 0)
}

/// What a run of samples came to, in milliseconds a sample.
struct Figures {
    mean: f64,
    median: f64,
    processor: Option<f64>,
}

/// All runs share one product: where its matrices lie in memory moves its speed by more than a monitor does.
fn run(
    product: &mut Product,
    seconds: f64,
    interval: Option<Duration>,
) -> Result<(Figures, Option<TelemetrySummary>), &'static str> {
    let before = processor_ms();
    let monitor = interval.map(|interval| {
        let sensors = sensors();
        Monitor::start(sensors.sources, sensors.worked, interval)
    });
    let rule = Sampling { min_time: Duration::from_secs_f64(seconds), ..Sampling::default() };
    let end = sample(product, &mut MonotonicClock::default(), &rule, &AtomicBool::new(false), &mut |_| {});
    // Before the monitor's thread is gone, and its time with it.
    let after = processor_ms();
    let summary = monitor.map(|monitor| monitor.stop().finish(end.window, end.iterations.len() as u64));
    let samples: Vec<f64> = end.iterations.iter().map(|&nanoseconds| nanoseconds as f64 / 1e6).collect();
    let calls = (1 + end.warmup.len() + samples.len()) as f64;
    let figures = Figures {
        mean: mean(&samples).ok_or("no samples")?,
        median: median(&samples).ok_or("no samples")?,
        processor: before.zip(after).map(|(before, after)| (after - before) / calls),
    };
    Ok((figures, summary))
}

/// The time that all threads of this process have run; `None` where the kernel does not tell.
fn processor_ms() -> Option<f64> {
    let mut total = 0.0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let told = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        total += told.split_whitespace().next()?.parse::<f64>().ok()? / 1e6;
    }
    Some(total)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let argument = |place: usize, default: f64| arguments.get(place).map_or(Ok(default), |text| text.parse::<f64>());
    let (pairs, seconds, interval) = (argument(0, 20.0)? as usize, argument(1, 2.0)?, argument(2, 100.0)?);
    let interval = Duration::from_secs_f64(interval / 1e3);

    let found = sensors();
    println!("{} processors; sensors: {found:?}", logical_cpus());
    found.notices.iter().for_each(|notice| println!("{notice}"));

    let (mut ratios, mut last) = ([Vec::new(), Vec::new(), Vec::new()], None);
    let mut product = Product::new();
    run(&mut product, seconds, None)?;
    for pair in 0..pairs {
        let (with, without);
        if pair % 2 == 0 {
            (with, last) = run(&mut product, seconds, Some(interval))?;
            without = run(&mut product, seconds, None)?.0;
        } else {
            without = run(&mut product, seconds, None)?.0;
            (with, last) = run(&mut product, seconds, Some(interval))?;
        }
        println!(
            "pair {:2}: mean {:7.3} and {:7.3} ms, median {:7.3} and {:7.3} ms",
            pair + 1,
            with.mean,
            without.mean,
            with.median,
            without.median
        );
        ratios[0].push(with.mean / without.mean);
        ratios[1].push(with.median / without.median);
        ratios[2].extend(with.processor.zip(without.processor).map(|(with, without)| with / without));
    }
    for (what, ratios) in ["mean", "median", "processor time"].into_iter().zip(&ratios) {
        let Some(centre) = median(ratios) else {
            continue;
        };
        match median_interval(&sorted(ratios), 0.95) {
            Some((low, high)) => println!(
                "with / without, {what}: median {centre:.4}, 95 % interval {low:.4} to {high:.4} over {} pairs",
                ratios.len()
            ),
            None => println!("with / without, {what}: median {centre:.4}; too few pairs for an interval"),
        }
    }
    if let Some(summary) = last {
        for (name, value) in summary.metrics.iter() {
            println!("{name}: {value:.3}");
        }
        for series in &summary.series {
            println!(
                "{}: {} readings, the last {:.3} {}",
                series.sensor,
                series.values.len(),
                series.values[series.values.len() - 1],
                series.unit
            );
        }
    }
    cost_of_a_reading(interval);
    Ok(())
}

/// The time in which a processor is taken from the work: an upper bound of the cost that no noise hides.
fn cost_of_a_reading(interval: Duration) {
    const READINGS: u32 = 2000;
    let mut sources = sensors().sources;
    let mut values = vec![0.0; 256];
    let start = Instant::now();
    for _ in 0..READINGS {
        for source in &mut sources {
            let count = source.sensors().len();
            source.read(&mut values[..count]);
        }
    }
    let reading = start.elapsed() / READINGS;
    let share = reading.as_secs_f64() / interval.as_secs_f64();
    println!("one reading of all sensors: {reading:?}, {:.4} % of one processor at {interval:?}", share * 100.0);
}
