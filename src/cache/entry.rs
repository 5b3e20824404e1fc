//! The file of an entry: a .npy, so that NumPy opens it, then a tail that NumPy does not look at.
//!
//! | part | bytes |
//! | --- | --- |
//! | the attribution, a .npy of floats | n |
//! | shape and facts, JSON | m |
//! | n, m | 8, 8 |
//! | a checksum of all of the above and the key | 16 |
//! | the format's mark | 8 |
//!
//! The checksum is XXH3 (128 bits) of the .npy's header, of the XXH3 of each block of values, of the tail and of the key, so
//! that blocks are read and checked by all cores at once, each into the place where it stays. It is there against damage,
//! not against attackers: whoever may write the folder may write what they like.

use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{CacheError, CacheKey, CachedAttribution};
use crate::domain::{HostData, HostTensor};
use crate::exchange::tensors::write_tensors;

/// The last bytes of an entry; another format gets another mark, and old entries are dropped.
const MARK: &[u8; 8] = b"BDBATTR2";

/// The name of the tensor in an entry.
const NAME: &str = "attribution";

/// n, m, the checksum and the mark.
const FIXED: usize = 8 + 8 + 16 + 8;

/// Read from the end at once: the whole tail, usually.
const TAIL: usize = 1024;

/// Values of a block, each of which has a checksum of its own.
const BLOCK: usize = 16_384;

/// The header of a .npy is far shorter.
const LONGEST_HEADER: usize = 65_536;

/// What a .npy does not say of an attribution, and its shape.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    shape: Vec<usize>,
    facts: Value,
}

/// The bytes of an entry.
///
/// # Errors
/// What cannot be a .npy of floats.
pub(super) fn encode(attribution: &CachedAttribution, key: &CacheKey) -> Result<Vec<u8>, CacheError> {
    let HostData::F32(values) = &attribution.values.data else { return Err(CacheError::Integers) };
    let mut bytes = Vec::with_capacity(size_of_val(&values[..]) + TAIL);
    write_tensors(&mut bytes, std::slice::from_ref(&attribution.values), false, NAME)?;
    let array = bytes.len();
    let blocks: Vec<u128> =
        bytes[array - size_of_val(&values[..])..].chunks(BLOCK * size_of::<f32>()).map(xxh3_128).collect();
    let header = array - size_of_val(&values[..]);
    let about = serde_json::json!({ "shape": attribution.values.shape, "facts": attribution.facts });
    bytes.extend(about.to_string().into_bytes());
    let about = bytes.len() - array;
    bytes.extend((array as u64).to_le_bytes());
    bytes.extend((about as u64).to_le_bytes());
    let sum = checksum(&bytes[..header], &blocks, &bytes[array..], key);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(MARK);
    Ok(bytes)
}

/// What an entry of `size` bytes holds, of which `read` reads some from a place on; `None` where it is not what was written
/// under this key, or cannot be read.
pub(super) fn decode(
    size: usize,
    read: impl Fn(&mut [u8], usize) -> std::io::Result<()> + Sync,
    key: &CacheKey,
) -> Option<CachedAttribution> {
    let last = |count: usize| {
        let mut bytes = vec![0; count];
        read(&mut bytes, size.checked_sub(count)?).ok()?;
        Some(bytes)
    };
    let mut tail = last(TAIL.min(size))?;
    let (rest, mark) = tail.split_last_chunk::<8>()?;
    let (rest, sum) = rest.split_last_chunk::<16>()?;
    let (rest, about) = rest.split_last_chunk::<8>()?;
    let (_, array) = rest.split_last_chunk::<8>()?;
    let number = |bytes: &[u8; 8]| usize::try_from(u64::from_le_bytes(*bytes)).ok();
    let (array, about, sum) = (number(array)?, number(about)?, u128::from_le_bytes(*sum));
    if mark != MARK || array.checked_add(about)?.checked_add(FIXED)? != size {
        return None;
    }
    if about + FIXED > tail.len() {
        tail = last(about + FIXED)?;
    }
    let tail = &tail[tail.len() - about - FIXED..tail.len() - 24];
    let About { shape, facts } = serde_json::from_slice(&tail[..about]).ok()?;
    let count = shape.iter().try_fold(1_usize, |all, extent| all.checked_mul(*extent))?;
    let header = array.checked_sub(count.checked_mul(size_of::<f32>())?).filter(|header| *header <= LONGEST_HEADER)?;
    let mut head = vec![0; header];
    read(&mut head, 0).ok()?;
    let mut values = vec![0.0_f32; count];
    let block = |(place, values): (usize, &mut [f32])| {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
        read(bytes, header + place * BLOCK * size_of::<f32>()).ok()?;
        Some(xxh3_128(bytes))
    };
    let blocks: Option<Vec<u128>> = match count <= BLOCK {
        true => values.chunks_mut(BLOCK).enumerate().map(block).collect(),
        false => values.par_chunks_mut(BLOCK).enumerate().map(block).collect(),
    };
    if checksum(&head, &blocks?, tail, key) != sum {
        return None;
    }
    let values = HostTensor { name: NAME.to_owned(), shape, data: HostData::F32(values) };
    Some(CachedAttribution { values, facts })
}

/// The same of bytes that were read already.
pub(super) fn decode_bytes(bytes: &[u8], key: &CacheKey) -> Option<CachedAttribution> {
    let read = |into: &mut [u8], from: usize| {
        let part = from.checked_add(into.len()).and_then(|end| bytes.get(from..end));
        into.copy_from_slice(part.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    decode(bytes.len(), read, key)
}

fn checksum(header: &[u8], blocks: &[u128], tail: &[u8], key: &CacheKey) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(header);
    for block in blocks {
        hash.update(&block.to_le_bytes());
    }
    hash.update(tail);
    // A file that was renamed is no entry of its new name.
    hash.update(key.bytes());
    hash.digest128()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::sample::Index;

    use super::*;
    use crate::cache::tests::{attribution, key};

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        let written = attribution(&[1, 3, 4, 5], 7);
        let bytes = encode(&written, &key(1)).unwrap();
        assert_eq!(decode_bytes(&bytes, &key(1)), Some(written));
        assert_eq!(decode_bytes(&bytes, &key(2)), None, "the key counts");
        assert!(bytes.starts_with(b"\x93NUMPY"));
        assert_eq!(&bytes[bytes.len() - MARK.len()..], MARK);
        // Several blocks, of which the last is not full, and facts that are longer than what is read at once.
        let mut written = attribution(&[3, 100, 100], 3);
        written.facts = Value::String("x".repeat(5000));
        let bytes = encode(&written, &key(1)).unwrap();
        assert_eq!(decode_bytes(&bytes, &key(1)), Some(written));
        for place in [0, 60, 200, 100_000, bytes.len() - 3000, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(decode_bytes(&damaged, &key(1)), None, "{place}");
        }
        let integers = HostTensor { name: NAME.into(), shape: vec![1], data: HostData::I64(vec![1]) };
        let error = encode(&CachedAttribution { values: integers, facts: Value::Null }, &key(1)).unwrap_err();
        assert_eq!(error.to_string(), "an attribution of integers cannot be kept");
    }

    proptest! {
        #[test]
        fn no_damage_is_served(at in any::<Index>(), flip in 1_u8..=255, cut in any::<Index>()) {
            let bytes = encode(&attribution(&[2, 3, 3], 1), &key(1)).unwrap();
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= flip;
            assert_eq!(decode_bytes(&damaged, &key(1)), None);
            assert_eq!(decode_bytes(&bytes[..cut.index(bytes.len())], &key(1)), None);
            let mut longer = bytes.clone();
            longer.push(flip);
            assert_eq!(decode_bytes(&longer, &key(1)), None);
        }
    }
}
