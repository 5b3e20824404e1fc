//! First call, warm-up, samples, and when to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::clock::Clock;
use crate::domain::{Sampling, StopReason};
use crate::stats;

/// How often the precision target is looked at: whenever the number of samples has grown by a tenth.
const GROWTH_BETWEEN_LOOKS: f64 = 1.1;

/// Confidence of the interval that the precision target is about.
const CONFIDENCE: f64 = 0.95;

/// Marks the ends of the phases inside one iteration.
#[derive(Debug)]
pub struct Laps<'c, C: Clock> {
    clock: &'c mut C,
    ends: Vec<u64>,
}

impl<C: Clock> Laps<'_, C> {
    /// The phase that ran until now is over.
    #[inline]
    pub fn mark(&mut self) {
        let now = self.clock.now();
        self.ends.push(now);
    }
}

/// Something that can be done again and again.
pub trait Sampled<C: Clock> {
    /// What can go wrong.
    type Error;

    /// Does it once, and waits until it is done. Work of several phases marks the end of each but the last.
    ///
    /// # Errors
    /// Whatever went wrong; sampling ends there.
    fn iterate(&mut self, laps: &mut Laps<'_, C>) -> Result<(), Self::Error>;

    /// Called between two iterations, outside the timed region: releases what the last one made.
    fn between(&mut self) {}

    /// Whether more was done already than was told. Neither the warm-up nor the sampling ends before it is told: it was
    /// done within the window that telemetry is laid beside, and belongs to it.
    fn pending(&self) -> bool {
        false
    }
}

/// How far sampling is, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplingProgress {
    /// Samples taken.
    pub iterations: u64,
    /// Nanoseconds since sampling started.
    pub elapsed: u64,
    /// Whether this is still the warm-up.
    pub warming_up: bool,
}

/// From the beginning of the first sample to the end of the last, on the operating system's clock, whatever clock timed
/// the samples: what telemetry is laid beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplingWindow {
    /// The first sample began.
    pub start: Instant,
    /// The last one was over.
    pub end: Instant,
}

/// What sampling brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingEnd<E> {
    /// Nanoseconds of the first call; `None` if it failed.
    pub first: Option<u64>,
    /// Nanoseconds of each warm-up iteration.
    pub warmup: Vec<u64>,
    /// Nanoseconds of each sample.
    pub iterations: Vec<u64>,
    /// Nanoseconds of each phase of each sample: `phases[p][i]`. Empty for work of one phase.
    pub phases: Vec<Vec<u64>>,
    /// When the samples were taken; `None` if it did not come to that.
    pub window: Option<SamplingWindow>,
    /// Why sampling ended.
    pub stop_reason: StopReason,
    /// What went wrong, where the stop reason is an error.
    pub error: Option<E>,
}

/// Runs the whole protocol: one first call, the warm-up, then samples until the stopping rule is met.
///
/// `stop` ends it after the iteration that is under way. `progress` is called between iterations, outside the timed
/// region, at most some ten times a second.
pub fn sample<C: Clock, W: Sampled<C>>(
    work: &mut W,
    clock: &mut C,
    rule: &Sampling,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(SamplingProgress),
) -> SamplingEnd<W::Error> {
    let mut end = run_protocol(work, clock, rule, stop, progress);
    if let Some(window) = &mut end.window {
        window.end = Instant::now();
    }
    end
}

fn run_protocol<C: Clock, W: Sampled<C>>(
    work: &mut W,
    clock: &mut C,
    rule: &Sampling,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(SamplingProgress),
) -> SamplingEnd<W::Error> {
    let mut end = SamplingEnd {
        first: None,
        warmup: Vec::new(),
        iterations: Vec::with_capacity(1024),
        phases: Vec::new(),
        window: None,
        stop_reason: StopReason::Completed,
        error: None,
    };
    let mut ends = Vec::with_capacity(8);
    let max_time = nanoseconds(rule.max_time);
    let warmup_time = nanoseconds(rule.warmup_time);
    let beginning = clock.now();

    match timed(work, clock, &mut ends) {
        Ok((start, finish)) => end.first = Some(finish - start),
        Err(error) => return end.failed(error),
    }
    let mut last_report = 0;
    let warmup_start = clock.now();
    loop {
        let now = clock.now();
        let enough = end.warmup.len() as u64 >= u64::from(rule.warmup_iterations) && now - warmup_start >= warmup_time;
        // Half of the time limit is kept for samples.
        if !work.pending() && (enough || now - beginning >= max_time / 2) {
            break;
        }
        if stop.load(Ordering::Relaxed) {
            end.stop_reason = StopReason::Interrupted;
            return end;
        }
        report(progress, &mut last_report, now - beginning, end.warmup.len(), true);
        match timed(work, clock, &mut ends) {
            Ok((start, finish)) => end.warmup.push(finish - start),
            Err(error) => return end.failed(error),
        }
    }

    let now = Instant::now();
    end.window = Some(SamplingWindow { start: now, end: now });
    let start = clock.now();
    let min_time = nanoseconds(rule.min_time);
    let mut next_look = f64::from(rule.min_iterations.max(6));
    loop {
        let (started, finished) = match timed(work, clock, &mut ends) {
            Ok(times) => times,
            Err(error) => return end.failed(error),
        };
        end.iterations.push(finished - started);
        if !ends.is_empty() {
            record_phases(&mut end.phases, started, &ends, finished);
        }
        if stop.load(Ordering::Relaxed) {
            end.stop_reason = StopReason::Interrupted;
            return end;
        }
        let elapsed = finished - start;
        let count = end.iterations.len();
        if work.pending() {
            report(progress, &mut last_report, elapsed, count, false);
            continue;
        }
        if count as u64 >= u64::from(rule.min_iterations) && elapsed >= min_time {
            match rule.precision_target {
                None => return end,
                Some(target) if count as f64 >= next_look => {
                    next_look = count as f64 * GROWTH_BETWEEN_LOOKS;
                    if is_precise(&end.iterations, target) {
                        end.stop_reason = StopReason::PrecisionReached;
                        return end;
                    }
                }
                Some(_) => {}
            }
        }
        if finished - beginning >= max_time {
            end.stop_reason = StopReason::MaxTime;
            return end;
        }
        report(progress, &mut last_report, elapsed, count, false);
    }
}

impl<E> SamplingEnd<E> {
    fn failed(mut self, error: E) -> Self {
        self.stop_reason = StopReason::Error;
        self.error = Some(error);
        self
    }
}

#[inline]
fn timed<C: Clock, W: Sampled<C>>(work: &mut W, clock: &mut C, ends: &mut Vec<u64>) -> Result<(u64, u64), W::Error> {
    ends.clear();
    let mut laps = Laps { ends: std::mem::take(ends), clock };
    let start = laps.clock.now();
    let done = work.iterate(&mut laps);
    let finish = laps.clock.now();
    *ends = laps.ends;
    done?;
    work.between();
    Ok((start, finish))
}

/// The laps cut the iteration from its start to its finish, so the phases sum to it exactly.
fn record_phases(phases: &mut Vec<Vec<u64>>, start: u64, ends: &[u64], finish: u64) {
    phases.resize_with(ends.len() + 1, Vec::new);
    let mut from = start;
    for (phase, to) in phases.iter_mut().zip(ends.iter().copied().chain([finish])) {
        phase.push(to - from);
        from = to;
    }
}

/// Whether half the width of the median's interval is within `target` of the median.
fn is_precise(iterations: &[u64], target: f64) -> bool {
    let ascending = stats::sorted(&iterations.iter().map(|&ns| ns as f64).collect::<Vec<_>>());
    match (stats::median_interval(&ascending, CONFIDENCE), stats::quantile(&ascending, 0.5)) {
        (Some((low, high)), Some(median)) => (high - low) / 2.0 <= target * median,
        _ => false,
    }
}

#[inline]
fn report(
    progress: &mut dyn FnMut(SamplingProgress),
    last: &mut u64,
    elapsed: u64,
    iterations: usize,
    warming_up: bool,
) {
    const INTERVAL: u64 = 100_000_000;
    if elapsed < *last {
        *last = 0;
    }
    if elapsed - *last >= INTERVAL {
        *last = elapsed;
        progress(SamplingProgress { iterations: iterations as u64, elapsed, warming_up });
    }
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;

    const MS: u64 = 1_000_000;

    /// A clock that moves only when the work says so.
    #[derive(Clone, Default)]
    struct Scripted(Rc<Cell<u64>>);

    impl Clock for Scripted {
        fn now(&mut self) -> u64 {
            self.0.get()
        }
    }

    struct Work {
        time: Scripted,
        durations: Box<dyn FnMut(usize) -> Result<Vec<u64>, &'static str>>,
        done: usize,
        /// Everything is told in batches of so many.
        batch: usize,
    }

    impl Sampled<Scripted> for Work {
        type Error = &'static str;

        fn iterate(&mut self, laps: &mut Laps<'_, Scripted>) -> Result<(), &'static str> {
            let phases = (self.durations)(self.done)?;
            self.done += 1;
            for (index, duration) in phases.iter().enumerate() {
                self.time.0.set(self.time.0.get() + duration);
                if index + 1 < phases.len() {
                    laps.mark();
                }
            }
            Ok(())
        }

        fn pending(&self) -> bool {
            !self.done.is_multiple_of(self.batch)
        }
    }

    fn run(
        rule: &Sampling,
        durations: impl FnMut(usize) -> Result<Vec<u64>, &'static str> + 'static,
    ) -> SamplingEnd<&'static str> {
        let time = Scripted::default();
        let mut work = Work { time: time.clone(), durations: Box::new(durations), done: 0, batch: 1 };
        sample(&mut work, &mut time.clone(), rule, &AtomicBool::new(false), &mut |_| {})
    }

    #[test]
    fn the_first_call_and_the_warmup_are_apart_from_the_samples() {
        let end = run(&Sampling::default(), |call| Ok(vec![if call == 0 { 900 * MS } else { 10 * MS }]));
        assert_eq!(end.first, Some(900 * MS));
        assert_eq!(end.warmup.len(), 20, "200 ms of 10 ms each");
        assert_eq!(end.iterations.len(), 100, "one second of 10 ms each");
        assert_eq!(end.stop_reason, StopReason::Completed);
    }

    #[test]
    fn what_was_done_is_told_before_anything_ends() {
        let time = Scripted::default();
        let durations = Box::new(|_| Ok(vec![10 * MS]));
        let mut work = Work { time: time.clone(), durations, done: 0, batch: 7 };
        let end = sample(&mut work, &mut time.clone(), &Sampling::default(), &AtomicBool::new(false), &mut |_| {});
        // 1 and 20 are no multiple of 7, 21 is; 100 samples more are not, 105 are.
        assert_eq!((end.warmup.len(), end.iterations.len()), (20, 105));
        assert_eq!(work.done % 7, 0);
    }

    #[test]
    fn slow_work_still_gets_its_iterations() {
        let end = run(&Sampling::default(), |_| Ok(vec![100 * MS]));
        assert_eq!(end.warmup.len(), 3);
        assert_eq!(end.iterations.len(), 50);
    }

    #[test]
    fn the_time_limit_holds_and_leaves_room_for_samples() {
        let rule = Sampling { max_time: Duration::from_secs(10), ..Sampling::default() };
        let end = run(&rule, |_| Ok(vec![3_000 * MS]));
        assert_eq!(end.stop_reason, StopReason::MaxTime);
        assert_eq!((end.warmup.len(), end.iterations.len()), (1, 2));
    }

    #[test]
    fn phases_sum_to_their_iteration() {
        let end = run(&Sampling::default(), |call| Ok(vec![10 * MS, call as u64, 30 * MS, 5]));
        assert_eq!(end.phases.len(), 4);
        for (index, total) in end.iterations.iter().enumerate() {
            assert_eq!(end.phases.iter().map(|phase| phase[index]).sum::<u64>(), *total);
        }
    }

    #[test]
    fn the_precision_target_goes_on_until_the_interval_is_narrow() {
        let rule = Sampling { precision_target: Some(0.01), ..Sampling::default() };
        // The values spread evenly over 10 % about the median: the interval narrows with the root of the count.
        let end = run(&rule, |call| Ok(vec![10 * MS + (call as u64 * 7919 % 1000) * MS / 1000]));
        assert_eq!(end.stop_reason, StopReason::PrecisionReached);
        assert!(end.iterations.len() > 60, "{}", end.iterations.len());
        assert!(is_precise(&end.iterations, 0.01));
    }

    #[test]
    fn the_window_is_that_of_the_samples() {
        let before = Instant::now();
        let nap = std::time::Duration::from_millis(5);
        let end = run(&Sampling::default(), move |_| {
            std::thread::sleep(nap);
            Ok(vec![100 * MS])
        });
        let window = end.window.unwrap();
        assert!(window.start - before >= nap * 4, "the first call and three to warm up");
        assert!(window.end - window.start >= nap * 50);
        assert!(window.end <= Instant::now());
        assert_eq!(run(&Sampling::default(), |_| Err("broke")).window, None);
    }

    #[test]
    fn an_error_ends_it_and_keeps_what_was_measured() {
        let end = run(&Sampling::default(), |call| if call < 30 { Ok(vec![10 * MS]) } else { Err("broke") });
        assert_eq!(end.error, Some("broke"));
        assert_eq!(end.iterations.len(), 30 - 1 - 20);
    }

    #[test]
    fn a_stop_ends_it_after_the_iteration_under_way() {
        let time = Scripted::default();
        let mut work = Work { time: time.clone(), durations: Box::new(|_| Ok(vec![300 * MS])), done: 0, batch: 1 };
        let end = sample(&mut work, &mut time.clone(), &Sampling::default(), &AtomicBool::new(true), &mut |_| {});
        assert_eq!(end.stop_reason, StopReason::Interrupted);
        assert_eq!(work.done, 1);
    }
}
