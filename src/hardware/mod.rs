//! What this machine is: its processor, its GPUs as the drivers tell of them, and its surroundings.

pub mod detect;
mod git;
pub mod host_copy;
pub mod nvml;
pub mod procfs;
pub mod telemetry;

pub use detect::{capture_environment, host_cpu, logical_cpus};
pub use host_copy::HostCopy;
