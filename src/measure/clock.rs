//! Time, so that a test can script it.

use std::cell::Cell;
use std::rc::Rc;
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

/// A clock that moves when somebody reports that time passed: another process that times itself, or a script.
#[derive(Clone, Debug, Default)]
pub struct ReportedClock(Rc<Cell<u64>>);

impl ReportedClock {
    /// So many nanoseconds passed.
    pub fn advance(&self, nanoseconds: u64) {
        self.0.set(self.0.get().saturating_add(nanoseconds));
    }
}

impl Clock for ReportedClock {
    fn now(&mut self) -> u64 {
        self.0.get()
    }
}
