//! Words of models' names: what tells of an architecture where nothing else does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Numbers of 64 bits that hold a set.
const PARTS: usize = 5;

/// Words that are known, at most.
pub const MOST: usize = 64 * PARTS;

/// Words of a size. They join what is alike in nothing else - the "nano" of one family and that of another - and sizes are
/// known as numbers.
const SIZES: [&str; 24] = [
    "atto", "base", "big", "femto", "giant", "gigantic", "huge", "large", "little", "medium", "micro", "mini", "nano",
    "pico", "small", "test", "tiny", "xl", "xlarge", "xs", "xsmall", "xtiny", "xxs", "xxtiny",
];

/// Known words, one bit each, and how many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words([u64; PARTS], u32);

impl Words {
    /// Adds the word of a number; those from [`MOST`] on are passed over.
    pub fn insert(&mut self, word: usize) {
        if let Some(part) = self.0.get_mut(word / 64).filter(|part| **part >> (word % 64) & 1 == 0) {
            *part |= 1 << (word % 64);
            self.1 += 1;
        }
    }

    /// Whether it holds the word.
    pub fn contains(&self, word: usize) -> bool {
        self.0.get(word / 64).is_some_and(|part| part >> (word % 64) & 1 == 1)
    }

    /// Share of the words of both that stand in each, between 0 and 1 (Jaccard 1901); `None` where neither has any.
    pub fn likeness(&self, other: &Self) -> Option<f64> {
        let mut shared = 0;
        for (one, other) in self.0.iter().zip(&other.0) {
            // A few bits at most are set: one by one they are counted sooner than all 64 are looked at.
            let mut both = one & other;
            while both != 0 {
                both &= both - 1;
                shared += 1;
            }
        }
        let all = self.1 + other.1 - shared;
        (all > 0).then(|| f64::from(shared) / f64::from(all))
    }
}

/// Runs of letters, and the parts between underscores, of a name; `resnetv2` is a `resnet`, too. Without words of sizes.
pub fn words_in(name: &str) -> BTreeSet<String> {
    let name = name.to_lowercase();
    let parts = name.split(['_', '-', '.', '/']).map(str::to_owned);
    let runs: Vec<&str> = name.split(|letter: char| !letter.is_alphabetic()).collect();
    // A run before a number is not the last one.
    let versions = runs.iter().rev().skip(1).filter_map(|run| run.strip_suffix('v')).filter(|run| run.len() > 2);
    let is_word = |word: &String| {
        word.len() > 1 && !word.bytes().all(|byte| byte.is_ascii_digit()) && !SIZES.contains(&word.as_str())
    };
    parts.chain(runs.iter().chain(&versions.collect::<Vec<_>>()).map(|run| (*run).to_owned())).filter(is_word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_off_and_sizes_left_out() {
        let words: Vec<String> = words_in("convnextv2_nano.fb_in22k-rev").into_iter().collect();
        assert_eq!(words, ["convnext", "convnextv", "convnextv2", "fb", "in", "in22k", "rev"]);
        assert!(words_in("conv").contains("conv"));
        assert!(!words_in("conv").contains("con"));
    }

    #[test]
    fn likeness_is_the_share_of_common_words() {
        let set = |words: &[usize]| {
            let mut set = Words::default();
            words.iter().for_each(|&word| set.insert(word));
            set
        };
        let (one, other) = (set(&[1, 64, 319]), set(&[1, 319, 200, MOST]));
        assert_eq!(one.likeness(&other), Some(0.5));
        assert_eq!(set(&[]).likeness(&set(&[])), None);
        assert!(one.contains(319) && !one.contains(0) && !other.contains(MOST));
    }
}
