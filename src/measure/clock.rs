//! Time, so that a test can script it.

use std::time::Instant;

/// A monotonic clock in nanoseconds since its own beginning.
pub trait Clock {
    /// Now.
    fn now(&mut self) -> u64;
}

/// The operating system's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    start: Instant,
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    #[inline]
    fn now(&mut self) -> u64 {
        // 2^64 ns are 584 years.
        self.start.elapsed().as_nanos() as u64
    }
}
