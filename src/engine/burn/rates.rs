//! The highest rates of a device through Burn: products of square matrices, and copies. What is timed is real work: every
//! result is held until the device is done and then read back, and each kind of work that counts is repeated on numbers
//! whose answer is known exactly in any precision.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use burn::tensor::{Device as BurnDevice, Distribution, Tensor};

use super::super::EngineError;
use super::super::rates::{Kept, Search, Timed};
use super::workloads::{precision_of, wait};
use crate::domain::text::panic_text;
use crate::domain::{DeviceRates, Precision};
use crate::hardware::{HostCopy, logical_cpus};

/// Sides of the matrices. Small ones first: what a device cannot do well would take minutes on large ones.
const SIDES: [usize; 8] = [64, 256, 512, 1024, 2048, 4096, 8192, 16384];

/// The side from which products may be found not to get any faster: smaller ones are bound by what starting them takes.
const BUSY_SIDE: usize = 1024;

/// Bytes that a copy reads. The largest is beyond the caches of nearly all devices.
const COPIES: [usize; 4] = [8 << 20, 32 << 20, 128 << 20, 512 << 20];

/// The copy from which a rate counts: smaller ones fit into the caches of many devices.
const LEAST_COPY: usize = 128 << 20;

/// Numbers in a row of what a device copies.
const COPIED_ROW: usize = 4096;

/// Share of the time that copies may take.
const COPY_SHARE: f64 = 0.4;

/// A size is repeated for this share of the limit, if it is that quick.
const REPEAT_SHARE: f64 = 0.05;

/// And not for longer than this.
const LONGEST_REPEAT: Duration = Duration::from_millis(250);

/// Calls of a size at most; whole numbers up to it are exact in every precision.
const MOST_CALLS: u32 = 100;

/// Memory in bytes that is taken for granted where a device does not tell.
const LEAST_MEMORY: u64 = 2_000_000_000;

/// What is measured.
pub(super) struct Subject<'d> {
    /// The device, set to compute in the precision.
    pub device: &'d BurnDevice,
    /// The precision.
    pub precision: Precision,
    /// Its memory in bytes, where it tells.
    pub memory: Option<u64>,
    /// Whether it is the host's processor. Burn's element-wise operations run on one thread there, so that they say nothing
    /// of the memory; it is copied by all of them without Burn.
    pub on_host: bool,
}

/// Measures copies, then products; `report` hears of every rate that is the best so far.
///
/// # Errors
/// Neither could be measured.
pub(super) fn measure(
    subject: &Subject<'_>,
    limit: Duration,
    report: &mut dyn FnMut(&DeviceRates),
) -> Result<DeviceRates, EngineError> {
    // Half of the memory may be somebody else's.
    let memory = subject.memory.unwrap_or(LEAST_MEMORY) / 2;
    let fits = |sizes: &[usize], bytes: fn(usize) -> u64| -> Vec<usize> {
        sizes.iter().copied().filter(|&size| bytes(size) <= memory).collect()
    };
    let repeat = limit.mul_f64(REPEAT_SHARE).min(LONGEST_REPEAT);
    let mut rates = DeviceRates::default();
    // What was read, what is written, and what was written before.
    let sizes = fits(&COPIES, |bytes| 3 * bytes as u64);
    let copies = Search {
        called: |bytes| format!("a copy of {} MiB", bytes >> 20),
        sizes: &sizes,
        from: LEAST_COPY,
        limit: limit.mul_f64(COPY_SHARE),
        work: |bytes| 2.0 * bytes as f64,
        kept: Kept::Largest,
    };
    let ended = copies.run(
        |bytes| whole(|| if subject.on_host { copy_on_host(bytes, repeat) } else { copy(subject, bytes, repeat) }),
        |bytes, rate| {
            rates.copy_bandwidth_gb_per_second = Some(rate / 1e9);
            rates.copied_bytes = Some(bytes as u64);
            report(&rates);
        },
    );
    rates.left_out.extend(ended);
    // Two operands, a result, and what checks it, at up to four bytes a number.
    let sizes = fits(&SIDES, |side| 20 * (side as u64).pow(2));
    let products = Search {
        called: |side| format!("a product of side {side}"),
        sizes: &sizes,
        from: BUSY_SIDE,
        limit: limit.mul_f64(1.0 - COPY_SHARE),
        work: |side| 2.0 * (side as f64).powi(3),
        kept: Kept::Fastest,
    };
    let ended = products.run(
        |side| whole(|| product(subject, side, repeat)),
        |side, rate| {
            rates.peak_gflop_per_second = Some(rate / 1e9);
            rates.matrix_side = Some(side as u64);
            report(&rates);
        },
    );
    rates.left_out.extend(ended);
    if rates.any() { Ok(rates) } else { Err(EngineError::Device { message: rates.left_out.join("; ") }) }
}

/// One size; a panic is an error of it alone.
fn whole(size: impl FnOnce() -> Result<Timed, EngineError>) -> Result<Timed, EngineError> {
    let began = Instant::now();
    let timed = catch_unwind(AssertUnwindSafe(size))
        .map_err(|panic| EngineError::Device { message: panic_text(&*panic) })??;
    Ok(Timed { around: began.elapsed().saturating_sub(timed.calls), ..timed })
}

/// One call that does not count, and as many others as there is time for.
fn repeated(repeat: Duration, mut call: impl FnMut() -> Result<(), EngineError>) -> Result<Timed, EngineError> {
    call()?;
    let mut timed = Timed { shortest: Duration::MAX, ..Timed::default() };
    for _ in 1..MOST_CALLS {
        let start = Instant::now();
        call()?;
        let took = start.elapsed();
        timed.shortest = timed.shortest.min(took);
        timed.calls += took;
        if timed.calls > repeat {
            break;
        }
    }
    Ok(timed)
}

fn wrong(what: &str) -> EngineError {
    EngineError::Device { message: format!("{what} came out wrong, so its time counts for nothing") }
}

fn copy_on_host(bytes: usize, repeat: Duration) -> Result<Timed, EngineError> {
    let mut copy = HostCopy::new(bytes, logical_cpus() as usize);
    let timed = repeated(repeat, || {
        copy.run();
        Ok(())
    })?;
    if copy.is_whole() { Ok(timed) } else { Err(wrong("a copy")) }
}

/// Every number is read and written with one added: a plain copy, or a product with one, may be optimised away.
fn copy(subject: &Subject<'_>, bytes: usize, repeat: Duration) -> Result<Timed, EngineError> {
    let each = if subject.precision == Precision::Fp32 { 4 } else { 2 };
    let rows = bytes / each / COPIED_ROW;
    let mut numbers = Tensor::<2>::zeros([rows, COPIED_ROW], subject.device);
    let mut calls = 0_u16;
    let timed = repeated(repeat, || {
        // What was read is held, so that it is not written over.
        let next = numbers.clone().add_scalar(1.0);
        wait(subject.device)?;
        numbers = next;
        calls += 1;
        Ok(())
    })?;
    let (least, most) = (numbers.clone().min().into_scalar::<f32>(), numbers.max().into_scalar::<f32>());
    let expected = f32::from(calls);
    if least.to_bits() == expected.to_bits() && most.to_bits() == expected.to_bits() {
        Ok(timed)
    } else {
        Err(wrong("a copy"))
    }
}

fn product(subject: &Subject<'_>, side: usize, repeat: Duration) -> Result<Timed, EngineError> {
    let device = subject.device;
    let random = |reach: f64| Tensor::<2>::random([side, side], Distribution::Uniform(-reach, reach), device);
    let (left, right) = (random(1.0), random(1.0));
    let mut result = None;
    let timed = repeated(repeat, || {
        // What nobody holds, a lazy backend need not compute.
        result = None;
        result = Some(left.clone().matmul(right.clone()));
        wait(device)
    })?;
    let Some(result) = result else { return Err(wrong("a product")) };
    if precision_of(result.dtype()) != Some(subject.precision) {
        return Err(EngineError::Device { message: format!("the product is not in {}", subject.precision) });
    }
    let middle = numbers(result.slice([side / 2..side / 2 + 1, 0..side]))?;
    // Each is the sum of as many products of numbers below one.
    let possible = |number: &f32| number.is_finite() && number.abs() <= side as f32;
    if !middle.iter().all(possible) || middle.iter().all(|number| *number == 0.0) {
        return Err(wrong("a product"));
    }
    drop((left, right));
    // Sums of -1, 0 and 1 are exact in any precision while they are small, in whatever order.
    let (left, right) = (random(1.4).round(), random(1.4).round());
    let result = left.clone().matmul(right.clone());
    if is_product(&left, &right, &result, side)? { Ok(timed) } else { Err(wrong("a product")) }
}

/// Whether entries of a product of small whole numbers are those that the host finds.
fn is_product(left: &Tensor<2>, right: &Tensor<2>, result: &Tensor<2>, side: usize) -> Result<bool, EngineError> {
    let places = [0, side / 3, side - 1];
    let mut some = false;
    for row in places {
        let of_left = numbers(left.clone().slice([row..row + 1, 0..side]))?;
        let found = numbers(result.clone().slice([row..row + 1, 0..side]))?;
        for column in places {
            let of_right = numbers(right.clone().slice([0..side, column..column + 1]))?;
            let expected: f32 = of_left.iter().zip(&of_right).map(|(one, other)| one * other).sum();
            let off = (found[column] - expected).abs();
            // Half precisions round sums beyond some hundreds.
            if off.is_nan() || off > 0.5 + expected.abs() / 64.0 {
                return Ok(false);
            }
            some |= expected != 0.0;
        }
    }
    Ok(some)
}

fn numbers(tensor: Tensor<2>) -> Result<Vec<f32>, EngineError> {
    tensor.try_to_vec_as::<f32>().map_err(|error| EngineError::Device { message: error.to_string() })
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    fn square(rows: [[f32; 2]; 2], device: &BurnDevice) -> Tensor<2> {
        Tensor::from_floats(rows, device)
    }

    #[test]
    fn a_wrong_product_is_seen() {
        let device = BurnDevice::flex();
        let (left, right) = (square([[1.0, -1.0], [0.0, 1.0]], &device), square([[1.0, 1.0], [-1.0, 0.0]], &device));
        let product = left.clone().matmul(right.clone());
        assert!(is_product(&left, &right, &product, 2).unwrap());
        assert!(!is_product(&left, &right, &(product + 1.0), 2).unwrap());
        let nothing = square([[0.0; 2]; 2], &device);
        assert!(!is_product(&nothing, &nothing, &nothing, 2).unwrap(), "zeros prove nothing");
    }

    #[test]
    fn a_processor_has_finite_rates_within_its_memory() {
        let device = BurnDevice::flex();
        let subject = Subject { device: &device, precision: Precision::Fp32, memory: Some(400_000_000), on_host: true };
        let mut heard = 0;
        let rates = measure(&subject, Duration::from_secs(20), &mut |so_far| {
            assert!(so_far.any());
            heard += 1;
        })
        .unwrap();
        for rate in [rates.peak_gflop_per_second, rates.copy_bandwidth_gb_per_second] {
            assert!(rate.is_some_and(|rate| rate.is_finite() && rate > 0.0), "{rates:?}");
        }
        assert!(rates.matrix_side.is_some_and(|side| (64..=2048).contains(&side)), "{rates:?}");
        assert!(rates.copied_bytes.is_some_and(|bytes| 3 * bytes <= 200_000_000), "{rates:?}");
        assert!(heard >= 2);
        // The path of devices with a memory of their own works on this one, too.
        assert!(copy(&subject, 1 << 20, Duration::ZERO).is_ok());
    }
}
