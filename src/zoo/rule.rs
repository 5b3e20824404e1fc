//! Weights and inputs by a rule: whoever knows a tensor's name, shape and seed can rebuild it bit for bit.
//!
//! The rule is that of the golden files (`make_golden.py`), with a seed added; seed 0 is the golden rule.
//! All integer arithmetic is modulo 2^64.
//!
//! ```text
//! base(name, seed)  fnv1a64(name) + seed * 0x9e3779b97f4a7c15
//! u(name, i)        (splitmix64(base + i) >> 40) / 2^24       in [0, 1), exact in f32
//! s(name, i)        2 * u(name, i) - 1                        in [-1, 1)
//! ```
//!
//! Sources: FNV-1a (Fowler, Noll, Vo; offset basis and prime of the 64-bit variant) and SplitMix64
//! (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// The increment of SplitMix64, also the stride between seeds.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Elements below which splitting the work over threads does not pay.
const SERIAL_ELEMENTS: usize = 1 << 14;

/// The 64-bit FNV-1a hash of the name's UTF-8 bytes.
fn fnv1a64(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// One output of SplitMix64 for the state `z`.
fn splitmix64(z: u64) -> u64 {
    let z = z.wrapping_add(GOLDEN_GAMMA);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The stream of a name under a seed; element `i` is a pure function of it.
#[derive(Clone, Copy)]
struct Stream {
    base: u64,
}

impl Stream {
    fn new(name: &str, seed: u64) -> Self {
        Self { base: fnv1a64(name).wrapping_add(seed.wrapping_mul(GOLDEN_GAMMA)) }
    }

    /// 64 bits of element `i`.
    fn bits(self, i: usize) -> u64 {
        splitmix64(self.base.wrapping_add(i as u64))
    }

    /// Element `i` in [0, 1): 24 bits, so that f32 holds it exactly.
    fn unit(self, i: usize) -> f32 {
        (self.bits(i) >> 40) as f32 / 16_777_216.0
    }

    /// Element `i` in [-1, 1).
    fn signed(self, i: usize) -> f32 {
        2.0 * self.unit(i) - 1.0
    }
}

fn fill<T: Send>(count: usize, element: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    (0..count).into_par_iter().with_min_len(SERIAL_ELEMENTS).map(element).collect()
}

/// The weights of the parameter or buffer `name` (in the reference's naming) of this shape, row-major.
///
/// - `running_var`: 1 + 0.25 u;
/// - `num_batches_tracked`: 0;
/// - rank 4: s * sqrt(6 / fan-in), other ranks from 2 on: s * sqrt(3 / fan-in), where the fan-in is the
///   product of all dimensions but the first: the variance of the signal is kept (He et al. 2015, with the
///   gain of ReLU only for convolutions);
/// - rank below 2: 1 + 0.1 s where the name ends in `weight`, else 0.1 s.
///
/// A scalar (empty shape) has one element.
pub fn parameter(name: &str, shape: &[usize], seed: u64) -> Vec<f32> {
    let stream = Stream::new(name, seed);
    let count: usize = shape.iter().product();
    if name.ends_with("running_var") {
        fill(count, |i| 1.0 + 0.25 * stream.unit(i))
    } else if name.ends_with("num_batches_tracked") {
        vec![0.0; count]
    } else if shape.len() >= 2 {
        let gain = if shape.len() == 4 { 6.0 } else { 3.0 };
        let fan_in: usize = shape.iter().skip(1).product();
        let scale = (gain / fan_in as f64).sqrt() as f32;
        fill(count, |i| stream.signed(i) * scale)
    } else if name.ends_with("weight") {
        fill(count, |i| 1.0 + 0.1 * stream.signed(i))
    } else {
        fill(count, |i| 0.1 * stream.signed(i))
    }
}

/// `count` floats in [-1, 1): a float input.
pub fn floats(name: &str, count: usize, seed: u64) -> Vec<f32> {
    let stream = Stream::new(name, seed);
    fill(count, |i| stream.signed(i))
}

/// `count` integers in [0, `vocabulary`): a token input, or classes. An empty vocabulary counts as one token.
pub fn tokens(name: &str, count: usize, vocabulary: usize, seed: u64) -> Vec<i64> {
    let stream = Stream::new(name, seed);
    let vocabulary = vocabulary.max(1) as u64;
    // 31 bits modulo the vocabulary always fit an i64.
    fill(count, |i| ((stream.bits(i) >> 33) % vocabulary) as i64)
}

/// `chosen` distinct numbers of [0, `count`) in ascending order: those whose 64 bits are smallest.
/// All of them where `chosen` is not below `count`.
pub fn subset(name: &str, count: usize, chosen: usize, seed: u64) -> Vec<usize> {
    let stream = Stream::new(name, seed);
    let mut ranked: Vec<usize> = (0..count).collect();
    ranked.sort_by_key(|&i| stream.bits(i));
    ranked.truncate(chosen);
    ranked.sort_unstable();
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every expected value was computed by the functions of make_golden.py (NumPy 2).

    #[test]
    fn hashes_equal_the_reference() {
        assert_eq!(fnv1a64(""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a64("fc.weight"), 0x79FB_28A7_5603_C7A0);
        let stream = Stream::new("fc.weight", 0);
        assert_eq!(stream.bits(0), 0x7C11_BF81_BC00_4ECA);
        assert_eq!(stream.bits(1), 0xC838_1885_9579_8DDA);
        assert_eq!(stream.bits(2), 0x211D_1725_F8D9_070A);
    }

    #[track_caller]
    fn assert_parameter(name: &str, shape: &[usize], expected: &[(usize, u32)], sum: f64) {
        let values = parameter(name, shape, 0);
        for &(i, bits) in expected {
            assert_eq!(values[i].to_bits(), bits, "{name}[{i}] is {}", values[i]);
        }
        let found: f64 = values.iter().map(|&v| f64::from(v)).sum();
        assert!((found - sum).abs() < 1e-9, "{name}: sum {found}");
    }

    #[test]
    fn parameters_equal_the_reference_bit_for_bit() {
        assert_parameter(
            "conv1.weight",
            &[64, 3, 7, 7],
            &[(0, 0x3C95_337C), (1, 0xBE2F_EC8C), (9407, 0xBD96_8C39)],
            0.900_059_573_083_126_5,
        );
        assert_parameter(
            "fc.weight",
            &[10, 256],
            &[(0, 0xBB59_DC40), (1, 0x3D7A_2CA2), (2559, 0x3D5C_0304)],
            -0.010_015_354_481_765_826,
        );
        assert_parameter(
            "class_token",
            &[1, 1, 768],
            &[(0, 0xBCD8_55DC), (767, 0xBCF3_E318)],
            -1.813_291_467_726_230_6,
        );
        assert_parameter("bn1.running_var", &[64], &[(0, 0x3F94_8DC9), (63, 0x3F99_2FD4)], 72.620_018_601_417_54);
        assert_parameter("bn1.running_mean", &[64], &[(0, 0x3D40_0FB7), (63, 0xBC8C_6E33)], 0.149_219_325_219_746_68);
        assert_parameter("bn1.weight", &[64], &[(0, 0x3F78_D7AA), (63, 0x3F78_A635)], 63.279_286_324_977_875);
        assert_parameter("bn1.bias", &[64], &[(0, 0xBD86_44B8), (63, 0x3DA4_FB3D)], 0.170_097_995_083_779_1);
        assert_parameter("bn1.num_batches_tracked", &[], &[(0, 0)], 0.0);
    }

    #[test]
    fn threads_do_not_change_the_values() {
        assert_parameter(
            "big.weight",
            &[400, 500],
            &[(0, 0xBC1B_666F), (65_535, 0x3D87_7D5F), (65_536, 0x3C24_B382), (199_999, 0xBCC0_FF7F)],
            46.782_530_802_608_05,
        );
    }

    #[test]
    fn inputs_equal_the_reference() {
        assert_eq!(tokens("input.ids", 8, 30522, 0), [22071, 23591, 14829, 10646, 17884, 28428, 8597, 17229]);
        let bits: Vec<u32> = floats("input.image", 4, 0).iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [0xBF5F_CB00, 0x3E9C_A0CC, 0xBF5E_8464, 0xBF28_D800]);
    }

    #[test]
    fn a_seed_moves_the_stream() {
        let stream = Stream::new("fc.weight", 7);
        assert_eq!(stream.bits(0), 0xC848_0887_DA36_A612);
        assert_eq!(stream.bits(1), 0xCC3F_CA6E_F38D_C8F3);
        let values = parameter("fc.weight", &[10, 256], 7);
        assert_eq!(values[0].to_bits(), 0x3D7A_63D8);
        assert_eq!(values[1].to_bits(), 0x3D84_1144);
    }

    #[test]
    fn subsets_are_distinct_ascending_and_bounded() {
        let chosen = subset("target.positions", 128, 19, 0);
        assert_eq!(chosen.len(), 19);
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(chosen.iter().all(|&i| i < 128));
        assert_eq!(subset("x", 3, 9, 0), [0, 1, 2]);
        assert!(subset("x", 0, 9, 0).is_empty());
    }

    #[test]
    fn empty_tensors_are_empty() {
        assert!(parameter("x.weight", &[0, 3], 0).is_empty());
        assert!(floats("x", 0, 0).is_empty());
        assert_eq!(tokens("x", 2, 0, 0), [0, 0]);
    }
}
