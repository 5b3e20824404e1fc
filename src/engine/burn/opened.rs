//! A network on a device of a chosen engine, in this process: for commands that compute something once instead of
//! measuring it.

use super::super::EngineError;
use super::super::registry::engines;
use super::{BurnEngine, Learning, network_on_host};
use crate::domain::{Mode, PlannedRun, Precision};
use crate::engine::Engine as _;
use crate::explain::optimize_for_inference;
use crate::hardware::{host_cpu, logical_cpus};
use crate::zoo::{ModelEntry, Network, WeightSource};

/// A network that is ready to be explained, and where it is.
pub struct OpenedNetwork {
    /// The network, its parameters without gradients.
    pub network: Box<dyn Network>,
    /// The engine's name.
    pub engine: &'static str,
    /// What it computes in.
    pub precision: Precision,
    /// The device's name.
    pub device: String,
    /// Threads of the host.
    pub threads: u32,
    /// Whether the host's processor computes.
    pub on_host: bool,
}

impl OpenedNetwork {
    /// On the host's processor, in fp32; `threads` are all processors where it is `None`. No process is asked what there
    /// is: the processor is there.
    ///
    /// # Errors
    /// No engine for the processor in this build; weights that do not fit.
    pub fn on_host(entry: &ModelEntry, weights: &WeightSource, threads: Option<u32>) -> Result<Self, EngineError> {
        let engine = if BurnEngine::Flex.feature().1 { BurnEngine::Flex } else { BurnEngine::Ndarray };
        Ok(Self {
            network: network_on_host(entry, weights, Learning::No)?,
            engine: engine.name(),
            precision: Precision::Fp32,
            device: host_cpu().name,
            threads: threads.unwrap_or_else(logical_cpus),
            on_host: true,
        })
    }

    /// As a plan says: its engine, device, precision and threads, to explain what the network answers.
    ///
    /// # Errors
    /// A plan for software that cannot explain (whatever is not Burn), or not in this precision; weights that do not fit.
    pub fn planned(plan: &PlannedRun) -> Result<Self, EngineError> {
        let wanted = &plan.configuration;
        let burn = [BurnEngine::Flex, BurnEngine::Ndarray, BurnEngine::Wgpu, BurnEngine::Cuda, BurnEngine::Rocm];
        let Some(engine) = burn.into_iter().find(|engine| engine.name() == wanted.engine) else {
            let name = engines().into_iter().map(|engine| engine.name()).find(|name| *name == wanted.engine);
            return Err(EngineError::Unsupported {
                engine: name.unwrap_or("this program"),
                what: "explanations".into(),
                reason: "only Burn's engines go backward through a network",
                nearest: Some("`--engine burn-flex`"),
            });
        };
        engine.supports(Mode::Explanation, wanted.precision)?;
        let device = engine.open_device(plan.device_index, Mode::Explanation, wanted.precision)?;
        let (network, _) = optimize_for_inference(engine.loaded_network(plan, &device)?);
        Ok(Self {
            network,
            engine: engine.name(),
            precision: wanted.precision,
            device: wanted.device.name.clone(),
            threads: wanted.threads,
            on_host: matches!(engine, BurnEngine::Flex | BurnEngine::Ndarray),
        })
    }
}
