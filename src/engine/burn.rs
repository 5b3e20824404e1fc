//! The engines on Burn: one code for all of its backends.

use burn::tensor::{DType, Device as BurnDevice, DeviceType, FloatDType};

use super::{DeviceMemory, Engine, EngineError, Loaded, ProbedDevice, RunClock, Versions, Workload};
use crate::domain::{Device, DeviceKind, HostTensor, Mode, PlannedRun, Platform, Precision, WeightChoice};
use crate::hardware::{host_cpu, nvml};
use crate::measure::MonotonicClock;
use crate::zoo::{self, Batch, Network, Output, Targets, Trainer, WeightSource};

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
                precisions: [Precision::Fp32, Precision::Fp16, Precision::Bf16]
                    .into_iter()
                    .filter(|precision| {
                        *precision == Precision::Fp32
                            || float_type(*precision).is_some_and(|float| device.supports_dtype(DType::from(float)))
                    })
                    .collect(),
            })
            .collect())
    }

    fn supports(&self, mode: Mode, precision: Precision) -> Result<(), EngineError> {
        let unsupported = |what: String, reason, nearest| {
            Err(EngineError::Unsupported { engine: self.name(), what, reason, nearest })
        };
        match (mode, precision) {
            (Mode::Explanation, _) => unsupported(
                "mode explanation".into(),
                "attribution methods are not in this release",
                Some("`--mode inference`"),
            ),
            (_, Precision::Fp32) | (Mode::Inference, Precision::Fp16 | Precision::Bf16) => Ok(()),
            (Mode::Training, Precision::Fp16 | Precision::Bf16) => unsupported(
                format!("training in {precision}"),
                "half-precision training was not yet shown to learn here",
                Some("`--precision fp32`"),
            ),
            (_, Precision::Tf32) => {
                unsupported("tf32".into(), "Burn does not let a program choose it", Some("`--precision fp32`"))
            }
            (_, Precision::Amp) => {
                unsupported("amp".into(), "Burn has no automatic mixed precision", Some("`--precision fp16`"))
            }
            (_, Precision::Int8 | Precision::Int8w) => unsupported(
                precision.to_string(),
                "Burn computes quantised weights in floating point, and this release does not measure that yet",
                Some("`--precision fp32`"),
            ),
        }
    }

    fn load(&self, plan: &PlannedRun) -> Result<Loaded, EngineError> {
        let configuration = &plan.configuration;
        let device = self.open(plan)?;
        let device = match configuration.mode {
            Mode::Training => device.autodiff(),
            Mode::Inference | Mode::Explanation => device,
        };
        let entry = zoo_entry(&configuration.model)?;
        let mut network = entry.build(&device);
        network.load(&weight_source(plan))?;
        let model_size_bytes = Some(network.size_bytes());
        let batch_size = configuration.batch_size as usize;
        let inputs = zoo::host_inputs(&plan.inputs, batch_size, plan.seed);
        let batch = Batch::from_host(&inputs, &device)?;
        let in_flight = plan.sampling.batches_in_flight.max(1);
        let workload: Box<dyn Workload> = match configuration.mode {
            Mode::Training => {
                let targets = zoo::host_targets(entry.task, &plan.inputs, entry.labels, batch_size, plan.seed);
                Box::new(TrainingWorkload {
                    targets: Targets::from_host(entry.task, &targets, &device)?,
                    trainer: network.into_trainer(plan.optimizer),
                    batch,
                    device: device.clone(),
                    in_flight,
                    batch_size: configuration.batch_size,
                })
            }
            Mode::Inference | Mode::Explanation => Box::new(InferenceWorkload {
                network,
                batch,
                device: device.clone(),
                in_flight,
                batch_size: configuration.batch_size,
                outputs: Vec::new(),
                precision: None,
            }),
        };
        wait(&device)?;
        Ok(Loaded { workload, clock: RunClock::Monotonic(MonotonicClock::default()), model_size_bytes })
    }

    fn infer(&self, plan: &PlannedRun, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
        let entry = zoo_entry(&plan.configuration.model)?;
        let device = self.open(plan)?;
        zoo::check_inputs(entry.task, &entry.inputs(), inputs)?;
        let mut network = entry.build(&device);
        network.load(&weight_source(plan))?;
        let outputs = network.forward(&Batch::from_host(inputs, &device)?)?;
        Ok(outputs.iter().map(Output::to_host).collect::<Result<_, _>>()?)
    }
}

impl BurnEngine {
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
        let configuration = &plan.configuration;
        self.supports(configuration.mode, configuration.precision)?;
        let mut devices = self.devices()?;
        let index = plan.device_index as usize;
        if index >= devices.len() {
            return Err(EngineError::DeviceIndex {
                platform: configuration.platform,
                index: plan.device_index,
                found: devices.len(),
            });
        }
        let mut device = devices.swap_remove(index);
        if let (Some(float), true) = (float_type(configuration.precision), configuration.precision != Precision::Fp32) {
            let refused = |reason| EngineError::Unsupported {
                engine: self.name(),
                what: format!("{} on this device", configuration.precision),
                reason,
                nearest: Some("`--precision fp32`"),
            };
            if !device.supports_dtype(DType::from(float)) {
                return Err(refused("the device does not report the type"));
            }
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

fn float_type(precision: Precision) -> Option<FloatDType> {
    match precision {
        Precision::Fp32 => Some(FloatDType::F32),
        Precision::Fp16 => Some(FloatDType::F16),
        Precision::Bf16 => Some(FloatDType::BF16),
        Precision::Tf32 | Precision::Amp | Precision::Int8 | Precision::Int8w => None,
    }
}

fn precision_of(dtype: DType) -> Option<Precision> {
    match dtype {
        DType::F32 => Some(Precision::Fp32),
        DType::F16 => Some(Precision::Fp16),
        DType::BF16 => Some(Precision::Bf16),
        _ => None,
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

fn wait(device: &BurnDevice) -> Result<(), EngineError> {
    device.sync().map_err(|error| EngineError::Device { message: error.to_string() })
}

fn memory_of(device: &BurnDevice) -> Option<DeviceMemory> {
    let usage = device.memory_pool_usage()?;
    Some(DeviceMemory { allocated: usage.bytes_in_use, reserved: usage.bytes_reserved })
}

struct InferenceWorkload {
    network: Box<dyn Network>,
    batch: Batch,
    device: BurnDevice,
    in_flight: u32,
    batch_size: u32,
    /// Kept until the device is done: what nobody holds, a lazy backend need not compute.
    outputs: Vec<Output>,
    precision: Option<Precision>,
}

impl Workload for InferenceWorkload {
    fn iterate(&mut self, _: &mut dyn FnMut()) -> Result<(), EngineError> {
        for _ in 0..self.in_flight {
            self.outputs.extend(self.network.forward(&self.batch)?);
        }
        wait(&self.device)
    }

    fn between(&mut self) {
        if self.precision.is_none() {
            self.precision = self.outputs.first().and_then(|output| precision_of(output.dtype()));
        }
        self.outputs.clear();
    }

    fn samples_per_iteration(&self) -> u64 {
        u64::from(self.batch_size) * u64::from(self.in_flight)
    }

    fn result_precision(&self) -> Option<Precision> {
        self.precision
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        memory_of(&self.device)
    }
}

struct TrainingWorkload {
    trainer: Box<dyn Trainer>,
    batch: Batch,
    targets: Targets,
    device: BurnDevice,
    in_flight: u32,
    batch_size: u32,
}

impl Workload for TrainingWorkload {
    fn iterate(&mut self, mark: &mut dyn FnMut()) -> Result<(), EngineError> {
        if self.in_flight > 1 {
            for _ in 0..self.in_flight {
                self.trainer.forward(&self.batch)?;
                self.trainer.loss(&self.batch, &self.targets)?;
                self.trainer.backward()?;
                self.trainer.step()?;
            }
            return wait(&self.device);
        }
        self.trainer.forward(&self.batch)?;
        wait(&self.device)?;
        mark();
        self.trainer.loss(&self.batch, &self.targets)?;
        wait(&self.device)?;
        mark();
        self.trainer.backward()?;
        wait(&self.device)?;
        mark();
        self.trainer.step()?;
        wait(&self.device)
    }

    fn phases(&self) -> &'static [&'static str] {
        if self.in_flight > 1 { &[] } else { &["forward", "loss", "backward", "optimizer_step"] }
    }

    fn samples_per_iteration(&self) -> u64 {
        u64::from(self.batch_size) * u64::from(self.in_flight)
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        memory_of(&self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_pinned() {
        assert!(include_str!("../../Cargo.toml").contains(&format!("burn = {{ version = \"={BURN_VERSION}\"")));
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
        assert!(refused.is_err_and(|error| error.hint().is_some_and(|hint| hint.contains("fp32"))));
    }
}
