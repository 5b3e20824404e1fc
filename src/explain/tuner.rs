//! How many rows a pass should have: the search, without the clock and the meter, which whoever asks brings along.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use burn::nn::pool::MaxPool2d;
use burn::tensor::Tensor;

use super::error::ExplainError;
use super::subject::Subject;
use crate::zoo::activation::Activation;
use crate::zoo::hooks::{AttentionCall, Hooks, Weighted};

/// The most rows that a search tries.
pub const MOST_ROWS: usize = 1024;

/// How long a search may take, in seconds of the clock that it is given.
pub const TIME_LIMIT: f64 = 20.0;

/// A difference of less than this share is none: two medians of the same work differ by as much on a quiet machine.
const MARGIN: f64 = 0.02;

/// The same where time allows no third pair.
const WIDE_MARGIN: f64 = 0.2;

/// Timings of each of two candidates, in turns; three are enough where they agree.
const PAIRS: usize = 5;
const ENOUGH_PAIRS: usize = 3;

/// Candidates that are neither faster nor slower, after which the search ends.
const MOST_EVEN: usize = 2;

/// Bytes of an activation.
const FLOAT_BYTES: u64 = 4;

/// The most rows of a pass: so many, or what a search finds to be fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerBatch {
    /// So many.
    Rows(usize),
    /// What is fastest.
    Auto,
}

impl FromStr for InnerBatch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(rows) if rows > 0 => Ok(Self::Rows(rows)),
            _ => Err("it is a number of rows, from 1 on, or `auto`".to_owned()),
        }
    }
}

/// What one measurement of some work saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Rows that were run.
    pub rows: u64,
    /// The time that they took, in seconds.
    pub seconds: f64,
    /// The most memory that was in use so far, in bytes, where that is known.
    pub bytes: Option<u64>,
}

/// Limits of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rows that there are at all.
    pub rows: usize,
    /// Memory that may be in use, in bytes.
    pub memory: Option<u64>,
    /// Seconds that the search may take.
    pub seconds: f64,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next candidate was slower.
    Slower,
    /// Several candidates were no faster than the noise.
    NoFaster,
    /// The next candidate would have taken too much memory, or did.
    Memory,
    /// There are no more rows.
    EveryRow,
    /// It took long enough.
    Time,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slower => "more are slower",
            Self::NoFaster => "more are no faster",
            Self::Memory => "more do not fit into the memory",
            Self::EveryRow => "there are no more",
            Self::Time => "the search ended after its time",
        })
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// The number of rows.
    pub rows: usize,
    /// Median rates of what was tried: rows of a pass, and rows per second.
    pub tried: Vec<(usize, f64)>,
    /// Why it tried no more.
    pub end: End,
}

impl fmt::Display for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows in a pass (", self.rows)?;
        for (place, (rows, rate)) in self.tried.iter().enumerate() {
            write!(f, "{}{rows}: {rate:.1}/s", if place == 0 { "" } else { ", " })?;
        }
        write!(f, "; {})", self.end)
    }
}

/// Doubles the rows of a pass for as long as that makes a row cheaper, and fits into the memory. `measure` does some
/// work with that many rows in a pass. The work is done once without being timed, then in turns with the best so far, so
/// that a machine that slows down slows both. A candidate has to win by more than noise: fewer rows take less memory.
///
/// # Errors
///
/// Those of `measure`; [`ExplainError::Memory`] where not even one row fits.
pub fn tune(
    method: &'static str,
    limits: Limits,
    mut measure: impl FnMut(usize) -> Result<Seen, ExplainError>,
) -> Result<Tuned, ExplainError> {
    let mut spent = 0.0;
    let mut timed = |rows: usize, spent: &mut f64| -> Result<Seen, ExplainError> {
        let seen = measure(rows)?;
        *spent += seen.seconds;
        Ok(seen)
    };
    let over = |seen: &Seen| limits.memory.zip(seen.bytes).filter(|(limit, bytes)| bytes > limit);
    let per_row = |seen: &Seen| seen.seconds / seen.rows.max(1) as f64;
    let first = timed(1, &mut spent)?;
    if let Some((limit, needed)) = over(&first) {
        return Err(ExplainError::Memory { method, needed, limit });
    }
    let mut best = 1;
    let mut tried = Vec::new();
    let mut meter = vec![(1, first.bytes)];
    let (mut rows, mut even) = (1, 0);
    let end = loop {
        let next = (rows * 2).min(limits.rows).min(MOST_ROWS);
        if next <= rows {
            break End::EveryRow;
        }
        if spent > limits.seconds {
            break End::Time;
        }
        if limits.memory.zip(predicted(&meter, next)).is_some_and(|(limit, bytes)| bytes > limit) {
            break End::Memory;
        }
        let warm = timed(next, &mut spent)?;
        meter.push((next, warm.bytes));
        if over(&warm).is_some() {
            break End::Memory;
        }
        if warm.rows < next as u64 {
            break End::EveryRow;
        }
        let (mut own, mut others) = (Vec::new(), Vec::new());
        while own.len() < PAIRS && (own.len() < ENOUGH_PAIRS || verdict(&others, &own).is_none()) {
            others.push(per_row(&timed(best, &mut spent)?));
            own.push(per_row(&timed(next, &mut spent)?));
            if spent > limits.seconds {
                break;
            }
        }
        let verdict = verdict(&others, &own);
        if tried.is_empty() {
            tried.push((1, 1.0 / median(&others)));
        }
        tried.push((next, 1.0 / median(&own)));
        match verdict {
            Some(true) => {
                best = next;
                even = 0;
            }
            Some(false) => break End::Slower,
            None => {
                even += 1;
                if even == MOST_EVEN {
                    break End::NoFaster;
                }
            }
        }
        rows = next;
    };
    if tried.is_empty() {
        tried.push((1, 1.0 / per_row(&first)));
    }
    Ok(Tuned { rows: best, tried, end })
}

/// Whether the second of two is faster (`true`) or slower (`false`) than the first by more than noise: in all pairs but
/// one of five, and by [`MARGIN`] in the median, or by [`WIDE_MARGIN`] where there are few pairs. `None` where one cannot
/// tell.
fn verdict(first: &[f64], second: &[f64]) -> Option<bool> {
    let ratios: Vec<f64> = second.iter().zip(first).map(|(second, first)| second / first).collect();
    let may_disagree = usize::from(ratios.len() >= PAIRS);
    let faster = ratios.iter().filter(|ratio| **ratio < 1.0).count();
    let middle = median(&ratios);
    let margin = if ratios.len() < ENOUGH_PAIRS { WIDE_MARGIN } else { MARGIN };
    if middle < 1.0 - margin && faster + may_disagree >= ratios.len() {
        Some(true)
    } else if middle > 1.0 + margin && faster <= may_disagree {
        Some(false)
    } else {
        None
    }
}

/// The median; of an even number the lower one of the two in the middle. Not a number for none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Memory with `rows` rows on the line through the last two measurements that differ; `None` where there are none.
fn predicted(meter: &[(usize, Option<u64>)], rows: usize) -> Option<u64> {
    let [.., (few, Some(low)), (many, Some(high))] = meter else { return None };
    Some(high + high.saturating_sub(*low) / (many - few).max(1) as u64 * rows.saturating_sub(*many) as u64)
}

/// The rows of a pass, `wanted` at most, that fit into `limit` bytes by a line through measurements with one and with two
/// rows. `row_bytes` is what one more row takes at least; see [`activation_bytes`]. Where the meter says nothing, it is
/// taken from this alone.
///
/// # Errors
///
/// Those of `measure`; [`ExplainError::Memory`] where not even one row fits.
pub fn fitting(
    method: &'static str,
    wanted: usize,
    limit: u64,
    row_bytes: u64,
    mut measure: impl FnMut(usize) -> Result<Seen, ExplainError>,
) -> Result<usize, ExplainError> {
    let one = measure(1)?.bytes.unwrap_or(row_bytes);
    if one > limit {
        return Err(ExplainError::Memory { method, needed: one, limit });
    }
    if wanted < 2 {
        return Ok(1);
    }
    // A second row that fits by all that is known.
    if one.saturating_add(row_bytes) > limit {
        return Ok(1);
    }
    let two = measure(2)?.bytes.unwrap_or(one + row_bytes);
    let each = two.saturating_sub(one).max(row_bytes).max(1);
    let rows = 1 + usize::try_from((limit - one) / each).unwrap_or(usize::MAX).min(wanted - 1);
    // The line may flatter: what is going to be run is measured.
    match measure(rows)?.bytes {
        Some(bytes) if bytes > limit && rows > 1 => Ok((rows / 2).max(1)),
        _ => Ok(rows),
    }
}

/// What a pass of one row keeps for its way back at least, in bytes: what the layers write that methods see.
///
/// # Errors
///
/// A network that cannot run.
pub fn activation_bytes(subject: &Subject<'_>) -> Result<u64, ExplainError> {
    let counter = Rc::new(RefCell::new(Counter::default()));
    subject.run(counter.clone(), subject.input_of(&[0]), &[0])?;
    let elements = counter.borrow().elements;
    Ok(elements * FLOAT_BYTES)
}

/// Adds up what layers write.
#[derive(Default)]
struct Counter {
    elements: u64,
}

impl Counter {
    fn count<const D: usize>(&mut self, written: Tensor<D>) -> Tensor<D> {
        self.elements += written.dims().iter().product::<usize>() as u64;
        written
    }
}

impl Hooks for Counter {
    fn activation(&mut self, function: Activation, x: Tensor<2>) -> Tensor<2> {
        self.count(function.apply(x))
    }

    fn weighted(&mut self, layer: Weighted<'_>, x: Tensor<4>) -> Tensor<4> {
        self.count(layer.forward(x))
    }

    fn max_pool(&mut self, layer: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
        self.count(layer.forward(x))
    }

    fn attention(&mut self, call: AttentionCall) -> Tensor<4> {
        self.count(call.forward())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rows: 100, memory: None, seconds: 1e9 };

    /// A device on which a pass costs `overhead` and each row 1, but rows above `cliff` five times as much.
    fn device(overhead: f64, cliff: usize) -> impl FnMut(usize) -> Result<Seen, ExplainError> {
        let mut noise = fastrand::Rng::with_seed(7);
        move |rows| {
            let each = if rows > cliff { 5.0 } else { 1.0 };
            let seconds = (overhead + each * rows as f64) * (1.0 + 0.01 * (noise.f64() - 0.5));
            Ok(Seen { rows: rows as u64, seconds, bytes: Some(1000 + 100 * rows as u64) })
        }
    }

    #[test]
    fn the_fastest_number_of_rows_is_found() {
        let found = tune("lrp", LIMITS, device(10.0, 32)).unwrap();
        assert_eq!((found.rows, found.end), (32, End::Slower));
        assert_eq!(found.tried.iter().map(|(rows, _)| *rows).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64]);
        assert!((found.tried[5].1 - 32.0 / 42.0).abs() < 0.02, "{found}");
        assert!(found.to_string().ends_with("more are slower)"), "{found}");
        // Without anything that a pass costs, more rows gain nothing.
        let found = tune("lrp", LIMITS, device(0.0, 1000)).unwrap();
        assert_eq!((found.rows, found.end), (1, End::NoFaster));
        // All rows fit into one pass.
        let found = tune("lrp", LIMITS, device(1000.0, 1000)).unwrap();
        assert_eq!((found.rows, found.end), (100, End::EveryRow));
        let few = Limits { rows: 1, ..LIMITS };
        assert_eq!(tune("lrp", few, device(10.0, 1000)).unwrap().tried.len(), 1);
        let hurried = Limits { seconds: 200.0, ..LIMITS };
        assert_eq!(tune("lrp", hurried, device(100.0, 1000)).unwrap().end, End::Time);
    }

    #[test]
    fn memory_is_never_exceeded_where_it_can_be_foreseen() {
        let mut most = 0;
        let mut device = device(1000.0, 1000);
        let limits = Limits { memory: Some(2000), ..LIMITS };
        let found = tune("lrp", limits, |rows| {
            most = most.max(rows);
            device(rows)
        });
        assert_eq!(found.map(|found| (found.rows, found.end)).unwrap(), (8, End::Memory));
        assert_eq!(most, 8);
        let tight = Limits { memory: Some(1050), ..LIMITS };
        let refused = tune("lrp", tight, self::device(1.0, 10)).unwrap_err();
        assert!(matches!(refused, ExplainError::Memory { method: "lrp", needed: 1100, limit: 1050 }));
    }

    #[test]
    fn rows_are_as_many_as_fit() {
        let fit = |wanted, limit| fitting("lrp", wanted, limit, 10, device(1.0, 1000));
        assert_eq!(fit(16, 10_000).unwrap(), 16);
        assert_eq!(fit(16, 1500).unwrap(), 5);
        assert_eq!(fit(16, 1100).unwrap(), 1);
        assert_eq!(fit(1, 1100).unwrap(), 1);
        assert!(matches!(fit(16, 1099), Err(ExplainError::Memory { needed: 1100, .. })));
        // A line that flatters.
        let mut steep = |rows: usize| Ok(Seen { rows: 1, seconds: 1.0, bytes: Some(100 + (rows as u64).pow(2)) });
        assert_eq!(fitting("lrp", 64, 1000, 1, &mut steep).unwrap(), 32);
        // Without a meter, what activations take is all that is known.
        let blind = |_| Ok(Seen { rows: 1, seconds: 1.0, bytes: None });
        assert_eq!(fitting("lrp", 64, 1000, 100, blind).unwrap(), 10);
    }

    #[test]
    fn people_write_a_number_or_auto() {
        assert_eq!("auto".parse(), Ok(InnerBatch::Auto));
        assert_eq!("32".parse(), Ok(InnerBatch::Rows(32)));
        for wrong in ["0", "-1", "many", ""] {
            assert!(wrong.parse::<InnerBatch>().is_err(), "{wrong}");
        }
    }

    #[test]
    #[cfg(feature = "flex")]
    fn activations_of_a_row_are_counted() {
        use crate::zoo::{WeightSource, find, host_inputs};

        let entry = find("cifar_cnn").unwrap();
        let device = burn::tensor::Device::flex();
        let network = entry.build_loaded(&WeightSource::Seeded(0), &device).unwrap();
        let bytes = |samples| {
            let inputs = host_inputs(&entry.inputs(), samples, 0);
            activation_bytes(&Subject::new(network.as_ref(), &inputs).unwrap()).unwrap()
        };
        assert_eq!(bytes(1), bytes(3), "of one row");
        // Its widest convolution alone writes as much.
        assert!(bytes(1) > 32 * 32 * 32 * FLOAT_BYTES, "{}", bytes(1));
    }
}
