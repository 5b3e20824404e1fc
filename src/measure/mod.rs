//! The sampling loop: warm-up, stopping rule and clock. It knows no engine.

mod clock;
mod sampling;
mod summary;

pub use clock::{Clock, MonotonicClock};
pub use sampling::{Laps, Sampled, SamplingEnd, SamplingProgress, sample};
pub use summary::summarise;
