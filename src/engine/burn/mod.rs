//! The engines on Burn: one code for all of its backends.

mod cached;
mod explanation;
mod opened;
mod profile;
mod rates;
mod tuning;
mod workloads;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use burn::tensor::{DType, Device as BurnDevice, DeviceType, FloatDType};

use super::{
    Engine, EngineError, GenerationShape, Loaded, ProbedDevice, ProfileWish, Profiled, RunClock, Versions, Workload,
};
use crate::domain::{
    Device, DeviceKind, DeviceRates, HostTensor, InputSpec, Mode, PlannedRun, Platform, Precision, TrainingOptimizer,
    WeightChoice,
};
use crate::hardware::{host_cpu, nvml};
use crate::measure::{MonotonicClock, SamplingProgress};
use crate::zoo::quantize::multiplies_with_integers;
use crate::zoo::{self, Batch, Network, Targets, WeightSource, ZooError};
use explanation::ExplanationWorkload;
pub(super) use explanation::fits;
pub use opened::OpenedNetwork;
pub use tuning::{Settled, settle};
use workloads::{GenerationWorkload, InferenceWorkload, TrainingWorkload, forward_on_host, wait};

/// The release of Burn that is built in; `Cargo.toml` pins it.
const BURN_VERSION: &str = "0.22.1";

/// A backend of Burn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BurnEngine {
    /// The host's processor, by burn-flex.
    Flex,
    /// The host's processor, by burn-ndarray.
    Ndarray,
    /// GPUs through Vulkan or Metal, by burn-wgpu.
    Wgpu,
    /// NVIDIA GPUs, by burn-cuda.
    Cuda,
    /// AMD GPUs, by burn-rocm.
    Rocm,
}

impl Engine for BurnEngine {
    fn name(&self) -> &'static str {
        match self {
            Self::Flex => "burn-flex",
            Self::Ndarray => "burn-ndarray",
            Self::Wgpu => "burn-wgpu",
            Self::Cuda => "burn-cuda",
            Self::Rocm => "burn-rocm",
        }
    }

    fn platforms(&self) -> &'static [Platform] {
        match self {
            Self::Flex | Self::Ndarray => &[Platform::Cpu],
            Self::Wgpu if cfg!(target_os = "macos") => &[Platform::Mps],
            Self::Wgpu => &[Platform::Vulkan],
            Self::Cuda => &[Platform::Cuda],
            Self::Rocm => &[Platform::Rocm],
        }
    }

    fn feature(&self) -> (&'static str, bool) {
        match self {
            Self::Flex => ("flex", cfg!(feature = "flex")),
            Self::Ndarray => ("ndarray", cfg!(feature = "ndarray")),
            Self::Wgpu => ("wgpu", cfg!(feature = "wgpu")),
            Self::Cuda => ("cuda", cfg!(feature = "cuda")),
            Self::Rocm => ("rocm", cfg!(feature = "rocm")),
        }
    }

    fn versions(&self) -> Versions {
        Versions {
            engine: match self {
                Self::Wgpu if cfg!(feature = "spirv") => format!("{BURN_VERSION} (SPIR-V)"),
                Self::Wgpu => format!("{BURN_VERSION} (WGSL)"),
                _ => BURN_VERSION.to_owned(),
            },
            framework: format!("burn {BURN_VERSION}"),
        }
    }

    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        Ok(self
            .devices()?
            .iter()
            .map(|device| ProbedDevice {
                device: self.describe(device),
                precisions: [Precision::Fp32, Precision::Fp16, Precision::Bf16, Precision::Int8w]
                    .into_iter()
                    .filter(|&precision| precision == Precision::Fp32 || reports(device, precision))
                    .collect(),
            })
            .collect())
    }

    fn supports(&self, mode: Mode, precision: Precision) -> Result<(), EngineError> {
        let unsupported = |what: String, reason, nearest| {
            Err(EngineError::Unsupported { engine: self.name(), what, reason, nearest })
        };
        match (mode, precision) {
            (Mode::Explanation, Precision::Int8w) => unsupported(
                "explanations in int8w".into(),
                "no gradient goes back through integer weights",
                Some("`--precision fp16`, or fp32"),
            ),
            (_, Precision::Fp32 | Precision::Fp16 | Precision::Bf16) | (Mode::Inference, Precision::Int8w) => Ok(()),
            (Mode::Training, Precision::Int8w) => {
                unsupported("training in int8w".into(), "integers have no gradient", Some("`--precision bf16` or fp32"))
            }
            (_, Precision::Tf32) => {
                unsupported("tf32".into(), "Burn does not let a program choose it", Some("`--precision fp32`"))
            }
            (_, Precision::Amp) => {
                let nearest = if *self == Self::Ndarray { "`--precision fp32`" } else { "`--precision fp16`" };
                unsupported("amp".into(), "Burn has no automatic mixed precision", Some(nearest))
            }
            (Mode::Training, Precision::Int8) => {
                unsupported("training in int8".into(), "integers have no gradient", Some("`--precision fp32`"))
            }
            (_, Precision::Int8) => unsupported(
                "int8".into(),
                "Burn multiplies quantised weights in floating point",
                Some("`--precision int8w`, which keeps the weights alone as integers"),
            ),
        }
    }

    fn accepts(&self, plan: &PlannedRun) -> Result<(), EngineError> {
        let configuration = &plan.configuration;
        let training = configuration.mode == Mode::Training;
        if training && configuration.precision == Precision::Fp16 && plan.optimizer == TrainingOptimizer::Adam {
            return Err(EngineError::Unsupported {
                engine: self.name(),
                what: "training in fp16 with Adam".into(),
                reason: "its epsilon of 1e-8 is 0 in fp16, and the second step divides by it",
                nearest: Some("`--optimizer sgd`, or `--precision bf16`"),
            });
        }
        Ok(())
    }

    fn load(&self, plan: &PlannedRun) -> Result<Loaded, EngineError> {
        let device = self.working_device(plan)?;
        let network = self.loaded_network(plan, &device)?;
        self.loaded(plan, &device, network)
    }

    fn profile(
        &self,
        plan: &PlannedRun,
        wish: &ProfileWish,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(SamplingProgress),
    ) -> Result<Profiled, EngineError> {
        profile::profile(*self, plan, wish, stop, progress)
    }

    fn measure_rates(
        &self,
        device_index: u32,
        precision: Precision,
        limit: Duration,
        report: &mut dyn FnMut(&DeviceRates),
    ) -> Result<DeviceRates, EngineError> {
        if precision == Precision::Int8w {
            return Err(EngineError::Unsupported {
                engine: self.name(),
                what: "a rate of its own in int8w".into(),
                reason: "its products are in floating point",
                nearest: Some("`--precision fp32`"),
            });
        }
        let device = self.open_device(device_index, Mode::Inference, precision)?;
        let memory = self.describe(&device).memory_bytes;
        let on_host = matches!(self, Self::Flex | Self::Ndarray);
        rates::measure(&rates::Subject { device: &device, precision, memory, on_host }, limit, report)
    }

    fn infer(&self, plan: &PlannedRun, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
        let entry = zoo_entry(&plan.configuration.model)?;
        let device = self.open(plan)?;
        zoo::check_inputs(entry.task, &entry.inputs(), inputs)?;
        let network = self.loaded_network(plan, &device)?;
        forward_on_host(network.as_ref(), inputs)
    }
}

impl BurnEngine {
    /// The device of a plan, with gradients where its work needs them.
    fn working_device(self, plan: &PlannedRun) -> Result<BurnDevice, EngineError> {
        let device = self.open(plan)?;
        Ok(match plan.configuration.mode {
            Mode::Training => device.autodiff(),
            // Only to measure what the parameters' gradients would cost.
            Mode::Explanation if !explanation::is_optimized(&plan.configuration) => device.autodiff(),
            Mode::Inference | Mode::Explanation => device,
        })
    }

    /// The work of a plan with its network, which was built on this device.
    fn loaded(self, plan: &PlannedRun, device: &BurnDevice, network: Box<dyn Network>) -> Result<Loaded, EngineError> {
        let configuration = &plan.configuration;
        let entry = zoo_entry(&configuration.model)?;
        let model_size_bytes = Some(network.size_bytes());
        let batch_size = configuration.batch_size as usize;
        let inputs = super::inputs::inputs(plan, batch_size)?;
        let batch = Batch::from_host(&inputs, device)?;
        let in_flight = plan.sampling.batches_in_flight.max(1);
        let workload: Box<dyn Workload> = match (configuration.mode, plan.generate) {
            (Mode::Training, _) => {
                let targets = zoo::host_targets(entry.task, &plan.inputs, entry.labels, batch_size, plan.seed);
                Box::new(TrainingWorkload {
                    targets: Targets::from_host(entry.task, &targets, device)?,
                    trainer: network.into_trainer(plan.optimizer),
                    first_loss: None,
                    batch,
                    device: device.clone(),
                    in_flight,
                    batch_size: configuration.batch_size,
                })
            }
            (Mode::Explanation, _) => Box::new(ExplanationWorkload::new(network, configuration, &inputs)?),
            (Mode::Inference, Some(new_tokens)) => {
                network.writer()?;
                Box::new(GenerationWorkload {
                    network,
                    batch,
                    device: device.clone(),
                    batch_size: configuration.batch_size,
                    shape: GenerationShape {
                        prompt_tokens: prompt_tokens(&plan.inputs),
                        new_tokens: u64::from(new_tokens.max(1)),
                    },
                    logits: None,
                    precision: None,
                })
            }
            (Mode::Inference, None) => Box::new(InferenceWorkload {
                network,
                batch,
                device: device.clone(),
                in_flight,
                batch_size: configuration.batch_size,
                outputs: Vec::new(),
                precision: None,
            }),
        };
        wait(device)?;
        let clock = RunClock::Monotonic(MonotonicClock::default());
        Ok(Loaded { workload, clock, model_size_bytes, compile: None })
    }

    /// The network of a plan with its weights, as the plan's precision keeps them.
    fn loaded_network(self, plan: &PlannedRun, device: &BurnDevice) -> Result<Box<dyn Network>, EngineError> {
        let network = zoo_entry(&plan.configuration.model)?.build_loaded(&weight_source(plan), device)?;
        if plan.configuration.precision != Precision::Int8w {
            return Ok(network);
        }
        let unsupported = |reason| EngineError::Unsupported {
            engine: self.name(),
            what: format!("int8w for {}", plan.configuration.model),
            reason,
            nearest: Some("`--precision fp16`, or fp32"),
        };
        match network.with_integer_weights() {
            Ok(network) if network.has_integer_weights() => Ok(network),
            Ok(_) => Err(unsupported("the network has no weights that are multiplied")),
            Err(ZooError::IntegerConvolutions) => {
                Err(unsupported("it cannot convolve with integer weights on this device"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Every device that the backend finds, in its order; empty where the driver is missing.
    fn devices(self) -> Result<Vec<BurnDevice>, EngineError> {
        let (feature, compiled) = self.feature();
        let missing = || EngineError::NotCompiled { engine: self.name(), feature };
        if !compiled {
            return Err(missing());
        }
        let found = match self {
            #[cfg(feature = "flex")]
            Self::Flex => vec![BurnDevice::flex()],
            #[cfg(feature = "ndarray")]
            Self::Ndarray => {
                // Deprecated in Burn 0.22, and still asked for; see docs/decisions.md.
                #[expect(deprecated, reason = "an engine for as long as this Burn is in use")]
                let device = BurnDevice::ndarray();
                vec![device]
            }
            #[cfg(all(feature = "wgpu", not(feature = "spirv")))]
            Self::Wgpu => BurnDevice::enumerate(DeviceType::Wgpu).into_vec(),
            #[cfg(feature = "spirv")]
            Self::Wgpu => BurnDevice::enumerate(DeviceType::Vulkan).into_vec(),
            #[cfg(feature = "cuda")]
            Self::Cuda => BurnDevice::enumerate(DeviceType::Cuda).into_vec(),
            #[cfg(feature = "rocm")]
            Self::Rocm => BurnDevice::enumerate(DeviceType::Rocm).into_vec(),
            #[cfg(not(all(
                feature = "flex",
                feature = "ndarray",
                feature = "wgpu",
                feature = "cuda",
                feature = "rocm"
            )))]
            _ => return Err(missing()),
        };
        Ok(found)
    }

    /// The device of a plan, set to compute in the plan's precision.
    fn open(self, plan: &PlannedRun) -> Result<BurnDevice, EngineError> {
        self.open_device(plan.device_index, plan.configuration.mode, plan.configuration.precision)
    }

    /// A device by its index, set to compute in a precision.
    fn open_device(self, device_index: u32, mode: Mode, precision: Precision) -> Result<BurnDevice, EngineError> {
        self.supports(mode, precision)?;
        let mut devices = self.devices()?;
        let index = device_index as usize;
        if index >= devices.len() {
            return Err(EngineError::DeviceIndex {
                platform: self.platforms()[0],
                index: device_index,
                found: devices.len(),
            });
        }
        let mut device = devices.swap_remove(index);
        if precision == Precision::Fp32 {
            return Ok(device);
        }
        let refused = |reason| EngineError::Unsupported {
            engine: self.name(),
            what: format!("{precision} on this device"),
            reason,
            nearest: Some("`--precision fp32`"),
        };
        if !reports(&device, precision) {
            return Err(refused("the device does not report the type"));
        }
        if let Some(float) = float_type(precision)
            && device.settings().float_dtype != float
        {
            // Burn takes this once a process, which is why each configuration has a process of its own.
            device.configure(float).map_err(|_| refused("the device's float type is already set"))?;
        }
        Ok(device)
    }

    fn describe(self, device: &BurnDevice) -> Device {
        if matches!(self, Self::Flex | Self::Ndarray) {
            return host_cpu();
        }
        describe_accelerator(device)
    }
}

/// Whether a network is going to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// It is built with gradients.
    Yes,
    /// It answers only.
    No,
}

/// A network with its weights on the host's processor, in fp32, as wide as the weights are.
///
/// # Errors
/// No engine for the processor in this build; weights that do not fit.
pub fn network_on_host(
    entry: &zoo::ModelEntry,
    weights: &WeightSource,
    learning: Learning,
) -> Result<Box<dyn Network>, EngineError> {
    let device = host_device()?;
    let device = if learning == Learning::Yes { device.autodiff() } else { device };
    Ok(entry.build_loaded(weights, &device)?)
}

/// The host's processor, by the engine that serves it best.
fn host_device() -> Result<BurnDevice, EngineError> {
    let engine = if BurnEngine::Flex.feature().1 { BurnEngine::Flex } else { BurnEngine::Ndarray };
    engine.devices()?.pop().ok_or(EngineError::NoDevice { platform: Platform::Cpu })
}

/// What a GPU backend says of a device, completed by the vendor's library where it knows the card.
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
fn describe_accelerator(device: &BurnDevice) -> Device {
    let identity = device.identity().unwrap_or_default();
    let known = nvml::gpus().into_iter().find(|gpu| gpu.name == identity.name);
    let software = is_software(&identity.name) || (identity.physical.is_none() && known.is_none());
    Device {
        kind: DeviceKind::Gpu,
        vendor: vendor_of(&identity.name).to_owned(),
        name: identity.name,
        compute_units: known.as_ref().and_then(|gpu| gpu.core_count),
        memory_bytes: known.and_then(|gpu| gpu.memory_bytes),
        software,
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda", feature = "rocm")))]
fn describe_accelerator(_: &BurnDevice) -> Device {
    host_cpu()
}

/// Whether a Vulkan adapter is a program on the processor.
fn is_software(name: &str) -> bool {
    let name = name.to_lowercase();
    ["llvmpipe", "lavapipe", "swiftshader", "softpipe", "basic render"].iter().any(|software| name.contains(software))
}

fn vendor_of(name: &str) -> &'static str {
    const VENDORS: [(&str, &str); 6] = [
        ("nvidia", "NVIDIA"),
        ("amd", "AMD"),
        ("radeon", "AMD"),
        ("intel", "Intel"),
        ("apple", "Apple"),
        ("llvmpipe", "Mesa"),
    ];
    let name = name.to_lowercase();
    VENDORS.iter().find(|(sign, _)| name.contains(sign)).map_or("", |(_, vendor)| vendor)
}

/// Whether a device says that it stores or computes what a precision needs.
fn reports(device: &BurnDevice, precision: Precision) -> bool {
    match precision {
        // A device that only stores the type is enough: products are in floating point.
        Precision::Int8w => multiplies_with_integers(device),
        _ => float_type(precision).is_some_and(|float| device.supports_dtype(DType::from(float))),
    }
}

/// The tokens that a model reads before it writes.
pub(in crate::engine) fn prompt_tokens(inputs: &[InputSpec]) -> u64 {
    let tokens = inputs.iter().filter(|input| input.kind.vocabulary().is_some());
    tokens.filter_map(|input| input.shape.first()).map(|&length| length as u64).sum()
}

fn float_type(precision: Precision) -> Option<FloatDType> {
    match precision {
        Precision::Fp32 => Some(FloatDType::F32),
        Precision::Fp16 => Some(FloatDType::F16),
        Precision::Bf16 => Some(FloatDType::BF16),
        Precision::Tf32 | Precision::Amp | Precision::Int8 | Precision::Int8w => None,
    }
}

fn zoo_entry(model: &str) -> Result<&'static zoo::ModelEntry, EngineError> {
    zoo::find(model).ok_or_else(|| EngineError::UnknownModel {
        name: model.to_owned(),
        hint: "`benchdb models` lists the networks that Burn's engines run".into(),
    })
}

fn weight_source(plan: &PlannedRun) -> WeightSource {
    match &plan.weights {
        WeightChoice::Seeded(seed) => WeightSource::Seeded(*seed),
        WeightChoice::File(path) => WeightSource::File(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_pinned() {
        assert!(include_str!("../../../Cargo.toml").contains(&format!("burn = {{ version = \"={BURN_VERSION}\"")));
    }

    #[test]
    fn software_adapters_are_known_by_name() {
        assert!(is_software("llvmpipe (LLVM 15.0.6, 256 bits)"));
        assert!(is_software("SwiftShader Device (Subzero)"));
        assert!(!is_software("NVIDIA GeForce RTX 4090"));
    }

    #[test]
    fn int8_is_refused_with_the_nearest_thing_that_works() {
        let refused = BurnEngine::Flex.supports(Mode::Inference, Precision::Int8);
        assert!(refused.is_err_and(|error| error.hint().is_some_and(|hint| hint.contains("int8w"))));
    }
}
