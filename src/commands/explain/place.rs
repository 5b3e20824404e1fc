//! Where explanations are computed, and what that may take.

use std::path::Path;

use super::super::CommandError;
use super::super::options::{hardware_of, only_run, too_many_workers};
use super::super::run::named_model;
use crate::domain::{Platform, Precision};
use crate::engine::plan::{ModelChoice, PlanRequest};
use crate::engine::{OpenedNetwork, Runner};
use crate::explain::InnerBatch;
use crate::hardware::logical_cpus;
use crate::zoo::{ModelEntry, WeightSource};

/// Where to compute, and how much at once.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Where to compute")]
pub(super) struct PlaceArgs {
    /// The engine: burn-flex, burn-ndarray, burn-wgpu, ... [default: the first one of the platform]
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// The platform: cpu, cuda, rocm, mps, vulkan [default: that of the engine, or cpu]
    #[arg(long, value_enum)]
    hardware: Option<Platform>,
    /// The precision
    #[arg(long, value_enum, default_value = "fp32")]
    precision: Precision,
    /// Which device of the platform, from 0 (the first real one without)
    #[arg(long, value_name = "N")]
    device_index: Option<u32>,
    /// Threads on the host (all processors without)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,
    /// Networks that share the inputs of a batch and the threads, on the host's processor
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: u32,
    /// Rows of one pass: inputs, and what methods make of them (steps, windows, draws); `auto` finds what is fastest
    /// [default: that of `--batch-size`]
    #[arg(long, value_name = "N|auto", value_parser = str::parse::<InnerBatch>)]
    inner_batch: Option<InnerBatch>,
    /// What may be in use, as in 2GiB or 800MB: of this process, or on a device of its own; lowers the rows of a pass
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory_limit: Option<u64>,
}

/// How explanations are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Threads on the host.
    pub(super) threads: Option<u32>,
    /// Networks side by side.
    pub(super) workers: u32,
    /// Rows of one pass; as many as inputs of a batch where it is not given.
    pub(super) inner_batch: Option<InnerBatch>,
    /// In bytes.
    pub(super) memory: Option<u64>,
}

impl PlaceArgs {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            threads: self.threads,
            workers: self.workers,
            inner_batch: self.inner_batch,
            memory: self.memory_limit,
        }
    }

    /// Whether anything but the usual place was asked for.
    pub(super) fn is_chosen(&self) -> bool {
        self.engine.is_some()
            || self.hardware.is_some_and(|platform| platform != Platform::Cpu)
            || self.precision != Precision::Fp32
            || self.device_index.is_some()
    }

    /// The model where it is to be computed.
    ///
    /// # Errors
    /// Hardware, engines and precisions that are not here; weights that do not fit.
    pub(super) fn open(&self, entry: &ModelEntry, weights: &WeightSource) -> anyhow::Result<OpenedNetwork> {
        let threads = self.threads.unwrap_or_else(logical_cpus);
        if self.workers > threads {
            return Err(too_many_workers(self.workers, threads).into());
        }
        if !self.is_chosen() {
            return Ok(OpenedNetwork::on_host(entry, weights, self.threads)?);
        }
        let (file, seed) = match weights {
            WeightSource::File(path) => (Some(path.as_path()), 0),
            WeightSource::Seeded(seed) => (None, *seed),
        };
        let opened = self.planned(entry.name, file, seed)?;
        if self.workers > 1 && !opened.on_host {
            return Err(CommandError::new(
                format!("`--workers` is for the host's processor, and {} is none", opened.device),
                "a larger `--inner-batch` keeps a device busy",
            )
            .into());
        }
        Ok(opened)
    }

    fn planned(&self, model: &str, weights: Option<&Path>, seed: u64) -> anyhow::Result<OpenedNetwork> {
        let named = named_model(model).map_err(|reason| CommandError::new(reason, "`benchdb models` lists them"))?;
        let request = PlanRequest {
            models: ModelChoice::Named(vec![named]),
            hardware: vec![hardware_of(self.hardware, self.engine.as_deref())],
            engines: self.engine.iter().cloned().collect(),
            precisions: vec![self.precision],
            weights: weights.map(Path::to_path_buf),
            seed,
            threads: self.threads,
            device_index: self.device_index,
            // Who names an engine means the device that it has.
            include_software: true,
            ..PlanRequest::default()
        };
        // A driver that crashes while it is asked what there is takes another process with it.
        Ok(OpenedNetwork::planned(&only_run(&request, &Runner::for_this_program()?)?)?)
    }
}

/// A size in bytes with its unit: `2GiB`, `1.5 GB`, `800MB`.
fn memory(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 7] = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
    ];
    let trimmed = text.trim();
    let ends = |unit: &str| {
        let number = trimmed.len().checked_sub(unit.len()).and_then(|at| trimmed.split_at_checked(at));
        number.filter(|(_, ending)| ending.eq_ignore_ascii_case(unit)).map(|(number, _)| number.trim())
    };
    let found = UNITS.iter().find_map(|(unit, bytes)| Some((ends(unit)?.parse::<f64>().ok()?, bytes)));
    match found.map(|(number, bytes)| number * bytes) {
        Some(bytes) if bytes.is_finite() && (1.0..1e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("it is a size with its unit: 2GiB, 1.5GB, 800MB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(memory("2GiB"), Ok(2 << 30));
        assert_eq!(memory(" 1.5 gb "), Ok(1_500_000_000));
        assert_eq!(memory("800MB"), Ok(800_000_000));
        for wrong in ["", "800", "GiB", "-1GB", "0MB", "1e30TB", "nanGB", "ÄGB"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }
}
