//! What makes two explanations the same.

use std::fmt;

use bytemuck::NoUninit;
use rayon::prelude::ParallelIterator as _;
use rayon::slice::ParallelSlice as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::domain::configuration::hex;
use crate::domain::{HostData, HostTensor};

/// The SHA-256 of the inputs of one sample; computed once for all methods that explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InputDigest([u8; 32]);

impl InputDigest {
    /// Of the values that the network reads, with their names, shapes and types. A picture that is stored in another
    /// format, under another name, but makes the same values has the same digest.
    pub fn of(inputs: &[HostTensor]) -> Self {
        let mut digest = Sha256::new();
        for tensor in inputs {
            let kind: &[u8] = match &tensor.data {
                HostData::F32(_) => b"f32",
                HostData::I64(_) => b"i64",
            };
            // Every part with its length, so that no two lists of tensors read alike.
            for part in [tensor.name.as_bytes(), kind] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
            digest.update((tensor.shape.len() as u64).to_le_bytes());
            for extent in &tensor.shape {
                digest.update((*extent as u64).to_le_bytes());
            }
            match &tensor.data {
                HostData::F32(values) => feed(&mut digest, values),
                HostData::I64(values) => feed(&mut digest, values),
            }
        }
        Self(digest.finalize().into())
    }
}

impl fmt::Display for InputDigest {
    /// Lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Feeds numbers in little-endian order: the SHA-256 of each block of them, which all cores compute. Of a picture for
/// ImageNet, one after the other would take as long as a hit takes altogether.
fn feed<T: NoUninit + Sync>(digest: &mut Sha256, values: &[T]) {
    let size = size_of::<T>();
    let block = |values: &[T]| {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if cfg!(target_endian = "big") {
            let swapped: Vec<u8> = bytes.chunks(size).flat_map(|number| number.iter().rev()).copied().collect();
            return Sha256::digest(swapped);
        }
        Sha256::digest(bytes)
    };
    match values.len() <= BLOCK {
        // Nothing to share: a thread that is woken costs as much as a block.
        true => values.chunks(BLOCK).for_each(|values| digest.update(block(values))),
        false => {
            let blocks: Vec<_> = values.par_chunks(BLOCK).map(block).collect();
            blocks.iter().for_each(|block| digest.update(block));
        }
    }
}

/// Numbers in a block.
const BLOCK: usize = 16_384;

/// All that an attribution follows from, besides the input itself. Whatever is left out here would be served wrongly.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The model's canonical name.
    pub model: &'a str,
    /// The SHA-256 of its weight file, or the rule and seed of made weights.
    pub weights: &'a str,
    /// The software that computes, and its precision: `burn-flex fp32`.
    pub engine: &'a str,
    /// The version of the program, whose methods may change.
    pub version: &'a str,
    /// The method.
    pub method: &'a str,
    /// All parameters of the method, defaults included.
    pub parameters: &'a Value,
    /// What is explained: a target as it was asked for, null for the network's own answer.
    pub target: &'a Value,
    /// The digest of baselines that came from a file; empty without.
    pub baselines: &'a str,
}

/// The identity of an explanation: a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of this work on this input: SHA-256 of canonical JSON (keys in alphabetical order at every depth, no white
    /// space).
    pub fn new(input: &InputDigest, work: &Work<'_>) -> Self {
        let whole = serde_json::json!({
            "attribution": 1,
            "baselines": work.baselines,
            "engine": work.engine,
            "input": input.to_string(),
            "method": work.method,
            "model": work.model,
            "parameters": work.parameters,
            "target": work.target,
            "version": work.version,
            "weights": work.weights,
        });
        Self(Sha256::digest(whole.to_string()).into())
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    /// Lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tensor(name: &str, shape: &[usize], values: &[f32]) -> HostTensor {
        HostTensor { name: name.into(), shape: shape.into(), data: HostData::F32(values.into()) }
    }

    #[test]
    fn whatever_changes_the_input_changes_its_digest() {
        let of = |tensors: &[HostTensor]| InputDigest::of(tensors);
        let base = of(&[tensor("image", &[1, 2], &[1.0, 2.0])]);
        assert_eq!(base, of(&[tensor("image", &[1, 2], &[1.0, 2.0])]));
        assert_ne!(base, of(&[tensor("image", &[2, 1], &[1.0, 2.0])]));
        assert_ne!(base, of(&[tensor("mel", &[1, 2], &[1.0, 2.0])]));
        assert_ne!(base, of(&[tensor("image", &[1, 2], &[1.0, -2.0])]));
        let ids = HostTensor { name: "image".into(), shape: vec![1, 2], data: HostData::I64(vec![1, 2]) };
        assert_ne!(base, of(&[ids]));
        let (one, other) = (tensor("a", &[1], &[1.0]), tensor("b", &[1], &[2.0]));
        assert_ne!(of(&[one.clone(), other.clone()]), of(&[other, one]));
        // Longer than a block.
        let long: Vec<f32> = (0..40_000).map(|value| value as f32).collect();
        let whole = of(&[tensor("image", &[40_000], &long)]);
        for place in [0, BLOCK - 1, BLOCK, 39_999] {
            let mut changed = long.clone();
            changed[place] += 0.5;
            assert_ne!(whole, of(&[tensor("image", &[40_000], &changed)]), "{place}");
        }
    }

    #[test]
    fn a_digest_is_the_same_on_every_machine() {
        // SHA-256 of the parts with their lengths and of the SHA-256 of each block, as Python's hashlib computes it.
        let image = tensor("image", &[1, 2], &[1.0, -2.5]);
        let mut expected = Sha256::new();
        for part in [&b"image"[..], b"f32"] {
            expected.update((part.len() as u64).to_le_bytes());
            expected.update(part);
        }
        for number in [2_u64, 1, 2] {
            expected.update(number.to_le_bytes());
        }
        expected.update(Sha256::digest([0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]));
        let expected: [u8; 32] = expected.finalize().into();
        assert_eq!(InputDigest::of(&[image]), InputDigest(expected));
    }

    #[test]
    fn whatever_changes_the_work_changes_the_key() {
        let input = InputDigest::of(&[tensor("image", &[1], &[1.0])]);
        let (parameters, target) = (json!({"steps": 50}), json!(null));
        let base = Work {
            model: "m",
            weights: "w",
            engine: "e",
            version: "v",
            method: "integrated_gradients",
            parameters: &parameters,
            target: &target,
            baselines: "",
        };
        let key = CacheKey::new(&input, &base);
        assert_eq!(key, CacheKey::new(&input, &base));
        let (steps, class) = (json!({"steps": 51}), json!({"class": 3}));
        let others = [
            Work { model: "n", ..base },
            Work { weights: "x", ..base },
            Work { engine: "f", ..base },
            Work { version: "u", ..base },
            Work { method: "saliency", ..base },
            Work { parameters: &steps, ..base },
            Work { target: &class, ..base },
            Work { baselines: "b", ..base },
        ];
        for other in others {
            assert_ne!(key, CacheKey::new(&input, &other), "{other:?}");
        }
        assert_ne!(key, CacheKey::new(&InputDigest::of(&[tensor("image", &[1], &[2.0])]), &base));
    }

    #[test]
    fn the_order_in_which_parameters_are_named_does_not_count() {
        let input = InputDigest::of(&[]);
        let key = |text: &str| {
            let parameters: Value = serde_json::from_str(text).unwrap();
            let work = Work {
                model: "",
                weights: "",
                engine: "",
                version: "",
                method: "",
                parameters: &parameters,
                target: &Value::Null,
                baselines: "",
            };
            CacheKey::new(&input, &work)
        };
        assert_eq!(key(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#), key(r#"{"b": {"d": 3, "c": 2}, "a": 1}"#));
        assert_ne!(key(r#"{"a": 1}"#), key(r#"{"a": 1.5}"#));
    }
}
