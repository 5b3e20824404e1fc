//! The file of an entry: a .npy, so that NumPy opens it, then a tail that NumPy does not look at.
//!
//! | part | bytes |
//! | --- | --- |
//! | the attribution, a .npy | n |
//! | the facts, JSON | m |
//! | n, m | 8, 8 |
//! | XXH3 (128 bits) of all of the above and the key | 16 |
//! | the format's mark | 8 |
//!
//! The checksum is there against damage, not against attackers: whoever may write the folder may write what they like.

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::{CacheError, CacheKey, CachedAttribution};
use crate::exchange::tensors::{read_npy, write_tensors};

/// The last bytes of an entry; another format gets another mark, and old entries are dropped.
const MARK: &[u8; 8] = b"BDBATTR1";

/// The name of the tensor in an entry.
const NAME: &str = "attribution";

/// The bytes of an entry.
///
/// # Errors
/// What cannot be a .npy.
pub(super) fn encode(attribution: &CachedAttribution, key: &CacheKey) -> Result<Vec<u8>, CacheError> {
    let mut bytes = Vec::with_capacity(attribution.values.data.len() * size_of::<f32>() + 512);
    write_tensors(&mut bytes, std::slice::from_ref(&attribution.values), false, NAME)?;
    let array = bytes.len() as u64;
    bytes.extend(attribution.facts.to_string().into_bytes());
    let facts = bytes.len() as u64 - array;
    bytes.extend(array.to_le_bytes());
    bytes.extend(facts.to_le_bytes());
    let sum = checksum(&bytes, key);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(MARK);
    Ok(bytes)
}

/// What the bytes of an entry hold; `None` where they are not what was written under this key.
pub(super) fn decode(bytes: &[u8], key: &CacheKey) -> Option<CachedAttribution> {
    let (rest, mark) = bytes.split_last_chunk::<8>()?;
    let (covered, sum) = rest.split_last_chunk::<16>()?;
    if mark != MARK || checksum(covered, key) != u128::from_le_bytes(*sum) {
        return None;
    }
    let (rest, facts) = covered.split_last_chunk::<8>()?;
    let (rest, array) = rest.split_last_chunk::<8>()?;
    let array = usize::try_from(u64::from_le_bytes(*array)).ok()?;
    let length = usize::try_from(u64::from_le_bytes(*facts)).ok()?;
    let (array, facts) = rest.split_at_checked(array)?;
    if facts.len() != length {
        return None;
    }
    let facts: Value = serde_json::from_slice(facts).ok()?;
    Some(CachedAttribution { values: read_npy(NAME, NAME, array).ok()?, facts })
}

fn checksum(bytes: &[u8], key: &CacheKey) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(bytes);
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
        assert_eq!(decode(&bytes, &key(1)), Some(written));
        assert_eq!(decode(&bytes, &key(2)), None, "the key counts");
        assert!(bytes.starts_with(b"\x93NUMPY"));
        assert_eq!(&bytes[bytes.len() - MARK.len()..], MARK);
    }

    proptest! {
        #[test]
        fn no_damage_is_served(at in any::<Index>(), flip in 1_u8..=255, cut in any::<Index>()) {
            let bytes = encode(&attribution(&[2, 3, 3], 1), &key(1)).unwrap();
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= flip;
            assert_eq!(decode(&damaged, &key(1)), None);
            assert_eq!(decode(&bytes[..cut.index(bytes.len())], &key(1)), None);
            let mut longer = bytes.clone();
            longer.push(flip);
            assert_eq!(decode(&longer, &key(1)), None);
        }
    }
}
