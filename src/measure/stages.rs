//! Where the time goes: named stages of some work, counted and added up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was seen of one stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTime {
    /// How often it ended.
    pub count: u64,
    /// All of its time together. Stages of threads that ran at once add up to more than the clock on the wall.
    pub total: Duration,
}

impl StageTime {
    /// The time of one; zero where there was none.
    pub fn mean(&self) -> Duration {
        // As f64: a Duration divides by 32 bits only. Exact to the nanosecond for three months.
        if self.count == 0 { Duration::ZERO } else { self.total.div_f64(self.count as f64) }
    }
}

/// Adds up the time of named stages, from any number of threads. One that is [off](Self::off), as by default, reads no
/// clock and takes no lock.
///
/// ```
/// use benchdb::measure::StageProfiler;
///
/// let profiler = StageProfiler::on();
/// for _ in 0..3 {
///     let _stage = profiler.stage("read"); // Ends with the block.
/// }
/// let sum = profiler.time("sum", || 1 + 1);
/// assert_eq!((sum, profiler.stages()[0].1.count), (2, 3));
/// print!("{profiler}"); // stage  count  mean  total
/// profiler.reset();
/// assert!(profiler.stages().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct StageProfiler {
    stages: Option<Mutex<Stages>>,
}

/// In the order in which they ended first.
#[derive(Debug, Default)]
struct Stages {
    times: Vec<(&'static str, StageTime)>,
    places: BTreeMap<&'static str, usize>,
}

impl StageProfiler {
    /// One that adds up.
    pub fn on() -> Self {
        Self { stages: Some(Mutex::default()) }
    }

    /// One that does nothing.
    pub const fn off() -> Self {
        Self { stages: None }
    }

    /// Whether it adds up.
    pub fn is_on(&self) -> bool {
        self.stages.is_some()
    }

    /// Begins a stage that ends when the answer is dropped. Stages may lie in one another: the time of the inner ones is
    /// part of the outer one's.
    #[must_use = "the stage ends when this is dropped"]
    pub fn stage(&self, name: &'static str) -> Stage<'_> {
        Stage { running: self.is_on().then(|| (self, name, Instant::now())) }
    }

    /// Does something as a stage.
    pub fn time<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let _stage = self.stage(name);
        work()
    }

    /// Adds a stage that somebody else timed.
    pub fn add(&self, name: &'static str, time: Duration) {
        let Some(mut stages) = self.lock() else { return };
        let next = stages.times.len();
        let place = *stages.places.entry(name).or_insert(next);
        if place == next {
            stages.times.push((name, StageTime::default()));
        }
        let stage = &mut stages.times[place].1;
        stage.count += 1;
        stage.total += time;
    }

    /// The stages that ended so far, in the order in which each did for the first time.
    pub fn stages(&self) -> Vec<(&'static str, StageTime)> {
        self.lock().map(|stages| stages.times.clone()).unwrap_or_default()
    }

    /// Forgets all stages. Those that are running are added when they end.
    pub fn reset(&self) {
        if let Some(mut stages) = self.lock() {
            *stages = Stages::default();
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Stages>> {
        // Whoever panicked in here left sums that are whole.
        self.stages.as_ref().map(|stages| stages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for StageProfiler {
    /// A line a stage: its name, how often, the mean and the total in milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages = self.stages();
        let width = stages.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("stage".len());
        writeln!(f, "{:width$}  {:>8}  {:>12}  {:>12}", "stage", "count", "mean_ms", "total_ms")?;
        for (name, time) in stages {
            let [mean, total] = [time.mean(), time.total].map(|time| time.as_secs_f64() * 1e3);
            writeln!(f, "{name:width$}  {:>8}  {mean:>12.3}  {total:>12.3}", time.count)?;
        }
        Ok(())
    }
}

/// A stage that is running.
#[derive(Debug)]
pub struct Stage<'p> {
    running: Option<(&'p StageProfiler, &'static str, Instant)>,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Some((profiler, name, start)) = self.running.take() {
            profiler.add(name, start.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_counted_and_added_up_in_their_order() {
        let profiler = StageProfiler::on();
        profiler.add("read", Duration::from_millis(3));
        profiler.add("explain", Duration::from_millis(50));
        profiler.add("read", Duration::from_millis(4));
        let stages = profiler.stages();
        assert_eq!(stages[0], ("read", StageTime { count: 2, total: Duration::from_millis(7) }));
        assert_eq!(stages[0].1.mean(), Duration::from_micros(3500));
        assert_eq!(stages[1].0, "explain");
        let expected = "stage       count       mean_ms      total_ms\n\
                        read            2         3.500         7.000\n\
                        explain         1        50.000        50.000\n";
        assert_eq!(profiler.to_string(), expected);
        profiler.reset();
        assert!(profiler.stages().is_empty());
        profiler.add("explain", Duration::from_millis(1));
        assert_eq!(profiler.stages()[0].1.count, 1);
    }

    #[test]
    fn an_outer_stage_holds_its_inner_ones() {
        let profiler = StageProfiler::on();
        {
            let _outer = profiler.stage("outer");
            profiler.time("inner", || std::thread::sleep(Duration::from_millis(5)));
        }
        let stages = profiler.stages();
        assert_eq!([stages[0].0, stages[1].0], ["inner", "outer"]);
        assert!(stages[0].1.total >= Duration::from_millis(5) && stages[1].1.total >= stages[0].1.total);
    }

    #[test]
    fn threads_lose_nothing() {
        let profiler = StageProfiler::on();
        std::thread::scope(|scope| {
            for name in ["one", "other", "one", "other"] {
                let profiler = &profiler;
                scope.spawn(move || {
                    for _ in 0..1000 {
                        profiler.add(name, Duration::from_nanos(1));
                        drop(profiler.stage("shared"));
                    }
                });
            }
        });
        let count = |wanted| profiler.stages().into_iter().find(|(name, _)| *name == wanted).unwrap().1.count;
        assert_eq!([count("one"), count("other"), count("shared")], [2000, 2000, 4000]);
    }

    #[test]
    fn one_that_is_off_sees_nothing_and_costs_next_to_nothing() {
        const STAGES: u32 = 1_000_000;
        let profiler = StageProfiler::off();
        let start = Instant::now();
        for _ in 0..STAGES {
            drop(std::hint::black_box(profiler.stage("never")));
        }
        // Some nanoseconds; the bound leaves room for a machine that is busy with something else.
        assert!(start.elapsed() / STAGES < Duration::from_micros(1), "{:?}", start.elapsed());
        assert!(profiler.stages().is_empty() && !profiler.is_on() && !StageProfiler::default().is_on());
    }
}
