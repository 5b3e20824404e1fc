//! The sampling loop: warm-up, stopping rule and clock; the monitor that reads sensors meanwhile; and a profiler of named
//! stages. It knows no engine and no hardware.

mod clock;
mod energy;
mod monitor;
mod sampling;
mod stages;
mod summary;
mod telemetry;

pub use clock::{Clock, MonotonicClock, ReportedClock};
pub use monitor::{DEFAULT_TELEMETRY_INTERVAL, IDLE_TIME, Monitor};
pub use sampling::{Laps, Sampled, SamplingEnd, SamplingProgress, SamplingWindow, sample};
pub use stages::{Stage, StageProfiler, StageTime};
pub use summary::summarise;
pub use telemetry::{Telemetry, TelemetrySummary};
