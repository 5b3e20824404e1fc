//! How a rate is found: work of growing size, until the rate does not rise any more or the time is up. Knows no device
//! and no clock; what a size took is told.

use std::time::Duration;

use super::EngineError;

/// A size has to be this much faster than all before it to count as a rise.
const RISE: f64 = 1.05;

/// Sizes in a row without a rise that end the search.
const FLAT: u32 = 2;

/// A size that is this much faster than the one before it says that larger ones are faster still: it is no peak.
const STEEP: f64 = 1.25;

/// Calls of a size that cannot be left out: one that does not count, one that does.
const FEWEST_CALLS: u32 = 2;

/// Time for operands, kernels that are compiled, and checks, as a multiple of the time for calls.
pub(super) const AROUND: u32 = 4;

/// What one size took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timed {
    /// The shortest call.
    pub shortest: Duration,
    /// All calls that count.
    pub calls: Duration,
    /// Everything else: operands, the first call with the kernels that it compiles, checks.
    pub around: Duration,
}

/// Which size's rate is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The highest, once it has stopped to rise steeply; two sizes in a row that bring nothing end the search.
    Fastest,
    /// That of the largest size: smaller ones may fit into a cache.
    Largest,
}

/// A search.
#[derive(Clone, Debug)]
pub(super) struct Search<'s> {
    /// What is timed at a size, for people.
    pub called: fn(usize) -> String,
    /// Sizes, the smallest first. The last is the largest that there can be: its rate counts in any case.
    pub sizes: &'s [usize],
    /// The size from which a rate may be the answer, and from which the search may end by itself.
    pub from: usize,
    /// About how long calls may take, all of them together.
    pub limit: Duration,
    /// Operations or bytes of one call.
    pub work: fn(usize) -> f64,
    /// Which rate is the answer.
    pub kept: Kept,
}

impl Search<'_> {
    /// Times one size after the other; `found` hears of each size and rate that is the answer so far. Says why it ended
    /// before its end, if it did.
    pub fn run(
        &self,
        mut timed: impl FnMut(usize) -> Result<Timed, EngineError>,
        mut found: impl FnMut(usize, f64),
    ) -> Option<String> {
        let (mut best, mut before, mut flat) = ((0, 0.0_f64), 0.0_f64, 0);
        let (mut left, mut left_around) = (self.limit, AROUND * self.limit);
        for (place, &size) in self.sizes.iter().enumerate() {
            let took = match timed(size) {
                Ok(took) => took,
                Err(error) => return Some(format!("{}: {error}", (self.called)(size))),
            };
            let rate = (self.work)(size) / took.shortest.as_secs_f64();
            if !rate.is_finite() {
                return Some(format!("{} took no time that the clock could tell", (self.called)(size)));
            }
            flat = if size >= self.from && rate < RISE * best.1 { flat + 1 } else { 0 };
            if self.kept == Kept::Largest || rate > best.1 {
                best = (size, rate);
            }
            let next = self.sizes.get(place + 1).copied();
            let counts = size >= self.from && (self.kept == Kept::Largest || rate < STEEP * before);
            if counts || next.is_none() {
                found(best.0, best.1);
            }
            before = rate;
            if self.kept == Kept::Fastest && flat >= FLAT {
                return None;
            }
            left = left.saturating_sub(took.calls);
            left_around = left_around.saturating_sub(took.around);
            let Some(next) = next else { break };
            let longer = (self.work)(next) / (self.work)(size);
            let calls = (FEWEST_CALLS * took.shortest).mul_f64(longer);
            // Kernels of another size are compiled anew, and that takes as long again.
            if calls > left || took.around > left_around {
                return Some(format!(
                    "there was no time for more than {}; `--max-time` gives more",
                    (self.called)(size)
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 6] = [64, 128, 256, 512, 1024, 2048];

    fn products(limit: u64) -> Search<'static> {
        Search {
            called: |side| format!("a product of side {side}"),
            sizes: &SIZES,
            from: 256,
            limit: Duration::from_secs(limit),
            work: |side| (side as f64).powi(3),
            kept: Kept::Fastest,
        }
    }

    /// What a search tries and answers on a device of some rate at each size, which compiles for so many seconds.
    fn search(
        search: &Search<'_>,
        compiles: u64,
        rate: impl Fn(usize) -> f64,
    ) -> (Vec<usize>, Option<(usize, f64)>, Option<String>) {
        let (mut tried, mut answer) = (Vec::new(), None);
        let ended = search.run(
            |size| {
                tried.push(size);
                let shortest = Duration::from_secs_f64((search.work)(size) / rate(size));
                Ok(Timed { shortest, calls: 3 * shortest, around: Duration::from_secs(compiles) })
            },
            |size, rate| answer = Some((size, rate.round())),
        );
        (tried, answer, ended)
    }

    #[test]
    fn the_fastest_size_is_the_answer_and_two_that_bring_nothing_end_it() {
        let rates = |size: usize| if size == 256 { 9e6 } else { 5e6 };
        assert_eq!(search(&products(1000), 0, rates), (vec![64, 128, 256, 512, 1024], Some((256, 9e6)), None));
    }

    #[test]
    fn small_sizes_do_not_end_it() {
        let rates = |size: usize| if size < 512 { 1e6 } else { size as f64 * 1e4 };
        assert_eq!(search(&products(10_000), 0, rates), (SIZES.to_vec(), Some((2048, 2.048e7)), None));
    }

    #[test]
    fn the_time_ends_it_before_a_call_that_would_be_too_long() {
        // A call of side 512 takes 1.3 s, one of side 1024 eight times as long.
        let (tried, answer, ended) = search(&products(10), 0, |_| 1e8);
        assert_eq!((tried, answer), (vec![64, 128, 256, 512], Some((64, 1e8))));
        assert_eq!(ended, None, "two sizes brought nothing");
        let (tried, answer, ended) = search(&products(10), 0, |size| if size < 512 { 9e7 } else { 1e8 });
        assert_eq!((tried.last(), answer), (Some(&512), Some((512, 1e8))));
        assert!(ended.is_some_and(|why| why.contains("more than a product of side 512")));
    }

    #[test]
    fn compiling_has_a_time_of_its_own() {
        let (tried, ..) = search(&products(2), 4, |_| 1e12);
        assert_eq!(tried, [64, 128], "eight seconds for compiling");
    }

    #[test]
    fn what_is_still_rising_steeply_is_no_peak() {
        let (tried, answer, ended) = search(&products(3), 4, |size| size as f64 * 1e9);
        assert_eq!((tried.last(), answer), (Some(&256), None));
        assert!(ended.is_some());
        // Unless there can be nothing larger.
        assert_eq!(search(&products(100), 4, |size| size as f64 * 1e9).1, Some((2048, 2.048e12)));
    }

    #[test]
    fn the_largest_copy_counts_though_a_smaller_one_was_faster() {
        let copies = Search { kept: Kept::Largest, work: |size| size as f64, ..products(100) };
        assert_eq!(search(&copies, 0, |size| if size < 1000 { 8e3 } else { 2e3 }).1, Some((2048, 2e3)));
        assert_eq!(
            search(&Search { limit: Duration::from_secs(1), ..copies }, 3, |_| 1e3).1,
            None,
            "too small to count"
        );
    }

    #[test]
    fn what_fails_ends_it_with_its_reason_and_keeps_what_was_found() {
        let search = products(1000);
        let mut answers = 0;
        let ended = search.run(
            |size| {
                if size > 400 {
                    return Err(EngineError::Device { message: "full".into() });
                }
                Ok(Timed { shortest: Duration::from_nanos((size as u64).pow(3)), ..Timed::default() })
            },
            |_, _| answers += 1,
        );
        assert_eq!(answers, 1);
        assert!(ended.is_some_and(|why| why.contains("side 512") && why.contains("full")));
        assert!(search.run(|_| Ok(Timed::default()), |_, _| unreachable!("a rate without a time")).is_some());
    }
}
